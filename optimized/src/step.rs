//! One step from the vocabulary to the kernel function that does it.

use machine::Task;
use program::{
    Call, Entry, Errno, Foll, Form, HandleId, LockId, Mark, MmId, Model, Op, Outcome, Place,
    Report, Ret, Seen, Shape, Snapshot, Span, Step, written,
};

use crate::defects::Defect;
use crate::gup::GupFlags;
use crate::gup_sink::{Count, Pfns, Sink};
use crate::variants::Variant;
use crate::world::{Cx, World};

impl Model for World {
    fn reset(&mut self, shape: &Shape) {
        self.reset_all(shape);
    }

    fn step(&mut self, call: Call<'_>, out: &mut Outcome) {
        let cx = self.context(call.number, call.step);
        out.ret = self.alone(|| self.perform_alone(&cx, call, &mut out.data));
    }

    fn digest(&self) -> u64 {
        self.frames.digest()
    }

    fn snapshot(&self) -> Snapshot {
        self.build_snapshot()
    }

    fn teardown(&mut self) {
        let step = Step { cpu: 0, op: Op::Nop, place: Place::Normal, fail: None };
        let cx = self.context(0, &step);
        self.alone(|| {
            self.lru_add_drain_all_alone()?;
            self.truncate_inode_pages_alone(&cx, |_| true)
        });
    }
}

/// One async function an operation that needs more than a call.
#[twice]
impl World {
    /// Any operation, on a machine that others may use at the same time.
    pub(crate) async fn perform(&self, cx: &Cx, call: Call<'_>, data: &mut Vec<u64>) -> Ret {
        let layout = call.layout;
        if call.step.op.mm().is_some_and(|mm| !self.mm(mm).alive.get()) {
            return Ret::Void;
        }
        match call.step.op {
            Op::Mmap { mm, area, backing, prot, .. } => {
                if self.has(Defect::Canary) {
                    self.mm_set_has_pinned(cx, mm);
                }
                self.do_mmap(cx, mm, layout.area(area), backing, prot, area.0).await;
                Ret::Ok(0)
            }
            Op::Munmap { mm, range } => {
                self.munmap(cx, mm, layout.span(range)).await;
                Ret::Ok(0)
            }
            Op::Mprotect { mm, range, prot } => {
                ret(self.do_mprotect(cx, mm, layout.span(range), prot).await)
            }
            Op::Mremap { mm, range, area, .. } => {
                ret(self.mremap(cx, mm, layout.span(range), layout.area(area)).await)
            }
            Op::Madvise { mm, range, advice } => {
                ret(self.do_madvise(cx, mm, layout.span(range), advice).await)
            }
            Op::Uffd { mm, range, uffdio } => {
                let done = self.userfaultfd_ioctl(cx, mm, layout.span(range), uffdio).await;
                done.map_or_else(Ret::Err, Ret::Ok)
            }
            Op::Read { mm, range } => self.op_read(cx, mm, layout.span(range), data).await,
            Op::Write { mm, range } => self.op_write(cx, mm, layout.span(range)).await,
            Op::Fork { mm, child } => ret(self.fork(cx, mm, child).await),
            Op::Exit { mm } => {
                self.exit_mmap(cx, mm).await;
                Ret::Ok(0)
            }
            Op::LruAddDrain => {
                self.lru_add_drain(cx.cpu);
                Ret::Ok(0)
            }
            Op::LruAddDrainAll => {
                self.lru_add_drain_all().await;
                Ret::Ok(0)
            }
            Op::SplitFolio { mm, range } => {
                ret(self.split_huge_page_at(cx, mm, layout.span(range).start).await)
            }
            Op::Migrate { mm, range, mode } => {
                ret(self.migrate_at(cx, mm, layout.span(range).start, mode).await)
            }
            Op::Offline { place } => ret(self.memory_block_offline(cx, place).await),
            Op::Gup { mm, range, handle, entry, foll, write, longterm, form } => {
                let unlockable = entry != Entry::Slow;
                let none = form == Form::Range && self.has(Defect::RangesTakeNoReference);
                let foll = Some(foll).filter(|_| !none);
                let flags = GupFlags { write, longterm, foll, unlockable, ..GupFlags::default() };
                self.op_gup(cx, mm, layout.span(range), entry, flags, handle, form).await
            }
            Op::Walk { mm, range, write, report } => {
                let foll = self.has(Defect::PfnsTakeReferences).then_some(Foll::Get);
                let flags = GupFlags { write, foll, ..GupFlags::default() };
                let span = layout.span(range);
                let got = match report {
                    Report::Pfns => self.get_user_pages(cx, mm, span, flags, &mut Pfns(data)).await,
                    Report::Count => self.get_user_pages(cx, mm, span, flags, &mut Count).await,
                };
                got.map_or_else(Ret::Err, Ret::Ok)
            }
            Op::Put { handle } => {
                let taken = self.take_handles(handle, None, Form::Range, false);
                self.op_unpin(cx, taken, Foll::Get, Form::Pages, false).await
            }
            Op::Unpin { handle, also, form, dirty, hole } => {
                let taken = self.take_handles(handle, also, form, hole);
                self.op_unpin(cx, taken, Foll::Pin, form, dirty).await
            }
            Op::Peek { handle } => self.op_peek(cx, handle, data).await,
            Op::LockPage { mm, range, lock, task } => {
                self.op_lock_page(cx, mm, layout.span(range).start, lock, Task(task.0)).await
            }
            Op::UnlockPage { lock } => self.op_unlock_page(lock).await,
            Op::Nop => Ret::Void,
            _ => self.perform_driver(cx, call, data).await,
        }
    }

