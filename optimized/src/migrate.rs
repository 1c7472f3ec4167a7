//! Page migration (kernel: `mm/migrate.c`) and a caller, compaction of one folio.

use program::{Birth, Errno, Mark, MmId, Mode, PageRef, Place, Seen, Site};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Mapping, Pfn};
use crate::world::{Cx, World};

/// Passes over a folio that fails for a reason that may go away. The kernel makes 10 (async), or
/// 3 async and 7 sync; smaller here, since alone on the machine nothing goes away.
const NR_MAX_MIGRATE_PASSES: u32 = 2;

/// Where destinations come from (`get_new_folio`).
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub place: Place,
    /// The step's injection applies.
    pub inject: bool,
}

/// How `migrate_folio_unmap` tries.
#[derive(Clone, Copy)]
struct Attempt {
    mode: Mode,
    /// For a part of a split folio: want of memory does not end the migration.
    part: bool,
}

/// What `migrate_folio_unmap` made of a folio.
enum Unmap {
    /// MIGRATEPAGE_UNMAP: migration entries everywhere, both folios locked.
    To(Pfn),
    /// MIGRATEPAGE_SUCCESS: freed from under us.
    Freed,
}

#[twice]
impl World {
    /// `migrate`: isolates the folio mapped at the address and migrates it.
    pub(crate) async fn migrate_at(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        mode: Mode,
    ) -> Result<(), Errno> {
        self.mmap_read_lock(mm).await;
        self.ptl_lock(cx, mm).await;
        let isolated = self.add_folio_for_migration(cx, mm, vpn).await;
        self.ptl_unlock(cx, mm);
        self.mmap_read_unlock(mm);
        let folio = isolated?;
        let target = Target { place: cx.place, inject: true };
        self.migrate_isolated(cx, vec![folio], mode, target).await
    }

    /// `add_folio_for_migration`: isolates the folio mapped at an address.
    async fn add_folio_for_migration(&self, cx: &Cx, mm: MmId, vpn: u32) -> Result<Pfn, Errno> {
        let head = self.folio_walk(cx, mm, vpn).ok_or(Errno::ENOENT)?;
        let racy = self.has(Defect::IsolateInTwoSteps) && self.frames.lru(head);
        if racy {
            self.machine.point().await;
            self.frames.set_lru(head, true); // as it looked
        }
        if self.folio_isolate_lru(cx, head) {
            return Ok(head);
        }
        self.hit(Path::MigrateNotLru);
        Err(Errno::EBUSY)
    }

    /// `migrate_pages` of isolated folios, then `putback_movable_pages` of what is left.
    pub(crate) async fn migrate_isolated(
        &self,
        cx: &Cx,
        mut from: Vec<Pfn>,
        mode: Mode,
        target: Target,
    ) -> Result<(), Errno> {
        let result = self.migrate_pages(cx, &mut from, mode, target).await;
        let empty = from.is_empty();
        for head in from {
            if !self.has(Defect::FailedMigrationNotPutBack) {
                self.folio_putback_lru(cx, head);
            }
        }
        match result {
            Ok(()) if !empty => Err(Errno::EAGAIN),
            result => result,
        }
    }

    /// `migrate_pages`: Err is -ENOMEM. What did not migrate is in `from` after it.
    async fn migrate_pages(
        &self,
        cx: &Cx,
        from: &mut Vec<Pfn>,
        mode: Mode,
        target: Target,
    ) -> Result<(), Errno> {
        let (mut parts, mut ret) = (Vec::new(), Vec::new());
        let batch = self.migrate_pages_batch(cx, from, &mut ret, Some(&mut parts), target);
        let mut result = batch.await;
        if result.is_ok() && mode == Mode::Sync {
            from.append(&mut ret);
            result = self.migrate_pages_sync(cx, from, &mut ret, &mut parts, target).await;
        }
        ret.append(from);
        if result.is_ok() && !parts.is_empty() {
            // With minimal effort; whether it worked shows in what is left.
            let _ = self.migrate_pages_batch(cx, &mut parts, &mut ret, None, target).await;
        }
        ret.append(&mut parts);
        *from = ret;
        result
    }

