//! Migration and memory offline (ops 4, B9, K5, K6, decision 15).

use program::{Birth, Errno, MmId, Mode, Place, Site};

use crate::folio::Owner;
use crate::ledger::FolioId;
use crate::mm::{Entry, Page, Pmd};
use crate::state::{Done, State, Stop, fail};

impl State {
    /// Isolates and migrates the folio at an address.
    pub fn migrate(&mut self, mm: MmId, vpn: u32, mode: Mode) -> Done {
        let Some(folio) = self.folio_at(mm, vpn) else { return fail(Errno::ENOENT) };
        if !self.ledger.folio(folio).lru {
            return fail(Errno::EBUSY);
        }
        self.isolate(folio);
        self.migrate_pages(folio, mode)
    }

    /// `migrate_pages` of one isolated folio; whatever is left over is put back (K5).
    fn migrate_pages(&mut self, folio: FolioId, mode: Mode) -> Done {
        // K6 (b): one on the deferred split list is split first.
        if self.ledger.folio(folio).partially_mapped && self.can_split(folio) {
            return self.migrate_split(folio);
        }
        match self.migrate_folio(folio, mode) {
            Err(Stop::Fail(Errno::ENOMEM)) if self.can_split(folio) => self.migrate_split(folio),
            Err(Stop::Fail(errno)) => {
                self.putback(folio);
                fail(errno)
            }
            result => result,
        }
    }

    /// `try_split_folio` of an isolated folio.
    fn can_split(&self, folio: FolioId) -> bool {
        let folio = self.ledger.folio(folio);
        folio.order > 0 && folio.locked().is_none() && folio.refcount() == folio.mapcount() + 1
    }

    /// Splits; the pages get one asynchronous attempt each, the last first. A refused destination
    /// ends it.
    fn migrate_split(&mut self, folio: FolioId) -> Done {
        let mut pages = self.split(folio);
        while let Some(&page) = pages.last() {
            if self.ledger.folio(page).refcount() == 1 {
                self.ledger.unrelate(page, Owner::Operation); // K6 (a)
            } else if self.migrate_folio(page, Mode::Async).is_err() {
                break;
            }
            pages.pop();
        }
        if pages.is_empty() {
            return Ok(());
        }
        for page in pages.into_iter().rev() {
            self.putback(page);
        }
        fail(Errno::EAGAIN)
    }

    /// Moves one isolated folio, or leaves everything as it was. The destination comes before
    /// the lock (decision 19).
    fn migrate_folio(&mut self, source: FolioId, mode: Mode) -> Done {
        let folio = self.ledger.folio(source);
        let (order, birth, anon) = (folio.order, Birth::Migrate(folio.name), folio.anon);
        let destination = self.alloc(Site::Dst, order, birth, anon)?;
        if let Err(stop) = self.check_migratable(source, mode) {
            self.unborn(destination, birth);
            return Err(stop);
        }
        self.copy_folio(source, destination);
        for owner in self.ledger.folio(source).owners.clone() {
            self.replace(owner, destination);
        }
        self.lru_add(destination);
        self.ledger.unrelate(source, Owner::Operation);
        Ok(())
    }

    /// Exact references: the mappings, the isolation and the page cache (B9). An exclusive page
    /// that may be pinned has more than these, so it needs no test of its own.
    fn check_migratable(&self, folio: FolioId, mode: Mode) -> Done {
        let folio = self.ledger.folio(folio);
        let expected = folio.mapcount() + 1 + u64::from(folio.cached().is_some());
        match (folio.locked(), mode) {
            (Some(_), Mode::Sync) => Err(Stop::Sleep),
            (Some(_), Mode::Async) => fail(Errno::EAGAIN),
            (None, _) if folio.refcount() != expected => fail(Errno::EAGAIN),
            (None, _) => Ok(()),
        }
    }

    fn copy_folio(&mut self, source: FolioId, destination: FolioId) {
        let folio = self.ledger.folio(source);
        let (dirty, partially_mapped) = (folio.dirty, folio.partially_mapped);
        let contents = folio.pages.clone();
        self.ledger.set_dirty(destination, dirty);
        self.ledger.set_partially_mapped(destination, partially_mapped);
        for (sub, content) in (0..).zip(contents) {
            self.ledger.set_exclusive(destination, sub, content.exclusive);
            self.ledger.set_data(destination, sub, content.data);
        }
    }

    /// Points an entry, or the page cache, to the destination; permissions stay.
    fn replace(&mut self, owner: Owner, folio: FolioId) {
        match owner {
            Owner::Pte { mm, vpn, sub } => {
                let page = Page::Of(folio, sub);
                let entry = self.entry(mm, vpn).map(|entry| Entry { page, ..entry });
                self.set_entry(mm, vpn, entry);
            }
            Owner::Pmd { mm, pmd } => {
                if let Pmd::Huge(entry) = self.pmd(mm, pmd) {
                    let page = Page::Of(folio, 0);
                    self.set_pmd(mm, pmd, Pmd::Huge(Entry { page, ..entry }));
                }
            }
            Owner::Cache { object, index } => self.set_resident(object, index, Some(folio)),
            _ => {}
        }
    }

    /// Offlines a memory block: every folio moves to `normal`, or the block stays.
    pub fn offline(&mut self, place: Place) -> Done {
        if place == Place::Normal {
            return fail(Errno::EINVAL);
        }
        let used = self.ledger.used(Place::Normal) + self.ledger.used(place);
        if used > self.capacity(Place::Normal) {
            return fail(Errno::EBUSY);
        }
        if self.in_place(place).any(|folio| self.is_locked(folio)) {
            return Err(Stop::Sleep);
        }
        self.lru_add_drain_all();
        (self.now.place, self.now.fail) = (Place::Normal, None);
        self.now.batches_off = true;
        for folio in self.in_place(place).collect::<Vec<_>>() {
            self.isolate(folio);
            match self.migrate_pages(folio, Mode::Sync) {
                Err(Stop::Sleep) => return Err(Stop::Sleep),
                Err(Stop::Fail(_)) | Ok(()) => {}
            }
        }
        if self.ledger.used(place) == 0 { Ok(()) } else { fail(Errno::EBUSY) }
    }

    fn in_place(&self, place: Place) -> impl Iterator<Item = FolioId> {
        self.ledger.live().filter(move |(_, folio)| folio.place == place).map(|(id, _)| id)
    }
}
