//! Every way to plant one error into a state, with the class that it must be found as.
#![allow(dead_code, reason = "each test file uses its own part")]

use lockstep::{Class, Drift};
use program::{
    EntryKind, EntryView, FolioView, HandleId, LockId, MigratePfn, MigrationId, MmId, MmView, Name,
    ObjectId, PageRef, Place, Prot, Snapshot, TaskId, Uffd, VmaFlags, VmaView,
};

/// Plants an error; false if the state has no place for it.
pub type Plant = fn(&mut Snapshot) -> bool;

/// Name, error, class.
pub const ERRORS: &[(&str, Plant, Class)] = &[
    ("refcount + 1", |s| folio(s, |f| f.refcount += 1), Class::Refcount(Drift::Leak)),
    ("refcount - 1", |s| folio(s, |f| f.refcount -= 1), Class::Refcount(Drift::Underflow)),
    ("a pin for a get", |s| folio(s, |f| f.refcount += 1023), Class::Refcount(Drift::Leak)),
    ("folio kept", add_folio, Class::Refcount(Drift::Leak)),
    ("folio lost", |s| s.folios.pop_first().is_some(), Class::Refcount(Drift::Underflow)),
    ("zero page references", |s| grow(&mut s.zero_refs), Class::Refcount(Drift::Leak)),
    ("order", |s| folio(s, |f| f.order ^= 1), Class::Folio),
    ("anon", |s| folio(s, |f| f.anon = !f.anon), Class::Folio),
    ("place", |s| folio(s, |f| f.place = other(f.place)), Class::Memory),
    ("entire mapcount", |s| folio(s, |f| f.entire_mapcount += 1), Class::Mapcount),
    ("mapcount of the first page", |s| folio(s, |f| f.mapcount[0] += 1), Class::Mapcount),
    ("mapcount of a later page", |s| large(s, |f| f.mapcount[1] += 1), Class::Mapcount),
    ("pincount", |s| folio(s, |f| f.pincount += 1), Class::Pincount),
    ("exclusive", |s| folio(s, |f| f.exclusive[0] = !f.exclusive[0]), Class::Exclusive),
    ("exclusive later", |s| large(s, |f| f.exclusive[1] = !f.exclusive[1]), Class::Exclusive),
    ("locked", |s| unlocked(s, |f| f.locked = Some(TaskId(3))), Class::Lock),
    ("lock owner", |s| locked(s, |f| f.locked = next_task(f.locked)), Class::Lock),
    ("lock released", |s| locked(s, |f| f.locked = None), Class::Lock),
    ("lru", |s| folio(s, |f| f.lru = !f.lru), Class::Lru),
    ("dirty", |s| folio(s, |f| f.dirty = !f.dirty), Class::Dirty),
    ("data", |s| folio(s, |f| f.data[0] += 1), Class::Stored),
    ("data of a later page", |s| large(s, |f| f.data[1] += 1), Class::Stored),
    ("mm lost", |s| s.mms.pop_last().is_some(), Class::Mm),
    ("mm kept", |s| s.mms.insert(MmId(99), MmView::default()).is_none(), Class::Mm),
    ("has_pinned", |s| mm(s, |m| flip(&mut m.has_pinned)), Class::Mm),
    ("vma lost", |s| mm(s, |m| m.vmas.pop().is_some()), Class::Vma),
    ("vma moved", |s| vma(s, |v| (v.start, v.end) = (v.start + 1, v.end + 1)), Class::Vma),
    ("vma longer", |s| vma(s, |v| v.end += 1), Class::Vma),
    ("vma prot", |s| vma(s, |v| v.flags.prot = other_prot(v.flags.prot)), Class::Vma),
    ("vma shared", |s| flag(s, |f| &mut f.shared), Class::Vma),
    ("vma dontfork", |s| flag(s, |f| &mut f.dontfork), Class::Vma),
    ("vma hugepage", |s| flag(s, |f| &mut f.hugepage), Class::Vma),
    ("vma nohugepage", |s| flag(s, |f| &mut f.nohugepage), Class::Vma),
    ("vma object", |s| vma(s, |v| v.flags.object = Some(ObjectId::Shmem(77))), Class::Vma),
    ("table lost", |s| mm(s, |m| m.tables.pop_last().is_some()), Class::Mapping),
    ("table kept", |s| mm(s, |m| m.tables.insert(9999)), Class::Mapping),
    ("entry lost", |s| mm(s, |m| m.entries.pop_first().is_some()), Class::Mapping),
    ("entry read", |s| entry(s, |e| flip(&mut e.read)), Class::Mapping),
    ("entry write", |s| entry(s, |e| flip(&mut e.write)), Class::Mapping),
    ("entry dirty", |s| entry(s, |e| flip(&mut e.dirty)), Class::Mapping),
    ("entry page", |s| entry(s, |e| another(&mut e.page)), Class::Mapping),
    ("entry kind", |s| entry(s, |e| other_kind(&mut e.kind)), Class::Mapping),
    ("entry subpage", |s| entry(s, |e| next_sub(&mut e.page)), Class::Mapping),
    ("huge lost", |s| mm(s, |m| m.huge.pop_first().is_some()), Class::Mapping),
    ("huge read", |s| huge(s, |e| flip(&mut e.read)), Class::Mapping),
    ("huge write", |s| huge(s, |e| flip(&mut e.write)), Class::Mapping),
    ("huge page", |s| huge(s, |e| another(&mut e.page)), Class::Mapping),
    ("handle lost", |s| s.handles.pop_first().is_some(), Class::Handle),
    (
        "handle kept",
        |s| s.handles.insert(HandleId(99), vec![PageRef::Zero]).is_none(),
        Class::Handle,
    ),
    ("handle shorter", |s| handle(s, |pages| pages.pop().is_some()), Class::Handle),
    ("handle page", |s| handle(s, |pages| another(&mut pages[0])), Class::Handle),
    ("handle order", |s| handle(s, |pages| swap_different(pages)), Class::Handle),
    ("migration lost", |s| s.migrations.pop_first().is_some(), Class::Handle),
    ("migration page", |s| migrate_pfn(s, |pfn| flip(&mut pfn.migrate)), Class::Handle),
    ("migration source", |s| migrate_pfn(s, |pfn| pfn.src.take().is_some()), Class::Handle),
    ("migration destination", |s| migrate_pfn(s, |pfn| renamed(&mut pfn.dst)), Class::Handle),
    ("lock lost", |s| s.locks.pop_first().is_some(), Class::Lock),
    ("lock kept", |s| s.locks.insert(LockId(99), Name(7)).is_none(), Class::Lock),
    ("cache lost", |s| s.cache.pop_first().is_some(), Class::Cache),
    ("cache kept", |s| s.cache.insert((ObjectId::File(1), 99), Name(7)).is_none(), Class::Cache),
    ("batch lost", |s| batch(s, |b| b.pop().is_some()), Class::Lru),
    ("batch of another cpu", move_batch, Class::Lru),
    ("used normal", |s| grow(&mut s.used[0]), Class::Memory),
    ("used movable", |s| grow(&mut s.used[1]), Class::Memory),
    ("used cma", |s| grow(&mut s.used[2]), Class::Memory),
];

