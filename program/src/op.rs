//! The operations and the objects that they create and use.
//!
//! Semantics, operation by operation, are in `docs/operations.md`.

use crate::shape::Place;

/// An address space. `MmId(0)` exists from the start; others are created by `fork`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct MmId(pub u8);

/// A range of virtual pages created by `mmap` or `mremap` (a name for addresses, not a VMA: a
/// forked child sees the same addresses).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct AreaId(pub u8);

/// What a `get` or `pin` returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct HandleId(pub u8);

/// A folio lock held across operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct LockId(pub u8);

/// An open device migration: a `struct migrate_vma` between setup and finalize.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct MigrationId(pub u8);

impl MigrationId {
    /// The task that holds the folio locks of the migration.
    pub fn task(self) -> TaskId {
        TaskId(16 + self.0)
    }
}

/// A named task; tasks own locks. Task `n < cpus` is the default task of CPU n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct TaskId(pub u8);

/// Pages of each of the two regular files (beyond them: SIGBUS).
pub const FILE_PAGES: u32 = 8;
/// Number of regular files (dirty-tracked: their shared mappings want write notification).
pub const FILES: u8 = 2;

/// A range inside an area: `len` pages from page `off` of the area.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Range {
    /// The area.
    pub area: AreaId,
    /// First page, counted from the area's start.
    pub off: u16,
    /// Number of pages, at least 1.
    pub len: u16,
}

/// What is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Backing {
    /// MAP_PRIVATE | MAP_ANONYMOUS.
    AnonPrivate,
    /// MAP_SHARED | MAP_ANONYMOUS: a shmem object of its own.
    AnonShared,
    /// MAP_PRIVATE of regular file `file` from page `pgoff`.
    FilePrivate {
        /// Which file, below [`FILES`].
        file: u8,
        /// First file page.
        pgoff: u8,
    },
    /// MAP_SHARED of regular file `file` from page `pgoff`.
    FileShared {
        /// Which file, below [`FILES`].
        file: u8,
        /// First file page.
        pgoff: u8,
    },
}

/// Access permission of a VMA. Write implies read, as on x86.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Prot {
    /// PROT_NONE.
    None,
    /// PROT_READ.
    Read,
    /// PROT_READ | PROT_WRITE.
    ReadWrite,
}

/// `madvise` advice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Advice {
    /// MADV_DONTNEED.
    DontNeed,
    /// MADV_DONTFORK.
    DontFork,
    /// MADV_DOFORK.
    DoFork,
    /// MADV_HUGEPAGE.
    HugePage,
    /// MADV_NOHUGEPAGE.
    NoHugePage,
    /// MADV_COLLAPSE.
    Collapse,
    /// MADV_POPULATE_READ.
    PopulateRead,
    /// MADV_POPULATE_WRITE.
    PopulateWrite,
}

/// A request to userfaultfd, mode "missing": faults in a registered mapping that find nothing are
/// left to user space, which fills the page in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Uffdio {
    /// UFFDIO_REGISTER: a missing page makes the fault sleep.
    Register,
    /// UFFDIO_REGISTER with another userfaultfd, of UFFD_FEATURE_SIGBUS: a missing page is SIGBUS.
    RegisterSigbus,
    /// UFFDIO_UNREGISTER, from whichever it is registered with.
    Unregister,
    /// UFFDIO_COPY: maps new pages, each of a unique value ([`written`]), and wakes.
    Copy,
    /// UFFDIO_ZEROPAGE: maps the shared zero page, and wakes.
    ZeroPage,
    /// UFFDIO_WAKE.
    Wake,
}

/// Which GUP entry point.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Entry {
    /// `get_user_pages` / `pin_user_pages`.
    Slow,
    /// `get_user_pages_fast` / `pin_user_pages_fast`: lockless prefix, then slow.
    Fast,
    /// `get_user_pages_fast_only` (FOLL_GET only).
    FastOnly,
}

/// Which reference GUP takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Foll {
    /// FOLL_GET, dropped by `put`.
    Get,
    /// FOLL_PIN, dropped by `unpin`.
    Pin,
}

/// How GUP hands over its pages, and how an unpin names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Form {
    /// An array of pages (`unpin_user_pages[_dirty_lock]`).
    Pages,
    /// Runs of contiguous pages: from GUP each inside one folio, as a bvec or scatterlist takes
    /// them; to unpin merged by pfn alone (`unpin_user_page_range_dirty_lock`).
    Range,
}

