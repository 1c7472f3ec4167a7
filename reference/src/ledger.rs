//! The ledger: every folio and the relations that hold it (B1, B2).
//!
//! All changes go through a few methods here, which keep the running digest: a relation's terms
//! are added when it begins and subtracted when it ends.

use program::digest::{self, Name};
use program::{EntryView, PageRef, Place};

use crate::folio::{Content, Folio, Owner};
use crate::mm::{Entry, Page};
use crate::mm_ids::MmIds;

/// A folio: an index that means nothing outside this crate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FolioId(u32);

/// Every folio and the digest.
#[derive(Default, Debug)]
pub(crate) struct Ledger {
    /// Slots; those from `used` on are leftovers whose allocations are reused.
    folios: Vec<Folio>,
    used: usize,
    vacant: Vec<FolioId>,
    born: u64,
    sum: u64,
    /// Whether large folios keep `mm_ids`.
    remembers_mms: bool,
}

impl Clone for Ledger {
    fn clone(&self) -> Self {
        let mut ledger = Ledger::default();
        ledger.clone_from(self);
        ledger
    }

    fn clone_from(&mut self, other: &Self) {
        let folios = &other.folios[..other.used];
        let kept = self.folios.len().min(folios.len());
        self.folios[..kept].clone_from_slice(&folios[..kept]);
        self.folios.extend_from_slice(&folios[kept..]);
        self.used = other.used;
        self.vacant.clone_from(&other.vacant);
        self.born = other.born;
        self.sum = other.sum;
        self.remembers_mms = other.remembers_mms;
    }
}

impl Ledger {
    pub fn reset(&mut self, remembers_mms: bool) {
        self.remembers_mms = remembers_mms;
        self.used = 0;
        self.vacant.clear();
        self.sum = 0;
    }

    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// A fact became true.
    pub fn add(&mut self, term: u64) {
        self.sum = self.sum.wrapping_add(term);
    }

    /// A fact ended.
    pub fn sub(&mut self, term: u64) {
        self.sum = self.sum.wrapping_sub(term);
    }

    pub fn folio(&self, id: FolioId) -> &Folio {
        &self.folios[id.0 as usize]
    }

    fn folio_mut(&mut self, id: FolioId) -> &mut Folio {
        &mut self.folios[id.0 as usize]
    }

    /// The allocated folio of this name.
    pub fn find(&self, name: Name) -> Option<FolioId> {
        self.live().find(|(_, folio)| folio.name == name).map(|(id, _)| id)
    }

    /// Every allocated folio.
    pub fn live(&self) -> impl Iterator<Item = (FolioId, &Folio)> {
        (0..).map(FolioId).zip(&self.folios[..self.used]).filter(|(_, folio)| folio.live)
    }

    /// Pages in use in a place.
    pub fn used(&self, place: Place) -> u32 {
        self.live().filter(|(_, f)| f.place == place).map(|(_, f)| 1 << f.order).sum()
    }

    /// A new folio that nobody holds yet.
    pub fn alloc(&mut self, name: Name, order: u8, place: Place, anon: bool) -> FolioId {
        let id = self.vacant.pop().unwrap_or_else(|| {
            if self.used == self.folios.len() {
                self.folios.push(Folio::default());
            }
            self.used += 1;
            FolioId(self.used as u32 - 1)
        });
        let age = self.born;
        self.born += 1;
        let folio = self.folio_mut(id);
        (folio.live, folio.name, folio.order) = (true, name, order);
        (folio.place, folio.anon, folio.age) = (place, anon, age);
        (folio.lru, folio.dirty, folio.partially_mapped) = (false, false, false);
        folio.isolated = false;
        folio.mm_ids = MmIds::default();
        folio.owners.clear();
        folio.pages.clear();
        folio.pages.resize(1 << order, Content::default());
        self.add(digest::folio(name, order, place, anon));
        self.add(digest::used(place) << order);
        id
    }

    /// Frees a folio that nobody holds: PG_lru, AE and data vanish with it (B1).
    pub fn free(&mut self, id: FolioId) {
        self.set_lru(id, false);
        self.set_dirty(id, false);
        for sub in 0..self.folio(id).pages.len() as u32 {
            self.set_exclusive(id, sub, false);
            self.set_data(id, sub, 0);
        }
        let Folio { name, order, place, anon, .. } = *self.folio(id);
        self.sub(digest::folio(name, order, place, anon));
        self.sub(digest::used(place) << order);
        self.folio_mut(id).live = false;
        self.vacant.push(id);
    }

