//! The marked steps of operations: what a concurrent phase is judged by.
//!
//! An operation that runs beside others is not atomic. It is a sequence of *marks*: this fault was
//! committed, this page was loaded, this entry zapped. The optimised side records each in the same
//! segment (no scheduling point between) as its effect; the reference carries them out in that
//! order, one relation at a time, and must see the same. `docs/steps.md` is the table: which
//! operation has which marks, where they are placed, what each means.

use crate::device_mark::DeviceMark;
use crate::digest::Name;
use crate::op::{MmId, Site};
use crate::outcome::Ret;
use crate::program::Span;
use crate::shape::Place;
use crate::snapshot::{EntryView, ObjectId, PageRef};

/// What a fault is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// FAULT_FLAG_UNSHARE: a read-only pin of a shared anonymous page.
    Unshare,
}

/// One step of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[expect(missing_docs, reason = "fields are named for what they hold; the table is docs/steps.md")]
pub enum Mark {
    /// The operation begins. Sees nothing.
    Begin,
    /// The operation returns. Sees its value.
    Return,
    /// A load of the page by the CPU. `stale`: the page that its TLB leads to, which the page table
    /// no longer does. Sees the data.
    Load { mm: MmId, vpn: u32, stale: Option<PageRef> },
    /// A store to the page, the `index`-th of the operation; `stale` as of a load. Sees the page.
    Store { mm: MmId, vpn: u32, index: u32, stale: Option<PageRef> },
    /// No VMA, or one that forbids this. Sees whether it is allowed: no.
    Forbidden { mm: MmId, vpn: u32, access: Access },
    /// A walk over VMAs comes to a hole. Sees whether it is one.
    Hole { mm: MmId, vpn: u32 },
    /// `anon_vma_prepare`. Sees nothing.
    AnonVma { mm: MmId, vpn: u32 },
    /// A file fault lies beyond the end of the file. Sees whether it does.
    BeyondEof { mm: MmId, vpn: u32 },
    /// `pmd_install`: a page table. Sees whether there was nothing.
    Table { mm: MmId, pmd: u32 },
    /// A fault was committed. `copied`: an earlier step decided to copy. `placed`: where the new
    /// folio came from. Sees the entry after it.
    Fault { mm: MmId, vpn: u32, access: Access, copied: bool, placed: Option<Place> },
    /// A write fault does not reuse the page that it finds. Sees whether it may: no.
    Reusable { mm: MmId, vpn: u32 },
    /// The content of a page is read, for a copy. Sees the data.
    CopyFrom { page: PageRef },
    /// `__filemap_add_folio`: a page read in. Sees the page.
    CacheAdd { object: ObjectId, index: u32, placed: Place },
    /// A transient reference (or pins) that no handle holds. Sees nothing.
    Hold { folio: Name, refs: u32, pin: bool },
    /// It is dropped. Sees whether there was one.
    Drop { folio: Name, refs: u32, pin: bool },
    /// PG_dirty is set. Sees nothing.
    Dirty { folio: Name },
    /// MMF_HAS_PINNED. Sees nothing.
    HasPinned { mm: MmId },
    /// GUP takes `pages` pages, the first one through the entry at `vpn`. `held`: its transient
    /// references become these. Sees the first page.
    Grab { mm: MmId, vpn: u32, pages: u32, held: bool },
    /// The slow walk without references finds the pages mapped. Sees whether they are.
    Follow { mm: MmId, vpn: u32, pages: u32, write: bool },
    /// GUP-fast gives up here. Sees whether it had to.
    BackOff { mm: MmId, vpn: u32 },
    /// GUP-fast gives back the last so many pages that it took. Sees nothing.
    Undo { pages: u32 },
    /// GUP-fast is done with the pages that it has. Sees whether all pins are reliable.
    Kept,
    /// An allocation or a grab (`second`: of the rest of a huge page) was refused. Sees nothing.
    Refused { site: Site, second: bool },
    /// So many pages of a folio, this one among them, are released from the handles given. Sees
    /// whether they were there.
    Release { page: PageRef, pages: u32 },
    /// A page of a handle is read. Sees the data.
    Peek { index: u32 },
    /// The operation's change of VMAs in this range. Sees nothing.
    Vmas { mm: MmId, span: Span },
    /// `__split_huge_pmd`. Sees whether it was huge.
    SplitPmd { mm: MmId, pmd: u32 },
    /// `lru_add_drain` of a CPU. Sees nothing.
    Drain { cpu: u8 },
    /// A PTE is zapped. Sees the page.
    Zap { mm: MmId, vpn: u32 },
    /// A huge PMD is zapped. Sees the page.
    ZapHuge { mm: MmId, pmd: u32 },
    /// No TLB has translations of these pages any more that the page tables took back. Sees nothing.
    Flush { mm: MmId, span: Span },
    /// A page table is freed. Sees whether it was empty.
    FreeTable { mm: MmId, pmd: u32 },
    /// A PTE or huge PMD gets its VMA's protection. Sees the entry.
    Protect { mm: MmId, vpn: u32 },
    /// mremap moves an entry. Sees it in its new place.
    MovePte { mm: MmId, from: u32, to: u32 },
    /// mremap moves a huge entry, or a table with all that is in it; the pages are the first ones.
    /// Sees the huge entry in its new place.
    MovePmd { mm: MmId, from: u32, to: u32 },
    /// fork makes the child. Sees nothing.
    Child { child: MmId },
    /// `folio_needs_cow_for_dma` and the test for PageAnonExclusive. Sees whether the page must be
    /// copied.
    MustCopy { mm: MmId, vpn: u32 },
    /// fork copies an entry, sharing the page, or with a copy, `placed` there. Sees the child's.
    CopyPte { mm: MmId, child: MmId, vpn: u32, placed: Option<Place> },
    /// fork shares a huge PMD. Sees the child's.
    CopyPmd { mm: MmId, child: MmId, pmd: u32 },
    /// An address space is gone. Sees whether nothing was left in it.
    MmGone { mm: MmId },
    /// A page leaves the page cache. Sees whether it was there.
    Evict { object: ObjectId, index: u32 },
    /// `folio_walk_start`. Sees the page that is mapped there.
    Find { mm: MmId, vpn: u32 },
    /// A reference of the operation itself, on a folio that is mapped. Sees nothing.
    Get { folio: Name },
    /// The operation gives back a reference of its own. Sees whether it had one.
    Put { folio: Name },
    /// The folio lock is taken, and the operation does not wait. Sees whether it is.
    Busy { folio: Name },
    /// `folio_isolate_lru`. Sees whether it was on the LRU.
    Isolate { folio: Name },
    /// `folio_putback_lru`, of a folio that was isolated. Sees whether it was.
    Putback { folio: Name },
    /// An isolated folio turns out to be nobody's: it is freed. Sees whether it is.
    Unwanted { folio: Name },
    /// An isolated folio is still mapped after all its entries were unmapped that `rmap_walk` finds: a
    /// collapse has detached a table with one.
    Unreached {
        /// The folio.
        folio: Name,
    },
    /// `mmu_notifier_invalidate_range_start` of a move: no device maps the old place any more.
    Invalidate { mm: MmId, span: Span },
    /// A mapping becomes a migration entry. Sees the entry, or no: it may be pinned.
    Unmap { mm: MmId, vpn: u32 },
    /// A migration entry becomes a mapping: of where its folio went. `split`: at the end of a
    /// split. Sees the entry.
    Restore { mm: MmId, vpn: u32, split: bool },
    /// `folio_migrate_mapping`, with the copy: the folio goes to a new one, `placed` there. Sees
    /// the new one's first page, or no: somebody else refers to it.
    Move { folio: Name, placed: Option<Place> },
    /// `can_split_folio`, with so many references of the caller's own. Sees whether it can.
    CanSplit { folio: Name, callers: u32 },
    /// References are frozen and every page becomes a folio, held by the operation, `isolated` or
    /// on the LRU. Sees whether they could be frozen.
    Split { folio: Name, isolated: bool },
    /// `lru_cache_disable`, or enabled again: every folio that is added goes straight to the LRU. Sees
    /// nothing.
    LruCacheDisable { on: bool },
    /// `start_isolate_page_range` of all blocks in which the place has folios. Sees nothing.
    StartIsolate { place: Place },
    /// `test_pages_isolated`, `undo_isolate_page_range`. Sees whether nothing is left in them.
    UndoIsolate,
    /// A fault finds nothing in a VMA that is registered with userfaultfd, and waits for it or, if
    /// `sigbus`, must not. Sees whether that is so.
    Userfault { mm: MmId, vpn: u32, sigbus: bool },
    /// The fault that waits is killed: nobody else can go on. Sees nothing.
    Killed,
    /// An operation on a userfaultfd is refused. Sees the error.
    UffdRefused { mm: MmId },
    /// UFFDIO_COPY, UFFDIO_ZEROPAGE of one page, the `index`-th; `placed`: the copy. Sees the entry, or
    /// no: something is there.
    UffdFill { mm: MmId, vpn: u32, index: u32, placed: Option<Place> },
    /// A step of collapse, below this PMD.
    Collapse { mm: MmId, pmd: u32, mark: CollapseMark },
    /// `folio_is_longterm_pinnable`. Sees whether it is.
    Pinnable { folio: Name },
    /// A step of a driver.
    Device(DeviceMark),
}

