//! Device memory migration (kernel: `mm/migrate_device.c`).
//!
//! A driver sets a migration up, allocates destinations and copies (`driver.rs`), and then has the
//! pages moved and the migration finalized. Between these its pages are locked and unmapped.

use machine::Task;
use program::{Device, DeviceMark, Errno, Foll, MmId, Name, Seen, Select, Span};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Mapping, Pfn, ZERO_PFN};
use crate::memory::{mkwrite, page_prot};
use crate::pgtable::{Migration, Pmd, Pte};
use crate::vma::Vma;
use crate::world::{Cx, World};

/// An entry of `migrate->src` and its like in `migrate->dst`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Pfns {
    /// MIGRATE_PFN_VALID, and the page.
    pub src: Option<Pfn>,
    /// MIGRATE_PFN_MIGRATE.
    pub migrate: bool,
    /// MIGRATE_PFN_WRITE.
    pub write: bool,
    pub dst: Option<Pfn>,
}

/// `struct migrate_vma`.
#[derive(Clone, Debug)]
pub(crate) struct MigrateVma {
    /// None: of device pages, wherever they are mapped (`migrate_device_range`).
    pub mm: Option<MmId>,
    /// Page of the first entry.
    pub start: u32,
    pub pfns: Vec<Pfns>,
    /// `pgmap_owner`.
    pub device: Device,
    pub select: Select,
    pub fault_page: Option<Pfn>,
    /// Who locks the pages.
    pub task: Task,
}

#[twice]
impl World {
    /// `migrate_vma_setup`. Ok: the pages that are ready to move, holes among them.
    pub(crate) async fn migrate_vma_setup(
        &self,
        cx: &Cx,
        args: &mut MigrateVma,
        span: Span,
    ) -> Result<u32, Errno> {
        let vma = args.mm.and_then(|mm| self.vma_lookup(mm, span.start));
        let Some(vma) = vma.filter(|vma| span.end <= vma.end) else {
            return Err(Errno::EINVAL);
        };
        if let Some(page) = args.fault_page {
            let locked = self.frames.lock(page).owner() == Some(args.task);
            let valid = self.is_device_private(page) && locked;
            // Before faults locked their page, nobody asked for the lock.
            let unlocked = self.has(Defect::ReferenceBeforeLock) && args.task == cx.task;
            if !valid && !unlocked && !self.has(Defect::FaultPageNotValidated) {
                return Err(Errno::EINVAL);
            }
        }
        args.start = span.start;
        args.pfns.clear();
        self.migrate_begin_mark(cx, args);
        let collected = self.migrate_vma_collect(cx, args, &vma, span).await;
        if !collected {
            return Ok(0);
        }
        let (fault_page, task) = (args.fault_page, args.task);
        Ok(self.migrate_device_unmap(cx, &mut args.pfns, fault_page, task).await)
    }

    /// The operation has a device migration from here on.
    fn migrate_begin_mark(&self, cx: &Cx, args: &MigrateVma) {
        let MigrateVma { mm, start, device, select, fault_page, .. } = *args;
        let fault = fault_page.map(|page| self.frames.name(page));
        let mark = DeviceMark::Begin { mm, start, device, select, fault };
        self.device_mark(cx, mark, || Seen::Nothing);
    }

    fn collect_mark(
        &self,
        cx: &Cx,
        args: &MigrateVma,
        vpn: u32,
        pfns: &Pfns,
        contended: Option<Name>,
    ) {
        let Some(mm) = args.mm else { return };
        self.device_mark(cx, DeviceMark::Collect { mm, vpn, contended }, || match pfns.src {
            Some(page) => Seen::Page(self.page_ref(page)),
            None => Seen::Flag(pfns.migrate),
        });
    }

    /// `migrate_vma_collect`: whether anything was collected.
    async fn migrate_vma_collect(
        &self,
        cx: &Cx,
        args: &mut MigrateVma,
        vma: &Vma,
        span: Span,
    ) -> bool {
        let Some(mm) = args.mm else { return false };
        let mut vpn = span.start;
        while vpn < span.end {
            let pmd = self.pmd_number(vpn);
            let end = self.pmd_start(pmd + 1).min(span.end);
            let piece = Span { start: vpn, end };
            self.machine.point().await;
            match self.pmd(mm, pmd) {
                Pmd::None => self.migrate_vma_collect_hole(cx, args, vma, piece),
                // Somebody migrates it whole.
                Pmd::Migration { .. } => {
                    self.migrate_vma_collect_all(cx, args, piece, Pfns::default(), None);
                }
                Pmd::Huge { .. } | Pmd::Table(_) => {
                    if !self.migrate_vma_collect_pmd(cx, args, mm, vma, pmd, piece).await {
                        continue;
                    }
                }
            }
            vpn = end;
        }
        args.pfns.iter().any(|pfns| pfns.migrate)
    }

