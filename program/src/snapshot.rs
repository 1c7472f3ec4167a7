//! The vocabulary of what is compared: the canonical state of one side.
//!
//! Sides agree when their snapshots are equal. Pfns, VMA and anon_vma identities and allocation
//! order do not appear. Page numbers are virtual page numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Name;
use crate::op::{HandleId, LockId, MigrationId, MmId, Prot, TaskId};
use crate::shape::Place;

/// A page as seen through an entry or a handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum PageRef {
    /// The shared zero page.
    Zero,
    /// Page `sub` of a folio.
    Of(Name, u32),
}

/// One folio.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolioView {
    /// log2 of its pages: 0, or PMD order.
    pub order: u8,
    /// Where it was placed.
    pub place: Place,
    /// Anonymous (else page cache, present or past).
    pub anon: bool,
    /// `folio_ref_count`, in units of one reference.
    pub refcount: i64,
    /// Mappings of the whole folio by PMD (`_entire_mapcount`).
    pub entire_mapcount: u32,
    /// Mappings of each page by PTE (`page->_mapcount`), one a page.
    pub mapcount: Vec<u32>,
    /// `_pincount` of a large folio; 0 for order 0 (its pins are in `refcount`).
    pub pincount: u32,
    /// `PageAnonExclusive`, one a page.
    pub exclusive: Vec<bool>,
    /// Holder of PG_locked.
    pub locked: Option<TaskId>,
    /// PG_lru.
    pub lru: bool,
    /// PG_dirty; page-cache folios of regular files only, false for others.
    pub dirty: bool,
    /// Content, one value a page; 0 = never written.
    pub data: Vec<u64>,
}

/// What a PTE that is not none is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum EntryKind {
    /// Present.
    #[default]
    Present,
    /// A migration entry: the page is being moved. Neither a reference nor a mapping.
    Migration {
        /// AnonExclusive when it comes back (the writable and the readable-exclusive entry).
        exclusive: bool,
    },
    /// A device-private entry: a reference and a mapping, though the CPU must fault.
    DevicePrivate,
    /// A device-exclusive entry: a reference, no mapping.
    DeviceExclusive,
}

impl EntryKind {
    /// A small number of its own; 0 is present.
    pub fn code(self) -> u64 {
        match self {
            EntryKind::Present => 0,
            EntryKind::Migration { exclusive: false } => 1,
            EntryKind::Migration { exclusive: true } => 2,
            EntryKind::DevicePrivate => 3,
            EntryKind::DeviceExclusive => 4,
        }
    }

    /// Whether it maps its page (`page->_mapcount` counts it).
    pub fn maps(self) -> bool {
        matches!(self, EntryKind::Present | EntryKind::DevicePrivate)
    }

    /// Whether it holds a reference on its folio.
    pub fn refers(self) -> bool {
        !matches!(self, EntryKind::Migration { .. })
    }
}

/// A PTE that is not none, or a huge PMD.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct EntryView {
    /// What it is.
    pub kind: EntryKind,
    /// What it maps or stands for (a huge PMD: page 0 of the folio).
    pub page: PageRef,
    /// Readable (false for PROT_NONE, and where not present).
    pub read: bool,
    /// Writable, now or when it comes back.
    pub write: bool,
    /// Dirty; only in shared mappings of regular files, false elsewhere.
    pub dirty: bool,
}

/// Backing object of a VMA.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum ObjectId {
    /// Regular file.
    File(u8),
    /// The shmem object of the anonymous shared mapping that was created as this area.
    Shmem(u8),
}

/// What becomes of a fault that finds nothing mapped (VM_UFFD_MISSING and the VMA's context).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, Default)]
pub enum Uffd {
    /// It is handled: not registered.
    #[default]
    None,
    /// It sleeps until user space has filled the page in.
    Missing,
    /// It is a SIGBUS (UFFD_FEATURE_SIGBUS).
    Sigbus,
}

/// Flags of a VMA that are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmaFlags {
    /// Permission.
    pub prot: Prot,
    /// VM_SHARED.
    pub shared: bool,
    /// VM_DONTCOPY.
    pub dontfork: bool,
    /// VM_HUGEPAGE.
    pub hugepage: bool,
    /// VM_NOHUGEPAGE.
    pub nohugepage: bool,
    /// VM_UFFD_MISSING.
    pub uffd: Uffd,
    /// The file or shmem object; None for private anonymous.
    pub object: Option<ObjectId>,
}

/// A maximal run of pages with equal flags (adjacent equal VMAs are merged).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmaView {
    /// First page.
    pub start: u32,
    /// One past the last page.
    pub end: u32,
    /// Flags.
    pub flags: VmaFlags,
}

/// One address space.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MmView {
    /// VMAs in address order, merged.
    pub vmas: Vec<VmaView>,
    /// PMDs (by number: page / ptes) that hold a page table, even an empty one.
    pub tables: BTreeSet<u32>,
    /// Huge PMDs, by PMD number.
    pub huge: BTreeMap<u32, EntryView>,
    /// PTEs that are not none, by page.
    pub entries: BTreeMap<u32, EntryView>,
    /// MMF_HAS_PINNED.
    pub has_pinned: bool,
}

/// One page of an open migration: an entry of `migrate->src` and of `migrate->dst`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Default)]
pub struct MigratePfn {
    /// The source, locked and held (MIGRATE_PFN_VALID).
    pub src: Option<Name>,
    /// MIGRATE_PFN_MIGRATE.
    pub migrate: bool,
    /// The destination, locked and held.
    pub dst: Option<Name>,
}

/// The canonical state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// Every allocated folio.
    pub folios: BTreeMap<Name, FolioView>,
    /// Every live mm.
    pub mms: BTreeMap<MmId, MmView>,
    /// Every live, non-empty handle.
    pub handles: BTreeMap<HandleId, Vec<PageRef>>,
    /// Every lock held across operations.
    pub locks: BTreeMap<LockId, Name>,
    /// Every open migration: what it holds of each of its pages.
    pub migrations: BTreeMap<MigrationId, Vec<MigratePfn>>,
    /// Page cache: (object, index) of every resident folio.
    pub cache: BTreeMap<(ObjectId, u32), Name>,
    /// The folios in each CPU's lru_add batch, sorted.
    pub batches: Vec<Vec<Name>>,
    /// Pages in use in each place, in the order of [`Place::ALL`].
    pub used: [u32; 5],
    /// References that FOLL_GET took on the shared zero page.
    pub zero_refs: u32,
}
