//! TLBs and their flushes (kernel: `arch/x86/mm/tlb.c`, `mm/mmu_gather.c`).
//!
//! Only the steps of a phase have TLBs: alone on the machine nobody could use what they say between
//! a change and its flush, and a TLB is coherent after every flush. An access in a phase goes
//! through the TLB of its CPU, which begins with what the CPU touched before in the program, as far
//! as the page tables still permit it, and forgets only when it is told to.

use machine::Tlb;
use program::{Call, Foll, Mark, MmId, Name, Op, PageRef, Seen, Span};

use crate::cost::Item;
use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::pgtable::{Bits, Pmd, Pte, Table};
use crate::world::{Conduct, Cx, World};

/// What a TLB knows of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Translation {
    pfn: Pfn,
    bits: Bits,
    /// The folio then: who frees a frame must not leave a TLB that knows it.
    folio: Option<Name>,
}

impl Translation {
    fn permits(&self, write: bool) -> bool {
        self.bits.read && (self.bits.write || !write)
    }
}

/// `struct mmu_gather`: pages and tables that go when no TLB and no lockless walker has them.
#[derive(Debug)]
pub(crate) struct MmuGather {
    pub mm: MmId,
    /// What is to be flushed.
    span: Option<Span>,
    folios: Vec<Pfn>,
    tables: Vec<Table>,
}

impl MmuGather {
    fn covers(&mut self, span: Span) {
        let old = self.span.unwrap_or(span);
        let (start, end) = (old.start.min(span.start), old.end.max(span.end));
        self.span = Some(Span { start, end });
    }
}

#[twice]
impl World {
    /// A phase is about to begin, and this step was an access earlier in the program: the TLB of its
    /// CPU has what it left.
    pub fn tlb_keeps(&mut self, call: Call<'_>) {
        if let Op::Read { mm, range } | Op::Write { mm, range } = call.step.op {
            let Span { start, end } = call.layout.span(range);
            (start..end).for_each(|vpn| _ = self.tlb_fill(call.step.cpu, mm, vpn));
        }
    }

    /// The phase is over.
    pub(crate) fn tlb_clear(&mut self) {
        self.tlbs.iter_mut().for_each(Tlb::clear);
    }

    /// The hardware's walk of the page tables (it has no use for what permits nothing).
    fn tlb_fill(&self, cpu: u8, mm: MmId, vpn: u32) -> Option<Translation> {
        let (pfn, bits) = self.mmu_walk(mm, vpn)?;
        let found = Translation { pfn, bits, folio: self.folio_of(pfn) };
        if bits.read {
            self.tlbs[usize::from(cpu)].fill(u32::from(mm.0), vpn, found);
        }
        Some(found)
    }

    /// The folio of a page, unless it is free; the zero page has none.
    fn folio_of(&self, pfn: Pfn) -> Option<Name> {
        let head = (pfn != ZERO_PFN).then(|| self.frames.head(pfn))?;
        (self.frames.refcount(head) > 0).then(|| self.frames.name(head))
    }

