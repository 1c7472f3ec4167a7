//! The lockless walk (kernel: `mm/gup.c`, `gup_fast` and below).

use program::{Entry, Errno, Foll as FollKind, MmId, Site, Span};

use crate::coverage::Path;
use crate::frame::{Pfn, ZERO_PFN};
use crate::gup::{GupFlags, nth_page};
use crate::pgtable::{Bits, Pmd, Pte};
use crate::world::{Cx, World};

impl World {
    /// `gup_fast_fallback`: the lockless prefix, then the slow walk for the rest.
    pub(crate) async fn gup_fast_fallback(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        entry: Entry,
        pages: &mut Vec<Pfn>,
    ) -> Result<u32, Errno> {
        let fast = self.gup_fast(cx, mm, span, flags, pages).await;
        if fast == span.end - span.start || entry == Entry::FastOnly {
            return Ok(fast);
        }
        let rest = Span { start: span.start + fast, end: span.end };
        match self.get_user_pages(cx, mm, rest, flags, pages).await {
            Ok(slow) => Ok(fast + slow),
            Err(errno) if fast == 0 => Err(errno),
            Err(_) => Ok(fast),
        }
    }

    /// `gup_fast`: interrupts off, no mmap_lock, no PTL.
    async fn gup_fast(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        pages: &mut Vec<Pfn>,
    ) -> u32 {
        let pin = flags.foll == Some(FollKind::Pin);
        let sequence = &self.mm(mm).write_protect_seq;
        let before = sequence.read();
        if pin && before & 1 != 0 {
            return 0;
        }
        self.machine.irq_disable();
        self.machine.point().await;
        let start = pages.len();
        let mut vpn = span.start;
        while vpn < span.end {
            let step = match self.pmd(mm, self.pmd_number(vpn)) {
                Pmd::Huge { pfn, bits, .. } => {
                    self.gup_fast_pmd_leaf(cx, pfn, bits, Span { start: vpn, ..span }, flags, pages)
                }
                Pmd::Table(table) => match self.pte(table, vpn) {
                    Pte::Present { pfn, bits } => self.gup_fast_pte(cx, pfn, bits, flags, pages),
                    _ => self.back_off(Path::FastNotPresent),
                },
                _ => self.back_off(Path::FastNoTable),
            };
            if step == 0 {
                break;
            }
            vpn += step;
        }
        self.machine.irq_enable();
        if pin && sequence.read() != before {
            for page in pages.drain(start..) {
                self.gup_put_folio(page, 1, FollKind::Pin);
            }
            return 0;
        }
        vpn - span.start
    }

    fn back_off(&self, why: Path) -> u32 {
        self.hit(why);
        0
    }

    /// What both leaves check; None: back off.
    fn gup_fast_leaf(
        &self,
        cx: &Cx,
        judge: Pfn,
        bits: Bits,
        refs: u32,
        flags: GupFlags,
    ) -> Option<()> {
        if !bits.read || (flags.write && !bits.write) {
            self.hit(Path::FastNotPermitted);
            return None;
        }
        if judge == ZERO_PFN {
            self.hit(Path::FastSpecial);
            return None;
        }
        // try_grab_folio_fast; then the entry is read again, then the must-unshare check.
        if self.refused(cx, Site::GrabFast) {
            self.hit(Path::FastGrabRefused);
            return None;
        }
        self.grab(judge, refs, flags.foll);
        if !bits.write && self.gup_must_unshare(judge, flags) {
            self.hit(Path::FastUnshare);
            if let Some(foll) = flags.foll {
                self.gup_put_folio(judge, refs, foll);
            }
            return None;
        }
        Some(())
    }

    /// `gup_fast_pte_range`, one entry.
    fn gup_fast_pte(
        &self,
        cx: &Cx,
        pfn: Pfn,
        bits: Bits,
        flags: GupFlags,
        pages: &mut Vec<Pfn>,
    ) -> u32 {
        if self.gup_fast_leaf(cx, pfn, bits, 1, flags).is_none() {
            return 0;
        }
        self.hit(Path::FastPte);
        pages.push(pfn);
        1
    }

    /// `gup_fast_pmd_leaf`: the part of the huge entry inside the range, in one grab.
    fn gup_fast_pmd_leaf(
        &self,
        cx: &Cx,
        head: Pfn,
        bits: Bits,
        span: Span,
        flags: GupFlags,
        pages: &mut Vec<Pfn>,
    ) -> u32 {
        let index = self.pte_index(span.start);
        let refs = (u32::from(self.shape.ptes) - index).min(span.end - span.start);
        if self.gup_fast_leaf(cx, head, bits, refs, flags).is_none() {
            return 0;
        }
        self.hit(Path::FastPmd);
        // record_subpages
        pages.extend((0..refs).map(|j| nth_page(head, index + j)));
        refs
    }
}
