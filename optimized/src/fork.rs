//! fork (kernel: `kernel/fork.c:dup_mmap`, `mm/memory.c:copy_page_range`, `copy_huge_pmd`).

use program::{Errno, Mark, MmId, Seen, Site, Uffd, VmaFlags};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::memory::{mkwrite, page_prot};
use crate::pgtable::{Bits, Migration, Pmd, Pte, Table};
use crate::vma::Vma;
use crate::world::{Cx, World};

/// An allocation was refused; fork ends in -ENOMEM.
#[derive(Clone, Copy)]
struct Refused;

#[twice]
impl World {
    /// `dup_mmap`.
    pub(crate) async fn fork(&self, cx: &Cx, parent: MmId, child: MmId) -> Result<(), Errno> {
        self.mm_alive(child);
        self.mark(cx, || (Mark::Child { child }, Seen::Nothing));
        self.mmap_write_lock(cx, parent).await;
        self.mmap_write_lock(cx, child).await;
        let mut result = Ok(());
        let mut vpn = 0;
        while let Some(vma) = self.find_vma(parent, vpn) {
            vpn = vma.end;
            if vma.flags.dontfork {
                continue;
            }
            self.vma_start_write(cx, parent, vma.id).await;
            // anon_vma_fork
            let anon_vma = vma.anon_vma.map(|of| self.anon_vma_alloc(Some(of)));
            // dup_userfaultfd without UFFD_FEATURE_EVENT_FORK
            let flags = VmaFlags { uffd: Uffd::None, ..vma.flags };
            self.vma_link(cx, child, Vma { anon_vma, flags, ..vma }, false).await;
            self.mark(cx, || (Mark::Vmas { mm: child, span: vma.span() }, Seen::Nothing));
            // vma_needs_copy
            if anon_vma.is_some() {
                self.vm_write_begin(vma.id).await;
                result = self.copy_page_range(cx, parent, child, &vma).await;
                if self.has(Defect::ForkFlushesLate) {
                    self.vm_write_end(vma.id).await;
                }
            }
            if result.is_err() {
                break;
            }
        }
        self.mmap_write_unlock(cx, child);
        self.flush_tlb_mm(cx, parent).await;
        // Until now somebody may have written to what is shared: no speculative fault may copy it.
        if !self.has(Defect::ForkFlushesLate) {
            self.vm_write_end_below(parent, vpn).await;
        }
        self.mmap_write_unlock(cx, parent);
        if result.is_err() {
            self.hit(Path::ForkFailed);
            self.exit_mmap(cx, child).await;
        }
        result.map_err(|Refused| Errno::ENOMEM)
    }

    /// `vm_write_end` of each VMA below `end` that was copied.
    async fn vm_write_end_below(&self, parent: MmId, end: u32) {
        let mut vpn = 0;
        while let Some(vma) = self.find_vma(parent, vpn).filter(|vma| vma.start < end) {
            vpn = vma.end;
            if vma.anon_vma.is_some() && !vma.flags.dontfork {
                self.vm_write_end(vma.id).await;
            }
        }
    }

    async fn copy_page_range(
        &self,
        cx: &Cx,
        parent: MmId,
        child: MmId,
        vma: &Vma,
    ) -> Result<(), Refused> {
        self.raw_write_seqcount(parent).await; // begin
        let mut result = Ok(());
        for pmd in self.pmd_number(vma.start)..=self.pmd_number(vma.end - 1) {
            result = self.copy_pmd(cx, parent, child, vma, pmd).await;
            if result.is_err() {
                break;
            }
        }
        self.raw_write_seqcount(parent).await; // end
        result
    }

    /// `raw_write_seqcount_begin`, `raw_write_seqcount_end`.
    async fn raw_write_seqcount(&self, parent: MmId) {
        if !self.has(Defect::ForkWithoutSequence) {
            self.mm(parent).write_protect_seq.write(&self.machine).await;
        }
    }

    async fn copy_pmd(
        &self,
        cx: &Cx,
        parent: MmId,
        child: MmId,
        vma: &Vma,
        pmd: u32,
    ) -> Result<(), Refused> {
        if self.pmd(parent, pmd).is_huge() {
            if self.copy_huge_pmd(cx, parent, child, pmd).await? {
                return Ok(());
            }
            self.split_huge_pmd(cx, parent, pmd).await;
        }
        if let Pmd::Table(table) = self.pmd(parent, pmd) {
            self.copy_pte_range(cx, parent, child, vma, pmd, table).await?;
        }
        Ok(())
    }

