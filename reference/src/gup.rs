//! GUP: get, pin, put, unpin, peek (ops 3, B5, B6, K10).

use program::{
    Entry as EntryPoint, Errno, Foll, HandleId, MmId, ObjectId, Ret, Site, Span, digest,
};

use crate::fault::Access;
use crate::folio::Owner;
use crate::mm::{Mapped, Page};
use crate::state::{Done, State, Stop, fail, reuse_clone};

/// Pages that GUP returned, in order.
#[derive(Default, Debug)]
pub(crate) struct Handle {
    pub pinned: bool,
    pub pages: Vec<Page>,
}
reuse_clone!(Handle { pinned, pages });

impl State {
    pub fn gup(
        &mut self,
        mm: MmId,
        span: Span,
        handle: HandleId,
        entry: EntryPoint,
        foll: Foll,
        write: bool,
    ) -> Done<Ret> {
        let pin = foll == Foll::Pin;
        if pin {
            self.set_has_pinned(mm);
        }
        while self.handles.len() <= usize::from(handle.0) {
            self.handles.push(Handle::default());
        }
        self.handle_mut(handle).pinned = pin;
        let mut at = span.start;
        if entry != EntryPoint::Slow {
            self.gup_fast(mm, span, handle, write, &mut at);
        }
        if entry != EntryPoint::FastOnly {
            match self.gup_slow(mm, span, handle, write, &mut at) {
                // After at least one page an error only shortens the result (B5).
                Err(Stop::Fail(_)) if at > span.start => {}
                result => result?,
            }
        }
        Ok(Ret::Ok(at - span.start))
    }

    /// `gup_fast`: the prefix that needs no lock and no fault. `at` ends behind it.
    fn gup_fast(&mut self, mm: MmId, span: Span, handle: HandleId, write: bool, at: &mut u32) {
        let pin = self.handles[usize::from(handle.0)].pinned;
        while *at < span.end {
            let Ok(mapped) = self.follow_page(mm, *at, pin, write) else { return };
            if mapped.entry.page == Page::Zero || self.attempt(Site::GrabFast).is_err() {
                return;
            }
            self.grab_run(handle, mapped, span.end, at);
        }
    }

    /// `__get_user_pages`.
    fn gup_slow(
        &mut self,
        mm: MmId,
        span: Span,
        handle: HandleId,
        write: bool,
        at: &mut u32,
    ) -> Done {
        let pin = self.handles[usize::from(handle.0)].pinned;
        while *at < span.end {
            let permits = self
                .vma(mm, *at)
                .is_some_and(|vma| if write { vma.is_writable() } else { vma.is_readable() });
            if !permits {
                return fail(Errno::EFAULT);
            }
            match self.follow_page(mm, *at, pin, write) {
                Err(access) => self.faultin_page(mm, *at, access)?,
                Ok(mapped) => {
                    self.attempt(Site::Grab)?;
                    // K10: the others of a huge PMD's run are grabbed in a second step.
                    if self.run_length(mapped, span.end, *at) > 1
                        && self.attempt(Site::Grab).is_err()
                    {
                        return fail(Errno::EFAULT);
                    }
                    self.grab_run(handle, mapped, span.end, at);
                }
            }
        }
        Ok(())
    }

    /// The mapped page, or the fault that must come first (`gup_must_unshare`: only a read-only
    /// pin of an anonymous page that is not exclusive).
    pub fn follow_page(
        &self,
        mm: MmId,
        vpn: u32,
        pin: bool,
        write: bool,
    ) -> Result<Mapped, Access> {
        let wanted = if write { Access::Write } else { Access::Read };
        let mapped = self.translate(mm, vpn).ok_or(wanted)?;
        let entry = mapped.entry;
        if !entry.read || (write && !entry.write) {
            return Err(wanted);
        }
        if pin && !entry.write && self.anon_exclusive(mapped) == Some(false) {
            return Err(Access::Unshare);
        }
        Ok(mapped)
    }

    pub fn faultin_page(&mut self, mm: MmId, vpn: u32, access: Access) -> Done {
        self.fault(mm, vpn, access).map_err(|stop| match stop {
            Stop::Fail(Errno::SIGBUS | Errno::SIGSEGV) => Stop::Fail(Errno::EFAULT),
            other => other,
        })
    }

