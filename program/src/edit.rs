//! Edits of whole programs, for minimisers: each takes a valid program and gives a valid one.
//!
//! Edits work on programs, never on bytes: a byte deleted there would aim every later argument
//! elsewhere. Expectations that lose what they look at go along.

use std::collections::{BTreeMap, BTreeSet};

use crate::expect::{Expect, Field, Target};
use crate::object::Object;
use crate::op::{AreaId, HandleId, LockId, MigrationId, MmId, Op, Range, Step, written};
use crate::program::{Phase, Program};
use crate::validate::Part;

/// The program without step `number` and without every step that needs what it creates. None if
/// there is no such step.
pub fn remove_step(program: &Program, number: usize) -> Option<Program> {
    remove_steps(program, &[number])
}

/// The program without these steps and without every step that needs what they create. None if
/// `numbers` is empty or one of the steps does not exist.
pub fn remove_steps(program: &Program, numbers: &[usize]) -> Option<Program> {
    let count = program.steps().count();
    if numbers.is_empty() || numbers.iter().any(|number| *number >= count) {
        return None;
    }
    let removed: BTreeSet<usize> = numbers.iter().copied().collect();
    let mut dead = BTreeSet::new();
    // New number of each step that stays.
    let mut renumbered = Vec::with_capacity(count);
    let mut kept = 0;
    let mut edited = Program { phases: Vec::new(), expects: Vec::new(), ..program.clone() };
    for phase in &program.phases {
        let mut steps = Vec::new();
        for step in &phase.steps {
            let mut step = *step;
            spare_unpin(&mut step.op, &dead);
            let needs_dead = step.op.uses().any(|object| dead.contains(&object));
            if removed.contains(&renumbered.len()) || needs_dead {
                dead.extend(step.op.creates());
                renumbered.push(None);
            } else {
                renumbered.push(Some(kept));
                kept += 1;
                steps.push(step);
            }
        }
        if !steps.is_empty() {
            edited.phases.push(Phase { steps });
        }
    }
    for expect in &program.expects {
        edited.expects.extend(follow(expect, &renumbered, &dead));
    }
    renumber(&mut edited);
    drop_invalid_expects(&mut edited);
    Some(edited)
}

/// The program in which step `number`, a `fork` or `mremap`, is not done, and what used the new mm
/// or area uses the old one. None if the step is another one or the result is not valid.
pub fn bypass_step(program: &Program, number: usize) -> Option<Program> {
    let bypassed = program.steps().nth(number)?.op;
    let mut edited = program.clone();
    let mut gone = vec![number];
    let redirect_mm = |mm: &mut MmId| match bypassed {
        Op::Fork { mm: parent, child } if *mm == child => *mm = parent,
        _ => {}
    };
    let redirect_range = |range: &mut Range| match bypassed {
        Op::Mremap { range: old, area, .. } if range.area == area => {
            *range = Range { area: old.area, off: old.off + range.off, len: range.len };
        }
        _ => {}
    };
    match bypassed {
        Op::Fork { .. } | Op::Mremap { .. } => {}
        _ => return None,
    }
    for (at, step) in edited.steps_mut().enumerate().skip(number + 1) {
        if let (Op::Fork { child, .. }, Op::Exit { mm }) = (bypassed, step.op)
            && mm == child
        {
            gone.push(at);
            continue;
        }
        step.op.mm_mut().into_iter().for_each(redirect_mm);
        step.op.range_mut().into_iter().for_each(redirect_range);
    }
    for expect in &mut edited.expects {
        if let Target::Page(mm, range) = &mut expect.target {
            redirect_mm(mm);
            redirect_range(range);
        }
    }
    remove_steps(&edited, &gone).filter(|edited| edited.validate().is_ok())
}

/// The program with `op` as step `number`, without the steps that need what the old one creates and
/// the new one does not. None if there is no such step or the result is not valid.
pub fn replace_step(program: &Program, number: usize, op: Op) -> Option<Program> {
    let old = program.steps().nth(number)?.op;
    let mut edited = program.clone();
    if let Some(gone) = old.creates().filter(|_| op.creates() != old.creates()) {
        let needs =
            |(at, step): (usize, &Step)| step.op.uses().any(|used| used == gone).then_some(at);
        let orphans: Vec<usize> = program.steps().enumerate().filter_map(needs).collect();
        edited = remove_steps(program, &orphans).unwrap_or(edited);
        if op.uses().any(|used| used == gone) {
            return None;
        }
    }
    edited.steps_mut().nth(number)?.op = op;
    renumber(&mut edited);
    drop_invalid_expects(&mut edited);
    edited.validate().is_ok().then_some(edited)
}

