//! Makes a program smaller while it still shows the same thing: fewest operations, then fewest
//! preemptions, then simplest values.
//!
//! The order is syzkaller's: drop what follows the finding at once, then steps one by one from the
//! back (a step takes what hangs on it along; a fork or mremap may instead be left out, with what
//! follows done in the old place), then the schedule (`schedule.rs`), then operations (`kinds.rs`),
//! arguments (`values.rs`) and the machine; over again until nothing changes, and at last two steps at a time. The
//! predicate decides what "the same" is, so that the result is not another finding than the one
//! that was asked for. Nothing is tried twice, and nothing depends on chance.

mod kinds;
mod schedule;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use program::{Op, Phase, Place, Program, Shape, Step, edit};

use crate::ops::program_hash;

/// Programs longer than this are not searched for pairs beyond it.
const MAX_PAIRED: usize = 32;

/// Pages of each device memory of a machine that lacks none.
const DEVICE_PAGES: u32 = 64;

/// What minimising did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Effort {
    /// Programs that were run.
    pub runs: u64,
    /// Candidates that had been tried before.
    pub repeated: u64,
    /// Candidates that were not tried, because there was no work left for them.
    pub left_out: u64,
    /// Of each kind of change: how often it was tried, and how often the result was the same.
    pub changes: BTreeMap<&'static str, [u64; 2]>,
}

/// The smallest program that could be reached from `program` through programs of which `same`
/// holds. `program` itself must be one.
pub fn minimise(program: &Program, mut same: impl FnMut(&Program) -> bool) -> (Program, Effort) {
    minimise_within(program, u64::MAX, |candidate| (same(candidate), 0))
}

/// The same within so much work: `same` says too what a run took, in a measure of its own that does
/// not depend on the machine it runs on.
pub fn minimise_within(
    program: &Program,
    work: u64,
    same: impl FnMut(&Program) -> (bool, u64),
) -> (Program, Effort) {
    let mut search = Search {
        best: program.clone(),
        same,
        left: work,
        tried: BTreeSet::from([program_hash(program)]),
        effort: Effort::default(),
    };
    search.cut_suffix();
    loop {
        let before = program_hash(&search.best);
        search.drop_steps();
        search.simplify_phases();
        search.simplify_schedule();
        search.simplify_kinds();
        search.simplify_steps();
        search.simplify_shape();
        if program_hash(&search.best) == before && !search.drop_pair() {
            return (search.best, search.effort);
        }
    }
}

struct Search<F> {
    best: Program,
    same: F,
    /// Work left.
    left: u64,
    tried: BTreeSet<u64>,
    effort: Effort,
}

impl<F: FnMut(&Program) -> (bool, u64)> Search<F> {
    /// Takes the candidate, made by this kind of change, if it still shows the same thing.
    fn accept(&mut self, change: &'static str, candidate: Program) -> bool {
        if !self.tried.insert(program_hash(&candidate)) {
            self.effort.repeated += 1;
            return false;
        }
        if self.left == 0 {
            self.effort.left_out += 1;
            return false;
        }
        self.effort.runs += 1;
        let (same, work) = (self.same)(&candidate);
        self.left = self.left.saturating_sub(work);
        let [tried, taken] = self.effort.changes.entry(change).or_default();
        *tried += 1;
        *taken += u64::from(same);
        if same {
            self.best = candidate;
        }
        same
    }

    /// The shortest prefix that shows it, by bisection and then step by step.
    fn cut_suffix(&mut self) {
        let (mut short, mut long) = (0, self.best.steps().count());
        while short < long {
            let half = short + (long - short) / 2;
            if self.accept("cut the end", prefix(&self.best, half)) {
                long = half
            } else {
                short = half + 1
            }
        }
    }

    fn drop_steps(&mut self) {
        let mut at = self.best.steps().count();
        while at > 0 {
            at -= 1;
            // A step may have taken later ones along: what was at `at` may be beyond the end.
            at = at.min(self.best.steps().count().saturating_sub(1));
            if let Some(removed) = edit::remove_step(&self.best, at)
                && self.accept("drop a step", removed)
            {
                continue;
            }
            if let Some(bypassed) = edit::bypass_step(&self.best, at) {
                self.accept("stay in the old place", bypassed);
            }
        }
    }

