//! Memory offline (ops 4, decision 15).

use program::{Errno, Mode, Place};

use crate::ledger::FolioId;
use crate::state::{Done, State, Stop, fail};

impl State {
    /// Offlines the blocks of a place in which something is: every folio moves to others, of
    /// `normal`, or they stay.
    pub fn offline(&mut self, place: Place) -> Done {
        let used = self.ledger.used(Place::Normal) + self.ledger.used(place);
        if used > self.capacity(Place::Normal) {
            return fail(Errno::EBUSY);
        }
        if self.in_place(place).any(|folio| self.is_locked(folio)) {
            return Err(Stop::Sleep);
        }
        self.lru_add_drain_all();
        (self.now.place, self.now.fail) = (Place::Normal, None);
        self.lru_disabled = true;
        for folio in self.start_isolate(place) {
            if !self.ledger.folio(folio).lru {
                continue;
            }
            self.isolate(folio);
            match self.migrate_pages(vec![folio], Mode::Sync) {
                Err(Stop::Fail(_)) | Ok(()) => {}
                Err(stop) => return Err(stop),
            }
        }
        self.lru_disabled = false;
        if self.undo_isolate() { Ok(()) } else { fail(Errno::EBUSY) }
    }

    /// Every folio of the place lies in a block that is being offlined.
    pub fn start_isolate(&mut self, place: Place) -> Vec<FolioId> {
        let folios: Vec<FolioId> = self.in_place(place).collect();
        folios.iter().for_each(|&folio| self.ledger.set_isolated(folio, true));
        folios
    }

    /// No longer; whether none is left there.
    pub fn undo_isolate(&mut self) -> bool {
        let left = self.ledger.live().filter(|(_, folio)| folio.isolated).map(|(id, _)| id);
        let left: Vec<FolioId> = left.collect();
        left.iter().for_each(|&folio| self.ledger.set_isolated(folio, false));
        left.is_empty()
    }

    fn in_place(&self, place: Place) -> impl Iterator<Item = FolioId> {
        self.ledger.live().filter(move |(_, folio)| folio.place == place).map(|(id, _)| id)
    }
}
