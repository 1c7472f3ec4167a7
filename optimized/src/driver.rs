//! Two devices and their drivers, in the spirit of `lib/test_hmm.c`: one with device-private, one
//! with device-coherent memory.
//!
//! Each mirrors every address space in page tables of its own. Invalidation is exact (a decision
//! of the model): a page's mirror entries go when its CPU entry changes, and only then.

use std::cell::{Cell, RefCell};

use machine::Task;
use program::{
    Birth, Call, Device, DeviceMark, Direction, Errno, Mark, MmId, Op, Ret, Seen, Select, Site,
    Span,
};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::Pfn;
use crate::memory::{Access, Fault, Vmf};
use crate::migrate_device::{MigrateVma, Pfns};
use crate::pgtable::Pte;
use crate::world::{Cx, World};

/// An entry of a device's page table (`dmirror->pt`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct MirrorPte {
    pub device: Device,
    pub mm: MmId,
    pub vpn: u32,
    pub pfn: Pfn,
    pub write: bool,
}

/// All state of the drivers.
#[derive(Default)]
pub(crate) struct Drivers {
    pub mirrors: RefCell<Vec<MirrorPte>>,
    /// Allocated pages of each device, the oldest first.
    pages: [RefCell<Vec<Pfn>>; 2],
    removed: [Cell<bool>; 2],
    /// Ranges that operations read, by the step (`mmu_interval_read_begin`), and whether something
    /// in them changed since.
    pub reads: RefCell<Vec<Read>>,
    /// `mirrors` or `reads` had something in this program.
    pub mirrored: Cell<bool>,
    /// By `MigrationId`: open migrations.
    pub open: RefCell<Vec<Option<Open>>>,
}

/// What a step reads of a CPU's page table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub number: usize,
    pub mm: MmId,
    pub span: Span,
    pub stale: bool,
}

/// An open migration.
#[derive(Clone)]
pub(crate) struct Open {
    pub args: MigrateVma,
    /// `migrate_vma_pages` is done.
    pub paged: bool,
}

impl Drivers {
    pub fn reset(&mut self) {
        self.mirrors.get_mut().clear();
        self.pages.iter_mut().for_each(|pages| pages.get_mut().clear());
        self.removed = Default::default();
        self.reads.get_mut().clear();
        self.mirrored.set(false);
        self.open.get_mut().clear();
    }
}

#[twice]
impl World {
    /// Pages that a driver handles at once (test_hmm: 64; here two tables' worth).
    fn driver_chunk(&self) -> u32 {
        2 * u32::from(self.shape.ptes)
    }

    pub(crate) fn chunks(&self, span: Span) -> impl Iterator<Item = Span> + use<> {
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
                    self.mmap_read_unlock(mm);
                }
                Ok(0)
            }
            Op::DeviceMigrate { mm, device, to, .. } => {
                self.mmap_read_lock(mm).await;
                let moved = self.device_migrate(cx, mm, span, device, to).await;
                self.mmap_read_unlock(mm);
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
                self.mmap_read_lock(mm).await;
                let made = self.device_exclusive(cx, mm, span, device, data).await;
                self.mmap_read_unlock(mm);
                made
            }
            _ => return Ret::Void,
        };
        done.map_or_else(Ret::Err, Ret::Ok)
    }

    pub(crate) fn migration(
        &self,
        mm: Option<MmId>,
        device: Device,
        select: Select,
        task: program::TaskId,
    ) -> MigrateVma {
        let (pfns, task) = (Vec::new(), Task(task.0));
        MigrateVma { mm, start: 0, pfns, device, select, fault_page: None, task }
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
            let placed = dst.map(|dst| self.frames.place(dst));
            let mark = DeviceMark::Destination { index: index as u32, placed };
            self.device_mark(cx, mark, || {
                dst.map_or(Seen::Nothing, |dst| Seen::Page(self.page_ref(dst)))
            });
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
            // As drm_pagemap does; what is there already stays.
            Direction::ToDevice => Select(Select::SYSTEM.0 | Select::of(device).0),
            Direction::ToSystem => Select::of(device),
        };
        let mut args = self.migration(Some(mm), device, select, program::TaskId(cx.task.0));
        let (mut vpn, mut moved) = (span.start, 0);
        while vpn < span.end {
            self.machine.cond_resched().await;
            let Some(vma) = self.vma_lookup(mm, vpn).filter(|vma| vma.readable()) else {
                let access = Access::Read;
                self.mark(cx, || (Mark::Forbidden { mm, vpn, access }, Seen::Flag(false)));
                return Err(Errno::EINVAL);
            };
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

    /// `dmirror_migrate_finalize_and_map`: what moved is mapped by the device, unless the CPU's entry
    /// has changed since.
    fn map_moved(&self, mm: MmId, args: &MigrateVma) {
        for (vpn, pfns) in (args.start..).zip(&args.pfns) {
            let maps = |pte| matches!(pte, Pte::Present { pfn, .. } | Pte::DevicePrivate { pfn, .. } if Some(pfn) == pfns.dst);
            if let Some(pfn) = pfns.dst
                && (pfns.migrate && maps(self.lookup_pte(mm, vpn))
                    || self.has(Defect::DriverMapsWithoutRecheck))
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
    pub(crate) async fn migrate_to_ram(&self, cx: &Cx, vmf: &Vmf, page: Pfn) -> Result<(), Fault> {
        self.hit(Path::MigrateToRam);
        let Some(device) = Device::owner(self.frames.place(page)) else { return Ok(()) };
        if self.refused(cx, Site::Driver) {
            return self.migrate_to_ram_failed(cx);
        }
        let task = program::TaskId(cx.task.0);
        let mut args = self.migration(Some(vmf.mm), device, Select::of(device), task);
        args.fault_page = Some(page);
        let span = Span { start: vmf.vpn, end: vmf.vpn + 1 };
        self.migrate_vma_setup(cx, &mut args, span).await.map_err(|_| Fault::Sigbus)?;
        self.alloc_and_copy(cx, &mut args, Direction::ToSystem);
        let no_memory = args.pfns.iter().any(|pfns| pfns.migrate && pfns.dst.is_none());
        if no_memory && self.has(Defect::FailedMigrateToRamLosesPage) {
            return self.migrate_to_ram_failed(cx);
        }
        self.migrate_vma_pages(cx, &mut args).await;
        self.migrate_vma_finalize(cx, &args).await;
        if no_memory {
            return self.migrate_to_ram_failed(cx);
        }
        Ok(())
    }

    fn migrate_to_ram_failed(&self, cx: &Cx) -> Result<(), Fault> {
        self.hit(Path::MigrateToRamFailed);
        self.device_mark(cx, DeviceMark::DriverFailed, || Seen::Nothing);
        Err(Fault::Sigbus)
    }
}
