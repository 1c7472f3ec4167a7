//! Huge folios: fault, PMD split, folio split, collapse (ops 0, 1.1, 2, 4; B7, K1, K11).

use program::{Birth, Errno, MmId, Site, Thp};

use crate::folio::{Folio, Owner};
use crate::ledger::FolioId;
use crate::mm::{Entry, Page, Pmd};
use crate::state::{Done, State, fail};
use crate::vma::Vma;

impl State {
    /// Whether a write fault on this empty PMD maps a huge folio.
    pub fn thp_eligible(&self, vma: &Vma, pmd: u32) -> bool {
        let allowed = match self.shape.thp {
            Thp::Always => !vma.flags.nohugepage,
            Thp::Madvise => vma.flags.hugepage,
            Thp::Never => false,
        };
        allowed && vma.is_anonymous() && vma.contains(pmd * self.ptes, (pmd + 1) * self.ptes)
    }

    /// Rule 1: whether it mapped one. No folio: fall back; no table to deposit: ENOMEM (K11).
    pub fn do_huge_pmd_anonymous_page(&mut self, mm: MmId, pmd: u32, vma: &Vma) -> Done<bool> {
        self.anon_vma_prepare(mm, pmd * self.ptes);
        let birth = Birth::Huge(mm, pmd);
        let Ok(folio) = self.alloc(Site::Huge, self.huge_order(), birth, true) else {
            return Ok(false);
        };
        let table = self.attempt(Site::Table);
        if let Err(stop) = table.and_then(|()| self.handle_userfault(vma)) {
            self.unborn(folio, birth);
            return Err(stop);
        }
        self.map_new_huge(mm, pmd, folio, true);
        Ok(true)
    }

    /// Maps a new huge folio: ref 1, the PMD; a large folio does not stay in a batch (B2).
    pub fn map_new_huge(&mut self, mm: MmId, pmd: u32, folio: FolioId, write: bool) {
        self.ledger.set_exclusive(folio, 0, true);
        let entry = Entry::present(Page::Of(folio, 0), true, write);
        self.set_pmd(mm, pmd, Pmd::Huge(entry));
        self.lru_add(folio);
    }

    /// `__split_huge_pmd`: the same mapping by N PTEs; AE of the head becomes AE of all (B7).
    pub fn split_huge_pmd(&mut self, mm: MmId, pmd: u32) {
        let Pmd::Huge(entry) = self.pmd(mm, pmd) else { return };
        let Page::Of(folio, _) = entry.page else { return };
        let exclusive = self.ledger.folio(folio).pages[0].exclusive;
        for sub in 0..self.ptes {
            let page = Page::Of(folio, sub);
            self.set_entry(mm, pmd * self.ptes + sub, Some(Entry { page, ..entry }));
            if exclusive {
                self.ledger.set_exclusive(folio, sub, true);
            }
        }
        self.set_pmd(mm, pmd, Pmd::Table);
    }

    /// `split_huge_pages_pid` on one page.
    pub fn split_folio(&mut self, mm: MmId, vpn: u32) -> Done {
        let Some(id) = self.folio_at(mm, vpn) else { return fail(Errno::ENOENT) };
        let folio = self.ledger.folio(id);
        if folio.order == 0 {
            return fail(Errno::EINVAL);
        }
        if folio.refcount() != folio.mapcount() {
            return fail(Errno::EAGAIN);
        }
        if folio.locked().is_some() {
            return fail(Errno::EBUSY);
        }
        self.ledger.relate(id, Owner::Operation);
        for page in self.split(id) {
            self.ledger.set_lru(page, true);
            self.ledger.unrelate(page, Owner::Operation);
        }
        Ok(())
    }

    /// *Split*: the folio's pages become folios of order 0, each still held by the operation,
    /// which must hold the folio. A page of zeroes loses its mappings to the zero page (K1).
    pub fn split(&mut self, id: FolioId) -> Vec<FolioId> {
        for owner in self.ledger.folio(id).owners.clone() {
            if let Owner::Pmd { mm, pmd } = owner {
                self.split_huge_pmd(mm, pmd);
            }
        }
        let pages = self.parts(id);
        for owner in self.ledger.folio(id).owners.clone() {
            let Owner::Pte { mm, vpn, sub } = owner else { continue };
            let Some(entry) = self.entry(mm, vpn) else { continue };
            let page = pages[sub as usize];
            self.set_entry(mm, vpn, Some(Entry { page: Page::Of(page, 0), ..entry }));
            if self.ledger.data(Page::Of(page, 0)) == 0 {
                // A mapped page lost AE on the way to its migration entry; no mapping restores it.
                self.ledger.set_exclusive(page, 0, false);
                self.use_zero_page(mm, vpn);
            }
        }
        self.ledger.unrelate(id, Owner::Operation);
        pages
    }

    /// `try_to_map_unused_to_zeropage`: what maps a page of zeroes maps the zero page.
    pub fn use_zero_page(&mut self, mm: MmId, vpn: u32) {
        let Some(vma) = self.vma(mm, vpn) else { return };
        let zero = Entry::present(Page::Zero, vma.is_readable(), false);
        self.set_entry(mm, vpn, Some(zero));
    }

    /// A folio for each page of one that is split, held by the operation.
    pub fn parts(&mut self, id: FolioId) -> Vec<FolioId> {
        let Folio { name, place, isolated, .. } = *self.ledger.folio(id);
        let contents = self.ledger.folio(id).pages.clone();
        let mut pages = Vec::with_capacity(contents.len());
        for (sub, content) in (0..).zip(contents) {
            let page = self.born(Birth::Split(name, sub), 0, place, true);
            self.ledger.relate(page, Owner::Operation);
            self.ledger.set_isolated(page, isolated);
            self.ledger.set_exclusive(page, 0, content.exclusive);
            self.ledger.set_data(page, 0, content.data);
            pages.push(page);
        }
        pages
    }
}