    /// `migrate_vma_collect_hole`: only anonymous memory is populated.
    fn migrate_vma_collect_hole(&self, cx: &Cx, args: &mut MigrateVma, vma: &Vma, piece: Span) {
        if vma.anonymous() {
            self.hit(Path::CollectHole);
        }
        let hole = Pfns { migrate: vma.anonymous(), ..Pfns::default() };
        self.migrate_vma_collect_all(cx, args, piece, hole, None);
    }

    /// `migrate_vma_collect_skip` (`contended`: because somebody uses that folio), or nothing but holes.
    fn migrate_vma_collect_all(
        &self,
        cx: &Cx,
        args: &mut MigrateVma,
        piece: Span,
        pfns: Pfns,
        contended: Option<Name>,
    ) {
        for vpn in piece.start..piece.end {
            self.collect_mark(cx, args, vpn, &pfns, contended);
            args.pfns.push(pfns);
        }
    }

    /// `migrate_vma_collect_pmd`. False: look at the PMD again.
    async fn migrate_vma_collect_pmd(
        &self,
        cx: &Cx,
        args: &mut MigrateVma,
        mm: MmId,
        vma: &Vma,
        pmd: u32,
        piece: Span,
    ) -> bool {
        self.ptl_lock(cx, mm).await;
        if let Pmd::Huge { pfn: head, .. } = self.pmd(mm, pmd) {
            self.folio_get(head);
            self.get_mark(cx, head);
            let name = self.frames.name(head); // the folio may end with this reference
            self.ptl_unlock(cx, mm);
            self.machine.point().await;
            if !self.folio_trylock(cx, head) {
                self.hit(Path::CollectHugeLocked);
                if !self.has(Defect::ThpCollectRefLeak) {
                    self.put_mark(cx, head);
                    self.folio_put(head);
                }
                let skipped = Pfns::default();
                self.migrate_vma_collect_all(cx, args, piece, skipped, Some(name));
                return true;
            }
            let split = self.split_folio(cx, head, false).await;
            self.folio_unlock(cx, head);
            self.put_mark(cx, head);
            self.folio_put(head);
            self.hit(if split { Path::CollectSplit } else { Path::CollectHugeBusy });
            if !split {
                let skipped = Pfns::default();
                self.migrate_vma_collect_all(cx, args, piece, skipped, Some(name));
                return true;
            }
            self.ptl_lock(cx, mm).await;
        }
        if !matches!(self.pmd(mm, pmd), Pmd::Table(_)) {
            self.ptl_unlock(cx, mm);
            return false;
        }
        let mut unmapped = false;
        for vpn in piece.start..piece.end {
            let pfns = self.migrate_vma_collect_pte(cx, args, mm, vma, vpn).await;
            unmapped |= pfns.src.is_some();
            args.pfns.push(pfns);
        }
        if unmapped {
            self.flush_tlb_range(cx, mm, piece).await;
        }
        self.ptl_unlock(cx, mm);
        true
    }

