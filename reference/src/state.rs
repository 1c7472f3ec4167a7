//! The whole state, and which operation is done where.

use program::arena::MAX_MMS;
use program::{Call, Errno, Foll, MmId, Op, Outcome};
use program::{Range, Ret, Shape, TaskId};

use crate::device::Migration;
use crate::flight::Flight;
use crate::folio::Folio;
use crate::gup::{Handle, Want};
use crate::kernel::Kernel;
use crate::ledger::{FolioId, Ledger};
use crate::longterm::Checks;
use crate::mm::Mm;
use crate::page_alloc::Now;
use crate::tlb::Stale;

/// Why a step, or a part of one, ends early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// It would sleep before it has done anything.
    AtOnce,
    /// It would sleep on a folio lock that a `lock_page` holds.
    Sleep,
    /// It would sleep until userfaultfd has filled a page in.
    Userfault,
    /// It fails.
    Fail(Errno),
}

/// Result of a part of a step.
pub(crate) type Done<T = ()> = Result<T, Stop>;

pub(crate) fn fail<T>(errno: Errno) -> Done<T> {
    Err(Stop::Fail(errno))
}

/// `Clone` whose `clone_from` reuses allocations, field by field.
macro_rules! reuse_clone {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl Clone for $type {
            fn clone(&self) -> Self {
                $type { $($field: self.$field.clone()),* }
            }

            fn clone_from(&mut self, other: &Self) {
                $(self.$field.clone_from(&other.$field);)*
            }
        }
    };
}
pub(crate) use reuse_clone;

#[derive(Default, Debug)]
pub(crate) struct State {
    pub kernel: Kernel,
    pub shape: Shape,
    /// N: entries a table, pages a huge folio.
    pub ptes: u32,
    pub ledger: Ledger,
    /// By `MmId`.
    pub mms: Vec<Mm>,
    /// By `HandleId`; an empty handle does not exist.
    pub handles: Vec<Handle>,
    /// By `MigrationId`: open device migrations.
    pub migrations: Vec<Option<Migration>>,
    /// Devices that were taken away.
    pub removed: [bool; 2],
    /// A userfaultfd was ever registered for which faults wait.
    pub armed: bool,
    /// By `LockId`: the locked folio and its holder.
    pub locks: Vec<Option<(FolioId, TaskId)>>,
    /// By object (`State::object_slot`), then by index: the resident folio.
    pub cache: Vec<Vec<Option<FolioId>>>,
    /// Folios that moved while their migration entries wait to be restored, and where they went.
    pub moves: Vec<(FolioId, FolioId)>,
    /// By CPU, of which there may be more than the machine has: the folios in its lru_add batch.
    pub batches: Vec<Vec<FolioId>>,
    /// `lru_cache_disable` (offline).
    pub lru_disabled: bool,
    /// Identity of the next fresh anon_vma.
    pub next_anon_vma: u32,
    /// The running step.
    pub now: Now,
    /// See `Reference::check_longterm`; stays over a reset.
    pub checks: Checks,
    /// Steps of a phase that have begun. In boxes, because each of its marks takes one out.
    #[expect(clippy::vec_box, reason = "see above")]
    pub flights: Vec<Box<Flight>>,
    /// Transient references of a phase.
    pub holds: u32,
    /// What TLBs may still say in a phase.
    pub stale: Vec<Stale>,
}
reuse_clone!(State {
    kernel,
    shape,
    ptes,
    ledger,
    mms,
    handles,
    migrations,
    removed,
    armed,
    locks,
    cache,
    batches,
    lru_disabled,
    next_anon_vma,
    now,
    checks,
    flights,
    holds,
    stale,
    moves,
});

impl State {
    /// A fresh machine with one empty mm; keeps allocations.
    pub fn reset(&mut self, shape: &Shape) {
        self.shape.clone_from(shape);
        self.ptes = u32::from(shape.ptes);
        self.ledger.reset(self.kernel.reuses_large_folios());
        self.mms.iter_mut().for_each(Mm::clear);
        // All that a program can name: a search may ask for one before the fork that makes it.
        self.mms.resize_with(self.mms.len().max(MAX_MMS), Mm::default);
        for handle in &mut self.handles {
            handle.tentative = false;
            handle.released.clear();
            handle.pages.clear();
        }
        self.flights.clear();
        self.moves.clear();
        self.holds = 0;
        self.stale.clear();
        self.migrations.clear();
        self.removed = [false; 2];
        self.armed = false;
        self.locks.clear();
        self.cache.iter_mut().for_each(Vec::clear);
        self.batches.iter_mut().for_each(Vec::clear);
        let cpus = usize::from(shape.cpus).max(self.batches.len());
        self.batches.resize_with(cpus, Vec::new);
        self.lru_disabled = false;
        self.next_anon_vma = 0;
        self.create_mm(MmId(0));
    }

