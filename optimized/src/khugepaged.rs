//! MADV_COLLAPSE (kernel: `mm/khugepaged.c`).

use program::{Errno, MmId, Site, Span};

use crate::coverage::Path;
use crate::frame::{Pfn, ZERO_PFN};
use crate::memory::{Access, FaultLock, Vmf};
use crate::pgtable::{Pmd, Pte, Table};
use crate::vma::Vma;
use crate::world::{Cx, World};

/// `enum scan_result`, as far as it is reached here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scan {
    Succeed,
    PmdMapped,
    PmdNone,
    PageCount,
    PageLock,
    PageLru,
    PageRo,
    ExceedNonePte,
    PageNull,
    AllocFail,
    Fail,
}

impl Scan {
    /// `madvise_collapse_errno`.
    fn errno(self) -> Errno {
        match self {
            Scan::AllocFail => Errno::ENOMEM,
            Scan::ExceedNonePte => Errno::EBUSY,
            Scan::PageCount | Scan::PageLock | Scan::PageLru => Errno::EAGAIN,
            _ => Errno::EINVAL,
        }
    }
}

#[twice]
impl World {
    /// `madvise_collapse` of one VMA's piece.
    pub(crate) async fn madvise_collapse(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        piece: Span,
    ) -> Result<(), Errno> {
        let ptes = u32::from(self.shape.ptes);
        let last = vma.end.checked_sub(ptes).map(|vpn| self.pmd_number(vpn));
        let allowable = last.is_some_and(|pmd| self.thp_vma_suitable(vma, pmd));
        if !allowable || vma.flags.nohugepage || vma.anon_vma.is_none() {
            return Err(Errno::EINVAL);
        }
        self.lru_add_drain_all().await;
        let (first, end) = (piece.start.div_ceil(ptes), piece.end / ptes);
        if first > end {
            return Err(Errno::EINVAL);
        }
        let mut failed = None;
        for pmd in first..end {
            let result = self.hpage_collapse_scan_pmd(cx, mm, vma, pmd).await;
            match result {
                Scan::Succeed | Scan::PmdMapped => {}
                Scan::PmdNone | Scan::AllocFail | Scan::ExceedNonePte | Scan::Fail => {
                    return Err(result.errno());
                }
                _ => failed = Some(result),
            }
        }
        failed.map_or(Ok(()), |scan| Err(scan.errno()))
    }

    async fn hpage_collapse_scan_pmd(&self, cx: &Cx, mm: MmId, vma: &Vma, pmd: u32) -> Scan {
        let table = match self.pmd(mm, pmd) {
            Pmd::Table(table) => table,
            Pmd::Huge { .. } => return Scan::PmdMapped,
            _ => {
                self.hit(Path::CollapseNoTable);
                return Scan::PmdNone;
            }
        };
        self.ptl_lock(cx, mm).await;
        let (result, not_present) = self.collapse_scan_ptes(vma, table, pmd);
        self.ptl_unlock(cx, mm);
        if result != Scan::Succeed {
            return result;
        }
        self.collapse_huge_page(cx, mm, vma, pmd, table, not_present).await
    }

    /// The checks of a table's PTEs, and whether some are not present (SCAN_EXCEED_SWAP_PTE is
    /// khugepaged's alone).
    fn collapse_scan_ptes(&self, vma: &Vma, table: Table, pmd: u32) -> (Scan, bool) {
        let start = self.pmd_start(pmd);
        let (mut writable, mut not_present) = (false, false);
        let mut result = Scan::Succeed;
        for vpn in start..start + u32::from(self.shape.ptes) {
            let pte = self.pte(table, vpn);
            let empty = matches!(pte, Pte::None | Pte::Present { pfn: ZERO_PFN, .. });
            if empty && vma.userfaultfd_missing() {
                self.hit(Path::CollapseUffd);
                result = Scan::ExceedNonePte;
                break;
            }
            let (pfn, bits) = match pte {
                Pte::None => continue,
                Pte::Present { pfn, .. } if pfn == ZERO_PFN => continue,
                Pte::Present { pfn, bits } => (pfn, bits),
                _ => {
                    not_present = true;
                    continue;
                }
            };
            writable |= bits.write;
            result = self.collapse_scan_folio(self.frames.head(pfn));
            if result != Scan::Succeed {
                break;
            }
        }
        if result == Scan::Succeed && !writable {
            self.hit(Path::CollapseReadOnly);
            result = Scan::PageRo;
        }
        (result, not_present)
    }

