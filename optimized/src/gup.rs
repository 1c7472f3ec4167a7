//! get_user_pages, the slow walk, and the way back (kernel: `mm/gup.c`).

use program::{Errno, Foll as FollKind, MmId, Site, Span};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::folio::Foll;
use crate::frame::{Pfn, ZERO_PFN};
use crate::memory::{Access, FaultLock, Vmf};
use crate::pgtable::{Bits, Pmd, Pte};
use crate::vma::Vma;
use crate::world::{Cx, World};

/// What a walk is for (FOLL_WRITE, FOLL_GET or FOLL_PIN).
#[derive(Clone, Copy, Debug)]
pub(crate) struct GupFlags {
    pub write: bool,
    pub foll: Foll,
}

/// What `follow_page_mask` found.
enum Follow {
    /// A page, and how many pages its leaf covers, less one.
    Page(Pfn, u32),
    /// Nothing that satisfies the request: fault it in.
    Fault,
    /// -EMLINK: present but to be unshared first.
    Unshare,
    /// The grab was refused.
    Refused,
}

impl World {
    /// `__get_user_pages`. Appends what it got to `pages` and returns how many, or the error if
    /// the very first page failed.
    pub(crate) async fn get_user_pages(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        pages: &mut Vec<Pfn>,
    ) -> Result<u32, Errno> {
        self.mm(mm).mmap_lock.read(&self.machine, "mmap_lock").await;
        let result = self.gup_walk(cx, mm, span, flags, pages, Errno::EFAULT, Errno::EFAULT).await;
        self.mm(mm).mmap_lock.read_unlock(&self.machine, "mmap_lock");
        result
    }

    /// `faultin_page_range`: the walk without references, with the errors of MADV_POPULATE.
    pub(crate) async fn faultin_page_range(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        write: bool,
    ) -> Result<u32, Errno> {
        self.mm(mm).mmap_lock.read(&self.machine, "mmap_lock").await;
        let flags = GupFlags { write, foll: None };
        let mut none = Vec::new();
        let result =
            self.gup_walk(cx, mm, span, flags, &mut none, Errno::ENOMEM, Errno::EINVAL).await;
        self.mm(mm).mmap_lock.read_unlock(&self.machine, "mmap_lock");
        result
    }

    #[expect(clippy::too_many_arguments, reason = "two callers, which differ in their errors")]
    async fn gup_walk(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        pages: &mut Vec<Pfn>,
        no_vma: Errno,
        forbidden: Errno,
    ) -> Result<u32, Errno> {
        let mut got = 0;
        let mut vpn = span.start;
        let error = loop {
            if vpn >= span.end {
                return Ok(got);
            }
            let Some(vma) = self.vma_lookup(mm, vpn) else { break no_vma };
            if !World::check_vma_flags(&vma, flags.write) {
                break forbidden;
            }
            let (page, mask) = match self.follow_page_mask(cx, mm, vpn, flags).await {
                Follow::Page(page, mask) => (page, mask),
                Follow::Refused => break Errno::ENOMEM,
                other => {
                    let unshare = matches!(other, Follow::Unshare);
                    match self.faultin_page(cx, mm, vma, vpn, flags.write, unshare).await {
                        Ok(()) => continue,
                        Err(errno) => break errno,
                    }
                }
            };
            let whole = 1 + (!vpn & mask);
            let mut increm = whole.min(span.end - vpn);
            if self.has(Defect::BatchNotClamped) && flags.foll.is_some() {
                increm = whole;
            }
            if increm > 1 && flags.foll.is_some() {
                self.hit(Path::GupPageMask);
                if self.refused(cx, Site::Grab) {
                    self.hit(Path::GupSecondGrabRefused);
                    if !self.has(Defect::GrabNotGivenBack) {
                        self.gup_give_back(page, flags);
                    }
                    break Errno::EFAULT;
                }
                let more = if self.has(Defect::BatchCountsMask) { mask } else { increm - 1 };
                self.grab(page, more, flags.foll);
            }
            if flags.foll.is_some() {
                pages.extend((0..increm).map(|j| nth_page(page, j)));
            }
            got += increm;
            vpn += increm;
        };
        if got > 0 { Ok(got) } else { Err(error) }
    }

    fn gup_give_back(&self, page: Pfn, flags: GupFlags) {
        if let Some(foll) = flags.foll {
            self.gup_put_folio(page, 1, foll);
        }
    }

    /// `faultin_page`.
    async fn faultin_page(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: Vma,
        vpn: u32,
        write: bool,
        unshare: bool,
    ) -> Result<(), Errno> {
        let access = match (unshare, write) {
            (true, _) => Access::Unshare,
            (false, true) => Access::Write,
            (false, false) => Access::Read,
        };
        self.hit(if unshare { Path::GupUnshare } else { Path::GupFault });
        let lock = FaultLock::Mmap { retry: false };
        let vmf = Vmf { mm, vma, vpn, access, lock };
        self.handle_mm_fault(cx, vmf).await.map_err(|fault| fault.errno())
    }