    /// Order of a huge folio.
    pub fn huge_order(&self) -> u8 {
        self.ptes.ilog2() as u8
    }

    /// Whether the operation may sleep when it has done something (decision 18): on a folio lock,
    /// if it can come upon a locked folio, which it does through its mm or the page cache; for
    /// userfaultfd; or, as the removal of a device does, for pages.
    #[inline]
    pub fn may_sleep(&self, op: &Op) -> bool {
        // In most programs there is nothing to sleep on, whatever the operation.
        if !self.armed && self.locks.is_empty() && self.migrations.is_empty() {
            return matches!(op, Op::DeviceEvict { remove: true, .. });
        }
        self.may_sleep_on_something(op)
    }

    fn may_sleep_on_something(&self, op: &Op) -> bool {
        match *op {
            Op::DeviceEvict { remove: true, .. } => true,
            Op::DeviceEvict { .. } | Op::Offline { .. } | Op::Unpin { dirty: true, .. } => {
                self.some_lock(|_| true)
            }
            Op::LockPage { .. } => false,
            // What changes only VMAs and entries meets folio locks in the cache of a dying shmem object.
            Op::Mmap { .. } | Op::Munmap { .. } | Op::Mprotect { .. } | Op::Mremap { .. } => {
                self.some_lock(Folio::is_shmem)
            }
            Op::Fork { .. } | Op::Exit { .. } | Op::Uffd { .. } => self.some_lock(Folio::is_shmem),
            _ => op.mm().is_some_and(|mm| {
                self.userfaults(mm) || self.some_lock(|folio| folio.is_reached_from(mm))
            }),
        }
    }

    /// Whether a folio such as this is locked.
    fn some_lock(&self, is_it: impl Fn(&Folio) -> bool) -> bool {
        let held = self.locks.iter().any(Option::is_some);
        let migrates = || self.migrations.iter().any(Option::is_some);
        (held || migrates())
            && self.ledger.live().any(|(_, folio)| folio.locked().is_some() && is_it(folio))
    }

