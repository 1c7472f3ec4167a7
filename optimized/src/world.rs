//! The whole kernel state, the step dispatcher, and the conduct that mm code must keep.

use std::cell::{Cell, RefCell};
use std::fmt;

use machine::{Machine, Read, RwSem, SeqCount, Spin, SpinLock, Taking, Task, Tlb, Write};
use program::{
    Birth, Fail, LockId, Mark, Marked, MmId, Model, Name, ObjectId, Place, Seen, Shape, Step,
    TaskId, digest,
};

use crate::cost::{Costs, Item};
use crate::coverage::Path;
use crate::defects::{Defect, Defects};
use crate::driver::Drivers;
use crate::frame::{Frames, Pfn};
use crate::handle::Held;
use crate::page_alloc::Zones;
use crate::pgtable::{Pmd, Tables};
use crate::rmap::Piece;
use crate::tlb::Translation;
use crate::unpin::Taken;
use crate::variants::Variant;
use crate::vma::Vma;
use crate::vma_table::VmaTable;

/// Most address spaces in one program.
const MMS: usize = 256;

/// A rule that mm code broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduct {
    /// A folio was freed with PG_locked set.
    FreeLocked,
    /// A folio was freed while mapped.
    FreeMapped,
    /// A large folio was freed with pins on it ("nonzero pincount").
    FreePinned,
    /// A free folio was used: a reference taken on it, or a TLB led to it.
    UseAfterFree,
    /// A VMA was used after the last reference to it was dropped.
    VmaUseAfterFree,
    /// A VMA that was unmapped keeps a reference that nobody drops.
    VmaLeak,
    /// A page was used that does not exist (a NULL pointer).
    NullPage,
    /// A page table was read that was freed.
    TableUseAfterFree,
    /// This counter would have gone below zero.
    Underflow(&'static str),
    /// A rule of the machine.
    Machine(machine::Conduct),
}

impl Conduct {
    /// A stable class name, letters and dashes only.
    pub fn class(&self) -> &'static str {
        match self {
            Conduct::FreeLocked => "free-of-locked-folio",
            Conduct::FreeMapped => "free-of-mapped-folio",
            Conduct::FreePinned => "free-of-pinned-folio",
            Conduct::UseAfterFree => "use-after-free",
            Conduct::NullPage => "null-page",
            Conduct::TableUseAfterFree => "page-table-use-after-free",
            Conduct::VmaUseAfterFree => "vma-use-after-free",
            Conduct::VmaLeak => "vma-leak",
            Conduct::Underflow(_) => "counter-underflow",
            Conduct::Machine(conduct) => conduct.class(),
        }
    }
}

impl fmt::Display for Conduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conduct::FreeLocked => f.write_str("folio freed while locked"),
            Conduct::FreeMapped => f.write_str("folio freed while mapped"),
            Conduct::FreePinned => f.write_str("folio freed while pinned"),
            Conduct::NullPage => f.write_str("a page is copied to that was never allocated"),
            Conduct::TableUseAfterFree => f.write_str("page table read after it was freed"),
            Conduct::UseAfterFree => f.write_str("free folio used"),
            Conduct::VmaUseAfterFree => f.write_str("VMA used after it was freed"),
            Conduct::VmaLeak => f.write_str("unmapped VMA still referenced"),
            Conduct::Underflow(counter) => write!(f, "{counter} below zero"),
            Conduct::Machine(conduct) => conduct.fmt(f),
        }
    }
}

/// `struct mm_struct`.
#[derive(Default)]
pub(crate) struct Mm {
    pub alive: Cell<bool>,
    pub has_pinned: Cell<bool>,
    pub vmas: RefCell<Vec<Vma>>,
    pub pmds: RefCell<Vec<Pmd>>,
    pub mmap_lock: RwSem,
    pub mm_lock_seq: Cell<u32>,
    /// Where faults wait for user space, and how many do.
    pub userfaults: Cell<u32>,
    /// How often those who waited there were killed.
    pub kills: Cell<u32>,
    /// One for all tables, as without SPLIT_PTLOCK_CPUS.
    page_table_lock: SpinLock,
    /// Those of each CPU's own tables, in benchmarks that split it.
    pub split_locks: Vec<SpinLock>,
    pub write_protect_seq: SeqCount,
}

