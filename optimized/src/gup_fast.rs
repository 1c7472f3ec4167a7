//! The lockless walk (kernel: `mm/gup.c`, `gup_fast` and below).

use program::{Entry, Errno, Foll as FollKind, MmId, ObjectId, Place, Site, Span};

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
        let before = sequence.read();
        if pin && before & 1 != 0 {
            return 0;
        }
        self.pay(Item::Call, 1);
        self.machine.irq_disable();
        self.machine.point().await;
        let start = sink.mark();
        let mut vpn = span.start;
        let mut more = true;
        while more && vpn < span.end {
            let rest = Span { start: vpn, ..span };
            self.pay(Item::Pmd, 1);
            let step = match self.pmd(mm, self.pmd_number(vpn)) {
                Pmd::Huge { pfn, bits, .. } => {
                    self.gup_fast_pmd_leaf(cx, pfn, bits, rest, flags, sink)
                }
                Pmd::Table(table) => self.gup_fast_pte_run(cx, table, rest, flags, sink),
                _ => self.back_off(Path::FastNoTable),
            };
            vpn += step.pages;
            more = step.more;
        }
        self.machine.irq_enable();
        if pin && sequence.read() != before {
            self.put_entries(sink, start, FollKind::Pin);
            return 0;
        }
        vpn - span.start
    }

    /// Drops the references of all entries from `start` on.
    pub(crate) fn put_entries(&self, sink: &mut dyn Sink, start: usize, foll: FollKind) {
        for at in start..sink.entries() {
            let (page, nr) = sink.entry(at);
            self.gup_put_folio(page, nr, foll);
        }
        sink.truncate(start);
    }

    fn back_off(&self, why: Path) -> Step {
        self.hit(why);
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

    /// `try_grab_folio_fast`; then the entry is read again, then what the folio does not allow.
    fn gup_fast_grab(
        &self,
        judge: Pfn,
        bits: Bits,
        refs: u32,
        flags: GupFlags,
    ) -> Result<(), Path> {
        if flags.longterm && !self.is_longterm_pinnable_fast(judge) {
            return Err(Path::FastUnpinnable);
        }
        self.grab(judge, refs, flags.foll);
        let refused = if !self.gup_fast_folio_allowed(judge, flags) {
            Path::FastNotAllowed
        } else if !bits.write && self.gup_must_unshare(judge, flags, None) {
            Path::FastUnshare
        } else {
            return Ok(());
        };
        if let Some(foll) = flags.foll {
            self.gup_put_folio(judge, refs, foll);
        }
        Err(refused)
    }

    fn is_longterm_pinnable_fast(&self, page: Pfn) -> bool {
        let head = self.frames.head(page);
        if self.has(Defect::FastNotCovered) {
            return self.frames.place(head) != Place::Cma;
        }
        self.folio_is_longterm_pinnable(head)
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
    fn gup_fast_pte_run(
        &self,
        cx: &Cx,
        table: Table,
        span: Span,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Step {
        self.pay(Item::Pte, 1);
        let Pte::Present { pfn, bits } = self.pte(table, span.start) else {
            return self.back_off(Path::FastNotPresent);
        };
        if let Err(why) = self.gup_fast_permits(pfn, bits, flags) {
            return self.back_off(why);
        }
        let most = self.pte_run(table, span.start, pfn, bits, span.end - span.start);
        let unshare = |nr| !bits.write && self.gup_must_unshare(nth_page(pfn, nr), flags, None);
        let (mut nr, mut more) = (0, true);
        while more && nr < most && (nr == 0 || !unshare(nr)) {
            more = !self.refused(cx, Site::GrabFast);
            nr += u32::from(more);
        }
        if nr == 0 {
            return self.back_off(Path::FastGrabRefused);
        }
        if let Err(why) = self.gup_fast_grab(pfn, bits, nr, flags) {
            return self.back_off(why);
        }
        self.hit(if nr == 1 { Path::FastPte } else { Path::FastPteRun });
        sink.push(self, pfn, nr, bits.write);
        Step { pages: nr, more }
    }

    /// `gup_fast_pmd_leaf`: the part of the huge entry inside the range, in one grab.
    fn gup_fast_pmd_leaf(
        &self,
        cx: &Cx,
        head: Pfn,
        bits: Bits,
        span: Span,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Step {
        let index = self.pte_index(span.start);
        let whole = self.batch_of(u32::from(self.shape.ptes) - index);
        let refs = whole.min(span.end - span.start);
        if let Err(why) = self.gup_fast_permits(head, bits, flags) {
            return self.back_off(why);
        }
        if self.refused(cx, Site::GrabFast) {
            return self.back_off(Path::FastGrabRefused);
        }
        if let Err(why) = self.gup_fast_grab(head, bits, refs, flags) {
            return self.back_off(why);
        }
        self.hit(Path::FastPmd);
        // record_subpages
        sink.push(self, nth_page(head, index), refs, bits.write);
        Step { pages: refs, more: true }
    }
}
