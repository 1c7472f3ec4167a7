//! MADV_COLLAPSE (kernel: `mm/khugepaged.c`).

use program::{CollapseMark, Errno, Mark, MmId, Ret, Seen, Site, Span};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::memory::{Access, FaultLock, Vmf};
use crate::pgtable::{Pmd, Pte, Table};
use crate::vma::Vma;
use crate::world::{Cx, World};

/// `enum scan_result`, as far as it is reached here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scan {
    PmdMapped,
    PmdNone,
    PmdNull,
    NonPresent,
    PageCount,
    PageLock,
    PageLru,
    PageRo,
    ExceedNonePte,
    PageNull,
    AllocFail,
    VmaCheck,
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

    /// Whether `madvise_collapse` goes on behind it.
    fn goes_on(self) -> bool {
        matches!(
            self,
            Scan::PmdMapped
                | Scan::PmdNull
                | Scan::NonPresent
                | Scan::PageCount
                | Scan::PageLock
                | Scan::PageLru
                | Scan::PageRo
                | Scan::PageNull
        )
    }

    fn seen(self) -> Seen {
        Seen::Ret(match self {
            Scan::PmdMapped => Ret::Ok(2),
            _ => Ret::Err(self.errno()),
        })
    }
}

/// A collapse below one PMD.
#[derive(Clone, Copy)]
struct Collapse {
    mm: MmId,
    pmd: u32,
}

/// What `hpage_collapse_scan_pmd` found in a table that may be collapsed.
struct Scanned {
    /// Some entries are not present (SCAN_EXCEED_SWAP_PTE is khugepaged's alone).
    not_present: bool,
}

