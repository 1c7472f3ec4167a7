//! What a run ends with.

use std::fmt;

use machine::Holding;
use program::{CollapseMark, DeviceMark, Mark, Marked, Snapshot, Step};

use crate::compare::{FieldDiff, FolioField, MmField, Value, What};
use crate::expects::Failure;
use crate::invariants::Violation;

/// Which way a reference count is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Drift {
    /// The optimised side holds references that nobody will drop.
    Leak,
    /// The optimised side dropped references that somebody still holds.
    Underflow,
}

/// What kind of finding it is. The order is the precedence: when several fields differ, the
/// divergence is of the least of their classes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The optimised side misbehaved, whatever its state now is.
    Conduct(&'static str),
    /// Tasks wait for each other, or for a wake-up that was lost.
    Deadlock,
    /// A task that others wait for never gets its CPU.
    Starvation,
    /// Tasks go round in the same states for ever.
    Livelock,
    /// The returned values differ.
    Result,
    /// The data that was read differs.
    Content,
    /// PG_locked or its owner.
    Lock,
    /// Page-table entries or page tables.
    Mapping,
    /// VMAs.
    Vma,
    /// Existence of an mm, or MMF_HAS_PINNED.
    Mm,
    /// The pages behind a handle.
    Handle,
    /// `folio_ref_count`, a folio freed too early or too late.
    Refcount(Drift),
    /// `_mapcount` or `_entire_mapcount`.
    Mapcount,
    /// `_pincount`.
    Pincount,
    /// PageAnonExclusive.
    Exclusive,
    /// PG_lru or the per-CPU batches.
    Lru,
    /// PG_dirty of a folio.
    Dirty,
    /// What the page cache holds.
    Cache,
    /// A folio's order or kind.
    Folio,
    /// Data in memory that nobody read yet.
    Stored,
    /// Where folios lie, how much memory is in use.
    Memory,
    /// An expectation that the program states by hand does not hold.
    Expect,
    /// A universal invariant of this number is broken although both sides agree.
    Invariant(u8),
    /// Digests and snapshots disagree: a bug of the harness or of a side's bookkeeping.
    Digest,
    /// Both sides agree, and something is left when everything was given back.
    Teardown,
    /// Both sides agree, and doing without batches would have cost less.
    Cost,
    /// The order of time does not explain a phase, but another order of its steps does.
    Excused,
    /// Steps of a phase wait for what only the program can give: a folio lock that it holds.
    Pending,
    /// The machine found no end of a phase, and no proof that there is none.
    Undecided,
}

impl Class {
    /// The class without its details: `refcount`, `conduct`…
    pub fn family(self) -> &'static str {
        match self {
            Class::Conduct(_) => "conduct",
            Class::Deadlock => "deadlock",
            Class::Starvation => "starvation",
            Class::Livelock => "livelock",
            Class::Result => "result",
            Class::Content => "content",
            Class::Lock => "lock",
            Class::Mapping => "mapping",
            Class::Vma => "vma",
            Class::Mm => "mm-flags",
            Class::Handle => "handle",
            Class::Refcount(_) => "refcount",
            Class::Mapcount => "mapcount",
            Class::Pincount => "pincount",
            Class::Exclusive => "exclusive",
            Class::Lru => "lru",
            Class::Dirty => "dirty",
            Class::Cache => "cache",
            Class::Folio => "folio",
            Class::Stored => "content-in-memory",
            Class::Memory => "memory",
            Class::Expect => "expect",
            Class::Cost => "cost",
            Class::Invariant(_) => "invariant",
            Class::Digest => "digest",
            Class::Teardown => "teardown",
            Class::Excused => "excused",
            Class::Pending => "pending",
            Class::Undecided => "undecided",
        }
    }
}

impl Class {
    /// Whether it says that the two sides differ, and not that one of them misbehaved or never came
    /// to an end.
    pub(crate) fn is_judged(self) -> bool {
        !matches!(
            self,
            Class::Conduct(_)
                | Class::Deadlock
                | Class::Starvation
                | Class::Livelock
                | Class::Pending
                | Class::Undecided
        )
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Conduct(class) => write!(f, "conduct-{}", class.replace(' ', "-")),
            Class::Refcount(Drift::Leak) => f.write_str("refcount-leak"),
            Class::Refcount(Drift::Underflow) => f.write_str("refcount-underflow"),
            Class::Invariant(number) => write!(f, "invariant-I{number}"),
            _ => f.write_str(self.family()),
        }
    }
}