/// The circumstances of the step being run.
pub(crate) struct Cx {
    pub number: usize,
    pub cpu: u8,
    pub task: Task,
    pub place: Place,
    pub fail: Option<Fail>,
    /// Attempts so far at the site of `fail`.
    pub attempt: Cell<u32>,
    /// PF_MEMALLOC_PIN: nothing is allocated from MOVABLE or CMA.
    pub memalloc_pin: Cell<bool>,
    /// How often GUP faulted a page in.
    pub faults: Cell<u32>,
    /// Pages that a longterm pin put in the place of others, without a walk.
    pub replaced: RefCell<Vec<Pfn>>,
}

/// The near-kernel MM: counters, page tables, locks.
pub struct World {
    pub(crate) machine: Machine,
    pub(crate) shape: Shape,
    pub(crate) frames: Frames,
    pub(crate) zones: Zones,
    pub(crate) tables: Tables,
    pub(crate) vma_table: VmaTable,
    pub(crate) drivers: Drivers,
    pub(crate) anon_vmas: RefCell<Vec<Option<u32>>>,
    pub(crate) cache: RefCell<Vec<(ObjectId, u32, Pfn)>>,
    pub(crate) batches: Vec<RefCell<Vec<Pfn>>>,
    /// By CPU.
    pub(crate) tlbs: Vec<Tlb<Translation>>,
    /// CPUs that a flush has to reach, whatever mm they are of: those with steps in the phase or,
    /// when costs are counted, with steps so far.
    pub(crate) mm_cpumask: Cell<u128>,
    pub(crate) lru_disabled: Cell<bool>,
    /// `mem_hotplug_begin`: one block at a time.
    pub(crate) mem_hotplug_lock: RwSem,
    /// See [`World::rmap_lock_read`].
    pub(crate) rmap_lock: RwSem,
    /// Reused by every rmap walk.
    pub(crate) rmap_list: Cell<Vec<Piece>>,
    pub(crate) zero_refs: Cell<i64>,
    /// Births of the steps that run, each with its step.
    pub(crate) births: RefCell<Vec<(usize, Birth)>>,
    mms: Box<[Mm; MMS]>,
    mms_used: Cell<usize>,
    /// By `HandleId`: the pages it holds; none, if it does not exist.
    pub(crate) handles: RefCell<Vec<Held>>,
    /// Reused by every unpin.
    pub(crate) unpinned: Cell<Taken>,
    pub(crate) locks: RefCell<Vec<Option<(Pfn, Task)>>>,
    defects: Defects,
    variant: Variant,
    pub(crate) costs: Costs,
    /// The marks of the phase that runs, if one does.
    pub(crate) tracing: Cell<bool>,
    pub(crate) trace: RefCell<Vec<Marked>>,
    /// Of the phases so far.
    pub(crate) decisions: RefCell<Vec<u8>>,
    /// A folio just published, and the references and pins that were on it already.
    pub(crate) strays: Cell<Option<(Name, u32, u32)>>,
    conduct: Cell<Option<Conduct>>,
    hits: [Cell<u64>; Path::ALL.len()],
    path: Cell<Option<Path>>,
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

#[twice]
impl World {
    /// A machine of the default shape.
    pub fn new() -> World {
        let mut world = World {
            machine: Machine::default(),
            shape: Shape::default(),
            frames: Frames::new(),
            zones: Zones::default(),
            tables: Tables::default(),
            vma_table: VmaTable::new(),
            drivers: Drivers::default(),
            anon_vmas: RefCell::default(),
            cache: RefCell::default(),
            batches: Vec::new(),
            tlbs: Vec::new(),
            mm_cpumask: Cell::new(0),
            lru_disabled: Cell::new(false),
            mem_hotplug_lock: RwSem::default(),
            rmap_lock: RwSem::default(),
            rmap_list: Cell::default(),
            zero_refs: Cell::new(0),
            births: RefCell::default(),
            mms: Box::new(std::array::from_fn(|_| Mm::default())),
            mms_used: Cell::new(0),
            handles: RefCell::default(),
            unpinned: Cell::default(),
            locks: RefCell::default(),
            defects: Defects::NONE,
            variant: Variant::default(),
            costs: Costs::default(),
            tracing: Cell::new(false),
            trace: RefCell::default(),
            decisions: RefCell::default(),
            strays: Cell::new(None),
            conduct: Cell::new(None),
            hits: [const { Cell::new(0) }; Path::ALL.len()],
            path: Cell::new(None),
        };
        world.reset(&Shape::default());
        world
    }

