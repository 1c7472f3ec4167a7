//! The state that all primitives share, and the accounting that every task is subject to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::board::Board;
use crate::conduct::Conduct;
use crate::event::Event;
use crate::lines::Lines;

/// A task; tasks own locks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Task(pub u8);

/// The locks held, in [`Machine::account`].
pub(crate) const HELD: u64 = ATOMIC - 1;
/// One reason to be atomic (a spinlock, interrupts or preemption off).
pub(crate) const ATOMIC: u64 = 1 << 16;
/// All reasons to be atomic.
pub(crate) const ATOMICS: u64 = FUEL - ATOMIC;
/// One point that an operation alone on the machine may still pass.
pub(crate) const FUEL: u64 = 1 << 32;
/// Set while an executor runs.
pub(crate) const MULTI: u64 = 1 << 63;

/// Points that an operation alone on the machine may pass: more than the longest legal one does,
/// few enough to take a fraction of a second (4096 pages at 256 points each).
const ALONE_FUEL: u64 = FUEL << 20;

/// The task stopped because it waits.
pub(crate) const BLOCKED: u8 = 1;
/// Somebody was woken.
pub(crate) const WOKEN: u8 = 2;
/// A rule was broken.
pub(crate) const BROKEN: u8 = 4;
/// An interrupt was sent, or interrupts were switched.
pub(crate) const INTERRUPTS: u8 = 8;
/// An RCU read section was left.
pub(crate) const RCU: u8 = 16;
/// The task began another round of a retry loop.
pub(crate) const LAPPED: u8 = 32;

/// The computer: what its CPUs and tasks share.
#[derive(Debug)]
pub struct Machine {
    /// Locks held and reasons to be atomic, of the running task, and fuel. One word, and the sign
    /// is the mode, so that a primitive which is alone on the machine pays, counts, and knows that
    /// it is alone with one addition and one test. (Under an executor there is always a bit of
    /// fuel in it: paying does not change the sign.)
    pub(crate) account: Cell<u64>,
    /// Under an executor, points that the only task which can run may pass without yielding.
    pub(crate) fuel: Cell<u32>,
    /// Fuel that a task lost because it woke somebody.
    pub(crate) spare: Cell<u32>,
    /// How often the running task switched interrupts off.
    pub(crate) irq_off: Cell<u32>,
    /// RCU read sections that the running task is in.
    pub(crate) rcu: Cell<u32>,
    /// What the executor must look at after this move.
    pub(crate) attention: Cell<u8>,
    /// The executor lets the primitive pass at which the task stopped.
    pub(crate) resumed: Cell<bool>,
    /// Results are folded into `fold` (the search for a lasso).
    pub(crate) watched: Cell<bool>,
    /// A lock that nobody on the machine holds kept a trylock from succeeding.
    pub(crate) excused: Cell<bool>,
    pub(crate) fold: Cell<u64>,
    /// Number of the running task, and its name and CPU.
    pub(crate) current: Cell<u8>,
    pub(crate) name: Cell<Task>,
    pub(crate) cpu: Cell<u8>,
    /// A call is being delivered to this CPU.
    pub(crate) delivering: Cell<Option<u8>>,
    /// What the running task stopped before.
    pub(crate) event: Cell<Event>,
    pub(crate) waiting: Cell<&'static str>,
    pub(crate) time: Cell<u32>,
    conduct: Cell<Option<Conduct>>,
    blamed: Cell<Option<(u8, usize)>>,
    pub(crate) board: RefCell<Board>,
    /// Whether anybody watches cache lines, and who.
    pub(crate) lined: Cell<bool>,
    pub(crate) lines: RefCell<Option<Rc<Lines>>>,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine {
            account: Cell::new(ALONE_FUEL),
            fuel: Cell::default(),
            spare: Cell::default(),
            irq_off: Cell::default(),
            rcu: Cell::default(),
            attention: Cell::default(),
            resumed: Cell::default(),
            watched: Cell::default(),
            excused: Cell::default(),
            fold: Cell::default(),
            current: Cell::default(),
            name: Cell::new(Task(0)),
            cpu: Cell::default(),
            delivering: Cell::default(),
            event: Cell::default(),
            waiting: Cell::default(),
            time: Cell::default(),
            conduct: Cell::default(),
            blamed: Cell::default(),
            board: RefCell::default(),
            lined: Cell::default(),
            lines: RefCell::default(),
        }
    }
}

impl Machine {
    /// Records that a rule was broken; the first one counts.
    #[cold]
    pub fn report(&self, conduct: Conduct) {
        if self.conduct.get().is_none() {
            self.conduct.set(Some(conduct));
        }
        self.blame();
        self.attend(BROKEN);
    }

    /// The CPU that runs did something wrong just now, as the machine or the code on it noticed.
    #[cold]
    pub fn blame(&self) {
        if self.blamed.get().is_none() {
            self.blamed.set(Some((self.cpu.get(), self.time.get() as usize)));
        }
    }

