//! A CPU's TLB: translations that it may go on using whatever the page tables say by now.
//!
//! What a translation is, and when one must be flushed, is the business of the code under test; the
//! machine only keeps what was filled in until a flush. It never forgets by itself: the worst case
//! is the one to be tested.

use std::cell::RefCell;
use std::ops::Range;

/// Translations of pages of address spaces, each to a `T`.
#[derive(Debug)]
pub struct Tlb<T> {
    entries: RefCell<Vec<(u32, u32, T)>>,
}

impl<T> Default for Tlb<T> {
    fn default() -> Tlb<T> {
        Tlb { entries: RefCell::default() }
    }
}

impl<T: Copy> Tlb<T> {
    /// The translation of a page of an address space, if it is there.
    pub fn lookup(&self, space: u32, page: u32) -> Option<T> {
        let entries = self.entries.borrow();
        entries.iter().find(|entry| (entry.0, entry.1) == (space, page)).map(|entry| entry.2)
    }

    /// The CPU has walked: this replaces what was there of the page.
    pub fn fill(&self, space: u32, page: u32, translation: T) {
        self.flush(space, page..page + 1);
        self.entries.borrow_mut().push((space, page, translation));
    }

    /// Forgets pages of an address space (`invlpg`).
    pub fn flush(&self, space: u32, pages: Range<u32>) {
        let goes = |entry: &(u32, u32, T)| entry.0 == space && pages.contains(&entry.1);
        self.entries.borrow_mut().retain(|entry| !goes(entry));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.get_mut().clear();
    }
}
