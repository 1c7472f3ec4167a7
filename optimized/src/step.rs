//! One step from the vocabulary to the kernel function that does it.

use std::pin::pin;

use machine::Task;
use program::{
    Call, Errno, Foll, Form, MmId, Model, Op, Outcome, Place, Ret, Shape, Snapshot, Span, Step,
    digest, written,
};

use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::gup::{GupFlags, nth_page};
use crate::world::{Cx, World};

impl Model for World {
    fn reset(&mut self, shape: &Shape) {
        self.reset_all(shape);
    }

    fn step(&mut self, call: Call<'_>, out: &mut Outcome) {
        let cx = self.context(call.number, call.step);
        out.ret = match call.step.op {
            Op::Gup { mm, range, handle, entry, foll, write } => {
                let mut got = std::mem::take(self.handle_mut(handle));
                let span = call.layout.span(range);
                let flags = GupFlags { write, foll: Some(foll) };
                let gup =
                    self.alone(pin!(self.op_gup(&cx, mm, span, entry, flags, &mut got.pages)));
                if !got.pages.is_empty() {
                    got.foll = Some(foll);
                    self.handle_terms(handle, &got.pages, true);
                }
                *self.handle_mut(handle) = got;
                gup
            }
            Op::Put { handle } => {
                let mut pages = std::mem::take(&mut self.unpinned);
                self.take_handle(handle, &mut pages);
                let ret =
                    self.alone(pin!(self.op_unpin(&cx, &pages, Foll::Get, Form::Pages, false)));
                self.unpinned = pages;
                self.unpinned.clear();
                ret
            }
            Op::Unpin { handle, also, form, dirty, hole } => {
                let mut pages = std::mem::take(&mut self.unpinned);
                self.take_handle(handle, &mut pages);
                if let Some(also) = also {
                    pages.extend(hole.then_some(None));
                    self.take_handle(also, &mut pages);
                }
                let ret = self.alone(pin!(self.op_unpin(&cx, &pages, Foll::Pin, form, dirty)));
                self.unpinned = pages;
                self.unpinned.clear();
                ret
            }
            Op::Peek { handle } => {
                let pages = self.handles.get(usize::from(handle.0)).map(|held| &held.pages[..]);
                let pages = pages.unwrap_or_default();
                out.data.extend(pages.iter().map(|&pfn| self.frames.data(pfn)));
                if pages.is_empty() { Ret::Void } else { Ret::Ok(pages.len() as u32) }
            }
            Op::LockPage { mm, range, lock, task } => {
                let vpn = call.layout.span(range).start;
                let task = Task(task.0);
                let (ret, locked) = self.alone(pin!(self.op_lock_page(mm, vpn, task)));
                if let Some(pfn) = locked {
                    *self.lock_mut(lock) = Some((pfn, task));
                    self.frames.add(digest::lock(lock, self.frames.name(pfn)));
                }
                ret
            }
            Op::UnlockPage { lock } => match self.lock_mut(lock).take() {
                None => Ret::Void,
                Some((pfn, task)) => {
                    self.frames.sub(digest::lock(lock, self.frames.name(pfn)));
                    self.alone(pin!(self.op_unlock_page(pfn, task)))
                }
            },
            _ => self.alone(pin!(self.op(&cx, call, &mut out.data))),
        };
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
        self.alone(pin!(async {
            self.lru_add_drain_all();
            self.truncate_inode_pages(&cx, |_| true).await;
        }));
    }
}

