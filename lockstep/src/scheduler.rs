//! Who decides which CPU moves in the phases of a program.

use machine::{
    Exhaustive, Pct, Pos, RandomWalk, ReadsFrom, Rng, RoundRobin, Slices, Strategy, Traces,
};
use program::digest::mix;
use program::{Call, Outcome, Program, Schedule};

use crate::subject::Subject;

/// A strategy by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// The schedule that the program brings along.
    #[default]
    Own,
    /// Uniform.
    RandomWalk,
    /// Probabilistic concurrency testing.
    Pct,
    /// Partial order sampling.
    Pos,
    /// Biased towards chosen reads-from pairs, which a program's first executions show.
    ReadsFrom,
    /// A point each.
    RoundRobin,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Policy; 6] = [
        Policy::Own,
        Policy::RandomWalk,
        Policy::Pct,
        Policy::Pos,
        Policy::ReadsFrom,
        Policy::RoundRobin,
    ];

    /// Strategies that take turns in a hunt when none is asked for. (Reads-from needs several
    /// executions of one program, which are better spent on several programs.)
    const MIX: [Policy; 6] =
        [Policy::Own, Policy::RandomWalk, Policy::Own, Policy::Pct, Policy::Own, Policy::Pos];

    /// Whose turn execution `index` of a hunt is.
    pub fn in_turn(index: u64) -> Policy {
        Policy::MIX[(index % Policy::MIX.len() as u64) as usize]
    }

    /// Where chance begins for the schedule of execution `index` of a hunt with this seed.
    pub fn seed(seed: u64, index: u64) -> u64 {
        mix(seed ^ mix(!index))
    }

    /// A stable name.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Own => "own",
            Policy::RandomWalk => "random-walk",
            Policy::Pct => "pct",
            Policy::Pos => "pos",
            Policy::ReadsFrom => "reads-from",
            Policy::RoundRobin => "round-robin",
        }
    }

    /// The policy of this name.
    pub fn find(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// Schedules a program; what is left to chance follows from the seed.
    pub fn scheduler(self, program: &Program, seed: u64) -> Scheduler {
        match self {
            Policy::Own => Scheduler::own(program),
            Policy::RandomWalk => Scheduler::RandomWalk(RandomWalk::new(seed)),
            Policy::Pct => {
                // The length of a phase is not known beforehand: 8 to 256 points.
                let mut rng = Rng::new(seed);
                let (depth, steps) = (2 + rng.below(3), 8 << rng.below(6));
                Scheduler::Pct(Pct::with_steps(rng.next_u64(), depth, steps))
            }
            Policy::Pos => Scheduler::Pos(Pos::new(seed)),
            Policy::ReadsFrom => Scheduler::ReadsFrom { seed, phases: Vec::new(), next: 0 },
            Policy::RoundRobin => Scheduler::RoundRobin(RoundRobin::new()),
        }
    }
}

/// A strategy at work, over all phases of a program. One serves a program for many executions.
#[derive(Clone, Debug)]
pub enum Scheduler {
    /// A list, in the order of the phases.
    Slices(Slices),
    /// See [`RandomWalk`].
    RandomWalk(RandomWalk),
    /// See [`Pct`]; each phase is an execution.
    Pct(Pct),
    /// See [`Pos`]; each phase is an execution.
    Pos(Pos),
    /// See [`ReadsFrom`]; each phase learns for itself.
    ReadsFrom {
        /// Where chance begins.
        seed: u64,
        /// By phase.
        phases: Vec<ReadsFrom>,
        /// The phase to come.
        next: usize,
    },
    /// See [`RoundRobin`].
    RoundRobin(RoundRobin),
    /// See [`Exhaustive`]; all phases of a program are one execution.
    Exhaustive(Box<Traces<Exhaustive>>),
}

impl Default for Scheduler {
    fn default() -> Scheduler {
        Scheduler::Slices(Slices::default())
    }
}

impl Scheduler {
    /// The program's own schedule.
    pub fn own(program: &Program) -> Scheduler {
        Scheduler::list(&program.schedule, program.shape.cpus)
    }

    /// This schedule on a machine of so many CPUs.
    pub(crate) fn list(schedule: &Schedule, cpus: u8) -> Scheduler {
        if *schedule == Schedule::default() {
            return Scheduler::default();
        }
        let slice = |slice: &program::Slice| {
            let cpu = slice.cpu.saturating_add(slice.task.saturating_mul(cpus));
            machine::Slice { cpu, run: slice.run }
        };
        let slices = schedule.slices.iter().map(slice).collect();
        let cycle = schedule.cycle.iter().map(slice).collect();
        Scheduler::Slices(Slices::new(cpus, slices, cycle))
    }

    /// All schedules with at most so many preemptions over all phases of a program, one after the
    /// other: [`Scheduler::next_schedule`] before each run.
    pub fn exhaustive(preemptions: u32) -> Scheduler {
        Scheduler::Exhaustive(Box::new(Traces::new(Exhaustive::new(preemptions))))
    }

    /// Turns to another schedule. False if there is none; only an exhaustive one ends.
    pub fn next_schedule(&mut self) -> bool {
        match self {
            Scheduler::Exhaustive(strategy) => strategy.new_execution(),
            _ => true,
        }
    }

    /// Schedules of an exhaustive search that only order differently what does not touch: runs
    /// under them show what an earlier one showed. Not yet counting the one that runs now.
    pub fn redundant(&self) -> u64 {
        match self {
            Scheduler::Exhaustive(strategy) => strategy.redundant(),
            _ => 0,
        }
    }

    /// A program begins.
    pub(crate) fn begin(&mut self) {
        if let Scheduler::ReadsFrom { next, .. } = self {
            *next = 0;
        }
    }

    /// Runs a phase.
    pub(crate) fn run_phase<O: Subject>(
        &mut self,
        subject: &mut O,
        calls: &[Call<'_>],
        outs: &mut [Outcome],
    ) -> machine::Verdict {
        match self {
            Scheduler::Slices(strategy) => subject.run_phase(calls, outs, strategy),
            Scheduler::RandomWalk(strategy) => subject.run_phase(calls, outs, strategy),
            Scheduler::Pct(strategy) => {
                strategy.new_execution();
                subject.run_phase(calls, outs, strategy)
            }
            Scheduler::Pos(strategy) => {
                strategy.new_execution();
                subject.run_phase(calls, outs, strategy)
            }
            Scheduler::ReadsFrom { seed, phases, next } => {
                if phases.len() == *next {
                    phases.push(ReadsFrom::new(seed.wrapping_add(*next as u64)));
                }
                let strategy = &mut phases[*next];
                *next += 1;
                strategy.new_execution();
                subject.run_phase(calls, outs, strategy)
            }
            Scheduler::RoundRobin(strategy) => subject.run_phase(calls, outs, strategy),
            Scheduler::Exhaustive(strategy) => subject.run_phase(calls, outs, &mut **strategy),
        }
    }
}