#[twice]
impl World {
    /// `madvise_collapse` of one VMA's piece, with mmap_lock held for reading; released and taken
    /// again on the way.
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
        let (first, mut end) = (piece.start.div_ceil(ptes), piece.end / ptes);
        if !allowable || vma.flags.nohugepage || vma.anon_vma.is_none() {
            self.refuse_collapse(cx, mm, piece);
            return Err(Errno::EINVAL);
        }
        self.lru_add_drain_all().await;
        if first > end {
            self.refuse_collapse(cx, mm, piece);
            return Err(Errno::EINVAL);
        }
        let mut failed = None;
        let (mut pmd, mut locked) = (first, true);
        while pmd < end {
            let at = Collapse { mm, pmd };
            if !locked {
                self.machine.cond_resched().await;
                self.mmap_read_lock(mm).await;
                locked = true;
                match self.hugepage_vma_revalidate(cx, at, false) {
                    Ok(vma) => end = end.min(vma.end / ptes),
                    Err(scan) => return Err(scan.errno()),
                }
            }
            let result = match self.hpage_collapse_scan_pmd(cx, at).await {
                Ok(scanned) => {
                    locked = false;
                    self.collapse_huge_page(cx, at, scanned.not_present).await
                }
                Err(scan) => Err(scan),
            };
            match result {
                Ok(()) | Err(Scan::PmdMapped) => {}
                Err(scan) if scan.goes_on() => failed = Some(scan),
                Err(scan) => {
                    failed = Some(scan);
                    break;
                }
            }
            pmd += 1;
        }
        if !locked {
            self.mmap_read_lock(mm).await;
        }
        failed.map_or(Ok(()), |scan| Err(scan.errno()))
    }

    fn collapse_mark(&self, cx: &Cx, at: Collapse, mark: CollapseMark, seen: Seen) {
        let Collapse { mm, pmd } = at;
        self.mark(cx, || (Mark::Collapse { mm, pmd, mark }, seen));
    }

    /// The VMA, or what is asked of it, does not suit.
    fn refuse_collapse(&self, cx: &Cx, mm: MmId, piece: Span) {
        let at = Collapse { mm, pmd: self.pmd_number(piece.start) };
        let mark = CollapseMark::Refused { vpn: piece.start };
        self.collapse_mark(cx, at, mark, Seen::Flag(true));
    }

    /// `hugepage_vma_revalidate` and, if a `table` is wanted, `find_pmd_or_thp_or_none`: mmap_lock was
    /// released in between.
    fn hugepage_vma_revalidate(&self, cx: &Cx, at: Collapse, table: bool) -> Result<Vma, Scan> {
        let Collapse { mm, pmd } = at;
        let vma = self.find_vma(mm, self.pmd_start(pmd));
        let suits = |vma: &Vma| {
            self.thp_vma_suitable(vma, pmd)
                && !vma.flags.nohugepage
                && (vma.anon_vma.is_some() || !table)
        };
        let found = vma.filter(suits).ok_or(Scan::VmaCheck).and_then(|vma| {
            let found = if table { self.find_pmd(at).map(|_| ()) } else { Ok(()) };
            found.map(|()| vma)
        });
        let seen = found.as_ref().err().map_or(Seen::Ret(Ret::Ok(0)), |scan| scan.seen());
        self.collapse_mark(cx, at, CollapseMark::Revalidate { table }, seen);
        found
    }

    /// `find_pmd_or_thp_or_none`.
    fn find_pmd(&self, at: Collapse) -> Result<Table, Scan> {
        match self.pmd(at.mm, at.pmd) {
            Pmd::Table(table) => Ok(table),
            Pmd::Huge { .. } => Err(Scan::PmdMapped),
            Pmd::Migration { .. } => Err(Scan::PmdNull),
            Pmd::None => {
                self.hit(Path::CollapseNoTable);
                Err(Scan::PmdNone)
            }
        }
    }

    async fn hpage_collapse_scan_pmd(&self, cx: &Cx, at: Collapse) -> Result<Scanned, Scan> {
        let scan = CollapseMark::Scan { locked: None };
        if let Err(found) = self.find_pmd(at) {
            self.collapse_mark(cx, at, scan, found.seen());
            return Err(found);
        }
        self.ptl_lock(cx, at.mm).await;
        let result = match self.find_pmd(at) {
            Ok(table) => self.collapse_scan_ptes(cx, at, table),
            Err(found) => {
                self.collapse_mark(cx, at, scan, found.seen());
                Err(found)
            }
        };
        self.ptl_unlock(cx, at.mm);
        result
    }

    /// The checks of a table's PTEs.
    fn collapse_scan_ptes(&self, cx: &Cx, at: Collapse, table: Table) -> Result<Scanned, Scan> {
        let start = self.pmd_start(at.pmd);
        let armed = self.vma_lookup(at.mm, start).is_some_and(|vma| vma.userfaultfd_missing());
        let (mut writable, mut not_present, mut locked) = (false, false, None);
        let mut result = Ok(());
        for vpn in start..start + u32::from(self.shape.ptes) {
            let (pfn, bits) = match self.pte(table, vpn) {
                Pte::None | Pte::Present { pfn: ZERO_PFN, .. } if armed => {
                    self.hit(Path::CollapseUffd);
                    result = Err(Scan::ExceedNonePte);
                    break;
                }
                Pte::None | Pte::Present { pfn: ZERO_PFN, .. } => continue,
                Pte::Present { pfn, bits } => (pfn, bits),
                _ => {
                    not_present = true;
                    continue;
                }
            };
            writable |= bits.write;
            let head = self.frames.head(pfn);
            result = self.collapse_scan_folio(head);
            if result == Err(Scan::PageLock) {
                locked = Some(self.frames.name(head));
            }
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() && !writable {
            self.hit(Path::CollapseReadOnly);
            result = Err(Scan::PageRo);
        }
        let seen = match result {
            Ok(()) => Seen::Ret(Ret::Ok(not_present.into())),
            Err(_) if locked.is_some() => Seen::Flag(true),
            Err(scan) => scan.seen(),
        };
        self.collapse_mark(cx, at, CollapseMark::Scan { locked }, seen);
        result.map(|()| Scanned { not_present })
    }

    fn collapse_scan_folio(&self, head: Pfn) -> Result<(), Scan> {
        if self.is_zone_device(head) {
            self.hit(Path::CollapseDevice);
            Err(Scan::PageNull)
        } else if !self.frames.lru(head) {
            // Another CPU has isolated it, or its batch got it since the drain.
            Err(Scan::PageLru)
        } else if self.frames.lock(head).owner().is_some() {
            self.hit(Path::CollapseLock);
            Err(Scan::PageLock)
        } else if !self.is_refcount_suitable(head) {
            self.hit(Path::CollapseRefs);
            Err(Scan::PageCount)
        } else {
            Ok(())
        }
    }

    fn is_refcount_suitable(&self, head: Pfn) -> bool {
        i64::from(self.frames.mapcount(head)) == self.frames.refcount(head)
    }

    /// `collapse_huge_page`. Releases mmap_lock.
    async fn collapse_huge_page(
        &self,
        cx: &Cx,
        at: Collapse,
        not_present: bool,
    ) -> Result<(), Scan> {
        // It may take long.
        self.mmap_read_unlock(at.mm);
        let Some(new) = self.folio_alloc(cx, Site::Huge, self.hpage_order(), true) else {
            return Err(Scan::AllocFail);
        };
        self.mmap_read_lock(at.mm).await;
        let mut result = self.hugepage_vma_revalidate(cx, at, true).map(|_| ());
        if result.is_ok() && not_present {
            result = self.collapse_swapin(cx, at).await;
        }
        self.mmap_read_unlock(at.mm);
        if result.is_ok() {
            self.mmap_write_lock(cx, at.mm).await;
            result = match self.hugepage_vma_revalidate(cx, at, true) {
                Ok(vma) => self.collapse_table(cx, at, &vma, new).await,
                Err(scan) => Err(scan),
            };
            self.mmap_write_unlock(cx, at.mm);
        }
        if result.is_err() {
            self.folio_put(new);
        }
        result
    }

    /// `__collapse_huge_page_swapin`: faults in every PTE that is not present.
    async fn collapse_swapin(&self, cx: &Cx, at: Collapse) -> Result<(), Scan> {
        let Collapse { mm, pmd } = at;
        let start = self.pmd_start(pmd);
        let mut faulted = false;
        for vpn in start..start + u32::from(self.shape.ptes) {
            self.machine.point().await;
            let entry = self.lookup_pte(mm, vpn);
            if matches!(entry, Pte::None | Pte::Present { .. }) {
                continue;
            }
            faulted = true;
            let Some(vma) = self.vma_lookup(mm, vpn) else { return Err(Scan::Fail) };
            let lock = FaultLock::Mmap { retry: false };
            let vmf = Vmf { mm, vma, vpn, access: Access::Read, lock };
            if self.do_swap_page(cx, &vmf, entry).await.is_err() {
                return Err(Scan::Fail);
            }
        }
        if faulted {
            self.lru_add_drain(cx.cpu);
        }
        Ok(())
    }

    /// The second half of `collapse_huge_page`, under mmap_lock for writing: nobody faults here any
    /// more, and once the table is out of the tree nobody walks to it.
    async fn collapse_table(&self, cx: &Cx, at: Collapse, vma: &Vma, new: Pfn) -> Result<(), Scan> {
        let Collapse { mm, pmd } = at;
        let table = self.find_pmd(at)?;
        self.vma_start_write(cx, mm, vma.id).await;
        let bumps = !self.has(Defect::CollapseUnseen);
        if bumps {
            self.vm_write_begin(vma.id).await;
        }
        self.rmap_lock_write(cx).await;
        self.pmdp_collapse_flush(cx, at).await;
        let isolated = self.collapse_isolate(cx, at, table).await;
        if isolated.is_err() {
            self.ptl_lock(cx, mm).await;
            self.set_pmd(mm, pmd, Pmd::Table(table));
            self.collapse_mark(cx, at, CollapseMark::Restore, Seen::Flag(true));
            self.ptl_unlock(cx, mm);
        }
        // All pages are isolated and locked: no rmap walk comes here.
        self.rmap_unlock_write(cx);
        let result = match isolated {
            Ok(isolated) => {
                self.hit(Path::Collapse);
                self.collapse_copy(cx, at, table, new).await;
                self.collapse_copy_succeeded(cx, at, table, &isolated).await;
                self.ptl_lock(cx, mm).await;
                self.map_new_huge(cx, mm, vma, pmd, new, table);
                let mark = CollapseMark::Map { placed: self.frames.place(new) };
                self.collapse_mark(cx, at, mark, self.seen_entry(mm, self.pmd_start(pmd)));
                self.ptl_unlock(cx, mm);
                Ok(())
            }
            Err(scan) => Err(scan),
        };
        if bumps {
            self.vm_write_end(vma.id).await;
        }
        result
    }

    /// `pmdp_collapse_flush` and `tlb_remove_table_sync_one`: takes the table out, and waits for
    /// TLBs and for those who walk it with interrupts off.
    async fn pmdp_collapse_flush(&self, cx: &Cx, at: Collapse) {
        let Collapse { mm, pmd } = at;
        let span = Span { start: self.pmd_start(pmd), end: self.pmd_start(pmd + 1) };
        self.mirrors_invalidate(mm, span.start, span.end);
        self.ptl_lock(cx, mm).await;
        self.set_pmd(mm, pmd, Pmd::None);
        self.collapse_mark(cx, at, CollapseMark::Detach, Seen::Flag(true));
        self.flush_tlb_range(cx, mm, span).await;
        self.ptl_unlock(cx, mm);
        if self.tracing.get() {
            self.machine.smp_call(self.mm_cpumask.get(), |_| {}).await;
        }
    }

    /// `__collapse_huge_page_isolate`: locks and isolates each folio once; large ones are returned.
    async fn collapse_isolate(
        &self,
        cx: &Cx,
        at: Collapse,
        table: Table,
    ) -> Result<Vec<Pfn>, Scan> {
        let start = self.pmd_start(at.pmd);
        let mut large = Vec::new();
        let (mut writable, mut result) = (false, Ok(()));
        let mut vpn = start;
        self.ptl_lock(cx, at.mm).await;
        while result.is_ok() && vpn < start + u32::from(self.shape.ptes) {
            self.machine.point().await;
            match self.collapse_isolate_pte(cx, at, table, vpn, &mut large) {
                Ok(write) => (writable, vpn) = (writable | write, vpn + 1),
                Err(scan) => result = Err(scan),
            }
        }
        if result.is_ok() && !writable {
            self.collapse_mark(cx, at, CollapseMark::ReadOnly, Seen::Flag(true));
            result = Err(Scan::PageRo);
        }
        if result.is_err() {
            self.release_pte_pages(cx, table, Span { start, end: vpn }, &large);
        }
        self.ptl_unlock(cx, at.mm);
        result.map(|()| large)
    }

    /// One entry; whether it is writable.
    fn collapse_isolate_pte(
        &self,
        cx: &Cx,
        at: Collapse,
        table: Table,
        vpn: u32,
        large: &mut Vec<Pfn>,
    ) -> Result<bool, Scan> {
        let unfit = |scan: Scan| {
            self.collapse_mark(cx, at, CollapseMark::Unfit { vpn }, scan.seen());
            Err(scan)
        };
        let armed = || self.vma_lookup(at.mm, vpn).is_some_and(|vma| vma.userfaultfd_missing());
        let (pfn, bits) = match self.pte(table, vpn) {
            Pte::None | Pte::Present { pfn: ZERO_PFN, .. } if armed() => {
                return unfit(Scan::ExceedNonePte);
            }
            Pte::None | Pte::Present { pfn: ZERO_PFN, .. } => return Ok(false),
            Pte::Present { pfn, bits } => (pfn, bits),
            _ => return unfit(Scan::NonPresent),
        };
        let head = self.frames.head(pfn);
        if self.is_zone_device(head) {
            return unfit(Scan::PageNull);
        }
        if large.contains(&head) {
            return Ok(bits.write);
        }
        if !self.folio_trylock(cx, head) {
            self.busy_mark(cx, head);
            return Err(Scan::PageLock);
        }
        if !self.can_collapse_folio(cx, head) {
            self.folio_unlock(cx, head);
            return Err(Scan::PageCount);
        }
        if !self.folio_isolate_lru(cx, head) {
            self.folio_unlock(cx, head);
            return Err(Scan::PageLru);
        }
        if self.frames.large(head) {
            large.push(head);
        }
        Ok(bits.write)
    }

    /// Nobody but its mappings refers to it: the same test as that of a split.
    fn can_collapse_folio(&self, cx: &Cx, head: Pfn) -> bool {
        let can = self.is_refcount_suitable(head);
        let mark = Mark::CanSplit { folio: self.frames.name(head), callers: 0 };
        self.mark(cx, || (mark, Seen::Flag(can)));
        can
    }

    /// `release_pte_pages`: what was isolated of these entries, the last first, then the large ones.
    fn release_pte_pages(&self, cx: &Cx, table: Table, span: Span, large: &[Pfn]) {
        for vpn in (span.start..span.end).rev() {
            let Pte::Present { pfn, .. } = self.pte(table, vpn) else { continue };
            if pfn != ZERO_PFN && !self.frames.large(self.frames.head(pfn)) {
                self.release_pte_folio(cx, pfn);
            }
        }
        large.iter().for_each(|&head| self.release_pte_folio(cx, head));
    }

    fn release_pte_folio(&self, cx: &Cx, head: Pfn) {
        self.folio_unlock(cx, head);
        self.folio_putback_lru(cx, head);
    }

    /// `__collapse_huge_page_copy`.
    async fn collapse_copy(&self, cx: &Cx, at: Collapse, table: Table, new: Pfn) {
        let start = self.pmd_start(at.pmd);
        for i in 0..u32::from(self.shape.ptes) {
            self.machine.point().await;
            let vpn = start + i;
            let seen = match self.pte(table, vpn) {
                Pte::Present { pfn, .. } => {
                    let data = self.frames.data(pfn);
                    self.frames.set_data(Pfn(new.0 + i), data);
                    Seen::Data(self.page_ref(pfn), data)
                }
                _ => Seen::Nothing,
            };
            self.collapse_mark(cx, at, CollapseMark::Copy { vpn }, seen);
        }
    }

    /// `__collapse_huge_page_copy_succeeded`: gives every old page back. Order-0 pages go through
    /// this CPU's batch before they lose the mapping, large ones after.
    async fn collapse_copy_succeeded(&self, cx: &Cx, at: Collapse, table: Table, large: &[Pfn]) {
        let start = self.pmd_start(at.pmd);
        for vpn in start..start + u32::from(self.shape.ptes) {
            let Pte::Present { pfn, .. } = self.pte(table, vpn) else { continue };
            let page = self.page_ref(pfn);
            let head = (pfn != ZERO_PFN).then(|| self.frames.head(pfn));
            let small = head.filter(|&head| !self.frames.large(head));
            small.iter().for_each(|&head| self.release_pte_folio(cx, head));
            self.ptl_lock(cx, at.mm).await;
            self.set_pte(at.mm, table, vpn, Pte::None);
            if head.is_some() {
                self.folio_remove_rmap_pte(pfn);
            }
            self.collapse_mark(cx, at, CollapseMark::Clear { vpn }, Seen::Page(page));
            self.ptl_unlock(cx, at.mm);
            head.iter().for_each(|&head| self.folio_put(head));
        }
        large.iter().for_each(|&head| self.release_pte_folio(cx, head));
    }
}