/// A state that has a place for every error.
pub fn full() -> Snapshot {
    let small = FolioView {
        order: 0,
        place: Place::Normal,
        anon: true,
        refcount: 2,
        entire_mapcount: 0,
        mapcount: vec![1],
        pincount: 0,
        exclusive: vec![true],
        locked: Some(TaskId(1)),
        lru: false,
        dirty: false,
        data: vec![0x1_0000],
    };
    let large = FolioView {
        order: 2,
        mapcount: vec![0, 1, 0, 0],
        exclusive: vec![true, false, false, false],
        entire_mapcount: 1,
        locked: None,
        lru: true,
        data: vec![0, 5, 0, 0],
        ..small.clone()
    };
    let kind = EntryKind::Present;
    let entry = |page| EntryView { kind, page, read: true, write: true, dirty: false };
    let flags = VmaFlags {
        uffd: Uffd::None,
        prot: Prot::ReadWrite,
        shared: false,
        dontfork: false,
        hugepage: false,
        nohugepage: false,
        object: None,
    };
    let view = MmView {
        vmas: vec![VmaView { start: 4, end: 12, flags }],
        tables: [2].into(),
        huge: [(1, entry(PageRef::Of(Name(2), 0)))].into(),
        entries: [(8, entry(PageRef::Of(Name(1), 0))), (9, entry(PageRef::Of(Name(2), 1)))].into(),
        has_pinned: true,
    };
    let pfn = MigratePfn { src: Some(Name(1)), migrate: true, dst: None };
    Snapshot {
        folios: [(Name(1), small), (Name(2), large)].into(),
        mms: [(MmId(0), view)].into(),
        handles: [(HandleId(0), vec![PageRef::Of(Name(1), 0), PageRef::Zero])].into(),
        locks: [(LockId(0), Name(1))].into(),
        cache: [((ObjectId::File(0), 3), Name(3))].into(),
        batches: vec![vec![Name(1)], vec![]],
        used: [5, 0, 0, 0, 0],
        migrations: [(MigrationId(0), vec![pfn, MigratePfn::default()])].into(),
        zero_refs: 1,
    }
}