    /// `follow_page_mask`: `follow_huge_pmd` or `follow_page_pte`.
    async fn follow_page_mask(&self, cx: &Cx, mm: MmId, vpn: u32, flags: GupFlags) -> Follow {
        self.ptl_lock(cx, mm).await;
        let found = match self.pmd(mm, self.pmd_number(vpn)) {
            Pmd::Huge { pfn, bits, .. } => {
                let page = Pfn(pfn.0 + self.pte_index(vpn));
                let mask = u32::from(self.shape.ptes) - 1;
                self.follow_leaf(cx, page, pfn, bits, mask, flags)
            }
            Pmd::Table(table) => match self.pte(table, vpn) {
                Pte::Present { pfn, bits } => {
                    let mask = match self.has(Defect::BatchBelowPmd) && pfn != ZERO_PFN {
                        true => self.frames.nr_pages(self.frames.head(pfn)) - 1,
                        false => 0,
                    };
                    self.follow_leaf(cx, pfn, pfn, bits, mask, flags)
                }
                _ => Follow::Fault,
            },
            _ => Follow::Fault,
        };
        self.ptl_unlock(cx, mm);
        found
    }

    /// A present leaf: `judge` is the page whose AnonExclusive counts (the head of a huge PMD).
    fn follow_leaf(
        &self,
        cx: &Cx,
        page: Pfn,
        judge: Pfn,
        bits: Bits,
        mask: u32,
        flags: GupFlags,
    ) -> Follow {
        if !bits.read || (flags.write && !bits.write) {
            return Follow::Fault;
        }
        if !bits.write && self.gup_must_unshare(judge, flags) {
            return Follow::Unshare;
        }
        if flags.foll.is_some() {
            // try_grab_folio
            if self.refused(cx, Site::Grab) {
                return Follow::Refused;
            }
            self.hit(if mask == 0 { Path::GupPte } else { Path::GupPmd });
            self.grab(page, 1, flags.foll);
        }
        Follow::Page(page, mask)
    }

    /// `gup_must_unshare`.
    pub(crate) fn gup_must_unshare(&self, page: Pfn, flags: GupFlags) -> bool {
        flags.foll == Some(FollKind::Pin)
            && !flags.write
            && page != ZERO_PFN
            && self.frames.anon(self.frames.head(page))
            && !self.frames.exclusive(page)
            && !self.has(Defect::UnshareSkipped)
    }

    /// `unpin_user_pages[_dirty_lock]`, `put_page` of each: an array, a folio at a time.
    pub(crate) async fn unpin_user_pages(
        &self,
        cx: &Cx,
        pages: &[Option<Pfn>],
        foll: FollKind,
        dirty: bool,
    ) {
        let mut at = 0;
        while at < pages.len() {
            let Some(first) = pages[at] else {
                if self.has(Defect::UnpinStopsAtNull) {
                    return;
                }
                at += 1;
                continue;
            };
            let nr = self.gup_folio_next(&pages[at..], first);
            let mut refs = nr as u32;
            if self.has(Defect::UnpinIgnoresDuplicates) {
                let run = &pages[at..at + nr];
                refs = (0..nr).filter(|&i| !run[..i].contains(&run[i])).count() as u32;
            }
            if nr > 1 {
                self.hit(Path::UnpinBatch);
            }
            self.unpin_folio(cx, first, refs, foll, dirty).await;
            at += nr;
        }
    }

    /// `gup_folio_next`: how many entries from the first on are of its folio.
    fn gup_folio_next(&self, pages: &[Option<Pfn>], first: Pfn) -> usize {
        let folio = |pfn: Pfn| if pfn == ZERO_PFN { pfn } else { self.frames.head(pfn) };
        let same = |page: &Option<Pfn>| page.is_some_and(|page| folio(page) == folio(first));
        pages.iter().take_while(|page| same(page)).count()
    }

    /// `unpin_user_page_range_dirty_lock`: `nr` physically contiguous pages.
    pub(crate) async fn unpin_user_page_range(&self, cx: &Cx, first: Pfn, nr: u32, dirty: bool) {
        let mut at = 0;
        while at < nr {
            let page = nth_page(first, at);
            let step = self.gup_folio_range_next(page, nr - at);
            self.hit(Path::UnpinRange);
            self.unpin_folio(cx, page, step, FollKind::Pin, dirty).await;
            at += step;
        }
    }

    /// `gup_folio_range_next`: how many of the next `left` pages are of the folio of `page`.
    fn gup_folio_range_next(&self, page: Pfn, left: u32) -> u32 {
        if page == ZERO_PFN {
            return 1;
        }
        let head = self.frames.head(page);
        if !self.frames.large(head) {
            return 1;
        }
        if self.has(Defect::UnpinRangePastFolio) {
            return left;
        }
        left.min(self.frames.nr_pages(head) - (page.0 - head.0))
    }

    async fn unpin_folio(&self, cx: &Cx, page: Pfn, refs: u32, foll: FollKind, dirty: bool) {
        if dirty && page != ZERO_PFN {
            let head = self.frames.head(page);
            if !self.frames.dirty(head) {
                self.folio_lock(cx, head).await;
                self.frames.set_dirty(head);
                self.folio_unlock(cx, head);
            }
        }
        let foll = if self.has(Defect::PutForPin) { FollKind::Get } else { foll };
        self.gup_put_folio(page, refs, foll);
    }
}

/// `nth_page`; the zero page has no neighbours.
pub(crate) fn nth_page(page: Pfn, n: u32) -> Pfn {
    if page == ZERO_PFN { page } else { Pfn(page.0 + n) }
}
