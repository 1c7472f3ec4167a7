//! Where GUP's walk writes what it finds: one walk, several output formats.
//!
//! Gunthorpe asked for it in the thread on longterm pins (S4): a scatterlist or bvec wants
//! contiguous ranges and a device driver pfns, not an array of `struct page *` that everybody
//! scans again. Expanding what any sink got gives the page array.

use program::digest;

use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::gup::nth_page;
use crate::world::World;

/// An output format of the walk.
pub(crate) trait Sink {
    /// `nr` consecutive pages of one folio, from `page` on; whether their entries are writable.
    fn push(&mut self, world: &World, page: Pfn, nr: u32, writable: bool);

    /// What comes from here on is an entry of its own. Returns the number of entries so far.
    fn mark(&mut self) -> usize {
        0
    }

    /// Number of entries.
    fn entries(&self) -> usize {
        0
    }

    /// An entry: its first page, and how many there are, all of one folio.
    fn entry(&self, _at: usize) -> (Pfn, u32) {
        (ZERO_PFN, 0)
    }

    /// Forgets all entries from this one on.
    fn truncate(&mut self, _to: usize) {}
}

/// The page array.
impl Sink for Vec<Pfn> {
    fn push(&mut self, _world: &World, page: Pfn, nr: u32, _writable: bool) {
        self.extend((0..nr).map(|i| nth_page(page, i)));
    }

    fn mark(&mut self) -> usize {
        self.len()
    }

    fn entries(&self) -> usize {
        self.len()
    }

    fn entry(&self, at: usize) -> (Pfn, u32) {
        (self[at], 1)
    }

    fn truncate(&mut self, to: usize) {
        self.truncate(to);
    }
}

/// Contiguous ranges, each within one folio, so that every reference can be given back to the
/// folio that it was taken on.
#[derive(Clone, Default, Debug)]
pub(crate) struct Ranges {
    pub list: Vec<(Pfn, u32)>,
    /// Entries that nothing is added to any more.
    sealed: usize,
}

impl Ranges {
    /// The page array.
    pub fn expand(&self, pages: &mut Vec<Pfn>) {
        for &(page, nr) in &self.list {
            pages.extend((0..nr).map(|i| nth_page(page, i)));
        }
    }

    pub fn clear(&mut self) {
        self.list.clear();
        self.sealed = 0;
    }
}

impl Sink for Ranges {
    fn push(&mut self, world: &World, page: Pfn, nr: u32, _writable: bool) {
        if let Some((first, len)) = self.list[self.sealed..].last_mut()
            && nth_page(*first, *len) == page
            && (world.same_folio(*first, page) || world.has(Defect::RangesMergeFolios))
        {
            *len += nr;
        } else {
            self.list.push((page, nr));
        }
    }

    fn mark(&mut self) -> usize {
        self.sealed = self.list.len();
        self.sealed
    }

    fn entries(&self) -> usize {
        self.list.len()
    }

    fn entry(&self, at: usize) -> (Pfn, u32) {
        self.list[at]
    }

    fn truncate(&mut self, to: usize) {
        self.list.truncate(to);
    }
}

/// Each page and whether its entry is writable, as `hmm_range_fault` reports them: worth nothing
/// as soon as the mapping changes, because it holds no reference.
pub(crate) struct Pfns<'a>(pub &'a mut Vec<u64>);

impl Sink for Pfns<'_> {
    fn push(&mut self, world: &World, page: Pfn, nr: u32, writable: bool) {
        let walked = |i| digest::walked(world.page_ref(nth_page(page, i)), writable);
        self.0.extend((0..nr).map(walked));
    }
}

/// Nothing: the walk returns how many pages there are.
pub(crate) struct Count;

impl Sink for Count {
    fn push(&mut self, _world: &World, _page: Pfn, _nr: u32, _writable: bool) {}
}

impl World {
    /// Whether two pages are of one folio. The zero page is no folio, but always the same.
    pub(crate) fn same_folio(&self, a: Pfn, b: Pfn) -> bool {
        let folio = |pfn: Pfn| if pfn == ZERO_PFN { pfn } else { self.frames.head(pfn) };
        folio(a) == folio(b)
    }
}
