//! What a program keeps from one operation to a later one: pages that GUP returned, folio locks.

use machine::Task;
use program::{HandleId, LockId, digest};

use crate::frame::Pfn;
use crate::world::World;

impl World {
    /// The empty buffer of a handle that an operation is about to fill.
    pub(crate) fn handle_buffer(&self, handle: HandleId) -> Vec<Pfn> {
        let at = usize::from(handle.0);
        let mut handles = self.handles.borrow_mut();
        if handles.len() <= at {
            handles.resize_with(at + 1, Vec::new);
        }
        std::mem::take(&mut handles[at])
    }

    /// The handle now holds these pages.
    pub(crate) fn handle_keep(&self, handle: HandleId, pages: Vec<Pfn>) {
        self.handle_terms(handle, &pages, true);
        self.handles.borrow_mut()[usize::from(handle.0)] = pages;
    }

    /// A page of a handle.
    pub(crate) fn handle_page(&self, handle: HandleId, index: usize) -> Option<Pfn> {
        self.handles.borrow().get(usize::from(handle.0))?.get(index).copied()
    }

    /// Empties one or two handles, as the caller of unpin hands their pages over; `hole` leaves a
    /// NULL between them.
    pub(crate) fn take_handles(
        &self,
        first: HandleId,
        also: Option<HandleId>,
        hole: bool,
    ) -> Vec<Option<Pfn>> {
        let mut pages = self.unpinned.take();
        pages.clear();
        let mut handles = self.handles.borrow_mut();
        for handle in [Some(first), also].into_iter().flatten() {
            if hole && handle != first {
                pages.push(None);
            }
            let Some(held) = handles.get_mut(usize::from(handle.0)) else { continue };
            self.handle_terms(handle, held, false);
            pages.extend(held.drain(..).map(Some));
        }
        pages
    }

    fn handle_terms(&self, handle: HandleId, pages: &[Pfn], add: bool) {
        for (index, &pfn) in (0..).zip(pages) {
            let term = digest::handle(handle, index, self.page_ref(pfn));
            if add { self.frames.add(term) } else { self.frames.sub(term) }
        }
    }

    /// The program holds this folio's lock from here on.
    pub(crate) fn lock_keep(&self, lock: LockId, head: Pfn, task: Task) {
        let at = usize::from(lock.0);
        let mut locks = self.locks.borrow_mut();
        if locks.len() <= at {
            locks.resize(at + 1, None);
        }
        locks[at] = Some((head, task));
        self.frames.add(digest::lock(lock, self.frames.name(head)));
    }

    /// The folio and the holder of a lock that the program gives back.
    pub(crate) fn lock_take(&self, lock: LockId) -> Option<(Pfn, Task)> {
        let held = self.locks.borrow_mut().get_mut(usize::from(lock.0))?.take();
        if let Some((head, _)) = held {
            self.frames.sub(digest::lock(lock, self.frames.name(head)));
        }
        held
    }
}