    /// Switches defects on; they stay on across [`Model::reset`].
    pub fn set_defects(&mut self, defects: Defects) {
        self.defects = defects;
        self.variant = defects.variant();
    }

    /// A world that pins pages in this way.
    pub fn of(variant: Variant) -> World {
        World { variant, ..World::new() }
    }

    /// How it pins pages.
    #[inline]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Hits of each path, indexed by `Path as usize`, since [`World::clear_hits`].
    pub fn hits(&self) -> Vec<u64> {
        self.hits.iter().map(Cell::get).collect()
    }

    /// Sets all hits to 0.
    pub fn clear_hits(&mut self) {
        self.hits.iter().for_each(|hits| hits.set(0));
    }

    /// Tells the hits of each path that was taken, and sets them to 0.
    pub fn take_hits(&mut self, mut tell: impl FnMut(Path, u64)) {
        for (&path, hits) in Path::ALL.iter().zip(&mut self.hits) {
            let hits = std::mem::take(hits.get_mut());
            if hits > 0 {
                tell(path, hits);
            }
        }
    }

    /// The last path taken in the step just run.
    pub fn path(&self) -> Option<Path> {
        self.path.get()
    }

    /// The first rule broken in the step just run.
    pub fn conduct(&self) -> Option<Conduct> {
        self.conduct.get().or(self.machine.conduct().map(Conduct::Machine))
    }

    /// Whether [`World::conduct`] says something.
    #[inline]
    pub fn misbehaved(&self) -> bool {
        self.conduct.get().is_some() || self.machine.conduct().is_some()
    }

    #[inline]
    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defects.contains(defect)
    }

    #[inline]
    pub(crate) fn hit(&self, path: Path) {
        let hits = &self.hits[path as usize];
        hits.set(hits.get() + 1);
        self.path.set(Some(path));
    }

    #[cold]
    pub(crate) fn report(&self, conduct: Conduct) {
        if self.conduct.get().is_none() {
            self.conduct.set(Some(conduct));
            self.machine.blame();
        }
    }

    #[inline]
    pub(crate) fn mm(&self, mm: MmId) -> &Mm {
        &self.mms[usize::from(mm.0)]
    }

    pub(crate) fn mm_mut(&mut self, mm: MmId) -> &mut Mm {
        &mut self.mms[usize::from(mm.0)]
    }