/// The program in which the `mmap` that is step `number` makes an area of `len` pages; ranges that
/// reach beyond it are cut, or moved to its last page. None if the step is another one or `len` is
/// not below its length.
pub fn shrink_area(program: &Program, number: usize, len: u16) -> Option<Program> {
    match program.steps().nth(number)?.op {
        Op::Mmap { len: now, .. } if (1..now).contains(&len) => {}
        _ => return None,
    }
    let mut edited = program.clone();
    let mut lens: BTreeMap<AreaId, u16> = BTreeMap::new();
    let fit = |range: &mut Range, lens: &BTreeMap<AreaId, u16>| {
        if let Some(&len) = lens.get(&range.area) {
            range.off = range.off.min(len - 1);
            range.len = range.len.min(len - range.off);
        }
    };
    for (at, step) in edited.steps_mut().enumerate() {
        if let Some(range) = step.op.range_mut() {
            fit(range, &lens);
        }
        match &mut step.op {
            Op::Mmap { area, len: now, .. } if at == number => {
                *now = len;
                lens.insert(*area, len);
            }
            Op::Mremap { area, range, .. } => drop(lens.insert(*area, range.len)),
            _ => {}
        }
    }
    for expect in &mut edited.expects {
        if let Target::Page(_, range) = &mut expect.target {
            fit(range, &lens);
        }
    }
    drop_invalid_expects(&mut edited);
    Some(edited)
}

/// The program in which the steps of a phase run one after the other, in text order. None if there
/// is no such phase or it has one step.
pub fn sequence_phase(program: &Program, phase: usize) -> Option<Program> {
    let steps = &program.phases.get(phase).filter(|phase| phase.steps.len() > 1)?.steps;
    let alone: Vec<_> = steps.iter().map(|step| Phase { steps: vec![*step] }).collect();
    let mut edited = program.clone();
    edited.phases.splice(phase..=phase, alone);
    Some(edited)
}

/// The program with one more step: at the end of phase `phase`, or before it in a phase of its own.
/// What the step creates must have the number that is next there; later objects move up. None if
/// the result is not valid.
pub fn insert_step(program: &Program, phase: usize, inside: bool, step: Step) -> Option<Program> {
    let before = if inside { phase + 1 } else { phase };
    let from = program.phases.get(..before)?.iter().map(|phase| phase.steps.len()).sum();
    let mut edited = program.clone();
    edited.expects.clear();
    if let Some(new) = step.op.creates() {
        let sort = std::mem::discriminant(&new);
        rename(&mut edited, from, |object| {
            let later = std::mem::discriminant(&object) == sort && object.id() >= new.id();
            object.id().saturating_add(u8::from(later))
        });
    }
    if inside {
        edited.phases.get_mut(phase)?.steps.push(step);
    } else {
        edited.phases.insert(phase, Phase { steps: vec![step] });
    }
    edited.validate().is_ok().then_some(edited)
}

/// Numbers all objects 0, 1, 2… (forked mms from 1) in the order of their creation. Every object
/// must have been created under a number of its own.
pub fn renumber(program: &mut Program) {
    let mut numbers = BTreeMap::from([(Object::Mm(MmId(0)), Object::Mm(MmId(0)))]);
    let (mut mms, mut areas, mut handles, mut locks, mut migrations) = (1, 0, 0, 0, 0);
    let next = |of: &mut u8| std::mem::replace(of, of.wrapping_add(1));
    for step in program.steps() {
        if let Some(object) = step.op.creates() {
            let new = match object {
                Object::Mm(_) => Object::Mm(MmId(next(&mut mms))),
                Object::Area(_) => Object::Area(AreaId(next(&mut areas))),
                Object::Handle(_) => Object::Handle(HandleId(next(&mut handles))),
                Object::Lock(_) => Object::Lock(LockId(next(&mut locks))),
                Object::Migration(_) => Object::Migration(MigrationId(next(&mut migrations))),
            };
            numbers.insert(object, new);
        }
    }
    rename(program, 0, |object| numbers.get(&object).map_or(object.id(), |new| new.id()));
}

