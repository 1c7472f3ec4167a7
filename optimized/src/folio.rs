//! References on folios: get, put, grab, pin (kernel: `include/linux/mm.h`, `mm/gup.c`).

use machine::Task;
use program::{Place, digest};

use crate::cost::Item;
use crate::defects::Defect;
use crate::frame::{Pfn, Underflow, ZERO_PFN};
use crate::world::{Conduct, Cx, World};

/// GUP_PIN_COUNTING_BIAS: what a pin adds to the refcount of an order-0 folio.
pub(crate) const GUP_PIN_COUNTING_BIAS: i64 = 1024;

/// The counters of a page or folio, each a cache line to the machine.
#[derive(Clone, Copy)]
enum Counter {
    Ref,
    Pin,
    Map,
}

/// Numbers that stand for counters begin here, where no address is.
const COUNTERS: usize = 1 << 55;

/// FOLL_GET or FOLL_PIN; none while populating.
pub(crate) type Foll = Option<program::Foll>;

#[twice]
impl World {
    /// `folio_get` (n references).
    #[inline]
    pub(crate) fn folio_ref_add(&self, head: Pfn, refs: i64) {
        if self.frames.refcount(head) <= 0 {
            self.report(Conduct::UseAfterFree);
        }
        self.touch_counter(head, Counter::Ref);
        self.frames.ref_add(head, refs);
    }

    /// `folio_get`.
    #[inline]
    pub(crate) fn folio_get(&self, head: Pfn) {
        self.folio_ref_add(head, 1);
    }

    /// `folio_put_refs`.
    #[inline]
    pub(crate) fn folio_put_refs(&self, head: Pfn, refs: i64) {
        self.touch_counter(head, Counter::Ref);
        let left = self.frames.ref_add(head, -refs);
        if left == 0 {
            self.folio_free(head);
        } else if left < 0 {
            self.report(Conduct::Underflow("refcount"));
        }
    }

    /// `folio_put`.
    #[inline]
    pub(crate) fn folio_put(&self, head: Pfn) {
        self.folio_put_refs(head, 1);
    }

    /// Changes how many mappings of a page there are.
    #[inline]
    pub(crate) fn map_add(&self, pfn: Pfn, by: i32) {
        self.touch_counter(pfn, Counter::Map);
        self.counted(self.frames.map_add(pfn, by));
    }

    /// Changes how many huge PMDs map a folio.
    #[inline]
    pub(crate) fn entire_map_add(&self, head: Pfn, by: i32) {
        self.touch_counter(head, Counter::Map);
        self.counted(self.frames.entire_map_add(head, by));
    }

    fn pin_add(&self, head: Pfn, by: i32) {
        self.touch_counter(head, Counter::Pin);
        self.counted(self.frames.pin_add(head, by));
    }

    /// The machine is told that the running CPU changes this counter.
    #[inline]
    fn touch_counter(&self, pfn: Pfn, counter: Counter) {
        self.machine.touch(COUNTERS + pfn.0 as usize * 4 + counter as usize, true);
    }

    /// Turns a refused counter change into a finding.
    #[inline]
    fn counted(&self, result: Result<(), Underflow>) {
        if let Err(underflow) = result {
            self.report(Conduct::Underflow(match underflow {
                Underflow::Map => "mapcount",
                Underflow::Pin => "pincount",
            }));
        }
    }

    /// `folio_maybe_dma_pinned`.
    pub(crate) fn folio_maybe_dma_pinned(&self, head: Pfn) -> bool {
        if self.frames.large(head) {
            self.frames.pincount(head) > 0
        } else {
            self.frames.refcount(head) >= GUP_PIN_COUNTING_BIAS
        }
    }