    /// One turn of `migrate_vma_collect_pmd`'s loop over PTEs.
    async fn migrate_vma_collect_pte(
        &self,
        cx: &Cx,
        args: &MigrateVma,
        mm: MmId,
        vma: &Vma,
        vpn: u32,
    ) -> Pfns {
        let done = |pfns: Pfns| {
            self.collect_mark(cx, args, vpn, &pfns, None);
            pfns
        };
        let hole = Pfns { migrate: true, ..Pfns::default() };
        let skipped = Pfns::default();
        let Pmd::Table(table) = self.pmd(mm, self.pmd_number(vpn)) else { return done(skipped) };
        let (pfn, write) = match self.pte(table, vpn) {
            Pte::None if vma.anonymous() => {
                self.hit(Path::CollectHole);
                return done(hole);
            }
            Pte::Present { pfn: ZERO_PFN, .. } if args.select.has(Select::SYSTEM) => {
                return done(hole);
            }
            Pte::Present { pfn: ZERO_PFN, .. } => return done(skipped),
            Pte::Present { pfn, bits } => (pfn, bits.write),
            Pte::DevicePrivate { pfn, write } => (pfn, write),
            Pte::Migration { pfn, kind, .. }
                if self.entry_in_fault()
                    && args.fault_page == Some(pfn)
                    && !self.has(Defect::PreinstalledEntrySkipped) =>
            {
                self.folio_get(pfn);
                let write = kind == Migration::Writable;
                return done(Pfns { src: Some(pfn), write, ..hole });
            }
            Pte::None | Pte::Migration { .. } | Pte::DeviceExclusive { .. } => {
                return done(skipped);
            }
        };
        let head = self.frames.head(pfn);
        if !self.migrate_vma_selects(args, head) || self.frames.large(head) {
            return done(skipped);
        }
        // Others see the reference while there is no lock yet (A14).
        self.hold(cx, head, 1, Foll::Get);
        self.machine.point().await;
        // Best effort: to sleep here could deadlock with another migration.
        let ours = self.fault_locked(args.fault_page, pfn);
        let locked = ours && !self.has(Defect::FaultFolioSelfTrylock);
        if !locked && !self.folio_trylock_as(args.task, head) {
            self.hit(Path::CollectLocked);
            self.collect_mark(cx, args, vpn, &skipped, Some(self.frames.name(head)));
            self.unhold(cx, head, 1, Foll::Get);
            return skipped;
        }
        if !self.replace_by_migration_entry(mm, table, vpn) {
            self.hit(Path::CollectPinned);
            if !ours {
                self.folio_unlock_as(args.task, head);
            }
            self.collect_mark(cx, args, vpn, &skipped, None);
            self.unhold(cx, head, 1, Foll::Get);
            return skipped;
        }
        self.hit(Path::CollectPage);
        let collected = done(Pfns { src: Some(pfn), write, ..hole });
        // The reference is the migration's from here on.
        self.unhold_mark(cx, head, 1, Foll::Get);
        collected
    }

    /// The page is locked by the fault, which unlocks it.
    fn fault_locked(&self, fault_page: Option<Pfn>, page: Pfn) -> bool {
        fault_page == Some(page) && !self.has(Defect::ReferenceBeforeLock)
    }

    /// MIGRATE_VMA_SELECT_* and `pgmap_owner`.
    fn migrate_vma_selects(&self, args: &MigrateVma, head: Pfn) -> bool {
        match Device::owner(self.frames.place(head)) {
            None => args.select.has(Select::SYSTEM),
            Some(owner) => args.select.has(Select::of(owner)) && owner == args.device,
        }
    }

    /// `migrate_vma_check_page`: the same test as `folio_migrate_mapping`, but for one reference
    /// more that ZONE_DEVICE pages may have.
    fn migrate_vma_check_page(&self, page: Pfn, fault_page: Option<Pfn>) -> bool {
        let mut extra = 1 + i64::from(fault_page == Some(page));
        extra += i64::from(self.is_zone_device(page));
        extra += i64::from(matches!(self.frames.mapping(page), Mapping::File(..)));
        self.frames.refcount(page) - extra <= i64::from(self.frames.mapcount(page))
    }