    fn collapse_scan_folio(&self, head: Pfn) -> Scan {
        if self.is_zone_device(head) {
            self.hit(Path::CollapseDevice);
            Scan::PageNull
        } else if !self.frames.lru(head) {
            // Only another CPU's isolation can cause it: all batches were just drained.
            Scan::PageLru
        } else if self.frames.lock(head).owner().is_some() {
            self.hit(Path::CollapseLock);
            Scan::PageLock
        } else if i64::from(self.frames.mapcount(head)) != self.frames.refcount(head) {
            self.hit(Path::CollapseRefs);
            Scan::PageCount
        } else {
            Scan::Succeed
        }
    }

    /// `collapse_huge_page`.
    async fn collapse_huge_page(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        pmd: u32,
        table: Table,
        not_present: bool,
    ) -> Scan {
        let Some(new) = self.folio_alloc(cx, Site::Huge, self.hpage_order(), true) else {
            return Scan::AllocFail;
        };
        if not_present {
            let mut result = self.collapse_swapin(cx, mm, vma, pmd).await;
            if result == Scan::Succeed {
                // What __collapse_huge_page_isolate finds.
                result = self.collapse_scan_ptes(vma, table, pmd).0;
            }
            if result != Scan::Succeed {
                self.folio_put(new);
                return result;
            }
        }
        self.hit(Path::Collapse);
        self.vma_start_write(cx, mm, vma.id).await;
        self.vm_write_begin(vma.id).await;
        // pmdp_collapse_flush: nobody walks the table any more.
        self.ptl_lock(cx, mm).await;
        self.set_pmd(mm, pmd, Pmd::None);
        self.ptl_unlock(cx, mm);
        let isolated = self.collapse_isolate(cx, table, pmd);
        self.collapse_copy(cx, mm, table, pmd, new, &isolated).await;
        self.ptl_lock(cx, mm).await;
        self.map_new_huge(cx, mm, vma, pmd, new, table);
        self.ptl_unlock(cx, mm);
        self.vm_write_end(vma.id).await;
        Scan::Succeed
    }

    /// `__collapse_huge_page_swapin`: faults in every PTE that is not present.
    async fn collapse_swapin(&self, cx: &Cx, mm: MmId, vma: &Vma, pmd: u32) -> Scan {
        let start = self.pmd_start(pmd);
        for vpn in start..start + u32::from(self.shape.ptes) {
            let entry = self.lookup_pte(mm, vpn);
            if matches!(entry, Pte::None | Pte::Present { .. }) {
                continue;
            }
            let lock = FaultLock::Mmap { retry: false };
            let vmf = Vmf { mm, vma: *vma, vpn, access: Access::Read, lock };
            if self.do_swap_page(cx, &vmf, entry).await.is_err() {
                return Scan::Fail;
            }
        }
        self.lru_add_drain(cx.cpu);
        Scan::Succeed
    }

    /// `__collapse_huge_page_isolate`: locks and isolates each folio once.
    fn collapse_isolate(&self, cx: &Cx, table: Table, pmd: u32) -> Vec<Pfn> {
        let start = self.pmd_start(pmd);
        let mut isolated: Vec<Pfn> = Vec::new();
        for vpn in start..start + u32::from(self.shape.ptes) {
            let Pte::Present { pfn, .. } = self.pte(table, vpn) else { continue };
            if pfn == ZERO_PFN || isolated.contains(&self.frames.head(pfn)) {
                continue;
            }
            let head = self.frames.head(pfn);
            self.folio_trylock(cx, head);
            self.folio_isolate_lru(cx, head);
            isolated.push(head);
        }
        isolated
    }

    /// `__collapse_huge_page_copy`: copies, then gives every old page back. Order-0 pages go
    /// through this CPU's batch before they lose the mapping, large ones after.
    async fn collapse_copy(
        &self,
        cx: &Cx,
        mm: MmId,
        table: Table,
        pmd: u32,
        new: Pfn,
        isolated: &[Pfn],
    ) {
        let start = self.pmd_start(pmd);
        for i in 0..u32::from(self.shape.ptes) {
            let Pte::Present { pfn, .. } = self.pte(table, start + i) else { continue };
            self.frames.set_data(Pfn(new.0 + i), self.frames.data(pfn));
            if pfn == ZERO_PFN {
                self.set_pte(mm, table, start + i, Pte::None);
                continue;
            }
            let head = self.frames.head(pfn);
            if !self.frames.large(head) {
                self.folio_unlock(cx, head);
                self.folio_putback_lru(cx, head);
            }
            self.ptl_lock(cx, mm).await;
            self.set_pte(mm, table, start + i, Pte::None);
            self.folio_remove_rmap_pte(pfn);
            self.ptl_unlock(cx, mm);
            self.folio_put(head);
        }
        for &head in isolated {
            if self.frames.refcount(head) > 0 && self.frames.large(head) {
                self.folio_unlock(cx, head);
                self.folio_putback_lru(cx, head);
            }
        }
    }
}
