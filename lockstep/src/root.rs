//! The root of a finding: the plainest program that shows the same bug.
//!
//! A bug is met in many guises: steps that race, a machine that is too small, a refusal in the
//! middle of an operation. Where it also shows without, it has the name that it has there, whoever
//! met it and how. So what still needs a guise after it was made small is looked for among programs
//! near by that need less: what ran beside it came before or after, or holds a folio's lock;
//! memory is refused instead of running out; pages were written; an operation reaches elsewhere.

use program::validate::FIRST_TASK;
use program::{Fail, LockId, Op, Phase, Program, Range, Schedule, Shape, Site, Step, TaskId, edit};

use crate::minimise::{minimise, roomy};
use crate::phase::concurrent;
use crate::signature::Sight;

/// The longest range that is tried for an operation, in pages, and how far from the start of its area.
const REACH: u16 = 4;
/// Orders of a phase that are tried.
const ORDERS: usize = 20;
/// The latest attempt within a step that is refused.
const ATTEMPTS: u8 = 2;

/// The root of what a small program shows, which is `sight`. `look` says what a program shows.
pub fn root(
    program: &Program,
    sight: &Sight,
    mut look: impl FnMut(&Program) -> Option<Sight>,
) -> Program {
    // A bug that needs no phase shows without it, under the name that it has there.
    let apart = apart(program).into_iter().find_map(|apart| look(&apart).map(|seen| (apart, seen)));
    let (mut program, mut sight) = apart.unwrap_or_else(|| (program.clone(), sight.clone()));
    loop {
        let mut last = sight.clone();
        let (small, _) = minimise(&program, |other| {
            let seen = look(other).filter(|seen| sight.related(seen));
            seen.map(|seen| last = seen).is_some()
        });
        let guise = guise(&small);
        let plainer = plainer(&small).into_iter().find_map(|other| {
            let seen = look(&other).filter(|seen| last.akin(seen))?;
            (self::guise(&other) < guise).then_some((other, seen))
        });
        match plainer {
            Some(found) => (program, sight) = found,
            None => return small,
        }
    }
}

/// What a finding needs besides its operations, the worst first: that they run beside each other,
/// a machine with little memory, refusals. A name that it has with less of them tells more.
pub fn guise(program: &Program) -> (bool, bool, usize) {
    let beside = program.phases.iter().any(|phase| concurrent(program, &phase.steps));
    let refused = program.steps().filter(|step| step.fail.is_some()).count();
    (beside, program.shape.pages != roomy(&program.shape), refused)
}

/// Programs near by that need less.
fn plainer(program: &Program) -> Vec<Program> {
    let mut bare = Vec::new();
    let apart = apart(program);
    bare.extend(apart.iter().flat_map(locked));
    bare.extend(apart);
    if program.shape.pages != roomy(&program.shape) {
        bare.extend(refused(program));
    }
    if program.steps().any(|step| step.fail.is_some()) {
        let mut free = program.clone();
        free.steps_mut().for_each(|step| step.fail = None);
        bare.push(free);
    }
    let moved: Vec<Program> = bare.iter().flat_map(moved).collect();
    let written: Vec<Program> = bare.iter().map(written).collect();
    bare.extend(written);
    bare.extend(moved);
    bare.retain(|program| program.validate().is_ok());
    bare
}

/// The steps one after the other: of each phase in the order of the text, backwards, and in every
/// order that keeps that of each CPU, one phase at a time.
fn apart(program: &Program) -> Vec<Program> {
    let split = |phases: Vec<Phase>| {
        let phases = phases.into_iter().flat_map(|phase| phase.steps);
        let phases = phases.map(|step| Phase { steps: vec![step] }).collect();
        Program { phases, schedule: Schedule::default(), ..program.clone() }
    };
    let with = |at: usize, steps: Vec<Step>| {
        let mut phases = program.phases.clone();
        phases[at] = Phase { steps };
        split(phases)
    };
    let mut list = Vec::new();
    for (at, phase) in program.phases.iter().enumerate().filter(|(_, phase)| phase.steps.len() > 1)
    {
        let back = phase.steps.iter().rev().copied().collect();
        list.extend([with(at, phase.steps.clone()), with(at, back)]);
        list.extend(merges(&phase.steps).into_iter().map(|steps| with(at, steps)));
    }
    list.retain(|program| program.validate().is_ok());
    list
}

/// The orders of these steps that keep that of each CPU, some of them if there are many.
fn merges(steps: &[Step]) -> Vec<Vec<Step>> {
    let mut done: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in steps {
        let next = |order: &Vec<usize>| {
            let first = |&at: &usize| {
                let open = |at: &usize| !order.contains(at);
                open(&at) && (0..at).filter(open).all(|before| steps[before].cpu != steps[at].cpu)
            };
            let then = |at| order.iter().copied().chain([at]).collect();
            (0..steps.len()).filter(first).map(then).collect::<Vec<Vec<usize>>>()
        };
        done = done.iter().flat_map(next).take(ORDERS).collect();
    }
    done.iter().map(|order| order.iter().map(|&at| steps[at]).collect()).collect()
}

/// The lock of a folio held in the place of a step: what runs beside whoever has it sees no more.
fn locked(program: &Program) -> Vec<Program> {
    let locks = program.steps().filter(|step| matches!(step.op, Op::LockPage { .. })).count();
    let Ok(lock) = u8::try_from(locks) else { return Vec::new() };
    let lock = |at: usize, op: &Op| {
        let (mm, range) = (op.mm()?, op.range()?);
        let range = Range { len: 1, ..range };
        let (lock, task) = (LockId(lock), TaskId(FIRST_TASK));
        edit::replace_step(program, at, Op::LockPage { mm, range, lock, task })
    };
    let steps = program.steps().enumerate();
    steps.filter_map(|(at, step)| lock(at, &step.op)).collect()
}

/// Enough memory, and a refusal within a step in its place.
fn refused(program: &Program) -> Vec<Program> {
    let shape = Shape { pages: roomy(&program.shape), ..program.shape.clone() };
    let program = Program { shape, ..program.clone() };
    let mut list = vec![program.clone()];
    for at in (0..program.steps().count()).rev() {
        for site in Site::ALL {
            list.extend((1..=ATTEMPTS).filter_map(|nth| {
                let mut program = program.clone();
                program.steps_mut().nth(at)?.fail = Some(Fail { site, nth });
                Some(program)
            }));
        }
    }
    list
}

/// Every page written first that was only asked for: the zero page keeps no count.
fn written(program: &Program) -> Program {
    let mut program = program.clone();
    for step in program.steps_mut() {
        match &mut step.op {
            Op::Gup { write, .. } => *write = true,
            Op::Read { mm, range } => step.op = Op::Write { mm: *mm, range: *range },
            _ => {}
        }
    }
    program
}

/// One operation at another place of its area.
fn moved(program: &Program) -> Vec<Program> {
    let mut list = Vec::new();
    for at in 0..program.steps().count() {
        for (off, len) in (0..REACH).flat_map(|off| (1..=REACH - off).map(move |len| (off, len))) {
            let mut program = program.clone();
            let step = program.steps_mut().nth(at);
            let range = step.and_then(|step| step.op.range_mut());
            let Some(range) = range.filter(|range| (range.off, range.len) != (off, len)) else {
                continue;
            };
            (range.off, range.len) = (off, len);
            list.push(program);
        }
    }
    list
}
