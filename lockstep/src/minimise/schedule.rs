//! Fewer preemptions: phases that need not be concurrent, CPUs and slices that nothing needs.
//!
//! A schedule is a list of slices, so it is shortened as a list of steps is: none at all, no loop,
//! the shortest prefix, one by one from the back; then what is left is made plain: neighbours on
//! one CPU become one slice, runs become short.

use program::{Program, Schedule, Slice, Step, edit};

use super::{Search, with_step};

/// Longer schedules are cut by halves before slice by slice.
const LONG: usize = 32;

impl<F: FnMut(&Program) -> (bool, u64)> Search<F> {
    /// Phases whose steps can run one after the other, in either order, and steps that can share a CPU.
    pub(super) fn simplify_phases(&mut self) {
        for phase in (0..self.best.phases.len()).rev() {
            let back = reversed(&self.best, phase);
            let orders = [Some(&self.best), back.as_ref()]
                .map(|program| program.and_then(|program| edit::sequence_phase(program, phase)));
            let mut orders = orders.into_iter().flatten();
            if !orders.any(|candidate| self.accept("one after the other", candidate)) {
                self.share_cpus(phase);
            }
        }
    }

    fn share_cpus(&mut self, phase: usize) {
        let first: usize = self.best.phases[..phase].iter().map(|phase| phase.steps.len()).sum();
        let count = self.best.phases.get(phase).map_or(0, |phase| phase.steps.len());
        for at in (first..first + count).rev() {
            for cpu in 0..self.best.shape.cpus {
                let Some(step) = self.best.steps().nth(at).copied() else { break };
                if cpu >= step.cpu {
                    break;
                }
                let candidate = with_step(&self.best, at, Step { cpu, ..step });
                if candidate.validate().is_ok() && self.accept("fewer CPUs", candidate) {
                    break;
                }
            }
        }
    }

    /// The shortest, then plainest schedule.
    pub(super) fn simplify_schedule(&mut self) {
        if self.best.schedule == Schedule::default() || self.schedule(Schedule::default()) {
            return;
        }
        let now = self.best.schedule.clone();
        if !now.cycle.is_empty() {
            self.schedule(Schedule { cycle: Vec::new(), ..now.clone() });
            self.schedule(Schedule { slices: Vec::new(), ..now });
        }
        let (mut short, mut long) = (0, self.best.schedule.slices.len());
        while short < long {
            let half = short + (long - short) / 2;
            if self.with_slices(|slices| slices.truncate(half)) {
                long = half
            } else {
                short = half + 1
            }
        }
        self.drop_runs_of_slices();
        for at in (0..self.best.schedule.slices.len()).rev() {
            let without = |slices: &mut Vec<Slice>| {
                slices.remove(at);
            };
            if !self.with_slices(without) {
                self.merge(at);
            }
        }
        for at in (0..self.best.schedule.cycle.len()).rev() {
            let mut cycle = self.best.schedule.cycle.clone();
            cycle.remove(at);
            if !cycle.is_empty() {
                let slices = self.best.schedule.slices.clone();
                self.schedule(Schedule { slices, cycle });
            }
        }
        for at in 0..self.best.schedule.slices.len() {
            if self.best.schedule.slices[at].task != 0 {
                self.with_slices(|slices| slices[at].task = 0);
            }
            self.shorten(at);
        }
    }

    /// Half of a long schedule, a quarter and so on, each from the back.
    fn drop_runs_of_slices(&mut self) {
        let mut run = self.best.schedule.slices.len() / 2;
        while run > LONG / 2 {
            let mut end = self.best.schedule.slices.len();
            while end >= run {
                let start = end - run;
                self.with_slices(|slices| {
                    slices.drain(start..end);
                });
                end = start;
            }
            run /= 2;
        }
    }

    /// A slice and its neighbour on the same CPU as one.
    fn merge(&mut self, at: usize) -> bool {
        let slices = &self.best.schedule.slices;
        let (Some(&one), Some(&next)) = (slices.get(at), slices.get(at + 1)) else { return false };
        let joins = one.cpu == next.cpu && next.task == 0;
        let Some(run) = one.run.checked_add(next.run).filter(|_| joins) else {
            return false;
        };
        self.with_slices(|slices| {
            slices.splice(at..at + 2, [Slice { run, ..one }]);
        })
    }

    /// A run of one point, of half as many, of one less, as long as that helps.
    fn shorten(&mut self, at: usize) {
        while let Some(run) = self.best.schedule.slices.get(at).map(|slice| slice.run) {
            let shorter = [1, run / 2, run - 1].into_iter().filter(|&less| 0 < less && less < run);
            let mut shorter = shorter.collect::<Vec<_>>().into_iter();
            if !shorter.any(|run| self.with_slices(|slices| slices[at].run = run)) {
                return;
            }
        }
    }

    fn with_slices(&mut self, change: impl FnOnce(&mut Vec<Slice>)) -> bool {
        let mut schedule = self.best.schedule.clone();
        change(&mut schedule.slices);
        self.schedule(schedule)
    }

    fn schedule(&mut self, schedule: Schedule) -> bool {
        schedule != self.best.schedule
            && self.accept("fewer preemptions", Program { schedule, ..self.best.clone() })
    }
}

/// The program with the steps of a phase in the other order, if that is one.
fn reversed(program: &Program, phase: usize) -> Option<Program> {
    let mut program = program.clone();
    program.phases.get_mut(phase)?.steps.reverse();
    edit::renumber(&mut program);
    program.validate().is_ok().then_some(program)
}
