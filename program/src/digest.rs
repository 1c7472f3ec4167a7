//! Keyed terms of the state digest.
//!
//! Each side keeps one wrapping sum over the terms of its state. Counts are linear: a side that
//! adds a reference adds `key(name, Field::Ref)`, so the optimised side's counter and the
//! reference's list of relations arrive at the same sum exactly when they agree. Everything else
//! is one mixed term that is added when the fact becomes true and subtracted when it ends.

use crate::op::{HandleId, LockId, MigrationId, MmId, TaskId};
use crate::shape::Place;
use crate::snapshot::{EntryView, MigratePfn, ObjectId, PageRef, Snapshot, VmaFlags};

/// A folio's name: a hash of its birth certificate, never of its pfn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, Default)]
pub struct Name(pub u64);

/// Where and why a folio was born.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Birth {
    /// An anonymous order-0 page for virtual page `.1` of mm `.0` (fault, COW, unshare, fork's
    /// copy: there `.0` is the child).
    Anon(MmId, u32),
    /// A huge folio for PMD number `.1` of mm `.0`, by fault or collapse.
    Huge(MmId, u32),
    /// Page `.1` of an object read into the page cache.
    Cache(ObjectId, u32),
    /// The destination of a migration of folio `.0`.
    Migrate(Name),
    /// Page `.1` of folio `.0` made a folio of its own by a split (page 0 included).
    Split(Name, u32),
}

impl Name {
    /// The name of the `nth` folio (from 0) that step `step` published with this birth.
    pub fn new(step: usize, birth: Birth, nth: u32) -> Name {
        let (tag, a, b) = match birth {
            Birth::Anon(mm, vpn) => (1, u64::from(mm.0), vpn),
            Birth::Huge(mm, pmd) => (2, u64::from(mm.0), pmd),
            Birth::Cache(object, index) => (3, object_code(object), index),
            Birth::Migrate(name) => (4, name.0, 0),
            Birth::Split(name, sub) => (5, name.0, sub),
        };
        let place = (tag << 60) ^ ((step as u64) << 36) ^ (u64::from(nth) << 32) ^ u64::from(b);
        Name(mix(mix(place) ^ a))
    }
}

fn object_code(object: ObjectId) -> u64 {
    match object {
        ObjectId::File(file) => u64::from(file),
        ObjectId::Shmem(area) => 256 + u64::from(area),
    }
}

/// Finaliser of splitmix64.
#[inline]
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Small numbers far apart.
#[inline]
fn spread(x: u64) -> u64 {
    x.wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(32)
}

/// One widening multiplication, folded: names are well mixed already, small numbers are spread.
#[inline]
fn term(tag: u64, a: u64, b: u64) -> u64 {
    let left = a ^ tag.wrapping_mul(0xa076_1d64_78bd_642f);
    let right = b.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xe703_7ed1_a0b4_28db;
    let wide = u128::from(left) * u128::from(right);
    (wide >> 64) as u64 ^ wide as u64
}

/// Times `n` of this: `n` references on the folio.
#[inline]
pub fn reference(name: Name) -> u64 {
    term(1, name.0, 0)
}

/// Times `n`: page `sub` is mapped by `n` PTEs.
#[inline]
pub fn mapping(name: Name, sub: u32) -> u64 {
    term(2, name.0, u64::from(sub))
}

/// Times `n`: the folio is mapped by `n` huge PMDs.
#[inline]
pub fn entire_mapping(name: Name) -> u64 {
    term(3, name.0, 0)
}

/// Times `n`: pincount `n` of a large folio.
#[inline]
pub fn pin(name: Name) -> u64 {
    term(4, name.0, 0)
}

/// The folio exists (is published).
#[inline]
pub fn folio(name: Name, order: u8, place: Place, anon: bool) -> u64 {
    term(5, name.0, u64::from(order) | (place as u64) << 8 | u64::from(anon) << 16)
}

/// Page `sub` is AnonExclusive.
#[inline]
pub fn exclusive(name: Name, sub: u32) -> u64 {
    term(6, name.0, u64::from(sub))
}

/// PG_locked is held by `task`.
#[inline]
pub fn locked(name: Name, task: TaskId) -> u64 {
    term(7, name.0, u64::from(task.0))
}

/// PG_lru is set.
#[inline]
pub fn lru(name: Name) -> u64 {
    term(8, name.0, 0)
}

/// PG_dirty is set (regular files only).
#[inline]
pub fn dirty(name: Name) -> u64 {
    term(9, name.0, 0)
}

/// Page `sub` holds `value`; no term for 0.
#[inline]
pub fn data(name: Name, sub: u32, value: u64) -> u64 {
    if value == 0 { 0 } else { term(10, name.0 ^ spread(value), u64::from(sub)) }
}

/// The folio sits in the lru_add batch of `cpu`.
#[inline]
pub fn batch(name: Name, cpu: u8) -> u64 {
    term(11, name.0, u64::from(cpu))
}

#[inline]
fn page_code(page: PageRef) -> u64 {
    match page {
        PageRef::Zero => 0x5a5a,
        PageRef::Of(name, sub) => name.0.wrapping_add(spread(u64::from(sub) + 1)),
    }
}

#[inline]
fn entry_term(tag: u64, mm: MmId, index: u32, view: EntryView) -> u64 {
    let flags = u64::from(view.read)
        | u64::from(view.write) << 1
        | u64::from(view.dirty) << 2
        | view.kind.code() << 3;
    term(tag, page_code(view.page), u64::from(mm.0) << 40 | u64::from(index) << 8 | flags)
}

/// A PTE that is not none at page `vpn`.
#[inline]
pub fn entry(mm: MmId, vpn: u32, view: EntryView) -> u64 {
    entry_term(12, mm, vpn, view)
}

