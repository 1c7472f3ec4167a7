//! Makes a program smaller while it still shows the same thing.
//!
//! The order is syzkaller's: drop what follows the finding at once, then steps one by one from the
//! back (a step takes what hangs on it along; a fork or mremap may instead be left out, with what
//! follows done in the old place), then simplify arguments; over again until nothing changes, and
//! at last two steps at a time. The predicate decides what "the same" is, so that the result is not another finding
//! than the one that was asked for. Nothing is tried twice, and nothing depends on chance.

use std::collections::BTreeSet;

use program::{Form, Mode, Op, Phase, Place, Program, Range, Schedule, Shape, Step, edit};

use crate::ops::program_hash;

/// Programs longer than this are not searched for pairs beyond it.
const MAX_PAIRED: usize = 32;

/// What minimising did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effort {
    /// Programs that were run.
    pub runs: u64,
    /// Candidates that had been tried before.
    pub repeated: u64,
}

/// The smallest program that could be reached from `program` through programs of which `same`
/// holds. `program` itself must be one.
pub fn minimise(program: &Program, same: impl FnMut(&Program) -> bool) -> (Program, Effort) {
    let mut search = Search {
        best: program.clone(),
        same,
        tried: BTreeSet::from([program_hash(program)]),
        effort: Effort::default(),
    };
    search.cut_suffix();
    loop {
        let before = program_hash(&search.best);
        search.drop_steps();
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
    tried: BTreeSet<u64>,
    effort: Effort,
}

impl<F: FnMut(&Program) -> bool> Search<F> {
    /// Takes the candidate if it still shows the same thing.
    fn accept(&mut self, candidate: Program) -> bool {
        if !self.tried.insert(program_hash(&candidate)) {
            self.effort.repeated += 1;
            return false;
        }
        self.effort.runs += 1;
        let same = (self.same)(&candidate);
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
            if self.accept(prefix(&self.best, half)) { long = half } else { short = half + 1 }
        }
    }

    fn drop_steps(&mut self) {
        let mut at = self.best.steps().count();
        while at > 0 {
            at -= 1;
            // A step may have taken later ones along: what was at `at` may be beyond the end.
            at = at.min(self.best.steps().count().saturating_sub(1));
            let forms = [edit::remove_step, edit::bypass_step];
            forms.into_iter().any(|form| {
                let candidate = form(&self.best, at);
                candidate.is_some_and(|candidate| self.accept(candidate))
            });
        }
    }

    /// What needs two steps gone at once: a `get` and a `put` that only fill a batch, say.
    fn drop_pair(&mut self) -> bool {
        let count = self.best.steps().count().min(MAX_PAIRED);
        (0..count).rev().any(|late| {
            (0..late).rev().any(|early| {
                let removed = edit::remove_steps(&self.best, &[early, late]);
                removed.is_some_and(|candidate| self.accept(candidate))
            })
        })
    }

    fn simplify_steps(&mut self) {
        for at in (0..self.best.steps().count()).rev() {
            // Each success offers new candidates for the same step.
            loop {
                let Some(step) = self.best.steps().nth(at).copied() else { break };
                let found = candidates(&step).into_iter().any(|simpler| {
                    let candidate = with_step(&self.best, at, simpler);
                    candidate.validate().is_ok() && self.accept(candidate)
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
            shrunk.is_some_and(|candidate| self.accept(candidate))
        })
    }

    fn simplify_shape(&mut self) {
        let plain = Shape { cpus: 1, ..Shape::default() };
        let simplify: [fn(&mut Shape, &Shape); 8] = [
            |shape, plain| shape.clone_from(plain),
            |shape, plain| shape.cpus = plain.cpus,
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
                self.accept(candidate);
            }
        }
        if self.best.schedule != Schedule::default() {
            self.accept(Program { schedule: Schedule::default(), ..self.best.clone() });
        }
    }
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

/// Simpler forms of a step, the boldest first. Each is nearer to a fixed plain form.
fn candidates(step: &Step) -> Vec<Step> {
    let mut list = Vec::new();
    if step.fail.is_some() {
        list.push(Step { fail: None, ..*step });
    }
    if step.cpu != 0 {
        list.push(Step { cpu: 0, ..*step });
    }
    if step.place != Place::Normal {
        list.push(Step { place: Place::Normal, ..*step });
    }
    if let Some(fail) = step.fail.filter(|fail| fail.nth > 1) {
        list.push(Step { fail: Some(program::Fail { nth: fail.nth - 1, ..fail }), ..*step });
    }
    list.extend(simpler(&step.op).into_iter().map(|op| Step { op, ..*step }));
    list
}

fn simpler(op: &Op) -> Vec<Op> {
    let mut list = Vec::new();
    if let Some(range) = op.range() {
        list.extend(shorter(range).into_iter().map(|range| with_range(op, range)));
    }
    match *op {
        Op::Mmap { mm, area, backing, prot, len, shift } if shift > 0 => {
            list.push(Op::Mmap { mm, area, backing, prot, len, shift: 0 });
        }
        Op::Mremap { mm, range, area, shift } if shift > 0 => {
            list.push(Op::Mremap { mm, range, area, shift: 0 });
        }
        Op::Gup { mm, range, handle, entry, foll, write, longterm, form } => {
            let with = |write, longterm, form| Op::Gup {
                mm,
                range,
                handle,
                entry,
                foll,
                write,
                longterm,
                form,
            };
            list.extend(write.then(|| with(false, longterm, form)));
            list.extend(longterm.then(|| with(write, false, form)));
            list.extend((form == Form::Range).then(|| with(write, longterm, Form::Pages)));
        }
        Op::Unpin { handle, also, form, dirty, hole } => {
            let with = |form, dirty, hole| Op::Unpin { handle, also, form, dirty, hole };
            list.extend(hole.then(|| with(form, dirty, false)));
            list.extend(dirty.then(|| with(form, false, hole)));
            list.extend((form == Form::Range).then(|| with(Form::Pages, dirty, hole)));
        }
        Op::Migrate { mm, range, mode: Mode::Sync } => {
            list.push(Op::Migrate { mm, range, mode: Mode::Async });
        }
        _ => {}
    }
    list
}

fn shorter(range: Range) -> Vec<Range> {
    let mut list = Vec::new();
    if range.len > 1 {
        list.push(Range { len: 1, ..range });
        list.push(Range { len: range.len / 2, ..range });
        list.push(Range { len: range.len - 1, ..range });
    }
    if range.off > 0 {
        list.push(Range { off: 0, ..range });
        list.push(Range { off: range.off - 1, ..range });
    }
    list.retain(|shorter| shorter.len > 0);
    list
}

fn with_range(op: &Op, to: Range) -> Op {
    let mut op = *op;
    if let Some(range) = op.range_mut() {
        *range = to;
    }
    op
}
