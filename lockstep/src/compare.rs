//! Which fields of two canonical states differ.

use std::collections::BTreeMap;

use program::{
    EntryView, FolioView, HandleId, LockId, Mark, MigratePfn, MigrationId, MmId, MmView, Name,
    ObjectId, PageRef, Place, Ret, Seen, Snapshot, TaskId, VmaView,
};

use crate::verdict::Class;

/// A field of a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named as the fields of FolioView; numbers are pages")]
pub enum FolioField {
    Exists,
    Order,
    Place,
    Anon,
    Refcount,
    Entire,
    Mapcount(u32),
    Pincount,
    Exclusive(u32),
    Locked,
    Lru,
    Dirty,
    Data(u32),
}

/// A field of an mm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named as the fields of MmView; numbers are pages or PMDs")]
pub enum MmField {
    Exists,
    HasPinned,
    Vma(u32),
    Table(u32),
    Huge(u32),
    Entry(u32),
}

/// What differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The return value.
    Return,
    /// The value read from the n-th page.
    Data(usize),
    /// How the optimised side behaved.
    Conduct(&'static str),
    /// A folio.
    Folio(Name, FolioField),
    /// An address space.
    Mm(MmId, MmField),
    /// A handle.
    Handle(HandleId),
    /// A lock held across operations.
    Lock(LockId),
    /// The n-th page of an open migration.
    Migration(MigrationId, usize),
    /// A page-cache slot.
    Cache(ObjectId, u32),
    /// A CPU's LRU batch.
    Batch(u8),
    /// Pages in use.
    Used(Place),
    /// FOLL_GET references on the zero page.
    ZeroRefs,
    /// The program's expectation of this index.
    Expect(usize),
    /// An item of the cost ledger, beside the side without batching.
    Cost(&'static str),
    /// The pages that an operation keeps although it failed.
    Kept,
    /// The universal invariant of this number.
    Invariant(u8),
    /// The digests.
    Digest,
    /// What is left at the end.
    Left,
    /// What the machine says of a phase.
    Machine(Class),
    /// A step of an operation in a phase.
    Mark(Mark),
}

impl What {
    /// A stable short name of the field, without the object it belongs to.
    pub fn field_name(self) -> &'static str {
        match self {
            What::Return => "return",
            What::Data(_) => "data-read",
            What::Conduct(class) => class,
            What::Folio(_, FolioField::Exists | FolioField::Refcount) => "ref",
            What::Folio(_, FolioField::Order) => "order",
            What::Folio(_, FolioField::Place) => "zone",
            What::Folio(_, FolioField::Anon) => "anon",
            What::Folio(_, FolioField::Entire) => "entire-map",
            What::Folio(_, FolioField::Mapcount(_)) => "map",
            What::Folio(_, FolioField::Pincount) => "pin",
            What::Folio(_, FolioField::Exclusive(_)) => "ae",
            What::Folio(_, FolioField::Locked) => "locked",
            What::Folio(_, FolioField::Lru) => "lru",
            What::Folio(_, FolioField::Dirty) => "dirty",
            What::Folio(_, FolioField::Data(_)) => "data",
            What::Mm(_, MmField::Exists) => "mm",
            What::Mm(_, MmField::HasPinned) => "has-pinned",
            What::Mm(_, MmField::Vma(_)) => "vma",
            What::Mm(_, MmField::Table(_)) => "table",
            What::Mm(_, MmField::Huge(_)) => "huge-entry",
            What::Mm(_, MmField::Entry(_)) => "entry",
            What::Handle(_) => "handle",
            What::Lock(_) => "lock",
            What::Migration(..) => "migration",
            What::Cache(..) => "cache",
            What::Batch(_) => "batch",
            What::Used(_) => "used",
            What::ZeroRefs => "zero-refs",
            What::Kept => "kept",
            What::Expect(_) => "expect",
            What::Cost(item) => item,
            What::Invariant(_) => "invariant",
            What::Digest => "digest",
            What::Left => "left",
            What::Machine(class) => class.family(),
            What::Mark(mark) => mark.name(),
        }
    }
}

