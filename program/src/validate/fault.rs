//! Broken rules and how they read.

use std::fmt;

use crate::arena::{MAX_AREAS, MAX_CPUS, MAX_HANDLES, MAX_LOCKS, MAX_MIGRATIONS, MAX_MMS};
use crate::codec::{MAX_PLACE_PAGES, MAX_STEPS};
use crate::expect::Field;
use crate::object::Object;
use crate::op::{FILES, HandleId, Range};
use crate::schedule::MAX_TASK;
use crate::validate::MAX_AREA_PAGES;

/// One broken rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The machine has no CPU, or too many.
    Cpus(u8),
    /// Not a number of page-table entries.
    Ptes(u16),
    /// Not a size of a batch.
    Batch(u8),
    /// A place is too large.
    Pages(u32),
    /// More than [`MAX_STEPS`] steps.
    TooManySteps,
    /// A phase without steps.
    EmptyPhase,
    /// The machine has no such CPU.
    NoCpu(u8),
    /// Not the next number for a new object.
    OutOfOrder(Object),
    /// A cap on objects of its kind is reached.
    TooMany(Object),
    /// Was never created.
    Unknown(Object),
    /// Was consumed.
    Gone(Object),
    /// Another CPU creates it in the same phase.
    CreatedElsewhere(Object),
    /// Another CPU uses it in the same phase, so this step cannot consume it.
    UsedElsewhere(Object),
    /// `MmId(0)` is never exited.
    ExitFirst,
    /// `put` of a pin.
    PutOfPin(HandleId),
    /// `unpin` of a get.
    UnpinOfGet(HandleId),
    /// The same handle twice in one `unpin`.
    SameHandle(HandleId),
    /// A hole, but not between two arrays of pages.
    Hole,
    /// A range without pages.
    EmptyRange,
    /// A range that ends outside its area, of this length.
    OutsideArea(Range, u16),
    /// Not a length of an area.
    AreaLen(u16),
    /// A shift of a whole table or more.
    Shift(u16),
    /// No such file.
    File(u8),
    /// Not a task that may lock pages.
    Task(u8),
    /// `fast_only` with a pin.
    FastOnlyPin,
    /// FOLL_LONGTERM with FOLL_GET.
    LongtermGet,
    /// A folio placed in, or an offline of, device memory.
    DevicePlace,
    /// An operation of a driver on a machine without device memory.
    NoDevice,
    /// Not a set of MIGRATE_VMA_SELECT flags.
    Select(u8),
    /// A failure number 0.
    FailNth,
    /// A failure injected into `offline`.
    FailOffline,
    /// A slice runs on a CPU that the machine does not have.
    SliceCpu(u8),
    /// A slice of no points.
    SliceRun,
    /// A slice chooses a task beyond [`MAX_TASK`](crate::MAX_TASK).
    SliceTask(u8),
    /// An expectation beyond the end or inside a phase.
    ExpectInsidePhase,
    /// An expected result, but not just after a step alone in its phase.
    ExpectResult,
    /// A handle has no such page: it asked for so many.
    HandlePage(HandleId, u16),
    /// An expectation that states nothing.
    ExpectNothing,
    /// The same field twice.
    FieldTwice(Field),
    /// A field that the target does not have.
    FieldTarget(Field),
    /// A value that the field cannot have.
    FieldValue(Field, u64),
    /// Data of a step that is not a `write`, or not yet done, numbered from 1.
    NotWritten(u64),
    /// No cited rule, or not a single word.
    Cite,
}

/// Why a program is not valid: the first fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid {
    /// Where.
    pub at: Part,
    /// What.
    pub fault: Fault,
}

/// A part of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The machine's shape.
    Machine,
    /// The phase with this position.
    Phase(usize),
    /// The step with this number, from 0.
    Step(usize),
    /// The schedule.
    Schedule,
    /// The expectation with this position.
    Expect(usize),
}

impl Fault {
    /// The object at fault, if it is one that the program names.
    pub fn object(&self) -> Option<Object> {
        match *self {
            Fault::OutOfOrder(object)
            | Fault::Unknown(object)
            | Fault::Gone(object)
            | Fault::CreatedElsewhere(object)
            | Fault::UsedElsewhere(object) => Some(object),
            Fault::PutOfPin(handle)
            | Fault::UnpinOfGet(handle)
            | Fault::SameHandle(handle)
            | Fault::HandlePage(handle, _) => Some(Object::Handle(handle)),
            Fault::OutsideArea(range, _) => Some(Object::Area(range.area)),
            _ => None,
        }
    }

