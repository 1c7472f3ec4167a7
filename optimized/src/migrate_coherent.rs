//! Device-coherent pages, which a longterm pin moves before anything else (kernel:
//! `migrate_device_coherent_folio` in `mm/migrate_device.c`, and its caller in `mm/gup.c`; S3).

use machine::Task;
use program::{Birth, Device, DeviceMark, Errno, Foll, Mark, MmId, Seen, Select, Site};

use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::gup_sink::Sink;
use crate::migrate_device::{MigrateVma, Pfns};
use crate::variants::Variant;
use crate::world::{Conduct, Cx, World};

#[twice]
impl World {
    /// The device-coherent pages of `migrate_longterm_unpinnable_folios`: each is moved while an
    /// ordinary reference takes the place of its pin. -EBUSY: everything is unpinned. `replace`: as in
    /// S3 v2 the page that it went to is pinned, and takes its place.
    pub(crate) async fn migrate_coherent_entries(
        &self,
        cx: &Cx,
        sink: &mut dyn Sink,
        start: usize,
        replace: bool,
    ) -> Result<(), Errno> {
        let mut kept = Vec::new();
        let mut handled = Vec::new();
        let mut result = Ok(());
        if self.coherent_list() && !replace {
            result = self.migrate_coherent_list(cx, sink, start, &mut handled).await;
        }
        for at in start..sink.entries() {
            let (page, nr) = sink.entry(at);
            if handled.contains(&at) {
                continue;
            }
            let coherent = self.is_coherent_entry(page);
            if !coherent || result.is_err() || self.has(Defect::ZoneDeviceOnLruList) {
                kept.push((page, nr));
                continue;
            }
            self.pin_becomes_reference(cx, page);
            self.folio_lock(cx, page).await;
            let moved = self.migrate_device_coherent_folio(cx, page, replace).await;
            if self.has(Defect::OwnPinBlocksMigration) {
                self.gup_put_folio(page, 1, Foll::Pin);
            }
            match moved {
                Ok(new) if replace => kept.push((new, 1)),
                Ok(_) => {}
                Err(errno) => result = Err(errno),
            }
        }
        sink.truncate(start);
        if result.is_err() {
            let replaced = cx.replaced.take();
            kept.retain(|(page, _)| !replaced.contains(page));
            replaced.into_iter().for_each(|page| self.unhold(cx, page, 1, Foll::Pin));
        }
        // The entries that were handled are NULL, and the unwind has to pass over them.
        if result.is_ok() || !self.has(Defect::UnwindStopsAtNull) {
            kept.into_iter().for_each(|(page, nr)| sink.push(self, page, nr, false));
        }
        if result.is_err() {
            self.put_entries(cx, sink, start, Foll::Pin);
        }
        result
    }

    /// Whether coherent pages are put on a list of their own and moved together: the variant, and
    /// what A30 makes of it where there are others to meet.
    fn coherent_list(&self) -> bool {
        let sleeps = self.has(Defect::BatchSleepsForLocks) && self.tracing.get();
        self.variant() == Variant::DeviceBulkList || sleeps
    }

    /// Moves what it can lock at once, and notes these entries; what somebody else has locked is for
    /// the caller, who then has no other locked. -EBUSY: not all of them could move.
    async fn migrate_coherent_list(
        &self,
        cx: &Cx,
        sink: &dyn Sink,
        start: usize,
        handled: &mut Vec<usize>,
    ) -> Result<(), Errno> {
        let mut list = Vec::new();
        for at in start..sink.entries() {
            let (page, _) = sink.entry(at);
            let wanted = self.is_coherent_entry(page) && !list.contains(&page);
            if wanted && self.lock_of_batch(page, cx.task).await {
                self.pin_becomes_reference(cx, page);
                self.begin_coherent_mark(cx, page);
                handled.push(at);
                list.push(page);
            }
        }
        if list.is_empty() {
            return Ok(());
        }
        let pfns = self.migrate_device_coherent_folios(cx, &list, false).await;
        if self.has(Defect::OwnPinBlocksMigration) {
            list.iter().for_each(|&page| self.gup_put_folio(page, 1, Foll::Pin));
        }
        match pfns.iter().all(|pfns| pfns.migrate) {
            true => Ok(()),
            false => Err(Errno::EBUSY),
        }
    }

    pub(crate) fn is_coherent_entry(&self, page: Pfn) -> bool {
        page != ZERO_PFN && self.is_device_coherent(self.frames.head(page))
    }

    /// The reference first: the page may have been unmapped since, and the pin be its last.
    fn pin_becomes_reference(&self, cx: &Cx, page: Pfn) {
        self.folio_get(page);
        self.get_mark(cx, page);
        let mark = Mark::Release { page: self.page_ref(page), pages: 1 };
        self.mark(cx, || (mark, Seen::Flag(true)));
        if !self.has(Defect::OwnPinBlocksMigration) {
            self.gup_put_folio(page, 1, Foll::Pin);
        }
    }

