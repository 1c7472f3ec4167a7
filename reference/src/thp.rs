//! Huge folios: fault, PMD split, folio split, collapse (ops 0, 1.1, 2, 4; B7, K1, K11).

use program::{Birth, Errno, MmId, Site, Thp, Uffd};

use crate::folio::{Folio, Owner};
use crate::ledger::FolioId;
use crate::mm::{Entry, Page, Pmd};
use crate::state::{Done, State, Stop, fail};
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
    fn map_new_huge(&mut self, mm: MmId, pmd: u32, folio: FolioId, write: bool) {
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

    /// `madvise_collapse` on a piece of a VMA (B7, decision 16).
    pub fn madvise_collapse(&mut self, mm: MmId, vma: &Vma, start: u32, end: u32) -> Done {
        let contains_huge = vma.start.next_multiple_of(self.ptes) + self.ptes <= vma.end;
        let eligible = vma.is_anonymous() && vma.anon_vma.is_some() && contains_huge;
        if !eligible || vma.flags.nohugepage {
            return fail(Errno::EINVAL);
        }
        self.lru_add_drain_all();
        let (start, end) = (start.div_ceil(self.ptes), end / self.ptes);
        if start > end {
            return fail(Errno::EINVAL);
        }
        let mut result = Ok(());
        for pmd in start..end {
            match self.pmd(mm, pmd) {
                Pmd::Huge(_) => {}
                Pmd::None => return fail(Errno::EINVAL),
                Pmd::Table => match self.collapse_scan(mm, pmd, vma) {
                    Err(Stop::Fail(Errno::EBUSY)) => return fail(Errno::EBUSY),
                    Ok(not_present) => match self.collapse_huge_page(mm, pmd, vma, not_present)? {
                        Ok(()) => {}
                        Err(stop) => result = Err(stop),
                    },
                    Err(stop) => result = Err(stop),
                },
            }
        }
        result
    }

    /// `hpage_collapse_scan_pmd`: the first PTE in the way; read-only last. Whether some are not
    /// present: those are faulted in later.
    fn collapse_scan(&self, mm: MmId, pmd: u32, vma: &Vma) -> Done<bool> {
        let registered = vma.flags.uffd != Uffd::None;
        let (mut writable, mut not_present) = (false, false);
        for vpn in pmd * self.ptes..(pmd + 1) * self.ptes {
            let found = self.entry(mm, vpn).filter(|entry| entry.page != Page::Zero);
            let Some(entry) = found else {
                // Decision 13: who registered wants to hear of what is missing.
                if registered {
                    return fail(Errno::EBUSY);
                }
                continue;
            };
            if !entry.is_present() {
                not_present = true;
                continue;
            }
            let Page::Of(folio, _) = entry.page else { continue };
            writable |= entry.write;
            let folio = self.ledger.folio(folio);
            if folio.place.is_zone_device() {
                return fail(Errno::EINVAL);
            }
            if !folio.lru || folio.locked().is_some() || folio.refcount() != folio.mapcount() {
                return fail(Errno::EAGAIN);
            }
        }
        let allowed = writable || self.kernel.collapses_read_only();
        if allowed { Ok(not_present) } else { fail(Errno::EINVAL) }
    }

    /// `collapse_huge_page`: copies into a new huge folio. The old pages lose this mapping; the
    /// table is deposited. The outer error ends the
    /// whole call, the inner one this PMD alone.
    fn collapse_huge_page(
        &mut self,
        mm: MmId,
        pmd: u32,
        vma: &Vma,
        not_present: bool,
    ) -> Done<Done> {
        let birth = Birth::Huge(mm, pmd);
        let huge = self.alloc(Site::Huge, self.huge_order(), birth, true)?;
        if not_present {
            let faulted = self.collapse_swapin(mm, pmd);
            let checked = faulted.map(|()| self.collapse_scan(mm, pmd, vma));
            if !matches!(checked, Ok(Ok(_))) {
                self.unborn(huge, birth);
                return checked.map(|scan| scan.map(drop));
            }
        }
        for sub in 0..self.ptes {
            let vpn = pmd * self.ptes + sub;
            if let Some(entry) = self.entry(mm, vpn) {
                self.ledger.set_data(huge, sub, self.ledger.data(entry.page));
                self.zap_entry(mm, vpn);
            }
        }
        self.map_new_huge(mm, pmd, huge, vma.is_writable());
        Ok(Ok(()))
    }

    /// `__collapse_huge_page_swapin`: what is not present is faulted in. A failure ends the call.
    fn collapse_swapin(&mut self, mm: MmId, pmd: u32) -> Done {
        for vpn in pmd * self.ptes..(pmd + 1) * self.ptes {
            let absent = self.entry(mm, vpn).filter(|entry| !entry.is_present());
            let (Some(entry), Some(vma)) = (absent, self.vma(mm, vpn)) else { continue };
            self.do_swap_page(mm, vpn, &vma, entry).map_err(|stop| match stop {
                Stop::Fail(_) => Stop::Fail(Errno::EINVAL),
                sleep => sleep,
            })?;
        }
        self.lru_add_drain(self.now.cpu);
        Ok(())
    }
}
