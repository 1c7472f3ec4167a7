//! The page tables of the devices (`dmirror->pt`), and what goes through them: accesses, snapshots,
//! exclusive pages.

use program::{Device, DeviceMark, Errno, Foll, MmId, Request, Seen, Span, hmm, written};

use crate::coverage::Path;
use crate::driver::{MirrorPte, Read};
use crate::frame::Pfn;
use crate::hmm::HmmRange;
use crate::pgtable::Pte;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `dmirror_read`, `dmirror_write`: through the device's own page table, faulting a page at a
    /// time.
    pub(crate) async fn device_access(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        device: Device,
        write: bool,
        data: &mut Vec<u64>,
    ) -> Result<u32, Errno> {
        for (at, vpn) in (0..).zip(span.start..span.end) {
            let pfn = self.mirror_page(cx, mm, vpn, device, write).await?;
            if write {
                self.frames.set_data(pfn, written(cx.number, at));
                let mark = DeviceMark::Store { mm, vpn, device, at };
                self.device_mark(cx, mark, || Seen::Page(self.page_ref(pfn)));
            } else {
                let value = self.frames.data(pfn);
                self.device_mark(cx, DeviceMark::Load { mm, vpn, device }, || {
                    Seen::Data(self.page_ref(pfn), value)
                });
                data.push(value);
            }
        }
        Ok(span.end - span.start)
    }

    /// What the mirror maps the page to, after a `dmirror_fault` if it does not permit the access.
    async fn mirror_page(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        device: Device,
        write: bool,
    ) -> Result<Pfn, Errno> {
        self.machine.point().await;
        if let Some(entry) = self.mirror(device, mm, vpn).filter(|entry| entry.write || !write) {
            self.hit(Path::MirrorHit);
            return Ok(entry.pfn);
        }
        let request = if write { Request::Write } else { Request::Fault };
        let span = Span { start: vpn, end: vpn + 1 };
        let mut range = HmmRange { mm, span, request, odd: false, device, pfns: Vec::new() };
        self.mmap_read_lock(mm).await;
        let result = self.dmirror_range_fault(cx, &mut range).await;
        self.mmap_read_unlock(mm);
        result?;
        // dmirror_do_fault
        let found = range.pfns[0];
        let (Some(pfn), writable) = (found.page, found.flags & hmm::WRITE != 0) else {
            return Err(Errno::EFAULT);
        };
        if write && !writable {
            self.use_mark(cx, &range, vpn);
            return Err(Errno::EFAULT);
        }
        self.mirror_store(MirrorPte { device, mm, vpn, pfn, write: writable });
        Ok(pfn)
    }

    /// `dmirror_range_fault`: until nothing has changed meanwhile. What it found is true as long as
    /// nobody else runs.
    async fn dmirror_range_fault(&self, cx: &Cx, range: &mut HmmRange) -> Result<(), Errno> {
        loop {
            self.mmu_interval_read_begin(cx, range.mm, range.span);
            let result = self.hmm_range_fault(cx, range).await;
            let again = self.mmu_interval_read_retry(cx);
            self.drivers.reads.borrow_mut().retain(|read| read.number != cx.number);
            if !again || !matches!(result, Ok(()) | Err(Errno::EBUSY)) {
                return result;
            }
            self.hit(Path::HmmRetry);
            self.machine.lap(&(cx.number, range.span.start, cx.attempt.get()));
            self.machine.cond_resched().await;
        }
    }

    /// `mmu_interval_read_begin`.
    fn mmu_interval_read_begin(&self, cx: &Cx, mm: MmId, span: Span) {
        let read = Read { number: cx.number, mm, span, stale: false };
        self.drivers.mirrored.set(true);
        self.drivers.reads.borrow_mut().push(read);
    }

    /// `mmu_interval_read_retry`, `mmu_interval_check_retry`.
    pub(crate) fn mmu_interval_read_retry(&self, cx: &Cx) -> bool {
        let reads = self.drivers.reads.borrow();
        reads.iter().any(|read| read.number == cx.number && read.stale)
    }

    fn mirror(&self, device: Device, mm: MmId, vpn: u32) -> Option<MirrorPte> {
        let mirrors = self.drivers.mirrors.borrow();
        let at = |entry: &&MirrorPte| (entry.device, entry.mm, entry.vpn) == (device, mm, vpn);
        mirrors.iter().find(at).copied()
    }

    pub(crate) fn mirror_store(&self, new: MirrorPte) {
        let mut mirrors = self.drivers.mirrors.borrow_mut();
        let at = |entry: &MirrorPte| {
            (entry.device, entry.mm, entry.vpn) == (new.device, new.mm, new.vpn)
        };
        mirrors.retain(|entry| !at(entry));
        mirrors.push(new);
        self.drivers.mirrored.set(true);
    }

    /// `mmu_interval_notifier_ops.invalidate` of both drivers, and the sequence of those who read.
    #[inline]
    pub(crate) fn mirrors_invalidate(&self, mm: MmId, start: u32, end: u32) {
        if self.drivers.mirrored.get() {
            self.mirrors_forget(mm, start, end);
        }
    }

    fn mirrors_forget(&self, mm: MmId, start: u32, end: u32) {
        let mut mirrors = self.drivers.mirrors.borrow_mut();
        mirrors.retain(|entry| entry.mm != mm || !(start..end).contains(&entry.vpn));
        for read in self.drivers.reads.borrow_mut().iter_mut() {
            let Span { start: first, end: last } = read.span;
            read.stale |= read.mm == mm && first < end && start < last;
        }
    }

    /// `dmirror_snapshot`: chunk by chunk. Reports flags and content of each page.
    #[expect(clippy::too_many_arguments, reason = "they are those of struct hmm_range")]
    pub(crate) async fn device_snapshot(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        device: Device,
        request: Request,
        odd: bool,
        data: &mut Vec<u64>,
    ) -> Result<u32, Errno> {
        for span in self.chunks(span) {
            let mut range = HmmRange { mm, span, request, odd, device, pfns: Vec::new() };
            self.mmap_read_lock(mm).await;
            let result = self.dmirror_range_fault(cx, &mut range).await;
            if result.is_ok() {
                for vpn in span.start..span.end {
                    data.push(self.use_mark(cx, &range, vpn));
                }
            }
            self.mmap_read_unlock(mm);
            result?;
        }
        Ok(span.end - span.start)
    }

    /// A driver looks at what is known of a page, and it is still true. Flags and content.
    fn use_mark(&self, cx: &Cx, range: &HmmRange, vpn: u32) -> u64 {
        let HmmRange { mm, device, .. } = *range;
        let found = range.pfns[(vpn - range.span.start) as usize];
        let word = hmm::word(found.flags, found.page.map_or(0, |page| self.frames.data(page)));
        let valid = found.page.is_some();
        self.device_mark(cx, DeviceMark::Use { mm, vpn, device, valid }, || {
            found.page.map_or(Seen::Nothing, |page| Seen::Data(self.page_ref(page), word))
        });
        word
    }

    /// `dmirror_exclusive`: chunk by chunk; -EBUSY unless every page of a chunk became exclusive.
    pub(crate) async fn device_exclusive(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        device: Device,
        data: &mut Vec<u64>,
    ) -> Result<u32, Errno> {
        for chunk in self.chunks(span) {
            let found = self.make_device_exclusive_range(cx, mm, chunk).await;
            let wanted = (chunk.end - chunk.start) as usize;
            let mut mapped = 0;
            for (vpn, page) in (chunk.start..chunk.end).zip(&found) {
                let Some(pfn) = *page else { continue };
                let value = self.frames.data(pfn);
                if found.len() == wanted {
                    // dmirror_atomic_map; the folio lock does not keep a zap away.
                    let kept = matches!(self.lookup_pte(mm, vpn),
                        Pte::DeviceExclusive { pfn: there, .. } if there == pfn);
                    if kept {
                        let write = false;
                        self.mirror_store(MirrorPte { device, mm, vpn, pfn, write });
                    }
                    let mark = DeviceMark::Map { mm, vpn, device, kept };
                    self.device_mark(cx, mark, || {
                        if kept { Seen::Data(self.page_ref(pfn), value) } else { Seen::Nothing }
                    });
                    mapped += 1;
                }
                data.push(value);
                self.folio_unlock(cx, pfn);
                self.unhold(cx, pfn, 1, Foll::Get);
            }
            if mapped < wanted {
                data.clear();
                return Err(Errno::EBUSY);
            }
        }
        Ok(span.end - span.start)
    }
}
