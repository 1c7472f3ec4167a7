//! One program judged: what was found, and when two findings are the same.

use std::collections::BTreeSet;

use lockstep::{Class, Divergence, Lockstep, Options, Scheduler, Stats, Verdict, When};
use optimized::{Defects, Path};
use program::{Program, Schedule};

use crate::guard::{self, Panic};

/// What a program showed.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The two sides differ, or one misbehaved.
    Diverged(Box<Divergence>),
    /// A side panicked.
    Panicked(Panic),
}

/// What tells findings apart while they are hunted: cheap, and only a first guess.
#[derive(Clone, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct Symptom {
    /// The class of the finding.
    pub class: String,
    /// The path that the optimised side took last, if the finding belongs to a path; of a panic, the place.
    pub path: String,
}

impl Trouble {
    /// What a hunt goes by.
    pub fn symptom(&self) -> Symptom {
        match self {
            Trouble::Diverged(divergence) => {
                // Some findings are noticed long after they happened, on any path; who goes round is
                // stopped anywhere on the way.
                let late = matches!(
                    divergence.class,
                    Class::Invariant(_)
                        | Class::Digest
                        | Class::Teardown
                        | Class::Expect
                        | Class::Livelock
                        | Class::Starvation
                        | Class::Undecided
                );
                let path = divergence.path.filter(|_| !late).unwrap_or_default();
                Symptom { class: divergence.class.to_string(), path: path.to_owned() }
            }
            Trouble::Panicked(panic) => {
                Symptom { class: "panic".to_owned(), path: panic.place.clone() }
            }
        }
    }

    /// The most telling field, by its stable name.
    pub fn field(&self) -> &'static str {
        match self {
            Trouble::Diverged(divergence) => divergence.field_name(),
            Trouble::Panicked(_) => "none",
        }
    }
}

/// What a program showed, and the paths of the optimised side taken in the step that showed it.
#[derive(Clone, Debug)]
pub struct Sight {
    /// What it showed.
    pub trouble: Trouble,
    /// Names of paths; of all that gives everything back, if it showed itself there.
    pub paths: BTreeSet<&'static str>,
}

impl Sight {
    /// The same as the signature goes by it.
    pub fn seen(&self) -> lockstep::Sight {
        match &self.trouble {
            Trouble::Diverged(found) => lockstep::Sight::new(found, self.paths.iter().copied()),
            Trouble::Panicked(panic) => lockstep::Sight::of_panic(&panic.place),
        }
    }
}

/// Judges programs, surviving those that panic.
pub struct Judge {
    lockstep: Lockstep,
    /// What was counted on sides that were given up.
    stats: Stats,
    defects: Defects,
    options: Options,
}

impl Judge {
    /// A judge of the optimised side with these defects.
    pub fn new(defects: Defects, options: Options) -> Judge {
        Judge { lockstep: Lockstep::new(defects), stats: Stats::default(), defects, options }
    }

    /// Whether a program shows nothing with these defects.
    pub fn is_clean(program: &Program, defects: Defects) -> bool {
        Judge::new(defects, Options { paranoid: true }).judge(program).is_none()
    }

    /// What was counted since the last call.
    pub fn take_stats(&mut self) -> Stats {
        let mut stats = std::mem::take(&mut self.stats);
        stats.merge(&self.lockstep.take_stats());
        stats
    }

    /// Marks of the phases that ran since the last call.
    pub fn work(&mut self) -> u64 {
        self.take_stats().marks
    }

    /// Runs one program.
    #[inline]
    pub fn judge(&mut self, program: &Program) -> Option<Trouble> {
        let result = guard::catch(|| self.lockstep.run(program, &self.options));
        let trouble = trouble(result)?;
        self.renew();
        Some(trouble)
    }

    /// Runs one program under this schedule; what it showed, and the schedule as the program's own.
    pub fn judge_under(
        &mut self,
        program: &Program,
        scheduler: &mut Scheduler,
    ) -> Option<(Trouble, Schedule)> {
        let run = || self.lockstep.run_under(program, &self.options, scheduler);
        let trouble = trouble(guard::catch(run))?;
        let schedule = self.lockstep.schedule(program);
        self.renew();
        Some((trouble, schedule))
    }

    /// Whatever state the two were left in: no later program shall see it.
    fn renew(&mut self) {
        self.stats.merge(&self.lockstep.take_stats());
        self.lockstep = Lockstep::new(self.defects);
    }

    /// Runs one program, watching the paths that it takes. Nothing of it is counted but its marks.
    pub fn look(&mut self, program: &Program) -> Option<Sight> {
        self.lockstep.take_stats();
        let mut steps: Vec<Vec<u64>> = vec![vec![0; Path::ALL.len()]];
        let run = || {
            self.lockstep.observe(program, &self.options, |moment| {
                steps.push(moment.optimized.hits());
            })
        };
        let trouble = trouble(guard::catch(run))?;
        let Stats { paths: total, marks, .. } = self.lockstep.take_stats();
        self.stats.marks += marks;
        self.lockstep = Lockstep::new(self.defects);
        // A step that diverges has been watched, but not what gives everything back, nor the steps
        // of a concurrent phase.
        if let Trouble::Diverged(found) = &trouble
            && let When::Step(number, _) = found.when
        {
            steps.truncate(number + 1);
        }
        let paths = taken(steps.last()?, &total).collect();
        Some(Sight { trouble, paths })
    }
}

fn trouble(result: Result<Verdict, Panic>) -> Option<Trouble> {
    match result {
        Ok(Verdict::Clean) => None,
        Ok(Verdict::Diverged(divergence)) => Some(Trouble::Diverged(divergence)),
        Err(panic) => Some(Trouble::Panicked(panic)),
    }
}

/// The paths that have more hits afterwards than before.
fn taken(before: &[u64], after: &[u64]) -> impl Iterator<Item = &'static str> {
    let more = |&path: &Path| {
        let hits = |counts: &[u64]| counts.get(path as usize).copied().unwrap_or(0);
        hits(after) > hits(before)
    };
    Path::ALL.iter().copied().filter(more).map(Path::name)
}