    /// The CPU that was first to blame in the last run, and the time; see [`Machine::set_time`].
    pub fn blamed(&self) -> Option<(u8, usize)> {
        self.blamed.get()
    }

    /// The first rule broken since [`Machine::begin`].
    #[inline]
    pub fn conduct(&self) -> Option<Conduct> {
        self.conduct.get()
    }

    /// Starts the accounting of an operation that runs alone.
    #[inline]
    pub fn begin(&self) {
        self.account.set(ALONE_FUEL);
        self.irq_off.set(0);
        self.rcu.set(0);
        self.conduct.set(None);
        self.blamed.set(None);
    }

    /// An executor takes over.
    pub(crate) fn enter(&self) {
        self.begin();
        self.account.set(MULTI | FUEL);
        self.attention.set(0);
        self.resumed.set(false);
        self.watched.set(false);
        self.excused.set(false);
        self.delivering.set(None);
        self.fold.set(0);
        self.spare.set(0);
        self.fuel.set(0);
        self.time.set(0);
    }

    /// The executor is done; what it found out about conduct stays readable.
    pub(crate) fn leave(&self) {
        self.account.set(ALONE_FUEL);
        self.irq_off.set(0);
        self.rcu.set(0);
        self.fuel.set(0);
        self.watched.set(false);
    }

    /// Whether an executor runs.
    #[inline]
    pub(crate) fn multi(&self) -> bool {
        self.account.get() & MULTI != 0
    }

    #[inline]
    pub(crate) fn attend(&self, what: u8) {
        self.attention.set(self.attention.get() | what);
        // A task that runs alone may not go on alone if it changed who can run.
        if self.multi() {
            self.spare.set(self.spare.get() + self.fuel.replace(0));
        }
    }

    /// Ends an operation: nothing may be held any more.
    #[inline]
    pub fn end(&self) {
        // Interrupts off are a reason to be atomic.
        if self.account.get() & (HELD | ATOMICS) != 0 || self.rcu.get() != 0 {
            self.complain_at_end();
        }
    }

    #[cold]
    fn complain_at_end(&self) {
        let account = self.account.get();
        if account & HELD != 0 {
            self.report(Conduct::HeldAtEnd((account & HELD) as u32));
        }
        if self.irq_off.get() != 0 {
            self.report(Conduct::IrqOffAtEnd);
        }
        if self.rcu.get() != 0 {
            self.report(Conduct::RcuAtEnd);
        }
        if account & ATOMICS != 0 {
            self.report(Conduct::PreemptOffAtEnd);
        }
    }

    /// One lock more is held by the running operation.
    #[inline]
    pub fn acquired(&self) {
        self.account.set(self.account.get().wrapping_add(1));
    }

    /// One lock fewer is held by the running operation.
    #[inline]
    pub fn released(&self) {
        self.account.set(self.account.get().wrapping_sub(1));
    }

    /// Pays for a point and counts `by` in, if the task is alone and has the fuel, and nothing in
    /// `unless` is set.
    #[inline]
    pub(crate) fn count_alone(&self, by: u64, unless: u64) -> Option<u64> {
        let account = self.account.get().wrapping_add(by).wrapping_sub(FUEL);
        (account & (MULTI | unless) == 0).then_some(account)
    }

    /// Counts `by` in; whether an executor runs.
    #[inline]
    pub(crate) fn count_in(&self, by: u64) -> bool {
        let account = self.account.get().wrapping_add(by);
        self.account.set(account);
        account & MULTI != 0
    }

    /// Counts `by` out; whether an executor runs.
    #[inline]
    pub(crate) fn count_out(&self, by: u64) -> bool {
        let account = self.account.get().wrapping_sub(by);
        self.account.set(account);
        account & MULTI != 0
    }

    /// Complains if the running task may not sleep.
    #[inline]
    pub(crate) fn may_sleep(&self, what: &'static str) {
        if self.account.get() & ATOMICS != 0 {
            self.report(Conduct::SleepInAtomic(what));
        }
    }

    /// `preempt_disable` (nests).
    #[inline]
    pub fn preempt_disable(&self) {
        self.count_in(ATOMIC);
    }

    /// `preempt_enable`.
    #[inline]
    pub fn preempt_enable(&self) {
        if self.account.get() & ATOMICS == 0 {
            return self.report(Conduct::Unbalanced("preempt_disable"));
        }
        self.count_out(ATOMIC);
    }

    /// What the running operation last went to sleep on.
    pub fn waiting(&self) -> &'static str {
        self.waiting.get()
    }

    /// The running task, under an executor.
    pub fn name(&self) -> Task {
        self.name.get()
    }

    /// The CPU that the running task is on.
    pub fn cpu(&self) -> u8 {
        self.cpu.get()
    }
}