/// When it was noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Before the first step.
    Start,
    /// After the program's step of this number (from 0).
    Step(usize, Step),
    /// In or after the concurrent phase of this number (from 0).
    Phase(usize),
    /// After this step of those that give everything back at the end.
    Ending(Step),
    /// After the last of them.
    End,
}

/// The two sides differ, or one misbehaved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divergence {
    /// The kind of finding.
    pub class: Class,
    /// When it was noticed.
    pub when: When,
    /// The path that the optimised side took last in that step.
    pub path: Option<&'static str>,
    /// The fields that differ, most telling first.
    pub fields: Vec<FieldDiff>,
    /// The reference's state after the step.
    pub reference: Snapshot,
    /// The optimised side's state after the step.
    pub optimized: Snapshot,
    /// The marks of the phase that it happened in, in the order of time.
    pub trace: Vec<Marked>,
    /// The locks that were held meanwhile; times are positions in the trace.
    pub holdings: Vec<Holding>,
    /// The mark of which the two sides see different things.
    pub at: Option<usize>,
    /// Where else it went wrong, in the order of time.
    pub remarks: Vec<Remark>,
}

/// What there is to say of a CPU at a moment of a phase that no mark says: here it broke a rule, or
/// it waits here for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// The CPU.
    pub cpu: u8,
    /// The marks made before, a position in the trace.
    pub at: usize,
    /// What happened, about its task: `waits for PTL of task 0`.
    pub text: String,
}

/// What a run ends with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The two sides agreed at every step and nothing was left at the end.
    Clean,
    /// They did not.
    Diverged(Box<Divergence>),
}

impl Verdict {
    /// The divergence, if there is one.
    pub fn divergence(&self) -> Option<&Divergence> {
        match self {
            Verdict::Clean => None,
            Verdict::Diverged(divergence) => Some(divergence),
        }
    }

    /// The class of the finding, if there is one.
    pub fn class(&self) -> Option<Class> {
        self.divergence().map(|divergence| divergence.class)
    }
}

impl Divergence {
    /// The most telling field.
    pub fn field(&self) -> Option<&FieldDiff> {
        self.fields.first()
    }

    /// A name for the field that stays the same when the program changes around it: `ref`,
    /// `entry`, `return`…
    pub fn field_name(&self) -> &'static str {
        self.field().map_or("none", |diff| diff.what.field_name())
    }
}

impl FieldDiff {
    /// The class that this field alone would give.
    pub fn class(&self) -> Class {
        match self.what {
            What::Return => Class::Result,
            What::Data(_) => Class::Content,
            What::Conduct(class) => Class::Conduct(class),
            What::Folio(_, field) => match field {
                FolioField::Exists | FolioField::Refcount => Class::Refcount(self.drift()),
                FolioField::Entire | FolioField::Mapcount(_) => Class::Mapcount,
                FolioField::Pincount => Class::Pincount,
                FolioField::Exclusive(_) => Class::Exclusive,
                FolioField::Locked => Class::Lock,
                FolioField::Lru => Class::Lru,
                FolioField::Dirty => Class::Dirty,
                FolioField::Data(_) => Class::Stored,
                FolioField::Order | FolioField::Anon => Class::Folio,
                FolioField::Place => Class::Memory,
            },
            What::Mm(_, field) => match field {
                MmField::Exists | MmField::HasPinned => Class::Mm,
                MmField::Vma(_) => Class::Vma,
                MmField::Table(_) | MmField::Huge(_) | MmField::Entry(_) => Class::Mapping,
            },
            What::Handle(_) | What::Migration(..) => Class::Handle,
            What::Lock(_) => Class::Lock,
            What::Cache(..) => Class::Cache,
            What::Batch(_) => Class::Lru,
            What::Used(_) => Class::Memory,
            What::ZeroRefs | What::Kept => Class::Refcount(self.drift()),
            What::Expect(_) => Class::Expect,
            What::Cost(_) => Class::Cost,
            What::Invariant(number) => Class::Invariant(number),
            What::Digest => Class::Digest,
            What::Left => Class::Teardown,
            What::Machine(class) => class,
            What::Mark(mark) => of_mark(mark),
        }
    }

