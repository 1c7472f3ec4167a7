//! mmap, munmap, mprotect, exit (ops 2, B8).

use program::{AreaId, Backing, Errno, MmId, ObjectId, Prot, Span, Uffd, VmaFlags, digest};

use crate::mm::{Entry, Mapped, Page, Pmd, pmds};
use crate::state::{Done, State, fail};
use crate::vma::Vma;

impl State {
    pub fn mmap(
        &mut self,
        mm: MmId,
        area: AreaId,
        span: Span,
        backing: Backing,
        prot: Prot,
    ) -> Done {
        self.mmap_write_lock(mm)?;
        let (shared, object, pgoff) = match backing {
            Backing::AnonPrivate => (false, None, span.start),
            Backing::AnonShared => (true, Some(ObjectId::Shmem(area.0)), 0),
            Backing::FilePrivate { file, pgoff } => {
                (false, Some(ObjectId::File(file)), u32::from(pgoff))
            }
            Backing::FileShared { file, pgoff } => {
                (true, Some(ObjectId::File(file)), u32::from(pgoff))
            }
        };
        let (dontfork, hugepage, nohugepage) = (false, false, false);
        let uffd = Uffd::None;
        let flags = VmaFlags { prot, shared, dontfork, hugepage, nohugepage, uffd, object };
        let Span { start, end } = span;
        self.insert_vma(mm, Vma { start, end, flags, pgoff, anon_vma: None, forked: false });
        Ok(())
    }

    pub fn munmap(&mut self, mm: MmId, span: Span) -> Done {
        self.mmap_write_lock(mm)?;
        let Span { start, end } = span;
        if !self.mm(mm).vmas.iter().any(|vma| vma.intersects(start, end)) {
            return Ok(());
        }
        self.cut(mm, start);
        self.cut(mm, end);
        self.lru_add_drain(self.now.cpu);
        self.zap(mm, start, end);
        self.remove_vmas(mm, start, end);
        for (pmd, ..) in pmds(start, end, self.ptes) {
            let (first, last) = (pmd * self.ptes, (pmd + 1) * self.ptes);
            if !self.mm(mm).vmas.iter().any(|vma| vma.intersects(first, last)) {
                self.free_table(mm, pmd);
            }
        }
        self.evict_dead_shmem()
    }

    pub fn free_table(&mut self, mm: MmId, pmd: u32) {
        if self.pmd(mm, pmd) == Pmd::Table {
            self.set_pmd(mm, pmd, Pmd::None);
        }
    }

    /// `zap_page_range`: mappings and their references go, tables stay.
    pub fn zap(&mut self, mm: MmId, start: u32, end: u32) {
        for (pmd, first, last) in pmds(start, end, self.ptes) {
            match self.pmd(mm, pmd) {
                Pmd::None => continue,
                Pmd::Huge(entry) if last - first == self.ptes => {
                    self.set_pmd(mm, pmd, Pmd::None);
                    if let Page::Of(folio, _) = entry.page {
                        self.ledger.removed_mapping(folio, None);
                    }
                    continue;
                }
                Pmd::Huge(_) => self.split_huge_pmd(mm, pmd),
                Pmd::Table => {}
            }
            let mut from = first;
            while let Some(vpn) = self.mm(mm).first_entry(from, last) {
                self.zap_entry(mm, vpn);
                from = vpn + 1;
            }
        }
    }

    pub fn zap_entry(&mut self, mm: MmId, vpn: u32) {
        if let Some(entry) = self.entry(mm, vpn) {
            self.set_entry(mm, vpn, None);
            if entry.kind.maps() {
                self.removed_mapping(entry.page);
            }
        }
    }

    /// A PTE does not map the page any more.
    pub fn removed_mapping(&mut self, page: Page) {
        if let Page::Of(folio, sub) = page {
            self.ledger.removed_mapping(folio, Some(sub));
        }
    }

    /// `do_mprotect_pkey`: VMA by VMA until a hole.
    pub fn mprotect(&mut self, mm: MmId, span: Span, prot: Prot) -> Done {
        self.mmap_write_lock(mm)?;
        let mut at = span.start;
        while at < span.end {
            let Some(vma) = self.vma(mm, at) else { return fail(Errno::ENOMEM) };
            let end = vma.end.min(span.end);
            if vma.flags.prot != prot {
                let flags = VmaFlags { prot, ..vma.flags };
                self.set_vma_flags(mm, at, end, flags);
                self.change_protection(mm, at, end, &Vma { flags, ..vma });
            }
            at = end;
        }
        Ok(())
    }

    /// Entries of a piece whose VMA has its new protection. Huge PMDs lie wholly inside, since
    /// cutting the VMA has split the others.
    fn change_protection(&mut self, mm: MmId, start: u32, end: u32, vma: &Vma) {
        for (pmd, first, last) in pmds(start, end, self.ptes) {
            match self.pmd(mm, pmd) {
                Pmd::None => {}
                Pmd::Huge(_) => self.protect(mm, first, vma),
                Pmd::Table => (first..last).for_each(|vpn| self.protect(mm, vpn, vma)),
            }
        }
    }

    /// The entry, if there is one, gets the protection of its VMA.
    pub fn protect(&mut self, mm: MmId, vpn: u32, vma: &Vma) {
        let pmd = vpn / self.ptes;
        if let Pmd::Huge(entry) = self.pmd(mm, pmd) {
            let entry = self.protected(Mapped { entry, huge: true }, vma);
            self.set_pmd(mm, pmd, Pmd::Huge(entry));
        } else if let Some(entry) = self.entry(mm, vpn) {
            let entry = self.protected(Mapped { entry, huge: false }, vma);
            self.set_entry(mm, vpn, Some(entry));
        }
    }

    /// `pte_modify` and `can_change_pte_writable` (B4, K8): write comes back only where no fault
    /// is needed to tell: shmem, dirty pages of a dirty-tracked file, exclusive anonymous pages.
    /// What is not present loses it for good.
    fn protected(&self, mapped: Mapped, vma: &Vma) -> Entry {
        if !mapped.entry.is_present() {
            return self.without_write(mapped.entry);
        }
        let upgrade = if vma.wants_writenotify() {
            mapped.entry.dirty
        } else {
            vma.flags.shared || self.anon_exclusive(mapped) == Some(true)
        };
        Entry { read: vma.is_readable(), write: vma.is_writable() && upgrade, ..mapped.entry }
    }

    pub fn exit(&mut self, mm: MmId) -> Done {
        self.mmap_write_lock(mm)?;
        // `exit_mmap` leaves early when there is no VMA.
        if !self.mm(mm).vmas.is_empty() {
            self.lru_add_drain(self.now.cpu);
        }
        self.exit_mmap(mm);
        self.evict_dead_shmem()
    }

    fn exit_mmap(&mut self, mm: MmId) {
        let mapped = self.mm(mm).vmas.last().map_or(0, |vma| vma.end);
        self.zap(mm, 0, mapped);
        for vma in &self.mms[usize::from(mm.0)].vmas {
            self.ledger.sub(digest::vma(mm, vma.start, vma.end, vma.flags));
        }
        for pmd in 0..self.mm(mm).pmds.len() as u32 {
            self.free_table(mm, pmd);
        }
        self.end_mm(mm);
    }

    /// The address space, which is empty, is gone.
    pub fn end_mm(&mut self, mm: MmId) {
        if self.mm(mm).has_pinned {
            self.ledger.sub(digest::has_pinned(mm));
        }
        self.ledger.sub(digest::mm(mm));
        self.mm_mut(mm).clear();
    }
}
