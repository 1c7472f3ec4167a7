//! userfaultfd, mode "missing" (ops 2, B15, decision 13).

use program::{
    Birth, Errno, Mark, MmId, Op, Place, Ret, Seen, Site, Span, Uffd, Uffdio, VmaFlags, written,
};

use crate::flight::Flight;
use crate::mm::{Entry, Page, Pmd};
use crate::state::{Done, State, Stop, fail};
use crate::vma::Vma;

impl State {
    /// Whether a fault in the mm can sleep until it is filled in.
    pub fn userfaults(&self, mm: MmId) -> bool {
        let waits = |vma: &Vma| vma.flags.uffd == Uffd::Missing;
        self.mms.get(usize::from(mm.0)).is_some_and(|mm| mm.vmas.iter().any(waits))
    }

    pub fn uffd(&mut self, mm: MmId, span: Span, uffdio: Uffdio) -> Done<Ret> {
        match uffdio {
            Uffdio::Register => {
                self.armed = true;
                self.uffd_set(mm, span, uffdio)
            }
            Uffdio::RegisterSigbus | Uffdio::Unregister => self.uffd_set(mm, span, uffdio),
            Uffdio::Copy => return self.uffd_fill(mm, span, true),
            Uffdio::ZeroPage => return self.uffd_fill(mm, span, false),
            // Nobody sleeps between steps.
            Uffdio::Wake => Ok(()),
        }
        .map(|()| Ret::Ok(0))
    }

    /// Why an operation is refused, whatever the pages are.
    pub fn uffd_check(&self, mm: MmId, span: Span, uffdio: Uffdio) -> Result<(), Errno> {
        let Span { start, end } = span;
        let Some(uffd) = registers(uffdio) else {
            let registered = |vma: &Vma| end <= vma.end && vma.flags.uffd != Uffd::None;
            let found = self.vma(mm, start).filter(registered);
            return found.map(drop).ok_or(Errno::ENOENT);
        };
        let vmas = self.mm(mm).vmas.iter().filter(|vma| vma.intersects(start, end));
        let mut errors = vmas.clone().filter_map(|vma| {
            let foreign = vma.flags.uffd != Uffd::None && vma.flags.uffd != uffd;
            match vma.is_anonymous() {
                false => Some(Errno::EINVAL),
                true => (uffd != Uffd::None && foreign).then_some(Errno::EBUSY),
            }
        });
        if vmas.clone().next().is_none() {
            return Err(Errno::EINVAL);
        }
        errors.next().map_or(Ok(()), Err)
    }

    /// Registers or unregisters every VMA of the range, or none.
    fn uffd_set(&mut self, mm: MmId, span: Span, uffdio: Uffdio) -> Done {
        self.mmap_write_lock(mm)?;
        self.uffd_check(mm, span, uffdio).map_err(Stop::Fail)?;
        let uffd = registers(uffdio).unwrap_or(Uffd::None);
        let Span { start, end } = span;
        let mut at = start;
        while let Some(vma) = self.vma_from(mm, at).filter(|vma| vma.start.max(at) < end) {
            let (first, last) = (vma.start.max(at), vma.end.min(end));
            if vma.flags.uffd != uffd {
                self.set_vma_flags(mm, first, last, VmaFlags { uffd, ..vma.flags });
            }
            at = last;
        }
        Ok(())
    }

    /// `mfill_atomic`: page by page, up to the first that fails.
    fn uffd_fill(&mut self, mm: MmId, span: Span, copy: bool) -> Done<Ret> {
        if self.vma(mm, span.start).is_some_and(|vma| !vma.flags.shared) {
            self.anon_vma_prepare(mm, span.start);
        }
        let uffdio = if copy { Uffdio::Copy } else { Uffdio::ZeroPage };
        self.uffd_check(mm, span, uffdio).map_err(Stop::Fail)?;
        let Some(vma) = self.vma(mm, span.start) else { return fail(Errno::ENOENT) };
        for vpn in span.start..span.end {
            let filled = vpn - span.start;
            match self.uffd_fill_page(mm, vpn, &vma, copy, filled) {
                Err(_) if filled > 0 => return Ok(Ret::Ok(filled)),
                result => result?,
            }
        }
        Ok(Ret::Ok(span.end - span.start))
    }

