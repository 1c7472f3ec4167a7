//! What findings of one cause have in common, as far as one program tells.
//!
//! A finding is *seen* as a class, the operation in whose step it was noticed and the paths that
//! the optimised side took there ([`Sight`]). Made as small as it gets within its class and paths,
//! a random program becomes the one to show to people. Made smaller still through whatever is
//! related, it becomes the [`root`]: another front's program, another symptom's, but of the same
//! bug, and much the same one whatever it began as. The [`Signature`] is the root's.

use std::collections::BTreeSet;
use std::fmt;

use optimized::{Defects, Path};
use program::{Device, Foll, Kind, Op, Program, Step};

use crate::compare::Value;
use crate::minimise::minimise;
use crate::root::root;
use crate::run::{Lockstep, Options};
use crate::stuck;
use crate::verdict::{Class, Divergence, Verdict, When};

/// What is seen of a finding in one program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sight {
    /// The class: `refcount-leak`, `conduct-free-of-mapped-folio`…
    class: String,
    /// The operation in whose step it was noticed; of a whole phase, what its tasks were at.
    operation: String,
    /// Whether it was seen while operations ran beside each other.
    together: bool,
    /// The paths that do work and were taken there.
    work: BTreeSet<&'static str>,
    /// The paths that do work and were taken about then, also where nobody can say which matter.
    about: BTreeSet<&'static str>,
    /// Whether a folio lay in the memory of a device.
    device: bool,
}

/// Paths that say how memory came to be there, how it was reached or what came of the whole; not
/// what was done with it.
const SETTING: [&str; 24] = [
    "anon-",
    "batch-",
    "exclusive-failed",
    "fast-",
    "file-",
    "fork-anon",
    "fork-huge",
    "gup-fault",
    "gup-pmd",
    "gup-pte",
    "gup-unshare",
    "hmm-fault",
    "longterm-drain",
    "longterm-isolate",
    "longterm-mixed",
    "made-exclusive",
    "mirror-hit",
    "offline-",
    "spf",
    "thp-",
    "vma-lock",
    "wp-zero-page",
    "zap-huge",
    "zap-pte",
];

/// Ends of names of paths that do the same to more pages at once.
const SIZES: [&str; 4] = ["-huge", "-large", "-run", "-batch"];

impl Sight {
    /// What is seen of a divergence in whose step the optimised side took these paths.
    pub fn new(divergence: &Divergence, paths: impl IntoIterator<Item = &'static str>) -> Sight {
        let setting = |path: &&str| {
            SETTING.iter().any(|setting| path.starts_with(setting)) || path.ends_with("-restored")
        };
        // Noticed long after it happened, on any path.
        let late = matches!(
            divergence.class,
            Class::Invariant(_) | Class::Digest | Class::Teardown | Class::Expect
        );
        let operation = match divergence.when {
            _ if late => "any".to_owned(),
            When::Phase(_) => tale(divergence),
            When::Step(_, step) => Kind::of(&step.op).name().to_owned(),
            When::Ending(step) => format!("end-{}", Kind::of(&step.op).name()),
            When::Start | When::End => "end".to_owned(),
        };
        // Which of the paths of a phase matter nobody can say.
        let together = !divergence.trace.is_empty();
        let silent = late || together;
        let about: BTreeSet<_> = paths.into_iter().filter(|path| !setting(path)).collect();
        let work = if silent { BTreeSet::new() } else { about.clone() };
        let mut folios = divergence.optimized.folios.values();
        let device = folios.any(|folio| Device::owner(folio.place).is_some());
        Sight { class: divergence.class.to_string(), operation, together, work, about, device }
    }

    /// What is seen of a panic at a place in the source.
    pub fn of_panic(place: &str) -> Sight {
        // Lines move.
        let file = place.split(':').next().unwrap_or(place);
        let (work, about) = Default::default();
        let (class, operation) = ("panic".to_owned(), file.to_owned());
        Sight { class, operation, together: false, work, about, device: false }
    }

    /// Whether `other` can be the same finding seen in a smaller program: of the same class, in a
    /// step that does no work that this one does not.
    pub fn covers(&self, other: &Sight) -> bool {
        let here = self.class != "panic" || self.operation == other.operation;
        self.class == other.class && here && self.work.is_superset(&other.work)
    }

    /// Whether `other`, of a program one edit away, is likely the same bug, whatever its symptom:
    /// both do some of the same work, or one does none and it is the same symptom.
    pub fn related(&self, other: &Sight) -> bool {
        if self.says_little() || other.says_little() {
            return self.covers(other);
        }
        let symptom = self.class == other.class && self.operation == other.operation;
        if self.together || other.together {
            return symptom;
        }
        match (self.work.is_empty(), other.work.is_empty()) {
            (true, true) => true,
            (false, false) => !self.work.is_disjoint(&other.work),
            _ => symptom,
        }
    }

    /// Whether `other`, of another program than one edit away, is likely the same bug: it does some
    /// of the work that was done about then here; if there is none, it is the same operation's.
    pub(crate) fn akin(&self, other: &Sight) -> bool {
        if self.says_little() || other.says_little() {
            return false;
        }
        match other.work.is_empty() {
            true => self.about.is_empty() && self.operation == other.operation,
            false => !self.about.is_disjoint(&other.work),
        }
    }

    /// Whether the class says nothing of what is wrong.
    fn says_little(&self) -> bool {
        matches!(self.class.as_str(), "panic" | "cost")
    }
}

/// Names a kind of finding without anything that changes when the program around it does: no
/// step numbers, addresses, folios or counts. Findings of one signature are taken for one bug.
#[derive(Clone, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub struct Signature {
    /// What is wrong.
    pub what: String,
    /// Where: the paths that did work in the step that showed it; if there are none, its operation
    /// and what was held then.
    pub place: String,
}