    /// `copy_huge_pmd`. Ok(false) is -EAGAIN: pinned, to be split and copied page by page.
    async fn copy_huge_pmd(
        &self,
        cx: &Cx,
        parent: MmId,
        child: MmId,
        number: u32,
    ) -> Result<bool, Refused> {
        if self.refused(cx, Site::Table) {
            self.refused_mark(cx, Site::Table);
            return Err(Refused);
        }
        let table = self.table_alloc();
        self.ptl_lock(cx, parent).await;
        let head_vpn = self.pmd_start(number);
        let (pfn, bits, deposit) = match self.pmd(parent, number) {
            Pmd::Huge { pfn, bits, deposit } => (pfn, bits, deposit),
            Pmd::Migration { pfn, deposit, .. } => {
                let kind = Migration::Readable;
                self.set_pmd(parent, number, Pmd::Migration { pfn, kind, deposit });
                self.set_pmd(child, number, Pmd::Migration { pfn, kind, deposit: table });
                self.copied_pmd_mark(cx, parent, child, number);
                self.ptl_unlock(cx, parent);
                return Ok(true);
            }
            Pmd::None | Pmd::Table(_) => {
                // Split meanwhile.
                self.table_free(table);
                self.ptl_unlock(cx, parent);
                return Ok(false);
            }
        };
        let shared = self.folio_try_dup_anon_rmap(cx, parent, head_vpn, pfn, pfn).await;
        if shared {
            self.hit(Path::ForkHuge);
            self.folio_get(pfn);
            self.entire_map_add(pfn, 1);
            let bits = bits.wrprotect();
            let parents = if self.has(Defect::ForkLeavesParentWritable) {
                self.pmd(parent, number)
            } else {
                Pmd::Huge { pfn, bits, deposit }
            };
            self.set_pmd(parent, number, parents);
            self.set_pmd(child, number, Pmd::Huge { pfn, bits, deposit: table });
            self.copied_pmd_mark(cx, parent, child, number);
        } else {
            self.hit(Path::ForkHugePinned);
            self.table_free(table);
        }
        self.ptl_unlock(cx, parent);
        Ok(shared)
    }

    fn copied_pmd_mark(&self, cx: &Cx, mm: MmId, child: MmId, pmd: u32) {
        let vpn = self.pmd_start(pmd);
        self.mark(cx, || (Mark::CopyPmd { mm, child, pmd }, self.seen_entry(child, vpn)));
    }

    /// `folio_try_dup_anon_rmap_pte` / `_pmd`, the decision: may the page be shared?
    async fn folio_try_dup_anon_rmap(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        page: Pfn,
        head: Pfn,
    ) -> bool {
        // folio_needs_cow_for_dma
        self.machine.point().await;
        let pinned = self.mm(mm).has_pinned.get() && self.folio_maybe_dma_pinned(head);
        let exclusive = self.frames.exclusive(page);
        let must_copy = exclusive && pinned && !self.has(Defect::ForkSharesPinned);
        self.mark(cx, || (Mark::MustCopy { mm, vpn }, Seen::Flag(must_copy)));
        if must_copy {
            return false;
        }
        if exclusive {
            // ClearPageAnonExclusive; a pin taken in between is GUP-fast's, which then sees that
            // write_protect_seq moved.
            self.machine.point().await;
            if !self.has(Defect::ForkKeepsExclusive) {
                self.frames.set_exclusive(page, false);
            }
        }
        true
    }

    async fn copy_pte_range(
        &self,
        cx: &Cx,
        parent: MmId,
        child: MmId,
        vma: &Vma,
        pmd: u32,
        table: Table,
    ) -> Result<(), Refused> {
        if self.pmd(child, pmd) == Pmd::None {
            if self.refused(cx, Site::Table) {
                self.refused_mark(cx, Site::Table);
                return Err(Refused);
            }
            self.pmd_install(cx, child, pmd, self.table_alloc());
        }
        let Pmd::Table(into) = self.pmd(child, pmd) else { return Ok(()) };
        let start = vma.start.max(self.pmd_start(pmd));
        let end = vma.end.min(self.pmd_start(pmd + 1));
        for vpn in start..end {
            self.ptl_lock(cx, parent).await;
            let copied = self.copy_nonpresent_pte(cx, (parent, table), (child, into), vma, vpn);
            let mut result = copied.map(|_| ());
            if let (Ok(false), Pte::Present { pfn, bits }) = (copied, self.pte(table, vpn))
                && !self.copy_present_pte(cx, parent, child, table, into, vpn, pfn, bits).await
            {
                let source = (parent, table);
                result = self.copy_present_page(cx, child, vma, source, into, vpn, pfn).await;
            }
            self.ptl_unlock(cx, parent);
            result?;
        }
        Ok(())
    }