/// Gives objects other numbers in the steps from number `from` on, and in expectations.
fn rename(program: &mut Program, from: usize, number: impl Fn(Object) -> u8) {
    let mm = |mm: &mut MmId| mm.0 = number(Object::Mm(*mm));
    let area = |area: &mut AreaId| area.0 = number(Object::Area(*area));
    let handle = |handle: &mut HandleId| handle.0 = number(Object::Handle(*handle));
    let lock = |lock: &mut LockId| lock.0 = number(Object::Lock(*lock));
    let migration = |one: &mut MigrationId| one.0 = number(Object::Migration(*one));
    for step in program.steps_mut().skip(from) {
        step.op.mm_mut().into_iter().for_each(mm);
        step.op.range_mut().into_iter().for_each(|range| area(&mut range.area));
        match &mut step.op {
            Op::Mmap { area: new, .. } | Op::Mremap { area: new, .. } => area(new),
            Op::Fork { child, .. } => mm(child),
            Op::Gup { handle: one, .. } | Op::Put { handle: one } | Op::Peek { handle: one } => {
                handle(one);
            }
            Op::Unpin { handle: one, also, .. } => {
                handle(one);
                also.iter_mut().for_each(handle);
            }
            Op::LockPage { lock: one, .. } | Op::UnlockPage { lock: one } => lock(one),
            Op::MigrateVmaSetup { migration: one, .. }
            | Op::MigrateDeviceRange { migration: one, .. }
            | Op::MigrateVmaPages { migration: one, .. }
            | Op::MigrateVmaFinalize { migration: one } => migration(one),
            _ => {}
        }
    }
    for expect in &mut program.expects {
        match &mut expect.target {
            Target::Page(in_mm, range) => {
                mm(in_mm);
                area(&mut range.area);
            }
            Target::Handle(one, _) => handle(one),
            Target::Result | Target::Out(_) | Target::Machine => {}
        }
    }
}

/// An `unpin` of a dead and a live handle becomes one of the live handle.
fn spare_unpin(op: &mut Op, dead: &BTreeSet<Object>) {
    if let Op::Unpin { handle, also, hole, .. } = op
        && let Some(other) = *also
    {
        let is_dead = |handle| dead.contains(&Object::Handle(handle));
        match (is_dead(*handle), is_dead(other)) {
            (true, false) => (*handle, *also, *hole) = (other, None, false),
            (false, true) => (*also, *hole) = (None, false),
            _ => {}
        }
    }
}

/// The expectation after steps got new numbers; none if what it looks at is gone.
fn follow(
    expect: &Expect,
    renumbered: &[Option<usize>],
    dead: &BTreeSet<Object>,
) -> Option<Expect> {
    let object = match expect.target {
        Target::Page(_, range) => Some(Object::Area(range.area)),
        Target::Handle(handle, _) => Some(Object::Handle(handle)),
        Target::Result | Target::Out(_) | Target::Machine => None,
    };
    let mm = match expect.target {
        Target::Page(mm, _) => Some(Object::Mm(mm)),
        _ => None,
    };
    if object.into_iter().chain(mm).any(|object| dead.contains(&object)) {
        return None;
    }
    let before = renumbered.get(..expect.after)?;
    let of_step = matches!(expect.target, Target::Result | Target::Out(_));
    if of_step && before.last()?.is_none() {
        return None;
    }
    let after = before.iter().flatten().count();
    // Written values carry the number of their step.
    let renumber = |&(field, value): &(Field, u64)| {
        let number = (value >> 16) as usize;
        if field != Field::Data || value == 0 || value >> 48 != 0 {
            return Some((field, value));
        }
        let new = renumbered.get(number.checked_sub(1)?).copied()??;
        Some((field, written(new, value as u32 & 0xFFFF)))
    };
    let fields: Vec<_> = expect.fields.iter().filter_map(renumber).collect();
    let states_something = expect.ret.is_some() || !fields.is_empty();
    states_something.then(|| Expect { after, fields, ..expect.clone() })
}

fn drop_invalid_expects(program: &mut Program) {
    while let Err(invalid) = program.validate() {
        match invalid.at {
            Part::Expect(index) => drop(program.expects.remove(index)),
            _ => return,
        }
    }
}

impl Program {
    /// Every step in program order.
    pub fn steps_mut(&mut self) -> impl Iterator<Item = &mut crate::Step> {
        self.phases.iter_mut().flat_map(|phase| &mut phase.steps)
    }
}
