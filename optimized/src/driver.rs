//! Two devices and their drivers, in the spirit of `lib/test_hmm.c`: one with device-private, one
//! with device-coherent memory.
//!
//! Each mirrors every address space in page tables of its own. Invalidation is exact (a decision
//! of the model): a page's mirror entries go when its CPU entry changes, and only then.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use machine::Task;
use program::{
    Birth, Call, Device, Direction, Errno, MigratePfn, MigrationId, MmId, Op, Request, Ret, Select,
    Site, Span, digest, hmm, written,
};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::folio::Foll;
use crate::frame::Pfn;
use crate::gup::GupFlags;
use crate::hmm::HmmRange;
use crate::memory::{Fault, Vmf};
use crate::migrate_device::{MigrateVma, Pfns};
use crate::pgtable::Pte;
use crate::rmap::Walked;
use crate::world::{Cx, World};

/// An entry of a device's page table (`dmirror->pt`).
#[derive(Clone, Copy, Debug)]
struct MirrorPte {
    device: Device,
    mm: MmId,
    vpn: u32,
    pfn: Pfn,
    write: bool,
}

/// All state of the drivers.
#[derive(Default)]
pub(crate) struct Drivers {
    mirrors: RefCell<Vec<MirrorPte>>,
    /// Allocated pages of each device, the oldest first.
    pages: [RefCell<Vec<Pfn>>; 2],
    removed: [Cell<bool>; 2],
    /// By `MigrationId`: open migrations.
    open: RefCell<Vec<Option<Open>>>,
}

/// An open migration.
#[derive(Clone)]
struct Open {
    args: MigrateVma,
    /// `migrate_vma_pages` is done.
    paged: bool,
}

impl Drivers {
    pub fn reset(&mut self) {
        self.mirrors.get_mut().clear();
        self.pages.iter_mut().for_each(|pages| pages.get_mut().clear());
        self.removed = Default::default();
        self.open.get_mut().clear();
    }
}

impl World {
    /// Pages that a driver handles at once (test_hmm: 64; here two tables' worth).
    fn driver_chunk(&self) -> u32 {
        2 * u32::from(self.shape.ptes)
    }

    fn chunks(&self, span: Span) -> impl Iterator<Item = Span> + use<> {
        let chunk = self.driver_chunk();
        let starts = (span.start..span.end).step_by(chunk as usize);
        starts.map(move |start| Span { start, end: span.end.min(start + chunk) })
    }

    /// An operation of a driver.
    pub(crate) async fn perform_driver(&self, cx: &Cx, call: Call<'_>, data: &mut Vec<u64>) -> Ret {
        let span = call.step.op.range().map(|range| call.layout.span(range)).unwrap_or_default();
        let done = match call.step.op {
            Op::MigrateVmaSetup { mm, migration, device, select, fault, .. } => {
                self.op_migrate_setup(cx, mm, span, migration, device, select, fault).await
            }
            Op::MigrateDeviceRange { migration, device } => {
                let mut args = self.migration(None, device, Select(0), migration.task());
                let pages = self.drivers.pages[device as usize].borrow().clone();
                self.migrate_device_range(cx, &mut args, &pages).await;
                let ready = args.pfns.iter().filter(|pfns| pfns.migrate).count();
                self.migration_keep(migration, Open { args, paged: false });
                Ok(ready as u32)
            }
            Op::MigrateVmaPages { migration, to } => match self.migration_take(migration) {
                Some(mut open) if !open.paged => {
                    self.alloc_and_copy(cx, &mut open.args, to);
                    self.migrate_vma_pages(cx, &mut open.args).await;
                    let moved = open.args.pfns.iter().filter(|pfns| pfns.migrate).count();
                    self.migration_keep(migration, Open { paged: true, ..open });
                    Ok(moved as u32)
                }
                Some(open) => {
                    self.migration_keep(migration, open);
                    return Ret::Void;
                }
                None => return Ret::Void,
            },
            Op::MigrateVmaFinalize { migration } => {
                let Some(open) = self.migration_take(migration) else { return Ret::Void };
                self.migrate_vma_finalize(cx, &open.args).await;
                if let Some(mm) = open.args.mm {
                    self.mm(mm).mmap_lock.read_unlock(&self.machine, "mmap_lock");
                }
                Ok(0)
            }
            Op::DeviceMigrate { mm, device, to, .. } => {
                self.mm(mm).mmap_lock.read(&self.machine, "mmap_lock").await;
                let moved = self.device_migrate(cx, mm, span, device, to).await;
                self.mm(mm).mmap_lock.read_unlock(&self.machine, "mmap_lock");
                moved
            }
            Op::DeviceEvict { device, remove } => Ok(self.device_evict(cx, device, remove).await),
            Op::DeviceRead { mm, device, .. } => {
                self.device_access(cx, mm, span, device, false, data).await
            }
            Op::DeviceWrite { mm, device, .. } => {
                self.device_access(cx, mm, span, device, true, data).await
            }
            Op::HmmRangeFault { mm, device, request, odd, .. } => {
                self.device_snapshot(cx, mm, span, device, request, odd, data).await
            }
            Op::MakeDeviceExclusive { mm, device, .. } => {
                self.device_exclusive(cx, mm, span, device, data).await
            }
            _ => return Ret::Void,
        };
        done.map_or_else(Ret::Err, Ret::Ok)
    }

