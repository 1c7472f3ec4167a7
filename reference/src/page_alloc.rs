//! Allocation: injected failures, places, and names.

use program::{Birth, Errno, Fail, Name, Place, Site, Step};

use crate::ledger::FolioId;
use crate::mm::Page;
use crate::state::{Done, State, fail, reuse_clone};

/// The running step's circumstances.
#[derive(Default, Debug)]
pub(crate) struct Now {
    pub number: usize,
    pub cpu: u8,
    pub place: Place,
    pub fail: Option<Fail>,
    /// Attempts so far at the site of `fail`.
    attempts: u32,
    /// Births of the step, for the last part of a name.
    births: Vec<Birth>,
    /// The step runs beside others, mark by mark: what chance decided comes with the mark.
    pub marked: bool,
    /// Where the mark's folio was placed.
    pub placed: Option<Place>,
    /// The mark's fault decided to copy before.
    pub copied: bool,
    /// What it copied.
    pub carried: Option<u64>,
}
reuse_clone!(Now { number, cpu, place, fail, attempts, births, marked, placed, copied, carried });

impl Now {
    pub fn begin(&mut self, number: usize, step: &Step) {
        (self.number, self.cpu, self.place, self.fail) = (number, step.cpu, step.place, step.fail);
        self.attempts = 0;
        self.births.clear();
        (self.marked, self.placed, self.copied, self.carried) = (false, None, false, None);
    }
}

impl State {
    /// An attempt at a site: ENOMEM if it is the one to fail.
    pub fn attempt(&mut self, site: Site) -> Done {
        match self.now.fail {
            // A refusal is a mark of its own.
            _ if self.now.marked => Ok(()),
            Some(injected) if injected.site == site => {
                self.now.attempts += 1;
                if self.now.attempts == u32::from(injected.nth) {
                    return fail(Errno::ENOMEM);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Allocates a folio: injection first, then the step's place, then `normal` (ops 0).
    pub fn alloc(&mut self, site: Site, order: u8, birth: Birth, anon: bool) -> Done<FolioId> {
        self.attempt(site)?;
        self.alloc_again(order, birth, anon)
    }

    /// As [`State::alloc`], where it is not a new attempt.
    pub fn alloc_again(&mut self, order: u8, birth: Birth, anon: bool) -> Done<FolioId> {
        if let Some(place) = self.now.placed {
            return Ok(self.born(birth, order, place, anon));
        }
        let fits = |place: &Place| self.ledger.used(*place) + (1 << order) <= self.capacity(*place);
        match [self.now.place, Place::Normal].into_iter().find(fits) {
            Some(place) => Ok(self.born(birth, order, place, anon)),
            None => fail(Errno::ENOMEM),
        }
    }

    /// The data that a copy of a page gets: what the page held when it was read.
    pub fn copied_data(&self, page: Page) -> u64 {
        self.now.carried.unwrap_or_else(|| self.ledger.data(page))
    }

    /// Names a new folio. Nobody holds it yet.
    pub fn born(&mut self, birth: Birth, order: u8, place: Place, anon: bool) -> FolioId {
        let nth = match birth {
            Birth::Migrate(_) => 0, // a folio migrates away once
            _ => self.now.births.iter().filter(|earlier| **earlier == birth).count() as u32,
        };
        self.now.births.push(birth);
        self.ledger.alloc(Name::new(self.now.number, birth, nth), order, place, anon)
    }

    /// Gives back the folio just allocated, before it was published: it never had a name.
    pub fn unborn(&mut self, folio: FolioId, birth: Birth) {
        if let Some(at) = self.now.births.iter().rposition(|earlier| *earlier == birth) {
            self.now.births.remove(at);
        }
        self.ledger.free(folio);
    }
}
