//! One program on the reference and on a witness, compared after every step.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep::{FieldDiff, Names, render};
use program::{
    Call, Form, HandleId, Kind, Layout, Model, Op, Outcome, Program, Ret, Shape, Snapshot, Step,
};

use crate::compare::Comparison;
use crate::frames::Frames;
use crate::subset;
use crate::witness::{Broken, Vmas, Witness};

/// Runs of one program that something else on the machine may disturb.
const PATIENCE: usize = 20;

/// Looks at a page that the kernel has locked and the reference has not: DAMON, where a machine has
/// it, locks pages of files for a moment (`damon_folio_mkold`). What stays locked is a difference.
const LOOKS: usize = 1000;

/// What was compared.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Programs run.
    pub programs: u64,
    /// Steps carried out on both sides, and compared.
    pub steps: u64,
    /// Entries and pages compared.
    pub facts: u64,
    /// Programs whose difference came with a disturbance of the machine: run again, not counted.
    pub disturbed: u64,
    /// Looks that were repeated because a page was locked.
    pub locked: u64,
    /// Of each kind of operation: compared, and with success.
    pub kinds: BTreeMap<Kind, (u64, u64)>,
    /// Steps left out, and why.
    pub left_out: BTreeMap<&'static str, u64>,
}

/// The two sides differ.
#[derive(Clone, Debug)]
pub struct Finding {
    /// After this step, from 0.
    pub number: usize,
    /// The step.
    pub step: Step,
    /// Field, the reference's value, the kernel's value.
    pub fields: Vec<[String; 3]>,
    /// A stable short name of the first field.
    pub class: &'static str,
    /// The reference's state after the step.
    pub state: String,
}

/// Both sides.
pub struct Session<W, R> {
    witness: W,
    reference: R,
    frames: Frames,
    outcome: Outcome,
    /// A migration met a folio mapped by PTEs and by a PMD.
    mixed: bool,
    /// What was compared so far.
    pub stats: Stats,
}

impl<W: Witness, R: Model> Session<W, R> {
    /// A reference that is the same kernel as the witness, settings included.
    pub fn new(witness: W, reference: R) -> Session<W, R> {
        Session {
            witness,
            reference,
            frames: Frames::default(),
            outcome: Outcome::default(),
            mixed: false,
            stats: Stats::default(),
        }
    }

    /// The witness.
    pub fn witness(&self) -> &W {
        &self.witness
    }

    /// Runs a program on the machine that the witness is, whatever shape it asks for. A difference
    /// counts only if nothing else moved pages meanwhile.
    pub fn run(&mut self, program: &Program) -> Result<Option<Finding>, Broken> {
        for _ in 0..PATIENCE {
            let before = self.witness.disturbances();
            let found = self.once(program)?;
            let quiet = self.witness.disturbances() == before;
            if found.is_none() || quiet {
                return Ok(found);
            }
            self.stats.disturbed += 1;
        }
        self.once(program)
    }

    fn once(&mut self, program: &Program) -> Result<Option<Finding>, Broken> {
        let can = self.witness.abilities();
        let shape = subset::shape(self.witness.thp(), program, can);
        let program = Program { shape: shape.clone(), ..program.clone() };
        let layout = Layout::of(&program);
        self.reference.reset(&shape);
        self.witness.reset(&shape, &layout)?;
        self.frames.clear();
        self.mixed = false;
        self.stats.programs += 1;
        let mut before = self.reference.snapshot();
        let last = program.steps().count().saturating_sub(1);
        for (number, step) in program.steps().enumerate() {
            let step = Step { cpu: 0, place: can.placed(step.place), ..*step };
            let vmas = if number == last { Vmas::All } else { Vmas::No };
            let done = self.step(number, &step, &layout, &shape, before, vmas);
            match done.map_err(|broken| broken.at(number, &program))? {
                Ok(after) => before = after,
                Err(finding) => return Ok(Some(*finding)),
            }
        }
        Ok(None)
    }