impl Signature {
    /// Of what is seen in this program. Take it of a root.
    pub fn new(program: &Program, sight: &Sight) -> Signature {
        // All three say that the wrong page is there.
        let what = match sight.class.as_str() {
            "mapping" | "handle" | "content" => "wrong-page",
            class => class,
        };
        let place = match sight.work.is_empty() {
            false => {
                let one_size = |path: &&'static str| {
                    SIZES.iter().find_map(|size| path.strip_suffix(size)).unwrap_or(path)
                };
                let work: BTreeSet<&str> = sight.work.iter().map(one_size).collect();
                work.into_iter().collect::<Vec<_>>().join("+")
            }
            true if sight.class == "panic" => sight.operation.clone(),
            true if sight.operation == "any" => kinds(program),
            true => situation(program, sight),
        };
        Signature { what: what.to_owned(), place }
    }

    /// `what in place`.
    pub fn title(&self) -> String {
        format!("{} in {}", self.what, self.place)
    }
}

/// `what--place`, of lower-case letters, digits and single or double dashes: fit for file names,
/// and for tools that take other signs and long numbers for noise.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in format!("{}--{}", self.what, self.place).chars() {
            let plain = if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
            fmt::Write::write_char(f, plain)?;
        }
        Ok(())
    }
}

/// What the tasks of a phase were at, whichever tasks they were: `has-interrupts-off+waits-for-PTL`.
fn tale(divergence: &Divergence) -> String {
    let told = divergence.fields.iter().find_map(|field| match &field.optimized {
        Value::Text(text) => Some(text.split(';').map(str::to_owned).collect()),
        Value::Stuck(verdict) => Some(stuck::clauses(verdict)),
        _ => None,
    });
    let plain = |word: &&str| {
        !matches!(*word, "" | "task" | "of") && !word.contains(|c: char| c.is_ascii_digit())
    };
    let words = |clause: &str| {
        let words = clause.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(plain);
        words.collect::<Vec<_>>().join("-")
    };
    let told: Vec<String> = told.unwrap_or_else(|| vec!["phase".to_owned()]);
    let clauses: BTreeSet<String> = told.iter().map(|clause| words(clause)).collect();
    clauses.into_iter().collect::<Vec<_>>().join("+")
}

/// The kinds of a program's operations, and whether something is refused to one.
pub fn kinds(program: &Program) -> String {
    let kind = |step: &Step| {
        let refused = if step.fail.is_some() { "-refused" } else { "" };
        format!("{}{refused}", Kind::of(&step.op).name())
    };
    let kinds: BTreeSet<String> = program.steps().map(kind).collect();
    kinds.into_iter().collect::<Vec<_>>().join("+")
}

/// The operation, what the program holds and whose memory it is: a fork while a page is pinned is
/// not just a fork, nor is a pin of a device's page just a pin.
fn situation(program: &Program, sight: &Sight) -> String {
    let operation = sight.operation.as_str();
    let held = program.steps().filter_map(|step| match step.op {
        Op::Gup { foll: Foll::Get, .. } => Some("get"),
        Op::Gup { foll: Foll::Pin, .. } => Some("pin"),
        Op::LockPage { .. } => Some("lock"),
        _ => None,
    });
    // What GUP holds itself, and what was there before it, is no matter.
    let gup = ["get", "pin"].iter().any(|verb| operation.starts_with(verb));
    let held: BTreeSet<&str> = held.filter(|_| !gup).collect();
    let more = held.into_iter().chain(sight.device.then_some("device"));
    let more = more.filter(|word| !operation.contains(word));
    std::iter::once(operation).chain(more).collect::<Vec<_>>().join("+")
}

/// A finding, made small and named.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The smallest program that shows it.
    pub minimal: Program,
    /// What that shows.
    pub divergence: Box<Divergence>,
    /// The signature of its root.
    pub signature: Signature,
}

impl Identity {
    /// Of what this program shows, if it shows something.
    pub fn of(defects: Defects, program: &Program, options: &Options) -> Option<Identity> {
        let look = |program: &Program| see(defects, program, options);
        let (sight, _) = look(program)?;
        let (minimal, _) =
            minimise(program, |other| look(other).is_some_and(|(seen, _)| sight.covers(&seen)));
        let (_, divergence) = look(&minimal)?;
        // The sooner it is noticed, the better one can tell whose work it is.
        let look = |program: &Program| see(defects, program, &Options { paranoid: true });
        let (sight, _) = look(&minimal)?;
        let root = root(&minimal, &sight, |other| look(other).map(|(seen, _)| seen));
        let (seen, _) = look(&root)?;
        Some(Identity { minimal, divergence, signature: Signature::new(&root, &seen) })
    }
}

fn see(defects: Defects, program: &Program, options: &Options) -> Option<(Sight, Box<Divergence>)> {
    let mut lockstep = Lockstep::new(defects);
    let mut steps: Vec<Vec<u64>> = vec![vec![0; Path::ALL.len()]];
    let verdict = lockstep.observe(program, options, |moment| steps.push(moment.optimized.hits()));
    let Verdict::Diverged(divergence) = verdict else { return None };
    // A step that diverges has been watched, but not those of a concurrent phase.
    if let When::Step(number, _) = divergence.when {
        steps.truncate(number + 1);
    }
    let (before, after) = (steps.last()?, lockstep.take_stats().paths);
    let taken = |&at: &usize| after.get(at) > before.get(at);
    let paths = (0..Path::ALL.len()).filter(taken).map(|at| Path::ALL[at].name());
    Some((Sight::new(&divergence, paths), divergence))
}