    fn uffd_fill_page(&mut self, mm: MmId, vpn: u32, vma: &Vma, copy: bool, index: u32) -> Done {
        self.table_for(mm, vpn)?;
        self.install_table(mm, vpn);
        if matches!(self.pmd(mm, vpn / self.ptes), Pmd::Huge(_)) {
            return fail(Errno::EEXIST);
        }
        let taken = self.entry(mm, vpn).is_some();
        if copy {
            let birth = Birth::Anon(mm, vpn);
            let folio = self.alloc(Site::Page, 0, birth, true)?;
            if taken {
                self.unborn(folio, birth);
            } else {
                let data = written(self.now.number, index);
                self.map_new_anon(mm, vpn, folio, data, vma.is_readable(), vma.is_writable());
            }
        } else if !taken {
            let entry = Entry::present(Page::Zero, vma.is_readable(), false);
            self.set_entry(mm, vpn, Some(entry));
        }
        if taken { fail(Errno::EEXIST) } else { Ok(()) }
    }

    /// `handle_userfault`: what becomes of a fault that finds nothing in such a VMA.
    pub fn handle_userfault(&self, vma: &Vma) -> Done {
        match vma.flags.uffd {
            Uffd::None => Ok(()),
            Uffd::Sigbus => fail(Errno::SIGBUS),
            Uffd::Missing => Err(Stop::Userfault),
        }
    }

    /// The mark of a fault that finds nothing where userfaultfd is to be told, or was killed in the wait.
    pub fn userfault_mark(&self, op: &Op, flight: &mut Flight, mark: Mark) -> Option<Seen> {
        let Mark::Userfault { mm, vpn, sigbus } = mark else {
            flight.error = Some(Errno::EINTR);
            return Some(Seen::Nothing);
        };
        let uffd = self.vma(mm, vpn)?.flags.uffd;
        if sigbus {
            let signal = matches!(op, Op::Read { .. } | Op::Write { .. });
            flight.error = Some(if signal { Errno::SIGBUS } else { Errno::EFAULT });
            flight.last_fail = Some(Errno::EINVAL); // SCAN_FAIL
        }
        let missing = match self.pmd(mm, vpn / self.ptes) {
            Pmd::None => true,
            Pmd::Table => self.entry(mm, vpn).is_none(),
            Pmd::Huge(_) => false,
        };
        Some(Seen::Flag(missing && uffd != Uffd::None && (sigbus || uffd == Uffd::Missing)))
    }

    /// The mark of a page filled in: a copy, from there and with that content, or the zero page.
    pub fn uffd_map(&mut self, mm: MmId, vpn: u32, copy: Option<(Place, u64)>) -> Option<()> {
        let vma = self.vma(mm, vpn).filter(|vma| vma.flags.uffd != Uffd::None)?;
        match copy {
            Some((place, data)) => {
                let folio = self.born(Birth::Anon(mm, vpn), 0, place, true);
                self.map_new_anon(mm, vpn, folio, data, vma.is_readable(), vma.is_writable());
            }
            None => {
                let entry = Entry::present(Page::Zero, vma.is_readable(), false);
                self.set_entry(mm, vpn, Some(entry));
            }
        }
        Some(())
    }
}

/// What a VMA is registered for by the operation, if it is one that registers or unregisters.
pub(crate) fn registers(uffdio: Uffdio) -> Option<Uffd> {
    match uffdio {
        Uffdio::Register => Some(Uffd::Missing),
        Uffdio::RegisterSigbus => Some(Uffd::Sigbus),
        Uffdio::Unregister => Some(Uffd::None),
        Uffdio::Copy | Uffdio::ZeroPage | Uffdio::Wake => None,
    }
}
