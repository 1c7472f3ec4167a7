//! Page frames: what `struct page` and `struct folio` hold, behind methods that keep the digest.
//!
//! A folio's counters live in its head frame. They are private to this file and change only
//! through its methods, so that the running digest cannot drift from them.

use std::cell::{Cell, OnceCell};

use machine::{BitLock, Machine, Task};
use program::{Name, ObjectId, Place, digest};

/// A page frame number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Default)]
pub(crate) struct Pfn(pub u32);

/// The shared zero page. It has no frame.
pub(crate) const ZERO_PFN: Pfn = Pfn(u32::MAX);

/// `folio->mapping` and `folio->index`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mapping {
    /// Not anonymous and in no page cache (fresh, or truncated).
    None,
    /// Anonymous: the anon_vma and the pgoff of page 0.
    Anon(u32, u32),
    /// Page cache.
    File(ObjectId, u32),
}

/// One frame. The folio-wide fields are meaningful in the head frame only.
#[derive(Debug)]
pub(crate) struct Frame {
    head: Cell<Pfn>,
    mapcount: Cell<i32>,
    exclusive: Cell<bool>,
    data: Cell<u64>,
    // Head only:
    name: Cell<Name>,
    order: Cell<u8>,
    place: Cell<Place>,
    anon: Cell<bool>,
    refcount: Cell<i64>,
    entire_mapcount: Cell<i32>,
    large_mapcount: Cell<i32>,
    pincount: Cell<i32>,
    lru: Cell<bool>,
    dirty: Cell<bool>,
    partially_mapped: Cell<bool>,
    isolated: Cell<bool>,
    mapping: Cell<Mapping>,
    lock: BitLock,
}

impl Frame {
    fn new() -> Frame {
        Frame {
            head: Cell::default(),
            mapcount: Cell::default(),
            exclusive: Cell::default(),
            data: Cell::default(),
            name: Cell::default(),
            order: Cell::default(),
            place: Cell::default(),
            anon: Cell::default(),
            refcount: Cell::default(),
            entire_mapcount: Cell::default(),
            large_mapcount: Cell::default(),
            pincount: Cell::default(),
            lru: Cell::default(),
            dirty: Cell::default(),
            partially_mapped: Cell::default(),
            isolated: Cell::default(),
            mapping: Cell::new(Mapping::None),
            lock: BitLock::default(),
        }
    }
}

const NEAR: usize = 4096;
const CHUNK: usize = 4096;
const CHUNKS: usize = 1024;

/// All frames: those of small machines at hand, the others grown a chunk at a time. References to
/// frames stay valid.
pub(crate) struct Frames {
    near: Box<[Frame]>,
    chunks: Box<[OnceCell<Box<[Frame]>>]>,
    digest: Cell<u64>,
    /// Atomic read-modify-writes of counters.
    atomics: Cell<u64>,
}

/// Which counter a folio would have driven below zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Underflow {
    Map,
    Pin,
}

impl Frames {
    pub fn new() -> Frames {
        Frames {
            near: (0..NEAR).map(|_| Frame::new()).collect(),
            chunks: (0..CHUNKS).map(|_| OnceCell::new()).collect(),
            digest: Cell::new(0),
            atomics: Cell::new(0),
        }
    }

    /// Starts anew. Frames below `end` may carry names of a run that was abandoned.
    pub fn reset(&self, end: u32) {
        self.digest.set(0);
        (0..end).for_each(|pfn| self.frame(Pfn(pfn)).name.set(Name(0)));
    }

    pub fn digest(&self) -> u64 {
        self.digest.get()
    }

    /// How often a counter was changed atomically.
    pub fn atomics(&self) -> u64 {
        self.atomics.get()
    }

    #[inline]
    fn atomic(&self, n: u64) {
        self.atomics.set(self.atomics.get() + n);
    }

    /// Adds a term to the digest (terms of facts that frames do not hold come from elsewhere).
    #[inline]
    pub fn add(&self, term: u64) {
        self.digest.set(self.digest.get().wrapping_add(term));
    }

    /// Takes a term back.
    #[inline]
    pub fn sub(&self, term: u64) {
        self.digest.set(self.digest.get().wrapping_sub(term));
    }

    #[inline]
    fn frame(&self, pfn: Pfn) -> &Frame {
        let at = pfn.0 as usize;
        match self.near.get(at) {
            Some(frame) => frame,
            None => self.far(at),
        }
    }

