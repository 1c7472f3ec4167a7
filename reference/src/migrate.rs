//! Migration (ops 4, B9, K5, K6).

use program::{Birth, Errno, MmId, Mode, Site};

use crate::folio::{Mapcounts, Owner};
use crate::ledger::FolioId;
use crate::mm::{Entry, Page, Pmd};
use crate::state::{Done, State, Stop, fail};

/// The lists of `migrate_pages`; every folio on them is isolated.
#[derive(Default)]
struct Migration {
    /// Still to be tried.
    waiting: Vec<FolioId>,
    /// Parts of split folios.
    parts: Vec<FolioId>,
    /// Given up.
    left: Vec<FolioId>,
}

/// What became of a folio that was to be unmapped.
enum Unmap {
    /// It can be moved here.
    To(FolioId),
    /// Nobody else had it any more.
    Freed,
    /// Split into these.
    Split(Vec<FolioId>),
}

impl State {
    /// Isolates and migrates the folio at an address.
    pub fn migrate(&mut self, mm: MmId, vpn: u32, mode: Mode) -> Done {
        let Some(folio) = self.folio_at(mm, vpn) else { return fail(Errno::ENOENT) };
        if !self.ledger.folio(folio).lru {
            return fail(Errno::EBUSY);
        }
        self.isolate(folio);
        self.migrate_pages(vec![folio], mode)
    }

    /// `migrate_pages` of isolated folios; whatever is left over is put back (K5).
    pub fn migrate_pages(&mut self, folios: Vec<FolioId>, mode: Mode) -> Done {
        let mut list = Migration { waiting: folios, parts: Vec::new(), left: Vec::new() };
        let result = self.migrate_list(&mut list, mode);
        let Migration { waiting, parts, mut left } = list;
        left.extend(waiting);
        left.extend(parts);
        let empty = left.is_empty();
        for folio in left {
            self.putback(folio);
        }
        match result {
            Ok(()) if !empty => fail(Errno::EAGAIN),
            result => result,
        }
    }

    /// Folios first, in batch and without sleeping, those that failed then one by one; the parts
    /// of split ones last, unless memory ran out.
    fn migrate_list(&mut self, list: &mut Migration, mode: Mode) -> Done {
        self.migrate_batch(list, Mode::Async, true)?;
        if mode == Mode::Sync {
            // Those that could be unmapped come behind those that could not.
            list.waiting.append(&mut list.left);
            let mut rest = std::mem::take(&mut list.waiting).into_iter();
            while let Some(folio) = rest.next() {
                list.waiting.push(folio);
                let result = self.migrate_batch(list, Mode::Sync, false);
                list.left.append(&mut list.waiting);
                if result.is_err() {
                    list.waiting.extend(rest);
                    return result;
                }
            }
        }
        let parts = std::mem::take(&mut list.parts);
        let mut list_of_parts = Migration { waiting: parts, ..Migration::default() };
        let result = self.migrate_batch(&mut list_of_parts, Mode::Async, true);
        list.left.append(&mut list.waiting);
        list.left.append(&mut list_of_parts.left);
        list.left.append(&mut list_of_parts.waiting);
        match result {
            Err(Stop::Fail(_)) => Ok(()),
            result => result,
        }
    }

    /// `migrate_pages_batch`: unmaps what it can (a destination each, which comes before the lock:
    /// decision 19), then moves it. What could not be unmapped is tried twice and stays in
    /// `waiting`; what could not be moved goes to `left`. ENOMEM: the rest was not tried.
    fn migrate_batch(&mut self, list: &mut Migration, mode: Mode, first: bool) -> Done {
        let mut unmapped = Vec::new();
        let mut result = Ok(());
        for pass in 0..2 {
            let mut folios = std::mem::take(&mut list.waiting).into_iter();
            for folio in folios.by_ref() {
                match self.migrate_unmap(folio, mode, first && pass == 0) {
                    Ok(Unmap::To(destination)) => unmapped.push((folio, destination)),
                    Ok(Unmap::Freed) => {}
                    Ok(Unmap::Split(parts)) => list.parts.extend(parts),
                    Err(Stop::Fail(Errno::ENOMEM)) => {
                        list.waiting.push(folio);
                        result = fail(Errno::ENOMEM);
                        break;
                    }
                    Err(Stop::Fail(_)) => list.waiting.push(folio),
                    Err(stop @ (Stop::Sleep | Stop::Userfault | Stop::AtOnce)) => return Err(stop),
                }
            }
            list.waiting.extend(folios);
            if result.is_err() {
                break;
            }
        }
        let mut unmoved = Vec::new();
        for (source, destination) in unmapped {
            if self.is_free_to_move(source) {
                self.migrate_move(source, destination);
            } else {
                list.left.push(source);
                unmoved.push((destination, Birth::Migrate(self.ledger.folio(source).name)));
            }
        }
        for (destination, birth) in unmoved {
            self.unborn(destination, birth);
        }
        result
    }

