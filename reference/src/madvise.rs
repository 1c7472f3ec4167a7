//! madvise (ops 2).

use program::{Advice, Errno, MmId, Span, VmaFlags};

use crate::fault::Access;
use crate::gup::Want;
use crate::mm::Pmd;
use crate::state::{Done, State, Stop, fail};
use crate::vma::Vma;

impl State {
    pub fn madvise(&mut self, mm: MmId, span: Span, advice: Advice) -> Done {
        match advice {
            Advice::PopulateRead => self.populate(mm, span, Access::Read),
            Advice::PopulateWrite => self.populate(mm, span, Access::Write),
            Advice::DontNeed => self.madvise_walk_vmas(mm, span, advice),
            _ => {
                self.mmap_write_lock(mm)?;
                self.madvise_walk_vmas(mm, span, advice)
            }
        }
    }

    /// VMA by VMA. Holes are passed over, but make the result ENOMEM.
    fn madvise_walk_vmas(&mut self, mm: MmId, span: Span, advice: Advice) -> Done {
        let mut hole = false;
        let mut at = span.start;
        while at < span.end {
            let Some(vma) = self.vma_from(mm, at).filter(|vma| vma.start < span.end) else {
                hole = true;
                break;
            };
            hole |= at < vma.start;
            let (start, end) = (vma.start.max(at), vma.end.min(span.end));
            self.madvise_vma(mm, &vma, start, end, advice)?;
            at = end;
        }
        if hole { fail(Errno::ENOMEM) } else { Ok(()) }
    }

    fn madvise_vma(&mut self, mm: MmId, vma: &Vma, start: u32, end: u32, advice: Advice) -> Done {
        let old = vma.flags;
        let flags = match advice {
            Advice::DontNeed => {
                self.lru_add_drain(self.now.cpu);
                self.zap(mm, start, end);
                if self.kernel.dontneed_frees_tables() {
                    self.free_empty_tables(mm, start, end);
                }
                return Ok(());
            }
            Advice::Collapse => return self.madvise_collapse(mm, vma, start, end),
            _ => advised(old, advice),
        };
        if flags != old {
            self.set_vma_flags(mm, start, end, flags);
        }
        Ok(())
    }

    /// `try_get_and_clear_pmd`: of the PMDs wholly inside the range.
    fn free_empty_tables(&mut self, mm: MmId, start: u32, end: u32) {
        for pmd in start.div_ceil(self.ptes)..end / self.ptes {
            if self.pmd(mm, pmd) == Pmd::Table {
                self.set_pmd(mm, pmd, Pmd::None);
            }
        }
    }

    /// MADV_POPULATE_*: GUP's slow walk without references, drained after. A walk that fails after
    /// its first page is simply made again from there (`madvise_populate`).
    fn populate(&mut self, mm: MmId, span: Span, access: Access) -> Done {
        let mut walked = false;
        let mut vpn = span.start;
        while vpn < span.end {
            match self.populate_page(mm, vpn, access) {
                Ok(()) => (walked, vpn) = (true, vpn + 1),
                Err(Stop::Fail(_)) if walked => {
                    self.lru_add_drain(self.now.cpu);
                    walked = false;
                }
                Err(stop) => {
                    self.lru_add_drain(self.now.cpu);
                    return Err(stop);
                }
            }
        }
        self.lru_add_drain(self.now.cpu);
        Ok(())
    }

    fn populate_page(&mut self, mm: MmId, vpn: u32, access: Access) -> Done {
        let write = access == Access::Write;
        let Some(vma) = self.vma(mm, vpn) else { return fail(Errno::ENOMEM) };
        if !(if write { vma.is_writable() } else { vma.is_readable() }) {
            return fail(Errno::EINVAL);
        }
        let want = Want { write, unlockable: true, ..Want::default() };
        while let Err(access) = self.follow_page(mm, vpn, want) {
            self.faultin_page(mm, vpn, access, want)?;
        }
        Ok(())
    }
}

/// What an advice makes of a VMA's flags.
pub(crate) fn advised(old: VmaFlags, advice: Advice) -> VmaFlags {
    match advice {
        Advice::DontFork => VmaFlags { dontfork: true, ..old },
        Advice::DoFork => VmaFlags { dontfork: false, ..old },
        Advice::HugePage => VmaFlags { hugepage: true, nohugepage: false, ..old },
        Advice::NoHugePage => VmaFlags { hugepage: false, nohugepage: true, ..old },
        _ => old,
    }
}