    /// `migrate_device_coherent_folio`, of a page that the caller has locked: the caller's reference
    /// goes with it. Where it is now.
    pub(crate) async fn migrate_device_coherent_folio(
        &self,
        cx: &Cx,
        page: Pfn,
        replace: bool,
    ) -> Result<Pfn, Errno> {
        self.begin_coherent_mark(cx, page);
        let pfns = self.migrate_device_coherent_folios(cx, &[page], replace).await;
        pfns[0].dst.filter(|_| pfns[0].migrate).ok_or(Errno::EBUSY)
    }

    fn begin_coherent_mark(&self, cx: &Cx, page: Pfn) {
        let mark = DeviceMark::BeginCoherent { folio: self.frames.name(page) };
        self.device_mark(cx, mark, || Seen::Flag(true));
    }

    /// As Linux does with one page, with pages that are all locked.
    async fn migrate_device_coherent_folios(
        &self,
        cx: &Cx,
        pages: &[Pfn],
        replace: bool,
    ) -> Vec<Pfns> {
        let of_page = |&page| Pfns { src: Some(page), migrate: true, ..Pfns::default() };
        let pfns = pages.iter().map(of_page).collect();
        let (device, select, task) = (Device::Coherent, Select(0), cx.task);
        let mut args =
            MigrateVma { mm: None, start: 0, pfns, device, select, fault_page: None, task };
        // migrate_vma_setup refused a migration without a VMA, before it had unmapped anything.
        if !self.has(Defect::SetupFailureIgnored) {
            self.migrate_device_unmap(cx, &mut args.pfns, None, task).await;
        }
        if args.pfns.iter().all(|pfns| !pfns.migrate) {
            self.device_mark(cx, DeviceMark::End, || Seen::Nothing);
            return args.pfns;
        }
        for (index, pfns) in (0..).zip(&mut args.pfns) {
            let Some(page) = pfns.src.filter(|_| pfns.migrate) else { continue };
            pfns.dst = self.coherent_destination(cx, page, index);
            if let Some(new) = pfns.dst.filter(|_| replace) {
                self.hold(cx, new, 1, Foll::Pin);
                cx.replaced.borrow_mut().push(new);
            }
        }
        self.migrate_vma_pages(cx, &mut args).await;
        self.migrate_vma_finalize(cx, &args).await;
        args.pfns
    }

    /// A destination in ordinary memory, and the copy.
    fn coherent_destination(&self, cx: &Cx, page: Pfn, index: u32) -> Option<Pfn> {
        let new = self.folio_alloc(cx, Site::Dst, 0, true);
        if let Some(new) = new {
            self.folio_trylock(cx, new);
            self.publish(cx, new, Birth::Migrate(self.frames.name(page)));
            self.frames.set_data(new, self.frames.data(page));
        } else if self.has(Defect::NullDestination) {
            self.report(Conduct::NullPage);
        }
        let placed = new.map(|new| self.frames.place(new));
        self.device_mark(cx, DeviceMark::Destination { index, placed }, || {
            new.map_or(Seen::Nothing, |new| Seen::Page(self.page_ref(new)))
        });
        new
    }

    /// The pins of S3 v2, as if a walk had found just these pages.
    pub(crate) fn keep_replaced(
        &self,
        cx: &Cx,
        mm: MmId,
        mut vpn: u32,
        sink: &dyn Sink,
        start: usize,
    ) {
        let replaced = cx.replaced.take();
        let pins = (start..sink.entries()).map(|at| sink.entry(at));
        let pages = pins.filter(|(page, _)| !replaced.contains(page)).map(|(_, nr)| nr).sum();
        self.mark(cx, || (Mark::Undo { pages }, Seen::Nothing));
        for at in start..sink.entries() {
            let (page, nr) = sink.entry(at);
            if replaced.contains(&page) {
                self.unhold_mark(cx, page, 1, Foll::Pin);
            }
            let seen = Seen::Page(self.page_ref(page));
            self.mark(cx, || (Mark::Grab { mm, vpn, pages: nr, held: false }, seen));
            vpn += nr;
        }
    }

    /// The lock of one page of those that a driver takes together. To wait for it with others locked
    /// could be a deadlock.
    pub(crate) async fn lock_of_batch(&self, page: Pfn, task: Task) -> bool {
        if self.has(Defect::BatchSleepsForLocks) && self.tracing.get() {
            self.folio_lock_as(task, page).await;
            return true;
        }
        self.folio_trylock_as(task, page)
    }
}
