//! A concurrent phase: run on the optimised side under a schedule, then judged.
//!
//! The machine's own verdict comes first. Otherwise the marks are carried out on the reference, in
//! the order of time; each must see what the optimised side saw, or a permission must say why not
//! (`docs/legitimate-divergence.md`). At the end the machine is quiescent and the digests agree.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use program::{Call, Kind, Mark, Marked, Op, Outcome, Program, Replay, Ret, Seen, Step};

use crate::compare::{FieldDiff, Value, What};
use crate::names::Names;
use crate::ops::Stable;
use crate::overlap::Meetings;
use crate::permission;
use crate::run::Lockstep;
use crate::scheduler::Scheduler;
use crate::search;
use crate::stuck;
use crate::subject::Subject;
use crate::verdict::{Class, Divergence, Remark, When};

/// What is kept from phase to phase, and buffers.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) scheduler: Scheduler,
    pub(crate) outs: Vec<Outcome>,
    /// The marks of the program's phases so far, and which of them are of which phase: those of
    /// earlier ones are the way back to where a phase began.
    marks: Vec<Marked>,
    played: Vec<(usize, Range<usize>)>,
    meetings: Meetings,
}

impl Stage {
    /// A program begins.
    pub(crate) fn begin(&mut self) {
        self.scheduler.begin();
        self.marks.clear();
        self.played.clear();
    }

    /// A phase was run.
    fn keep(&mut self, phase: usize, trace: &[Marked]) {
        let start = self.marks.len();
        self.marks.extend_from_slice(trace);
        self.played.push((phase, start..self.marks.len()));
    }

    /// The marks of the last phase.
    pub(crate) fn trace(&self) -> &[Marked] {
        &self.marks[self.last()]
    }

    fn last(&self) -> Range<usize> {
        self.played.last().map_or(0..0, |(_, marks)| marks.clone())
    }

    /// What the phase showed, with the decisions of the program so far.
    pub(crate) fn hash(&self, decisions: &[u8]) -> u64 {
        let mut hasher = Stable::default();
        self.trace().hash(&mut hasher);
        decisions.hash(&mut hasher);
        hasher.finish()
    }
}

/// Whether the steps of a phase run beside each other: they are on several CPUs, all of them have
/// marks, and nothing in the program leaves behind what marks cannot tell yet. Otherwise they run
/// in text order.
#[inline]
pub(crate) fn concurrent(program: &Program, steps: &[Step]) -> bool {
    steps.len() > 1 && are_concurrent(program, steps)
}

fn are_concurrent(program: &Program, steps: &[Step]) -> bool {
    steps.iter().any(|step| step.cpu != steps[0].cpu)
        && steps.iter().all(|step| Kind::of(&step.op).has_marks())
        && !steps.iter().any(|step| matches!(step.op, Op::DeviceEvict { remove: true, .. }))
        && program.phases.iter().all(|phase| nothing_outlasts(&phase.steps))
}

/// A migration is over before its CPU does anything else.
fn nothing_outlasts(steps: &[Step]) -> bool {
    let outlasts = |at: &usize| Kind::of(&steps[*at].op).outlasts_marks();
    (0..steps.len()).filter(outlasts).all(|at| is_finalized(&steps[at..]))
}

fn is_finalized(steps: &[Step]) -> bool {
    let (Op::MigrateVmaSetup { migration, .. } | Op::MigrateDeviceRange { migration, .. }) =
        steps[0].op
    else {
        return false;
    };
    let own = steps[1..].iter().filter(|step| step.cpu == steps[0].cpu);
    let other =
        |op: &Op| !matches!(op, Op::MigrateVmaPages { migration: of, .. } if *of == migration);
    let end = own.map(|step| step.op).find(other);
    matches!(end, Some(Op::MigrateVmaFinalize { migration: of }) if of == migration)
}