    fn drift(&self) -> Drift {
        let count = |value: &Value| if let Value::Count(n) = value { *n } else { 0 };
        if count(&self.optimized) > count(&self.reference) { Drift::Leak } else { Drift::Underflow }
    }
}

/// The class of a mark that sees different things on the two sides.
fn of_mark(mark: Mark) -> Class {
    match mark {
        Mark::Return => Class::Result,
        Mark::Load { .. }
        | Mark::Peek { .. }
        | Mark::CopyFrom { .. }
        | Mark::Collapse { mark: CollapseMark::Copy { .. }, .. } => Class::Content,
        Mark::Collapse { .. } => Class::Mapping,
        Mark::Grab { .. } | Mark::BackOff { .. } | Mark::Undo { .. } | Mark::Release { .. } => {
            Class::Handle
        }
        Mark::Kept => Class::Exclusive,
        Mark::Hold { .. } | Mark::Drop { .. } | Mark::Get { .. } | Mark::Put { .. } => {
            Class::Refcount(Drift::Leak)
        }
        Mark::Unwanted { .. }
        | Mark::Unreached { .. }
        | Mark::Move { .. }
        | Mark::CanSplit { .. }
        | Mark::Split { .. } => Class::Refcount(Drift::Leak),
        Mark::Isolate { .. } | Mark::Putback { .. } => Class::Lru,
        Mark::Busy { .. } => Class::Lock,
        Mark::Vmas { .. }
        | Mark::Invalidate { .. }
        | Mark::Forbidden { .. }
        | Mark::Hole { .. }
        | Mark::AnonVma { .. }
        | Mark::UffdRefused { .. } => Class::Vma,
        Mark::Child { .. } | Mark::MmGone { .. } | Mark::HasPinned { .. } => Class::Mm,
        Mark::Drain { .. } | Mark::LruCacheDisable { .. } => Class::Lru,
        Mark::Dirty { .. } => Class::Dirty,
        Mark::CacheAdd { .. } | Mark::Evict { .. } | Mark::BeyondEof { .. } => Class::Cache,
        Mark::Device(DeviceMark::Load { .. } | DeviceMark::Use { .. } | DeviceMark::Map { .. }) => {
            Class::Content
        }
        Mark::Device(DeviceMark::Isolate { .. }) => Class::Lru,
        Mark::Device(_)
        | Mark::StartIsolate { .. }
        | Mark::UndoIsolate
        | Mark::Pinnable { .. }
        | Mark::Begin
        | Mark::Refused { .. }
        | Mark::Store { .. }
        | Mark::Table { .. }
        | Mark::FreeTable { .. }
        | Mark::Fault { .. }
        | Mark::Reusable { .. }
        | Mark::Follow { .. }
        | Mark::SplitPmd { .. }
        | Mark::Find { .. }
        | Mark::Unmap { .. }
        | Mark::Restore { .. }
        | Mark::Zap { .. }
        | Mark::Flush { .. }
        | Mark::ZapHuge { .. }
        | Mark::Protect { .. }
        | Mark::Userfault { .. }
        | Mark::Killed
        | Mark::UffdFill { .. }
        | Mark::MovePte { .. }
        | Mark::MovePmd { .. }
        | Mark::MustCopy { .. }
        | Mark::CopyPte { .. }
        | Mark::CopyPmd { .. } => Class::Mapping,
    }
}

impl From<Failure> for FieldDiff {
    fn from(failure: Failure) -> FieldDiff {
        FieldDiff {
            what: What::Expect(failure.expect),
            reference: Value::Text(format!(
                "{} {} (`{}`)",
                failure.what, failure.stated, failure.line
            )),
            optimized: Value::Text(format!("the {} has {}", failure.side, failure.found)),
        }
    }
}

impl From<Violation> for FieldDiff {
    fn from(violation: Violation) -> FieldDiff {
        FieldDiff {
            what: What::Invariant(violation.number),
            reference: Value::Text(violation.rule.to_owned()),
            optimized: Value::Text(violation.found),
        }
    }
}
