//! mprotect (kernel: `mm/mprotect.c`, `change_huge_pmd`).

use program::{Errno, Mark, MmId, Prot, Seen, Span, VmaFlags};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::memory::page_prot;
use crate::pgtable::{Bits, Migration, Pmd, Pte, Table};
use crate::vma::Vma;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `do_mprotect_pkey`.
    pub(crate) async fn do_mprotect(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        prot: Prot,
    ) -> Result<(), Errno> {
        self.mmap_write_lock(cx, mm).await;
        let mut vpn = span.start;
        while vpn < span.end {
            let Some(vma) = self.vma_lookup(mm, vpn) else {
                self.mark(cx, || (Mark::Hole { mm, vpn }, Seen::Flag(true)));
                break;
            };
            let piece = Span { start: vpn, end: vma.end.min(span.end) };
            self.mprotect_fixup(cx, mm, &vma, piece, prot).await;
            vpn = piece.end;
        }
        self.mmap_write_unlock(cx, mm);
        if vpn < span.end { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    async fn mprotect_fixup(&self, cx: &Cx, mm: MmId, vma: &Vma, piece: Span, prot: Prot) {
        if vma.flags.prot == prot {
            return;
        }
        let flags = VmaFlags { prot, ..vma.flags };
        let id = self.vma_modify(cx, mm, vma, piece, flags).await;
        let changed = Vma { flags, ..*vma };
        self.change_protection(cx, mm, &changed, piece).await;
        self.vm_write_end(id).await;
    }

    async fn change_protection(&self, cx: &Cx, mm: MmId, vma: &Vma, span: Span) {
        self.mirrors_invalidate(mm, span.start, span.end);
        let mut vpn = span.start;
        let mut flush = false;
        while vpn < span.end {
            let pmd = self.pmd_number(vpn);
            let (start, next) = (self.pmd_start(pmd), self.pmd_start(pmd + 1));
            let end = next.min(span.end);
            if self.pmd(mm, pmd).is_huge() {
                if vpn == start && end == next {
                    flush |= self.change_huge_pmd(cx, mm, vma, pmd).await;
                } else {
                    self.split_huge_pmd(cx, mm, pmd).await;
                }
            }
            if let Pmd::Table(table) = self.pmd(mm, pmd) {
                let piece = Span { start: vpn, end };
                flush |= self.change_pte_range(cx, mm, vma, table, piece).await;
            }
            vpn = end;
        }
        if flush {
            self.flush_tlb_range(cx, mm, span).await;
        }
    }

    /// `change_pte_range`: whether TLBs must be flushed (`pte_needs_flush`).
    async fn change_pte_range(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        table: Table,
        span: Span,
    ) -> bool {
        let mut flush = false;
        self.ptl_lock(cx, mm).await;
        for vpn in span.start..span.end {
            self.machine.point().await;
            let (pfn, bits) = match self.pte(table, vpn) {
                Pte::None => continue,
                Pte::Present { pfn, bits } => (pfn, bits),
                other => {
                    self.set_pte(mm, table, vpn, self.not_present_without_write(other));
                    // The notifier's range is still open: what a driver mapped since it began is not
                    // to be used (mmu_interval_read_retry), also where the entry stays as it is.
                    self.mirrors_invalidate(mm, vpn, vpn + 1);
                    self.protect_mark(cx, mm, vpn);
                    continue;
                }
            };
            let mut new = Bits { dirty: bits.dirty, ..page_prot(vma) };
            if !new.write && self.can_change_pte_writable(vma, pfn, bits) {
                self.hit(Path::ProtUpgrade);
                new.write = true;
            }
            if self.has(Defect::MprotectLosesExclusive) && pfn != ZERO_PFN {
                self.frames.set_exclusive(pfn, false);
            }
            self.set_pte(mm, table, vpn, Pte::Present { pfn, bits: new });
            self.protect_mark(cx, mm, vpn);
            flush |= bits.needs_flush(new);
        }
        self.ptl_unlock(cx, mm);
        flush
    }

    fn protect_mark(&self, cx: &Cx, mm: MmId, vpn: u32) {
        self.mark(cx, || (Mark::Protect { mm, vpn }, self.seen_entry(mm, vpn)));
    }

    /// Entries that are not present lose write, whatever the new protection: a fault gives it back.
    fn not_present_without_write(&self, pte: Pte) -> Pte {
        match pte {
            Pte::Migration { pfn, kind: Migration::Writable, dirty } => {
                let anon = self.frames.anon(self.frames.head(pfn));
                let kind = if anon { Migration::ReadableExclusive } else { Migration::Readable };
                Pte::Migration { pfn, kind, dirty }
            }
            Pte::DevicePrivate { pfn, .. } => Pte::DevicePrivate { pfn, write: false },
            Pte::DeviceExclusive { pfn, .. } => Pte::DeviceExclusive { pfn, write: false },
            other => other,
        }
    }

    /// `can_change_pte_writable`.
    fn can_change_pte_writable(&self, vma: &Vma, pfn: Pfn, old: Bits) -> bool {
        if !vma.writable() {
            return false;
        }
        if vma.flags.shared {
            return old.dirty;
        }
        pfn != ZERO_PFN
            && self.frames.anon(self.frames.head(pfn))
            && (self.frames.exclusive(pfn) || self.has(Defect::UpgradeIgnoresExclusive))
    }

    /// `change_huge_pmd`: whether TLBs must be flushed (`huge_pmd_needs_flush`).
    async fn change_huge_pmd(&self, cx: &Cx, mm: MmId, vma: &Vma, number: u32) -> bool {
        let mut flush = false;
        self.ptl_lock(cx, mm).await;
        let vpn = self.pmd_start(number);
        if let Pmd::Migration { pfn, kind: Migration::Writable, deposit } = self.pmd(mm, number) {
            let kind = Migration::ReadableExclusive;
            self.set_pmd(mm, number, Pmd::Migration { pfn, kind, deposit });
            self.protect_mark(cx, mm, vpn);
        }
        if let Pmd::Huge { pfn, bits, deposit } = self.pmd(mm, number) {
            let mut new = page_prot(vma);
            if self.can_change_pte_writable(vma, pfn, bits) {
                self.hit(Path::ProtUpgradeHuge);
                new.write = true;
            }
            self.set_pmd(mm, number, Pmd::Huge { pfn, bits: new, deposit });
            self.protect_mark(cx, mm, vpn);
            flush = bits.needs_flush(new);
        }
        self.ptl_unlock(cx, mm);
        flush
    }
}