    /// What needs two steps gone at once: a `get` and a `put` that only fill a batch, say.
    fn drop_pair(&mut self) -> bool {
        let count = self.best.steps().count().min(MAX_PAIRED);
        (0..count).rev().any(|late| {
            (0..late).rev().any(|early| {
                let removed = edit::remove_steps(&self.best, &[early, late]);
                removed.is_some_and(|candidate| self.accept("drop two steps", candidate))
            })
        })
    }

    fn simplify_kinds(&mut self) {
        for at in (0..self.best.steps().count()).rev() {
            loop {
                let found = kinds::plainer(&self.best, at).into_iter().any(|op| {
                    let replaced = edit::replace_step(&self.best, at, op);
                    replaced.is_some_and(|candidate| self.accept("plainer operation", candidate))
                });
                if !found {
                    break;
                }
            }
        }
    }

    fn simplify_steps(&mut self) {
        for at in (0..self.best.steps().count()).rev() {
            // Each success offers new candidates for the same step.
            loop {
                let Some(step) = self.best.steps().nth(at).copied() else { break };
                let found = values::candidates(&step).into_iter().any(|simpler| {
                    let candidate = with_step(&self.best, at, simpler);
                    candidate.validate().is_ok() && self.accept("plainer arguments", candidate)
                });
                if !found && !self.shrink_area(at, &step.op) {
                    break;
                }
            }
        }
    }

    fn shrink_area(&mut self, at: usize, op: &Op) -> bool {
        let Op::Mmap { len, .. } = *op else { return false };
        [1, len / 2, len - 1].into_iter().any(|len| {
            let shrunk = edit::shrink_area(&self.best, at, len);
            shrunk.is_some_and(|candidate| self.accept("shorter area", candidate))
        })
    }

    fn simplify_shape(&mut self) {
        let plain = Shape { cpus: 1, ..Shape::default() };
        let simplify: [fn(&mut Shape, &Shape); 10] = [
            |shape, plain| shape.clone_from(plain),
            |shape, _| shape.pages = roomy(shape),
            |shape, plain| shape.cpus = plain.cpus,
            |shape, _| shape.cpus = (shape.cpus - 1).max(1),
            |shape, plain| shape.faults = plain.faults,
            |shape, plain| shape.thp = plain.thp,
            |shape, plain| shape.batch = plain.batch,
            |shape, plain| shape.pages = plain.pages,
            |shape, plain| shape.preempt = plain.preempt,
            |shape, plain| shape.ptes = plain.ptes,
        ];
        for change in simplify {
            let mut candidate = self.best.clone();
            change(&mut candidate.shape, &plain);
            if candidate.validate().is_ok() {
                self.accept("plainer machine", candidate);
            }
        }
    }
}

/// Places of a machine that lacks no memory: those of the plain one, and a device's if there is one.
pub(crate) fn roomy(shape: &Shape) -> [u32; 5] {
    let plain = Shape::default().pages;
    std::array::from_fn(|place| match shape.pages[place] {
        0 => 0,
        _ if Place::ALL[place].is_zone_device() => DEVICE_PAGES,
        _ => plain[place],
    })
}

/// The first `count` steps. What a step names was created before it, so that any prefix is valid.
fn prefix(program: &Program, count: usize) -> Program {
    let mut left = count;
    let mut phases = Vec::new();
    for phase in &program.phases {
        let take = left.min(phase.steps.len());
        left -= take;
        if take > 0 {
            phases.push(Phase { steps: phase.steps[..take].to_vec() });
        }
    }
    let mut expects = program.expects.clone();
    expects.retain(|expect| expect.after <= count);
    Program { phases, expects, ..program.clone() }
}

fn with_step(program: &Program, at: usize, step: Step) -> Program {
    let mut program = program.clone();
    if let Some(slot) = program.steps_mut().nth(at) {
        *slot = step;
    }
    program
}
