//! GUP: get, pin, put, unpin, peek (ops 3, B5, B6, K10).

use program::{
    Entry as EntryPoint, Errno, HandleId, MmId, ObjectId, Report, Ret, Site, Span, digest,
};

use crate::fault::Access;
use crate::folio::Owner;
use crate::longterm::Checks;
use crate::mm::{Entry, Mapped, Page};
use crate::state::{Done, State, Stop, fail};
use crate::vma::Vma;

/// Pages that GUP returned, in order.
#[derive(Default, Debug)]
pub(crate) struct Handle {
    pub pinned: bool,
    pub pages: Vec<Page>,
    /// GUP-fast is not done: the pins may go again.
    pub tentative: bool,
    /// Pages that an operation which runs beside others has released.
    pub released: Vec<bool>,
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        let Handle { pinned, tentative, .. } = *self;
        Handle { pinned, pages: self.pages.clone(), tentative, released: self.released.clone() }
    }

    /// Reuses allocations. Most handles do not exist: they are empty.
    fn clone_from(&mut self, other: &Handle) {
        (self.pinned, self.tentative) = (other.pinned, other.tentative);
        self.pages.clear();
        self.released.clear();
        if !other.pages.is_empty() {
            self.pages.extend_from_slice(&other.pages);
            self.released.extend_from_slice(&other.released);
        }
    }
}

/// What a walk wants of each page.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Want {
    /// FOLL_PIN, not FOLL_GET or nothing.
    pub pin: bool,
    pub write: bool,
    pub longterm: bool,
    /// It may release mmap_lock, and so sleep for userfaultfd.
    pub unlockable: bool,
}

impl State {
    pub fn gup(
        &mut self,
        mm: MmId,
        span: Span,
        handle: HandleId,
        entry: EntryPoint,
        want: Want,
    ) -> Done<Ret> {
        let pin = want.pin;
        if pin {
            self.set_has_pinned(mm);
        }
        self.create_handle(handle, pin);
        let mut at = span.start;
        if entry != EntryPoint::Slow {
            self.gup_fast(mm, span, handle, want, &mut at);
        }
        if entry != EntryPoint::FastOnly {
            let result = match want.longterm {
                true if self.checks == Checks::InWalk => {
                    self.gup_in_walk(mm, span, handle, want, &mut at)
                }
                true => self.gup_longterm(mm, span, handle, want, &mut at),
                false => self.gup_slow(mm, span, handle, want, &mut at),
            };
            match result {
                // After at least one page an error only shortens the result (B5).
                Err(Stop::Fail(_)) if at > span.start => {}
                result => result?,
            }
        }
        Ok(Ret::Ok(at - span.start))
    }

