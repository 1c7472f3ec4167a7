//! Transparent huge pages: fault, write fault, PMD split, folio split (kernel: `mm/huge_memory.c`).

use program::{Birth, Errno, Foll, Mark, MmId, Seen, Site, Thp};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::memory::{Access, Fault, Vmf, mkwrite, page_prot};
use crate::pgtable::{Bits, Pmd, Pte, Table};
use crate::rmap::Walked;
use crate::vma::Vma;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `thp_vma_suitable_order` for the PMD number given.
    pub(crate) fn thp_vma_suitable(&self, vma: &Vma, pmd: u32) -> bool {
        let start = self.pmd_start(pmd);
        vma.anonymous() && vma.start <= start && start + u32::from(self.shape.ptes) <= vma.end
    }

    /// `thp_vma_allowable_order` in a fault (TVA_IN_PF | TVA_ENFORCE_SYSFS).
    pub(crate) fn thp_vma_allowable(&self, vmf: &Vmf) -> bool {
        let flags = vmf.vma.flags;
        let enabled = match self.shape.thp {
            Thp::Always => !flags.nohugepage,
            Thp::Madvise => flags.hugepage,
            Thp::Never => false,
        };
        enabled && self.thp_vma_suitable(&vmf.vma, self.pmd_number(vmf.vpn))
    }

    /// `do_huge_pmd_anonymous_page`. Ok(false) is VM_FAULT_FALLBACK.
    pub(crate) async fn do_huge_pmd_anonymous_page(
        &self,
        cx: &Cx,
        vmf: &Vmf,
    ) -> Result<bool, Fault> {
        self.vmf_anon_prepare(cx, vmf).await?;
        let Some(pfn) = self.folio_alloc(cx, Site::Huge, self.hpage_order(), true) else {
            self.hit(Path::ThpFallback);
            return Ok(false);
        };
        if self.refused(cx, Site::Table) {
            self.refused_mark(cx, Site::Table);
            self.folio_put(pfn);
            return Err(Fault::Oom);
        }
        let deposit = self.table_alloc();
        self.ptl_lock(cx, vmf.mm).await;
        let pmd = self.pmd_number(vmf.vpn);
        let empty = self.pmd(vmf.mm, pmd) == Pmd::None;
        let missing = empty && self.userfaultfd_missing(vmf);
        if empty && !missing {
            self.hit(Path::ThpFault);
            self.map_new_huge(cx, vmf.mm, &vmf.vma, pmd, pfn, deposit);
            self.fault_mark(cx, vmf, false, Some(pfn));
        } else {
            if missing {
                self.userfault_mark(cx, vmf);
            } else {
                self.hit(Path::FaultRaced);
            }
            self.table_free(deposit);
            self.folio_put(pfn);
        }
        self.ptl_unlock(cx, vmf.mm);
        if missing { Err(self.handle_userfault(cx, vmf).await) } else { Ok(true) }
    }

    /// `map_anon_folio_pmd`: publishes a huge folio and maps it, exclusive; the allocation
    /// reference becomes the entry's.
    pub(crate) fn map_new_huge(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        pmd: u32,
        pfn: Pfn,
        deposit: Table,
    ) {
        let mapping = self.anon_mapping(mm, self.pmd_start(pmd), 0);
        self.frames.set_mapping(pfn, mapping);
        self.publish(cx, pfn, Birth::Huge(mm, pmd));
        self.entire_map_add(pfn, 1);
        self.frames.set_exclusive(pfn, true);
        self.folio_add_lru(cx, pfn);
        let bits = mkwrite(vma, page_prot(vma));
        self.set_pmd(mm, pmd, Pmd::Huge { pfn, bits, deposit });
    }

    /// `do_huge_pmd_wp_page`. False is VM_FAULT_FALLBACK: the PMD was split.
    pub(crate) async fn do_huge_pmd_wp_page(&self, cx: &Cx, vmf: &Vmf, orig: Pmd) -> bool {
        let number = self.pmd_number(vmf.vpn);
        let Pmd::Huge { pfn, bits, deposit } = orig else { return true };
        if !self.pmd_same_lock(cx, vmf.mm, number, orig).await {
            return true;
        }
        let mut reuse = self.frames.exclusive(pfn);
        if reuse {
            self.hit(Path::HugeWpReuse);
        } else {
            if !self.folio_trylock(cx, pfn) {
                self.hold(cx, pfn, 1, Foll::Get);
                self.ptl_unlock(cx, vmf.mm);
                self.folio_lock(cx, pfn).await;
                if !self.pmd_same_lock(cx, vmf.mm, number, orig).await {
                    self.folio_unlock(cx, pfn);
                    self.unhold(cx, pfn, 1, Foll::Get);
                    return true;
                }
                self.unhold(cx, pfn, 1, Foll::Get);
            }
            if self.frames.refcount(pfn) == 1 {
                self.hit(Path::HugeWpLast);
                let head_vpn = self.pmd_start(number);
                self.folio_move_anon_rmap(vmf.mm, head_vpn, pfn, 0);
                self.frames.set_exclusive(pfn, true);
                reuse = true;
            }
            self.folio_unlock(cx, pfn);
        }
        if reuse && vmf.access == Access::Write {
            let bits = mkwrite(&vmf.vma, bits);
            self.set_pmd(vmf.mm, number, Pmd::Huge { pfn, bits, deposit });
        }
        if reuse {
            self.fault_mark(cx, vmf, false, None);
        } else {
            self.reusable_mark(cx, vmf);
        }
        self.ptl_unlock(cx, vmf.mm);
        if !reuse {
            self.hit(Path::HugeWpSplit);
            self.split_huge_pmd(cx, vmf.mm, number).await;
        }
        reuse
    }

    /// The PTL, if the PMD is still the one that the fault is about (`pmd_same`).
    async fn pmd_same_lock(&self, cx: &Cx, mm: MmId, number: u32, orig: Pmd) -> bool {
        self.ptl_lock(cx, mm).await;
        let same = self.pmd(mm, number) == orig;
        if !same {
            self.hit(Path::FaultRaced);
            self.ptl_unlock(cx, mm);
        }
        same
    }

    /// `__split_huge_pmd`: the huge entry becomes a table of N entries.
    pub(crate) async fn split_huge_pmd(&self, cx: &Cx, mm: MmId, number: u32) {
        self.ptl_lock(cx, mm).await;
        self.split_huge_pmd_locked(cx, mm, number);
        self.ptl_unlock(cx, mm);
    }

    /// `split_huge_pmd_locked`: under the PTL.
    pub(crate) fn split_huge_pmd_locked(&self, cx: &Cx, mm: MmId, number: u32) {
        match self.pmd(mm, number) {
            Pmd::Huge { pfn, bits, deposit } => {
                self.split_present_pmd(mm, number, pfn, bits, deposit);
            }
            Pmd::Migration { pfn, kind, deposit } => {
                self.set_pmd(mm, number, Pmd::None);
                for i in 0..u32::from(self.shape.ptes) {
                    let entry = Pte::Migration { pfn: Pfn(pfn.0 + i), kind, dirty: false };
                    self.set_pte(mm, deposit, self.pmd_start(number) + i, entry);
                }
                self.set_pmd(mm, number, Pmd::Table(deposit));
            }
            Pmd::None | Pmd::Table(_) => return,
        }
        self.hit(Path::SplitPmd);
        self.mark(cx, || (Mark::SplitPmd { mm, pmd: number }, Seen::Flag(true)));
    }

    fn split_present_pmd(&self, mm: MmId, number: u32, head: Pfn, bits: Bits, table: Table) {
        let nr = u32::from(self.shape.ptes);
        // The PMD's reference becomes that of the first PTE.
        let extra = if self.has(Defect::SplitPmdMiscounts) { nr } else { nr - 1 };
        self.folio_ref_add(head, i64::from(extra));
        let exclusive = self.frames.exclusive(head) && !self.has(Defect::SplitPmdLosesExclusive);
        self.set_pmd(mm, number, Pmd::None);
        for i in 0..nr {
            let pfn = Pfn(head.0 + i);
            if exclusive {
                self.frames.set_exclusive(pfn, true);
            }
            self.map_add(pfn, 1);
            self.set_pte(mm, table, self.pmd_start(number) + i, Pte::Present { pfn, bits });
        }
        self.set_pmd(mm, number, Pmd::Table(table));
        self.folio_remove_rmap_pmd(head);
    }

    /// `split_huge_page_to_list_to_order` to order 0. The caller holds the lock and a reference,
    /// which stays with page 0; `isolated` gives every tail one too and leaves them off the LRU
    /// (the `list` form). False: -EAGAIN.
    pub(crate) async fn split_folio(&self, cx: &Cx, head: Pfn, isolated: bool) -> bool {
        self.rmap_lock_write(cx).await;
        let done = self.can_split_folio(cx, head, 1) && {
            // unmap_folio
            self.try_to_migrate_locked(cx, head, true).await;
            self.split_unmapped_folio(cx, head, isolated).await
        };
        self.rmap_unlock_write(cx);
        done
    }

    /// `can_split_folio`: nobody but its mappings and the caller refers to it.
    pub(crate) fn can_split_folio(&self, cx: &Cx, head: Pfn, callers: u32) -> bool {
        let extra = self.frames.refcount(head) - i64::from(self.frames.mapcount(head));
        let can = extra == i64::from(callers);
        let folio = self.frames.name(head);
        self.mark(cx, || (Mark::CanSplit { folio, callers }, Seen::Flag(can)));
        can
    }

    /// The second half of the split, under the rmap lock: freezes the references, makes the parts
    /// (`__split_huge_page`) and maps them again (`remap_page`).
    async fn split_unmapped_folio(&self, cx: &Cx, head: Pfn, isolated: bool) -> bool {
        // folio_ref_freeze, at the caller's reference
        self.machine.point().await;
        let frozen = self.frames.refcount(head) == 1;
        let old = self.frames.name(head);
        if !frozen {
            self.mark(cx, || (Mark::Split { folio: old, isolated }, Seen::Flag(false)));
            self.remove_migration_ptes_locked(cx, head, head, false).await;
            return false;
        }
        self.hit(Path::SplitFolio);
        let nr = self.frames.nr_pages(head);
        let entries = self.rmap_entries(head);
        let renamed = |sign: fn(&crate::frame::Frames, u64)| {
            for walked in &entries {
                if let Walked::Pte { mm, table, vpn } = *walked {
                    sign(&self.frames, self.pte_term(mm, vpn, self.pte(table, vpn)));
                }
            }
        };
        renamed(|frames, term| frames.sub(term));
        // Each part starts with a reference of its own, dropped below.
        self.frames
            .split(&self.machine, head, 1, 1, |sub| self.name_of(cx, Birth::Split(old, sub)));
        renamed(|frames, term| frames.add(term));
        self.mark(cx, || (Mark::Split { folio: old, isolated }, Seen::Flag(true)));
        for i in 0..nr {
            let part = Pfn(head.0 + i);
            self.remove_migration_ptes_locked(cx, part, part, true).await;
        }
        for i in 1..nr {
            let tail = Pfn(head.0 + i);
            self.folio_unlock(cx, tail);
            if !isolated {
                self.put_mark(cx, tail);
                self.folio_put(tail);
            }
        }
        true
    }

    /// `try_to_map_unused_to_zeropage`.
    pub(crate) fn map_unused_to_zeropage(&self, mm: MmId, table: Table, vpn: u32) {
        self.hit(Path::SplitZeroPage);
        let read = self.vma_lookup(mm, vpn).is_none_or(|vma| vma.readable());
        let bits = Bits { read, write: false, dirty: false };
        self.set_pte(mm, table, vpn, Pte::Present { pfn: ZERO_PFN, bits });
    }

    /// `split_huge_pages_pid` on one address.
    pub(crate) async fn split_huge_page_at(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
    ) -> Result<(), Errno> {
        self.mmap_read_lock(mm).await;
        let result = self.split_huge_page_mapped(cx, mm, vpn).await;
        self.mmap_read_unlock(mm);
        result
    }

    async fn split_huge_page_mapped(&self, cx: &Cx, mm: MmId, vpn: u32) -> Result<(), Errno> {
        self.ptl_lock(cx, mm).await;
        let found = self.get_huge_page_to_split(cx, mm, vpn);
        self.ptl_unlock(cx, mm);
        let head = found?;
        let done = self.split_folio(cx, head, false).await;
        self.folio_unlock(cx, head);
        self.put_mark(cx, head);
        self.folio_put(head);
        if done { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// The huge page at an address, locked and held, if it looks as if it could be split.
    fn get_huge_page_to_split(&self, cx: &Cx, mm: MmId, vpn: u32) -> Result<Pfn, Errno> {
        let head = self.folio_walk(cx, mm, vpn).ok_or(Errno::ENOENT)?;
        if !self.frames.large(head) {
            return Err(Errno::EINVAL);
        }
        if !self.can_split_folio(cx, head, 0) {
            self.hit(Path::SplitBusy);
            return Err(Errno::EAGAIN);
        }
        if !self.folio_trylock(cx, head) {
            self.busy_mark(cx, head);
            return Err(Errno::EBUSY);
        }
        self.folio_get(head);
        self.get_mark(cx, head);
        Ok(head)
    }

    /// `folio_walk_start`, under the PTL: the folio mapped at an address, if any.
    pub(crate) fn folio_walk(&self, cx: &Cx, mm: MmId, vpn: u32) -> Option<Pfn> {
        let found = self.vma_lookup(mm, vpn).and_then(|_| self.mapped_page(mm, vpn));
        self.mark(cx, || {
            let page = found.map(|page| self.page_ref(page));
            (Mark::Find { mm, vpn }, page.map_or(Seen::Nothing, Seen::Page))
        });
        found.map(|page| self.frames.head(page))
    }

    fn mapped_page(&self, mm: MmId, vpn: u32) -> Option<Pfn> {
        match self.pmd(mm, self.pmd_number(vpn)) {
            Pmd::Huge { pfn, .. } => Some(Pfn(pfn.0 + self.pte_index(vpn))),
            Pmd::Table(table) => match self.pte(table, vpn) {
                Pte::Present { pfn, .. } if pfn != ZERO_PFN => Some(pfn),
                _ => None,
            },
            _ => None,
        }
    }
}
