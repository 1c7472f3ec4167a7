//! Per-CPU lru_add batches (kernel: `mm/swap.c`).

use program::{Mark, Marked, Seen, digest};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::Pfn;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `folio_add_lru`: into this CPU's batch, with a reference.
    pub(crate) fn folio_add_lru(&self, cx: &Cx, head: Pfn) {
        self.folio_get(head);
        let (len, large) = {
            let mut batch = self.batches[usize::from(cx.cpu)].borrow_mut();
            batch.push(head);
            self.frames.add(digest::batch(self.frames.name(head), cx.cpu));
            (batch.len(), self.frames.large(head))
        };
        // folio_batch_add: flushed when the last slot fills, by a large folio, or when disabled.
        if large || len >= usize::from(self.shape.batch) || self.lru_disabled.get() {
            self.hit(if large { Path::BatchFlushLarge } else { Path::BatchFlushFull });
            self.folio_batch_move_lru(cx.cpu);
        }
    }

    /// `lru_add_drain`, on the CPU given.
    pub(crate) fn lru_add_drain(&self, cpu: u8) {
        if !self.batches[usize::from(cpu)].borrow().is_empty() {
            self.folio_batch_move_lru(cpu);
            if self.tracing.get() {
                let mark = Mark::Drain { cpu };
                self.record(Marked { number: None, cpu, mark, seen: Seen::Nothing });
            }
        }
    }

    fn folio_batch_move_lru(&self, cpu: u8) {
        self.hit(Path::BatchMove);
        loop {
            let Some(head) = self.batches[usize::from(cpu)].borrow_mut().pop() else { return };
            self.frames.sub(digest::batch(self.frames.name(head), cpu));
            self.frames.set_lru(head, true);
            if self.has(Defect::BatchPutTwice) && self.frames.refcount(head) > 1 {
                self.folio_put(head);
            }
            if !self.has(Defect::BatchPutForgotten) {
                self.folio_put(head);
            }
        }
    }

    /// `lru_add_drain_all`: a work item on every CPU whose batch holds something, and a wait for
    /// each of them. Alone on the machine they are done at once.
    pub(crate) async fn lru_add_drain_all(&self) {
        if !self.tracing.get() {
            return (0..self.shape.cpus).for_each(|cpu| self.lru_add_drain(cpu));
        }
        let mut queued = 0u8;
        for cpu in 0..self.shape.cpus {
            self.machine.point().await;
            // cpu_needs_drain
            if !self.batches[usize::from(cpu)].borrow().is_empty() {
                self.machine.queue_work_on(cpu, u32::from(cpu));
                queued |= 1 << cpu;
            }
        }
        for cpu in (0..self.shape.cpus).filter(|cpu| queued >> cpu & 1 == 1) {
            self.machine.flush_work(u32::from(cpu)).await;
        }
    }

    /// `folio_isolate_lru`: takes the folio off the LRU, with a reference.
    pub(crate) fn folio_isolate_lru(&self, cx: &Cx, head: Pfn) -> bool {
        let lru = self.frames.lru(head);
        if lru {
            self.folio_get(head);
            self.frames.set_lru(head, false);
        }
        let folio = self.frames.name(head);
        self.mark(cx, || (Mark::Isolate { folio }, Seen::Flag(lru)));
        lru
    }

    /// `folio_putback_lru`.
    pub(crate) fn folio_putback_lru(&self, cx: &Cx, head: Pfn) {
        self.folio_add_lru(cx, head);
        let folio = self.frames.name(head);
        self.mark(cx, || (Mark::Putback { folio }, Seen::Flag(true)));
        self.folio_put(head);
    }
}