/// One async function an operation that needs more than a call.
impl World {
    /// Every operation that creates and consumes neither handle nor lock.
    async fn op(&self, cx: &Cx, call: Call<'_>, data: &mut Vec<u64>) -> Ret {
        let layout = call.layout;
        if call.step.op.mm().is_some_and(|mm| !self.mm(mm).alive.get()) {
            return Ret::Void;
        }
        match call.step.op {
            Op::Mmap { mm, area, backing, prot, .. } => {
                if self.has(Defect::Canary) {
                    self.mm_set_has_pinned(mm);
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
                self.lru_add_drain_all();
                Ret::Ok(0)
            }
            Op::SplitFolio { mm, range } => {
                ret(self.split_huge_page_at(cx, mm, layout.span(range).start).await)
            }
            Op::Migrate { mm, range, mode } => {
                ret(self.migrate_at(cx, mm, layout.span(range).start, mode).await)
            }
            Op::Offline { place } => ret(self.offline_pages(cx, place).await),
            _ => Ret::Void,
        }
    }

    async fn op_read(&self, cx: &Cx, mm: MmId, span: Span, data: &mut Vec<u64>) -> Ret {
        for vpn in span.start..span.end {
            match self.user_access(cx, mm, vpn, false).await {
                Ok(pfn) => data.push(self.frames.data(pfn)),
                Err(fault) => return Ret::Err(fault.signal()),
            }
        }
        Ret::Ok(span.end - span.start)
    }

    async fn op_write(&self, cx: &Cx, mm: MmId, span: Span) -> Ret {
        for vpn in span.start..span.end {
            match self.user_access(cx, mm, vpn, true).await {
                Ok(pfn) => self.frames.set_data(pfn, written(cx.number, vpn - span.start)),
                Err(fault) => return Ret::Err(fault.signal()),
            }
        }
        Ret::Ok(span.end - span.start)
    }

    async fn op_gup(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        entry: program::Entry,
        flags: GupFlags,
        pages: &mut Vec<Pfn>,
    ) -> Ret {
        if !self.mm(mm).alive.get() {
            return Ret::Void;
        }
        if flags.foll == Some(Foll::Pin) {
            self.mm_set_has_pinned(mm);
        }
        let got = match entry {
            program::Entry::Slow => self.get_user_pages(cx, mm, span, flags, pages).await,
            _ => self.gup_fast_fallback(cx, mm, span, flags, entry, pages).await,
        };
        got.map_or_else(Ret::Err, Ret::Ok)
    }

    async fn op_unpin(
        &self,
        cx: &Cx,
        pages: &[Option<Pfn>],
        foll: Foll,
        form: Form,
        dirty: bool,
    ) -> Ret {
        let count = pages.iter().flatten().count() as u32;
        if count == 0 {
            return Ret::Void;
        }
        if form == Form::Pages {
            self.unpin_user_pages(cx, pages, foll, dirty).await;
            return Ret::Ok(count);
        }
        // The caller coalesces as one that builds a bvec does: by pfn alone.
        let mut at = 0;
        while at < pages.len() {
            let Some(first) = pages[at] else {
                at += 1;
                continue;
            };
            let next = |i: u32, page: Pfn| page == nth_page(first, i) && page != ZERO_PFN;
            let run = (1u32..)
                .zip(&pages[at + 1..])
                .take_while(|(i, page)| page.is_some_and(|page| next(*i, page)))
                .count()
                + 1;
            self.unpin_user_page_range(cx, first, run as u32, dirty).await;
            at += run;
        }
        Ret::Ok(count)
    }

    async fn op_lock_page(&self, mm: MmId, vpn: u32, task: Task) -> (Ret, Option<Pfn>) {
        if !self.mm(mm).alive.get() {
            return (Ret::Void, None);
        }
        let Some(head) = self.folio_walk(mm, vpn) else {
            return (Ret::Err(Errno::ENOENT), None);
        };
        self.folio_get(head);
        self.frames.lock(head).lock(&self.machine, task, "PG_locked").await;
        self.frames.lock_changed(head, task, true);
        self.machine.released(); // held by the program from here on, not by the operation
        (Ret::Ok(0), Some(head))
    }

    async fn op_unlock_page(&self, head: Pfn, task: Task) -> Ret {
        self.machine.acquired();
        self.folio_unlock_as(task, head);
        self.folio_put(head);
        Ret::Ok(0)
    }
}

fn ret(result: Result<(), Errno>) -> Ret {
    result.map_or_else(Ret::Err, |()| Ret::Ok(0))
}
