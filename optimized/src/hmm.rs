//! Mirroring a CPU page table into a device's (kernel: `mm/hmm.c`).

use program::{Device, DeviceMark, Errno, Mark, MmId, PageRef, Request, Seen, Span, hmm};

use crate::coverage::Path;
use crate::frame::{Pfn, ZERO_PFN};
use crate::memory::{Access, FaultLock, Vmf};
use crate::pgtable::{Bits, Pmd, Pte};
use crate::variants::Variant;
use crate::vma::Vma;
use crate::world::{Cx, World};

/// `hmm_pfn`: flags, and the page if HMM_PFN_VALID.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct HmmPfn {
    pub flags: u8,
    pub page: Option<Pfn>,
}

/// `struct hmm_range`.
pub(crate) struct HmmRange {
    pub mm: MmId,
    pub span: Span,
    /// `default_flags`, or what each odd page's `hmm_pfns[i] & pfn_flags_mask` says.
    pub request: Request,
    /// The request is for the odd pages alone.
    pub odd: bool,
    /// `dev_private_owner`.
    pub device: Device,
    pub pfns: Vec<HmmPfn>,
}

/// HMM_NEED_*.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    Fault,
    WriteFault,
}

/// Why a walk ends early.
enum Stop {
    /// -EBUSY: faulted or waited; restart at this page.
    Busy(u32),
    Fail(Errno),
}

impl HmmRange {
    /// `hmm_pte_need_fault`.
    fn need(&self, vpn: u32, flags: u8) -> Option<Need> {
        let asked = !self.odd || (vpn - self.span.start) % 2 == 1;
        match self.request {
            Request::Write if asked && flags & hmm::WRITE == 0 => Some(Need::WriteFault),
            Request::Write | Request::Fault if asked && flags & hmm::READ == 0 => Some(Need::Fault),
            _ => None,
        }
    }

    /// `hmm_range_need_fault`.
    fn need_any(&self, piece: Span, flags: u8) -> Option<Need> {
        let needs = (piece.start..piece.end).filter_map(|vpn| self.need(vpn, flags));
        needs.reduce(|a, b| if a == Need::WriteFault { a } else { b })
    }
}

#[twice]
impl World {
    /// `hmm_range_fault`: under mmap_lock for read.
    pub(crate) async fn hmm_range_fault(&self, cx: &Cx, range: &mut HmmRange) -> Result<(), Errno> {
        range.pfns.clear();
        range.pfns.resize((range.span.end - range.span.start) as usize, HmmPfn::default());
        let mut last = range.span.start;
        loop {
            if self.mmu_interval_read_retry(cx) {
                return Err(Errno::EBUSY);
            }
            match self.hmm_walk(cx, range, last).await {
                Ok(()) => return Ok(()),
                Err(Stop::Busy(at)) => last = at,
                Err(Stop::Fail(errno)) => return Err(errno),
            }
            self.machine.lap(&(cx.number, last, cx.attempt.get()));
            if self.variant() == Variant::CondResched {
                self.machine.cond_resched().await;
            }
        }
    }

    /// `walk_page_range` with `hmm_walk_ops`.
    async fn hmm_walk(&self, cx: &Cx, range: &mut HmmRange, last: u32) -> Result<(), Stop> {
        let mut vpn = last;
        while vpn < range.span.end {
            let vma = self.find_vma(range.mm, vpn).filter(|vma| vma.start < range.span.end);
            let Some(vma) = vma.filter(|vma| vma.start <= vpn) else {
                let end = vma.map_or(range.span.end, |vma| vma.start);
                self.hmm_unusable(cx, range, Span { start: vpn, end })?;
                vpn = end;
                continue;
            };
            let end = vma.end.min(range.span.end);
            if !vma.readable() {
                // hmm_vma_walk_test
                self.hmm_unusable(cx, range, Span { start: vpn, end })?;
                vpn = end;
            }
            while vpn < end {
                let next = self.pmd_start(self.pmd_number(vpn) + 1).min(end);
                self.hmm_vma_walk_pmd(cx, range, &vma, Span { start: vpn, end: next }).await?;
                vpn = next;
            }
        }
        Ok(())
    }

    /// Where there is nothing to read: an error, if something is wanted there.
    fn hmm_unusable(&self, cx: &Cx, range: &mut HmmRange, piece: Span) -> Result<(), Stop> {
        if range.need_any(piece, 0).is_some() {
            let mark = Mark::Forbidden { mm: range.mm, vpn: piece.start, access: Access::Read };
            self.mark(cx, || (mark, Seen::Flag(false)));
            return Err(Stop::Fail(Errno::EFAULT));
        }
        self.hmm_pfns_fill(cx, range, piece, hmm::ERROR);
        Ok(())
    }

    /// `hmm_pfns_fill`.
    fn hmm_pfns_fill(&self, cx: &Cx, range: &mut HmmRange, piece: Span, flags: u8) {
        (piece.start..piece.end).for_each(|vpn| self.hmm_pfn(cx, range, vpn, flags, None));
    }