    /// A relation begins.
    pub fn relate(&mut self, id: FolioId, owner: Owner) {
        let remembers = self.remembers_mms;
        let folio = self.folio_mut(id);
        folio.owners.push(owner);
        if remembers
            && folio.order > 0
            && let Some(mm) = owner.mm()
        {
            folio.mm_ids.mapped(mm, folio.mapcount() as u32);
        }
        let term = folio.term(owner);
        self.add(term);
    }

    /// A relation ends, if there is one. A folio that nobody holds any more is freed at once (ops 0).
    pub fn unrelate(&mut self, id: FolioId, owner: Owner) -> bool {
        let remembers = self.remembers_mms;
        let folio = self.folio_mut(id);
        let Some(at) = folio.owners.iter().position(|held| *held == owner) else { return false };
        folio.owners.swap_remove(at);
        if remembers
            && folio.order > 0
            && let Some(mm) = owner.mm()
        {
            folio.mm_ids.unmapped(mm, folio.mapcount() as u32);
        }
        let term = folio.term(owner);
        let unheld = folio.owners.is_empty();
        self.sub(term);
        if unheld {
            self.free(id);
        }
        true
    }

    pub fn set_lru(&mut self, id: FolioId, set: bool) {
        let folio = self.folio_mut(id);
        let (was, term) = (std::mem::replace(&mut folio.lru, set), digest::lru(folio.name));
        self.toggle(was, set, term);
    }

    pub fn set_dirty(&mut self, id: FolioId, set: bool) {
        let folio = self.folio_mut(id);
        let (was, term) = (std::mem::replace(&mut folio.dirty, set), digest::dirty(folio.name));
        self.toggle(was, set, term);
    }

    pub fn set_exclusive(&mut self, id: FolioId, sub: u32, set: bool) {
        let folio = self.folio_mut(id);
        let term = digest::exclusive(folio.name, sub);
        let was = std::mem::replace(&mut folio.pages[sub as usize].exclusive, set);
        self.toggle(was, set, term);
    }

    fn toggle(&mut self, was: bool, set: bool, term: u64) {
        match (was, set) {
            (false, true) => self.add(term),
            (true, false) => self.sub(term),
            _ => {}
        }
    }

    pub fn set_data(&mut self, id: FolioId, sub: u32, value: u64) {
        let folio = self.folio_mut(id);
        let name = folio.name;
        let old = std::mem::replace(&mut folio.pages[sub as usize].data, value);
        self.add(digest::data(name, sub, value));
        self.sub(digest::data(name, sub, old));
    }

    /// Deferred split (decision 6): to be called after a mapping was removed, of one page or of
    /// all. One that is still mapped elsewhere tells nothing (`__folio_remove_rmap`).
    pub fn removed_mapping(&mut self, id: FolioId, sub: Option<u32>) {
        let folio = self.folio_mut(id);
        let last = sub.is_none_or(|sub| folio.page_mapcount(sub) == 0);
        if folio.live && folio.order > 0 && folio.anon && last && folio.is_partially_mapped() {
            folio.partially_mapped = true;
        }
    }

    /// A migration hands the state to the destination.
    pub fn set_partially_mapped(&mut self, id: FolioId, set: bool) {
        self.folio_mut(id).partially_mapped = set;
    }

    /// Its block is MIGRATE_ISOLATE.
    pub fn set_isolated(&mut self, id: FolioId, set: bool) {
        self.folio_mut(id).isolated = set;
    }

    pub fn page_ref(&self, page: Page) -> PageRef {
        match page {
            Page::Zero => PageRef::Zero,
            Page::Of(id, sub) => PageRef::Of(self.folio(id).name, sub),
        }
    }

    pub fn view(&self, entry: Entry) -> EntryView {
        let Entry { kind, page, read, write, dirty, .. } = entry;
        EntryView { kind, page: self.page_ref(page), read, write, dirty }
    }

    /// Content of a page.
    pub fn data(&self, page: Page) -> u64 {
        match page {
            Page::Zero => 0,
            Page::Of(id, sub) => self.folio(id).pages[sub as usize].data,
        }
    }
}
