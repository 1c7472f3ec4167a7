//! FOLL_LONGTERM: pages that may not be pinned for good are migrated first (kernel: `mm/gup.c`).

use program::{Errno, Foll as FollKind, Mark, MmId, Mode, Name, Place, Seen, Span};

use crate::cost::Item;
use crate::coverage::Path;
use crate::defects::Defect;
use crate::folio::GUP_PIN_COUNTING_BIAS;
use crate::frame::{Mapping, Pfn, ZERO_PFN};
use crate::gup::GupFlags;
use crate::gup_sink::Sink;
use crate::migrate::Target;
use crate::variants::Variant;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `__gup_longterm_locked`.
    pub(crate) async fn gup_longterm_locked(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Result<u32, Errno> {
        if !flags.longterm {
            return self.get_user_pages(cx, mm, span, flags, sink).await;
        }
        let saved = cx.memalloc_pin.replace(true);
        let result = match self.checks_in_walk() {
            true => self.gup_in_walk(cx, mm, span, flags, sink).await,
            false => self.gup_then_check(cx, mm, span, flags, sink).await,
        };
        cx.memalloc_pin.set(saved);
        result
    }

    /// The loop of `__gup_longterm_locked`: walk, look at what came out, migrate, walk again.
    async fn gup_then_check(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Result<u32, Errno> {
        let start = sink.mark();
        let (mut first, mut flags) = (None, flags);
        loop {
            self.machine.lap(&(cx.number, start, first, cx.attempt.get()));
            let got = self.get_user_pages(cx, mm, span, flags, sink).await;
            if self.has(Defect::OldCountAfterRepin)
                && let Some(first) = first
            {
                break Ok(first);
            }
            let got = match got {
                Ok(got) => got,
                Err(errno) => break Err(errno),
            };
            // What an injected failure hits is a matter of how many walks there are.
            let whole = got == span.end - span.start && cx.fail.is_none();
            let replace = whole && self.has(Defect::ReplacedInPlace);
            match self.check_and_migrate_movable_pages(cx, sink, start, replace).await {
                Ok(()) => {
                    if !cx.replaced.borrow().is_empty() {
                        self.keep_replaced(cx, mm, span.start, sink, start);
                    }
                    break Ok(got);
                }
                Err(Errno::EAGAIN) => {}
                Err(_) if self.has(Defect::RepinAfterFailure) => {
                    break self.get_user_pages(cx, mm, span, flags, sink).await;
                }
                Err(errno) => break Err(errno),
            }
            (first, flags.again) = (Some(got), true);
            self.machine.point().await;
        }
    }

    /// `folio_is_longterm_pinnable`, here and now.
    pub(crate) fn folio_is_longterm_pinnable(&self, cx: &Cx, head: Pfn) -> bool {
        let pinnable = self.may_stay_pinned(head);
        let folio = self.frames.name(head);
        if folio != Name(0) {
            self.mark(cx, || (Mark::Pinnable { folio }, Seen::Flag(pinnable)));
        }
        pinnable
    }

    fn may_stay_pinned(&self, head: Pfn) -> bool {
        let place = self.frames.place(head);
        if place == Place::Coherent {
            return false; // a driver may want to move it
        }
        // One folio, one condition each: zone, then migratetype of its pageblock.
        let movable = place == Place::Movable;
        let cma = place == Place::Cma;
        if self.has(Defect::MigratetypeIsNotZone) {
            return !(place == Place::Normal || movable || cma);
        }
        if self.has(Defect::AndInsteadOfOr) {
            return !(movable && cma);
        }
        // A block that is being offlined is MIGRATE_ISOLATE, whatever it was before.
        let isolated = self.frames.isolated(head);
        if self.has(Defect::IsolateHidesCma) {
            return !(movable || cma && !isolated);
        }
        if isolated && place == Place::Normal {
            self.hit(Path::LongtermIsolate);
        }
        !(movable || cma || isolated)
    }

    /// `check_and_migrate_movable_pages`: Ok if every folio from entry `start` on may stay. Else
    /// they are all unpinned, and -EAGAIN says that it is worth pinning them again.
    async fn check_and_migrate_movable_pages(
        &self,
        cx: &Cx,
        sink: &mut dyn Sink,
        start: usize,
        replace: bool,
    ) -> Result<(), Errno> {
        if self.variant() == Variant::DevicePrePass {
            self.check_and_migrate_device_pages(cx, sink, start).await?;
        }
        let mut movable = Vec::new();
        if !self.collect_longterm_unpinnable_folios(cx, sink, start, &mut movable).await {
            return Ok(());
        }
        let coherent_or_stays = |page: Pfn| {
            self.is_coherent_entry(page)
                || page == ZERO_PFN
                || self.may_stay_pinned(self.frames.head(page))
        };
        let replace =
            replace && (start..sink.entries()).all(|at| coherent_or_stays(sink.entry(at).0));
        self.migrate_longterm_unpinnable_folios(cx, sink, start, movable, replace).await
    }

    /// The pass of S3's first version for device-coherent pages. If there was one, everything is
    /// unpinned and to be walked again: what the walk found may have changed meanwhile.
    async fn check_and_migrate_device_pages(
        &self,
        cx: &Cx,
        sink: &mut dyn Sink,
        start: usize,
    ) -> Result<(), Errno> {
        self.pay(Item::Rescan, (sink.entries() - start) as u32);
        let coherent =
            |page: Pfn| page != ZERO_PFN && self.is_device_coherent(self.frames.head(page));
        if !(start..sink.entries()).any(|at| coherent(sink.entry(at).0)) {
            return Ok(());
        }
        self.migrate_coherent_entries(cx, sink, start, false).await?;
        self.put_entries(cx, sink, start, FollKind::Pin);
        Err(Errno::EAGAIN)
    }

    /// Isolates what may not stay. Whether there is any, isolated or not.
    async fn collect_longterm_unpinnable_folios(
        &self,
        cx: &Cx,
        sink: &dyn Sink,
        start: usize,
        movable: &mut Vec<Pfn>,
    ) -> bool {
        let (mut collected, mut drained) = (false, 0);
        let mut at = start;
        while at < sink.entries() {
            let (page, _) = sink.entry(at);
            let here = at;
            at = self.next_folio(sink, at);
            self.pay(Item::Rescan, (at - here) as u32);
            if self.has(Defect::RescanForCma) {
                self.pay(Item::Rescan, (at - here) as u32);
            }
            if page == ZERO_PFN || self.folio_is_longterm_pinnable(cx, self.frames.head(page)) {
                continue;
            }
            let head = self.frames.head(page);
            collected = true;
            if here > start {
                self.hit(Path::LongtermMixed);
            }
            if self.is_device_coherent(head) && !self.has(Defect::ZoneDeviceOnLruList) {
                continue; // not on the LRU: moved one by one
            }
            self.collect_unpinnable_folio(cx, head, &mut drained, movable).await;
        }
        collected && !(movable.is_empty() && self.has(Defect::EmptyListIsSuccess))
    }

    /// Isolates one folio, after draining batches if it may be in one: this CPU's, then all, each
    /// once a call (`drained`).
    pub(crate) async fn collect_unpinnable_folio(
        &self,
        cx: &Cx,
        head: Pfn,
        drained: &mut u32,
        movable: &mut Vec<Pfn>,
    ) {
        // Not only to make the isolation succeed: a batch's reference makes migration fail.
        if *drained == 0 && self.unexpected_refs(head) {
            self.hit(Path::LongtermDrain);
            self.lru_add_drain(cx.cpu);
            *drained = 1;
        }
        if *drained == 1 && self.unexpected_refs(head) && !self.has(Defect::DrainOnce) {
            self.hit(Path::LongtermDrainAll);
            self.lru_add_drain_all().await;
            *drained = 2;
        }
        if self.folio_isolate_lru(cx, head) {
            movable.push(head);
        } else if self.has(Defect::RetryKeepsIsolated) {
            movable.clear();
        }
    }

    /// `pofs_next_folio`: the next entry that is not of the large folio of this one.
    fn next_folio(&self, sink: &dyn Sink, at: usize) -> usize {
        let (page, _) = sink.entry(at);
        if page == ZERO_PFN || !self.frames.large(self.frames.head(page)) {
            return at + 1;
        }
        if self.has(Defect::CompoundStepSkip) {
            let head = self.frames.head(page);
            let step = self.frames.nr_pages(head) - (page.0 - head.0);
            return at + step as usize;
        }
        let same = |&next: &usize| self.same_folio(sink.entry(next).0, page);
        at + 1 + (at + 1..sink.entries()).take_while(same).count()
    }

    /// Whether a small folio has references besides its mappings, the page cache and one pin
    /// (`folio_expected_ref_count`). Large ones are in no batch (`folio_may_be_lru_cached`).
    fn unexpected_refs(&self, head: Pfn) -> bool {
        let cached = matches!(self.frames.mapping(head), Mapping::File(..));
        let expected = i64::from(self.frames.mapcount(head)) + i64::from(cached);
        !self.frames.large(head) && self.frames.refcount(head) != expected + GUP_PIN_COUNTING_BIAS
    }

    /// Unpins everything, because a pinned folio does not migrate, and migrates what was isolated.
    async fn migrate_longterm_unpinnable_folios(
        &self,
        cx: &Cx,
        sink: &mut dyn Sink,
        start: usize,
        movable: Vec<Pfn>,
        replace: bool,
    ) -> Result<(), Errno> {
        if let Err(errno) = self.migrate_coherent_entries(cx, sink, start, replace).await {
            if !self.has(Defect::MixedBatchNotPutBack) {
                movable.into_iter().for_each(|head| self.folio_putback_lru(cx, head));
            }
            return Err(errno);
        }
        if replace && !cx.replaced.borrow().is_empty() {
            return Ok(());
        }
        let put = self.has(Defect::PutInLongtermLoop);
        self.put_entries(cx, sink, start, if put { FollKind::Get } else { FollKind::Pin });
        if movable.is_empty() {
            return Err(Errno::EAGAIN);
        }
        self.hit(Path::LongtermMigrate);
        let inside = self.has(Defect::TargetInMovableZone);
        let place = if inside { cx.place } else { Place::Normal };
        let target = Target { place, inject: true };
        match self.migrate_isolated(cx, movable, Mode::Sync, target).await {
            Ok(()) => Err(Errno::EAGAIN),
            Err(_) => {
                self.hit(Path::LongtermMigrateFailed);
                Err(Errno::ENOMEM)
            }
        }
    }
}