    /// The counting of `try_grab_folio`: `refs` references of the kind asked for.
    pub(crate) fn grab(&self, pfn: Pfn, refs: u32, foll: Foll) {
        let Some(foll) = foll else { return };
        let refs = i64::from(refs);
        if pfn == ZERO_PFN {
            if foll == program::Foll::Get {
                self.zero_ref_add(refs);
            }
            return;
        }
        let head = self.frames.head(pfn);
        match foll {
            program::Foll::Get => self.folio_ref_add(head, refs),
            program::Foll::Pin if self.frames.large(head) => {
                if self.has(Defect::PinBiasOnLarge) {
                    return self.folio_ref_add(head, refs * GUP_PIN_COUNTING_BIAS);
                }
                self.folio_ref_add(head, refs);
                if !self.has(Defect::PinForgetsPincount) {
                    self.pin_add(head, refs as i32);
                }
            }
            program::Foll::Pin => self.folio_ref_add(head, refs * GUP_PIN_COUNTING_BIAS),
        }
    }

    /// `gup_put_folio`.
    pub(crate) fn gup_put_folio(&self, pfn: Pfn, refs: u32, foll: program::Foll) {
        let mut refs = i64::from(refs);
        if pfn == ZERO_PFN {
            if foll == program::Foll::Get {
                self.zero_ref_add(-refs);
            }
            return;
        }
        let head = self.frames.head(pfn);
        if foll == program::Foll::Pin {
            if !self.frames.large(head) || self.has(Defect::PinBiasOnLarge) {
                refs *= GUP_PIN_COUNTING_BIAS;
            } else if !self.has(Defect::PinForgetsPincount) {
                self.pin_add(head, -(refs as i32));
            }
        }
        self.folio_put_refs(head, refs);
    }

    fn zero_ref_add(&self, by: i64) {
        self.zero_refs.set(self.zero_refs.get() + by);
        self.frames.add(digest::zero_ref().wrapping_mul(by as u64));
    }

    /// `folio_is_zone_device`.
    #[inline]
    pub(crate) fn is_zone_device(&self, head: Pfn) -> bool {
        self.frames.place(head).is_zone_device()
    }

    /// `folio_is_device_private`.
    #[inline]
    pub(crate) fn is_device_private(&self, head: Pfn) -> bool {
        self.frames.place(head) == Place::Device
    }

    /// `folio_is_device_coherent`.
    #[inline]
    pub(crate) fn is_device_coherent(&self, head: Pfn) -> bool {
        self.frames.place(head) == Place::Coherent
    }

    /// `folio_trylock`.
    #[inline]
    pub(crate) fn folio_trylock(&self, cx: &Cx, head: Pfn) -> bool {
        self.folio_trylock_as(cx.task, head)
    }

    pub(crate) fn folio_trylock_as(&self, task: Task, head: Pfn) -> bool {
        self.pay(Item::Lock, 1);
        let locked = self.frames.lock(head).try_lock(&self.machine, task);
        if locked {
            self.frames.lock_changed(head, task, true);
            self.label_lock(head);
        }
        locked
    }

    /// `folio_lock`.
    pub(crate) async fn folio_lock(&self, cx: &Cx, head: Pfn) {
        self.folio_lock_as(cx.task, head).await;
    }

    pub(crate) async fn folio_lock_as(&self, task: Task, head: Pfn) {
        self.pay(Item::Lock, 1);
        self.frames.lock(head).lock(&self.machine, task, "PG_locked").await;
        self.frames.lock_changed(head, task, true);
        self.label_lock(head);
    }

    /// `folio_unlock`.
    #[inline]
    pub(crate) fn folio_unlock(&self, cx: &Cx, head: Pfn) {
        self.folio_unlock_as(cx.task, head);
    }

    pub(crate) fn folio_unlock_as(&self, task: Task, head: Pfn) {
        if let Some(owner) = self.frames.lock(head).owner() {
            self.frames.lock_changed(head, owner, false);
            self.label_lock(head); // new when it was locked, it may have a name by now
        }
        if self.has(Defect::LostWakeup) {
            self.frames.lock(head).clear(&self.machine, task, "PG_locked");
        } else {
            self.frames.lock(head).unlock(&self.machine, task, "PG_locked");
        }
    }
}