/// One step of `madvise_collapse`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[expect(missing_docs, reason = "fields are named for what they hold; the table is docs/steps.md")]
pub enum CollapseMark {
    /// `madvise_collapse` refuses the VMA there, or the range. Sees whether it must.
    Refused { vpn: u32 },
    /// `hpage_collapse_scan_pmd`: the table's entries, up to one of this folio, which is locked.
    /// Sees whether some are not present, or the error; of a locked folio whether it is.
    Scan { locked: Option<Name> },
    /// `hugepage_vma_revalidate` and `find_pmd_or_thp_or_none`, under another mmap_lock. Sees
    /// whether the VMA, and the `table`, are there still, or a huge page by now, or the error.
    Revalidate { table: bool },
    /// `pmdp_collapse_flush`: nobody walks to the table any more. Sees whether there was one.
    Detach,
    /// `__collapse_huge_page_isolate` stops at an entry. Sees the error.
    Unfit { vpn: u32 },
    /// Likewise at the end, because no entry is writable. Sees whether none is.
    ReadOnly,
    /// A page is copied, or cleared. Sees what it holds.
    Copy { vpn: u32 },
    /// An entry below the detached table goes. Sees its page.
    Clear { vpn: u32 },
    /// The huge page takes the table's place. Sees its entry.
    Map { placed: Place },
    /// The table comes back: the collapse failed. Sees whether nothing was there.
    Restore,
}

