//! The marks of a concurrent phase (`docs/steps.md`), and references that no handle will hold.
//!
//! A mark belongs to the segment of its effect: no scheduling point may lie between. Outside of a
//! phase nothing is recorded.

use program::{DeviceMark, Foll, Mark, Marked, MmId, Seen, Site};

use crate::folio::GUP_PIN_COUNTING_BIAS;
use crate::frame::{Pfn, ZERO_PFN};
use crate::pgtable::{Pmd, Pte};
use crate::world::{Cx, World};

impl World {
    /// Records a step of the operation.
    #[inline]
    pub(crate) fn mark(&self, cx: &Cx, mark: impl FnOnce() -> (Mark, Seen)) {
        if self.tracing.get() {
            let (mark, seen) = mark();
            self.record(Marked { number: Some(cx.number), cpu: cx.cpu, mark, seen });
        }
    }

    /// Records a step of a driver.
    #[inline]
    pub(crate) fn device_mark(&self, cx: &Cx, mark: DeviceMark, seen: impl FnOnce() -> Seen) {
        self.mark(cx, || (Mark::Device(mark), seen()));
    }

    #[cold]
    pub(crate) fn record(&self, marked: Marked) {
        let mut trace = self.trace.borrow_mut();
        trace.push(marked);
        // References that walkers had taken on a folio before it got its name.
        if let Some((folio, refs, pins)) = self.strays.take() {
            let Marked { number, cpu, .. } = marked;
            for (refs, pin) in [(refs, false), (pins, true)].into_iter().filter(|n| n.0 > 0) {
                let mark = Mark::Hold { folio, refs, pin };
                trace.push(Marked { number, cpu, mark, seen: Seen::Nothing });
            }
        }
        self.machine.set_time(trace.len());
    }

    /// A folio was just published: whoever holds it besides its owner does so unseen.
    #[inline]
    pub(crate) fn note_strays(&self, head: Pfn) {
        if self.tracing.get() {
            let extra = self.frames.refcount(head) - 1;
            let pins = match self.frames.large(head) {
                true => i64::from(self.frames.pincount(head)),
                false => extra / GUP_PIN_COUNTING_BIAS,
            };
            let counted = if self.frames.large(head) { 1 } else { GUP_PIN_COUNTING_BIAS };
            let refs = extra - pins * counted;
            let strays = (self.frames.name(head), refs as u32, pins as u32);
            self.strays.set((extra > 0).then_some(strays));
        }
    }

    /// An allocation or a grab was refused.
    #[inline]
    pub(crate) fn refused_mark(&self, cx: &Cx, site: Site) {
        self.mark(cx, || (Mark::Refused { site, second: false }, Seen::Nothing));
    }

    /// What the page tables say of an address.
    pub(crate) fn seen_entry(&self, mm: MmId, vpn: u32) -> Seen {
        match self.pmd(mm, self.pmd_number(vpn)) {
            Pmd::None => Seen::Nothing,
            Pmd::Huge { pfn, bits, .. } => Seen::Entry(self.entry_view(pfn, bits)),
            Pmd::Migration { pfn, kind, .. } => {
                let entry = Pte::Migration { pfn, kind, dirty: false };
                self.pte_view(entry).map_or(Seen::Nothing, Seen::Entry)
            }
            Pmd::Table(table) => {
                self.pte_view(self.pte(table, vpn)).map_or(Seen::Nothing, Seen::Entry)
            }
        }
    }

    /// The operation has a reference of its own on a folio.
    pub(crate) fn get_mark(&self, cx: &Cx, head: Pfn) {
        self.mark(cx, || (Mark::Get { folio: self.frames.name(head) }, Seen::Nothing));
    }

    /// It is about to give that reference back.
    pub(crate) fn put_mark(&self, cx: &Cx, head: Pfn) {
        self.mark(cx, || (Mark::Put { folio: self.frames.name(head) }, Seen::Flag(true)));
    }

    /// The folio lock was taken.
    pub(crate) fn busy_mark(&self, cx: &Cx, head: Pfn) {
        self.mark(cx, || (Mark::Busy { folio: self.frames.name(head) }, Seen::Flag(true)));
    }

    /// The lock of this folio, which is held, gets the folio's name in pictures of the phase.
    #[inline]
    pub(crate) fn label_lock(&self, head: Pfn) {
        if self.tracing.get() {
            self.machine.label(self.frames.lock(head), self.frames.name(head).0);
        }
    }

    /// Takes transient references: seen by everybody, held by nothing that the program has.
    pub(crate) fn hold(&self, cx: &Cx, head: Pfn, refs: u32, foll: Foll) {
        self.grab(head, refs, Some(foll));
        self.hold_mark(cx, head, refs, foll);
    }

    /// Gives them back.
    pub(crate) fn unhold(&self, cx: &Cx, head: Pfn, refs: u32, foll: Foll) {
        self.unhold_mark(cx, head, refs, foll);
        self.gup_put_folio(head, refs, foll);
    }

    /// References that the operation has already are transient.
    pub(crate) fn hold_mark(&self, cx: &Cx, head: Pfn, refs: u32, foll: Foll) {
        if self.tracing.get() && self.published(head) {
            let folio = self.frames.name(head);
            let mark = Mark::Hold { folio, refs, pin: foll == Foll::Pin };
            self.mark(cx, || (mark, Seen::Nothing));
        }
    }

    /// Transient references become somebody's, or are about to go.
    pub(crate) fn unhold_mark(&self, cx: &Cx, head: Pfn, refs: u32, foll: Foll) {
        if self.tracing.get() && self.published(head) {
            let folio = self.frames.name(head);
            let mark = Mark::Drop { folio, refs, pin: foll == Foll::Pin };
            self.mark(cx, || (mark, Seen::Flag(true)));
        }
    }

    fn published(&self, head: Pfn) -> bool {
        head != ZERO_PFN && self.frames.name(head) != program::Name(0)
    }
}
