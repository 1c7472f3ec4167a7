//! What makes a program valid.
//!
//! Only valid programs run: both byte decoding and the parser make no others. The rules:
//!
//! * **Machine.** 1..=8 CPUs; page tables of 4..=512 entries, a power of two; batches of 1..=31;
//!   at most 65536 pages a place. Operations of drivers want a machine with device memory.
//! * **Shape.** At most 4096 steps; no phase is empty; every step's CPU exists.
//! * **Creation.** Areas, handles and locks are numbered 0, 1, 2… and forked mms 1, 2… in program
//!   order; at most 64 areas, 64 handles, 16 locks, 8 mms.
//! * **Use.** A step names what was live when its phase began or what its own CPU created in it.
//!   What was consumed (put, unpinned, unlocked, exited) is named no more, and what a step consumes
//!   no other CPU uses in the same phase. `MmId(0)` is never exited. `put` wants a handle of `get`,
//!   `unpin` those of `pin`, two different ones if two; a `hole` lies between two arrays of pages.
//!   An area may be named in any mm by every step after the one that creates it, also in its phase: it is
//!   a range of addresses.
//! * **Numbers.** Areas have 1..=4096 pages; ranges are not empty and lie inside their area; shifts
//!   are below the entries of a table; files exist; tasks that lock pages are 8..16; a failure is
//!   the 1st or a later one, and none is injected into `offline`; `fast_only` only gets.
//! * **Schedule.** Its CPUs exist, its runs are at least 1.
//! * **Expectations.** They stand between phases, look at live objects, state at least one field,
//!   none twice, each with a value that the field can have, and cite a rule. A result is that of a
//!   step alone in its phase.

mod expects;
mod fault;

pub use expects::check_expect;
pub use fault::{Fault, Invalid, Part};

use crate::arena::{Arena, MAX_CPUS};
use crate::codec::{MAX_PLACE_PAGES, MAX_STEPS};
use crate::expect::Expect;
use crate::kind::Kind;
use crate::object::Object;
use crate::op::{Backing, Entry, FILES, Foll, Form, HandleId, Op, Range, Step};
use crate::program::Program;
use crate::schedule::{MAX_TASK, Schedule};
use crate::shape::Shape;

/// Most pages of an area.
pub const MAX_AREA_PAGES: u16 = 4096;
/// The first task that may own locks across operations.
pub const FIRST_TASK: u8 = 8;
/// How many such tasks there are.
pub const TASKS: u8 = 8;

impl Program {
    /// Checks every rule of [this module](crate::validate).
    pub fn validate(&self) -> Result<(), Invalid> {
        let at = |at| move |fault| Invalid { at, fault };
        check_shape(&self.shape).map_err(at(Part::Machine))?;
        check_schedule(&self.schedule, &self.shape).map_err(at(Part::Schedule))?;
        let mut arena = Arena::default();
        let mut number = 0;
        self.check_expects(0, &arena)?;
        for (position, phase) in self.phases.iter().enumerate() {
            arena.begin_phase();
            if phase.steps.is_empty() {
                return Err(at(Part::Phase(position))(Fault::EmptyPhase));
            }
            for step in &phase.steps {
                if number == MAX_STEPS {
                    return Err(at(Part::Step(number))(Fault::TooManySteps));
                }
                check_step(step, &arena, &self.shape).map_err(at(Part::Step(number)))?;
                arena.apply(step.cpu, &step.op);
                number += 1;
            }
            self.check_expects(number, &arena)?;
        }
        // Those that no phase boundary claimed.
        let inside = |expect: &Expect| !self.boundaries().any(|boundary| boundary == expect.after);
        match self.expects.iter().position(inside) {
            Some(index) => Err(at(Part::Expect(index))(Fault::ExpectInsidePhase)),
            None => Ok(()),
        }
    }

