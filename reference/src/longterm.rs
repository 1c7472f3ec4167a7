//! FOLL_LONGTERM: what may be pinned for good, and moving what may not (ops 3, B14, K13).

use program::{Birth, Errno, HandleId, MmId, Mode, ObjectId, Place, Site, Span};

use crate::folio::{Owner, PIN_BIAS};
use crate::gup::Want;
use crate::ledger::FolioId;
use crate::mm::{Mapped, Page};
use crate::state::{Done, State, Stop, fail};

/// When what a longterm pin got is looked at, and what may not stay is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checks {
    /// After the walk.
    #[default]
    AfterWalk,
    /// Inside the walk, leaf by leaf.
    InWalk,
    /// After the walk, and pages of device memory before all others.
    DevicesFirst,
    /// After the walk, and pages of device memory together.
    DevicesTogether,
}

impl State {
    /// `__gup_longterm_locked`: walks, moves what may not stay where it is, and walks again.
    pub fn gup_longterm(
        &mut self,
        mm: MmId,
        span: Span,
        handle: HandleId,
        want: Want,
        at: &mut u32,
    ) -> Done {
        // memalloc_pin_save: nothing that is allocated from here on lies in MOVABLE or CMA.
        self.now.place = Place::Normal;
        let (start, keep) = (*at, self.handles[usize::from(handle.0)].pages.len());
        loop {
            match self.gup_slow(mm, span, handle, want, at) {
                Err(Stop::Fail(_)) if *at > start => {}
                result => result?,
            }
            let pages = &self.handles[usize::from(handle.0)].pages[keep..];
            let folios = self.unpinnable(pages);
            if folios.is_empty() {
                return Ok(());
            }
            let coherent = |folio: &FolioId| self.ledger.folio(*folio).place == Place::Coherent;
            let (coherent, mut folios): (Vec<_>, Vec<_>) = folios.into_iter().partition(coherent);
            if self.checks == Checks::DevicesFirst && !coherent.is_empty() {
                folios.clear(); // their turn comes when there is no device page left
            }
            let isolated = self.collect_unpinnable(folios);
            // An ordinary reference takes the place of the pin of a coherent page.
            coherent.iter().for_each(|folio| self.ledger.relate(*folio, Owner::Operation));
            self.release_from(handle, keep);
            *at = start;
            if isolated.is_empty() && coherent.is_empty() {
                return Err(Stop::Sleep); // -EAGAIN, until whoever has them puts them back
            }
            if let Err(stop) = self.migrate_coherent(&coherent) {
                isolated.into_iter().for_each(|folio| self.putback(folio));
                return Err(stop);
            }
            if isolated.is_empty() {
                continue;
            }
            match self.migrate_pages(isolated, Mode::Sync) {
                Err(Stop::Fail(_)) => return fail(Errno::ENOMEM),
                result => result?,
            }
        }
    }

    /// The variant that looks at each leaf as soon as it is pinned, and moves its folio then.
    pub fn gup_in_walk(
        &mut self,
        mm: MmId,
        span: Span,
        handle: HandleId,
        want: Want,
        at: &mut u32,
    ) -> Done {
        self.now.place = Place::Normal;
        let (start, keep) = (*at, self.handles[usize::from(handle.0)].pages.len());
        while *at < span.end {
            self.gup_leaf(mm, span, handle, want, at)?;
            let pages = &self.handles[usize::from(handle.0)].pages[keep..];
            let unpinnable = self.unpinnable(pages);
            let Some(&folio) = unpinnable.first() else { continue };
            // Earlier pages of the folio are pinned by this very call.
            let of_folio = |page: &Page| matches!(page, Page::Of(id, _) if *id == folio);
            let first = pages.iter().position(of_folio).unwrap_or(0);
            if self.ledger.folio(folio).place == Place::Coherent {
                self.ledger.relate(folio, Owner::Operation);
                self.release_from(handle, keep + first);
                *at = start + first as u32;
                if let Err(stop) = self.migrate_coherent(&[folio]) {
                    self.release_from(handle, keep);
                    *at = start;
                    return Err(stop);
                }
                continue;
            }
            let isolated = self.collect_unpinnable(unpinnable);
            self.release_from(handle, keep + first);
            *at = start + first as u32;
            if isolated.is_empty() {
                return Err(Stop::Sleep);
            }
            if let Err(stop) = self.migrate_pages(isolated, Mode::Sync) {
                self.release_from(handle, keep);
                *at = start;
                return if stop == Stop::Sleep { Err(stop) } else { fail(Errno::ENOMEM) };
            }
        }
        Ok(())
    }

    /// `migrate_device_coherent_folio` of each, up to the first that cannot move: -EBUSY. The
    /// operation lets go of all of them.
    fn migrate_coherent(&mut self, pages: &[FolioId]) -> Done {
        let result = match self.checks {
            Checks::DevicesTogether => self.migrate_coherent_together(pages),
            _ => pages.iter().try_for_each(|&page| self.migrate_coherent_page(page)),
        };
        pages.iter().for_each(|&page| _ = self.ledger.unrelate(page, Owner::Operation));
        result
    }

