//! The machine a program runs on: CPUs, page-table geometry, zones, policies.

/// Where a new folio is placed: one memory block a zone, chosen by the program (kernel: zone and
/// pageblock migratetype; the choice is an input so that a sequential run is exact).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, Default)]
pub enum Place {
    /// ZONE_NORMAL, MIGRATE_MOVABLE pageblock. The fallback of the other two; never offlined.
    #[default]
    Normal,
    /// ZONE_MOVABLE.
    Movable,
    /// ZONE_NORMAL, MIGRATE_CMA pageblock.
    Cma,
    /// ZONE_DEVICE, MEMORY_DEVICE_PRIVATE: the CPU cannot access it. Its driver alone allocates it.
    Device,
    /// ZONE_DEVICE, MEMORY_DEVICE_COHERENT. Its driver alone allocates it.
    Coherent,
}

impl Place {
    /// Every place, in the order of [`Shape::pages`].
    pub const ALL: [Place; 5] =
        [Place::Normal, Place::Movable, Place::Cma, Place::Device, Place::Coherent];
    /// System memory: where a step can place folios.
    pub const SYSTEM: [Place; 3] = [Place::Normal, Place::Movable, Place::Cma];

    /// ZONE_DEVICE (`folio_is_zone_device`).
    pub fn is_zone_device(self) -> bool {
        matches!(self, Place::Device | Place::Coherent)
    }
}

/// Preemption model of the simulated kernel (kernel: `preempt=`). Only concurrent phases notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Preempt {
    /// Switch only at sleep, `cond_resched` and return to user.
    #[default]
    None,
    /// As `None`, and at `might_sleep`.
    Voluntary,
    /// Anywhere without a spinlock held or interrupts off.
    Full,
}

/// Transparent huge page policy (kernel: `/sys/kernel/mm/transparent_hugepage/enabled`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Thp {
    /// A write fault on an empty PMD maps a huge folio unless the VMA is VM_NOHUGEPAGE.
    #[default]
    Always,
    /// Only VM_HUGEPAGE VMAs.
    Madvise,
    /// Never by fault (MADV_COLLAPSE still works).
    Never,
}

/// What a page fault of a user access tries before it takes mmap_lock. The resulting state is the
/// same with each; concurrent phases notice the difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Faults {
    /// Nothing: every fault is handled under mmap_lock.
    #[default]
    Classic,
    /// The VMA's own lock (kernel: CONFIG_PER_VMA_LOCK, since 6.4).
    VmaLock,
    /// No lock: speculative page faults v12. Tries for the page table's lock until it has it.
    Speculative,
    /// Likewise, but takes mmap_lock after a few tries for the page table's lock.
    SpeculativeBounded,
}

impl Faults {
    /// Whether speculative page faults are on.
    pub fn speculative(self) -> bool {
        matches!(self, Faults::Speculative | Faults::SpeculativeBounded)
    }
}

/// The machine's shape.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Number of CPUs, 1..=8.
    pub cpus: u8,
    /// Preemption model.
    pub preempt: Preempt,
    /// Entries a page table and pages a huge folio (kernel: `HPAGE_PMD_NR`); power of two, 4..=512.
    pub ptes: u16,
    /// Capacity in pages of each [`Place`], in the order of [`Place::ALL`].
    pub pages: [u32; 5],
    /// Slots in a per-CPU LRU batch (kernel: `PAGEVEC_SIZE`), 1..=31; flushed when the last fills.
    pub batch: u8,
    /// THP policy.
    pub thp: Thp,
    /// Front-end of page faults.
    pub faults: Faults,
}

impl Shape {
    /// Whether there is a device with memory of its own.
    pub fn has_device(&self) -> bool {
        self.pages[Place::Device as usize] | self.pages[Place::Coherent as usize] != 0
    }
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            cpus: 2,
            preempt: Preempt::None,
            ptes: 4,
            pages: [512, 256, 256, 0, 0],
            batch: 3,
            thp: Thp::Always,
            faults: Faults::Classic,
        }
    }
}
