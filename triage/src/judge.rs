//! One program judged: what was found, and when two findings are the same.

use lockstep::{Class, Divergence, Lockstep, Options, Stats, Verdict};
use optimized::Defects;
use program::Program;

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
        let trouble = match guard::catch(|| self.lockstep.run(program, &self.options)) {
            Ok(Verdict::Clean) => return None,
            Ok(Verdict::Diverged(divergence)) => Trouble::Diverged(divergence),
            Err(panic) => Trouble::Panicked(panic),
        };
        // Whatever state the two were left in: no later program shall see it.
        self.stats.merge(&self.lockstep.take_stats());
        self.lockstep = Lockstep::new(self.defects);
        Some(trouble)
    }
}
