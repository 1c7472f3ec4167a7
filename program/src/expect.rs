//! Expectations that a corpus program states by hand.

use crate::op::{HandleId, MmId, Range};
use crate::outcome::Ret;

/// What an expectation looks at, after the step it follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The return value of the step just done.
    Result,
    /// The page mapped at the first page of the range.
    Page(MmId, Range),
    /// The `index`-th page of a handle.
    Handle(HandleId, u16),
    /// The `index`-th page that the step just done read or reported.
    Out(u16),
    /// The whole machine.
    Machine,
}

/// One checked field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// `folio_ref_count` (the zero page: 0).
    Ref,
    /// `folio_mapcount`: all PTE mappings of the folio plus PMD mappings.
    Map,
    /// Mappings of this very page: its PTE mappings plus the folio's PMD mappings.
    PageMap,
    /// Pins: `_pincount` of a large folio; refcount / GUP_PIN_COUNTING_BIAS of a small one.
    Pin,
    /// PageAnonExclusive of this page (the head's under a PMD mapping). 0 or 1.
    Ae,
    /// The entry is present. 0 or 1.
    Present,
    /// The entry is writable. 0 or 1.
    Write,
    /// The entry is dirty (shared file mappings). 0 or 1.
    Dirty,
    /// Mapped by a huge PMD. 0 or 1.
    Huge,
    /// The folio's order.
    Order,
    /// PG_lru. 0 or 1.
    Lru,
    /// PG_locked. 0 or 1.
    Locked,
    /// The shared zero page. 0 or 1.
    Zero,
    /// 0 normal, 1 movable, 2 cma, 3 device, 4 coherent (text: the names).
    Zone,
    /// [`EntryKind::code`](crate::EntryKind::code) plus 1; 0 for none (text: `none`, `present`,
    /// `migration`, `migration_exclusive`, `private`, `exclusive`).
    Entry,
    /// What `hmm_range_fault` said of the page (text: see [`hmm`](crate::hmm)).
    Hmm,
    /// The page's content (text: `0`, `STEP.PAGE` as written, `fFILE.INDEX` as on disk).
    Data,
    /// Pages in use in the place with this number.
    Used(u8),
}

/// One `expect` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expect {
    /// Evaluated after this many steps of the program.
    pub after: usize,
    /// What is looked at.
    pub target: Target,
    /// Expected return value, for [`Target::Result`].
    pub ret: Option<Ret>,
    /// Fields and the values stated for them.
    pub fields: Vec<(Field, u64)>,
    /// The rule that says so, e.g. `B2` or `K1`.
    pub cite: String,
}

impl Field {
    /// Every field.
    pub const ALL: [Field; 22] = [
        Field::Ref,
        Field::Map,
        Field::PageMap,
        Field::Pin,
        Field::Ae,
        Field::Present,
        Field::Write,
        Field::Dirty,
        Field::Huge,
        Field::Order,
        Field::Lru,
        Field::Locked,
        Field::Zero,
        Field::Zone,
        Field::Entry,
        Field::Hmm,
        Field::Data,
        Field::Used(0),
        Field::Used(1),
        Field::Used(2),
        Field::Used(3),
        Field::Used(4),
    ];

    /// Its name in the text form.
    pub fn word(self) -> &'static str {
        match self {
            Field::Ref => "ref",
            Field::Map => "map",
            Field::PageMap => "pagemap",
            Field::Pin => "pin",
            Field::Ae => "ae",
            Field::Present => "present",
            Field::Write => "w",
            Field::Dirty => "dirty",
            Field::Huge => "huge",
            Field::Order => "order",
            Field::Lru => "lru",
            Field::Locked => "locked",
            Field::Zero => "zero",
            Field::Zone => "zone",
            Field::Entry => "entry",
            Field::Hmm => "hmm",
            Field::Data => "data",
            Field::Used(0) => "used.normal",
            Field::Used(1) => "used.movable",
            Field::Used(2) => "used.cma",
            Field::Used(3) => "used.device",
            Field::Used(_) => "used.coherent",
        }
    }
}
