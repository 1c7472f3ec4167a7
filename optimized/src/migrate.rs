//! Page migration (kernel: `mm/migrate.c`) and its two callers here, compaction of one folio and
//! memory offline (`mm/memory_hotplug.c`).

use program::{Birth, Errno, MmId, Mode, Place, Site};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Mapping, Pfn};
use crate::world::{Cx, World};

/// Passes over a folio that fails for a reason that may go away. The kernel makes 10 (async), or
/// 3 async and 7 sync; smaller here, since alone on the machine nothing goes away.
const NR_MAX_MIGRATE_PASSES: u32 = 2;

/// Where destinations come from (`get_new_folio`).
#[derive(Clone, Copy)]
struct Target {
    place: Place,
    /// The step's injection applies.
    inject: bool,
}

impl World {
    /// `migrate`: isolates the folio mapped at the address and migrates it.
    pub(crate) async fn migrate_at(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        mode: Mode,
    ) -> Result<(), Errno> {
        let head = self.folio_walk(mm, vpn).ok_or(Errno::ENOENT)?;
        if !self.folio_isolate_lru(head) {
            self.hit(Path::MigrateNotLru);
            return Err(Errno::EBUSY);
        }
        let target = Target { place: cx.place, inject: true };
        self.migrate_isolated(cx, head, mode, target).await
    }

    /// `migrate_pages` of one isolated folio, then `putback_movable_pages` of what is left.
    async fn migrate_isolated(
        &self,
        cx: &Cx,
        head: Pfn,
        mode: Mode,
        target: Target,
    ) -> Result<(), Errno> {
        let mut left = Vec::new();
        let result = self.migrate_pages(cx, head, mode, target, &mut left).await;
        let empty = left.is_empty();
        for head in left {
            if !self.has(Defect::FailedMigrationNotPutBack) {
                self.folio_putback_lru(cx, head);
            }
        }
        match result {
            Err(errno) => Err(errno),
            Ok(()) if empty => Ok(()),
            Ok(()) => Err(Errno::EAGAIN),
        }
    }

    /// `migrate_pages`: Err is -ENOMEM. What did not migrate is appended to `left`.
    async fn migrate_pages(
        &self,
        cx: &Cx,
        head: Pfn,
        mode: Mode,
        target: Target,
        left: &mut Vec<Pfn>,
    ) -> Result<(), Errno> {
        let large = self.frames.large(head);
        if large && self.frames.partially_mapped(head) && self.try_split_folio(cx, head).await {
            self.migrate_split(cx, head, target, left).await;
            return Ok(());
        }
        for pass in 0..NR_MAX_MIGRATE_PASSES {
            let retry = Target { inject: target.inject && pass == 0, ..target };
            match self.unmap_and_move(cx, head, mode, retry).await {
                Ok(()) => return Ok(()),
                Err(Errno::ENOMEM) if large && self.try_split_folio(cx, head).await => {
                    self.migrate_split(cx, head, target, left).await;
                    return Ok(());
                }
                Err(Errno::ENOMEM) => {
                    self.hit(Path::MigrateNoDst);
                    left.push(head);
                    return Err(Errno::ENOMEM);
                }
                Err(_) => {}
            }
        }
        left.push(head);
        Ok(())
    }

    /// `try_split_folio` of an isolated folio: its pages stay isolated.
    async fn try_split_folio(&self, cx: &Cx, head: Pfn) -> bool {
        if !self.folio_trylock(cx, head) {
            return false;
        }
        let split = self.split_folio(cx, head, true).await;
        self.folio_unlock(cx, head);
        split
    }

    /// The pages of a folio that was split for migration: last page first, one async attempt each.
    async fn migrate_split(&self, cx: &Cx, head: Pfn, target: Target, left: &mut Vec<Pfn>) {
        self.hit(Path::MigrateSplit);
        let mut out_of_memory = false;
        for i in (0..u32::from(self.shape.ptes)).rev() {
            let page = Pfn(head.0 + i);
            if out_of_memory {
                left.push(page);
                continue;
            }
            if let Err(errno) = self.unmap_and_move(cx, page, Mode::Async, target).await {
                out_of_memory = errno == Errno::ENOMEM;
                left.push(page);
            }
        }
    }