    fn step(
        &mut self,
        number: usize,
        step: &Step,
        layout: &Layout,
        shape: &Shape,
        before: Snapshot,
        vmas: Vmas,
    ) -> Result<Result<Snapshot, Box<Finding>>, Broken> {
        let span = step.op.range().map(|range| layout.span(range));
        let can = self.witness.abilities();
        if let Some(reason) = subset::refuses(step, span, &before, shape, can) {
            *self.stats.left_out.entry(reason).or_default() += 1;
            return Ok(Ok(before));
        }
        if self.mixed && subset::migrates_large(step, &before) {
            *self.stats.left_out.entry(subset::MIXED).or_default() += 1;
            return Ok(Ok(before));
        }
        self.mixed |= subset::meets_mixed(step, &before);
        let call = Call { number, step, layout };
        self.tell(call);
        let expected = std::mem::take(&mut self.outcome);
        if expected.ret == Ret::WouldBlock {
            *self.stats.left_out.entry("it would sleep on a lock held").or_default() += 1;
            return Ok(Ok(before));
        }
        if expected.ret == Ret::Void && step.op != Op::Nop {
            *self.stats.left_out.entry("its object does not exist").or_default() += 1;
            return Ok(Ok(before));
        }
        let mut reply = self.witness.step(call)?;
        reply.span = span;
        reply.ptes = shape.ptes.into();
        // As the witness does: every batch is drained, a pin of a moment is over.
        if let Some(handle) = reply.released {
            self.tell_also(call, unpin(handle));
        }
        self.tell_also(call, Op::LruAddDrainAll);
        let after = self.reference.snapshot();
        let (renames, ptes) = (may_split(&step.op), shape.ptes.into());
        let mut looks = 0;
        let comparison = loop {
            let seen = self.witness.look(vmas)?;
            let mut comparison = Comparison::default();
            if step.op != Op::Nop {
                comparison.reply(step, &expected, &reply, &before);
            }
            comparison.state(&before, &after, &seen, &mut self.frames, renames, ptes);
            looks += 1;
            if can.driver || looks == LOOKS || !comparison.is_of_locks() {
                break comparison;
            }
            self.stats.locked += 1;
            std::thread::sleep(Duration::from_millis(1));
        };
        self.stats.steps += 1;
        self.stats.facts += comparison.compared;
        let kind = self.stats.kinds.entry(Kind::of(&step.op)).or_default();
        kind.0 += 1;
        kind.1 += u64::from(matches!(expected.ret, Ret::Ok(_)));
        self.outcome = expected;
        if comparison.fields.is_empty() {
            return Ok(Ok(after));
        }
        Ok(Err(Box::new(finding(number, step, layout, &after, &comparison.fields))))
    }

    fn tell(&mut self, call: Call<'_>) {
        self.outcome.ret = Ret::default();
        self.outcome.data.clear();
        self.reference.step(call, &mut self.outcome);
    }

    fn tell_also(&mut self, call: Call<'_>, op: Op) {
        let step = Step { op, ..*call.step };
        let mut ignored = Outcome::default();
        self.reference.step(Call { step: &step, ..call }, &mut ignored);
    }
}

/// Whether the step may give folios new names and leave them where they are.
fn may_split(op: &Op) -> bool {
    let device = Kind::DEVICE & Kind::of(op).bit() != 0;
    let migrates = matches!(op, Op::Migrate { .. } | Op::Gup { longterm: true, .. });
    matches!(op, Op::SplitFolio { .. }) || migrates || device
}

fn unpin(handle: HandleId) -> Op {
    Op::Unpin { handle, also: None, form: Form::Pages, dirty: false, hole: false }
}

fn finding(
    number: usize,
    step: &Step,
    layout: &Layout,
    after: &Snapshot,
    fields: &[FieldDiff],
) -> Finding {
    let names = Names::of([after]);
    Finding {
        number,
        step: *step,
        fields: fields.iter().map(|field| render::field(field, layout, &names)).collect(),
        class: fields.first().map_or("none", |field| field.what.field_name()),
        state: render::state(after, layout),
    }
}