    #[cold]
    fn far(&self, at: usize) -> &Frame {
        let fresh = || (0..CHUNK).map(|_| Frame::new()).collect();
        &self.chunks[at / CHUNK].get_or_init(fresh)[at % CHUNK]
    }

    /// `prep_new_page`: a folio of this order with one reference, unpublished.
    pub fn prepare(&self, head: Pfn, order: u8, place: Place, anon: bool) {
        for i in 0..1u32 << order {
            let frame = self.frame(Pfn(head.0 + i));
            frame.head.set(head);
            frame.mapcount.set(0);
            frame.exclusive.set(false);
            frame.data.set(0);
        }
        let frame = self.frame(head);
        frame.name.set(Name(0));
        frame.order.set(order);
        frame.place.set(place);
        frame.anon.set(anon);
        frame.refcount.set(1);
        frame.entire_mapcount.set(0);
        frame.large_mapcount.set(0);
        frame.pincount.set(0);
        frame.lru.set(false);
        frame.dirty.set(false);
        frame.partially_mapped.set(false);
        frame.isolated.set(false);
        frame.mapping.set(Mapping::None);
        frame.lock.reset();
    }

    /// Gives the folio its name; from here on it counts in the digest.
    pub fn publish(&self, head: Pfn, name: Name) {
        let frame = self.frame(head);
        frame.name.set(name);
        self.add(digest::folio(name, frame.order.get(), frame.place.get(), frame.anon.get()));
        self.add(digest::reference(name).wrapping_mul(frame.refcount.get() as u64));
        if frame.lru.get() {
            self.add(digest::lru(name));
        }
        if self.counts_dirty(frame) {
            self.add(digest::dirty(name));
        }
        if let Some(task) = frame.lock.owner() {
            self.add(digest::locked(name, program::TaskId(task.0)));
        }
        for sub in 0..1u32 << frame.order.get() {
            let page = self.frame(Pfn(head.0 + sub));
            self.add(digest::data(name, sub, page.data.get()));
            if page.exclusive.get() {
                self.add(digest::exclusive(name, sub));
            }
        }
    }

    /// Whether something still uses a folio that is about to be freed.
    #[inline]
    pub fn in_use(&self, head: Pfn) -> bool {
        let frame = self.frame(head);
        let counts = frame.large_mapcount.get() | frame.pincount.get();
        counts != 0 || frame.lock.owner().is_some()
    }

    /// The folio's last reference is gone: what it contributed goes too.
    pub fn retire(&self, head: Pfn) {
        let frame = self.frame(head);
        let name = frame.name.replace(Name(0));
        let lru = frame.lru.replace(false);
        let dirty = self.counts_dirty(frame);
        frame.mapping.set(Mapping::None);
        if name == Name(0) {
            return;
        }
        self.sub(digest::folio(name, frame.order.get(), frame.place.get(), frame.anon.get()));
        if lru {
            self.sub(digest::lru(name));
        }
        if dirty {
            self.sub(digest::dirty(name));
        }
        if let Some(task) = frame.lock.owner() {
            self.sub(digest::locked(name, program::TaskId(task.0)));
        }
        for sub in 0..1u32 << frame.order.get() {
            let page = self.frame(Pfn(head.0 + sub));
            self.sub(digest::data(name, sub, page.data.get()));
            if page.exclusive.get() {
                self.sub(digest::exclusive(name, sub));
            }
        }
    }

    /// Turns a large folio, which nothing maps, into order-0 folios. The head keeps `refs`
    /// references, every tail gets `tail_refs`; mapping, lock and LRU state are inherited
    /// (`__split_huge_page_tail`). Names come from `name`.
    pub fn split(
        &self,
        machine: &Machine,
        head: Pfn,
        refs: i64,
        tail_refs: i64,
        mut name: impl FnMut(u32) -> Name,
    ) {
        let frame = self.frame(head);
        let (nr, lru, place) = (1u32 << frame.order.get(), frame.lru.get(), frame.place.get());
        let (mapping, anon, owner) = (frame.mapping.get(), frame.anon.get(), frame.lock.owner());
        let (old, isolated) = (frame.name.get(), frame.isolated.get());
        self.sub(digest::reference(old).wrapping_mul(frame.refcount.get() as u64));
        self.retire(head);
        if let Some(task) = owner {
            frame.lock.clear(machine, task, "PG_locked"); // each part takes it over below
        }
        for sub in 0..nr {
            let pfn = Pfn(head.0 + sub);
            let page = self.frame(pfn);
            let (exclusive, data) = (page.exclusive.get(), page.data.get());
            self.prepare(pfn, 0, place, anon);
            page.exclusive.set(exclusive);
            page.data.set(data);
            page.lru.set(lru);
            page.isolated.set(isolated);
            page.refcount.set(if sub == 0 { refs } else { tail_refs });
            page.mapping.set(match mapping {
                Mapping::Anon(anon_vma, pgoff) => Mapping::Anon(anon_vma, pgoff + sub),
                other => other,
            });
            if let Some(task) = owner {
                page.lock.set_owner(task, machine);
            }
            self.publish(pfn, name(sub));
        }
    }