fn folio(s: &mut Snapshot, change: impl FnOnce(&mut FolioView)) -> bool {
    s.folios.values_mut().next().map(change).is_some()
}

fn large(s: &mut Snapshot, change: impl FnOnce(&mut FolioView)) -> bool {
    s.folios.values_mut().find(|folio| folio.order > 0).map(change).is_some()
}

fn locked(s: &mut Snapshot, change: impl FnOnce(&mut FolioView)) -> bool {
    s.folios.values_mut().find(|folio| folio.locked.is_some()).map(change).is_some()
}

fn unlocked(s: &mut Snapshot, change: impl FnOnce(&mut FolioView)) -> bool {
    s.folios.values_mut().find(|folio| folio.locked.is_none()).map(change).is_some()
}

fn add_folio(s: &mut Snapshot) -> bool {
    let view = full().folios.remove(&Name(1)).expect("it is there");
    s.folios.insert(Name(0xdead), FolioView { locked: None, ..view }).is_none()
}

fn mm(s: &mut Snapshot, change: impl Fn(&mut MmView) -> bool) -> bool {
    s.mms.values_mut().any(change)
}

fn vma(s: &mut Snapshot, change: impl Fn(&mut VmaView)) -> bool {
    mm(s, |mm| mm.vmas.last_mut().map(&change).is_some())
}

fn flag(s: &mut Snapshot, which: fn(&mut VmaFlags) -> &mut bool) -> bool {
    vma(s, |vma| {
        flip(which(&mut vma.flags));
    })
}

fn entry(s: &mut Snapshot, change: impl Fn(&mut EntryView) -> bool) -> bool {
    mm(s, |mm| mm.entries.values_mut().any(&change))
}

fn huge(s: &mut Snapshot, change: impl Fn(&mut EntryView) -> bool) -> bool {
    mm(s, |mm| mm.huge.values_mut().any(&change))
}

fn handle(s: &mut Snapshot, change: impl Fn(&mut Vec<PageRef>) -> bool) -> bool {
    s.handles.values_mut().any(change)
}

fn migrate_pfn(s: &mut Snapshot, change: impl Fn(&mut MigratePfn) -> bool) -> bool {
    s.migrations.values_mut().flatten().any(change)
}

fn renamed(name: &mut Option<Name>) -> bool {
    *name = if *name == Some(Name(7)) { None } else { Some(Name(7)) };
    true
}

fn batch(s: &mut Snapshot, change: impl Fn(&mut Vec<Name>) -> bool) -> bool {
    s.batches.iter_mut().any(change)
}

fn move_batch(s: &mut Snapshot) -> bool {
    let Some(at) = s.batches.iter().position(|batch| !batch.is_empty()) else { return false };
    let cpus = s.batches.len();
    let Some(name) = s.batches[at].pop() else { return false };
    s.batches[(at + 1) % cpus].push(name);
    s.batches[(at + 1) % cpus].sort_unstable();
    cpus > 1
}

fn swap_different(pages: &mut [PageRef]) -> bool {
    let differ = pages.first() != pages.last();
    let last = pages.len().saturating_sub(1);
    if differ {
        pages.swap(0, last);
    }
    differ
}

fn flip(bit: &mut bool) -> bool {
    *bit = !*bit;
    true
}

fn other_kind(kind: &mut EntryKind) -> bool {
    *kind = match *kind {
        EntryKind::DeviceExclusive => EntryKind::DevicePrivate,
        _ => EntryKind::DeviceExclusive,
    };
    true
}

fn grow(count: &mut u32) -> bool {
    *count += 1;
    true
}

fn another(page: &mut PageRef) -> bool {
    *page = match *page {
        PageRef::Zero => PageRef::Of(Name(7), 0),
        PageRef::Of(..) => PageRef::Zero,
    };
    true
}

fn next_sub(page: &mut PageRef) -> bool {
    match page {
        PageRef::Zero => false,
        PageRef::Of(_, sub) => grow(sub),
    }
}

fn next_task(task: Option<TaskId>) -> Option<TaskId> {
    task.map(|task| TaskId(task.0 + 1))
}

fn other(place: Place) -> Place {
    if place == Place::Normal { Place::Cma } else { Place::Normal }
}

fn other_prot(prot: Prot) -> Prot {
    if prot == Prot::Read { Prot::ReadWrite } else { Prot::Read }
}