    /// `migrate_folio_unmap`, with the splits that come in its place. `first`: not a retry, which
    /// is no new attempt (decision 17).
    fn migrate_unmap(&mut self, source: FolioId, mode: Mode, first: bool) -> Done<Unmap> {
        // K6 (b): one on the deferred split list is split first.
        if self.ledger.folio(source).partially_mapped && self.can_split(source) {
            return Ok(Unmap::Split(self.split_isolated(source)));
        }
        let folio = self.ledger.folio(source);
        if folio.refcount() == 1 {
            self.ledger.unrelate(source, Owner::Operation); // K6 (a)
            return Ok(Unmap::Freed);
        }
        let (order, birth, anon) = (folio.order, Birth::Migrate(folio.name), folio.anon);
        let attempt = if first { self.attempt(Site::Dst) } else { Ok(()) };
        let destination = match attempt.and_then(|()| self.alloc_again(order, birth, anon)) {
            Err(_) if self.can_split(source) => {
                return Ok(Unmap::Split(self.split_isolated(source)));
            }
            result => result?,
        };
        let stop = match (self.ledger.folio(source).locked(), mode) {
            (Some(_), Mode::Sync) => Stop::Sleep,
            (None, _) if self.unmaps_all(source) => return Ok(Unmap::To(destination)),
            _ => Stop::Fail(Errno::EAGAIN),
        };
        self.unborn(destination, birth);
        Err(stop)
    }

    /// `try_split_folio` of an isolated folio can succeed.
    pub fn can_split(&self, folio: FolioId) -> bool {
        let folio = self.ledger.folio(folio);
        folio.order > 0 && folio.locked().is_none() && folio.refcount() == folio.mapcount() + 1
    }

    /// The parts of a split, still isolated, in the order of `migrate_pages`: the last first.
    fn split_isolated(&mut self, folio: FolioId) -> Vec<FolioId> {
        let mut parts = self.split(folio);
        parts.reverse();
        parts
    }

    /// `try_to_migrate`, in the order of `rmap_walk`: whether it unmaps every page. An exclusive one
    /// that may be pinned stays mapped (B4), and all that come after it. What becomes partially
    /// mapped on the way remains so, whatever the migration comes to (`__folio_remove_rmap`).
    fn unmaps_all(&mut self, id: FolioId) -> bool {
        let folio = self.ledger.folio(id);
        let pinned = folio.anon && folio.maybe_pinned();
        if folio.order == 0 && !pinned {
            return true;
        }
        let mut places = Vec::new();
        for &owner in &folio.owners {
            match owner {
                Owner::Pte { mm, vpn, sub } => places.push((self.rmap_order(mm, vpn), Some(sub))),
                Owner::Pmd { mm, pmd } => {
                    places.push((self.rmap_order(mm, pmd * self.ptes), None));
                }
                _ => {}
            }
        }
        places.sort_unstable();
        let mut counts = Mapcounts::of(folio);
        let mut partially = false;
        let stays = |sub: &Option<u32>| pinned && folio.pages[sub.unwrap_or(0) as usize].exclusive;
        let unmapped = places.iter().map_while(|(_, what)| (!stays(what)).then_some(*what));
        let unmapped = unmapped.inspect(|&what| partially |= counts.remove(what)).count();
        let all = unmapped == places.len();
        if partially && folio.anon && folio.order > 0 {
            self.ledger.set_partially_mapped(id, true);
        }
        all
    }

    /// Exact references: the mappings, the isolation and the page cache (B9).
    pub fn is_free_to_move(&self, folio: FolioId) -> bool {
        let folio = self.ledger.folio(folio);
        folio.refcount() == folio.mapcount() + 1 + u64::from(folio.cached().is_some())
    }

    fn migrate_move(&mut self, source: FolioId, destination: FolioId) {
        self.copy_folio(source, destination);
        for sub in 0..self.ledger.folio(source).pages.len() as u32 {
            let exclusive = self.ledger.folio(source).pages[sub as usize].exclusive;
            self.ledger.set_exclusive(destination, sub, exclusive);
        }
        for owner in self.ledger.folio(source).owners.clone() {
            self.replace(owner, destination);
        }
        self.lru_add(destination);
        self.ledger.unrelate(source, Owner::Operation);
    }

    /// `folio_migrate_flags`, `folio_copy`. AE goes with the mappings.
    pub fn copy_folio(&mut self, source: FolioId, destination: FolioId) {
        let folio = self.ledger.folio(source);
        let (dirty, partially_mapped) = (folio.dirty, folio.partially_mapped);
        let contents = folio.pages.clone();
        self.ledger.set_dirty(destination, dirty);
        self.ledger.set_partially_mapped(destination, partially_mapped);
        for (sub, content) in (0..).zip(contents) {
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
}