    #[inline]
    fn counts_dirty(&self, frame: &Frame) -> bool {
        // Only page-cache folios of regular files are compared (kernel.md 0.3, decision 9).
        frame.dirty.get() && matches!(frame.mapping.get(), Mapping::File(ObjectId::File(_), _))
    }

    #[inline]
    pub fn head(&self, pfn: Pfn) -> Pfn {
        self.frame(pfn).head.get()
    }

    #[inline]
    pub fn name(&self, head: Pfn) -> Name {
        self.frame(head).name.get()
    }

    #[inline]
    pub fn order(&self, head: Pfn) -> u8 {
        self.frame(head).order.get()
    }

    #[inline]
    pub fn nr_pages(&self, head: Pfn) -> u32 {
        1 << self.order(head)
    }

    #[inline]
    pub fn large(&self, head: Pfn) -> bool {
        self.order(head) != 0
    }

    pub fn place(&self, head: Pfn) -> Place {
        self.frame(head).place.get()
    }

    #[inline]
    pub fn anon(&self, head: Pfn) -> bool {
        self.frame(head).anon.get()
    }

    #[inline]
    pub fn mapping(&self, head: Pfn) -> Mapping {
        self.frame(head).mapping.get()
    }

    /// Sets `folio->mapping`; the caller does so before publishing, or when truncating.
    pub fn set_mapping(&self, head: Pfn, mapping: Mapping) {
        let frame = self.frame(head);
        let counted = self.counts_dirty(frame);
        frame.mapping.set(mapping);
        if counted != self.counts_dirty(frame) && frame.name.get() != Name(0) {
            let term = digest::dirty(frame.name.get());
            self.add(if counted { term.wrapping_neg() } else { term });
        }
    }

    #[inline]
    pub fn refcount(&self, head: Pfn) -> i64 {
        self.frame(head).refcount.get()
    }

    /// Changes the reference count; returns the new one.
    #[inline]
    pub fn ref_add(&self, head: Pfn, by: i64) -> i64 {
        let frame = self.frame(head);
        self.atomic(1);
        let count = frame.refcount.get() + by;
        frame.refcount.set(count);
        let name = frame.name.get();
        if name != Name(0) {
            self.add(digest::reference(name).wrapping_mul(by as u64));
        }
        count
    }

    #[inline]
    pub fn pincount(&self, head: Pfn) -> i32 {
        self.frame(head).pincount.get()
    }

    pub fn pin_add(&self, head: Pfn, by: i32) -> Result<(), Underflow> {
        let frame = self.frame(head);
        self.atomic(1);
        frame.pincount.set(frame.pincount.get() + by);
        let name = frame.name.get();
        if name != Name(0) {
            self.add(digest::pin(name).wrapping_mul(i64::from(by) as u64));
        }
        if frame.pincount.get() < 0 { Err(Underflow::Pin) } else { Ok(()) }
    }

    /// `page->_mapcount`, counted from 0.
    #[inline]
    pub fn page_mapcount(&self, pfn: Pfn) -> i32 {
        self.frame(pfn).mapcount.get()
    }

    #[inline]
    pub fn entire_mapcount(&self, head: Pfn) -> i32 {
        self.frame(head).entire_mapcount.get()
    }

    /// `folio_mapcount`.
    #[inline]
    pub fn mapcount(&self, head: Pfn) -> i32 {
        self.frame(head).large_mapcount.get()
    }

