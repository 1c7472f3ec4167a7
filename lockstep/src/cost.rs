//! The cost rule, and the ledger written out.
//!
//! On quiescent, sequential programs in which nothing is refused, no GUP operation of the optimised
//! side may cost more, item by item, than the same side without batching on the same state; and
//! what a huge PMD maps must be grabbed in one addition, not page by page.

use optimized::{Cost, Variant, World};
use program::{Call, Layout, Model, Op, Outcome, Program, Replay, Ret, Step};
use reference::Reference;

use crate::compare::{FieldDiff, Value, What};
use crate::run::Lockstep;
use crate::subject::Subject;
use crate::verdict::{Divergence, When};

/// What one step of a program cost.
#[derive(Clone, Debug)]
pub struct StepCost {
    /// Its number, from 0.
    pub number: usize,
    /// The step.
    pub step: Step,
    /// For each variant what it returned and what that cost.
    pub costs: Vec<(Ret, Cost)>,
}

/// The ledger of a program: every step that is carried out, on each variant in a world of its own.
pub fn ledger(program: &Program, variants: &[Variant]) -> Vec<StepCost> {
    let layout = Layout::of(program);
    let mut reference = Reference::new();
    reference.reset(&program.shape);
    let mut worlds: Vec<World> = variants.iter().map(|&variant| World::of(variant)).collect();
    worlds.iter_mut().for_each(|world| world.reset(&program.shape));
    let mut list = Vec::new();
    for (number, step) in program.steps().enumerate() {
        let call = Call { number, step, layout: &layout };
        let mut outcome = Outcome::default();
        reference.step(call, &mut outcome);
        if outcome.ret == Ret::WouldBlock {
            continue;
        }
        let cost = |world: &mut World| {
            let (before, mut outcome) = (world.cost(), Outcome::default());
            world.step(call, &mut outcome);
            (outcome.ret, world.cost() - before)
        };
        let costs = worlds.iter_mut().map(cost).collect();
        list.push(StepCost { number, step: *step, costs });
    }
    list
}

impl<R: Replay, O: Subject> Lockstep<R, O> {
    /// Runs the program, on which both sides agreed, again beside the side without batching.
    pub(crate) fn check_costs(&mut self, program: &Program) -> Result<(), Box<Divergence>> {
        let sequential = program.phases.iter().all(|phase| phase.steps.len() == 1);
        if !sequential || program.steps().any(|step| step.fail.is_some()) {
            return Ok(());
        }
        let Some(mut twin) = self.twin.take().or_else(|| self.optimized.unbatched()) else {
            return Ok(());
        };
        let result = self.compare_costs(program, &mut twin);
        self.twin = Some(twin);
        result
    }

    /// Additions that batching must save: all but one for what is taken of each huge PMD.
    fn saved(&self, op: &Op, ptes: u32) -> u64 {
        let (Op::Gup { mm, range, .. }, Ret::Ok(pages)) = (*op, self.expected.ret) else {
            return 0;
        };
        let state = self.reference.snapshot();
        let start = self.layout.span(range).start;
        let end = start + pages;
        let taken = |&pmd: &u32| end.min((pmd + 1) * ptes).saturating_sub(start.max(pmd * ptes));
        let huge = state.mms.get(&mm).into_iter().flat_map(|mm| mm.huge.keys());
        huge.map(taken).filter(|&pages| pages > 0).map(|pages| u64::from(pages - 1)).sum()
    }

    fn compare_costs(&mut self, program: &Program, twin: &mut O) -> Result<(), Box<Divergence>> {
        self.reference.reset(&program.shape);
        self.optimized.reset(&program.shape);
        twin.reset(&program.shape);
        let mut unbatched = Outcome::default();
        for (number, step) in program.steps().enumerate() {
            let (before, twin_before) = (self.optimized.cost(), twin.cost());
            self.step(number, step);
            if self.expected.ret == Ret::WouldBlock {
                continue;
            }
            unbatched.data.clear();
            twin.step(Call { number, step, layout: &self.layout }, &mut unbatched);
            let (cost, mut least) = (self.optimized.cost() - before, twin.cost() - twin_before);
            let saved = self.saved(&step.op, u32::from(program.shape.ptes));
            least.atomics = least.atomics.saturating_sub(saved);
            let gup = matches!(
                step.op,
                Op::Gup { .. } | Op::Walk { .. } | Op::Put { .. } | Op::Unpin { .. }
            );
            let dearer: Vec<_> = cost
                .items()
                .zip(least.items())
                .filter(|((_, mine), (_, theirs))| gup && mine > theirs)
                .map(|((name, mine), (_, theirs))| FieldDiff {
                    what: What::Cost(name),
                    reference: Value::Count(theirs as i64),
                    optimized: Value::Count(mine as i64),
                })
                .collect();
            if !dearer.is_empty() {
                let (a, b) = (self.reference.snapshot(), self.optimized.snapshot());
                return Err(self.diverged(When::Step(number, *step), dearer, a, b));
            }
        }
        Ok(())
    }
}
