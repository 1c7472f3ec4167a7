//! Giving references back, a folio at a time (kernel: `mm/gup.c`).

use program::{Foll as FollKind, Form, Mark, Ret, Seen};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::gup::nth_page;
use crate::world::{Cx, World};

/// What a caller of unpin hands over.
#[derive(Default)]
pub(crate) struct Taken {
    pub pages: Vec<Option<Pfn>>,
    /// Ranges as GUP handed them over, each within one folio.
    pub ranges: Vec<(Pfn, u32)>,
}

impl Taken {
    /// Keeps the allocations.
    pub fn clear(&mut self) {
        self.pages.clear();
        self.ranges.clear();
    }
}

#[twice]
impl World {
    /// `put`, `unpin`.
    pub(crate) async fn op_unpin(
        &self,
        cx: &Cx,
        taken: Taken,
        foll: FollKind,
        form: Form,
        dirty: bool,
    ) -> Ret {
        let count = self.unpin(cx, &taken, foll, form, dirty).await;
        self.unpinned.set(taken);
        if count == 0 { Ret::Void } else { Ret::Ok(count) }
    }

    /// Gives back everything that a caller hands over. How many pages.
    pub(crate) async fn unpin(
        &self,
        cx: &Cx,
        taken: &Taken,
        foll: FollKind,
        form: Form,
        dirty: bool,
    ) -> u32 {
        let in_ranges = taken.ranges.iter().map(|range| range.1).sum::<u32>();
        let count = taken.pages.iter().flatten().count() as u32 + in_ranges;
        for &(page, nr) in &taken.ranges {
            self.hit(Path::UnpinRanges);
            let step = self.batch_of(nr);
            for at in (0..nr).step_by(step as usize) {
                self.unpin_folio(cx, nth_page(page, at), step, step, foll, dirty).await;
            }
        }
        match form {
            _ if count == in_ranges => {}
            Form::Pages => self.unpin_user_pages(cx, &taken.pages, foll, dirty).await,
            Form::Range => self.unpin_runs(cx, &taken.pages, dirty).await,
        }
        count
    }

    /// The caller coalesces as one that builds a bvec does: by pfn alone.
    async fn unpin_runs(&self, cx: &Cx, pages: &[Option<Pfn>], dirty: bool) {
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
    }

    /// `unpin_user_pages[_dirty_lock]`, `put_page` of each: an array, a folio at a time.
    async fn unpin_user_pages(&self, cx: &Cx, pages: &[Option<Pfn>], foll: FollKind, dirty: bool) {
        let mut at = 0;
        while at < pages.len() {
            let Some(first) = pages[at] else {
                if self.has(Defect::UnpinStopsAtNull) {
                    return;
                }
                at += 1;
                continue;
            };
            let nr = self.gup_folio_next(&pages[at..], first);
            let mut refs = nr as u32;
            if self.has(Defect::UnpinIgnoresDuplicates) {
                let run = &pages[at..at + nr];
                refs = (0..nr).filter(|&i| !run[..i].contains(&run[i])).count() as u32;
            }
            if nr > 1 {
                self.hit(Path::UnpinBatch);
            }
            self.unpin_folio(cx, first, nr as u32, refs, foll, dirty).await;
            at += nr;
        }
    }

    /// `gup_folio_next`: how many entries from the first on are of its folio.
    fn gup_folio_next(&self, pages: &[Option<Pfn>], first: Pfn) -> usize {
        let same = |page: &Option<Pfn>| page.is_some_and(|page| self.same_folio(page, first));
        let most = self.batch_of(u32::MAX) as usize;
        pages.iter().take(most).take_while(|page| same(page)).count()
    }

    /// `unpin_user_page_range_dirty_lock`: `nr` physically contiguous pages.
    async fn unpin_user_page_range(&self, cx: &Cx, first: Pfn, nr: u32, dirty: bool) {
        let mut at = 0;
        while at < nr {
            let page = nth_page(first, at);
            let step = self.gup_folio_range_next(page, nr - at);
            self.hit(Path::UnpinRange);
            self.unpin_folio(cx, page, step, step, FollKind::Pin, dirty).await;
            at += step;
        }
    }

    /// `gup_folio_range_next`: how many of the next `left` pages are of the folio of `page`.
    fn gup_folio_range_next(&self, page: Pfn, left: u32) -> u32 {
        if page == ZERO_PFN {
            return 1;
        }
        let head = self.frames.head(page);
        if !self.frames.large(head) {
            return 1;
        }
        if self.has(Defect::UnpinRangePastFolio) {
            return left;
        }
        self.batch_of(left.min(self.frames.nr_pages(head) - (page.0 - head.0)))
    }

    /// Drops `refs` references for `pages` entries, which are of one folio.
    async fn unpin_folio(
        &self,
        cx: &Cx,
        page: Pfn,
        pages: u32,
        refs: u32,
        foll: FollKind,
        dirty: bool,
    ) {
        if dirty && page != ZERO_PFN {
            let head = self.frames.head(page);
            if !self.frames.dirty(head) {
                self.folio_lock(cx, head).await;
                self.set_page_dirty(cx, head);
                self.folio_unlock(cx, head);
            }
        }
        let foll = if self.has(Defect::PutForPin) { FollKind::Get } else { foll };
        self.machine.point().await;
        self.mark(cx, || (Mark::Release { page: self.page_ref(page), pages }, Seen::Flag(true)));
        self.gup_put_folio(page, refs, foll);
    }
}
