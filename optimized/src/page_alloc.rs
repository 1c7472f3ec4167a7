//! The page allocator: places with a capacity each, frames that never fragment.
//!
//! Which place a folio comes from is an input; whether it fits is a matter of counting
//! (docs/operations.md, section 0). Frames come from free lists or from ever higher pfns, so
//! capacity, not fragmentation, decides.

use std::cell::{Cell, RefCell};

use program::{Birth, Name, Place, Shape, Site, digest};

use crate::frame::Pfn;
use crate::world::{Conduct, Cx, World};

/// The free memory.
#[derive(Default)]
pub(crate) struct Zones {
    used: [Cell<u32>; 5],
    next: Cell<u32>,
    single: RefCell<Vec<Pfn>>,
    huge: RefCell<Vec<Pfn>>,
}

impl Zones {
    pub fn reset(&mut self) {
        self.used = Default::default();
        self.next.set(0);
        self.single.get_mut().clear();
        self.huge.get_mut().clear();
    }

    pub fn used(&self, place: Place) -> u32 {
        self.used[place as usize].get()
    }

    /// One past the highest pfn that was ever handed out.
    pub fn end(&self) -> u32 {
        self.next.get()
    }

    fn take(&self, nr: u32) -> Pfn {
        let list = if nr == 1 { &self.single } else { &self.huge };
        if let Some(pfn) = list.borrow_mut().pop() {
            return pfn;
        }
        let start = self.next.get().next_multiple_of(nr);
        self.next.set(start + nr);
        Pfn(start)
    }
}

impl World {
    /// Whether the attempt now made at `site` is refused by the step's injection.
    #[inline]
    pub(crate) fn refused(&self, cx: &Cx, site: Site) -> bool {
        let Some(fail) = cx.fail else { return false };
        if fail.site != site {
            return false;
        }
        let attempt = cx.attempt.get() + 1;
        cx.attempt.set(attempt);
        attempt == u32::from(fail.nth)
    }

    /// `folio_alloc`, with the step's injection at `site`. The folio has one reference and no
    /// name yet.
    pub(crate) fn folio_alloc(&self, cx: &Cx, site: Site, order: u8, anon: bool) -> Option<Pfn> {
        // current_gfp_context
        let place = if cx.memalloc_pin.get() { Place::Normal } else { cx.place };
        let folio = match self.refused(cx, site) {
            true => None,
            false => self.folio_alloc_at(place, order, anon),
        };
        if folio.is_none() {
            self.refused_mark(cx, site);
        }
        folio
    }

    /// As [`World::folio_alloc`], without injection.
    pub(crate) fn folio_alloc_at(&self, place: Place, order: u8, anon: bool) -> Option<Pfn> {
        let nr = 1 << order;
        let fits = |place: Place| self.zones.used(place) + nr <= self.shape.pages[place as usize];
        let place = [place, Place::Normal].into_iter().find(|&place| fits(place))?;
        Some(self.folio_take(place, order, anon))
    }

    /// A folio in a place where it fits.
    pub(crate) fn folio_take(&self, place: Place, order: u8, anon: bool) -> Pfn {
        let nr = 1 << order;
        self.account(place, nr as i32);
        let pfn = self.zones.take(nr);
        self.frames.prepare(pfn, order, place, anon);
        pfn
    }

    fn account(&self, place: Place, by: i32) {
        let used = &self.zones.used[place as usize];
        used.set(used.get().wrapping_add_signed(by));
        self.frames.add(digest::used(place).wrapping_mul(i64::from(by) as u64));
    }

    /// Gives a folio its name, from when it is visible to others.
    pub(crate) fn publish(&self, cx: &Cx, pfn: Pfn, birth: Birth) {
        let name = self.name_of(cx, birth);
        self.frames.publish(pfn, name);
        self.note_strays(pfn);
    }

    /// The name of the next folio with this birth in this step.
    pub(crate) fn name_of(&self, cx: &Cx, birth: Birth) -> Name {
        if let Birth::Migrate(_) = birth {
            return Name::new(cx.number, birth, 0); // a folio migrates away once
        }
        let mut births = self.births.borrow_mut();
        let nth = births.iter().filter(|&&b| b == (cx.number, birth)).count() as u32;
        births.push((cx.number, birth));
        Name::new(cx.number, birth, nth)
    }

    /// `__folio_put`: the last reference is gone (`free_unref_folio`).
    pub(crate) fn folio_free(&self, head: Pfn) {
        if self.frames.in_use(head) {
            self.report_freed(head);
        }
        let nr = self.frames.nr_pages(head);
        if self.is_zone_device(head) {
            self.page_free(head);
        }
        self.frames.retire(head);
        self.account(self.frames.place(head), -(nr as i32));
        let list = if nr == 1 { &self.zones.single } else { &self.zones.huge };
        list.borrow_mut().push(head);
    }

    #[cold]
    fn report_freed(&self, head: Pfn) {
        if self.frames.lock(head).owner().is_some() {
            self.report(Conduct::FreeLocked);
        }
        if self.frames.mapcount(head) != 0 {
            self.report(Conduct::FreeMapped);
        }
        if self.frames.pincount(head) != 0 {
            self.report(Conduct::FreePinned);
        }
    }

    /// The geometry's huge order.
    #[inline]
    pub(crate) fn hpage_order(&self) -> u8 {
        self.shape.ptes.trailing_zeros() as u8
    }

    /// Empties the allocator for a machine of this shape.
    pub(crate) fn reset_memory(&mut self, shape: &Shape) {
        self.frames.reset(self.zones.end());
        self.zones.reset();
        self.shape = shape.clone();
    }
}