    /// `migrate_folio_unmap` and `migrate_folio_move` of one isolated folio.
    async fn unmap_and_move(
        &self,
        cx: &Cx,
        src: Pfn,
        mode: Mode,
        target: Target,
    ) -> Result<(), Errno> {
        if self.frames.refcount(src) == 1 {
            // Freed from under us: the isolation holds the last reference.
            self.folio_put(src);
            return Ok(());
        }
        if target.inject && self.refused(cx, Site::Dst) {
            return Err(Errno::ENOMEM);
        }
        let (order, anon) = (self.frames.order(src), self.frames.anon(src));
        let dst = self.folio_alloc_at(target.place, order, anon).ok_or(Errno::ENOMEM)?;
        if !self.folio_trylock(cx, src) {
            if mode == Mode::Async {
                self.hit(Path::MigrateLocked);
                self.folio_put(dst);
                return Err(Errno::EAGAIN);
            }
            self.folio_lock(cx, src).await;
        }
        self.folio_trylock(cx, dst);
        let unmapped = self.try_to_migrate(cx, src, false).await;
        if !unmapped || !self.folio_migrate_mapping(cx, src, dst) {
            self.hit(if unmapped { Path::MigrateRefs } else { Path::MigratePinned });
            self.remove_migration_ptes(cx, src, src).await;
            self.folio_unlock(cx, src);
            self.folio_unlock(cx, dst);
            self.folio_put(dst);
            return Err(Errno::EAGAIN);
        }
        self.hit(if order == 0 { Path::Migrated } else { Path::MigratedHuge });
        self.folio_add_lru(cx, dst);
        self.remove_migration_ptes(cx, src, dst).await;
        self.frames.set_mapping(src, Mapping::None);
        self.folio_unlock(cx, dst);
        self.folio_put(dst);
        self.folio_unlock(cx, src);
        self.folio_put(src);
        Ok(())
    }

    /// `folio_migrate_mapping` and `folio_migrate_copy`: false (-EAGAIN) if anybody else holds a
    /// reference. The source keeps its mapping until its migration entries are gone.
    fn folio_migrate_mapping(&self, cx: &Cx, src: Pfn, dst: Pfn) -> bool {
        let mapping = self.frames.mapping(src);
        let cached = matches!(mapping, Mapping::File(..));
        if self.frames.refcount(src) != 1 + i64::from(cached) {
            return false;
        }
        self.frames.set_mapping(dst, mapping);
        for i in 0..self.frames.nr_pages(src) {
            let data = self.frames.data(Pfn(src.0 + i));
            self.frames.set_data(Pfn(dst.0 + i), data);
        }
        if self.frames.dirty(src) && !self.has(Defect::MigrationLosesDirty) {
            self.frames.set_dirty(dst);
        }
        self.frames.set_partially_mapped(dst, self.frames.partially_mapped(src));
        self.publish(cx, dst, Birth::Migrate(self.frames.name(src)));
        if let Mapping::File(object, index) = mapping {
            self.folio_get(dst);
            self.cache_replace(object, index, src, dst);
            self.folio_put(src);
        }
        true
    }

    /// `offline_pages`, then online again: every folio of the block has to move to `normal`.
    pub(crate) async fn offline_pages(&self, cx: &Cx, place: Place) -> Result<(), Errno> {
        if place == Place::Normal {
            return Err(Errno::EINVAL);
        }
        let needed = self.zones.used(Place::Normal) + self.zones.used(place);
        if needed > self.shape.pages[Place::Normal as usize] {
            return Err(Errno::EBUSY);
        }
        // lru_cache_disable
        self.lru_disabled.set(true);
        self.lru_add_drain_all();
        // do_migrate_range: everything that can be isolated.
        let target = Target { place: Place::Normal, inject: false };
        for head in self.folios_in(place) {
            if self.folio_isolate_lru(head) {
                let _left_over = self.migrate_isolated(cx, head, Mode::Sync, target).await;
            }
        }
        self.lru_disabled.set(false);
        if self.zones.used(place) == 0 {
            self.hit(Path::OfflineDone);
            Ok(())
        } else {
            self.hit(Path::OfflineBusy);
            Err(Errno::EBUSY)
        }
    }

    /// Heads of the allocated folios of a place, by pfn.
    fn folios_in(&self, place: Place) -> Vec<Pfn> {
        self.folios().filter(|&head| self.frames.place(head) == place).collect()
    }
}