/// What a walk that takes no references reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Report {
    /// How many pages there are.
    Count,
    /// Each page and whether its entry is writable (the format of `hmm_range_fault`).
    Pfns,
}

/// A device: its driver, its memory and its page tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Device {
    /// With memory in [`Place::Device`].
    Private,
    /// With memory in [`Place::Coherent`].
    Coherent,
}

impl Device {
    /// Both.
    pub const ALL: [Device; 2] = [Device::Private, Device::Coherent];

    /// Where its memory is.
    pub fn place(self) -> Place {
        match self {
            Device::Private => Place::Device,
            Device::Coherent => Place::Coherent,
        }
    }

    /// The device that owns the memory of a place (`page->pgmap->owner`).
    pub fn owner(place: Place) -> Option<Device> {
        Device::ALL.into_iter().find(|device| device.place() == place)
    }
}

/// Which pages a migration takes (MIGRATE_VMA_SELECT_*), a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct Select(pub u8);

impl Select {
    /// MIGRATE_VMA_SELECT_SYSTEM.
    pub const SYSTEM: Select = Select(1);
    /// MIGRATE_VMA_SELECT_DEVICE_PRIVATE.
    pub const DEVICE_PRIVATE: Select = Select(2);
    /// MIGRATE_VMA_SELECT_DEVICE_COHERENT.
    pub const DEVICE_COHERENT: Select = Select(4);

    /// Whether all bits of `other` are set.
    pub fn has(self, other: Select) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flag for a device's own memory.
    pub fn of(device: Device) -> Select {
        match device {
            Device::Private => Select::DEVICE_PRIVATE,
            Device::Coherent => Select::DEVICE_COHERENT,
        }
    }
}

/// Where a driver moves pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Direction {
    /// Into the device's memory.
    ToDevice,
    /// Back into system memory.
    ToSystem,
}

/// What `hmm_range_fault` is to fault in (HMM_PFN_REQ_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Request {
    /// Nothing: a snapshot.
    Nothing,
    /// HMM_PFN_REQ_FAULT.
    Fault,
    /// HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE.
    Write,
}

/// Mode of `migrate_pages`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Mode {
    /// MIGRATE_ASYNC: a locked folio is skipped.
    Async,
    /// MIGRATE_SYNC: sleeps on a locked folio.
    Sync,
}

