//! Write faults on present read-only entries, and unsharing (ops 1.4 to 1.6, B4).

use program::{Birth, MmId, Site};

use crate::fault::Access;
use crate::ledger::FolioId;
use crate::mm::{Entry, Mapped, Page, Pmd};
use crate::state::{Done, State, Stop};
use crate::vma::Vma;

impl State {
    /// `do_wp_page`: a read-only PTE.
    pub fn do_wp_page(
        &mut self,
        mm: MmId,
        vpn: u32,
        vma: &Vma,
        entry: Entry,
        access: Access,
    ) -> Done {
        let Page::Of(folio, sub) = entry.page else {
            return self.wp_page_copy(mm, vpn, entry, access);
        };
        if vma.flags.shared {
            return self.wp_page_shared(mm, vpn, vma, entry, folio);
        }
        if self.now.copied {
            return self.wp_page_copy(mm, vpn, entry, access);
        }
        match self.anon_exclusive(Mapped { entry, huge: false }) {
            Some(true) => {}
            Some(false) if self.can_reuse_anon(folio) => {
                self.ledger.set_exclusive(folio, sub, true);
            }
            Some(false) | None => return self.wp_page_copy(mm, vpn, entry, access),
        }
        if access == Access::Write {
            self.set_entry(mm, vpn, Some(Entry { write: true, ..entry }));
        }
        Ok(())
    }

    /// `wp_can_reuse_anon_folio` (B4, K9). 6.12 never reuses a large folio here.
    pub fn can_reuse_anon(&mut self, id: FolioId) -> bool {
        let folio = self.ledger.folio(id);
        if folio.order > 0 {
            let mappings = folio.mapcount();
            return self.kernel.reuses_large_folios()
                && mappings > 1
                && !folio.mm_ids.maybe_shared()
                && folio.refcount() == mappings;
        }
        if folio.refcount() > 3 {
            return false;
        }
        if !folio.lru {
            self.lru_add_drain(self.now.cpu);
        }
        self.ledger.folio(id).refcount() == 1 && !self.is_locked(id)
    }

    /// `wp_page_copy`: a new exclusive page; writable unless this only unshares.
    fn wp_page_copy(&mut self, mm: MmId, vpn: u32, entry: Entry, access: Access) -> Done {
        self.anon_vma_prepare(mm, vpn);
        let copy = self.alloc(Site::Page, 0, Birth::Anon(mm, vpn), true)?;
        let data = self.copied_data(entry.page);
        self.map_new_anon(mm, vpn, copy, data, true, access == Access::Write);
        Ok(())
    }

    /// Rule 5, `page_mkwrite`. (Shmem has none: K8.)
    fn wp_page_shared(
        &mut self,
        mm: MmId,
        vpn: u32,
        vma: &Vma,
        entry: Entry,
        folio: FolioId,
    ) -> Done {
        let dirty = vma.wants_writenotify();
        if dirty {
            if self.is_locked(folio) {
                return Err(Stop::Sleep);
            }
            self.ledger.set_dirty(folio, true);
        }
        self.set_entry(mm, vpn, Some(Entry { write: true, dirty, ..entry }));
        Ok(())
    }

    /// Rule 6, a read-only huge PMD. After a split the fault goes on with rule 4.
    pub fn do_huge_pmd_wp_page(
        &mut self,
        mm: MmId,
        pmd: u32,
        entry: Entry,
        access: Access,
    ) -> Done {
        let Page::Of(folio, _) = entry.page else { return Ok(()) };
        if self.anon_exclusive(Mapped { entry, huge: true }) != Some(true) {
            if self.is_locked(folio) {
                return Err(Stop::Sleep);
            }
            if self.ledger.folio(folio).refcount() != 1 {
                self.split_huge_pmd(mm, pmd);
                return Ok(());
            }
            self.ledger.set_exclusive(folio, 0, true);
        }
        if access == Access::Write {
            self.set_pmd(mm, pmd, Pmd::Huge(Entry { write: true, ..entry }));
        }
        Ok(())
    }
}