    /// Pages that one grab covers: to the end of a huge PMD, else one.
    fn run_length(&self, mapped: Mapped, end: u32, at: u32) -> u32 {
        if mapped.huge { (self.ptes - at % self.ptes).min(end - at) } else { 1 }
    }

    fn grab_run(&mut self, handle: HandleId, mapped: Mapped, end: u32, at: &mut u32) {
        for i in 0..self.run_length(mapped, end, *at) {
            let page = match mapped.entry.page {
                Page::Zero => Page::Zero,
                Page::Of(folio, sub) => Page::Of(folio, sub + i),
            };
            let index = self.handle_mut(handle).pages.len() as u32;
            self.handle_mut(handle).pages.push(page);
            self.ledger.add(self.handle_term(handle, index, page));
            if let Page::Of(folio, _) = page {
                let owner = self.handle_owner(handle);
                self.ledger.relate(folio, owner);
            }
            *at += 1;
        }
    }

    /// The page in the handle; FOLL_GET also counts on the zero page (B2).
    fn handle_term(&self, handle: HandleId, index: u32, page: Page) -> u64 {
        let counted = page == Page::Zero && !self.handles[usize::from(handle.0)].pinned;
        let term = digest::handle(handle, index, self.ledger.page_ref(page));
        term.wrapping_add(if counted { digest::zero_ref() } else { 0 })
    }

    fn handle_owner(&self, handle: HandleId) -> Owner {
        match self.handles[usize::from(handle.0)].pinned {
            true => Owner::Pin { handle },
            false => Owner::Get { handle },
        }
    }

    fn handle_mut(&mut self, handle: HandleId) -> &mut Handle {
        &mut self.handles[usize::from(handle.0)]
    }

    pub fn handle_exists(&self, handle: HandleId) -> bool {
        self.handles.get(usize::from(handle.0)).is_some_and(|handle| !handle.pages.is_empty())
    }

    /// `put_page` or `unpin_user_page` for each page: the number of pages.
    pub fn release(&mut self, handle: HandleId) -> u32 {
        if !self.handle_exists(handle) {
            return 0;
        }
        let owner = self.handle_owner(handle);
        let mut pages = std::mem::take(&mut self.handle_mut(handle).pages);
        let count = pages.len() as u32;
        for (index, page) in (0..).zip(pages.drain(..)) {
            self.ledger.sub(self.handle_term(handle, index, page));
            if let Page::Of(folio, _) = page {
                self.ledger.unrelate(folio, owner);
            }
        }
        self.handle_mut(handle).pages = pages;
        count
    }

    /// `unpin_user_pages[_dirty_lock]`, array or ranges: the same to the ledger.
    pub fn unpin(&mut self, first: HandleId, also: Option<HandleId>, dirty: bool) -> Done<Ret> {
        let mut count = 0;
        for handle in [Some(first), also].into_iter().flatten() {
            if dirty {
                self.dirty_lock(handle)?;
            }
            count += self.release(handle);
        }
        Ok(Ret::Ok(count))
    }

    /// `unpin_user_pages_dirty_lock` locks every folio that is not dirty yet. Dirtiness is
    /// tracked for regular files only (decision 9).
    fn dirty_lock(&mut self, handle: HandleId) -> Done {
        if !self.handle_exists(handle) {
            return Ok(());
        }
        for index in 0..self.handles[usize::from(handle.0)].pages.len() {
            let Page::Of(id, _) = self.handles[usize::from(handle.0)].pages[index] else {
                continue;
            };
            let folio = self.ledger.folio(id);
            let regular = matches!(folio.cached(), Some((ObjectId::File(_), _)));
            if regular && folio.dirty {
                continue;
            }
            if folio.locked().is_some() {
                return Err(Stop::Sleep);
            }
            if regular {
                self.ledger.set_dirty(id, true);
            }
        }
        Ok(())
    }

    pub fn peek(&self, handle: HandleId, values: &mut Vec<u64>) -> Ret {
        let pages = &self.handles[usize::from(handle.0)].pages;
        values.extend(pages.iter().map(|page| self.ledger.data(*page)));
        Ret::Ok(pages.len() as u32)
    }
}
