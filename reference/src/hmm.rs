//! `hmm_range_fault` (B12).

use program::{Device, EntryKind, Errno, MmId, Place, Request, Ret, Span, hmm};

use crate::fault::Access;
use crate::mm::{Page, Pmd};
use crate::state::{Done, State, Stop, fail};
use crate::vma::Vma;

/// What is asked of which pages.
struct Range {
    mm: MmId,
    span: Span,
    device: Device,
    request: Request,
    /// Of the odd pages alone.
    odd: bool,
}

/// What is said of a page.
pub(crate) type Found = (u8, Option<Page>);

impl Range {
    /// Whether a page with these flags must be faulted, and if so, for writing.
    fn need(&self, vpn: u32, flags: u8) -> Option<bool> {
        if self.odd && (vpn - self.span.start).is_multiple_of(2) {
            return None;
        }
        match self.request {
            Request::Nothing => None,
            Request::Write if flags & hmm::WRITE == 0 => Some(true),
            Request::Write | Request::Fault => (flags & hmm::READ == 0).then_some(false),
        }
    }

    /// The same for pages that have these flags in common.
    fn need_any(&self, start: u32, end: u32, flags: u8) -> Option<bool> {
        (start..end).filter_map(|vpn| self.need(vpn, flags)).reduce(|a, b| a || b)
    }
}

impl State {
    /// Flags and content of each page, chunk by chunk.
    pub fn hmm_snapshot(
        &mut self,
        mm: MmId,
        span: Span,
        device: Device,
        request: Request,
        odd: bool,
        values: &mut Vec<u64>,
    ) -> Done<Ret> {
        let mut start = span.start;
        while start < span.end {
            let chunk = Span { start, end: span.end.min(start + self.driver_chunk()) };
            let found = self.hmm_range_fault(&Range { mm, span: chunk, device, request, odd })?;
            for (flags, page) in found {
                let content = page.map_or(0, |page| self.ledger.data(page));
                values.push(hmm::word(flags, content));
            }
            start = chunk.end;
        }
        Ok(Ret::Ok(span.end - span.start))
    }

    /// One page, readable afterwards.
    pub fn hmm_page(
        &mut self,
        mm: MmId,
        vpn: u32,
        device: Device,
        request: Request,
    ) -> Done<(u8, Page)> {
        let span = Span { start: vpn, end: vpn + 1 };
        let found = self.hmm_range_fault(&Range { mm, span, device, request, odd: false })?;
        match found[..] {
            [(flags, Some(page))] => Ok((flags, page)),
            _ => fail(Errno::EFAULT),
        }
    }

    fn hmm_range_fault(&mut self, range: &Range) -> Done<Vec<Found>> {
        let Span { start, end } = range.span;
        let mut found: Vec<Found> = Vec::new();
        loop {
            let at = start + found.len() as u32;
            if at >= end {
                return Ok(found);
            }
            let vma = self.vma_from(range.mm, at).filter(|vma| vma.start < end);
            let vma = match vma {
                Some(vma) if vma.start <= at && vma.is_readable() => vma,
                _ => {
                    // No VMA, or none that can be read: an error, if something is wanted there.
                    let last = match vma {
                        Some(vma) if vma.start <= at => vma.end.min(end),
                        Some(vma) => vma.start,
                        None => end,
                    };
                    if range.need_any(at, last, 0).is_some() {
                        return fail(Errno::EFAULT);
                    }
                    found.extend((at..last).map(|_| (hmm::ERROR, None)));
                    continue;
                }
            };
            let last = end.min(vma.end).min((at / self.ptes + 1) * self.ptes);
            self.hmm_pmd(range, &vma, at, last, &mut found)?;
        }
    }