    /// The step numbers at which the machine is quiescent: before, between and after phases.
    fn boundaries(&self) -> impl Iterator<Item = usize> {
        let ends = self.phases.iter().scan(0, |number, phase| {
            *number += phase.steps.len();
            Some(*number)
        });
        std::iter::once(0).chain(ends)
    }

    fn check_expects(&self, number: usize, arena: &Arena) -> Result<(), Invalid> {
        for (index, expect) in self.expects.iter().enumerate() {
            if expect.after == number {
                check_expect(expect, arena, self)
                    .map_err(|fault| Invalid { at: Part::Expect(index), fault })?;
            }
        }
        Ok(())
    }
}

/// Checks a machine.
pub fn check_shape(shape: &Shape) -> Result<(), Fault> {
    if shape.cpus == 0 || usize::from(shape.cpus) > MAX_CPUS {
        return Err(Fault::Cpus(shape.cpus));
    }
    if !shape.ptes.is_power_of_two() || !(4..=512).contains(&shape.ptes) {
        return Err(Fault::Ptes(shape.ptes));
    }
    if !(1..=31).contains(&shape.batch) {
        return Err(Fault::Batch(shape.batch));
    }
    match shape.pages.iter().find(|pages| **pages > MAX_PLACE_PAGES) {
        Some(&pages) => Err(Fault::Pages(pages)),
        None => Ok(()),
    }
}

/// Checks a schedule.
pub fn check_schedule(schedule: &Schedule, shape: &Shape) -> Result<(), Fault> {
    for slice in schedule.slices.iter().chain(&schedule.cycle) {
        if slice.cpu >= shape.cpus {
            return Err(Fault::SliceCpu(slice.cpu));
        }
        if slice.run == 0 {
            return Err(Fault::SliceRun);
        }
        if slice.task > MAX_TASK {
            return Err(Fault::SliceTask(slice.task));
        }
    }
    Ok(())
}

