//! The names that a source gives to its objects: any numbers, defined once each.

use std::collections::BTreeMap;
use std::fmt;

use crate::object::Object;
use crate::op::{AreaId, HandleId, LockId, MigrationId, MmId};

/// A sort of object that has names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Sort {
    Mm,
    Area,
    Handle,
    Lock,
    Migration,
}

impl Sort {
    pub fn of(object: Object) -> Sort {
        match object {
            Object::Mm(_) => Sort::Mm,
            Object::Area(_) => Sort::Area,
            Object::Handle(_) => Sort::Handle,
            Object::Lock(_) => Sort::Lock,
            Object::Migration(_) => Sort::Migration,
        }
    }

    /// The object of this sort with this id.
    pub fn object(self, id: u8) -> Object {
        match self {
            Sort::Mm => Object::Mm(MmId(id)),
            Sort::Area => Object::Area(AreaId(id)),
            Sort::Handle => Object::Handle(HandleId(id)),
            Sort::Lock => Object::Lock(LockId(id)),
            Sort::Migration => Object::Migration(MigrationId(id)),
        }
    }

    pub fn sigil(self) -> &'static str {
        match self {
            Sort::Mm => "mm",
            Sort::Area => "m",
            Sort::Handle => "h",
            Sort::Lock => "l",
            Sort::Migration => "v",
        }
    }

    /// What it is, with its article, and who makes it.
    pub fn describe(self) -> &'static str {
        match self {
            Sort::Mm => "an address space (`mm1 = fork`)",
            Sort::Area => "an area (`m0 = mmap …`)",
            Sort::Handle => "a handle (`h0 = get …` or `pin …`)",
            Sort::Lock => "a lock (`l0 = lock_page …`)",
            Sort::Migration => "a migration (`v0 = migrate_vma_setup …`)",
        }
    }
}

/// A name: a sort and a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct ObjectName {
    pub sort: Sort,
    pub number: u32,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.sort.sigil(), self.number)
    }
}

impl ObjectName {
    /// Reads `m0`, `mm1`, `h2`, `l3`, `v4`.
    pub fn read(word: &str) -> Option<ObjectName> {
        let digits = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
        let sigil = &word[..word.len() - digits.len()];
        let sort = [Sort::Mm, Sort::Area, Sort::Handle, Sort::Lock, Sort::Migration]
            .into_iter()
            .find(|sort| sort.sigil() == sigil)?;
        Some(ObjectName { sort, number: number(digits)? })
    }
}

/// Reads a decimal number without sign or spare zeros.
pub fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let spare = digits.len() > 1 && digits.starts_with('0');
    if plain && !spare { digits.parse().ok() } else { None }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its number in the program; none if the operation that defines it was in error, so that its
    /// uses are not errors too.
    pub id: Option<u8>,
    /// Where it was defined; 0 for `mm0`.
    pub line: u32,
    /// Where it was consumed.
    pub ended: Option<u32>,
}

/// The names defined so far.
#[derive(Debug)]
pub struct Names(BTreeMap<ObjectName, Known>);

impl Default for Names {
    fn default() -> Self {
        let first = ObjectName { sort: Sort::Mm, number: 0 };
        Names(BTreeMap::from([(first, Known { id: Some(0), line: 0, ended: None })]))
    }
}

impl Names {
    pub fn get(&self, name: ObjectName) -> Option<Known> {
        self.0.get(&name).copied()
    }

    pub fn define(&mut self, name: ObjectName, id: Option<u8>, line: u32) {
        self.0.insert(name, Known { id, line, ended: None });
    }

    /// Takes note that `object` was consumed.
    pub fn end(&mut self, object: Object, line: u32) {
        if let Some(name) = self.name(object)
            && let Some(known) = self.0.get_mut(&name)
        {
            known.ended = Some(line);
        }
    }

    /// What the source calls an object.
    pub fn name(&self, object: Object) -> Option<ObjectName> {
        let sort = Sort::of(object);
        self.of_sort(sort)
            .find(|(_, known)| known.id.map(|id| sort.object(id)) == Some(object))
            .map(|(name, _)| name)
    }

    /// Every name of a sort.
    pub fn of_sort(&self, sort: Sort) -> impl Iterator<Item = (ObjectName, Known)> {
        let named = self.0.iter().map(|(&name, &known)| (name, known));
        named.filter(move |(name, _)| name.sort == sort)
    }
}
