//! The root of a finding: the plainest program that shows the same bug.
//!
//! A bug is met in many guises: steps that race, a machine that is too small, a refusal in the
//! middle of an operation. Where it also shows without, it has the name that it has there, whoever
//! met it and how. So what still needs a guise after it was made small is looked for among programs
//! near by that need less: what ran beside it came before or after, or holds a folio's lock;
//! memory is refused instead of running out; pages were written; an operation reaches elsewhere.

use program::validate::FIRST_TASK;
use program::{Fail, LockId, Op, Phase, Program, Range, Schedule, Shape, Site, TaskId, edit};

use crate::minimise::{minimise, roomy};
use crate::phase::concurrent;
use crate::signature::Sight;

/// The longest range that is tried for an operation, in pages, and how far from the start of its area.
const REACH: u16 = 4;
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

/// The steps of each phase one after the other, in the order of the text and in the other one.
fn apart(program: &Program) -> Vec<Program> {
    if program.phases.iter().all(|phase| phase.steps.len() < 2) {
        return Vec::new();
    }
    let mut back = program.clone();
    back.phases.iter_mut().for_each(|phase| phase.steps.reverse());
    let split = |program: &Program| {
        let phases = program.steps().map(|step| Phase { steps: vec![*step] });
        let (phases, schedule) = (phases.collect(), Schedule::default());
        Program { phases, schedule, ..program.clone() }
    };
    let mut list = vec![split(program), split(&back)];
    list.retain(|program| program.validate().is_ok());
    list
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
