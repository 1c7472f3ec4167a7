//! One program judged: what was found, and when two findings are the same.

use std::collections::{BTreeMap, BTreeSet};

use lockstep::{Class, Divergence, Lockstep, Options, Scheduler, Stats, Verdict, When};
use optimized::{Defects, Path};
use program::{Campaign, Decoder, Program, Schedule};

use crate::guard::{self, Panic};

/// What a program showed.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The two sides differ, or one misbehaved.
    Diverged(Box<Divergence>),
    /// A side panicked.
    Panicked(Panic),
}

/// What must stay the same while a program is made smaller.
#[derive(Clone, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct Signature {
    /// The class of the finding.
    pub class: String,
    /// The path that the optimised side took last, if the finding belongs to a path; of a panic, the place.
    pub path: String,
}

impl Trouble {
    /// What must stay the same while the program is made smaller.
    pub fn signature(&self) -> Signature {
        match self {
            Trouble::Diverged(divergence) => {
                // Some findings are noticed long after they happened, on any path.
                let late = matches!(
                    divergence.class,
                    Class::Invariant(_) | Class::Digest | Class::Teardown | Class::Expect
                );
                let path = divergence.path.filter(|_| !late).unwrap_or_default();
                Signature { class: divergence.class.to_string(), path: path.to_owned() }
            }
            Trouble::Panicked(panic) => {
                Signature { class: "panic".to_owned(), path: panic.place.clone() }
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
    /// Whether `other` can be the same finding seen in a smaller program: of the same class, in a
    /// step that takes no path that this one does not.
    pub fn covers(&self, other: &Sight) -> bool {
        self.trouble.signature().class == other.trouble.signature().class
            && match (&self.trouble, &other.trouble) {
                (Trouble::Panicked(mine), Trouble::Panicked(theirs)) => mine.place == theirs.place,
                _ => self.paths.is_superset(&other.paths),
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

    /// What was counted since the last call.
    pub fn take_stats(&mut self) -> Stats {
        let mut stats = std::mem::take(&mut self.stats);
        stats.merge(&self.lockstep.take_stats());
        stats
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

    /// Runs one program, watching the paths that it takes. Nothing of it is counted.
    pub fn look(&mut self, program: &Program) -> Option<Sight> {
        self.tally(program, &mut Suspicion::default())
    }

    /// As [`Judge::look`]; notes which paths its steps took and what came of it.
    pub fn tally(&mut self, program: &Program, suspicion: &mut Suspicion) -> Option<Sight> {
        self.lockstep.take_stats();
        let mut steps: Vec<Vec<u64>> = vec![vec![0; Path::ALL.len()]];
        let run = || {
            self.lockstep.observe(program, &self.options, |moment| {
                steps.push(moment.optimized.hits());
            })
        };
        let trouble = trouble(guard::catch(run));
        let total = self.lockstep.take_stats().paths;
        // A step that diverges has been watched, but not what gives everything back, nor the steps
        // of a concurrent phase.
        if let Some(Trouble::Diverged(found)) = &trouble
            && let When::Step(number, _) = found.when
        {
            steps.truncate(number + 1);
        }
        for pair in steps.windows(2) {
            taken(&pair[0], &pair[1]).for_each(|path| suspicion.note(path, false));
        }
        let trouble = trouble?;
        self.lockstep = Lockstep::new(self.defects);
        let paths: BTreeSet<_> = taken(steps.last()?, &total).collect();
        paths.iter().for_each(|path| suspicion.note(path, true));
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

/// How often steps that take a path show a finding, in one build: spectrum-based fault
/// localisation, with paths of the optimised side for lines of code.
#[derive(Clone, Debug, Default)]
pub struct Suspicion {
    /// Steps that took it: those that showed something, and all.
    paths: BTreeMap<&'static str, [u64; 2]>,
}

/// Programs that are run to learn it: always the same ones.
const ORDINARY: u64 = 2000;
/// A path of which fewer steps than this, in percent, show something is not to blame.
const SUSPECT: u64 = 20;

impl Suspicion {
    /// Of the build with these defects.
    pub fn of(defects: Defects) -> Suspicion {
        let mut judge = Judge::new(defects, Options { paranoid: false });
        let (mut suspicion, mut bytes) = (Suspicion::default(), Vec::new());
        let (mut decoder, mut program) = (Decoder::default(), Program::default());
        for index in 0..ORDINARY {
            Campaign::new(0).generate(index, &mut bytes);
            decoder.decode(&bytes, &mut program);
            judge.tally(&program, &mut suspicion);
        }
        suspicion
    }

    fn note(&mut self, path: &'static str, shown: bool) {
        let [shows, all] = self.paths.entry(path).or_default();
        *shows += u64::from(shown);
        *all += 1;
    }

    /// The path that is most to blame among these, if one is: of those with at least half the
    /// highest share the one taken most often, as what they have in common.
    pub fn blame(&self, paths: &BTreeSet<&'static str>) -> Option<&'static str> {
        let count = |path: &'static str| self.paths.get(path).copied().unwrap_or([1, 1]);
        let share = |path| {
            let [shows, all] = count(path);
            shows * 100 / all.max(1)
        };
        let highest = paths.iter().map(|path| share(path)).max()?;
        let suspects = paths.iter().filter(|path| 2 * share(path) >= highest.max(2 * SUSPECT));
        suspects.copied().max_by_key(|path| (count(path)[1], *path))
    }
}
