//! Memory offline (kernel: `mm/memory_hotplug.c`, `mm/page_isolation.c`).

use program::{Errno, Foll, Mark, Mode, Place, Seen, Site};

use crate::coverage::Path;
use crate::frame::Pfn;
use crate::migrate::Target;
use crate::world::{Cx, World};

const MEM_HOTPLUG_LOCK: &str = "mem_hotplug_lock";

#[twice]
impl World {
    /// `memory_block_offline`, then online again, of every block of the place in which something is.
    pub(crate) async fn memory_block_offline(&self, cx: &Cx, place: Place) -> Result<(), Errno> {
        self.mem_hotplug_lock.write(&self.machine, cx.task, MEM_HOTPLUG_LOCK).await;
        let result = self.offline_pages(cx, place).await;
        self.mem_hotplug_lock.write_unlock(&self.machine, cx.task, MEM_HOTPLUG_LOCK);
        self.hit(if result.is_ok() { Path::OfflineDone } else { Path::OfflineBusy });
        result
    }

    /// `offline_pages`: everything that is in these blocks has to move to others, of `normal`. One
    /// round: Linux goes on until it succeeds or a signal comes.
    async fn offline_pages(&self, cx: &Cx, place: Place) -> Result<(), Errno> {
        let needed = self.zones.used(Place::Normal) + self.zones.used(place);
        if needed > self.shape.pages[Place::Normal as usize] {
            self.refused_mark(cx, Site::Dst);
            return Err(Errno::EBUSY);
        }
        self.lru_cache_disable(cx, true);
        self.lru_add_drain_all().await;
        self.start_isolate_page_range(cx, place);
        self.do_migrate_range(cx).await;
        let empty = self.undo_isolate_page_range(cx);
        self.lru_cache_disable(cx, false);
        if empty { Ok(()) } else { Err(Errno::EBUSY) }
    }

    /// `lru_cache_disable`, `lru_cache_enable`.
    fn lru_cache_disable(&self, cx: &Cx, on: bool) {
        self.lru_disabled.set(on);
        self.mark(cx, || (Mark::LruCacheDisable { on }, Seen::Nothing));
    }

    /// `start_isolate_page_range` of the pageblocks in which the place has folios now.
    fn start_isolate_page_range(&self, cx: &Cx, place: Place) {
        for head in self.folios().filter(|&head| self.frames.place(head) == place) {
            self.frames.set_isolated(head, true);
        }
        self.mark(cx, || (Mark::StartIsolate { place }, Seen::Nothing));
    }

    /// `do_migrate_range`: everything that can be isolated.
    async fn do_migrate_range(&self, cx: &Cx) {
        let target = Target { place: Place::Normal, inject: false };
        let mut at = 0;
        while at < self.zones.end() {
            let head = Pfn(at);
            at += 1;
            if !self.in_isolated_block(head) {
                continue;
            }
            self.machine.point().await;
            // folio_try_get
            if !self.in_isolated_block(head) || self.frames.refcount(head) <= 0 {
                continue;
            }
            at = head.0 + self.frames.nr_pages(head);
            self.hold(cx, head, 1, Foll::Get);
            self.machine.point().await;
            let isolated = self.folio_isolate_lru(cx, head);
            self.unhold(cx, head, 1, Foll::Get);
            if isolated {
                let _left_over = self.migrate_isolated(cx, vec![head], Mode::Sync, target).await;
            }
        }
    }

    /// `test_pages_isolated`, `undo_isolate_page_range`: whether nothing is left.
    fn undo_isolate_page_range(&self, cx: &Cx) -> bool {
        let mut empty = true;
        for head in self.folios().filter(|&head| self.frames.isolated(head)) {
            self.frames.set_isolated(head, false);
            empty = false;
        }
        self.mark(cx, || (Mark::UndoIsolate, Seen::Flag(empty)));
        empty
    }

    /// Whether a folio begins here, in a pageblock that is MIGRATE_ISOLATE.
    fn in_isolated_block(&self, pfn: Pfn) -> bool {
        let published = self.frames.head(pfn) == pfn && self.frames.name(pfn) != program::Name(0);
        published && self.frames.isolated(pfn)
    }
}