    fn migrate_coherent_page(&mut self, page: FolioId) -> Done {
        if self.is_locked(page) {
            return Err(Stop::Sleep);
        }
        self.lru_add_drain(self.now.cpu);
        let new = self.coherent_destination(page)?;
        self.move_coherent(page, new)
    }

    /// All that nobody has locked: unmapped, then given destinations, then moved. What cannot is
    /// passed over, and is an error in the end. The others would be waited for after that.
    fn migrate_coherent_together(&mut self, pages: &[FolioId]) -> Done {
        let (locked, free): (Vec<_>, Vec<_>) =
            pages.iter().partition(|&&page| self.is_locked(page));
        if !free.is_empty() {
            self.lru_add_drain(self.now.cpu);
        }
        let found: Vec<_> = free.iter().map(|&page| self.coherent_destination(page)).collect();
        let mut result = Ok(());
        for (page, new) in free.into_iter().zip(found) {
            let moved = new.and_then(|new| self.move_coherent(page, new));
            result = result.and(moved);
        }
        result?;
        if locked.is_empty() { Ok(()) } else { Err(Stop::Sleep) }
    }

    /// A destination for a page that passes the first check of its references, which has slack for
    /// one; the second has none (A13).
    fn coherent_destination(&mut self, page: FolioId) -> Done<FolioId> {
        if self.foreign_to_coherent(page) > 1 {
            return fail(Errno::EBUSY);
        }
        let birth = Birth::Migrate(self.ledger.folio(page).name);
        self.alloc(Site::Dst, 0, birth, true).or(fail(Errno::EBUSY))
    }

    fn move_coherent(&mut self, page: FolioId, new: FolioId) -> Done {
        if self.foreign_to_coherent(page) > 0 {
            self.unborn(new, Birth::Migrate(self.ledger.folio(page).name));
            return fail(Errno::EBUSY);
        }
        self.move_device_page(page, new);
        Ok(())
    }

    /// References besides those of its mappings and of the operation.
    fn foreign_to_coherent(&self, page: FolioId) -> u64 {
        let folio = self.ledger.folio(page);
        folio.refcount() - folio.mapcount() - 1
    }

    /// `folio_is_longterm_pinnable`.
    pub fn is_longterm_pinnable(&self, folio: FolioId) -> bool {
        self.lies_where_pins_may(folio) && !self.ledger.folio(folio).isolated
    }

    /// The part of it that stays true while the folio stays: a block may be isolated, and is given
    /// back, at any time.
    pub fn lies_where_pins_may(&self, folio: FolioId) -> bool {
        self.ledger.folio(folio).place == Place::Normal
    }

    /// Folios that may not stay, in the order of the pages.
    fn unpinnable(&self, pages: &[Page]) -> Vec<FolioId> {
        let mut list = Vec::new();
        for &page in pages {
            if let Page::Of(folio, _) = page
                && !self.is_longterm_pinnable(folio)
                && !list.contains(&folio)
            {
                list.push(folio);
            }
        }
        list
    }

    /// `collect_longterm_unpinnable_folios`. Batches are drained where a reference too many may be
    /// a batch's, this CPU's first, then all, each once.
    fn collect_unpinnable(&mut self, folios: Vec<FolioId>) -> Vec<FolioId> {
        let (mut local, mut all) = (false, false);
        let mut isolated = Vec::new();
        for folio in folios {
            if !local && self.has_foreign_reference(folio) {
                self.lru_add_drain(self.now.cpu);
                local = true;
            }
            if local && !all && self.has_foreign_reference(folio) {
                self.lru_add_drain_all();
                all = true;
            }
            if self.ledger.folio(folio).lru {
                self.isolate(folio);
                isolated.push(folio);
            }
        }
        isolated
    }

    /// Whether a small folio has more references than its mappings, the page cache and this one
    /// pin. (A large one is in no batch.)
    fn has_foreign_reference(&self, folio: FolioId) -> bool {
        let folio = self.ledger.folio(folio);
        let expected = folio.mapcount() + u64::from(folio.cached().is_some()) + PIN_BIAS;
        folio.order == 0 && folio.refcount() != expected
    }

    /// What `gup_fast` takes longterm: no unpinnable folio; pages of files only through writable
    /// entries (it knows no VMA, so the others may have to be unshared), and to write of shmem.
    pub fn longterm_fast(&self, mapped: Mapped, folio: FolioId, write: bool) -> bool {
        let file = match self.ledger.folio(folio).cached() {
            Some((ObjectId::Shmem(_), _)) => mapped.entry.write,
            Some((ObjectId::File(_), _)) => mapped.entry.write && !write,
            None => true,
        };
        file && self.lies_where_pins_may(folio)
    }
}
