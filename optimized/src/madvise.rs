//! madvise (kernel: `mm/madvise.c`).

use program::{Advice, Errno, Mark, MmId, Seen, Span, VmaFlags};

use crate::vma::Vma;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `do_madvise`.
    pub(crate) async fn do_madvise(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        advice: Advice,
    ) -> Result<(), Errno> {
        match advice {
            Advice::PopulateRead => self.madvise_populate(cx, mm, span, false).await,
            Advice::PopulateWrite => self.madvise_populate(cx, mm, span, true).await,
            Advice::DontNeed | Advice::Collapse => {
                self.mmap_read_lock(mm).await;
                let result = self.madvise_walk_vmas(cx, mm, span, advice).await;
                self.mmap_read_unlock(mm);
                result
            }
            _ => {
                self.mmap_write_lock(cx, mm).await;
                let result = self.madvise_walk_vmas(cx, mm, span, advice).await;
                self.mmap_write_unlock(cx, mm);
                result
            }
        }
    }

    /// `madvise_walk_vmas`: holes are passed over, and make the result -ENOMEM.
    async fn madvise_walk_vmas(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        advice: Advice,
    ) -> Result<(), Errno> {
        let mut vpn = span.start;
        let mut result = Ok(());
        while vpn < span.end {
            let Some(vma) = self.find_vma(mm, vpn).filter(|vma| vma.start < span.end) else {
                self.mark(cx, || (Mark::Hole { mm, vpn }, Seen::Flag(true)));
                return Err(Errno::ENOMEM);
            };
            if vpn < vma.start {
                self.mark(cx, || (Mark::Hole { mm, vpn }, Seen::Flag(true)));
                result = Err(Errno::ENOMEM);
                vpn = vma.start;
            }
            let piece = Span { start: vpn, end: vma.end.min(span.end) };
            match advice {
                Advice::Collapse => self.madvise_collapse(cx, mm, &vma, piece).await?,
                Advice::DontNeed => self.zap_page_range_single(cx, mm, &vma, piece).await,
                _ => self.madvise_vma_flags(cx, mm, &vma, piece, advice).await,
            }
            vpn = piece.end;
        }
        result
    }

    async fn madvise_vma_flags(&self, cx: &Cx, mm: MmId, vma: &Vma, piece: Span, advice: Advice) {
        let old = vma.flags;
        let flags = match advice {
            Advice::DontFork => VmaFlags { dontfork: true, ..old },
            Advice::DoFork => VmaFlags { dontfork: false, ..old },
            Advice::HugePage => VmaFlags { hugepage: true, nohugepage: false, ..old },
            Advice::NoHugePage => VmaFlags { hugepage: false, nohugepage: true, ..old },
            _ => old,
        };
        if flags != old {
            let id = self.vma_modify(cx, mm, vma, piece, flags).await;
            self.vm_write_end(id).await;
        }
    }

    /// `madvise_populate` over `faultin_page_range`.
    async fn madvise_populate(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        write: bool,
    ) -> Result<(), Errno> {
        let mut vpn = span.start;
        while vpn < span.end {
            let pages = self.faultin_page_range(cx, mm, Span { start: vpn, ..span }, write).await;
            self.lru_add_drain(cx.cpu);
            vpn += pages?;
        }
        Ok(())
    }
}
