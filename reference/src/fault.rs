//! CPU access and page faults (ops 1, B3).

use program::{Birth, Errno, FILE_PAGES, MmId, ObjectId, Ret, Site, Span, written};

use crate::ledger::FolioId;
use crate::mm::{Entry, Page, Pmd};
use crate::state::{Done, State, fail};
use crate::vma::Vma;

pub(crate) use program::Access;

impl State {
    /// CPU reads.
    pub fn read(&mut self, mm: MmId, span: Span, values: &mut Vec<u64>) -> Done<Ret> {
        for vpn in span.start..span.end {
            let page = self.access(mm, vpn, Access::Read)?;
            values.push(self.ledger.data(page));
        }
        Ok(Ret::Ok(span.end - span.start))
    }

    /// CPU writes. (A writable PTE of a dirty-tracked mapping is dirty already: rule 5.)
    pub fn write(&mut self, mm: MmId, span: Span) -> Done<Ret> {
        for (i, vpn) in (0..).zip(span.start..span.end) {
            if let Page::Of(folio, sub) = self.access(mm, vpn, Access::Write)? {
                self.ledger.set_data(folio, sub, written(self.now.number, i));
            }
        }
        Ok(Ret::Ok(span.end - span.start))
    }

    /// Faults until the entry permits the access.
    fn access(&mut self, mm: MmId, vpn: u32, access: Access) -> Done<Page> {
        loop {
            match self.translate(mm, vpn).map(|mapped| mapped.entry) {
                Some(e) if e.read && (e.write || access == Access::Read) => return Ok(e.page),
                _ => self.fault(mm, vpn, access)?,
            }
        }
    }

    /// `handle_mm_fault`, after the permission check of `do_user_addr_fault`.
    pub fn fault(&mut self, mm: MmId, vpn: u32, access: Access) -> Done {
        let Some(vma) = self.vma(mm, vpn) else { return fail(Errno::SIGSEGV) };
        let permitted = match access {
            Access::Write => vma.is_writable(),
            Access::Read | Access::Unshare => vma.is_readable(),
        };
        if !permitted {
            return fail(Errno::SIGSEGV);
        }
        let pmd = vpn / self.ptes;
        match self.pmd(mm, pmd) {
            Pmd::Huge(entry) if access == Access::Read || entry.write => return Ok(()),
            Pmd::Huge(entry) => {
                self.do_huge_pmd_wp_page(mm, pmd, entry, access)?;
                if matches!(self.pmd(mm, pmd), Pmd::Huge(_)) {
                    return Ok(());
                }
            }
            Pmd::None if access == Access::Write && self.thp_eligible(&vma, pmd) => {
                if self.do_huge_pmd_anonymous_page(mm, pmd, &vma)? {
                    return Ok(());
                }
            }
            Pmd::None | Pmd::Table => {}
        }
        match self.entry(mm, vpn) {
            Some(entry) if !entry.is_present() => self.do_swap_page(mm, vpn, &vma, entry),
            Some(entry) if access == Access::Read || entry.write => Ok(()),
            Some(entry) => self.do_wp_page(mm, vpn, &vma, entry, access),
            None if vma.is_anonymous() => self.do_anonymous_page(mm, vpn, &vma, access),
            None => self.do_fault(mm, vpn, &vma, access),
        }
    }

    /// Rule 2. A table stays even if the page fails.
    fn do_anonymous_page(&mut self, mm: MmId, vpn: u32, vma: &Vma, access: Access) -> Done {
        self.table_for(mm, vpn)?;
        self.install_table(mm, vpn);
        if access != Access::Write {
            self.handle_userfault(vma)?;
            let zero = Entry::present(Page::Zero, true, false);
            self.set_entry(mm, vpn, Some(zero));
            return Ok(());
        }
        self.anon_vma_prepare(mm, vpn);
        let birth = Birth::Anon(mm, vpn);
        let folio = self.alloc(Site::Page, 0, birth, true)?;
        if let Err(stop) = self.handle_userfault(vma) {
            self.unborn(folio, birth);
            return Err(stop);
        }
        self.map_new_anon(mm, vpn, folio, 0, true, true);
        Ok(())
    }