impl<R: Replay, O: Subject> Lockstep<R, O> {
    /// Runs the phase, whose first step has this number, and judges it.
    pub(crate) fn phase(
        &mut self,
        program: &Program,
        phase: usize,
        first: usize,
    ) -> Result<(), Box<Divergence>> {
        let layout = std::mem::take(&mut self.layout);
        let call = |(number, step)| Call { number, step, layout: &layout };
        (0..).zip(program.steps()).take(first).for_each(|at| self.optimized.tlb_keeps(call(at)));
        let steps = &program.phases[phase].steps;
        let calls: Vec<Call<'_>> = (first..).zip(steps).map(call).collect();
        let mut result = self.play(phase, first, &calls);
        self.layout = layout;
        if let Err(divergence) = &mut result
            && divergence.class.is_judged()
            && self.excused(program, phase, first)
        {
            divergence.class = Class::Excused;
            self.stats.excused += 1;
        }
        result
    }

    fn play(
        &mut self,
        phase: usize,
        first: usize,
        calls: &[Call<'_>],
    ) -> Result<(), Box<Divergence>> {
        let mut stage = std::mem::take(&mut self.stage);
        stage.outs.clear();
        stage.outs.resize_with(calls.len(), Outcome::default);
        let Stage { scheduler, outs, .. } = &mut stage;
        let verdict = scheduler.run_phase(&mut self.optimized, calls, outs);
        stage.keep(phase, self.optimized.trace());
        let result = match self.misconduct(&verdict) {
            Some(field) => Err((field, None)),
            None => self.replay(first, calls, stage.trace()),
        };
        let trace = &stage.marks[stage.last()];
        // What went round for ever is long, and no measure of the programs.
        self.stats.phase(trace.len(), result.is_ok() && stage.meetings.any(trace));
        self.stage = stage;
        let agree = self.reference.digest() == self.optimized.digest();
        match result {
            Ok(()) if agree => Ok(()),
            Ok(()) => {
                let divergence = self.diverge(When::Phase(phase));
                let remarks = self.at_the_end("the states differ");
                Err(self.drawn(divergence, None, remarks))
            }
            Err((field, at)) => {
                let remarks =
                    if at.is_some() { Vec::new() } else { self.remarks(&field, &verdict) };
                let marked = at.map(|at: usize| self.stage.trace()[at]);
                let call = marked.and_then(|marked| calls.get(marked.number? - first));
                let when =
                    call.map_or(When::Phase(phase), |call| When::Step(call.number, *call.step));
                let (a, b) = (self.reference.snapshot(), self.optimized.snapshot());
                Err(self.drawn(self.diverged(when, vec![field], a, b), at, remarks))
            }
        }
    }

    /// What a picture of the phase needs besides.
    fn drawn(
        &self,
        mut divergence: Box<Divergence>,
        at: Option<usize>,
        remarks: Vec<Remark>,
    ) -> Box<Divergence> {
        divergence.remarks = remarks;
        divergence.trace = self.stage.trace().to_vec();
        divergence.holdings = self.optimized.holdings();
        divergence.at = at;
        divergence
    }

    /// Whether the phase, which its marks do not explain, has another order of steps that does.
    fn excused(&mut self, program: &Program, phase: usize, first: usize) -> bool {
        let Some(mut state) = self.reference.copy() else { return false };
        state.reset(&program.shape);
        let call = |(number, step)| Call { number, step, layout: &self.layout };
        let calls: Vec<Call<'_>> = (0..).zip(program.steps()).map(call).collect();
        let mut rest = &calls[..];
        for (number, steps) in program.phases[..phase].iter().map(|phase| &phase.steps).enumerate()
        {
            let now;
            (now, rest) = rest.split_at(steps.len());
            match self.stage.played.iter().find(|played| played.0 == number) {
                Some((_, marks)) => {
                    state.begin_phase();
                    for marked in &self.stage.marks[marks.clone()] {
                        state.mark(marked.number.map(|number| calls[number]), marked.mark);
                    }
                    state.end_phase();
                }
                None => now.iter().for_each(|&call| state.step(call, &mut Outcome::default())),
            }
        }
        let calls = &rest[..program.phases[phase].steps.len()];
        search::excused(&state, (first, calls), self.stage.trace(), self.optimized.digest())
    }

    /// What the machine, or the optimised side itself, found wrong.
    fn misconduct(&self, verdict: &machine::Verdict) -> Option<FieldDiff> {
        let text = |text: String| Value::Text(text);
        let field =
            |what, found| FieldDiff { what, reference: Value::Absent, optimized: text(found) };
        if let Some((class, found)) = self.optimized.conduct() {
            return Some(field(What::Conduct(class), found));
        }
        if let machine::Verdict::Conduct(conduct, task) = verdict {
            let found = format!("{conduct} ({})", stuck::who(*task));
            return Some(field(What::Conduct(conduct.class()), found));
        }
        let (what, found) = (What::Machine(stuck::class(verdict)?), Box::new(verdict.clone()));
        Some(FieldDiff { what, reference: Value::Absent, optimized: Value::Stuck(found) })
    }

    /// Where that went wrong, which no mark says.
    fn remarks(&self, field: &FieldDiff, verdict: &machine::Verdict) -> Vec<Remark> {
        let found = match &field.optimized {
            Value::Text(found) => found.clone(),
            Value::Stuck(verdict) => stuck::words(verdict, &Names::default()),
            _ => return Vec::new(),
        };
        if let (What::Conduct(_), Some((cpu, at))) = (field.what, self.optimized.blamed()) {
            return vec![Remark { cpu, at, text: found }];
        }
        match stuck::remarks(verdict, self.stage.trace().len()) {
            none if none.is_empty() => self.at_the_end(&found),
            stuck => stuck,
        }
    }

    /// Something to say of the phase when all of it is over.
    fn at_the_end(&self, text: &str) -> Vec<Remark> {
        let trace = self.stage.trace();
        let remark =
            |last: &Marked| Remark { cpu: last.cpu, at: trace.len(), text: text.to_owned() };
        trace.last().map(remark).into_iter().collect()
    }

    /// A GUP that fails but has not given back what it took leaks it (`unpin_user_pages`).
    fn kept(&self, call: Option<Call<'_>>, marked: &Marked) -> Option<FieldDiff> {
        let (Mark::Return, Seen::Ret(Ret::Err(_))) = (marked.mark, marked.seen) else {
            return None;
        };
        let Op::Gup { handle, .. } = call?.step.op else { return None };
        let pages = self.reference.snapshot().handles.get(&handle)?.len() as i64;
        let (reference, optimized) = (Value::Count(0), Value::Count(pages));
        Some(FieldDiff { what: What::Kept, reference, optimized })
    }

    /// Carries out the marks on the reference. The error says which one does not fit.
    fn replay(
        &mut self,
        first: usize,
        calls: &[Call<'_>],
        trace: &[Marked],
    ) -> Result<(), (FieldDiff, Option<usize>)> {
        self.reference.begin_phase();
        for (at, marked) in trace.iter().enumerate() {
            let call = marked.number.and_then(|number| calls.get(number - first)).copied();
            let seen = self.reference.mark(call, marked.mark);
            if seen == marked.seen {
                continue;
            }
            let permitted = permission::of(first, calls, trace, at, seen);
            match permitted.filter(|permission| self.withheld != Some(*permission)) {
                Some(permission) => self.stats.permit(permission),
                None => {
                    let what = What::Mark(marked.mark);
                    let (reference, optimized) = (Value::Seen(seen), Value::Seen(marked.seen));
                    let diff = FieldDiff { what, reference, optimized };
                    return Err((self.kept(call, marked).unwrap_or(diff), Some(at)));
                }
            }
        }
        if self.reference.end_phase() {
            return Ok(());
        }
        let left = Value::Text("transient references are left".to_owned());
        Err((FieldDiff { what: What::Left, reference: Value::Absent, optimized: left }, None))
    }
}
