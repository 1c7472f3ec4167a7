//! What a program keeps from one operation to a later one: pages that GUP returned, folio locks.

use machine::Task;
use program::{Form, HandleId, LockId, digest};

use crate::frame::Pfn;
use crate::gup_sink::Ranges;
use crate::unpin::Taken;
use crate::world::World;

/// What a handle holds.
#[derive(Default)]
pub(crate) struct Held {
    pub pages: Vec<Pfn>,
    /// The same as ranges, where GUP was asked for them.
    pub ranges: Ranges,
}

impl Held {
    /// Keeps the allocations.
    pub fn clear(&mut self) {
        self.pages.clear();
        self.ranges.clear();
    }
}

impl World {
    /// The empty buffer of a handle that an operation is about to fill.
    pub(crate) fn handle_buffer(&self, handle: HandleId) -> Held {
        let at = usize::from(handle.0);
        let mut handles = self.handles.borrow_mut();
        if handles.len() <= at {
            handles.resize_with(at + 1, Held::default);
        }
        std::mem::take(&mut handles[at])
    }

    /// The handle now holds what GUP wrote, as pages or as ranges.
    pub(crate) fn handle_keep(&self, handle: HandleId, mut held: Held) {
        held.ranges.expand(&mut held.pages);
        self.handle_terms(handle, &held.pages, true);
        self.handles.borrow_mut()[usize::from(handle.0)] = held;
    }

    /// A page of a handle.
    pub(crate) fn handle_page(&self, handle: HandleId, index: usize) -> Option<Pfn> {
        self.handles.borrow().get(usize::from(handle.0))?.pages.get(index).copied()
    }

    /// Empties one or two handles, as the caller of unpin hands their pages over: as the ranges
    /// that GUP gave, if it gave ranges and `form` says so; `hole` leaves a NULL between them.
    pub(crate) fn take_handles(
        &self,
        first: HandleId,
        also: Option<HandleId>,
        form: Form,
        hole: bool,
    ) -> Taken {
        let mut taken = self.unpinned.take();
        taken.clear();
        let mut handles = self.handles.borrow_mut();
        for handle in [Some(first), also].into_iter().flatten() {
            if hole && handle != first {
                taken.pages.push(None);
            }
            let Some(held) = handles.get_mut(usize::from(handle.0)) else { continue };
            self.handle_terms(handle, &held.pages, false);
            if form == Form::Range && !held.ranges.list.is_empty() {
                taken.ranges.append(&mut held.ranges.list);
            } else {
                taken.pages.extend(held.pages.iter().copied().map(Some));
            }
            held.clear();
        }
        taken
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
