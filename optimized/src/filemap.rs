//! The page cache (kernel: `mm/filemap.c`, `mm/shmem.c`, `mm/truncate.c`).

use program::{Birth, FILE_PAGES, Foll as FollKind, Mark, ObjectId, Seen, Site, digest, on_disk};

use crate::coverage::Path;
use crate::frame::{Mapping, Pfn};
use crate::memory::{Fault, Vmf};
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `filemap_get_folio`, without a reference.
    fn cached(&self, object: ObjectId, index: u32) -> Option<Pfn> {
        let cache = self.cache.borrow();
        cache.iter().find(|(o, i, _)| (*o, *i) == (object, index)).map(|entry| entry.2)
    }

    /// `filemap_fault`, `shmem_fault`: the folio for the faulting page, locked and held.
    pub(crate) async fn filemap_fault(&self, cx: &Cx, vmf: &Vmf) -> Result<Pfn, Fault> {
        let Vmf { mm, ref vma, vpn, .. } = *vmf;
        let Some(object) = vma.flags.object else { return Err(Fault::Sigbus) };
        let index = vma.pgoff_of(vpn);
        if matches!(object, ObjectId::File(_)) && index >= FILE_PAGES {
            self.hit(Path::BeyondEof);
            self.mark(cx, || (Mark::BeyondEof { mm, vpn }, Seen::Flag(true)));
            return Err(Fault::Sigbus);
        }
        loop {
            self.machine.lap(&(cx.number, vpn, cx.attempt.get()));
            self.machine.point().await;
            if let Some(pfn) = self.cached(object, index) {
                self.hold(cx, pfn, 1, FollKind::Get);
                if !self.folio_trylock(cx, pfn) {
                    self.lock_folio_maybe_drop_mmap(cx, vmf, pfn).await?;
                }
                if self.frames.mapping(pfn) == Mapping::File(object, index) {
                    return Ok(pfn);
                }
                // Truncated or migrated meanwhile.
                self.folio_unlock(cx, pfn);
                self.unhold(cx, pfn, 1, FollKind::Get);
                continue;
            }
            // The allocation reference is the fault's; the cache takes its own.
            let pfn = self.folio_alloc(cx, Site::Cache, 0, false).ok_or(Fault::Oom)?;
            if self.filemap_add_folio(cx, object, index, pfn).await {
                return Ok(pfn);
            }
            self.folio_put(pfn);
        }
    }

    /// `filemap_add_folio`, locked. False: -EEXIST.
    async fn filemap_add_folio(&self, cx: &Cx, object: ObjectId, index: u32, pfn: Pfn) -> bool {
        self.machine.point().await;
        if self.cached(object, index).is_some() {
            return false;
        }
        self.folio_trylock(cx, pfn);
        self.frames.set_mapping(pfn, Mapping::File(object, index));
        if let ObjectId::File(file) = object {
            self.frames.set_data(pfn, on_disk(file, index));
        }
        self.publish(cx, pfn, Birth::Cache(object, index));
        self.cache_insert(object, index, pfn);
        self.folio_get(pfn);
        self.folio_add_lru(cx, pfn);
        self.mark(cx, || {
            let placed = self.frames.place(pfn);
            (Mark::CacheAdd { object, index, placed }, Seen::Page(self.page_ref(pfn)))
        });
        self.hold_mark(cx, pfn, 1, FollKind::Get);
        true
    }

    /// `lock_folio_maybe_drop_mmap`: a fault that may be made again does not sleep with its lock.
    async fn lock_folio_maybe_drop_mmap(&self, cx: &Cx, vmf: &Vmf, pfn: Pfn) -> Result<(), Fault> {
        let retry = vmf.allow_retry();
        if retry {
            self.release_fault_lock(vmf);
        }
        self.folio_lock(cx, pfn).await;
        if !retry {
            return Ok(());
        }
        self.folio_unlock(cx, pfn);
        self.unhold(cx, pfn, 1, FollKind::Get);
        Err(Fault::Retry)
    }

    fn cache_insert(&self, object: ObjectId, index: u32, pfn: Pfn) {
        self.cache.borrow_mut().push((object, index, pfn));
        self.frames.add(digest::cache(object, index, self.frames.name(pfn)));
    }

    /// `xas_store(&xas, newfolio)` of `__folio_migrate_mapping`: the slot now holds `new`.
    pub(crate) fn cache_replace(&self, object: ObjectId, index: u32, old: Pfn, new: Pfn) {
        let mut cache = self.cache.borrow_mut();
        if let Some(entry) = cache.iter_mut().find(|entry| entry.2 == old) {
            entry.2 = new;
        }
        self.frames.sub(digest::cache(object, index, self.frames.name(old)));
        self.frames.add(digest::cache(object, index, self.frames.name(new)));
    }

    /// `truncate_inode_pages` of an object that died, or of every file at the end of the machine.
    pub(crate) async fn truncate_inode_pages(&self, cx: &Cx, of: impl Fn(ObjectId) -> bool) {
        loop {
            // find_lock_entries
            let found = self.cache.borrow().iter().find(|entry| of(entry.0)).copied();
            let Some((object, index, pfn)) = found else { return };
            self.hold(cx, pfn, 1, FollKind::Get);
            self.folio_lock(cx, pfn).await;
            if self.frames.mapping(pfn) == Mapping::File(object, index) {
                self.hit(Path::Truncate);
                self.filemap_remove_folio(cx, object, index, pfn);
            }
            self.folio_unlock(cx, pfn);
            self.unhold(cx, pfn, 1, FollKind::Get);
        }
    }

    /// `filemap_remove_folio`, under the folio lock.
    fn filemap_remove_folio(&self, cx: &Cx, object: ObjectId, index: u32, pfn: Pfn) {
        self.cache.borrow_mut().retain(|entry| entry.2 != pfn);
        self.frames.sub(digest::cache(object, index, self.frames.name(pfn)));
        self.frames.set_mapping(pfn, Mapping::None);
        self.mark(cx, || (Mark::Evict { object, index }, Seen::Flag(true)));
        self.folio_put(pfn);
    }

    /// `shmem_evict_inode` for every shmem object that no VMA maps any more.
    pub(crate) async fn evict_dead_shmem(&self, cx: &Cx) {
        let shmem = |object: ObjectId| matches!(object, ObjectId::Shmem(_));
        if !self.cache.borrow().iter().any(|entry| shmem(entry.0)) {
            return;
        }
        let mapped = |object: ObjectId| {
            self.live_mms().any(|mm| {
                let vmas = self.mm(mm).vmas.borrow();
                vmas.iter().any(|vma| vma.flags.object == Some(object))
            })
        };
        self.truncate_inode_pages(cx, |object| shmem(object) && !mapped(object)).await;
    }
}