    /// The slow walk without references.
    pub fn walk(
        &mut self,
        mm: MmId,
        span: Span,
        write: bool,
        report: Report,
        values: &mut Vec<u64>,
    ) -> Done<Ret> {
        let want = Want { write, ..Want::default() };
        for vpn in span.start..span.end {
            match self.walk_page(mm, vpn, want) {
                Ok(entry) if report == Report::Pfns => {
                    values.push(digest::walked(self.ledger.page_ref(entry.page), entry.write));
                }
                Ok(_) => {}
                Err(Stop::Fail(_)) if vpn > span.start => {
                    return Ok(Ret::Ok(vpn - span.start));
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(Ret::Ok(span.end - span.start))
    }

    fn walk_page(&mut self, mm: MmId, vpn: u32, want: Want) -> Done<Entry> {
        self.check_vma_flags(mm, vpn, want)?;
        loop {
            match self.follow_page(mm, vpn, want) {
                Ok(mapped) => return Ok(mapped.entry),
                Err(access) => self.faultin_page(mm, vpn, access, want)?,
            }
        }
    }

    /// An empty handle.
    pub fn create_handle(&mut self, handle: HandleId, pinned: bool) {
        while self.handles.len() <= usize::from(handle.0) {
            self.handles.push(Handle::default());
        }
        self.handle_mut(handle).pinned = pinned;
    }

    /// `gup_fast`: the prefix that needs no lock and no fault. `at` ends behind it.
    fn gup_fast(&mut self, mm: MmId, span: Span, handle: HandleId, want: Want, at: &mut u32) {
        while *at < span.end {
            let Ok(mapped) = self.follow_page(mm, *at, want) else { return };
            let Page::Of(folio, _) = mapped.entry.page else { return };
            if self.attempt(Site::GrabFast).is_err() {
                return;
            }
            if want.longterm && !self.longterm_fast(mapped, folio, want.write) {
                return;
            }
            self.grab_run(handle, mapped, span.end, at);
        }
    }

    /// `__get_user_pages`.
    pub fn gup_slow(
        &mut self,
        mm: MmId,
        span: Span,
        handle: HandleId,
        want: Want,
        at: &mut u32,
    ) -> Done {
        while *at < span.end {
            self.gup_leaf(mm, span, handle, want, at)?;
        }
        Ok(())
    }

    /// One page, or what is wanted of a huge PMD, faulted in if need be.
    pub fn gup_leaf(
        &mut self,
        mm: MmId,
        span: Span,
        handle: HandleId,
        want: Want,
        at: &mut u32,
    ) -> Done {
        self.check_vma_flags(mm, *at, want)?;
        loop {
            match self.follow_page(mm, *at, want) {
                Err(access) => self.faultin_page(mm, *at, access, want)?,
                Ok(mapped) => {
                    self.attempt(Site::Grab)?;
                    // K10: the others of a huge PMD's run are grabbed in a second step.
                    if self.run_length(mapped, span.end, *at) > 1
                        && self.attempt(Site::Grab).is_err()
                    {
                        return fail(Errno::EFAULT);
                    }
                    self.grab_run(handle, mapped, span.end, at);
                    return Ok(());
                }
            }
        }
    }

    /// `check_vma_flags`: a longterm pin does not write to dirty-tracked file mappings.
    fn check_vma_flags(&self, mm: MmId, vpn: u32, want: Want) -> Done {
        let permits = |vma: Vma| match want.write {
            true => vma.is_writable() && !(want.longterm && vma.wants_writenotify()),
            false => vma.is_readable(),
        };
        if self.vma(mm, vpn).is_some_and(permits) { Ok(()) } else { fail(Errno::EFAULT) }
    }

    /// The mapped page, or the fault that must come first (`gup_must_unshare`, only of a read-only
    /// pin: an anonymous page that is not exclusive, or, longterm, any other page of a private
    /// mapping, because its copy would be what later writes go to).
    pub fn follow_page(&self, mm: MmId, vpn: u32, want: Want) -> Result<Mapped, Access> {
        let wanted = if want.write { Access::Write } else { Access::Read };
        let mapped = self.translate(mm, vpn).ok_or(wanted)?;
        let entry = mapped.entry;
        if !entry.read || (want.write && !entry.write) {
            return Err(wanted);
        }
        let unshare = match self.anon_exclusive(mapped) {
            Some(exclusive) => !exclusive,
            None => want.longterm && self.vma(mm, vpn).is_some_and(|vma| !vma.flags.shared),
        };
        if want.pin && !entry.write && unshare {
            return Err(Access::Unshare);
        }
        Ok(mapped)
    }

    pub fn faultin_page(&mut self, mm: MmId, vpn: u32, access: Access, want: Want) -> Done {
        self.fault(mm, vpn, access).map_err(|stop| match stop {
            Stop::Fail(Errno::SIGBUS | Errno::SIGSEGV) => Stop::Fail(Errno::EFAULT),
            // Instead of sleeping with mmap_lock it gets SIGBUS (B15).
            Stop::Userfault if !want.unlockable => Stop::Fail(Errno::EFAULT),
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
            self.grab(handle, page);
            *at += 1;
        }
    }

    /// The handle takes a page.
    pub fn grab(&mut self, handle: HandleId, page: Page) {
        let index = self.handle_mut(handle).pages.len() as u32;
        self.handle_mut(handle).pages.push(page);
        self.ledger.add(self.handle_term(handle, index, page));
        if let Page::Of(folio, _) = page {
            let owner = self.handle_owner(handle);
            self.ledger.relate(folio, owner);
        }
    }

    /// Takes a page out of the handle again; those behind it move up.
    pub fn ungrab(&mut self, handle: HandleId, page: Page) -> Option<()> {
        let owner = self.handle_owner(handle);
        let mut pages = std::mem::take(&mut self.handles.get_mut(usize::from(handle.0))?.pages);
        let at = pages.iter().rposition(|held| *held == page)?;
        let terms = |state: &State, pages: &[Page]| {
            let behind = (at as u32..).zip(&pages[at..]);
            behind.fold(0u64, |sum, (index, &page)| {
                sum.wrapping_add(state.handle_term(handle, index, page))
            })
        };
        self.ledger.sub(terms(self, &pages));
        pages.remove(at);
        self.ledger.add(terms(self, &pages));
        self.handle_mut(handle).pages = pages;
        if let Page::Of(folio, _) = page {
            self.ledger.unrelate(folio, owner);
        }
        Some(())
    }

    /// Releases one page of the same folio as `like`; none, if there is none left.
    pub fn release_like(&mut self, handle: HandleId, like: Page) -> Option<()> {
        let same = |page: &Page| match (*page, like) {
            (Page::Of(folio, _), Page::Of(other, _)) => folio == other,
            (a, b) => a == b,
        };
        let held = self.handles.get_mut(usize::from(handle.0))?;
        held.released.resize(held.pages.len(), false);
        let left = held.pages.iter().zip(&held.released);
        let at = left.enumerate().position(|(_, (page, released))| same(page) && !released)?;
        held.released[at] = true;
        let page = held.pages[at];
        if held.released.iter().all(|&released| released) {
            held.pages.clear();
            held.released.clear();
        }
        self.ledger.sub(self.handle_term(handle, at as u32, page));
        if let Page::Of(folio, _) = page {
            let owner = self.handle_owner(handle);
            self.ledger.unrelate(folio, owner);
        }
        Some(())
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

    pub fn handle_mut(&mut self, handle: HandleId) -> &mut Handle {
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
        self.release_from(handle, 0)
    }

    /// Drops all pages of a handle but the first `keep`.
    pub fn release_from(&mut self, handle: HandleId, keep: usize) -> u32 {
        let owner = self.handle_owner(handle);
        let mut pages = std::mem::take(&mut self.handle_mut(handle).pages);
        let count = (pages.len() - keep) as u32;
        for (index, page) in (keep as u32..).zip(pages.drain(keep..)) {
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
