//! The page tables of the devices (`dmirror->pt`), and what goes through them: accesses, snapshots,
//! exclusive pages.

use program::{Device, Errno, MmId, Request, Span, hmm, written};

use crate::coverage::Path;
use crate::driver::MirrorPte;
use crate::frame::Pfn;
use crate::hmm::HmmRange;
use crate::world::{Cx, World};

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
        for vpn in span.start..span.end {
            let pfn = self.mirror_page(cx, mm, vpn, device, write).await?;
            if write {
                self.frames.set_data(pfn, written(cx.number, vpn - span.start));
            } else {
                data.push(self.frames.data(pfn));
            }
        }
        Ok(span.end - span.start)
    }

    /// `dmirror_fault` of one page, if the mirror does not permit the access.
    async fn mirror_page(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        device: Device,
        write: bool,
    ) -> Result<Pfn, Errno> {
        if let Some(entry) = self.mirror(device, mm, vpn).filter(|entry| entry.write || !write) {
            self.hit(Path::MirrorHit);
            return Ok(entry.pfn);
        }
        let request = if write { Request::Write } else { Request::Fault };
        let span = Span { start: vpn, end: vpn + 1 };
        let mut range = HmmRange { mm, span, request, odd: false, device, pfns: Vec::new() };
        self.mm(mm).mmap_lock.read(&self.machine, "mmap_lock").await;
        let result = self.hmm_range_fault(cx, &mut range).await;
        self.mm(mm).mmap_lock.read_unlock(&self.machine, "mmap_lock");
        result?;
        // dmirror_do_fault
        let found = range.pfns[0];
        let (Some(pfn), writable) = (found.page, found.flags & hmm::WRITE != 0) else {
            return Err(Errno::EFAULT);
        };
        if write && !writable {
            return Err(Errno::EFAULT);
        }
        self.mirror_store(MirrorPte { device, mm, vpn, pfn, write: writable });
        Ok(pfn)
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
    }

    /// `mmu_interval_notifier_ops.invalidate` of both drivers.
    #[inline]
    pub(crate) fn mirrors_invalidate(&self, mm: MmId, start: u32, end: u32) {
        let mut mirrors = self.drivers.mirrors.borrow_mut();
        if !mirrors.is_empty() {
            mirrors.retain(|entry| entry.mm != mm || !(start..end).contains(&entry.vpn));
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
            self.mm(mm).mmap_lock.read(&self.machine, "mmap_lock").await;
            let result = self.hmm_range_fault(cx, &mut range).await;
            self.mm(mm).mmap_lock.read_unlock(&self.machine, "mmap_lock");
            result?;
            data.extend(range.pfns.iter().map(|found| {
                hmm::word(found.flags, found.page.map_or(0, |page| self.frames.data(page)))
            }));
        }
        Ok(span.end - span.start)
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
                if found.len() == wanted {
                    // dmirror_atomic_map
                    self.mirror_store(MirrorPte { device, mm, vpn, pfn, write: false });
                    mapped += 1;
                }
                data.push(self.frames.data(pfn));
                self.folio_unlock(cx, pfn);
                self.folio_put(pfn);
            }
            if mapped < wanted {
                data.clear();
                return Err(Errno::EBUSY);
            }
        }
        Ok(span.end - span.start)
    }
}