    /// `migrate_device_unmap`: isolates, unmaps everywhere, puts back what somebody else uses.
    /// Returns how many entries are ready to move.
    pub(crate) async fn migrate_device_unmap(
        &self,
        cx: &Cx,
        pfns: &mut [Pfns],
        fault_page: Option<Pfn>,
        task: Task,
    ) -> u32 {
        let mut allow_drain = true;
        self.lru_add_drain(cx.cpu);
        if self.has(Defect::DrainMovedUp) {
            let pages = || pfns.iter().filter_map(|pfns| pfns.src);
            let off = |page: Pfn| !self.is_zone_device(page) && !self.frames.lru(page);
            if pages().any(off) && pages().any(|page| self.is_zone_device(page)) {
                self.lru_add_drain_all().await;
                allow_drain = false;
            }
        }
        for (index, entry) in (0..).zip(pfns.iter_mut()) {
            let Some(page) = entry.src else { continue };
            let system = !self.is_zone_device(page);
            if system {
                if !self.frames.lru(page) && allow_drain {
                    self.hit(Path::UnmapDrainAll);
                    self.lru_add_drain_all().await;
                    allow_drain = false;
                }
                self.machine.point().await;
                // folio_isolate_lru: its reference takes the place of collect's.
                let isolated = self.frames.lru(page);
                self.frames.set_lru(page, false);
                let mark = DeviceMark::Isolate { index };
                self.device_mark(cx, mark, || Seen::Flag(isolated));
                if !isolated {
                    entry.migrate = false;
                    continue;
                }
            }
            if self.frames.mapcount(page) > 0 {
                self.try_to_migrate(cx, page).await;
            }
            self.machine.point().await;
            let unmapped = self.frames.mapcount(page) == 0;
            entry.migrate = unmapped && self.migrate_vma_check_page(page, fault_page);
            if !entry.migrate && system {
                // The reference of the isolation stays as collect's.
                self.folio_add_lru(cx, page);
            }
            let ready = entry.migrate;
            self.device_mark(cx, DeviceMark::Check { index }, || Seen::Flag(ready));
        }
        for (index, entry) in (0..).zip(pfns.iter_mut()) {
            let Some(page) = entry.src.filter(|_| !entry.migrate) else { continue };
            self.hit(Path::UnmapRestored);
            self.remove_migration_ptes(cx, page, page).await;
            *entry = Pfns::default();
            self.device_mark(cx, DeviceMark::LetGo { index }, || Seen::Nothing);
            let own = !self.fault_locked(fault_page, page);
            if own || self.has(Defect::FaultFolioUnlockedByRestore) {
                self.folio_unlock_as(task, page);
            }
            self.folio_put(page);
        }
        pfns.iter().filter(|pfns| pfns.migrate).count() as u32
    }

    /// `migrate_vma_pages`, `migrate_device_pages`.
    pub(crate) async fn migrate_vma_pages(&self, cx: &Cx, args: &mut MigrateVma) {
        for index in 0..args.pfns.len() {
            let Pfns { src, migrate, dst, .. } = args.pfns[index];
            let vpn = args.start + index as u32;
            args.pfns[index].migrate = match (src, dst) {
                (_, None) => false,
                (None, Some(new)) => {
                    migrate && self.migrate_vma_insert_page(cx, args, vpn, new).await
                }
                (Some(page), Some(new)) => {
                    self.machine.point().await;
                    self.migrate_device_page(args, page, new)
                }
            };
            if src.is_some() || dst.is_none() {
                let moved = args.pfns[index].migrate;
                let mark = DeviceMark::Move { index: index as u32 };
                self.device_mark(cx, mark, || Seen::Flag(moved));
            }
        }
    }

    /// One page of `__migrate_device_pages`.
    fn migrate_device_page(&self, args: &MigrateVma, page: Pfn, new: Pfn) -> bool {
        let file = matches!(self.frames.mapping(page), Mapping::File(..));
        if file && self.is_zone_device(new) {
            return false; // anonymous memory only
        }
        let extra = i64::from(args.fault_page == Some(page));
        let moved = self.folio_migrate_mapping(page, new, extra);
        self.hit(if moved { Path::DeviceMigrated } else { Path::DeviceMigrateRefs });
        moved
    }

    /// `migrate_vma_insert_page`: maps `new` where nothing is.
    async fn migrate_vma_insert_page(
        &self,
        cx: &Cx,
        args: &MigrateVma,
        vpn: u32,
        new: Pfn,
    ) -> bool {
        let inserted = self.try_insert_page(cx, args, vpn, new).await;
        if inserted.is_none() {
            self.insert_mark(cx, args, vpn, false);
        }
        let inserted = inserted == Some(true);
        self.hit(if inserted { Path::InsertPage } else { Path::InsertAborted });
        inserted
    }