    /// Maps a new exclusive anonymous page with this content: ref 2, the PTE and the batch (B2).
    /// An older entry's mapping goes.
    pub fn map_new_anon(
        &mut self,
        mm: MmId,
        vpn: u32,
        folio: FolioId,
        data: u64,
        read: bool,
        write: bool,
    ) {
        self.ledger.set_data(folio, 0, data);
        self.ledger.set_exclusive(folio, 0, true);
        let old = self.translate(mm, vpn).map(|mapped| mapped.entry.page);
        let entry = Entry::present(Page::Of(folio, 0), read, write);
        self.set_entry(mm, vpn, Some(entry));
        self.lru_add(folio);
        if let Some(old) = old {
            self.removed_mapping(old);
        }
    }

    /// Rule 3: object-backed VMAs.
    fn do_fault(&mut self, mm: MmId, vpn: u32, vma: &Vma, access: Access) -> Done {
        if access == Access::Write && !vma.flags.shared {
            return self.do_cow_fault(mm, vpn, vma);
        }
        if access == Access::Read && self.do_fault_around(mm, vpn, vma)? {
            return Ok(());
        }
        self.table_for(mm, vpn)?;
        let folio = self.filemap_fault(vma, vpn)?;
        self.install_table(mm, vpn);
        // K8: shmem is writable at once where the VMA is; a regular file waits for a write.
        let shmem = vma.flags.shared && !vma.wants_writenotify();
        let write = access == Access::Write || (shmem && vma.is_writable());
        let dirty = access == Access::Write && vma.wants_writenotify();
        let entry = Entry { dirty, ..Entry::present(Page::Of(folio, 0), true, write) };
        self.set_entry(mm, vpn, Some(entry));
        if dirty {
            self.ledger.set_dirty(folio, true);
        }
        Ok(())
    }

    /// `do_fault_around`, where it is switched on (decision 4): maps what is cached in a window
    /// around `vpn`, and says whether that page was.
    fn do_fault_around(&mut self, mm: MmId, vpn: u32, vma: &Vma) -> Done<bool> {
        let pages = self.kernel.fault_around();
        if pages == 1 {
            return Ok(false);
        }
        let table = vpn / self.ptes * self.ptes;
        let from = (vpn / pages * pages).max(table).max(vma.start);
        let to = (from + pages).min(table + self.ptes).min(vma.end);
        self.table_for(mm, vpn)?;
        if self.kernel.last_page_makes_no_table() && self.pmd(mm, vpn / self.ptes) == Pmd::None {
            let regular = matches!(vma.flags.object, Some(ObjectId::File(_)));
            let first = (from..to).find(|&near| self.cached(vma, near).is_some());
            let last = first.is_some_and(|first| vma.index(first) == FILE_PAGES - 1);
            // Inside the file the fault comes again when its page was read, and finds that first.
            if regular && last && vma.index(vpn) >= FILE_PAGES {
                return Ok(false);
            }
        }
        for near in from..to {
            let Some(folio) = self.cached(vma, near).filter(|&folio| !self.is_locked(folio)) else {
                continue;
            };
            if self.entry(mm, near).is_none() {
                self.install_table(mm, vpn);
                let write = vma.flags.shared && !vma.wants_writenotify() && vma.is_writable();
                let page = Page::Of(folio, 0);
                let entry = Entry::present(page, true, write);
                self.set_entry(mm, near, Some(entry));
            }
        }
        Ok(self.entry(mm, vpn).is_some())
    }

    fn do_cow_fault(&mut self, mm: MmId, vpn: u32, vma: &Vma) -> Done {
        self.anon_vma_prepare(mm, vpn);
        let birth = Birth::Anon(mm, vpn);
        let copy = self.alloc(Site::Page, 0, birth, true)?;
        let source = self.table_for(mm, vpn).and_then(|()| self.filemap_fault(vma, vpn));
        match source {
            Ok(source) => {
                self.install_table(mm, vpn);
                let data = self.copied_data(Page::Of(source, 0));
                self.map_new_anon(mm, vpn, copy, data, true, true);
                Ok(())
            }
            Err(stop) => {
                self.unborn(copy, birth);
                Err(stop)
            }
        }
    }

    /// The attempt at a table, if the PMD has none.
    pub fn table_for(&mut self, mm: MmId, vpn: u32) -> Done {
        match self.pmd(mm, vpn / self.ptes) {
            Pmd::None => self.attempt(Site::Table),
            Pmd::Table | Pmd::Huge(_) => Ok(()),
        }
    }

    pub fn install_table(&mut self, mm: MmId, vpn: u32) {
        if self.pmd(mm, vpn / self.ptes) == Pmd::None {
            self.set_pmd(mm, vpn / self.ptes, Pmd::Table);
        }
    }
}