/// One side's value of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named for what they hold")]
pub enum Value {
    Absent,
    Count(i64),
    Flag(bool),
    Place(Place),
    Task(Option<TaskId>),
    Pages(Vec<PageRef>),
    Names(Vec<Name>),
    Entry(EntryView),
    Vma(VmaView),
    Migrate(Box<MigratePfn>),
    Ret(Ret),
    Data(u64),
    Text(String),
    Stuck(Box<machine::Verdict>),
    Seen(Seen),
}

/// One field in which the two sides differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldDiff {
    /// The field.
    pub what: What,
    /// The reference's value.
    pub reference: Value,
    /// The optimised side's value.
    pub optimized: Value,
}

/// Every field in which two states differ, most telling first.
pub fn differences(reference: &Snapshot, optimized: &Snapshot) -> Vec<FieldDiff> {
    let mut list = List::default();
    list.folios(&reference.folios, &optimized.folios);
    either(&reference.mms, &optimized.mms, |&id, a, b| match (a, b) {
        (Some(a), Some(b)) => list.mm(id, a, b),
        _ => list.push(What::Mm(id, MmField::Exists), a.is_some(), b.is_some(), Value::Flag),
    });
    either(&reference.handles, &optimized.handles, |&id, a, b| {
        list.option(What::Handle(id), a.cloned(), b.cloned(), Value::Pages);
    });
    either(&reference.locks, &optimized.locks, |&id, a, b| {
        list.option(What::Lock(id), a, b, |&name| Value::Names(vec![name]));
    });
    either(&reference.migrations, &optimized.migrations, |&id, a, b| {
        let of = |side: Option<&Vec<MigratePfn>>, at: usize| side.and_then(|s| s.get(at)).copied();
        for at in 0..a.map_or(0, Vec::len).max(b.map_or(0, Vec::len)) {
            list.option(What::Migration(id, at), of(a, at), of(b, at), |pfn| {
                Value::Migrate(Box::new(pfn))
            });
        }
    });
    either(&reference.cache, &optimized.cache, |&(object, index), a, b| {
        list.option(What::Cache(object, index), a, b, |&name| Value::Names(vec![name]));
    });
    for cpu in 0..reference.batches.len().max(optimized.batches.len()) {
        let of = |side: &Snapshot| side.batches.get(cpu).cloned();
        let (a, b) = (of(reference).unwrap_or_default(), of(optimized).unwrap_or_default());
        list.push(What::Batch(cpu as u8), a, b, Value::Names);
    }
    for (at, place) in Place::ALL.into_iter().enumerate() {
        let (a, b) = (reference.used[at], optimized.used[at]);
        list.push(What::Used(place), i64::from(a), i64::from(b), Value::Count);
    }
    let (a, b) = (reference.zero_refs, optimized.zero_refs);
    list.push(What::ZeroRefs, i64::from(a), i64::from(b), Value::Count);
    list.0.sort_by_key(FieldDiff::class);
    list.0
}

/// Visits every key that two maps do not agree on.
fn either<K: Ord, V: PartialEq>(
    a: &BTreeMap<K, V>,
    b: &BTreeMap<K, V>,
    mut visit: impl FnMut(&K, Option<&V>, Option<&V>),
) {
    for (key, mine) in a {
        let theirs = b.get(key);
        if theirs != Some(mine) {
            visit(key, Some(mine), theirs);
        }
    }
    for (key, theirs) in b.iter().filter(|(key, _)| !a.contains_key(key)) {
        visit(key, None, Some(theirs));
    }
}

#[derive(Default)]
struct List(Vec<FieldDiff>);

impl List {
    fn push<T: PartialEq>(&mut self, what: What, a: T, b: T, value: impl Fn(T) -> Value) {
        if a != b {
            self.0.push(FieldDiff { what, reference: value(a), optimized: value(b) });
        }
    }