/// A huge PMD, by PMD number.
#[inline]
pub fn huge(mm: MmId, pmd: u32, view: EntryView) -> u64 {
    entry_term(13, mm, pmd, view)
}

/// A page table hangs below this PMD.
#[inline]
pub fn table(mm: MmId, pmd: u32) -> u64 {
    term(14, u64::from(mm.0), u64::from(pmd))
}

/// Pages `start..end` are covered by a VMA with these flags. Telescopes: two adjacent VMAs with
/// equal flags contribute what their merger does, however they are cut.
#[inline]
pub fn vma(mm: MmId, start: u32, end: u32, flags: VmaFlags) -> u64 {
    let object = flags.object.map_or(0, |object| 1 + object_code(object));
    let bits = flags.prot as u64
        | u64::from(flags.shared) << 2
        | u64::from(flags.dontfork) << 3
        | u64::from(flags.hugepage) << 4
        | u64::from(flags.nohugepage) << 5
        | (flags.uffd as u64) << 6
        | object << 8;
    let key = term(15, u64::from(mm.0), bits) | 1;
    key.wrapping_mul(term(15, 0, u64::from(end)).wrapping_sub(term(15, 0, u64::from(start))))
}

/// The mm exists.
#[inline]
pub fn mm(mm: MmId) -> u64 {
    term(16, u64::from(mm.0), 0)
}

/// The mm has MMF_HAS_PINNED.
#[inline]
pub fn has_pinned(mm: MmId) -> u64 {
    term(17, u64::from(mm.0), 0)
}

/// The `index`-th page of a handle.
#[inline]
pub fn handle(handle: HandleId, index: u32, page: PageRef) -> u64 {
    term(18, page_code(page), u64::from(handle.0) << 32 | u64::from(index))
}

/// What a walk that takes no references reports of a page (not a term of a state).
#[inline]
pub fn walked(page: PageRef, writable: bool) -> u64 {
    term(23, page_code(page), u64::from(writable)) | 1 << 63
}

/// A lock held across operations.
#[inline]
pub fn lock(lock: LockId, name: Name) -> u64 {
    term(19, name.0, u64::from(lock.0))
}

/// The `index`-th page of an open migration.
#[inline]
pub fn migration(migration: MigrationId, index: u32, pfn: MigratePfn) -> u64 {
    let name = |name: Option<Name>| name.map_or(0, |name| name.0);
    let pages = name(pfn.src) ^ spread(name(pfn.dst)) ^ u64::from(pfn.migrate) << 63;
    term(23, pages, u64::from(migration.0) << 32 | u64::from(index))
}

/// Page `index` of `object` is resident.
#[inline]
pub fn cache(object: ObjectId, index: u32, name: Name) -> u64 {
    term(20, name.0, object_code(object) << 32 | u64::from(index))
}

/// Times `n`: `n` pages in use in the place.
#[inline]
pub fn used(place: Place) -> u64 {
    term(21, place as u64, 0)
}

/// Times `n`: `n` FOLL_GET references on the shared zero page.
#[inline]
pub fn zero_ref() -> u64 {
    term(22, 0, 0)
}

impl Snapshot {
    /// The digest computed from scratch: what each side's running sum must equal.
    pub fn digest(&self) -> u64 {
        let mut sum = 0u64;
        let mut add = |value: u64| sum = sum.wrapping_add(value);
        for (&name, view) in &self.folios {
            add(folio(name, view.order, view.place, view.anon));
            add(reference(name).wrapping_mul(view.refcount as u64));
            add(entire_mapping(name).wrapping_mul(u64::from(view.entire_mapcount)));
            add(pin(name).wrapping_mul(u64::from(view.pincount)));
            for (sub, &count) in (0..).zip(&view.mapcount) {
                add(mapping(name, sub).wrapping_mul(u64::from(count)));
            }
            for (sub, _) in (0..).zip(&view.exclusive).filter(|(_, set)| **set) {
                add(exclusive(name, sub));
            }
            for (sub, &value) in (0..).zip(&view.data) {
                add(data(name, sub, value));
            }
            add(view.locked.map_or(0, |task| locked(name, task)));
            add(if view.lru { lru(name) } else { 0 });
            add(if view.dirty { dirty(name) } else { 0 });
        }
        for (&id, view) in &self.mms {
            add(mm(id));
            add(if view.has_pinned { has_pinned(id) } else { 0 });
            view.vmas.iter().for_each(|v| add(vma(id, v.start, v.end, v.flags)));
            view.tables.iter().for_each(|&pmd| add(table(id, pmd)));
            view.huge.iter().for_each(|(&pmd, &view)| add(huge(id, pmd, view)));
            view.entries.iter().for_each(|(&vpn, &view)| add(entry(id, vpn, view)));
        }
        for (&id, pages) in &self.handles {
            (0..).zip(pages).for_each(|(index, &page)| add(handle(id, index, page)));
        }
        self.locks.iter().for_each(|(&id, &name)| add(lock(id, name)));
        for (&id, pfns) in &self.migrations {
            (0..).zip(pfns).for_each(|(index, &pfn)| add(migration(id, index, pfn)));
        }
        self.cache.iter().for_each(|(&(object, index), &name)| add(cache(object, index, name)));
        for (cpu, names) in (0..).zip(&self.batches) {
            names.iter().for_each(|&name| add(batch(name, cpu)));
        }
        for (place, &count) in Place::ALL.iter().zip(&self.used) {
            add(used(*place).wrapping_mul(u64::from(count)));
        }
        add(zero_ref().wrapping_mul(u64::from(self.zero_refs)));
        sum
    }
}
