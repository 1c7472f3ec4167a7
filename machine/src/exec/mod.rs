//! The executor: tasks on CPUs, moved one point at a time.

mod cpu;
mod drive;
mod fair;
mod grace;
mod lasso;
mod settle;
mod verdict;
mod waitfor;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use crate::event::{Event, address};
use crate::machine::{FUEL, MULTI, Machine, Task};

pub use verdict::{Edge, Owned, Verdict, Why};

/// No task.
pub(crate) const NOBODY: u8 = u8::MAX;
/// Most CPUs, and most tasks: both are bits of a mask.
const MOST: usize = 128;

/// Where a CPU may switch from a task that can go on to another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Preempt {
    /// Only where the task sleeps or ends, and at `cond_resched`.
    #[default]
    None,
    /// At `might_sleep` too.
    Voluntary,
    /// At every point without spinlock, interrupts off or preemption off.
    Full,
}

/// How long a run may take, in points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Points of the fair continuation that one CPU gets before the next.
    pub turn: u32,
    /// The strategy decides for at most so many points; then, after as many fair ones, the search
    /// for a lasso begins.
    pub soft: u64,
    /// A run that is longer is undecided.
    pub hard: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { turn: 64, soft: 20_000, hard: 1_000_000 }
    }
}

/// What is kept of a task while another one runs.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    held: u64,
    irq_off: u32,
    rcu: u32,
    fold: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Ready,
    Blocked,
    Done,
}

struct Slot<'w> {
    future: Option<Pin<Box<dyn Future<Output = ()> + 'w>>>,
    name: Task,
    cpu: u8,
    kworker: bool,
    /// The wait queue that it begins on.
    asleep: Option<usize>,
    started: bool,
    state: State,
    account: Account,
    /// What the task stopped before, while it is not current.
    event: Event,
    /// It moved since the search for a lasso last cleared this.
    moved: bool,
}

#[derive(Debug)]
struct Cpu {
    /// The task that has the CPU; [`NOBODY`] if it idles.
    current: u8,
    /// Tasks that are ready to have it.
    queue: VecDeque<u8>,
    /// The fair continuation wants another task here, at the next point that allows it.
    resched: bool,
}

impl Default for Cpu {
    fn default() -> Cpu {
        Cpu { current: NOBODY, queue: VecDeque::new(), resched: false }
    }
}

/// Runs tasks on the CPUs of a [`Machine`]. Reusable: after a run it has no tasks, and spawning
/// the next ones reuses its memory.
pub struct Executor<'w> {
    machine: &'w Machine,
    preempt: Preempt,
    bounds: Bounds,
    slots: Vec<Slot<'w>>,
    cpus: Vec<Cpu>,
    state: Option<&'w dyn Fn() -> u64>,
    relief: Option<&'w dyn Fn() -> bool>,
    /// CPUs that can move: their task is ready, or a call waits for them.
    runnable: u128,
    /// How many they are.
    count: u32,
    /// CPUs whose task is ready while others wait for the CPU.
    crowded: u128,
    /// CPUs that take a call when they move next.
    interrupted: u128,
    /// Waits for quiescence.
    grace: u32,
    /// What each CPU's task stopped before.
    events: Vec<Event>,
    /// The CPU that moved last.
    last: u8,
    points: u64,
    limit: u64,
    /// The fair continuation: on, and points left of this CPU's turn.
    fair: bool,
    turn: u32,
    search: Option<lasso::Search>,
    completed: u64,
    record: Vec<u8>,
}

impl<'w> Executor<'w> {
    /// An executor of so many CPUs, at most 128.
    pub fn new(machine: &'w Machine, cpus: u8, preempt: Preempt) -> Executor<'w> {
        let cpus = usize::from(cpus).clamp(1, MOST);
        Executor {
            machine,
            preempt,
            bounds: Bounds::default(),
            slots: Vec::new(),
            cpus: (0..cpus).map(|_| Cpu::default()).collect(),
            state: None,
            relief: None,
            runnable: 0,
            count: 0,
            crowded: 0,
            interrupted: 0,
            grace: 0,
            events: vec![Event::NONE; cpus],
            last: 0,
            points: 0,
            limit: 0,
            fair: false,
            turn: 0,
            search: None,
            completed: 0,
            record: Vec::with_capacity(64),
        }
    }

    /// Sets the bounds of a run.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Says how to hash all that tasks share, in canonical form (sequences as parity, names for
    /// addresses); locks of this crate are known. Without it no lasso is ever proven.
    pub fn set_state(&mut self, state: &'w dyn Fn() -> u64) {
        self.state = Some(state);
    }

    /// What happens when nobody can move: says whether it woke somebody, by the machine's means. Without it,
    /// or if it did not, the run is over.
    pub fn set_relief(&mut self, relief: &'w dyn Fn() -> bool) {
        self.relief = Some(relief);
    }

    /// Adds a task to a CPU. Each has a name of its own.
    ///
    /// # Panics
    ///
    /// If there are 128 tasks already.
    pub fn spawn(&mut self, cpu: u8, name: Task, task: impl Future<Output = ()> + 'w) {
        self.add(cpu, name, Box::pin(task), false);
    }

    /// Adds a task that first sleeps on a wait queue, until [`Machine::wake_up`]: one that another
    /// task creates.
    pub fn spawn_asleep<T>(
        &mut self,
        cpu: u8,
        name: Task,
        queue: &'w T,
        task: impl Future<Output = ()> + 'w,
    ) {
        self.add(cpu, name, Box::pin(task), false);
        if let Some(slot) = self.slots.last_mut() {
            slot.asleep = Some(address(queue));
        }
    }

    /// Adds a CPU's kworker, normally [`Machine::kworker`]. A run does not wait for its end.
    pub fn kworker(&mut self, cpu: u8, name: Task, task: impl Future<Output = ()> + 'w) {
        self.add(cpu, name, Box::pin(task), true);
    }

    fn add(
        &mut self,
        cpu: u8,
        name: Task,
        future: Pin<Box<dyn Future<Output = ()> + 'w>>,
        kworker: bool,
    ) {
        assert!(self.slots.len() < MOST, "at most {MOST} tasks");
        let cpu = (usize::from(cpu) % self.cpus.len()) as u8;
        self.slots.push(Slot {
            future: Some(future),
            name,
            cpu,
            kworker,
            asleep: None,
            started: false,
            state: State::Ready,
            account: Account { held: MULTI | FUEL, ..Account::default() },
            event: Event::NONE,
            moved: false,
        });
    }

    /// The decisions of the last run, for [`Replay`](crate::Replay) and
    /// [`slices_of`](crate::slices_of). Moves of a task that alone can run are none.
    pub fn decisions(&self) -> &[u8] {
        &self.record
    }

    /// The points of the last run.
    pub fn points(&self) -> u64 {
        self.points
    }
}