impl CollapseMark {
    /// A stable name, lower case and dashes.
    pub fn name(&self) -> &'static str {
        match self {
            CollapseMark::Refused { .. } => "collapse-refused",
            CollapseMark::Scan { .. } => "collapse-scan",
            CollapseMark::Revalidate { .. } => "collapse-revalidate",
            CollapseMark::Detach => "collapse-detach",
            CollapseMark::Unfit { .. } => "collapse-unfit",
            CollapseMark::ReadOnly => "collapse-read-only",
            CollapseMark::Copy { .. } => "collapse-copy",
            CollapseMark::Clear { .. } => "collapse-clear",
            CollapseMark::Map { .. } => "collapse-map",
            CollapseMark::Restore => "collapse-restore",
        }
    }
}

/// What a step saw or left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Seen {
    /// Nothing that could differ.
    Nothing,
    /// Yes or no.
    Flag(bool),
    /// A page, and what it holds.
    Data(PageRef, u64),
    /// A page.
    Page(PageRef),
    /// An entry.
    Entry(EntryView),
    /// The operation's return value.
    Ret(Ret),
    /// The step has no meaning where it happened (the reference alone says this).
    Impossible,
}

/// A mark as it was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Marked {
    /// The number of the program's step whose mark it is; none for work that many wait for.
    pub number: Option<usize>,
    /// The CPU.
    pub cpu: u8,
    /// The mark.
    pub mark: Mark,
    /// What the optimised side saw.
    pub seen: Seen,
}