    /// One sentence in which the object at fault is called `name`.
    pub fn describe(&self, name: &str) -> String {
        match *self {
            Fault::Cpus(n) => format!("a machine has 1 to {MAX_CPUS} CPUs, not {n}"),
            Fault::Ptes(n) => format!("a page table has 4, 8, 16… 512 entries, not {n}"),
            Fault::Batch(n) => format!("an LRU batch has 1 to 31 slots, not {n}"),
            Fault::Pages(n) => format!("a place has at most {MAX_PLACE_PAGES} pages, not {n}"),
            Fault::TooManySteps => format!("a program has at most {MAX_STEPS} steps"),
            Fault::EmptyPhase => "a phase without operations".into(),
            Fault::NoCpu(n) => format!("the machine has no cpu{n}"),
            Fault::OutOfOrder(_) => format!("{name} is not the next number for a new object"),
            Fault::TooMany(object) => {
                let (most, what) = match object {
                    Object::Mm(_) => (MAX_MMS, "address spaces, mm0 included"),
                    Object::Area(_) => (MAX_AREAS, "areas"),
                    Object::Handle(_) => (MAX_HANDLES, "handles"),
                    Object::Lock(_) => (MAX_LOCKS, "locks"),
                    Object::Migration(_) => (MAX_MIGRATIONS, "migrations"),
                };
                format!("a program has at most {most} {what}")
            }
            Fault::Unknown(_) => format!("nothing creates {name} before this"),
            Fault::Gone(object) => match object {
                Object::Mm(_) => format!("{name} has exited"),
                Object::Handle(_) => format!("{name} was dropped already"),
                Object::Migration(_) => format!("{name} was finalized already"),
                _ => format!("{name} was released already"),
            },
            Fault::CreatedElsewhere(_) => {
                format!("{name} is created by another CPU in the same phase")
            }
            Fault::UsedElsewhere(_) => {
                format!("another CPU uses {name} in the same phase, so it cannot end here")
            }
            Fault::ExitFirst => "mm0 never exits".into(),
            Fault::PutOfPin(_) => format!("{name} was made by `pin`, which `put` does not drop"),
            Fault::UnpinOfGet(_) => {
                format!("{name} was made by `get`, which `unpin` does not drop")
            }
            Fault::SameHandle(_) => format!("{name} is unpinned twice in one call"),
            Fault::Hole => "a hole lies between two arrays of pages".into(),
            Fault::EmptyRange => "a range has at least one page".into(),
            Fault::OutsideArea(range, len) => {
                let last = u32::from(range.off) + u32::from(range.len) - 1;
                match range.len {
                    1 => format!("page {last} is outside {name}, which has {len}"),
                    _ => format!(
                        "pages {}..={last} reach outside {name}, which has {len}",
                        range.off
                    ),
                }
            }
            Fault::AreaLen(n) => format!("an area has 1 to {MAX_AREA_PAGES} pages, not {n}"),
            Fault::Shift(n) => format!("a shift of {n} pages is a whole page table or more"),
            Fault::File(n) => format!("there is no file f{n}; there are {FILES}"),
            Fault::Task(n) => format!("t{n} is not a task that locks pages; t8 to t15 are"),
            Fault::FastOnlyPin => "`fast_only` exists for `get` alone".into(),
            Fault::LongtermGet => "`longterm` exists for `pin` alone".into(),
            Fault::DevicePlace => "only drivers place folios in device memory".into(),
            Fault::NoDevice => "the machine has no device memory".into(),
            Fault::Select(n) => format!("{n} is not a set of select flags"),
            Fault::FailNth => "attempts are counted from 1".into(),
            Fault::FailOffline => "no failure is injected into `offline`".into(),
            Fault::SliceCpu(n) => format!("the machine has no CPU {n}"),
            Fault::SliceRun => "a slice runs for 1 to 255 points".into(),
            Fault::SliceTask(n) => format!("task {n} of a CPU: at most {MAX_TASK} wait for it"),
            Fault::ExpectInsidePhase => {
                "an expectation stands between phases, not inside one".into()
            }
            Fault::ExpectResult => {
                "`result` is that of the operation just above, alone in its phase".into()
            }
            Fault::HandlePage(_, len) => format!("{name} holds at most {len} pages, from 0"),
            Fault::ExpectNothing => "an expectation states something".into(),
            Fault::FieldTwice(field) => format!("`{}` is stated twice", field.word()),
            Fault::FieldTarget(field) => format!("`{}` is not a field of this", field.word()),
            Fault::FieldValue(field, value) => {
                format!("`{}` is never {value}", field.word())
            }
            Fault::NotWritten(step) => format!("operation {step} does not write that page"),
            Fault::Cite => "an expectation cites the rule it comes from, one word".into(),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Mm(mm) => write!(f, "mm{}", mm.0),
            Object::Area(area) => write!(f, "m{}", area.0),
            Object::Handle(handle) => write!(f, "h{}", handle.0),
            Object::Lock(lock) => write!(f, "l{}", lock.0),
            Object::Migration(migration) => write!(f, "v{}", migration.0),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.object().map(|object| object.to_string()).unwrap_or_default();
        f.write_str(&self.describe(&name))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Part::Machine => write!(f, "machine: ")?,
            Part::Phase(n) => write!(f, "phase {}: ", n + 1)?,
            Part::Step(n) => write!(f, "step {}: ", n + 1)?,
            Part::Schedule => write!(f, "schedule: ")?,
            Part::Expect(n) => write!(f, "expectation {}: ", n + 1)?,
        }
        self.fault.fmt(f)
    }
}

impl std::error::Error for Fault {}
impl std::error::Error for Invalid {}