    /// The second half of `migrate_pages_sync`: what failed in the batch, one by one, sleeping.
    async fn migrate_pages_sync(
        &self,
        cx: &Cx,
        from: &mut Vec<Pfn>,
        ret: &mut Vec<Pfn>,
        parts: &mut Vec<Pfn>,
        target: Target,
    ) -> Result<(), Errno> {
        let mut rest = std::mem::take(from).into_iter();
        while let Some(src) = rest.next() {
            let one = self.migrate_one_sync(cx, src, parts, target).await;
            if let Err(errno) = one {
                ret.push(src);
                if errno == Errno::ENOMEM {
                    from.extend(rest);
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    async fn migrate_one_sync(
        &self,
        cx: &Cx,
        src: Pfn,
        parts: &mut Vec<Pfn>,
        target: Target,
    ) -> Result<(), Errno> {
        let target = Target { inject: false, ..target };
        if self.migrate_split(cx, src, true, parts).await {
            return Ok(());
        }
        let attempt = Attempt { mode: Mode::Sync, part: false };
        match self.migrate_folio_unmap(cx, src, attempt, target).await {
            Ok(Unmap::Freed) => Ok(()),
            Ok(Unmap::To(dst)) => self.migrate_folio_move(cx, src, dst).await,
            Err(Errno::ENOMEM) if self.migrate_split(cx, src, false, parts).await => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// `migrate_pages_batch`, asynchronous: unmaps all that it can, then moves it. What it could
    /// not unmap stays in `from`, what it could not move goes to `ret`. Without `parts` nothing is
    /// split, and one pass is made.
    async fn migrate_pages_batch(
        &self,
        cx: &Cx,
        from: &mut Vec<Pfn>,
        ret: &mut Vec<Pfn>,
        mut parts: Option<&mut Vec<Pfn>>,
        target: Target,
    ) -> Result<(), Errno> {
        let mut unmapped = Vec::new();
        let mut result = Ok(());
        let attempt = Attempt { mode: Mode::Async, part: parts.is_none() };
        let passes = if parts.is_some() { NR_MAX_MIGRATE_PASSES } else { 1 };
        for pass in 0..passes {
            let target = Target { inject: target.inject && pass == 0, ..target };
            let mut list = std::mem::take(from).into_iter();
            for src in list.by_ref() {
                if let Some(parts) = parts.as_deref_mut()
                    && self.migrate_split(cx, src, true, parts).await
                {
                    continue;
                }
                match self.migrate_folio_unmap(cx, src, attempt, target).await {
                    Ok(Unmap::Freed) => {}
                    Ok(Unmap::To(dst)) => unmapped.push((src, dst)),
                    Err(Errno::ENOMEM) => {
                        if let Some(parts) = parts.as_deref_mut()
                            && self.migrate_split(cx, src, false, parts).await
                        {
                            continue;
                        }
                        self.hit(Path::MigrateNoDst);
                        from.push(src);
                        result = Err(Errno::ENOMEM);
                        break;
                    }
                    Err(_) => from.push(src),
                }
            }
            from.extend(list);
            if result.is_err() || from.is_empty() {
                break;
            }
        }
        for (src, dst) in unmapped {
            if self.migrate_folio_move(cx, src, dst).await.is_err() {
                ret.push(src);
            }
        }
        result
    }

    /// `try_split_folio` of an isolated large folio, if it is `partially` mapped where that is
    /// asked: its pages, still isolated, go to `parts`, the last first.
    async fn migrate_split(
        &self,
        cx: &Cx,
        head: Pfn,
        partially: bool,
        parts: &mut Vec<Pfn>,
    ) -> bool {
        let candidate = !partially || self.frames.partially_mapped(head);
        if !self.frames.large(head) || !candidate || !self.folio_trylock(cx, head) {
            return false;
        }
        let split = self.split_folio(cx, head, true).await;
        self.folio_unlock(cx, head);
        if split {
            self.hit(Path::MigrateSplit);
            parts.extend((0..u32::from(self.shape.ptes)).rev().map(|i| Pfn(head.0 + i)));
        }
        split
    }

    /// `migrate_folio_unmap` of one isolated folio.
    async fn migrate_folio_unmap(
        &self,
        cx: &Cx,
        src: Pfn,
        attempt: Attempt,
        target: Target,
    ) -> Result<Unmap, Errno> {
        self.machine.point().await;
        let folio = self.frames.name(src);
        if self.frames.refcount(src) == 1 {
            // Freed from under us: the isolation holds the last reference.
            self.mark(cx, || (Mark::Unwanted { folio }, Seen::Flag(true)));
            self.folio_put(src);
            return Ok(Unmap::Freed);
        }
        let Some(dst) = self.get_new_folio(cx, src, target) else {
            let refused = Mark::Refused { site: Site::Dst, second: attempt.part };
            self.mark(cx, || (refused, Seen::Nothing));
            return Err(Errno::ENOMEM);
        };
        if !self.folio_trylock(cx, src) {
            if attempt.mode == Mode::Async {
                self.busy_mark(cx, src);
                self.hit(Path::MigrateLocked);
                self.folio_put(dst);
                return Err(Errno::EAGAIN);
            }
            self.folio_lock(cx, src).await;
        }
        self.folio_trylock(cx, dst);
        if self.try_to_migrate(cx, src).await {
            if self.frames.mapcount(src) == 0 {
                return Ok(Unmap::To(dst));
            }
            self.mark(cx, || (Mark::Unreached { folio }, Seen::Flag(true)));
        }
        self.hit(Path::MigratePinned);
        self.migrate_folio_undo(cx, src, dst).await;
        Err(Errno::EAGAIN)
    }

    /// `get_new_folio`: a destination.
    fn get_new_folio(&self, cx: &Cx, src: Pfn, target: Target) -> Option<Pfn> {
        if target.inject && self.refused(cx, Site::Dst) {
            return None;
        }
        let (order, anon) = (self.frames.order(src), self.frames.anon(src));
        self.folio_alloc_at(target.place, order, anon)
    }

    /// `migrate_folio_undo_src`, `migrate_folio_undo_dst`.
    async fn migrate_folio_undo(&self, cx: &Cx, src: Pfn, dst: Pfn) {
        self.remove_migration_ptes(cx, src, src).await;
        self.folio_unlock(cx, src);
        self.folio_unlock(cx, dst);
        self.folio_put(dst);
    }

    /// `migrate_folio_move` of a folio that was unmapped; undone if it fails.
    async fn migrate_folio_move(&self, cx: &Cx, src: Pfn, dst: Pfn) -> Result<(), Errno> {
        self.machine.point().await;
        let folio = self.frames.name(src);
        if !self.folio_migrate_mapping(src, dst, 0) {
            self.mark(cx, || (Mark::Move { folio, placed: None }, Seen::Flag(false)));
            self.hit(Path::MigrateRefs);
            self.migrate_folio_undo(cx, src, dst).await;
            return Err(Errno::EAGAIN);
        }
        self.folio_migrate_copy(cx, src, dst);
        self.hit(if self.frames.large(src) { Path::MigratedHuge } else { Path::Migrated });
        self.folio_add_lru(cx, dst);
        self.mark(cx, || {
            let placed = Some(self.frames.place(dst));
            let moved = PageRef::Of(self.frames.name(dst), 0);
            (Mark::Move { folio, placed }, Seen::Page(moved))
        });
        self.remove_migration_ptes(cx, src, dst).await;
        self.frames.set_mapping(src, Mapping::None);
        self.folio_unlock(cx, dst);
        self.put_mark(cx, dst);
        self.folio_put(dst);
        self.folio_unlock(cx, src);
        self.put_mark(cx, src);
        self.folio_put(src);
        Ok(())
    }

    /// `folio_migrate_mapping` and `folio_migrate_flags`: false (-EAGAIN) if anybody else than the
    /// migration and `extra` holds a reference. The source keeps its mapping until its migration
    /// entries are gone.
    pub(crate) fn folio_migrate_mapping(&self, src: Pfn, dst: Pfn, extra: i64) -> bool {
        let mapping = self.frames.mapping(src);
        let cached = matches!(mapping, Mapping::File(..));
        if self.frames.refcount(src) != 1 + i64::from(cached) + extra {
            return false;
        }
        self.frames.set_mapping(dst, mapping);
        if self.frames.dirty(src) && !self.has(Defect::MigrationLosesDirty) {
            self.frames.set_dirty(dst);
        }
        self.frames.set_partially_mapped(dst, self.frames.partially_mapped(src));
        true
    }

    /// `folio_copy`, and the slot in the page cache.
    fn folio_migrate_copy(&self, cx: &Cx, src: Pfn, dst: Pfn) {
        for i in 0..self.frames.nr_pages(src) {
            let data = self.frames.data(Pfn(src.0 + i));
            self.frames.set_data(Pfn(dst.0 + i), data);
        }
        self.publish(cx, dst, Birth::Migrate(self.frames.name(src)));
        if let Mapping::File(object, index) = self.frames.mapping(src) {
            self.folio_get(dst);
            self.cache_replace(object, index, src, dst);
            self.folio_put(src);
        }
    }
}
