//! The objects that operations name, and which operation names which.

use crate::op::{AreaId, HandleId, LockId, MigrationId, MmId, Op, Range};

/// An object that steps name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Object {
    /// An address space.
    Mm(MmId),
    /// An area.
    Area(AreaId),
    /// A handle.
    Handle(HandleId),
    /// A held folio lock.
    Lock(LockId),
    /// An open device migration.
    Migration(MigrationId),
}

impl Object {
    /// Its number among the objects of its kind.
    pub fn id(self) -> u8 {
        match self {
            Object::Mm(mm) => mm.0,
            Object::Area(area) => area.0,
            Object::Handle(handle) => handle.0,
            Object::Lock(lock) => lock.0,
            Object::Migration(migration) => migration.0,
        }
    }
}

/// The field of an operation that works on an address space, by value or by reference.
macro_rules! mm_of {
    ($op:expr) => {
        match $op {
            Op::Mmap { mm, .. }
            | Op::Munmap { mm, .. }
            | Op::Mprotect { mm, .. }
            | Op::Mremap { mm, .. }
            | Op::Madvise { mm, .. }
            | Op::Uffd { mm, .. }
            | Op::Read { mm, .. }
            | Op::Write { mm, .. }
            | Op::Fork { mm, .. }
            | Op::Exit { mm }
            | Op::Gup { mm, .. }
            | Op::Walk { mm, .. }
            | Op::SplitFolio { mm, .. }
            | Op::Migrate { mm, .. }
            | Op::LockPage { mm, .. }
            | Op::MigrateVmaSetup { mm, .. }
            | Op::DeviceMigrate { mm, .. }
            | Op::DeviceRead { mm, .. }
            | Op::DeviceWrite { mm, .. }
            | Op::HmmRangeFault { mm, .. }
            | Op::MakeDeviceExclusive { mm, .. } => Some(mm),
            _ => None,
        }
    };
}

/// The field of an operation that works on a range, by value or by reference.
macro_rules! range_of {
    ($op:expr) => {
        match $op {
            Op::Munmap { range, .. }
            | Op::Mprotect { range, .. }
            | Op::Mremap { range, .. }
            | Op::Madvise { range, .. }
            | Op::Uffd { range, .. }
            | Op::Read { range, .. }
            | Op::Write { range, .. }
            | Op::Gup { range, .. }
            | Op::Walk { range, .. }
            | Op::SplitFolio { range, .. }
            | Op::Migrate { range, .. }
            | Op::LockPage { range, .. }
            | Op::MigrateVmaSetup { range, .. }
            | Op::DeviceMigrate { range, .. }
            | Op::DeviceRead { range, .. }
            | Op::DeviceWrite { range, .. }
            | Op::HmmRangeFault { range, .. }
            | Op::MakeDeviceExclusive { range, .. } => Some(range),
            _ => None,
        }
    };
}

impl Op {
    /// Whether it pins for good (FOLL_LONGTERM).
    pub fn is_longterm(&self) -> bool {
        matches!(self, Op::Gup { longterm: true, .. })
    }

    /// The address space that it works on. Not inlined: on its own it is a test of a bit, where it
    /// is asked before a `match` it becomes a jump table of its own.
    #[inline(never)]
    pub fn mm(&self) -> Option<MmId> {
        mm_of!(*self)
    }

    /// The address space that it works on, to change it.
    pub fn mm_mut(&mut self) -> Option<&mut MmId> {
        mm_of!(self)
    }

    /// The range that it works on.
    pub fn range(&self) -> Option<Range> {
        range_of!(*self)
    }

    /// The range that it works on, to change it.
    pub fn range_mut(&mut self) -> Option<&mut Range> {
        range_of!(self)
    }

    /// The object that it creates.
    pub fn creates(&self) -> Option<Object> {
        match *self {
            Op::Mmap { area, .. } | Op::Mremap { area, .. } => Some(Object::Area(area)),
            Op::Fork { child, .. } => Some(Object::Mm(child)),
            Op::Gup { handle, .. } => Some(Object::Handle(handle)),
            Op::LockPage { lock, .. } => Some(Object::Lock(lock)),
            Op::MigrateVmaSetup { migration, .. } | Op::MigrateDeviceRange { migration, .. } => {
                Some(Object::Migration(migration))
            }
            _ => None,
        }
    }

    /// The objects that it uses, those that it consumes included.
    pub fn uses(&self) -> impl Iterator<Item = Object> {
        let (one, two) = match *self {
            Op::Put { handle } | Op::Peek { handle } => (Some(Object::Handle(handle)), None),
            Op::Unpin { handle, also, .. } => {
                (Some(Object::Handle(handle)), also.map(Object::Handle))
            }
            Op::UnlockPage { lock } => (Some(Object::Lock(lock)), None),
            Op::MigrateVmaPages { migration, .. } | Op::MigrateVmaFinalize { migration } => {
                (Some(Object::Migration(migration)), None)
            }
            _ => (self.mm().map(Object::Mm), self.range().map(|range| Object::Area(range.area))),
        };
        one.into_iter().chain(two)
    }

    /// The objects that it consumes.
    pub fn consumes(&self) -> impl Iterator<Item = Object> {
        let consumes = matches!(
            self,
            Op::Exit { .. }
                | Op::Put { .. }
                | Op::Unpin { .. }
                | Op::UnlockPage { .. }
                | Op::MigrateVmaFinalize { .. }
        );
        self.uses().filter(move |_| consumes)
    }
}