/// An operation. Ids in a creating position (`area`, `child`, `handle`, `lock` of the creating
/// ops) are fresh: 0, 1, 2… in program order (children start at 1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[expect(missing_docs, reason = "fields are named for the objects they hold")]
pub enum Op {
    /// Nothing (what a record means that found no live object).
    Nop,
    /// Creates `area` of `len` pages, its first page `shift` pages past a PMD boundary.
    Mmap { mm: MmId, area: AreaId, backing: Backing, prot: Prot, len: u16, shift: u16 },
    /// Unmaps the range.
    Munmap { mm: MmId, range: Range },
    /// Changes the protection of the range.
    Mprotect { mm: MmId, range: Range, prot: Prot },
    /// Moves the range to a fresh place, which becomes `area`, `shift` pages past a PMD boundary.
    Mremap { mm: MmId, range: Range, area: AreaId, shift: u16 },
    /// madvise.
    Madvise { mm: MmId, range: Range, advice: Advice },
    /// A userfaultfd ioctl.
    Uffd { mm: MmId, range: Range, uffdio: Uffdio },
    /// CPU reads, one a page.
    Read { mm: MmId, range: Range },
    /// CPU writes, one a page, each of a unique value ([`written`]).
    Write { mm: MmId, range: Range },
    /// fork: creates `child`.
    Fork { mm: MmId, child: MmId },
    /// exit of the address space; never `MmId(0)`.
    Exit { mm: MmId },
    /// GUP: creates `handle`. `longterm` (FOLL_LONGTERM) goes with FOLL_PIN only.
    Gup {
        mm: MmId,
        range: Range,
        handle: HandleId,
        entry: Entry,
        foll: Foll,
        write: bool,
        longterm: bool,
        form: Form,
    },
    /// GUP's slow walk without references.
    Walk { mm: MmId, range: Range, write: bool, report: Report },
    /// Drops a FOLL_GET handle (`put_page` each).
    Put { handle: HandleId },
    /// Drops one or two FOLL_PIN handles in one call; `hole` leaves a NULL entry between them.
    Unpin { handle: HandleId, also: Option<HandleId>, form: Form, dirty: bool, hole: bool },
    /// Reads the pages of a handle through the kernel's own mapping.
    Peek { handle: HandleId },
    /// `lru_add_drain` on the step's CPU.
    LruAddDrain,
    /// `lru_add_drain_all`.
    LruAddDrainAll,
    /// Splits the huge folio mapped at the first page of the range to order 0.
    SplitFolio { mm: MmId, range: Range },
    /// Isolates and migrates the folio mapped at the first page of the range (compaction).
    Migrate { mm: MmId, range: Range, mode: Mode },
    /// Offlines the memory block and, when that worked, onlines it again.
    Offline { place: Place },
    /// Takes a reference on, and the lock of, the folio mapped at the first page of the range;
    /// both are kept across operations by `task`. Creates `lock`.
    LockPage { mm: MmId, range: Range, lock: LockId, task: TaskId },
    /// Releases the lock and its reference.
    UnlockPage { lock: LockId },
    /// `migrate_vma_setup` by the driver of `device`; `fault`: with the first page of the range as
    /// `fault_page`. Creates `migration`.
    MigrateVmaSetup {
        mm: MmId,
        range: Range,
        migration: MigrationId,
        device: Device,
        select: Select,
        fault: bool,
    },
    /// `migrate_device_range` over all memory of the device. Creates `migration`.
    MigrateDeviceRange { migration: MigrationId, device: Device },
    /// The driver allocates destinations and copies; then `migrate_vma_pages`.
    MigrateVmaPages { migration: MigrationId, to: Direction },
    /// `migrate_vma_finalize`.
    MigrateVmaFinalize { migration: MigrationId },
    /// A driver's whole migration of a range (test_hmm: HMM_DMIRROR_MIGRATE_TO_DEV, _TO_SYS).
    DeviceMigrate { mm: MmId, range: Range, device: Device, to: Direction },
    /// The driver moves all memory of its device back; `remove`: and takes the memory away.
    DeviceEvict { device: Device, remove: bool },
    /// The device reads, one a page (HMM_DMIRROR_READ).
    DeviceRead { mm: MmId, range: Range, device: Device },
    /// The device writes, one a page, each of a unique value ([`written`]).
    DeviceWrite { mm: MmId, range: Range, device: Device },
    /// `hmm_range_fault` for the device; `odd`: the request is for the odd pages of the range only.
    HmmRangeFault { mm: MmId, range: Range, device: Device, request: Request, odd: bool },
    /// `make_device_exclusive_range` for the device (HMM_DMIRROR_EXCLUSIVE).
    MakeDeviceExclusive { mm: MmId, range: Range, device: Device },
}

/// A place where an allocation or a reference can be refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Site {
    /// A page-table page (also the one deposited with a huge PMD).
    Table,
    /// An order-0 anonymous page (fault, COW, fork's copy).
    Page,
    /// A huge anonymous folio (fault, collapse).
    Huge,
    /// A page-cache page.
    Cache,
    /// A migration destination.
    Dst,
    /// `try_grab_folio` of the slow walk.
    Grab,
    /// `try_grab_folio_fast` of the lockless walk.
    GrabFast,
    /// A page of a device's memory, by its driver.
    Device,
    /// A driver's own memory, in `migrate_to_ram` before it sets the migration up.
    Driver,
}

impl Site {
    /// Every site.
    pub const ALL: [Site; 9] = [
        Site::Table,
        Site::Page,
        Site::Huge,
        Site::Cache,
        Site::Dst,
        Site::Grab,
        Site::GrabFast,
        Site::Device,
        Site::Driver,
    ];
}

/// A failure to inject: the `nth` (from 1) attempt at `site` within the step fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Fail {
    /// Where.
    pub site: Site,
    /// Which attempt, from 1.
    pub nth: u8,
}

/// One operation with its explicit circumstances.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Step {
    /// The CPU that runs it.
    pub cpu: u8,
    /// What it does.
    pub op: Op,
    /// Where folios that it allocates are placed.
    pub place: Place,
    /// What fails inside it.
    pub fail: Option<Fail>,
}

/// The value that step number `step` (from 0) writes to the `page`-th page of its range: unique
/// and never zero. Printed as `step+1.page`.
pub fn written(step: usize, page: u32) -> u64 {
    ((step as u64 + 1) << 16) | u64::from(page)
}

/// What page `index` of regular file `file` holds on disk. Printed as `f<file>.<index>`.
pub fn on_disk(file: u8, index: u32) -> u64 {
    (1 << 48) | (u64::from(file) << 32) | u64::from(index)
}