    /// `copy_nonpresent_pte`. Ok(false): it is present, perhaps just restored.
    fn copy_nonpresent_pte(
        &self,
        cx: &Cx,
        (parent, table): (MmId, Table),
        (child, into): (MmId, Table),
        vma: &Vma,
        vpn: u32,
    ) -> Result<bool, Refused> {
        let copy = match self.pte(table, vpn) {
            Pte::Migration { pfn, dirty, .. } => {
                Pte::Migration { pfn, kind: Migration::Readable, dirty }
            }
            Pte::DevicePrivate { pfn, .. } => {
                // Cannot fail, as these pages cannot be pinned.
                self.hit(Path::ForkDevicePrivate);
                self.folio_get(pfn);
                self.frames.set_exclusive(pfn, false);
                self.map_add(pfn, 1);
                Pte::DevicePrivate { pfn, write: false }
            }
            Pte::DeviceExclusive { pfn, .. } => {
                // try_restore_exclusive_pte
                let head = self.frames.head(pfn);
                if !self.folio_trylock(cx, head) {
                    self.hit(Path::ForkExclusiveLocked);
                    self.busy_mark(cx, head);
                    return Err(Refused);
                }
                self.restore_exclusive_pte(cx, parent, vma, table, vpn);
                self.folio_unlock(cx, head);
                return Ok(false);
            }
            Pte::None | Pte::Present { .. } => return Ok(false),
        };
        self.set_pte(parent, table, vpn, copy);
        self.set_pte(child, into, vpn, copy);
        self.copied_mark(cx, parent, child, vpn, None);
        Ok(true)
    }

    /// `copy_present_ptes`. False: the page is pinned and must be copied.
    #[expect(clippy::too_many_arguments, reason = "the kernel's copy_present_ptes has as many")]
    async fn copy_present_pte(
        &self,
        cx: &Cx,
        parent: MmId,
        child: MmId,
        table: Table,
        into: Table,
        vpn: u32,
        pfn: Pfn,
        bits: Bits,
    ) -> bool {
        if pfn != ZERO_PFN {
            let head = self.frames.head(pfn);
            if self.frames.anon(head)
                && !self.folio_try_dup_anon_rmap(cx, parent, vpn, pfn, head).await
            {
                return false;
            }
            self.hit(if self.frames.anon(head) { Path::ForkAnon } else { Path::ForkFile });
            self.folio_get(head);
            self.map_add(pfn, 1);
        }
        let shared = bits.wrprotect();
        if bits.write && !self.has(Defect::ForkLeavesParentWritable) {
            self.set_pte(parent, table, vpn, Pte::Present { pfn, bits: shared });
        }
        self.set_pte(child, into, vpn, Pte::Present { pfn, bits: shared });
        self.copied_mark(cx, parent, child, vpn, None);
        true
    }

    fn copied_mark(&self, cx: &Cx, mm: MmId, child: MmId, vpn: u32, new: Option<Pfn>) {
        self.mark(cx, || {
            let placed = new.map(|new| self.frames.place(new));
            (Mark::CopyPte { mm, child, vpn, placed }, self.seen_entry(child, vpn))
        });
    }

    /// `copy_present_page`: the child gets a copy now, the parent keeps its pinned page.
    #[expect(clippy::too_many_arguments, reason = "the kernel's copy_present_page has as many")]
    async fn copy_present_page(
        &self,
        cx: &Cx,
        child: MmId,
        vma: &Vma,
        source: (MmId, Table),
        into: Table,
        vpn: u32,
        old: Pfn,
    ) -> Result<(), Refused> {
        self.hit(Path::ForkCopyPinned);
        let new = self.folio_alloc(cx, Site::Page, 0, true).ok_or(Refused)?;
        self.frames.set_data(new, self.frames.data(old));
        let bits = mkwrite(vma, page_prot(vma));
        if self.has(Defect::ForkCopiesForParent) {
            let (parent, table) = source;
            let kept = self.pte(table, vpn);
            self.set_pte(parent, table, vpn, Pte::None);
            self.map_new_anon(cx, parent, table, vpn, new, bits);
            self.set_pte(child, into, vpn, kept);
        } else {
            self.map_new_anon(cx, child, into, vpn, new, bits);
        }
        self.copied_mark(cx, source.0, child, vpn, Some(new));
        Ok(())
    }
}
