//! Who waits for what, who holds what: the part of the machine that only concurrent runs need.

use std::collections::VecDeque;

use crate::conduct::Conduct;
use crate::exec::Owned;
use crate::holding::Span;
use crate::lockdep::Lockdep;
use crate::machine::{Machine, Task, WOKEN};

/// Why a task waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Wait {
    /// Spins on a lock and keeps its CPU.
    Spin,
    /// Sleeps for a rwsem.
    Read,
    Write,
    /// Sleeps for a bit lock; so often it was woken and came too late.
    Bit(u8),
    /// Sleeps until a bit lock is released once.
    BitShared,
    /// Sleeps on a wait queue.
    Queue,
    /// Sleeps until a work item is done.
    Work(u32),
    /// Spins until other CPUs have answered.
    Acks,
    /// Sleeps until every task that was in an RCU read section has left it.
    Readers,
    /// Sleeps until every CPU was preemptible once.
    Quiescent,
    /// A kworker without work.
    Idle,
}

impl Wait {
    /// Whether the waiter keeps its CPU.
    pub(crate) fn spins(self) -> bool {
        matches!(self, Wait::Spin | Wait::Acks)
    }
}

/// A task that waits. The list of waiters is in order of arrival.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub task: u8,
    pub name: Task,
    pub wait: Wait,
    pub object: usize,
    pub lock: &'static str,
    /// Whose the lock was when the wait began; none once it was released.
    pub owner: Option<Task>,
    /// CPUs (acks, quiescence) or tasks (readers) that must still act.
    pub cpus: u128,
}

/// A lock that a task took during this run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    pub object: usize,
    pub name: Task,
    pub class: u8,
    pub shared: bool,
    /// Its place in [`Board::spans`].
    pub span: u32,
}

/// Work of one CPU.
#[derive(Debug, Default)]
pub(crate) struct CpuWork {
    pub queue: VecDeque<u32>,
    pub running: Option<u32>,
    pub kworker: Option<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub waiters: Vec<Waiter>,
    /// Tasks whose wait ended and that the executor has not looked at yet.
    pub woken: Vec<u8>,
    pub holds: Vec<Hold>,
    /// Bit locks that were tried in vain in this lap of a lasso, and by whom.
    pub tries: Vec<(Task, Owned)>,
    /// Every lock that was held for a while.
    pub spans: Vec<Span>,
    pub lockdep: Lockdep,
    /// Calls sent to each CPU, by the sender's number.
    pub calls: Vec<VecDeque<u8>>,
    pub work: Vec<CpuWork>,
}

impl Board {
    pub fn reset(&mut self, cpus: usize) {
        self.waiters.clear();
        self.woken.clear();
        self.holds.clear();
        self.tries.clear();
        self.spans.clear();
        self.lockdep.reset();
        self.calls.iter_mut().for_each(VecDeque::clear);
        self.calls.resize_with(cpus, VecDeque::new);
        for work in &mut self.work {
            work.queue.clear();
            *work = CpuWork { queue: std::mem::take(&mut work.queue), ..CpuWork::default() };
        }
        self.work.resize_with(cpus, CpuWork::default);
    }

    /// Ends the wait at `index`.
    pub fn end_wait(&mut self, index: usize) -> Waiter {
        let waiter = self.waiters.remove(index);
        self.woken.push(waiter.task);
        waiter
    }

    /// What a lock is called that is held; 0 if nobody called it anything.
    pub fn label_of(&self, object: usize) -> u64 {
        let hold = self.holds.iter().find(|hold| hold.object == object);
        hold.map_or(0, |hold| self.owned(hold).label)
    }

    /// What is to be said of a lock that is held.
    pub fn owned(&self, hold: &Hold) -> Owned {
        let (lock, label) = (self.lockdep.name(hold.class), self.spans[hold.span as usize].label);
        Owned { by: hold.name, lock, label }
    }

    /// The CPU on which a work item is queued or runs.
    pub fn cpu_of(&self, item: u32) -> Option<usize> {
        self.work.iter().position(|w| w.running == Some(item) || w.queue.contains(&item))
    }
}

impl Machine {
    /// Ends every wait for `object` of the kinds asked for.
    pub(crate) fn wake_where(&self, object: usize, kind: impl Fn(Wait) -> bool) {
        let mut board = self.board.borrow_mut();
        let mut index = 0;
        while index < board.waiters.len() {
            let waiter = &board.waiters[index];
            if waiter.object == object && kind(waiter.wait) {
                board.end_wait(index);
                self.attend(WOKEN);
            } else {
                index += 1;
            }
        }
    }

    /// Ends the first wait for `object` that `choose` accepts; whose it was.
    pub(crate) fn hand_over(&self, object: usize, choose: impl Fn(Wait) -> bool) -> Option<Waiter> {
        let mut board = self.board.borrow_mut();
        let index = board.waiters.iter().position(|w| w.object == object && choose(w.wait))?;
        self.attend(WOKEN);
        Some(board.end_wait(index))
    }

    /// The first waiter for `object`.
    pub(crate) fn first_waiter(&self, object: usize) -> Option<Wait> {
        self.board.borrow().waiters.iter().find(|w| w.object == object).map(|w| w.wait)
    }

    /// The running task is about to wait for a lock, or got it without waiting.
    pub(crate) fn order(&self, name: Task, lock: &'static str) {
        let mut board = self.board.borrow_mut();
        let Board { holds, lockdep, .. } = &mut *board;
        let class = lockdep.class(lock);
        let held = holds.iter().filter(|hold| hold.name == name);
        let inverted = held.filter_map(|hold| lockdep.edge(hold.class, class)).next();
        drop(board);
        if let Some((first, second)) = inverted {
            self.report(Conduct::LockOrder(first, second));
        }
    }

    /// Notes who holds a lock. A trylock cannot deadlock and gives no order.
    #[cold]
    pub(crate) fn took(
        &self,
        object: usize,
        name: Task,
        lock: &'static str,
        shared: bool,
        tried: bool,
    ) {
        if !tried {
            self.order(name, lock);
        }
        self.touch(object, true);
        let mut board = self.board.borrow_mut();
        let class = board.lockdep.class(lock);
        let (span, cpu, from) = (board.spans.len() as u32, self.cpu.get(), self.time.get());
        board.holds.push(Hold { object, name, class, shared, span });
        board.spans.push(Span { object, class, label: 0, cpu, shared, from, until: None });
    }

    /// Notes that a lock was released, whoever had taken it; whether `name` had.
    #[cold]
    pub(crate) fn dropped(&self, object: usize, name: Task) -> bool {
        self.touch(object, true);
        let mut board = self.board.borrow_mut();
        let own = |hold: &Hold| hold.object == object && hold.name == name;
        let at = board.holds.iter().rposition(own);
        let owned = at.is_some();
        if let Some(at) = at.or_else(|| board.holds.iter().rposition(|h| h.object == object)) {
            let span = board.holds.remove(at).span;
            board.spans[span as usize].until = Some(self.time.get());
        }
        for waiter in &mut board.waiters {
            if waiter.object == object {
                waiter.owner = None;
            }
        }
        owned
    }

    /// Notes that the program keeps a lock that a task took.
    pub(crate) fn kept(&self, object: usize, owner: Task) {
        for waiter in &mut self.board.borrow_mut().waiters {
            if waiter.object == object {
                waiter.owner = Some(owner);
            }
        }
    }
}
