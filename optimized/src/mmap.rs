//! mmap, munmap, zap, exit (kernel: `mm/mmap.c`, `mm/vma.c`, `mm/memory.c`).

use program::{Backing, Mark, MmId, ObjectId, Prot, Seen, Span, Uffd, VmaFlags};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::ZERO_PFN;
use crate::pgtable::{Pmd, Pte, Table};
use crate::tlb::MmuGather;
use crate::vma::Vma;
use crate::vma_table::VmaId;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `do_mmap`: a new VMA at a fresh place. `area` names the shmem object of a shared anonymous one.
    pub(crate) async fn do_mmap(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        backing: Backing,
        prot: Prot,
        area: u8,
    ) {
        let (object, pgoff, shared) = match backing {
            Backing::AnonPrivate => (None, span.start, false),
            Backing::AnonShared => (Some(ObjectId::Shmem(area)), 0, true),
            Backing::FilePrivate { file, pgoff } => {
                (Some(ObjectId::File(file)), u32::from(pgoff), false)
            }
            Backing::FileShared { file, pgoff } => {
                (Some(ObjectId::File(file)), u32::from(pgoff), true)
            }
        };
        let (dontfork, hugepage, nohugepage, uffd) = (false, false, false, Uffd::None);
        let flags = VmaFlags { prot, shared, dontfork, hugepage, nohugepage, uffd, object };
        let Span { start, end } = span;
        self.mmap_write_lock(cx, mm).await;
        let id = VmaId::default();
        self.vma_link(cx, mm, Vma { id, start, end, flags, pgoff, anon_vma: None }, false).await;
        self.mark(cx, || (Mark::Vmas { mm, span }, Seen::Nothing));
        self.mmap_write_unlock(cx, mm);
    }

    /// `munmap`.
    pub(crate) async fn munmap(&self, cx: &Cx, mm: MmId, span: Span) {
        self.mmap_write_lock(cx, mm).await;
        self.do_vmi_munmap(cx, mm, span).await;
        self.mmap_write_unlock(cx, mm);
        self.evict_dead_shmem(cx).await;
    }

    /// `do_vmi_munmap`: under mmap_lock for write.
    pub(crate) async fn do_vmi_munmap(&self, cx: &Cx, mm: MmId, span: Span) {
        if self.find_vma(mm, span.start).is_none_or(|vma| vma.start >= span.end) {
            return;
        }
        self.split_vma(cx, mm, span.start).await;
        self.split_vma(cx, mm, span.end).await;
        // vms_gather_munmap_vmas
        let mut vpn = span.start;
        while let Some(vma) = self.find_vma(mm, vpn).filter(|vma| vma.start < span.end) {
            self.vma_start_write(cx, mm, vma.id).await;
            self.vma_mark_detached(vma.id);
            vpn = vma.end;
        }
        // vms_clear_ptes
        self.lru_add_drain(cx.cpu);
        let mut tlb = self.tlb_gather_mmu(mm);
        while let Some(vma) = self.find_vma(mm, span.start).filter(|vma| vma.start < span.end) {
            self.unmap_vma(cx, &mut tlb, &vma, vma.span()).await;
            self.vma_unlink(mm, vma.id);
        }
        self.mark(cx, || (Mark::Vmas { mm, span }, Seen::Nothing));
        self.free_pgtables(cx, &mut tlb, span).await;
        self.tlb_finish_mmu(cx, tlb).await;
    }

    /// `free_pgtables`: tables of PMDs that the range touches and that no VMA needs any more.
    async fn free_pgtables(&self, cx: &Cx, tlb: &mut MmuGather, span: Span) {
        for pmd in self.pmd_number(span.start)..=self.pmd_number(span.end - 1) {
            let (start, end) = (self.pmd_start(pmd), self.pmd_start(pmd + 1));
            if self.find_vma(tlb.mm, start).is_none_or(|vma| vma.start >= end) {
                self.free_pte_range(cx, tlb, pmd).await;
            }
        }
    }

    /// `free_pgtables` of an address space that ends.
    async fn free_all_pgtables(&self, cx: &Cx, tlb: &mut MmuGather) {
        let pmds = self.mm(tlb.mm).pmds.borrow().len() as u32;
        for pmd in 0..pmds {
            self.free_pte_range(cx, tlb, pmd).await;
        }
    }

    /// `unmap_single_vma`: zaps a part of a VMA.
    async fn unmap_vma(&self, cx: &Cx, tlb: &mut MmuGather, vma: &Vma, piece: Span) {
        self.vm_write_begin(vma.id).await;
        self.unmap_page_range(cx, tlb, piece).await;
        self.vm_write_end(vma.id).await;
    }

    /// `zap_page_range_single`.
    pub(crate) async fn zap_page_range_single(&self, cx: &Cx, mm: MmId, vma: &Vma, piece: Span) {
        self.lru_add_drain(cx.cpu);
        let mut tlb = self.tlb_gather_mmu(mm);
        self.unmap_vma(cx, &mut tlb, vma, piece).await;
        self.tlb_finish_mmu(cx, tlb).await;
    }

    /// `free_pte_range`: the table, if there is one, goes with the gather.
    #[inline]
    async fn free_pte_range(&self, cx: &Cx, tlb: &mut MmuGather, pmd: u32) {
        let Pmd::Table(table) = self.pmd(tlb.mm, pmd) else { return };
        self.free_pte_table(cx, tlb, pmd, table).await;
    }

    async fn free_pte_table(&self, cx: &Cx, tlb: &mut MmuGather, pmd: u32, table: Table) {
        let mm = tlb.mm;
        self.machine.point().await;
        self.set_pmd(mm, pmd, Pmd::None);
        self.mark(cx, || (Mark::FreeTable { mm, pmd }, Seen::Flag(true)));
        let span = Span { start: self.pmd_start(pmd), end: self.pmd_start(pmd + 1) };
        self.pte_free_tlb(tlb, span, table);
    }

    /// `unmap_page_range`: zaps every entry of the range.
    async fn unmap_page_range(&self, cx: &Cx, tlb: &mut MmuGather, span: Span) {
        let mm = tlb.mm;
        let mut vpn = span.start;
        while vpn < span.end {
            let pmd = self.pmd_number(vpn);
            let (start, next) = (self.pmd_start(pmd), self.pmd_start(pmd + 1));
            let end = next.min(span.end);
            let mut entry = self.pmd(mm, pmd);
            if entry.is_huge() {
                let whole = (vpn == start && end == next) || self.has(Defect::ZapWholeHuge);
                if whole {
                    self.zap_huge_pmd(cx, tlb, pmd).await;
                } else {
                    self.split_huge_pmd(cx, mm, pmd).await;
                }
                entry = self.pmd(mm, pmd);
            }
            if let Pmd::Table(table) = entry {
                self.zap_pte_range(cx, tlb, table, Span { start: vpn, end }).await;
            }
            vpn = end;
        }
    }

    async fn zap_huge_pmd(&self, cx: &Cx, tlb: &mut MmuGather, pmd: u32) {
        let mm = tlb.mm;
        self.hit(Path::ZapHuge);
        self.ptl_lock(cx, mm).await;
        if let Pmd::Huge { pfn, deposit, .. } = self.pmd(mm, pmd) {
            let page = self.page_ref(pfn);
            self.set_pmd(mm, pmd, Pmd::None);
            self.table_free(deposit);
            self.folio_remove_rmap_pmd(pfn);
            let span = Span { start: self.pmd_start(pmd), end: self.pmd_start(pmd + 1) };
            self.tlb_remove_tlb_entry(tlb, span);
            self.tlb_remove_page(cx, tlb, pfn);
            self.mark(cx, || (Mark::ZapHuge { mm, pmd }, Seen::Page(page)));
        }
        if let Pmd::Migration { pfn, deposit, .. } = self.pmd(mm, pmd) {
            let page = self.page_ref(pfn);
            self.set_pmd(mm, pmd, Pmd::None);
            self.table_free(deposit);
            self.mark(cx, || (Mark::ZapHuge { mm, pmd }, Seen::Page(page)));
        }
        self.ptl_unlock(cx, mm);
    }

    async fn zap_pte_range(&self, cx: &Cx, tlb: &mut MmuGather, table: Table, span: Span) {
        let mm = tlb.mm;
        self.ptl_lock(cx, mm).await;
        for vpn in span.start..span.end {
            // Nobody sets an entry but under the PTL.
            if self.pte(table, vpn) == Pte::None {
                continue;
            }
            // ptep_get_and_clear_full
            self.machine.point().await;
            match self.pte(table, vpn) {
                Pte::None => {}
                Pte::Migration { pfn, .. } => {
                    let page = self.page_ref(pfn);
                    self.set_pte(mm, table, vpn, Pte::None);
                    self.mark(cx, || (Mark::Zap { mm, vpn }, Seen::Page(page)));
                }
                Pte::DevicePrivate { pfn, .. } => {
                    self.hit(Path::ZapDevicePrivate);
                    let page = self.page_ref(pfn);
                    self.set_pte(mm, table, vpn, Pte::None);
                    self.mark(cx, || (Mark::Zap { mm, vpn }, Seen::Page(page)));
                    self.folio_remove_rmap_pte(pfn);
                    self.folio_put(pfn);
                }
                Pte::DeviceExclusive { pfn, .. } => {
                    // No rmap: only the entry's reference.
                    self.hit(Path::ZapDeviceExclusive);
                    let page = self.page_ref(pfn);
                    self.set_pte(mm, table, vpn, Pte::None);
                    self.mark(cx, || (Mark::Zap { mm, vpn }, Seen::Page(page)));
                    self.folio_put(self.frames.head(pfn));
                }
                Pte::Present { pfn, bits } => {
                    self.hit(Path::ZapPte);
                    let page = self.page_ref(pfn);
                    self.set_pte(mm, table, vpn, Pte::None);
                    self.tlb_remove_tlb_entry(tlb, Span { start: vpn, end: vpn + 1 });
                    if pfn != ZERO_PFN {
                        let head = self.frames.head(pfn);
                        if bits.dirty {
                            self.frames.set_dirty(head);
                        }
                        self.folio_remove_rmap_pte(pfn);
                        self.tlb_remove_page(cx, tlb, head);
                    }
                    self.mark(cx, || (Mark::Zap { mm, vpn }, Seen::Page(page)));
                }
            }
        }
        self.ptl_unlock(cx, mm);
    }

    /// `exit_mmap`.
    pub(crate) async fn exit_mmap(&self, cx: &Cx, mm: MmId) {
        self.mmap_write_lock(cx, mm).await;
        if self.find_vma(mm, 0).is_some() {
            self.lru_add_drain(cx.cpu);
        }
        let mut tlb = self.tlb_gather_mmu(mm);
        let mut vpn = 0;
        while let Some(vma) = self.find_vma(mm, vpn) {
            self.vma_mark_detached(vma.id);
            self.unmap_vma(cx, &mut tlb, &vma, vma.span()).await;
            vpn = vma.end;
        }
        self.free_all_pgtables(cx, &mut tlb).await;
        self.vma_unlink_all(mm);
        self.tlb_finish_mmu(cx, tlb).await;
        self.mmap_write_unlock(cx, mm);
        self.mm_dead(mm);
        self.mark(cx, || (Mark::MmGone { mm }, Seen::Flag(true)));
        self.evict_dead_shmem(cx).await;
    }
}
