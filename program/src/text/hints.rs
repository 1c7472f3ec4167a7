//! How each mistake might be put right, where the parser knows nothing more particular.

use crate::arena::MAX_CPUS;
use crate::codec::{MAX_PLACE_PAGES, MAX_STEPS};
use crate::expect::Field;
use crate::text::error::Mistake;
use crate::text::names::Sort;
use crate::text::render::shown;
use crate::validate::{Fault, MAX_AREA_PAGES};

/// Why a number is none.
fn of_number(text: &str, most: u64) -> String {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && text.len() > 1 && text.starts_with('0') {
        "numbers are written without leading zeros".into()
    } else if digits {
        format!("the largest is {most}")
    } else {
        "numbers are decimal digits alone, such as `3`".into()
    }
}

impl Mistake {
    /// What might help; never empty.
    pub fn hint(&self) -> String {
        match self {
            Mistake::ByteOrderMark => "save the file as UTF-8 without BOM".into(),
            Mistake::UnknownOp(_) => "see `docs/program-text.md` for every operation".into(),
            Mistake::Unexpected(_) => "a line is one operation, `[cpuN:] [NAME =] OP …`".into(),
            Mistake::UnknownArgument { op, .. } => format!("leave it out: `{op}` goes without"),
            Mistake::Missing { what, .. } => format!("add {what}"),
            Mistake::Twice { word, other } if word == other => "leave one of them out".into(),
            Mistake::Twice { word, .. } => {
                format!("leave `{}` or the other one out", shown(word))
            }
            Mistake::CreatesNothing(op) => {
                format!("leave out the name and its `=`: `{op}` alone")
            }
            Mistake::WrongName { op, sigil, .. } => format!("such as `{sigil}1 = {op} …`"),
            Mistake::UndefinedName(_) => "names are defined on a line above their use".into(),
            Mistake::DefinedTwice { .. } => "take another number".into(),
            Mistake::Number { text, most, .. } => of_number(text, *most),
            Mistake::Value { .. } => "see `docs/program-text.md` for its values".into(),
            Mistake::NoCpu => "such as `cpu0: read m0`".into(),
            Mistake::MachineTooLate => {
                "state every key on one `machine` line at the head of the text".into()
            }
            Mistake::EmptyPhase => "operations with their CPUs stand below it".into(),
            Mistake::NoBy => "such as `by B2`".into(),
            Mistake::NoTarget => "such as `expect m0+1 ref=2 by B2`".into(),
            Mistake::UnknownField(_) => {
                format!("fields are {}", Field::ALL.map(Field::word).join(", "))
            }
            Mistake::Schedule(_) => "such as `schedule: 0*3 1 (0*2 1)*`".into(),
            Mistake::Rule { fault, .. } => of_fault(*fault),
        }
    }
}

/// What might help against a broken rule, without knowing the program; never empty.
fn of_fault(fault: Fault) -> String {
    match fault {
        Fault::Cpus(_) => format!("such as `cpus=2`; 1 to {MAX_CPUS}"),
        Fault::Ptes(_) => "such as `ptes=4`; powers of two from 4 to 512".into(),
        Fault::Batch(_) => "such as `batch=3`; 1 to 31".into(),
        Fault::Pages(_) => format!("such as `normal=512`; 0 to {MAX_PLACE_PAGES}"),
        Fault::TooManySteps => {
            format!("split it into programs of {MAX_STEPS} steps; nothing below is read")
        }
        Fault::EmptyPhase => "operations with their CPUs stand below `phase:`".into(),
        Fault::NoCpu(_) | Fault::SliceCpu(_) => "say `machine cpus=N` for more".into(),
        Fault::OutOfOrder(_) => "objects are numbered in the order of their creation".into(),
        Fault::TooMany(_) => "use one that is there, or split the program".into(),
        Fault::Unknown(object) | Fault::Gone(object) => {
            format!("create another: {}", Sort::of(object).describe())
        }
        Fault::CreatedElsewhere(_) => {
            "operations of a phase run in no order: use it in a later phase".into()
        }
        Fault::UsedElsewhere(_) => {
            "operations of a phase run in no order: do this in a later phase".into()
        }
        Fault::ExitFirst => "exit a forked address space, such as `exit mm1`".into(),
        Fault::PutOfPin(_) => "use `unpin`".into(),
        Fault::UnpinOfGet(_) => "use `put`".into(),
        Fault::SameHandle(_) => "name it once, or two different handles".into(),
        Fault::Hole => "name two handles, without `range`".into(),
        Fault::EmptyRange => "leave `len=` out for one page, or give 1 or more".into(),
        Fault::OutsideArea(_, len) => format!("its pages are 0 to {}", len.saturating_sub(1)),
        Fault::AreaLen(_) => format!("such as `len=4`; 1 to {MAX_AREA_PAGES}"),
        Fault::Shift(_) => "shifts are counted from a boundary of a page table".into(),
        Fault::File(_) => "the files are f0 and f1".into(),
        Fault::Task(_) => "such as `task=t8`; t8 to t15".into(),
        Fault::FastOnlyPin => "use `pin … fast`, or `get`".into(),
        Fault::LongtermGet => "use `pin … longterm`".into(),
        Fault::DevicePlace => "normal, movable or cma".into(),
        Fault::NoDevice => "say `machine device=16 coherent=16`".into(),
        Fault::Select(_) => "system, device_private, device_coherent".into(),
        Fault::FailNth => "the first attempt is 1, such as `fail=page#1`".into(),
        Fault::FailOffline => "leave `fail=` out, or inject it into another operation".into(),
        Fault::SliceTask(_) => "such as `0+1`: the first task that waits for CPU 0".into(),
        Fault::SliceRun => "such as `0*3`, or `0` for one point; at most 255".into(),
        Fault::ExpectInsidePhase => "move it below the last operation of the phase".into(),
        Fault::ExpectResult => "state results outside a `phase:`, below the operation".into(),
        Fault::HandlePage(_, len) => format!("its pages are 0 to {}", len.saturating_sub(1)),
        Fault::ExpectNothing => "add a field, such as `ref=2` or `data=0`".into(),
        Fault::FieldTwice(_) => "leave one of them out".into(),
        Fault::FieldTarget(_) => {
            "pages and handles have `ref`, `map`, …; `machine` has `used.normal`, …".into()
        }
        Fault::FieldValue(field, _) => match field {
            Field::Zone => "normal, movable, cma, device or coherent".into(),
            Field::Entry => {
                "none, present, migration, migration_exclusive, private or exclusive".into()
            }
            Field::Hmm => "such as `none`, `error`, `r`, `rw`, `r+zero`, `rw+private`".into(),
            Field::Order => "the order of a folio: 0 to 9".into(),
            Field::Ref | Field::Map | Field::PageMap | Field::Pin | Field::Used(_) => {
                "a count, such as 2".into()
            }
            _ => "0 for no, 1 for yes".into(),
        },
        Fault::NotWritten(_) => "content is 0, `STEP.PAGE` (a `write` by its number from 1, and \
                                 the page of its range), or `fFILE.INDEX`"
            .into(),
        Fault::Cite => "such as `by B2`".into(),
    }
}
