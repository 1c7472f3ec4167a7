//! The page cache of regular files and shmem objects (ops 0, 1.3).

use program::{Birth, Errno, FILE_PAGES, FILES, ObjectId, Site, on_disk};

use crate::folio::Owner;
use crate::ledger::FolioId;
use crate::state::{Done, State, Stop, fail};
use crate::vma::Vma;

fn slot(object: ObjectId) -> usize {
    match object {
        ObjectId::File(file) => usize::from(file),
        ObjectId::Shmem(area) => usize::from(FILES) + usize::from(area),
    }
}

impl State {
    /// The resident folio of a page of an object.
    pub fn resident(&self, object: ObjectId, index: u32) -> Option<FolioId> {
        self.cache.get(slot(object))?.get(index as usize).copied().flatten()
    }

    /// The cached folio behind `vpn`.
    pub fn cached(&self, vma: &Vma, vpn: u32) -> Option<FolioId> {
        self.resident(vma.flags.object?, vma.index(vpn))
    }

    /// Makes `new` the resident folio, and ends the residency of the one there was.
    pub fn set_resident(&mut self, object: ObjectId, index: u32, new: Option<FolioId>) {
        let slot = slot(object);
        if self.cache.len() <= slot {
            self.cache.resize(slot + 1, Vec::new());
        }
        let pages = &mut self.cache[slot];
        if pages.len() <= index as usize {
            pages.resize(index as usize + 1, None);
        }
        let old = std::mem::replace(&mut pages[index as usize], new);
        if let Some(folio) = new {
            self.ledger.relate(folio, Owner::Cache { object, index });
        }
        if let Some(folio) = old {
            self.ledger.unrelate(folio, Owner::Cache { object, index });
        }
    }

    /// The page-cache folio behind `vpn`, read in if need be.
    pub fn filemap_fault(&mut self, vma: &Vma, vpn: u32) -> Done<FolioId> {
        let index = vma.index(vpn);
        let Some(object) = vma.flags.object else { return fail(Errno::SIGBUS) };
        let data = match object {
            ObjectId::File(_) if index >= FILE_PAGES => return fail(Errno::SIGBUS),
            ObjectId::File(file) => on_disk(file, index),
            ObjectId::Shmem(_) => 0,
        };
        if let Some(folio) = self.resident(object, index) {
            return if self.is_locked(folio) { Err(Stop::Sleep) } else { Ok(folio) };
        }
        let folio = self.alloc(Site::Cache, 0, Birth::Cache(object, index), false)?;
        self.ledger.set_data(folio, 0, data);
        self.set_resident(object, index, Some(folio));
        self.lru_add(folio);
        Ok(folio)
    }

    /// A shmem object dies with the last VMA of any mm that maps it: its pages leave the cache,
    /// each under its folio lock (`shmem_undo_range`).
    pub fn evict_dead_shmem(&mut self) -> Done {
        for slot in usize::from(FILES)..self.cache.len() {
            if self.cache[slot].is_empty() {
                continue;
            }
            let object = ObjectId::Shmem((slot - usize::from(FILES)) as u8);
            let maps = |vma: &Vma| vma.flags.object == Some(object);
            if !self.mms.iter().any(|mm| mm.vmas.iter().any(maps)) {
                self.evict(object)?;
            }
        }
        Ok(())
    }

    fn evict(&mut self, object: ObjectId) -> Done {
        for index in 0..self.cache[slot(object)].len() as u32 {
            if let Some(folio) = self.resident(object, index) {
                if self.is_locked(folio) {
                    return Err(Stop::Sleep);
                }
                self.set_resident(object, index, None);
            }
        }
        self.cache[slot(object)].clear();
        Ok(())
    }

    /// The end of the machine: nothing holds a lock any more.
    pub fn evict_files(&mut self) {
        for slot in 0..self.cache.len().min(usize::from(FILES)) {
            let _ = self.evict(ObjectId::File(slot as u8));
        }
    }
}