    /// Every mm that exists, in order.
    pub(crate) fn live_mms(&self) -> impl Iterator<Item = MmId> + '_ {
        (0..self.mms_used.get() as u8).map(MmId).filter(|&mm| self.mm(mm).alive.get())
    }

    pub(crate) fn mm_alive(&self, mm: MmId) {
        self.mm(mm).alive.set(true);
        self.mms_used.set(self.mms_used.get().max(usize::from(mm.0) + 1));
        self.frames.add(digest::mm(mm));
    }

    pub(crate) fn mm_dead(&self, mm: MmId) {
        self.mm(mm).alive.set(false);
        self.frames.sub(digest::mm(mm));
        if self.mm(mm).has_pinned.replace(false) {
            self.frames.sub(digest::has_pinned(mm));
        }
    }

    /// `mm_set_has_pinned_flag`.
    pub(crate) fn mm_set_has_pinned(&self, cx: &Cx, mm: MmId) {
        if !self.mm(mm).has_pinned.replace(true) {
            self.frames.add(digest::has_pinned(mm));
        }
        self.mark(cx, || (Mark::HasPinned { mm }, Seen::Nothing));
    }

    #[inline]
    pub(crate) fn mmap_read_lock(&self, mm: MmId) -> Taking<'_, Read<'_>> {
        self.pay(Item::Lock, 1);
        self.mm(mm).mmap_lock.read(&self.machine, "mmap_lock")
    }

    #[inline]
    pub(crate) fn mmap_read_unlock(&self, mm: MmId) {
        self.mm(mm).mmap_lock.read_unlock(&self.machine, "mmap_lock");
    }

    #[inline]
    pub(crate) fn mmap_write_lock(&self, cx: &Cx, mm: MmId) -> Taking<'_, Write<'_>> {
        self.pay(Item::Lock, 1);
        self.mm(mm).mmap_lock.write(&self.machine, cx.task, "mmap_lock")
    }

    pub(crate) fn mmap_write_unlock(&self, cx: &Cx, mm: MmId) {
        self.vma_end_write_all(mm);
        self.mm(mm).mmap_lock.write_unlock(&self.machine, cx.task, "mmap_lock");
    }

    #[inline]
    pub(crate) fn ptl_lock(&self, cx: &Cx, mm: MmId) -> Taking<'_, Spin<'_>> {
        self.pay(Item::Lock, 1);
        self.page_table_lock(cx, mm).lock(&self.machine, cx.task, "PTL")
    }

    /// The PTL.
    #[inline]
    pub(crate) fn page_table_lock(&self, cx: &Cx, mm: MmId) -> &SpinLock {
        let mm = self.mm(mm);
        mm.split_locks.get(usize::from(cx.cpu)).unwrap_or(&mm.page_table_lock)
    }

    #[inline]
    pub(crate) fn ptl_unlock(&self, cx: &Cx, mm: MmId) {
        self.page_table_lock(cx, mm).unlock(&self.machine, cx.task, "PTL");
    }

    /// Heads of all allocated folios, by pfn.
    pub(crate) fn folios(&self) -> impl Iterator<Item = Pfn> + '_ {
        let published = |pfn: &Pfn| {
            self.frames.head(*pfn) == *pfn && self.frames.name(*pfn) != program::Name(0)
        };
        (0..self.zones.end()).map(Pfn).filter(published)
    }

    pub(crate) fn context(&self, number: usize, step: &Step) -> Cx {
        Cx {
            number,
            cpu: step.cpu,
            task: Task(step.cpu),
            place: step.place,
            fail: step.fail,
            attempt: Cell::new(0),
            memalloc_pin: Cell::new(false),
            faults: Cell::new(0),
            replaced: RefCell::default(),
        }
    }

    /// A step, or a phase of them, begins.
    pub(crate) fn begin(&self) {
        self.conduct.set(None);
        self.path.set(None);
        self.births.borrow_mut().clear();
    }

    /// Runs an operation alone on the machine, with the accounting of its conduct. `None`: it sleeps
    /// and nobody can wake it.
    pub(crate) fn alone<T: Default>(&self, operation: impl FnOnce() -> Option<T>) -> T {
        self.machine.begin();
        self.begin();
        match operation() {
            Some(value) => {
                self.machine.end();
                self.vma_quiesce();
                value
            }
            None => {
                let lock = self.machine.waiting();
                self.machine.report(machine::Conduct::Blocked(lock));
                T::default()
            }
        }
    }

    pub(crate) fn reset_all(&mut self, shape: &Shape) {
        self.reset_memory(shape);
        let cpus = usize::from(shape.cpus).max(self.tlbs.len());
        self.batches.resize_with(cpus, RefCell::default);
        self.tlbs.resize_with(cpus, Tlb::default);
        self.decisions.get_mut().clear();
        self.tlb_clear();
        self.tables.reset();
        self.vma_table.reset();
        self.drivers.reset();
        self.anon_vmas.get_mut().clear();
        self.cache.get_mut().clear();
        self.batches.iter_mut().for_each(|batch| batch.get_mut().clear());
        self.lru_disabled.set(false);
        self.mem_hotplug_lock.reset();
        self.mm_cpumask.set(0);
        self.rmap_lock.reset();
        self.zero_refs.set(0);
        for mm in &mut self.mms[..self.mms_used.get()] {
            mm.alive.set(false);
            mm.has_pinned.set(false);
            mm.vmas.get_mut().clear();
            mm.pmds.get_mut().clear();
            mm.mmap_lock.reset();
            mm.userfaults.set(0);
            mm.kills.set(0);
            mm.page_table_lock = SpinLock::default();
            mm.split_locks.clear();
            mm.write_protect_seq = SeqCount::default();
        }
        self.mms_used.set(0);
        self.handles.get_mut().iter_mut().for_each(Held::clear);
        self.locks.get_mut().clear();
        self.mm_alive(MmId(0));
    }

    /// Locks that the program holds.
    pub(crate) fn held_locks(&self) -> impl Iterator<Item = (LockId, Pfn)> + '_ {
        (0..=u8::MAX)
            .zip(self.locks.borrow().clone())
            .filter_map(|(id, held)| held.map(|(pfn, _)| (LockId(id), pfn)))
    }
}

/// A task's name in the vocabulary.
pub(crate) fn task_id(task: Task) -> TaskId {
    TaskId(task.0)
}
