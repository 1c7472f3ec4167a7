//! A concurrent phase: the steps of each CPU as a task of the simulated machine.

use std::cell::{Cell, RefCell};

use machine::{Bounds, Executor, Holding, Preempt, Strategy, Task, Verdict};
use program::{Advice, Call, Mark, Marked, Op, Outcome, Seen};

use crate::world::World;

/// Names of the kworkers begin here, in the order of their CPUs; below are the default tasks of CPUs
/// and the named lockers.
pub const KWORKERS: u8 = 0x80;
/// All that a kworker has to do: `lru_add_drain_all` queues it.
pub const WORK: &str = "lru_add_drain_per_cpu";

/// How a phase went.
#[derive(Debug)]
pub struct Ran {
    /// What the machine says of it.
    pub verdict: Verdict,
    /// Scheduling points passed.
    pub points: u64,
}

/// Bounds of a run whose costs are counted: however long it takes.
const COUNTED: Bounds = Bounds { turn: 64, soft: 1 << 32, hard: 1 << 33 };

/// Bounds of an operation that nothing runs beside: nobody has to wait for a turn.
const ALONE: Bounds = Bounds { turn: 64, soft: 2_000, hard: 100_000 };

/// Whether the operation may come to `lru_add_drain_all`, which needs kworkers.
fn drains_all(op: &Op) -> bool {
    matches!(
        op,
        Op::LruAddDrainAll
            | Op::Madvise { advice: Advice::Collapse, .. }
            | Op::Gup { longterm: true, .. }
            | Op::Offline { .. }
            | Op::DeviceMigrate { .. }
            | Op::MigrateVmaSetup { .. }
    )
}

/// Keeps the decisions of a run, however it ends.
struct Recording<'w> {
    executor: Executor<'w>,
    into: &'w RefCell<Vec<u8>>,
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.into.borrow_mut().extend_from_slice(self.executor.decisions());
    }
}

impl World {
    /// Runs steps of several CPUs at the same time, each CPU's in their order. `outs` gets what
    /// they returned, in the order of `calls`; the marks are in [`World::trace`].
    pub fn run_phase<S: Strategy>(
        &mut self,
        calls: &[Call<'_>],
        outs: &mut [Outcome],
        strategy: &mut S,
    ) -> Ran {
        self.trace.get_mut().clear();
        self.tracing.set(true);
        self.begin();
        let lines = self.machine.lines();
        let before = if lines.is_some() { self.mm_cpumask.get() } else { 0 };
        self.mm_cpumask.set(calls.iter().fold(before, |mask, call| mask | 1 << call.step.cpu));
        let world = &*self;
        let outs = Cell::from_mut(outs).as_slice_of_cells();
        let state = || world.shared_state();
        let relief = || world.kill_userfaults();
        let executor = Executor::new(&world.machine, world.shape.cpus, world.preempt());
        let mut recording = Recording { executor, into: &world.decisions };
        let executor = &mut recording.executor;
        executor.set_state(&state);
        executor.set_relief(&relief);
        if lines.is_some() {
            executor.set_bounds(COUNTED);
        } else if calls.len() == 1 {
            executor.set_bounds(ALONE);
        }
        let drains = calls.iter().any(|call| drains_all(&call.step.op));
        for cpu in 0..world.shape.cpus {
            if calls.iter().any(|call| call.step.cpu == cpu) {
                executor.spawn(cpu, Task(cpu), world.run_cpu(cpu, calls, outs));
            }
            if drains {
                executor.kworker(cpu, Task(KWORKERS + cpu), world.kworker(cpu));
            }
        }
        let verdict = executor.run(strategy);
        let points = executor.points();
        drop(recording);
        self.tracing.set(false);
        self.tables_reuse();
        self.tlb_clear();
        if verdict == Verdict::Done {
            self.vma_quiesce();
        }
        Ran { verdict, points }
    }

    /// What schedulers decided in all phases since [`Model::reset`](program::Model::reset), also
    /// if the last one panicked.
    pub fn decisions(&mut self) -> &[u8] {
        self.decisions.get_mut()
    }

    /// The marks of the last phase, in the order of time.
    pub fn trace(&mut self) -> &[Marked] {
        self.trace.get_mut()
    }

    /// The locks held during the last phase; times are positions in [`World::trace`].
    pub fn holdings(&self) -> Vec<Holding> {
        self.machine.holdings()
    }

    /// The CPU whose task broke the first rule in the last phase, and when.
    pub fn blamed(&self) -> Option<(u8, usize)> {
        self.machine.blamed()
    }

    async fn run_cpu(&self, cpu: u8, calls: &[Call<'_>], outs: &[Cell<Outcome>]) {
        for (call, out) in calls.iter().zip(outs).filter(|(call, _)| call.step.cpu == cpu) {
            let cx = self.context(call.number, call.step);
            self.machine.lap(&call.number);
            self.mark(&cx, || (Mark::Begin, Seen::Nothing));
            let mut outcome = out.take();
            outcome.ret = self.perform(&cx, *call, &mut outcome.data).await;
            self.mark(&cx, || (Mark::Return, Seen::Ret(outcome.ret)));
            out.set(outcome);
            self.machine.end();
            // Return to user.
            self.machine.cond_resched().await;
        }
    }

    /// The per-CPU work of `mm_percpu_wq`: `lru_add_drain_per_cpu`.
    async fn kworker(&self, cpu: u8) {
        self.machine.kworker(cpu, async |_| self.lru_add_drain(cpu)).await;
    }

    /// What tasks share, for the search for a lasso.
    fn shared_state(&self) -> u64 {
        self.frames.digest()
    }

    fn preempt(&self) -> Preempt {
        match self.shape.preempt {
            program::Preempt::None => Preempt::None,
            program::Preempt::Voluntary => Preempt::Voluntary,
            program::Preempt::Full => Preempt::Full,
        }
    }
}