    #[inline]
    pub fn map_add(&self, pfn: Pfn, by: i32) -> Result<(), Underflow> {
        let page = self.frame(pfn);
        let head = page.head.get();
        let folio = self.frame(head);
        self.atomic(2);
        page.mapcount.set(page.mapcount.get() + by);
        folio.large_mapcount.set(folio.large_mapcount.get() + by);
        let name = folio.name.get();
        if name != Name(0) {
            let term = digest::mapping(name, pfn.0 - head.0);
            self.add(term.wrapping_mul(i64::from(by) as u64));
        }
        if page.mapcount.get() < 0 { Err(Underflow::Map) } else { Ok(()) }
    }

    pub fn entire_map_add(&self, head: Pfn, by: i32) -> Result<(), Underflow> {
        let folio = self.frame(head);
        self.atomic(2);
        folio.entire_mapcount.set(folio.entire_mapcount.get() + by);
        folio.large_mapcount.set(folio.large_mapcount.get() + by);
        let name = folio.name.get();
        if name != Name(0) {
            self.add(digest::entire_mapping(name).wrapping_mul(i64::from(by) as u64));
        }
        if folio.entire_mapcount.get() < 0 { Err(Underflow::Map) } else { Ok(()) }
    }

    /// `PageAnonExclusive`.
    #[inline]
    pub fn exclusive(&self, pfn: Pfn) -> bool {
        self.frame(pfn).exclusive.get()
    }

    #[inline]
    pub fn set_exclusive(&self, pfn: Pfn, on: bool) {
        let page = self.frame(pfn);
        if page.exclusive.replace(on) == on {
            return;
        }
        let head = page.head.get();
        let name = self.frame(head).name.get();
        if name != Name(0) {
            let term = digest::exclusive(name, pfn.0 - head.0);
            self.add(if on { term } else { term.wrapping_neg() });
        }
    }

    /// PG_lru.
    #[inline]
    pub fn lru(&self, head: Pfn) -> bool {
        self.frame(head).lru.get()
    }

    #[inline]
    pub fn set_lru(&self, head: Pfn, on: bool) {
        let folio = self.frame(head);
        let name = folio.name.get();
        if folio.lru.replace(on) != on && name != Name(0) {
            let term = digest::lru(name);
            self.add(if on { term } else { term.wrapping_neg() });
        }
    }

    /// PG_dirty.
    pub fn dirty(&self, head: Pfn) -> bool {
        self.frame(head).dirty.get()
    }

    pub fn set_dirty(&self, head: Pfn) {
        let folio = self.frame(head);
        if !folio.dirty.replace(true) && folio.name.get() != Name(0) && self.counts_dirty(folio) {
            self.add(digest::dirty(folio.name.get()));
        }
    }

    /// Whether the compared dirty bit is set (see `counts_dirty`).
    pub fn shown_dirty(&self, head: Pfn) -> bool {
        self.counts_dirty(self.frame(head))
    }

    pub fn partially_mapped(&self, head: Pfn) -> bool {
        self.frame(head).partially_mapped.get()
    }

    pub fn set_partially_mapped(&self, head: Pfn, on: bool) {
        self.frame(head).partially_mapped.set(on);
    }

    /// MIGRATE_ISOLATE, of the pageblock that the folio lies in.
    pub fn isolated(&self, head: Pfn) -> bool {
        self.frame(head).isolated.get()
    }

    pub fn set_isolated(&self, head: Pfn, on: bool) {
        self.frame(head).isolated.set(on);
    }

    /// The page's content.
    #[inline]
    pub fn data(&self, pfn: Pfn) -> u64 {
        if pfn == ZERO_PFN { 0 } else { self.frame(pfn).data.get() }
    }

    #[inline]
    pub fn set_data(&self, pfn: Pfn, value: u64) {
        let page = self.frame(pfn);
        let old = page.data.replace(value);
        let head = page.head.get();
        let name = self.frame(head).name.get();
        if name != Name(0) {
            self.sub(digest::data(name, pfn.0 - head.0, old));
            self.add(digest::data(name, pfn.0 - head.0, value));
        }
    }

    /// PG_locked.
    #[inline]
    pub fn lock(&self, head: Pfn) -> &BitLock {
        &self.frame(head).lock
    }

    /// Accounts in the digest for a lock just taken or about to be released by `task`.
    pub fn lock_changed(&self, head: Pfn, task: Task, locked: bool) {
        let name = self.frame(head).name.get();
        if name != Name(0) {
            let term = digest::locked(name, program::TaskId(task.0));
            self.add(if locked { term } else { term.wrapping_neg() });
        }
    }
}
