//! Longterm pins checked inside the walk, leaf by leaf: Tatashin's alternative in the thread of the
//! series (S4), which was posted with a check after the walk.

use program::{Errno, Foll as FollKind, MmId, Mode, Place, Span};

use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::gup::GupFlags;
use crate::gup_sink::Sink;
use crate::migrate::Target;
use crate::variants::Variant;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// Whether that is how longterm pins are done.
    pub(crate) fn checks_in_walk(&self) -> bool {
        matches!(self.variant(), Variant::InWalkCheck | Variant::InLoopMigration)
    }

    /// Pins leaf after leaf. A folio that may not stay is unpinned, with all that the call has
    /// pinned of it, and migrated, and the walk goes back to there.
    pub(crate) async fn gup_in_walk(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Result<u32, Errno> {
        let start = sink.mark();
        let mut vpn = span.start;
        while vpn < span.end {
            let (at, faults) = (sink.mark(), cx.faults.get());
            let leaf = GupFlags { one_leaf: true, ..flags };
            match self.get_user_pages(cx, mm, Span { start: vpn, ..span }, leaf, sink).await {
                Ok(pages) => vpn += pages,
                Err(errno) if vpn == span.start => return Err(errno),
                Err(_) => break,
            }
            let (page, _) = sink.entry(at);
            let faulted = cx.faults.get() != faults;
            let unchecked = faulted && self.has(Defect::FaultedPagesUnchecked);
            if unchecked || page == ZERO_PFN || self.may_stay(cx, page) {
                continue;
            }
            let first = self.first_of_folio(sink, start, page);
            vpn -= (first..sink.entries()).map(|at| sink.entry(at).1).sum::<u32>();
            let head = self.frames.head(page);
            if self.is_device_coherent(head) {
                self.folio_get(head);
                self.get_mark(cx, head);
                self.put_entries(cx, sink, first, FollKind::Pin);
                self.folio_lock(cx, head).await;
                if let Err(errno) = self.migrate_device_coherent_folio(cx, head, false).await {
                    self.put_entries(cx, sink, start, FollKind::Pin);
                    return Err(errno);
                }
                continue;
            }
            let mut movable = Vec::new();
            self.collect_unpinnable_folio(cx, head, &mut 0, &mut movable).await;
            let own_pins = self.has(Defect::MigrateUnderOwnPin);
            let last = sink.entries() - 1;
            self.put_entries(cx, sink, if own_pins { last } else { first }, FollKind::Pin);
            let target = Target { place: Place::Normal, inject: true };
            if self.migrate_isolated(cx, movable, Mode::Sync, target).await.is_err() {
                self.put_entries(cx, sink, start, FollKind::Pin);
                return Err(Errno::ENOMEM);
            }
            self.put_entries(cx, sink, first, FollKind::Pin);
            self.machine.point().await;
        }
        Ok(vpn - span.start)
    }

    fn may_stay(&self, cx: &Cx, page: Pfn) -> bool {
        self.folio_is_longterm_pinnable(cx, self.frames.head(page))
    }

    /// The first entry from `start` on that is of the folio of `page`.
    fn first_of_folio(&self, sink: &dyn Sink, start: usize, page: Pfn) -> usize {
        let same = |&at: &usize| self.same_folio(sink.entry(at).0, page);
        (start..sink.entries()).find(same).unwrap_or(start)
    }
}