    /// Carries out one step.
    #[inline]
    pub fn run(&mut self, call: Call<'_>, out: &mut Outcome) -> Done<Ret> {
        let Call { number, step, layout } = call;
        self.now.begin(number, step);
        if !self.has_objects(&step.op) {
            return Ok(Ret::Void);
        }
        let span = |range: Range| layout.span(range);
        match step.op {
            Op::Nop => Ok(Ret::Void),
            Op::Mmap { mm, area, backing, prot, .. } => {
                self.mmap(mm, area, layout.area(area), backing, prot).map(done)
            }
            Op::Munmap { mm, range } => self.munmap(mm, span(range)).map(done),
            Op::Mprotect { mm, range, prot } => self.mprotect(mm, span(range), prot).map(done),
            Op::Mremap { mm, range, area, .. } => {
                self.mremap(mm, span(range), layout.area(area)).map(done)
            }
            Op::Madvise { mm, range, advice } => self.madvise(mm, span(range), advice).map(done),
            Op::Uffd { mm, range, uffdio } => self.uffd(mm, span(range), uffdio),
            Op::Read { mm, range } => self.read(mm, span(range), &mut out.data),
            Op::Write { mm, range } => self.write(mm, span(range)),
            Op::Fork { mm, child } => self.fork(mm, child).map(done),
            Op::Exit { mm } => self.exit(mm).map(done),
            Op::Gup { mm, range, handle, entry, foll, write, longterm, .. } => {
                let unlockable = entry != program::Entry::Slow;
                let want = Want { pin: foll == Foll::Pin, write, longterm, unlockable };
                self.gup(mm, span(range), handle, entry, want)
            }
            Op::Walk { mm, range, write, report } => {
                self.walk(mm, span(range), write, report, &mut out.data)
            }
            Op::Put { handle } => Ok(Ret::Ok(self.release(handle))),
            Op::Unpin { handle, also, dirty, .. } => self.unpin(handle, also, dirty),
            Op::Peek { handle } => Ok(self.peek(handle, &mut out.data)),
            Op::LruAddDrain => {
                self.lru_add_drain(step.cpu);
                Ok(Ret::Ok(0))
            }
            Op::LruAddDrainAll => {
                self.lru_add_drain_all();
                Ok(Ret::Ok(0))
            }
            Op::SplitFolio { mm, range } => self.split_folio(mm, span(range).start).map(done),
            Op::Migrate { mm, range, mode } => self.migrate(mm, span(range).start, mode).map(done),
            Op::Offline { place } => self.offline(place).map(done),
            Op::LockPage { mm, range, lock, task } => {
                self.lock_page(mm, span(range).start, lock, task).map(done)
            }
            Op::UnlockPage { lock } => {
                self.unlock_page(lock);
                Ok(Ret::Ok(0))
            }
            Op::MigrateVmaSetup { mm, range, migration, device, select, fault } => {
                self.migrate_setup(mm, span(range), migration, device, select, fault).map(Ret::Ok)
            }
            Op::MigrateDeviceRange { migration, device } => {
                Ok(Ret::Ok(self.migrate_device_range(migration, device)))
            }
            Op::MigrateVmaPages { migration, to } => Ok(self.migrate_pages_of(migration, to)),
            Op::MigrateVmaFinalize { migration } => {
                self.migrate_finalize(migration);
                Ok(Ret::Ok(0))
            }
            Op::DeviceMigrate { mm, range, device, to } => {
                self.device_migrate(mm, span(range), device, to).map(Ret::Ok)
            }
            Op::DeviceEvict { device, remove } => self.device_evict(device, remove).map(Ret::Ok),
            Op::DeviceRead { mm, range, device } => {
                self.device_read(mm, span(range), device, &mut out.data)
            }
            Op::DeviceWrite { mm, range, device } => self.device_write(mm, span(range), device),
            Op::HmmRangeFault { mm, range, device, request, odd } => {
                self.hmm_snapshot(mm, span(range), device, request, odd, &mut out.data)
            }
            Op::MakeDeviceExclusive { mm, range, device } => {
                self.device_exclusive(mm, span(range), device, &mut out.data)
            }
        }
    }

    /// Whether the objects that the operation uses exist (ops 0: else `void`).
    #[inline]
    pub fn has_objects(&self, op: &Op) -> bool {
        match *op {
            Op::Nop | Op::LruAddDrain | Op::LruAddDrainAll | Op::Offline { .. } => true,
            Op::MigrateDeviceRange { .. } | Op::DeviceEvict { .. } => true,
            Op::MigrateVmaSetup { mm, .. }
            | Op::DeviceMigrate { mm, .. }
            | Op::DeviceRead { mm, .. }
            | Op::DeviceWrite { mm, .. }
            | Op::HmmRangeFault { mm, .. }
            | Op::MakeDeviceExclusive { mm, .. } => self.is_live(mm),
            Op::MigrateVmaPages { migration, .. } | Op::MigrateVmaFinalize { migration } => {
                self.migrations.get(usize::from(migration.0)).is_some_and(Option::is_some)
            }
            Op::Mmap { mm, .. }
            | Op::Munmap { mm, .. }
            | Op::Mprotect { mm, .. }
            | Op::Mremap { mm, .. }
            | Op::Madvise { mm, .. }
            | Op::Uffd { mm, .. }
            | Op::Read { mm, .. }
            | Op::Write { mm, .. }
            | Op::Fork { mm, .. }
            | Op::Exit { mm }
            | Op::Gup { mm, .. }
            | Op::Walk { mm, .. }
            | Op::SplitFolio { mm, .. }
            | Op::Migrate { mm, .. }
            | Op::LockPage { mm, .. } => self.is_live(mm),
            Op::Put { handle } | Op::Peek { handle } => self.handle_exists(handle),
            Op::Unpin { handle, also, .. } => {
                self.handle_exists(handle) || also.is_some_and(|also| self.handle_exists(also))
            }
            Op::UnlockPage { lock } => {
                self.locks.get(usize::from(lock.0)).is_some_and(Option::is_some)
            }
        }
    }
}

fn done((): ()) -> Ret {
    Ret::Ok(0)
}
