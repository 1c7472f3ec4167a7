//! The cost rule, and the ledger written out.
//!
//! On quiescent, sequential programs in which nothing is refused, no GUP operation of the optimised
//! side may cost more, item by item, than the same side without batching on the same state; and
//! what a huge PMD maps must be grabbed, and what is of one folio given back, in one addition to each
//! counter, not page by page.

use std::rc::Rc;

use machine::Lines;
use optimized::{Cost, Variant, World};
use program::{
    Call, Foll, HandleId, Kind, Layout, Model, Op, Outcome, PageRef, Program, Replay, Ret,
    Snapshot, Step,
};
use reference::Reference;

use crate::compare::{FieldDiff, Value, What};
use crate::phase::concurrent;
use crate::run::Lockstep;
use crate::scheduler::Scheduler;
use crate::subject::Subject;
use crate::verdict::{Divergence, When};

/// What one step of a program cost, or those of a phase that ran beside each other.
#[derive(Clone, Debug)]
pub struct StepCost {
    /// The number of the first, from 0.
    pub number: usize,
    /// The steps.
    pub steps: Vec<Step>,
    /// For each variant what they returned and what all of them cost.
    pub costs: Vec<(Vec<Ret>, Cost)>,
}

/// The ledger of a program: every step that is carried out, on each variant in a world of its own.
///
/// The steps run on the CPUs of the machine, phases as the program's schedule says; so caches and
/// TLBs count. Only where something in the program outlasts its phase (a folio lock that is held, an
/// open migration) every step runs alone, and they do not.
pub fn ledger(program: &Program, variants: &[Variant]) -> Vec<StepCost> {
    let layout = Layout::of(program);
    let mut reference = Reference::new();
    reference.reset(&program.shape);
    let alone = program.steps().any(|step| Kind::of(&step.op).outlasts_marks());
    let mut accounts: Vec<Account> =
        variants.iter().map(|&variant| Account::open(variant, program)).collect();
    let call = |(number, step)| Call { number, step, layout: &layout };
    let calls: Vec<Call<'_>> = (0..).zip(program.steps()).map(call).collect();
    let mut list = Vec::new();
    let mut rest = &calls[..];
    for phase in &program.phases {
        let now;
        (now, rest) = rest.split_at(phase.steps.len());
        let together = concurrent(program, &phase.steps);
        for calls in now.chunks(if together { now.len() } else { 1 }) {
            let mut blocks = false;
            for call in calls {
                let mut outcome = Outcome::default();
                reference.step(*call, &mut outcome);
                blocks |= !together && outcome.ret == Ret::WouldBlock;
            }
            if blocks {
                continue;
            }
            let cost = |account: &mut Account| match (alone, together) {
                (true, _) => account.alone(calls[0]),
                (_, true) => account.beside(calls),
                (_, false) => account.phase(calls, &mut Scheduler::default()),
            };
            list.push(StepCost {
                number: calls[0].number,
                steps: calls.iter().map(|call| *call.step).collect(),
                costs: accounts.iter_mut().map(cost).collect(),
            });
        }
    }
    list
}

/// A world of which the costs are counted.
struct Account {
    world: World,
    /// The program's own, for all its phases.
    scheduler: Scheduler,
    past: Vec<(usize, Step)>,
}

impl Account {
    fn open(variant: Variant, program: &Program) -> Account {
        let mut world = World::of(variant);
        world.watch_lines(Rc::new(Lines::default()));
        world.reset(&program.shape);
        Account { world, scheduler: Scheduler::own(program), past: Vec::new() }
    }

    fn alone(&mut self, call: Call<'_>) -> (Vec<Ret>, Cost) {
        let (before, mut outcome) = (self.world.cost(), Outcome::default());
        self.world.step(call, &mut outcome);
        (vec![outcome.ret], self.world.cost() - before)
    }

