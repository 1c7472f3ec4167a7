//! fork (ops 2, B4, K7).

use program::{Birth, EntryKind, Errno, MmId, Site, Uffd, VmaFlags};

use crate::mm::{Entry, Mapped, Page, Pmd, pmds};
use crate::state::{Done, State, Stop, fail};
use crate::vma::Vma;

impl State {
    /// A failed fork tears the child down; what was done to the parent stays (decision 22).
    pub fn fork(&mut self, mm: MmId, child: MmId) -> Done {
        self.mmap_write_lock(mm)?;
        self.create_mm(child);
        let copied = self.dup_mmap(mm, child);
        if let Err(Stop::Fail(_)) = copied {
            self.exit(child)?;
        }
        copied
    }

    fn dup_mmap(&mut self, mm: MmId, child: MmId) -> Done {
        for i in 0..self.mm(mm).vmas.len() {
            let vma = self.mm(mm).vmas[i];
            if vma.flags.dontfork {
                continue;
            }
            self.dup_vma(child, vma);
            // Decision 10: without an anon_vma a later fault finds everything again.
            if vma.anon_vma.is_some() {
                self.copy_page_range(mm, child, &vma)?;
            }
        }
        Ok(())
    }

    /// The child's VMA, with an anon_vma of its own.
    pub fn dup_vma(&mut self, child: MmId, vma: Vma) {
        let anon_vma = vma.anon_vma.map(|_| self.fresh_anon_vma());
        // Who registered the parent is not told of the child (no UFFD_FEATURE_EVENT_FORK).
        let flags = VmaFlags { uffd: Uffd::None, ..vma.flags };
        let forked = anon_vma.is_some();
        self.insert_vma(child, Vma { anon_vma, forked, flags, ..vma });
    }

    fn copy_page_range(&mut self, mm: MmId, child: MmId, vma: &Vma) -> Done {
        for (pmd, first, last) in pmds(vma.start, vma.end, self.ptes) {
            match self.pmd(mm, pmd) {
                Pmd::None => continue,
                Pmd::Huge(entry) => {
                    self.attempt(Site::Table)?;
                    if self.copy_huge_pmd(mm, child, pmd, entry) {
                        continue;
                    }
                }
                Pmd::Table => {}
            }
            self.table_for(child, first)?;
            self.install_table(child, first);
            for vpn in first..last {
                let Some(entry) = self.entry(mm, vpn) else { continue };
                if let Some(present) = self.copy_nonpresent_pte(mm, child, vpn, entry, vma)? {
                    self.copy_present_pte(mm, child, vpn, present, vma)?;
                }
            }
        }
        Ok(())
    }

    /// Shares the huge folio, or splits the PMD of a pinned one and says no.
    pub fn copy_huge_pmd(&mut self, mm: MmId, child: MmId, pmd: u32, entry: Entry) -> bool {
        let mapped = Mapped { entry, huge: true };
        if self.must_copy(mm, mapped) {
            self.split_huge_pmd(mm, pmd);
            return false;
        }
        let shared = self.share(mapped);
        self.set_pmd(mm, pmd, Pmd::Huge(shared));
        self.set_pmd(child, pmd, Pmd::Huge(shared));
        true
    }

    fn copy_present_pte(
        &mut self,
        mm: MmId,
        child: MmId,
        vpn: u32,
        entry: Entry,
        vma: &Vma,
    ) -> Done {
        let mapped = Mapped { entry, huge: false };
        if self.must_copy(mm, mapped) {
            return self.copy_present_page(child, vpn, entry, vma);
        }
        self.share_pte(mm, child, vpn, mapped);
        Ok(())
    }

    /// The child gets a copy.
    pub fn copy_present_page(&mut self, child: MmId, vpn: u32, entry: Entry, vma: &Vma) -> Done {
        let copy = self.alloc(Site::Page, 0, Birth::Anon(child, vpn), true)?;
        let data = self.ledger.data(entry.page);
        let (read, write) = (vma.is_readable(), vma.is_writable());
        self.map_new_anon(child, vpn, copy, data, read, write);
        Ok(())
    }

    /// Parent and child have the page, read-only.
    pub fn share_pte(&mut self, mm: MmId, child: MmId, vpn: u32, mapped: Mapped) {
        let shared = self.share(mapped);
        self.set_entry(mm, vpn, Some(shared));
        self.set_entry(child, vpn, Some(shared));
    }

    /// `copy_nonpresent_pte`: shares what is not present, read-only; a device-exclusive entry is
    /// restored first. Returns what is still to be copied.
    pub fn copy_nonpresent_pte(
        &mut self,
        mm: MmId,
        child: MmId,
        vpn: u32,
        entry: Entry,
        vma: &Vma,
    ) -> Done<Option<Entry>> {
        let kind = match entry.kind {
            EntryKind::Present => return Ok(Some(entry)),
            EntryKind::DeviceExclusive => {
                // K7: a page that cannot be locked at once fails the fork.
                if matches!(entry.page, Page::Of(folio, _) if self.is_locked(folio)) {
                    return fail(Errno::ENOMEM);
                }
                self.restore_exclusive(mm, vpn, vma, entry);
                return Ok(self.entry(mm, vpn));
            }
            EntryKind::Migration { .. } => EntryKind::Migration { exclusive: false },
            EntryKind::DevicePrivate => EntryKind::DevicePrivate,
        };
        let shared = Entry { kind, write: false, ..entry };
        if let (EntryKind::DevicePrivate, Page::Of(folio, sub)) = (kind, entry.page) {
            self.ledger.set_exclusive(folio, sub, false);
        }
        self.set_entry(mm, vpn, Some(shared));
        self.set_entry(child, vpn, Some(shared));
        Ok(None)
    }

    /// `folio_try_dup_anon_rmap`: an exclusive page that may be pinned is not shared (I4). The
    /// test is per folio (K7).
    pub fn must_copy(&self, mm: MmId, mapped: Mapped) -> bool {
        let Page::Of(folio, _) = mapped.entry.page else { return false };
        self.anon_exclusive(mapped) == Some(true)
            && self.mm(mm).has_pinned
            && self.ledger.folio(folio).maybe_pinned()
    }

    /// The entry of both parent and child: read-only, no longer exclusive.
    pub fn share(&mut self, mapped: Mapped) -> Entry {
        if let (Page::Of(folio, sub), Some(true)) = (mapped.entry.page, self.anon_exclusive(mapped))
        {
            self.ledger.set_exclusive(folio, sub, false);
        }
        Entry { write: false, ..mapped.entry }
    }
}