    /// What is said of a page.
    fn hmm_pfn(&self, cx: &Cx, range: &mut HmmRange, vpn: u32, flags: u8, page: Option<Pfn>) {
        range.pfns[(vpn - range.span.start) as usize] = HmmPfn { flags, page };
        let mark = DeviceMark::Flags { mm: range.mm, vpn, device: range.device };
        self.device_mark(cx, mark, || Seen::Data(PageRef::Zero, u64::from(flags)));
    }

    /// `hmm_vma_walk_pmd`, `hmm_vma_walk_hole`.
    async fn hmm_vma_walk_pmd(
        &self,
        cx: &Cx,
        range: &mut HmmRange,
        vma: &Vma,
        piece: Span,
    ) -> Result<(), Stop> {
        let number = self.pmd_number(piece.start);
        self.machine.point().await;
        match self.pmd(range.mm, number) {
            Pmd::None => match range.need_any(piece, 0) {
                Some(need) => self.hmm_vma_fault(cx, range, vma, piece, need).await,
                None => {
                    self.hmm_pfns_fill(cx, range, piece, 0);
                    Ok(())
                }
            },
            Pmd::Migration { .. } => {
                if range.need_any(piece, 0).is_some() {
                    self.migration_entry_wait(cx, range.mm, piece.start).await;
                    return Err(Stop::Busy(piece.start));
                }
                self.hmm_pfns_fill(cx, range, piece, 0);
                Ok(())
            }
            Pmd::Huge { pfn, bits, .. } => {
                // hmm_vma_handle_pmd
                self.hit(Path::HmmHuge);
                let flags = hmm_flags(bits) | hmm::HUGE;
                if let Some(need) = range.need_any(piece, flags) {
                    return self.hmm_vma_fault(cx, range, vma, piece, need).await;
                }
                for vpn in piece.start..piece.end {
                    let page = Pfn(pfn.0 + self.pte_index(vpn));
                    self.hmm_pfn(cx, range, vpn, flags, Some(page));
                }
                Ok(())
            }
            Pmd::Table(_) => {
                for vpn in piece.start..piece.end {
                    let rest = Span { start: vpn, ..piece };
                    self.hmm_vma_handle_pte(cx, range, vma, rest).await?;
                }
                Ok(())
            }
        }
    }

    /// `hmm_vma_handle_pte`: the first page of `rest`, which goes to the end of the table.
    async fn hmm_vma_handle_pte(
        &self,
        cx: &Cx,
        range: &mut HmmRange,
        vma: &Vma,
        rest: Span,
    ) -> Result<(), Stop> {
        let vpn = rest.start;
        // pte_offset_map, without the lock
        self.machine.point().await;
        let (flags, page) = match self.lookup_pte(range.mm, vpn) {
            Pte::Present { pfn, bits } => (hmm_flags(bits) | self.hmm_kind(pfn), Some(pfn)),
            Pte::DevicePrivate { pfn, write } if range.device == Device::Private => {
                // The caller's own: reported, never faulted, whatever is asked.
                self.hit(Path::HmmPrivate);
                let write = if write { hmm::WRITE } else { 0 };
                self.hmm_pfn(cx, range, vpn, hmm::READ | write | hmm::PRIVATE, Some(pfn));
                return Ok(());
            }
            Pte::Migration { .. } if range.need(vpn, 0).is_some() => {
                self.migration_entry_wait(cx, range.mm, vpn).await;
                return Err(Stop::Busy(vpn));
            }
            _ => (0, None),
        };
        if let Some(need) = range.need(vpn, flags) {
            return self.hmm_vma_fault(cx, range, vma, rest, need).await;
        }
        self.hmm_pfn(cx, range, vpn, flags, page);
        Ok(())
    }

    /// `hmm_vma_fault`: every page of `rest`, though only the first is known to need it.
    async fn hmm_vma_fault(
        &self,
        cx: &Cx,
        range: &HmmRange,
        vma: &Vma,
        rest: Span,
        need: Need,
    ) -> Result<(), Stop> {
        self.hit(Path::HmmFault);
        let write = need == Need::WriteFault;
        if write && !vma.writable() {
            let mark = Mark::Forbidden { mm: range.mm, vpn: rest.start, access: Access::Write };
            self.mark(cx, || (mark, Seen::Flag(false)));
            return Err(Stop::Fail(Errno::EPERM));
        }
        let access = if write { Access::Write } else { Access::Read };
        for vpn in rest.start..rest.end {
            let lock = FaultLock::Mmap { retry: false };
            let vmf = Vmf { mm: range.mm, vma: *vma, vpn, access, lock };
            if self.handle_mm_fault(cx, &vmf).await.is_err() {
                return Err(Stop::Fail(Errno::EFAULT));
            }
        }
        Err(Stop::Busy(rest.start))
    }

    fn hmm_kind(&self, pfn: Pfn) -> u8 {
        if pfn == ZERO_PFN {
            hmm::ZERO
        } else if self.is_zone_device(self.frames.head(pfn)) {
            hmm::COHERENT
        } else {
            0
        }
    }
}

/// `pte_to_hmm_pfn_flags`.
fn hmm_flags(bits: Bits) -> u8 {
    match (bits.read, bits.write) {
        (false, _) => 0,
        (true, false) => hmm::READ,
        (true, true) => hmm::READ | hmm::WRITE,
    }
}
