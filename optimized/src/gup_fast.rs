//! The lockless walk (kernel: `mm/gup.c`, `gup_fast` and below).

use program::{Entry, Errno, Foll as FollKind, Mark, MmId, ObjectId, Place, Seen, Site, Span};

use crate::cost::Item;
use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Mapping, Pfn, ZERO_PFN};
use crate::gup::{GupFlags, nth_page};
use crate::gup_sink::Sink;
use crate::pgtable::{Bits, Pmd, Pte, Table};
use crate::world::{Cx, World};

/// What a leaf gave, and whether the walk goes on behind it.
struct Step {
    pages: u32,
    more: bool,
}

#[twice]
impl World {
    /// `gup_fast_fallback`: the lockless prefix, then the slow walk for the rest.
    pub(crate) async fn gup_fast_fallback(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        entry: Entry,
        sink: &mut dyn Sink,
    ) -> Result<u32, Errno> {
        let fast = self.gup_fast(cx, mm, span, flags, sink).await;
        if fast == span.end - span.start || entry == Entry::FastOnly {
            return Ok(fast);
        }
        let rest = Span { start: span.start + fast, end: span.end };
        match self.gup_longterm_locked(cx, mm, rest, flags, sink).await {
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
        sink: &mut dyn Sink,
    ) -> u32 {
        let pin = flags.foll == Some(FollKind::Pin);
        let sequence = &self.mm(mm).write_protect_seq;
        let mut before = 0;
        if pin {
            before = sequence.begin(&self.machine).await;
            if before & 1 != 0 {
                return self.back_off(cx, mm, span.start, Path::FastForked).pages;
            }
        }
        self.pay(Item::Call, 1);
        self.machine.local_irq_disable().await;
        let start = sink.mark();
        let mut vpn = span.start;
        let mut more = true;
        while more && vpn < span.end {
            let rest = Span { start: vpn, ..span };
            self.pay(Item::Pmd, 1);
            let step = self.gup_fast_leaf(cx, mm, rest, flags, sink).await;
            vpn += step.pages;
            more = step.more;
        }
        self.machine.local_irq_enable().await;
        if pin && sequence.retry(&self.machine, before).await {
            self.hit(Path::FastForked);
            self.put_entries(cx, sink, start, FollKind::Pin);
            return 0;
        }
        self.mark(cx, || (Mark::Kept, Seen::Flag(true)));
        vpn - span.start
    }

    /// `gup_fast_pgd_range` down to the entry at the start of the span.
    async fn gup_fast_leaf(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Step {
        let vpn = span.start;
        self.machine.point().await; // pmdp_get_lockless
        let pmd = self.pmd(mm, self.pmd_number(vpn));
        let leaf = Leaf { mm, vpn, pmd, table: None, judge: ZERO_PFN, bits: Bits::NONE, refs: 0 };
        match pmd {
            Pmd::Huge { pfn, bits, .. } => {
                // gup_fast_pmd_leaf: the part of the huge entry inside the range, in one grab.
                let whole = self.batch_of(u32::from(self.shape.ptes) - self.pte_index(vpn));
                let refs = whole.min(span.end - vpn);
                let leaf = Leaf { judge: pfn, bits, refs, ..leaf };
                self.gup_fast_pmd_leaf(cx, leaf, flags, sink).await
            }
            Pmd::Table(table) => {
                let leaf = Leaf { table: Some(table), ..leaf };
                self.gup_fast_pte_run(cx, leaf, span.end - vpn, flags, sink).await
            }
            _ => self.back_off(cx, mm, vpn, Path::FastNoTable),
        }
    }

    /// Drops the references of all entries from `start` on, a folio at a time (`pofs_unpin`,
    /// `gup_fast_unpin_user_pages`).
    pub(crate) fn put_entries(&self, cx: &Cx, sink: &mut dyn Sink, start: usize, foll: FollKind) {
        let pages = (start..sink.entries()).map(|at| sink.entry(at).1).sum();
        if pages > 0 {
            self.mark(cx, || (Mark::Undo { pages }, Seen::Nothing));
        }
        let mut at = start;
        while at < sink.entries() {
            let (page, mut nr) = sink.entry(at);
            at += 1;
            while at < sink.entries() && self.batch_of(2) > 1 {
                let (next, more) = sink.entry(at);
                if !self.same_folio(next, page) {
                    break;
                }
                (nr, at) = (nr + more, at + 1);
            }
            self.gup_put_folio(page, nr, foll);
        }
        sink.truncate(start);
    }

    /// The walk stops here.
    fn back_off(&self, cx: &Cx, mm: MmId, vpn: u32, why: Path) -> Step {
        self.hit(why);
        self.mark(cx, || (Mark::BackOff { mm, vpn }, Seen::Flag(true)));
        Step { pages: 0, more: false }
    }

    /// The grab is refused by injection.
    fn grab_refused(&self, cx: &Cx) -> Step {
        self.hit(Path::FastGrabRefused);
        self.refused_mark(cx, Site::GrabFast);
        Step { pages: 0, more: false }
    }

    /// What the entry itself must allow.
    fn gup_fast_permits(&self, judge: Pfn, bits: Bits, flags: GupFlags) -> Result<(), Path> {
        if !bits.read || (flags.write && !bits.write) {
            Err(Path::FastNotPermitted)
        } else if judge == ZERO_PFN {
            Err(Path::FastSpecial)
        } else {
            Ok(())
        }
    }

    /// `try_grab_folio_fast`; then the entries are read again, then what the folio does not allow.
    async fn gup_fast_grab(&self, cx: &Cx, leaf: &Leaf, flags: GupFlags) -> Result<(), Path> {
        let Leaf { mm, vpn, judge, bits, refs, table, .. } = *leaf;
        let Some(foll) = flags.foll else { return Err(Path::FastChanged) };
        self.machine.point().await;
        let head = self.frames.head(judge);
        if self.frames.refcount(head) <= 0 {
            return Err(Path::FastChanged);
        }
        if flags.longterm && !self.is_longterm_pinnable_fast(cx, judge) {
            return Err(Path::FastUnpinnable);
        }
        if self.has(Defect::PinAfterRecheck) {
            if !self.leaf_same(leaf) {
                return Err(Path::FastChanged);
            }
            self.machine.point().await;
        }
        self.hold(cx, head, refs, foll);
        self.machine.point().await;
        let recheck = !self.has(Defect::GupFastNoRecheck) && !self.has(Defect::PinAfterRecheck);
        let refused = if recheck && !self.leaf_same(leaf) {
            Path::FastChanged
        } else if !self.gup_fast_folio_allowed(judge, flags) {
            Path::FastNotAllowed
        } else if !bits.write && self.gup_must_unshare(judge, flags, None) {
            Path::FastUnshare
        } else {
            self.mark(cx, || {
                let first = if table.is_some() { 0 } else { self.pte_index(vpn) };
                let seen = Seen::Page(self.page_ref(nth_page(judge, first)));
                (Mark::Grab { mm, vpn, pages: refs, held: true }, seen)
            });
            return Ok(());
        };
        self.unhold(cx, head, refs, foll);
        Err(refused)
    }

    /// The entries are still what they were before the grab, and so is the folio: a split gives the
    /// same entries back, but its pages no longer share references.
    fn leaf_same(&self, leaf: &Leaf) -> bool {
        let Leaf { mm, vpn, pmd, table, judge, bits, refs } = *leaf;
        let same = |table: Table| {
            (0..refs).all(|i| {
                let pfn = nth_page(judge, i);
                self.pte(table, vpn + i) == Pte::Present { pfn, bits }
                    && self.frames.head(pfn) == self.frames.head(judge)
            })
        };
        self.pmd(mm, self.pmd_number(vpn)) == pmd && table.is_none_or(same)
    }

    fn is_longterm_pinnable_fast(&self, cx: &Cx, page: Pfn) -> bool {
        let head = self.frames.head(page);
        if self.has(Defect::FastNotCovered) {
            return self.frames.place(head) != Place::Cma;
        }
        self.folio_is_longterm_pinnable(cx, head)
    }

    /// `gup_fast_folio_allowed`: no longterm writes to files whose dirty pages are tracked.
    fn gup_fast_folio_allowed(&self, page: Pfn, flags: GupFlags) -> bool {
        if !(flags.longterm && flags.write) {
            return true;
        }
        match self.frames.mapping(self.frames.head(page)) {
            Mapping::Anon(..) | Mapping::File(ObjectId::Shmem(_), _) => true,
            Mapping::None | Mapping::File(ObjectId::File(_), _) => false,
        }
    }

    /// `gup_fast_pte_range`: one page, or a run of consecutive pages of one large folio, of which
    /// each entry was looked at, in one grab.
    async fn gup_fast_pte_run(
        &self,
        cx: &Cx,
        leaf: Leaf,
        limit: u32,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Step {
        let Leaf { mm, vpn, table, .. } = leaf;
        let Some(table) = table else { return self.back_off(cx, mm, vpn, Path::FastNoTable) };
        self.machine.point().await; // ptep_get_lockless
        self.check_table(table);
        self.pay(Item::Pte, 1);
        let Pte::Present { pfn, bits } = self.pte(table, vpn) else {
            return self.back_off(cx, mm, vpn, Path::FastNotPresent);
        };
        if let Err(why) = self.gup_fast_permits(pfn, bits, flags) {
            return self.back_off(cx, mm, vpn, why);
        }
        let most = self.pte_run(table, vpn, pfn, bits, limit);
        let unshare = |nr| !bits.write && self.gup_must_unshare(nth_page(pfn, nr), flags, None);
        let (mut nr, mut more) = (0, true);
        while more && nr < most && (nr == 0 || !unshare(nr)) {
            more = !self.refused(cx, Site::GrabFast);
            nr += u32::from(more);
        }
        if nr == 0 {
            return self.grab_refused(cx);
        }
        let leaf = Leaf { judge: pfn, bits, refs: nr, ..leaf };
        if let Err(why) = self.gup_fast_grab(cx, &leaf, flags).await {
            return self.back_off(cx, mm, vpn, why);
        }
        if !more {
            self.refused_mark(cx, Site::GrabFast);
        }
        self.hit(if nr == 1 { Path::FastPte } else { Path::FastPteRun });
        self.pay(Item::Pte, nr - 1);
        sink.push(self, pfn, nr, bits.write);
        Step { pages: nr, more }
    }

    /// `gup_fast_pmd_leaf`.
    async fn gup_fast_pmd_leaf(
        &self,
        cx: &Cx,
        leaf: Leaf,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Step {
        let Leaf { mm, vpn, judge: head, bits, refs, .. } = leaf;
        if let Err(why) = self.gup_fast_permits(head, bits, flags) {
            return self.back_off(cx, mm, vpn, why);
        }
        if self.refused(cx, Site::GrabFast) {
            return self.grab_refused(cx);
        }
        if let Err(why) = self.gup_fast_grab(cx, &leaf, flags).await {
            return self.back_off(cx, mm, vpn, why);
        }
        self.hit(Path::FastPmd);
        // record_subpages
        sink.push(self, nth_page(head, self.pte_index(vpn)), refs, bits.write);
        Step { pages: refs, more: true }
    }
}

/// Entries as the lockless walk read them.
#[derive(Clone, Copy)]
struct Leaf {
    mm: MmId,
    vpn: u32,
    pmd: Pmd,
    /// Of PTEs.
    table: Option<Table>,
    /// The page whose PageAnonExclusive counts: the first PTE's, the head of a huge PMD.
    judge: Pfn,
    bits: Bits,
    /// Pages, one after the other.
    refs: u32,
}