    fn option<T: PartialEq>(
        &mut self,
        what: What,
        a: Option<T>,
        b: Option<T>,
        value: impl Fn(T) -> Value,
    ) {
        self.push(what, a, b, |side| side.map_or(Value::Absent, &value));
    }

    fn folios(&mut self, a: &BTreeMap<Name, FolioView>, b: &BTreeMap<Name, FolioView>) {
        either(a, b, |&name, a, b| match (a, b) {
            (Some(a), Some(b)) => self.folio(name, a, b),
            _ => {
                let count = |side: Option<&FolioView>| side.map(|view| view.refcount);
                let (a, b) = (count(a), count(b));
                self.option(What::Folio(name, FolioField::Exists), a, b, Value::Count);
            }
        });
    }

    fn folio(&mut self, name: Name, a: &FolioView, b: &FolioView) {
        let what = |field| What::Folio(name, field);
        let count = |n: u32| Value::Count(i64::from(n));
        self.push(what(FolioField::Order), u32::from(a.order), u32::from(b.order), count);
        self.push(what(FolioField::Place), a.place, b.place, Value::Place);
        self.push(what(FolioField::Anon), a.anon, b.anon, Value::Flag);
        self.push(what(FolioField::Refcount), a.refcount, b.refcount, Value::Count);
        self.push(what(FolioField::Entire), a.entire_mapcount, b.entire_mapcount, count);
        self.push(what(FolioField::Pincount), a.pincount, b.pincount, count);
        self.push(what(FolioField::Locked), a.locked, b.locked, Value::Task);
        self.push(what(FolioField::Lru), a.lru, b.lru, Value::Flag);
        self.push(what(FolioField::Dirty), a.dirty, b.dirty, Value::Flag);
        self.pages(&a.mapcount, &b.mapcount, |sub| what(FolioField::Mapcount(sub)), count);
        let exclusive = |sub| what(FolioField::Exclusive(sub));
        self.pages(&a.exclusive, &b.exclusive, exclusive, Value::Flag);
        self.pages(&a.data, &b.data, |sub| what(FolioField::Data(sub)), Value::Data);
    }

    fn pages<T: PartialEq + Copy + Default>(
        &mut self,
        a: &[T],
        b: &[T],
        what: impl Fn(u32) -> What,
        value: impl Fn(T) -> Value,
    ) {
        let at = |list: &[T], sub: usize| list.get(sub).copied().unwrap_or_default();
        for sub in 0..a.len().max(b.len()) {
            self.push(what(sub as u32), at(a, sub), at(b, sub), &value);
        }
    }

    fn mm(&mut self, id: MmId, a: &MmView, b: &MmView) {
        let what = |field| What::Mm(id, field);
        self.push(what(MmField::HasPinned), a.has_pinned, b.has_pinned, Value::Flag);
        let vmas = |mm: &MmView| mm.vmas.iter().map(|vma| (vma.start, *vma)).collect();
        let (mine, theirs): (BTreeMap<_, _>, BTreeMap<_, _>) = (vmas(a), vmas(b));
        either(&mine, &theirs, |&start, a, b| {
            self.option(what(MmField::Vma(start)), a, b, |&vma| Value::Vma(vma));
        });
        for &pmd in a.tables.symmetric_difference(&b.tables) {
            let (a, b) = (a.tables.contains(&pmd), b.tables.contains(&pmd));
            self.push(what(MmField::Table(pmd)), a, b, Value::Flag);
        }
        either(&a.huge, &b.huge, |&pmd, a, b| {
            self.option(what(MmField::Huge(pmd)), a, b, |&entry| Value::Entry(entry));
        });
        either(&a.entries, &b.entries, |&vpn, a, b| {
            self.option(what(MmField::Entry(vpn)), a, b, |&entry| Value::Entry(entry));
        });
    }
}