    /// What the hardware's walk finds.
    fn mmu_walk(&self, mm: MmId, vpn: u32) -> Option<(Pfn, Bits)> {
        match self.pmd(mm, self.pmd_number(vpn)) {
            Pmd::Huge { pfn, bits, .. } => Some((Pfn(pfn.0 + self.pte_index(vpn)), bits)),
            Pmd::Table(table) => match self.pte(table, vpn) {
                Pte::Present { pfn, bits } => Some((pfn, bits)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The frame that an access of the CPU goes to, if its TLB or else the page tables permit it.
    /// The access that the caller makes is one step with this.
    pub(crate) fn mmu_translate(&self, cx: &Cx, mm: MmId, vpn: u32, write: bool) -> Option<Pfn> {
        if !self.tracing.get() {
            let (pfn, bits) = self.mmu_walk(mm, vpn)?;
            return (bits.read && (bits.write || !write)).then_some(pfn);
        }
        let known = self.tlbs[usize::from(cx.cpu)].lookup(u32::from(mm.0), vpn);
        // What does not permit it is walked for again.
        let known = known.filter(|known| known.permits(write));
        let found = known.or_else(|| self.tlb_fill(cx.cpu, mm, vpn))?;
        let changed = self.folio_of(found.pfn) != found.folio;
        if changed && self.stale(mm, vpn, write, found.pfn).is_some() {
            self.report(Conduct::UseAfterFree);
        }
        found.permits(write).then_some(found.pfn)
    }

    /// The page of an access that the page tables no longer permit.
    pub(crate) fn stale(&self, mm: MmId, vpn: u32, write: bool, pfn: Pfn) -> Option<PageRef> {
        let fresh = self.mmu_walk(mm, vpn).filter(|&(_, bits)| bits.read && (bits.write || !write));
        (fresh.map(|(pfn, _)| pfn) != Some(pfn)).then(|| self.page_ref(pfn))
    }

    /// `flush_tlb_range`: returns when no CPU of the mm has translations of these pages. Interrupts
    /// are on, a PTL may be held.
    pub(crate) async fn flush_tlb_range(&self, cx: &Cx, mm: MmId, span: Span) {
        if !self.tracing.get() {
            return;
        }
        let flush = |cpu: u8| {
            self.tlbs[usize::from(cpu)].flush(u32::from(mm.0), span.start..span.end);
        };
        flush(cx.cpu);
        self.pay(Item::Flush, 1);
        self.pay(Item::Ipi, (self.mm_cpumask.get() & !(1 << cx.cpu)).count_ones());
        self.machine.smp_call(self.mm_cpumask.get(), flush).await;
        self.mark(cx, || (Mark::Flush { mm, span }, Seen::Nothing));
    }

    /// `flush_tlb_page`: the second half of `ptep_clear_flush`.
    pub(crate) async fn flush_tlb_page(&self, cx: &Cx, mm: MmId, vpn: u32) {
        self.flush_tlb_range(cx, mm, Span { start: vpn, end: vpn + 1 }).await;
    }

    /// `flush_tlb_mm`.
    pub(crate) async fn flush_tlb_mm(&self, cx: &Cx, mm: MmId) {
        let end = self.mm(mm).vmas.borrow().last().map_or(0, |vma| vma.end);
        self.flush_tlb_range(cx, mm, Span { start: 0, end }).await;
    }

    /// `tlb_gather_mmu`.
    pub(crate) fn tlb_gather_mmu(&self, mm: MmId) -> MmuGather {
        MmuGather { mm, span: None, folios: Vec::new(), tables: Vec::new() }
    }

    /// `tlb_remove_tlb_entry`: an entry that TLBs may have is gone.
    pub(crate) fn tlb_remove_tlb_entry(&self, tlb: &mut MmuGather, span: Span) {
        if self.tracing.get() {
            tlb.covers(span);
        }
    }

    /// `tlb_remove_page`: the mapping's reference on the folio is dropped after the flush. The
    /// mapping's end is marked after this.
    pub(crate) fn tlb_remove_page(&self, cx: &Cx, tlb: &mut MmuGather, head: Pfn) {
        if !self.tracing.get() || self.has(Defect::FreedBeforeFlush) {
            return self.folio_put(head);
        }
        self.hold_mark(cx, head, 1, Foll::Get);
        tlb.folios.push(head);
    }

    /// `pte_free_tlb`.
    pub(crate) fn pte_free_tlb(&self, tlb: &mut MmuGather, span: Span, table: Table) {
        if !self.tracing.get() || self.has(Defect::TableFreedUnderWalker) {
            return self.table_free(table);
        }
        tlb.covers(span);
        tlb.tables.push(table);
    }

    /// `tlb_finish_mmu`: flushes, then frees. Whoever answered the flush had interrupts on: no
    /// lockless walker is in the tables any more.
    pub(crate) async fn tlb_finish_mmu(&self, cx: &Cx, tlb: MmuGather) {
        let Some(span) = tlb.span else { return };
        self.flush_tlb_range(cx, tlb.mm, span).await;
        tlb.folios.into_iter().for_each(|head| self.unhold(cx, head, 1, Foll::Get));
        tlb.tables.into_iter().for_each(|table| self.table_free(table));
    }
}