    /// At least one page of `at..last`, which one PMD covers; none if something was faulted in.
    fn hmm_pmd(
        &mut self,
        range: &Range,
        vma: &Vma,
        at: u32,
        last: u32,
        found: &mut Vec<Found>,
    ) -> Done {
        match self.pmd(range.mm, at / self.ptes) {
            Pmd::None => match range.need_any(at, last, 0) {
                Some(write) => return self.hmm_vma_fault(range, vma, at, last, write),
                None => found.extend((at..last).map(|_| (0, None))),
            },
            Pmd::Huge(entry) => {
                let write = if entry.write { hmm::WRITE } else { 0 };
                let flags = hmm::READ | write | hmm::HUGE;
                if let Some(write) = range.need_any(at, last, flags) {
                    return self.hmm_vma_fault(range, vma, at, last, write);
                }
                let page = |vpn| self.translate(range.mm, vpn).map(|mapped| mapped.entry.page);
                found.extend((at..last).map(|vpn| (flags, page(vpn))));
            }
            Pmd::Table => {
                let (flags, page, asked) = self.hmm_pte(range, at);
                let need = range.need(at, flags).filter(|_| asked);
                let entry = self.entry(range.mm, at);
                let migrating = |kind| matches!(kind, EntryKind::Migration { .. });
                match need {
                    Some(_) if entry.is_some_and(|entry| migrating(entry.kind)) => {
                        return Err(Stop::Sleep);
                    }
                    Some(write) => return self.hmm_vma_fault(range, vma, at, last, write),
                    None => found.push((flags, page)),
                }
            }
        }
        Ok(())
    }

    /// A PTE; whether what is asked for is to be faulted in.
    fn hmm_pte(&self, range: &Range, vpn: u32) -> (u8, Option<Page>, bool) {
        let Some(entry) = self.entry(range.mm, vpn) else { return (0, None, true) };
        let write = if entry.write { hmm::WRITE } else { 0 };
        match entry.kind {
            // The asker's own: said as it is, whatever is asked.
            EntryKind::DevicePrivate if range.device == Device::Private => {
                (hmm::READ | write | hmm::PRIVATE, Some(entry.page), false)
            }
            EntryKind::Present if entry.read => {
                let kind = match entry.page {
                    Page::Zero => hmm::ZERO,
                    Page::Of(folio, _) if self.ledger.folio(folio).place == Place::Coherent => {
                        hmm::COHERENT
                    }
                    Page::Of(..) => 0,
                };
                (hmm::READ | write | kind, Some(entry.page), true)
            }
            _ => (0, None, true),
        }
    }

    /// What is said of a page of which nothing is asked.
    pub fn hmm_flags(&self, mm: MmId, vpn: u32, device: Device) -> Found {
        let span = Span { start: vpn, end: vpn + 1 };
        let range = Range { mm, span, device, request: Request::Nothing, odd: false };
        let readable = self.vma(mm, vpn).is_some_and(|vma| vma.is_readable());
        match self.pmd(mm, vpn / self.ptes) {
            _ if !readable => (hmm::ERROR, None),
            Pmd::Huge(entry) if entry.is_present() => {
                let write = if entry.write { hmm::WRITE } else { 0 };
                let page = self.translate(mm, vpn).map(|mapped| mapped.entry.page);
                (hmm::READ | write | hmm::HUGE, page)
            }
            Pmd::None | Pmd::Huge(_) => (0, None),
            Pmd::Table => {
                let (flags, page, _) = self.hmm_pte(&range, vpn);
                (flags, page)
            }
        }
    }

    /// `hmm_vma_fault`: every page of the rest, though only one is known to need it.
    fn hmm_vma_fault(&mut self, range: &Range, vma: &Vma, at: u32, last: u32, write: bool) -> Done {
        if write && !vma.is_writable() {
            return fail(Errno::EPERM);
        }
        let access = if write { Access::Write } else { Access::Read };
        for vpn in at..last {
            self.fault(range.mm, vpn, access).map_err(|stop| match stop {
                Stop::Fail(_) | Stop::Userfault => Stop::Fail(Errno::EFAULT),
                sleep => sleep,
            })?;
        }
        Ok(())
    }
}