/// Checks a step against what is live just before it.
pub fn check_step(step: &Step, arena: &Arena, shape: &Shape) -> Result<(), Fault> {
    let cpu = step.cpu;
    if cpu >= shape.cpus {
        return Err(Fault::NoCpu(cpu));
    }
    if step.place.is_zone_device() {
        return Err(Fault::DevicePlace);
    }
    if Kind::of(&step.op).bit() & Kind::DEVICE != 0 && !shape.has_device() {
        return Err(Fault::NoDevice);
    }
    if let Some(fail) = step.fail {
        if matches!(step.op, Op::Offline { .. }) {
            return Err(Fault::FailOffline);
        }
        if fail.nth == 0 {
            return Err(Fault::FailNth);
        }
    }
    if let Some(mm) = step.op.mm() {
        check_visible(arena, Object::Mm(mm), arena.mms(cpu).contains(mm.0))?;
    }
    if let Some(range) = step.op.range() {
        check_range(range, cpu, arena)?;
    }
    check_op(&step.op, cpu, arena, shape)?;
    if let Some(object) = step.op.creates() {
        let next = match object {
            Object::Mm(_) => arena.next_mm().map(Object::Mm),
            Object::Area(_) => arena.next_area().map(Object::Area),
            Object::Handle(_) => arena.next_handle().map(Object::Handle),
            Object::Lock(_) => arena.next_lock().map(Object::Lock),
            Object::Migration(_) => arena.next_migration().map(Object::Migration),
        };
        match next {
            None => return Err(Fault::TooMany(object)),
            Some(next) if next != object => return Err(Fault::OutOfOrder(object)),
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_op(op: &Op, cpu: u8, arena: &Arena, shape: &Shape) -> Result<(), Fault> {
    match *op {
        Op::Mmap { backing, len, shift, .. } => {
            if !(1..=MAX_AREA_PAGES).contains(&len) {
                return Err(Fault::AreaLen(len));
            }
            if let Backing::FilePrivate { file, .. } | Backing::FileShared { file, .. } = backing
                && file >= FILES
            {
                return Err(Fault::File(file));
            }
            check_shift(shift, shape)
        }
        Op::Mremap { shift, .. } => check_shift(shift, shape),
        Op::Exit { mm } if mm.0 == 0 => Err(Fault::ExitFirst),
        Op::Exit { mm } if !arena.exitable(cpu).contains(mm.0) => {
            Err(Fault::UsedElsewhere(Object::Mm(mm)))
        }
        Op::Gup { entry: Entry::FastOnly, foll: Foll::Pin, .. } => Err(Fault::FastOnlyPin),
        Op::Gup { longterm: true, foll: Foll::Get, .. } => Err(Fault::LongtermGet),
        Op::Put { handle } => check_drop(handle, Foll::Get, cpu, arena),
        Op::Unpin { handle, also, form, hole, .. } => {
            check_drop(handle, Foll::Pin, cpu, arena)?;
            if also == Some(handle) {
                return Err(Fault::SameHandle(handle));
            }
            if hole && (also.is_none() || form == Form::Range) {
                return Err(Fault::Hole);
            }
            also.map_or(Ok(()), |also| check_drop(also, Foll::Pin, cpu, arena))
        }
        Op::Peek { handle } => {
            check_visible(arena, Object::Handle(handle), arena.handles(cpu).contains(handle.0))
        }
        Op::LockPage { task, .. } if !(FIRST_TASK..FIRST_TASK + TASKS).contains(&task.0) => {
            Err(Fault::Task(task.0))
        }
        Op::UnlockPage { lock } => {
            check_visible(arena, Object::Lock(lock), arena.locks(cpu).contains(lock.0))
        }
        Op::Offline { place } if place.is_zone_device() => Err(Fault::DevicePlace),
        Op::MigrateVmaPages { migration, .. } => {
            let visible = arena.migrations(cpu).contains(migration.0);
            check_visible(arena, Object::Migration(migration), visible)
        }
        Op::MigrateVmaFinalize { migration } => {
            let object = Object::Migration(migration);
            check_visible(arena, object, arena.migrations(cpu).contains(migration.0))?;
            let free = arena.finalizable(cpu).contains(migration.0);
            if free { Ok(()) } else { Err(Fault::UsedElsewhere(object)) }
        }
        Op::MigrateVmaSetup { select, .. } if select.0 > 7 => Err(Fault::Select(select.0)),
        _ => Ok(()),
    }
}

fn check_shift(shift: u16, shape: &Shape) -> Result<(), Fault> {
    if shift < shape.ptes { Ok(()) } else { Err(Fault::Shift(shift)) }
}

fn check_visible(arena: &Arena, object: Object, visible: bool) -> Result<(), Fault> {
    if visible {
        Ok(())
    } else if !arena.was_created(object) {
        Err(Fault::Unknown(object))
    } else if !arena.is_live(object) {
        Err(Fault::Gone(object))
    } else {
        Err(Fault::CreatedElsewhere(object))
    }
}

fn check_range(range: Range, cpu: u8, arena: &Arena) -> Result<(), Fault> {
    let visible = arena.areas(cpu).contains(range.area.0);
    check_visible(arena, Object::Area(range.area), visible)?;
    if range.len == 0 {
        return Err(Fault::EmptyRange);
    }
    let len = arena.area_len(range.area);
    if u32::from(range.off) + u32::from(range.len) > u32::from(len) {
        return Err(Fault::OutsideArea(range, len));
    }
    Ok(())
}

fn check_drop(handle: HandleId, foll: Foll, cpu: u8, arena: &Arena) -> Result<(), Fault> {
    let object = Object::Handle(handle);
    check_visible(arena, object, arena.handles(cpu).contains(handle.0))?;
    match (foll, arena.foll(handle)) {
        (Foll::Get, Foll::Pin) => Err(Fault::PutOfPin(handle)),
        (Foll::Pin, Foll::Get) => Err(Fault::UnpinOfGet(handle)),
        _ if !arena.droppable(cpu, foll).contains(handle.0) => Err(Fault::UsedElsewhere(object)),
        _ => Ok(()),
    }
}