    fn beside(&mut self, calls: &[Call<'_>]) -> (Vec<Ret>, Cost) {
        let mut scheduler = std::mem::take(&mut self.scheduler);
        let result = self.phase(calls, &mut scheduler);
        self.scheduler = scheduler;
        result
    }

    fn phase(&mut self, calls: &[Call<'_>], scheduler: &mut Scheduler) -> (Vec<Ret>, Cost) {
        for (number, step) in &self.past {
            self.world.tlb_keeps(Call { number: *number, step, layout: calls[0].layout });
        }
        self.past.extend(calls.iter().map(|call| (call.number, *call.step)));
        let mut outcomes = vec![Outcome::default(); calls.len()];
        let before = self.world.cost();
        scheduler.run_phase(&mut self.world, calls, &mut outcomes);
        let results = outcomes.iter().map(|outcome| outcome.ret).collect();
        (results, self.world.cost() - before)
    }
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

    /// Additions that batching must save, given the state before the step: all but one, for each
    /// counter, of what a GUP takes of each huge PMD, and of each run of pages of a large folio
    /// that a handle gives back.
    fn saved(&self, op: &Op, before: &Snapshot, ptes: u32) -> u64 {
        match *op {
            Op::Gup { mm, range, foll, .. } => {
                let Ret::Ok(pages) = self.expected.ret else { return 0 };
                let start = self.layout.span(range).start;
                let end = start + pages;
                let taken =
                    |&pmd: &u32| end.min((pmd + 1) * ptes).saturating_sub(start.max(pmd * ptes));
                let after = self.reference.snapshot();
                let huge = after.mms.get(&mm).into_iter().flat_map(|mm| mm.huge.keys());
                let others = huge.map(taken).filter(|&pages| pages > 0).map(|pages| pages - 1);
                u64::from(others.sum::<u32>()) * counters(foll)
            }
            Op::Put { handle } => others(before, handle) * counters(Foll::Get),
            Op::Unpin { handle, also, hole, .. } => {
                let runs = [Some(handle), also].into_iter().flatten();
                let others: u64 = runs.map(|handle| others(before, handle)).sum();
                // A hole parts one run into two.
                others.saturating_sub(u64::from(hole)) * counters(Foll::Pin)
            }
            _ => 0,
        }
    }

    fn compare_costs(&mut self, program: &Program, twin: &mut O) -> Result<(), Box<Divergence>> {
        self.reference.reset(&program.shape);
        self.optimized.reset(&program.shape);
        twin.reset(&program.shape);
        let mut unbatched = Outcome::default();
        for (number, step) in program.steps().enumerate() {
            let (before, twin_before) = (self.optimized.cost(), twin.cost());
            let gives = matches!(step.op, Op::Put { .. } | Op::Unpin { .. });
            let state = if gives { self.reference.snapshot() } else { Snapshot::default() };
            self.step(number, step);
            if self.expected.ret == Ret::WouldBlock {
                continue;
            }
            unbatched.data.clear();
            twin.step(Call { number, step, layout: &self.layout }, &mut unbatched);
            let (cost, mut least) = (self.optimized.cost() - before, twin.cost() - twin_before);
            let saved = self.saved(&step.op, &state, u32::from(program.shape.ptes));
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

/// Counters of a large folio that a reference is in: the refcount, and for a pin the pincount.
fn counters(foll: Foll) -> u64 {
    match foll {
        Foll::Get => 1,
        Foll::Pin => 2,
    }
}

/// Pages of a handle that follow another one of their large folio.
fn others(state: &Snapshot, handle: HandleId) -> u64 {
    let pages = state.handles.get(&handle).map_or(&[][..], Vec::as_slice);
    let follows = |pair: &&[PageRef]| match pair {
        [PageRef::Of(a, sub), PageRef::Of(b, next)] => {
            a == b && *next == sub + 1 && state.folios.get(a).is_some_and(|folio| folio.order > 0)
        }
        _ => false,
    };
    pages.windows(2).filter(follows).count() as u64
}