    async fn try_insert_page(
        &self,
        cx: &Cx,
        args: &MigrateVma,
        vpn: u32,
        new: Pfn,
    ) -> Option<bool> {
        let mm = args.mm?;
        let vma = self.vma_lookup(mm, vpn).filter(Vma::anonymous)?;
        self.machine.point().await;
        if let Pmd::Huge { .. } = self.pmd(mm, self.pmd_number(vpn)) {
            return None;
        }
        self.pte_alloc(cx, mm, vpn).await.ok()?;
        self.anon_vma_prepare(cx, mm, vpn);
        self.ptl_lock(cx, mm).await;
        let Pmd::Table(table) = self.pmd(mm, self.pmd_number(vpn)) else {
            self.insert_mark(cx, args, vpn, false);
            self.ptl_unlock(cx, mm);
            return Some(false);
        };
        let zero = matches!(self.pte(table, vpn), Pte::Present { pfn: ZERO_PFN, .. });
        let empty = zero || self.pte(table, vpn) == Pte::None;
        let free = empty && !vma.userfaultfd_missing();
        if free {
            let mapping = self.anon_mapping(mm, vpn, 0);
            self.frames.set_mapping(new, mapping);
            self.map_add(new, 1);
            self.frames.set_exclusive(new, true);
            self.folio_get(new);
            let prot = page_prot(&vma);
            let bits = if vma.writable() { mkwrite(&vma, prot) } else { prot };
            let pte = match self.is_device_private(new) {
                true => Pte::DevicePrivate { pfn: new, write: bits.write },
                false => Pte::Present { pfn: new, bits },
            };
            self.set_pte(mm, table, vpn, Pte::None);
            self.set_pte(mm, table, vpn, pte);
        }
        self.insert_mark(cx, args, vpn, free);
        if zero && free {
            self.flush_tlb_page(cx, mm, vpn).await; // ptep_clear_flush
        }
        self.ptl_unlock(cx, mm);
        Some(free)
    }

    fn insert_mark(&self, cx: &Cx, args: &MigrateVma, vpn: u32, inserted: bool) {
        let mark = DeviceMark::Move { index: vpn - args.start };
        self.device_mark(cx, mark, || Seen::Flag(inserted));
    }

    /// `migrate_vma_finalize`, `migrate_device_finalize`.
    pub(crate) async fn migrate_vma_finalize(&self, cx: &Cx, args: &MigrateVma) {
        for (index, &Pfns { src, migrate, dst, .. }) in (0..).zip(&args.pfns) {
            let let_go = || self.device_mark(cx, DeviceMark::LetGo { index }, || Seen::Nothing);
            let Some(src) = src else {
                let_go();
                if let Some(dst) = dst {
                    self.folio_unlock_as(args.task, dst);
                    self.folio_put(dst);
                }
                continue;
            };
            let mut to = src;
            match dst {
                Some(dst) if migrate => to = dst,
                Some(unused) => {
                    self.folio_unlock_as(args.task, unused);
                    self.folio_put(unused);
                }
                None => {}
            }
            if to == src {
                self.hit(Path::FinalizeRestored);
            }
            if !self.is_zone_device(to) {
                self.folio_add_lru(cx, to);
            }
            self.device_mark(cx, DeviceMark::PutBack { index }, || Seen::Nothing);
            self.remove_migration_ptes(cx, src, to).await;
            let_go();
            let own = !self.fault_locked(args.fault_page, src);
            if own || self.finalize_unlocks_fault_folio() {
                self.folio_unlock_as(args.task, src);
            }
            self.folio_put(src);
            if to != src {
                self.folio_unlock_as(args.task, to);
                self.folio_put(to);
            }
        }
        self.device_mark(cx, DeviceMark::End, || Seen::Nothing);
    }

    fn finalize_unlocks_fault_folio(&self) -> bool {
        self.has(Defect::FaultFolioUnlockedByFinalize) || self.has(Defect::EntryHandOffUnlocksTwice)
    }

    /// `migrate_device_range`, over a list of pages (`migrate_device_pfns`).
    pub(crate) async fn migrate_device_range(&self, cx: &Cx, args: &mut MigrateVma, pages: &[Pfn]) {
        self.migrate_begin_mark(cx, args);
        for &page in pages {
            // get_page_unless_zero: others see the reference while there is no lock yet.
            self.machine.point().await;
            // Frames of this model change hands; those of a pgmap do not.
            let own = Device::owner(self.frames.place(page)) == Some(args.device);
            if self.frames.refcount(page) <= 0 || !own {
                continue;
            }
            self.hold(cx, page, 1, Foll::Get);
            self.machine.point().await;
            let locked = self.lock_of_batch(page, args.task).await;
            let mark =
                DeviceMark::CollectDevice { folio: self.frames.name(page), contended: !locked };
            self.device_mark(cx, mark, || match locked {
                true => Seen::Page(self.page_ref(page)),
                false => Seen::Flag(false),
            });
            self.unhold_mark(cx, page, 1, Foll::Get);
            if !locked {
                self.folio_put(page);
            }
            let src = locked.then_some(page);
            args.pfns.push(Pfns { src, migrate: locked, ..Pfns::default() });
        }
        let task = args.task;
        self.migrate_device_unmap(cx, &mut args.pfns, None, task).await;
    }
}