    fn migration(
        &self,
        mm: Option<MmId>,
        device: Device,
        select: Select,
        task: program::TaskId,
    ) -> MigrateVma {
        let (pfns, task) = (Vec::new(), Task(task.0));
        MigrateVma { mm, start: 0, pfns, device, select, fault_page: None, task }
    }

    #[expect(clippy::too_many_arguments, reason = "they are those of struct migrate_vma")]
    async fn op_migrate_setup(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        migration: MigrationId,
        device: Device,
        select: Select,
        fault: bool,
    ) -> Result<u32, Errno> {
        let mut args = self.migration(Some(mm), device, select, migration.task());
        self.mm(mm).mmap_lock.read(&self.machine, "mmap_lock").await;
        let ready = match self.fault_page(mm, span.start, fault) {
            Ok(page) => {
                args.fault_page = page;
                self.migrate_vma_setup(cx, &mut args, span).await
            }
            Err(errno) => Err(errno),
        };
        match ready {
            // The driver keeps mmap_lock until it has finalized.
            Ok(_) => self.migration_keep(migration, Open { args, paged: false }),
            Err(_) => self.mm(mm).mmap_lock.read_unlock(&self.machine, "mmap_lock"),
        }
        ready
    }

    /// The page that a driver names as `fault_page`: whatever there is.
    fn fault_page(&self, mm: MmId, vpn: u32, fault: bool) -> Result<Option<Pfn>, Errno> {
        match self.lookup_pte(mm, vpn) {
            _ if !fault => Ok(None),
            Pte::DevicePrivate { pfn, .. } => Ok(Some(pfn)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The migration stays open after the operation, with its locks.
    fn migration_keep(&self, id: MigrationId, open: Open) {
        let locked = |pfns: &Pfns| [pfns.src, pfns.dst].into_iter().flatten();
        for page in open.args.pfns.iter().flat_map(locked) {
            if self.frames.lock(page).owner().is_some() {
                self.frames.lock(page).keep(&self.machine);
            }
        }
        if open.args.mm.is_some() {
            self.machine.released(); // mmap_lock
        }
        self.migration_terms(id, &open.args, true);
        let at = usize::from(id.0);
        let mut list = self.drivers.open.borrow_mut();
        if list.len() <= at {
            list.resize(at + 1, None);
        }
        list[at] = Some(open);
    }

    /// The next operation of a migration takes it over.
    fn migration_take(&self, id: MigrationId) -> Option<Open> {
        let open = self.drivers.open.borrow_mut().get_mut(usize::from(id.0))?.take()?;
        self.migration_terms(id, &open.args, false);
        let locked = |pfns: &Pfns| [pfns.src, pfns.dst].into_iter().flatten();
        for page in open.args.pfns.iter().flat_map(locked) {
            if self.frames.lock(page).owner().is_some() {
                self.machine.acquired();
            }
        }
        if open.args.mm.is_some() {
            self.machine.acquired();
        }
        Some(open)
    }

    fn migration_terms(&self, id: MigrationId, args: &MigrateVma, add: bool) {
        for (index, pfns) in (0..).zip(&args.pfns) {
            let term = digest::migration(id, index, self.migrate_pfn(pfns));
            if add { self.frames.add(term) } else { self.frames.sub(term) }
        }
    }

    fn migrate_pfn(&self, pfns: &Pfns) -> MigratePfn {
        let name = |page: Option<Pfn>| page.map(|page| self.frames.name(page));
        MigratePfn { src: name(pfns.src), migrate: pfns.migrate, dst: name(pfns.dst) }
    }

    /// Every open migration, for the snapshot.
    pub(crate) fn migrations_view(&self) -> BTreeMap<MigrationId, Vec<MigratePfn>> {
        let open = self.drivers.open.borrow();
        let view = |open: &Open| open.args.pfns.iter().map(|pfns| self.migrate_pfn(pfns)).collect();
        let listed = (0..).map(MigrationId).zip(open.iter());
        listed.filter_map(|(id, open)| Some((id, view(open.as_ref()?)))).collect()
    }

    /// `dmirror_devmem_alloc_page`: locked, with one reference (`zone_device_page_init`).
    fn device_alloc(&self, cx: &Cx, device: Device, task: Task, birth: Birth) -> Option<Pfn> {
        let place = device.place();
        let full = self.zones.used(place) == self.shape.pages[place as usize];
        let refused = self.refused(cx, Site::Device);
        if refused || full || self.drivers.removed[device as usize].get() {
            return None;
        }
        let pfn = self.folio_take(place, 0, true);
        self.drivers.pages[device as usize].borrow_mut().push(pfn);
        self.folio_trylock_as(task, pfn);
        self.publish(cx, pfn, birth);
        Some(pfn)
    }

    /// `pgmap->ops->page_free`.
    pub(crate) fn page_free(&self, pfn: Pfn) {
        if let Some(device) = Device::owner(self.frames.place(pfn)) {
            self.drivers.pages[device as usize].borrow_mut().retain(|&page| page != pfn);
        }
    }

    /// `dmirror_migrate_alloc_and_copy`, `dmirror_devmem_fault_alloc_and_copy`: a destination for
    /// each page that is not there already.
    fn alloc_and_copy(&self, cx: &Cx, args: &mut MigrateVma, to: Direction) {
        for index in 0..args.pfns.len() {
            let Pfns { src, migrate, .. } = args.pfns[index];
            let from_device = src.is_some_and(|page| self.is_zone_device(page));
            if !migrate || from_device != (to == Direction::ToSystem) {
                continue;
            }
            let birth = match (src, args.mm) {
                (Some(page), _) => Birth::Migrate(self.frames.name(page)),
                (None, Some(mm)) => Birth::Anon(mm, args.start + index as u32),
                (None, None) => continue,
            };
            let dst = match to {
                Direction::ToDevice => self.device_alloc(cx, args.device, args.task, birth),
                Direction::ToSystem => self.folio_alloc(cx, Site::Dst, 0, true).inspect(|&page| {
                    self.folio_trylock_as(args.task, page);
                    self.publish(cx, page, birth);
                }),
            };
            if let (Some(page), Some(dst)) = (src, dst) {
                self.frames.set_data(dst, self.frames.data(page));
            }
            args.pfns[index].dst = dst;
        }
    }

    /// `dmirror_migrate_to_device`, `dmirror_migrate_to_system`: VMA by VMA, chunk by chunk.
    async fn device_migrate(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        device: Device,
        to: Direction,
    ) -> Result<u32, Errno> {
        let select = match to {
            Direction::ToDevice => Select::SYSTEM,
            Direction::ToSystem => Select::of(device),
        };
        let mut args = self.migration(Some(mm), device, select, program::TaskId(cx.task.0));
        let (mut vpn, mut moved) = (span.start, 0);
        while vpn < span.end {
            let vma = self.vma_lookup(mm, vpn).filter(|vma| vma.readable()).ok_or(Errno::EINVAL)?;
            let end = vma.end.min(span.end).min(vpn + self.driver_chunk());
            self.migrate_vma_setup(cx, &mut args, Span { start: vpn, end }).await?;
            self.alloc_and_copy(cx, &mut args, to);
            self.migrate_vma_pages(cx, &mut args).await;
            moved += args.pfns.iter().filter(|pfns| pfns.migrate).count() as u32;
            self.migrate_vma_finalize(cx, &args).await;
            if to == Direction::ToDevice {
                self.map_moved(mm, &args);
            }
            vpn = end;
        }
        Ok(moved)
    }

    /// `dmirror_migrate_finalize_and_map`: what moved is mapped by the device.
    fn map_moved(&self, mm: MmId, args: &MigrateVma) {
        for (vpn, pfns) in (args.start..).zip(&args.pfns) {
            if let Some(pfn) = pfns.dst
                && (pfns.migrate || self.has(Defect::DriverMapsWithoutRecheck))
            {
                // Read-only: the device's first write asks for more.
                self.mirror_store(MirrorPte { device: args.device, mm, vpn, pfn, write: false });
            }
        }
    }

    /// `dmirror_device_evict_chunk`; `remove`: and then `dmirror_device_remove_chunks`, which
    /// waits for the last reference on every page (`memunmap_pages`).
    async fn device_evict(&self, cx: &Cx, device: Device, remove: bool) -> u32 {
        let task = program::TaskId(cx.task.0);
        let mut args = self.migration(None, device, Select(0), task);
        let pages = self.drivers.pages[device as usize].borrow().clone();
        if remove {
            self.drivers.removed[device as usize].set(true);
        }
        self.migrate_device_range(cx, &mut args, &pages).await;
        self.alloc_and_copy(cx, &mut args, Direction::ToSystem);
        self.migrate_vma_pages(cx, &mut args).await;
        let moved = args.pfns.iter().filter(|pfns| pfns.migrate).count();
        self.migrate_vma_finalize(cx, &args).await;
        moved as u32
    }

    /// `dmirror_devmem_fault`: `pgmap->ops->migrate_to_ram`. The page is locked and referenced by
    /// the fault. A page that finds no memory stays where it is, and the fault is SIGBUS.
    pub(crate) async fn migrate_to_ram(&self, cx: &Cx, vmf: Vmf, page: Pfn) -> Result<(), Fault> {
        self.hit(Path::MigrateToRam);
        let Some(device) = Device::owner(self.frames.place(page)) else { return Ok(()) };
        if self.refused(cx, Site::Driver) {
            self.hit(Path::MigrateToRamFailed);
            return Err(Fault::Sigbus);
        }
        let task = program::TaskId(cx.task.0);
        let mut args = self.migration(Some(vmf.mm), device, Select::of(device), task);
        args.fault_page = Some(page);
        let span = Span { start: vmf.vpn, end: vmf.vpn + 1 };
        self.migrate_vma_setup(cx, &mut args, span).await.map_err(|_| Fault::Sigbus)?;
        self.alloc_and_copy(cx, &mut args, Direction::ToSystem);
        let no_memory = args.pfns.iter().any(|pfns| pfns.migrate && pfns.dst.is_none());
        if no_memory && self.has(Defect::FailedMigrateToRamLosesPage) {
            return Err(Fault::Sigbus);
        }
        self.migrate_vma_pages(cx, &mut args).await;
        self.migrate_vma_finalize(cx, &args).await;
        if no_memory {
            self.hit(Path::MigrateToRamFailed);
            return Err(Fault::Sigbus);
        }
        Ok(())
    }

    /// `dmirror_read`, `dmirror_write`: through the device's own page table, faulting a page at a
    /// time.
    async fn device_access(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        device: Device,
        write: bool,
        data: &mut Vec<u64>,
    ) -> Result<u32, Errno> {
        for vpn in span.start..span.end {
            let pfn = self.mirror_page(cx, mm, vpn, device, write).await?;
            if write {
                self.frames.set_data(pfn, written(cx.number, vpn - span.start));
            } else {
                data.push(self.frames.data(pfn));
            }
        }
        Ok(span.end - span.start)
    }

    /// `dmirror_fault` of one page, if the mirror does not permit the access.
    async fn mirror_page(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        device: Device,
        write: bool,
    ) -> Result<Pfn, Errno> {
        if let Some(entry) = self.mirror(device, mm, vpn).filter(|entry| entry.write || !write) {
            self.hit(Path::MirrorHit);
            return Ok(entry.pfn);
        }
        let request = if write { Request::Write } else { Request::Fault };
        let span = Span { start: vpn, end: vpn + 1 };
        let mut range = HmmRange { mm, span, request, odd: false, device, pfns: Vec::new() };
        self.mm(mm).mmap_lock.read(&self.machine, "mmap_lock").await;
        let result = self.hmm_range_fault(cx, &mut range).await;
        self.mm(mm).mmap_lock.read_unlock(&self.machine, "mmap_lock");
        result?;
        // dmirror_do_fault
        let found = range.pfns[0];
        let (Some(pfn), writable) = (found.page, found.flags & hmm::WRITE != 0) else {
            return Err(Errno::EFAULT);
        };
        if write && !writable {
            return Err(Errno::EFAULT);
        }
        self.mirror_store(MirrorPte { device, mm, vpn, pfn, write: writable });
        Ok(pfn)
    }

    fn mirror(&self, device: Device, mm: MmId, vpn: u32) -> Option<MirrorPte> {
        let mirrors = self.drivers.mirrors.borrow();
        let at = |entry: &&MirrorPte| (entry.device, entry.mm, entry.vpn) == (device, mm, vpn);
        mirrors.iter().find(at).copied()
    }

    fn mirror_store(&self, new: MirrorPte) {
        let mut mirrors = self.drivers.mirrors.borrow_mut();
        let at = |entry: &MirrorPte| {
            (entry.device, entry.mm, entry.vpn) == (new.device, new.mm, new.vpn)
        };
        mirrors.retain(|entry| !at(entry));
        mirrors.push(new);
    }

    /// `mmu_interval_notifier_ops.invalidate` of both drivers.
    #[inline]
    pub(crate) fn mirrors_invalidate(&self, mm: MmId, start: u32, end: u32) {
        let mut mirrors = self.drivers.mirrors.borrow_mut();
        if !mirrors.is_empty() {
            mirrors.retain(|entry| entry.mm != mm || !(start..end).contains(&entry.vpn));
        }
    }

    /// `dmirror_snapshot`: chunk by chunk. Reports flags and content of each page.
    #[expect(clippy::too_many_arguments, reason = "they are those of struct hmm_range")]
    async fn device_snapshot(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        device: Device,
        request: Request,
        odd: bool,
        data: &mut Vec<u64>,
    ) -> Result<u32, Errno> {
        for span in self.chunks(span) {
            let mut range = HmmRange { mm, span, request, odd, device, pfns: Vec::new() };
            self.mm(mm).mmap_lock.read(&self.machine, "mmap_lock").await;
            let result = self.hmm_range_fault(cx, &mut range).await;
            self.mm(mm).mmap_lock.read_unlock(&self.machine, "mmap_lock");
            result?;
            data.extend(range.pfns.iter().map(|found| {
                hmm::word(found.flags, found.page.map_or(0, |page| self.frames.data(page)))
            }));
        }
        Ok(span.end - span.start)
    }

    /// `dmirror_exclusive`: chunk by chunk; -EBUSY unless every page of a chunk became exclusive.
    async fn device_exclusive(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        device: Device,
        data: &mut Vec<u64>,
    ) -> Result<u32, Errno> {
        for chunk in self.chunks(span) {
            let found = self.make_device_exclusive_range(cx, mm, chunk).await;
            let wanted = (chunk.end - chunk.start) as usize;
            let mut mapped = 0;
            for (vpn, page) in (chunk.start..chunk.end).zip(&found) {
                let Some(pfn) = *page else { continue };
                if found.len() == wanted {
                    // dmirror_atomic_map
                    self.mirror_store(MirrorPte { device, mm, vpn, pfn, write: false });
                    mapped += 1;
                }
                data.push(self.frames.data(pfn));
                self.folio_unlock(cx, pfn);
                self.folio_put(pfn);
            }
            if mapped < wanted {
                data.clear();
                return Err(Errno::EBUSY);
            }
        }
        Ok(span.end - span.start)
    }

    /// `make_device_exclusive_range`: the pages that GUP found, each locked and referenced if it
    /// is exclusive now.
    async fn make_device_exclusive_range(&self, cx: &Cx, mm: MmId, span: Span) -> Vec<Option<Pfn>> {
        let get: Foll = Some(program::Foll::Get);
        let flags = GupFlags { write: true, foll: get, split_pmd: true, ..GupFlags::default() };
        let mut pages = Vec::new();
        if self.get_user_pages(cx, mm, span, flags, &mut pages).await.is_err() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (vpn, page) in (span.start..).zip(pages) {
            let head = self.frames.head(page);
            let tail = page != head;
            if tail || !self.folio_trylock(cx, head) {
                self.hit(Path::ExclusiveFailed);
                self.folio_put(head);
                found.push(None);
            } else if !self.folio_make_device_exclusive(cx, head, mm, vpn).await {
                self.hit(Path::ExclusiveFailed);
                self.folio_unlock(cx, head);
                self.folio_put(head);
                found.push(None);
            } else {
                found.push(Some(page));
            }
        }
        found
    }

    /// `folio_make_device_exclusive`: every PTE of the folio becomes a device-exclusive entry;
    /// whether the one at the address was writable and none is left.
    async fn folio_make_device_exclusive(&self, cx: &Cx, head: Pfn, mm: MmId, vpn: u32) -> bool {
        if !self.frames.anon(head) {
            return false;
        }
        let mut valid = false;
        for walked in self.rmap_walk(head) {
            let Walked::Pte { mm: of, table, vpn: at } = walked else { break };
            self.ptl_lock(cx, of).await;
            let pte = self.pte(table, at);
            if let Pte::Present { pfn, bits } = pte {
                self.hit(Path::MadeExclusive);
                valid |= (of, at) == (mm, vpn) && bits.write;
                let entry = Pte::DeviceExclusive { pfn, write: bits.write };
                self.set_pte(of, table, at, Pte::None);
                self.set_pte(of, table, at, entry);
                self.folio_remove_rmap_pte(pfn);
            }
            self.ptl_unlock(cx, of);
            if !matches!(pte, Pte::Present { .. }) {
                break;
            }
        }
        valid && self.frames.mapcount(head) == 0
    }
}