    async fn op_read(&self, cx: &Cx, mm: MmId, span: Span, data: &mut Vec<u64>) -> Ret {
        for vpn in span.start..span.end {
            match self.user_access(cx, mm, vpn, false).await {
                Ok(pfn) => {
                    let value = self.frames.data(pfn);
                    self.mark(cx, || {
                        let stale = self.stale(mm, vpn, false, pfn);
                        (Mark::Load { mm, vpn, stale }, Seen::Data(self.page_ref(pfn), value))
                    });
                    data.push(value);
                }
                Err(fault) => return Ret::Err(fault.signal()),
            }
        }
        Ret::Ok(span.end - span.start)
    }

    async fn op_write(&self, cx: &Cx, mm: MmId, span: Span) -> Ret {
        for vpn in span.start..span.end {
            match self.user_access(cx, mm, vpn, true).await {
                Ok(pfn) => {
                    let index = vpn - span.start;
                    self.frames.set_data(pfn, written(cx.number, index));
                    self.mark(cx, || {
                        let stale = self.stale(mm, vpn, true, pfn);
                        (Mark::Store { mm, vpn, index, stale }, Seen::Page(self.page_ref(pfn)))
                    });
                }
                Err(fault) => return Ret::Err(fault.signal()),
            }
        }
        Ret::Ok(span.end - span.start)
    }

    #[expect(clippy::too_many_arguments, reason = "the arguments of the operation")]
    async fn op_gup(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        entry: Entry,
        flags: GupFlags,
        handle: HandleId,
        form: Form,
    ) -> Ret {
        let mut held = self.handle_buffer(handle);
        let sink: &mut dyn Sink = match form {
            Form::Pages => &mut held.pages,
            Form::Range => &mut held.ranges,
        };
        if flags.foll == Some(Foll::Pin) {
            self.mm_set_has_pinned(cx, mm);
        }
        let tails = self.has(Defect::TailSkip) && flags.longterm;
        let tails = tails || self.variant() == Variant::VfioTailSkip;
        let got = if tails || self.variant() == Variant::Vfio {
            self.vfio_pin_pages_remote(cx, mm, span, entry, flags, sink, tails).await
        } else {
            self.gup(cx, mm, span, entry, flags, sink).await
        };
        self.handle_keep(handle, held);
        got.map_or_else(Ret::Err, Ret::Ok)
    }

    /// Slow or fast.
    pub(crate) async fn gup(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        entry: Entry,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Result<u32, Errno> {
        match entry {
            Entry::Slow => self.gup_longterm_locked(cx, mm, span, flags, sink).await,
            _ => self.gup_fast_fallback(cx, mm, span, flags, entry, sink).await,
        }
    }

    async fn op_peek(&self, cx: &Cx, handle: HandleId, data: &mut Vec<u64>) -> Ret {
        let mut count = 0;
        while let Some(pfn) = self.handle_page(handle, count) {
            self.machine.point().await;
            let value = self.frames.data(pfn);
            let index = count as u32;
            self.mark(cx, || (Mark::Peek { index }, Seen::Data(self.page_ref(pfn), value)));
            data.push(value);
            count += 1;
        }
        if count == 0 { Ret::Void } else { Ret::Ok(count as u32) }
    }

    async fn op_lock_page(&self, cx: &Cx, mm: MmId, vpn: u32, lock: LockId, task: Task) -> Ret {
        let Some(head) = self.folio_walk(cx, mm, vpn) else { return Ret::Err(Errno::ENOENT) };
        self.folio_get(head);
        self.frames.lock(head).lock(&self.machine, task, "PG_locked").await;
        self.frames.lock_changed(head, task, true);
        self.frames.lock(head).keep(&self.machine);
        self.lock_keep(lock, head, task);
        Ret::Ok(0)
    }

    async fn op_unlock_page(&self, lock: LockId) -> Ret {
        let Some((head, task)) = self.lock_take(lock) else { return Ret::Void };
        self.machine.acquired();
        self.folio_unlock_as(task, head);
        self.folio_put(head);
        Ret::Ok(0)
    }
}

fn ret(result: Result<(), Errno>) -> Ret {
    result.map_or_else(Ret::Err, |()| Ret::Ok(0))
}
