//! A driver that pins one page a call (kernel: `drivers/vfio/vfio_iommu_type1.c` until 5.12).

use program::{Entry, Errno, MmId, Span};

use crate::frame::ZERO_PFN;
use crate::gup::{GupFlags, nth_page};
use crate::gup_sink::Sink;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `vfio_pin_pages_remote`. With `skip_tails` it takes what follows a page of a compound page
    /// in the address space for its tails, and spares itself the calls (Jordan in S4).
    #[expect(clippy::too_many_arguments, reason = "those of GUP and one more")]
    pub(crate) async fn vfio_pin_pages_remote(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        entry: Entry,
        flags: GupFlags,
        sink: &mut dyn Sink,
        skip_tails: bool,
    ) -> Result<u32, Errno> {
        let mut vpn = span.start;
        while vpn < span.end {
            let at = sink.mark();
            let one = Span { start: vpn, end: vpn + 1 };
            match self.gup(cx, mm, one, entry, flags, sink).await {
                Ok(0) => break,
                Ok(_) => vpn += 1,
                Err(errno) if vpn == span.start => return Err(errno),
                Err(_) => break,
            }
            let (page, _) = sink.entry(at);
            if skip_tails && page != ZERO_PFN {
                let head = self.frames.head(page);
                let tails = self.frames.nr_pages(head) - (page.0 - head.0) - 1;
                let tails = tails.min(span.end - vpn);
                if tails > 0 {
                    sink.push(self, nth_page(page, 1), tails, flags.write);
                    vpn += tails;
                }
            }
        }
        Ok(vpn - span.start)
    }
}