impl Mark {
    /// The address space that it is about.
    pub fn mm(&self) -> Option<MmId> {
        match *self {
            Mark::Device(mark) => mark.address().map(|(mm, _)| mm),
            Mark::Load { mm, .. }
            | Mark::Store { mm, .. }
            | Mark::Forbidden { mm, .. }
            | Mark::Hole { mm, .. }
            | Mark::AnonVma { mm, .. }
            | Mark::BeyondEof { mm, .. }
            | Mark::Table { mm, .. }
            | Mark::Fault { mm, .. }
            | Mark::Reusable { mm, .. }
            | Mark::HasPinned { mm }
            | Mark::Grab { mm, .. }
            | Mark::Follow { mm, .. }
            | Mark::BackOff { mm, .. }
            | Mark::Vmas { mm, .. }
            | Mark::SplitPmd { mm, .. }
            | Mark::Zap { mm, .. }
            | Mark::ZapHuge { mm, .. }
            | Mark::FreeTable { mm, .. }
            | Mark::Flush { mm, .. }
            | Mark::Protect { mm, .. }
            | Mark::MovePte { mm, .. }
            | Mark::Userfault { mm, .. }
            | Mark::UffdRefused { mm }
            | Mark::UffdFill { mm, .. }
            | Mark::MovePmd { mm, .. }
            | Mark::Collapse { mm, .. }
            | Mark::MustCopy { mm, .. }
            | Mark::CopyPte { mm, .. }
            | Mark::CopyPmd { mm, .. }
            | Mark::MmGone { mm }
            | Mark::Child { child: mm }
            | Mark::Find { mm, .. }
            | Mark::Invalidate { mm, .. }
            | Mark::Unmap { mm, .. }
            | Mark::Restore { mm, .. } => Some(mm),
            _ => None,
        }
    }

    /// A stable name, lower case and dashes.
    pub fn name(&self) -> &'static str {
        match self {
            Mark::Begin => "begin",
            Mark::Return => "return",
            Mark::Load { .. } => "load",
            Mark::Store { .. } => "store",
            Mark::Forbidden { .. } => "forbidden",
            Mark::Hole { .. } => "hole",
            Mark::AnonVma { .. } => "anon-vma",
            Mark::BeyondEof { .. } => "beyond-eof",
            Mark::Table { .. } => "table",
            Mark::Fault { .. } => "fault",
            Mark::Reusable { .. } => "reusable",
            Mark::CopyFrom { .. } => "copy-from",
            Mark::CacheAdd { .. } => "cache-add",
            Mark::Hold { .. } => "hold",
            Mark::Drop { .. } => "drop",
            Mark::Dirty { .. } => "set-dirty",
            Mark::HasPinned { .. } => "has-pinned",
            Mark::Grab { .. } => "grab",
            Mark::Follow { .. } => "follow",
            Mark::BackOff { .. } => "back-off",
            Mark::Undo { .. } => "undo",
            Mark::Kept => "kept",
            Mark::Refused { .. } => "refused",
            Mark::Release { .. } => "release",
            Mark::Peek { .. } => "peek",
            Mark::Vmas { .. } => "vmas",
            Mark::SplitPmd { .. } => "split-pmd",
            Mark::Drain { .. } => "drain",
            Mark::Zap { .. } => "zap",
            Mark::ZapHuge { .. } => "zap-huge",
            Mark::Flush { .. } => "flush-tlb",
            Mark::FreeTable { .. } => "free-table",
            Mark::Protect { .. } => "protect",
            Mark::MovePte { .. } => "move-pte",
            Mark::Userfault { .. } => "userfault",
            Mark::Killed => "killed",
            Mark::UffdRefused { .. } => "uffd-refused",
            Mark::UffdFill { .. } => "uffd-fill",
            Mark::MovePmd { .. } => "move-pmd",
            Mark::Collapse { mark, .. } => mark.name(),
            Mark::Child { .. } => "child",
            Mark::MustCopy { .. } => "must-copy",
            Mark::CopyPte { .. } => "copy-pte",
            Mark::CopyPmd { .. } => "copy-pmd",
            Mark::MmGone { .. } => "mm-gone",
            Mark::Evict { .. } => "evict",
            Mark::Find { .. } => "find",
            Mark::Get { .. } => "get",
            Mark::Put { .. } => "put",
            Mark::Busy { .. } => "busy",
            Mark::Isolate { .. } => "isolate",
            Mark::Putback { .. } => "putback",
            Mark::Unwanted { .. } => "unwanted",
            Mark::Unreached { .. } => "unreached",
            Mark::Invalidate { .. } => "invalidate",
            Mark::Unmap { .. } => "unmap",
            Mark::Restore { .. } => "restore",
            Mark::Move { .. } => "move",
            Mark::CanSplit { .. } => "can-split",
            Mark::Split { .. } => "split",
            Mark::LruCacheDisable { .. } => "lru-cache-disable",
            Mark::StartIsolate { .. } => "start-isolate",
            Mark::UndoIsolate => "undo-isolate",
            Mark::Pinnable { .. } => "pinnable",
            Mark::Device(mark) => mark.name(),
        }
    }
}
