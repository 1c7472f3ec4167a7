//! Static liveness: which objects exist at each point of a program, whatever its operations return.
//!
//! An operation that may create an object always does (a failed one is empty, and what uses it is
//! `void`), so liveness is a property of the text. Walk the steps in program order, calling
//! [`Arena::begin_phase`] before each phase and [`Arena::apply`] after each step; between, ask what
//! the next step may name:
//!
//! * a step sees what was live when its phase began, and what its own CPU created in the phase; of
//!   areas, which are addresses, all that come before it in the text;
//! * what a step consumes (a handle put or unpinned, a lock released, an mm exited) is gone for
//!   every later step, and no other CPU may use it anywhere in the same phase;
//! * areas are addresses, not mappings, and never go. Which areas *probably* are mapped in an mm is
//!   kept too ([`Arena::mapped`]): random programs aim there, no rule depends on it.

use crate::object::Object;
use crate::op::{AreaId, Foll, HandleId, LockId, MigrationId, MmId, Op, Range};

/// Areas a program may create.
pub const MAX_AREAS: usize = 64;
/// Address spaces a program may have, `MmId(0)` included.
pub const MAX_MMS: usize = 8;
/// Handles a program may create.
pub const MAX_HANDLES: usize = 64;
/// Locks a program may create.
pub const MAX_LOCKS: usize = 16;
/// Device migrations a program may create.
pub const MAX_MIGRATIONS: usize = 16;
/// CPUs a machine may have.
pub const MAX_CPUS: usize = 8;

/// A set of ids of one kind of object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Set(u64);

impl Set {
    /// The first `n` ids.
    fn first(n: u8) -> Set {
        Set(if n >= 64 { !0 } else { (1 << n) - 1 })
    }

    /// Whether `id` is in the set.
    pub fn contains(self, id: u8) -> bool {
        id < 64 && self.0 & (1 << id) != 0
    }

    /// 1 if `id`, modulo 64, is in the set, else 0.
    pub(crate) fn bit(self, id: u8) -> u8 {
        (self.0 >> (id & 63) & 1) as u8
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set with `id` if `on`, else without it.
    pub(crate) fn with(self, id: u8, on: bool) -> Set {
        Set(self.without(id).0 | u64::from(on) << id)
    }

    /// Number of ids.
    pub fn len(self) -> u8 {
        self.0.count_ones() as u8
    }

    /// The first id at or after `choice`, which is taken modulo the highest id plus one; none in an
    /// empty set. Without a branch, because no processor could predict it.
    pub fn pick(self, choice: u8) -> Option<u8> {
        let from = u32::from(choice) % (64 - self.0.leading_zeros()).max(1);
        let rest = self.0 >> from;
        (rest != 0).then(|| (from + rest.trailing_zeros()) as u8)
    }

    /// The choice of `id`: `pick(rank(id)) == Some(id)` for an id in the set.
    pub fn rank(self, id: u8) -> u8 {
        id
    }

    /// The set without `id`.
    pub fn without(self, id: u8) -> Set {
        self & !Set::one(id)
    }

    pub(crate) fn one(id: u8) -> Set {
        Set(1 << id)
    }

    pub(crate) fn insert(&mut self, id: u8) {
        self.0 |= 1 << id;
    }
}

impl std::ops::BitAnd for Set {
    type Output = Set;
    fn bitand(self, other: Set) -> Set {
        Set(self.0 & other.0)
    }
}

impl std::ops::BitOr for Set {
    type Output = Set;
    fn bitor(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }
}

impl std::ops::Not for Set {
    type Output = Set;
    fn not(self) -> Set {
        Set(!self.0)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Objects {
    mms: Set,
    areas: Set,
    handles: Set,
    locks: Set,
    migrations: Set,
}

/// What one CPU did in the current phase.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    created: Objects,
    used: Objects,
}

/// The objects that exist statically.
#[derive(Clone, Debug)]
pub struct Arena {
    mm_count: u8,
    area_count: u8,
    handle_count: u8,
    lock_count: u8,
    migration_count: u8,
    mms: Set,
    gets: Set,
    pins: Set,
    locks: Set,
    migrations: Set,
    /// Length of each area.
    lens: [u16; MAX_AREAS],
    /// Most pages each handle can hold.
    handle_lens: [u16; MAX_HANDLES],
    /// Areas that nobody unmapped whole, an mm each.
    mapped: [Set; MAX_MMS],
    /// Created in this phase, by whichever CPU.
    created: Objects,
    own: [Own; MAX_CPUS],
    /// CPUs whose `own` is not empty: what `begin_phase` must clear.
    active: u8,
    own_areas: bool,
}

impl Default for Arena {
    fn default() -> Self {
        let mut arena = Arena {
            mm_count: 0,
            area_count: 0,
            handle_count: 0,
            lock_count: 0,
            migration_count: 0,
            mms: Set::default(),
            gets: Set::default(),
            pins: Set::default(),
            locks: Set::default(),
            migrations: Set::default(),
            lens: [0; MAX_AREAS],
            handle_lens: [0; MAX_HANDLES],
            mapped: [Set::default(); MAX_MMS],
            created: Objects::default(),
            own: [Own::default(); MAX_CPUS],
            active: 0,
            own_areas: false,
        };
        arena.reset();
        arena
    }
}

impl Arena {
    /// Back to the start of a program: `MmId(0)` alone.
    pub fn reset(&mut self) {
        self.begin_phase();
        self.mm_count = 1;
        self.mms = Set::one(0);
        self.mapped[0] = Set::default();
        (self.area_count, self.handle_count, self.lock_count) = (0, 0, 0);
        (self.gets, self.pins, self.locks) = Default::default();
        (self.migration_count, self.migrations) = Default::default();
    }

    /// A new phase: what earlier phases created is now seen by every CPU.
    pub fn begin_phase(&mut self) {
        self.created = Objects::default();
        while self.active != 0 {
            self.own[self.active.trailing_zeros() as usize] = Own::default();
            self.active &= self.active - 1;
        }
    }

    /// Address spaces that `cpu` may use now.
    pub fn mms(&self, cpu: u8) -> Set {
        self.mms & !(self.created.mms & !self.own(cpu).created.mms)
    }

    /// Address spaces that `cpu` may exit now.
    pub fn exitable(&self, cpu: u8) -> Set {
        self.mms(cpu).without(0) & !self.used_elsewhere(cpu, |used| used.mms)
    }

    /// Areas that `cpu` may name now.
    pub fn areas(&self, cpu: u8) -> Set {
        let all = Set::first(self.area_count);
        // Up to version 2 of the byte form they were as other objects.
        let hidden = self.created.areas & !self.own(cpu).created.areas;
        if self.own_areas { all & !hidden } else { all }
    }

    /// Whether areas are seen as other objects are.
    pub(crate) fn see_own_areas(&mut self, own: bool) {
        self.own_areas = own;
    }

    /// Of those, the ones that nobody unmapped whole from `mm`.
    pub fn mapped(&self, cpu: u8, mm: MmId) -> Set {
        self.areas(cpu) & self.mapped[usize::from(mm.0)]
    }

    /// Handles that `cpu` may use now.
    pub fn handles(&self, cpu: u8) -> Set {
        (self.gets | self.pins) & !(self.created.handles & !self.own(cpu).created.handles)
    }

    /// Handles of one kind that `cpu` may consume now.
    pub fn droppable(&self, cpu: u8, foll: Foll) -> Set {
        let of_kind = if foll == Foll::Get { self.gets } else { self.pins };
        self.handles(cpu) & of_kind & !self.used_elsewhere(cpu, |used| used.handles)
    }

    /// Locks that `cpu` may release now.
    pub fn locks(&self, cpu: u8) -> Set {
        self.locks & !(self.created.locks & !self.own(cpu).created.locks)
    }

    /// Device migrations that `cpu` may use now.
    pub fn migrations(&self, cpu: u8) -> Set {
        self.migrations & !(self.created.migrations & !self.own(cpu).created.migrations)
    }

    /// Device migrations that `cpu` may finalize now.
    pub fn finalizable(&self, cpu: u8) -> Set {
        self.migrations(cpu) & !self.used_elsewhere(cpu, |used| used.migrations)
    }

    /// Whether the handle, which must be live, is of a `get` or of a `pin`.
    pub fn foll(&self, handle: HandleId) -> Foll {
        if self.gets.contains(handle.0) { Foll::Get } else { Foll::Pin }
    }

    /// Whether one of these handles or locks is live.
    pub(crate) fn any_live(&self, handles: Set, locks: Set) -> bool {
        !(((self.gets | self.pins) & handles) | (self.locks & locks)).is_empty()
    }

    /// Length of an area; 0 if there is none.
    pub fn area_len(&self, area: AreaId) -> u16 {
        if area.0 < self.area_count { self.lens[usize::from(area.0)] } else { 0 }
    }

    /// Pages that the `get` or `pin` of a handle asked for; 0 if there is none.
    pub fn handle_len(&self, handle: HandleId) -> u16 {
        if handle.0 < self.handle_count { self.handle_lens[usize::from(handle.0)] } else { 0 }
    }

    /// Whether this object was created so far, dead or alive.
    pub fn was_created(&self, object: Object) -> bool {
        match object {
            Object::Mm(mm) => mm.0 < self.mm_count,
            Object::Area(area) => area.0 < self.area_count,
            Object::Handle(handle) => handle.0 < self.handle_count,
            Object::Lock(lock) => lock.0 < self.lock_count,
            Object::Migration(migration) => migration.0 < self.migration_count,
        }
    }

    /// Whether this object exists now, on whichever CPU.
    pub fn is_live(&self, object: Object) -> bool {
        match object {
            Object::Mm(mm) => self.mms.contains(mm.0),
            Object::Area(area) => area.0 < self.area_count,
            Object::Handle(handle) => (self.gets | self.pins).contains(handle.0),
            Object::Lock(lock) => self.locks.contains(lock.0),
            Object::Migration(migration) => self.migrations.contains(migration.0),
        }
    }

    /// The id of the next address space, unless there are too many.
    pub fn next_mm(&self) -> Option<MmId> {
        (usize::from(self.mm_count) < MAX_MMS).then_some(MmId(self.mm_count))
    }

    /// The id of the next area.
    pub fn next_area(&self) -> Option<AreaId> {
        (usize::from(self.area_count) < MAX_AREAS).then_some(AreaId(self.area_count))
    }

    /// The id of the next handle.
    pub fn next_handle(&self) -> Option<HandleId> {
        (usize::from(self.handle_count) < MAX_HANDLES).then_some(HandleId(self.handle_count))
    }

    /// The id of the next lock.
    pub fn next_lock(&self) -> Option<LockId> {
        (usize::from(self.lock_count) < MAX_LOCKS).then_some(LockId(self.lock_count))
    }

    /// The id of the next device migration.
    pub fn next_migration(&self) -> Option<MigrationId> {
        let room = usize::from(self.migration_count) < MAX_MIGRATIONS;
        room.then_some(MigrationId(self.migration_count))
    }

    /// Takes note of a step of a valid program: what it uses, creates and consumes.
    pub fn apply(&mut self, cpu: u8, op: &Op) {
        self.active |= 1 << (usize::from(cpu) % MAX_CPUS);
        if let Some(mm) = op.mm() {
            self.own_mut(cpu).used.mms.insert(mm.0);
        }
        self.note::<true>(cpu, op);
    }

    /// As [`Arena::begin_phase`] and [`Arena::apply`], where no phase has a second step.
    pub(crate) fn apply_alone(&mut self, op: &Op) {
        self.note::<false>(0, op);
    }

    /// `SHARED`: the phase may have other steps.
    #[inline(always)]
    fn note<const SHARED: bool>(&mut self, cpu: u8, op: &Op) {
        match *op {
            Op::Mmap { mm, len, .. } => self.create_area::<SHARED>(cpu, mm, len),
            Op::Munmap { mm, range } => self.unmap(mm, range),
            Op::Mremap { mm, range, .. } => {
                self.unmap(mm, range);
                self.create_area::<SHARED>(cpu, mm, range.len);
            }
            Op::Fork { mm, child } => {
                self.mapped[usize::from(child.0)] = self.mapped[usize::from(mm.0)];
                self.mm_count += 1;
                self.mms.insert(child.0);
                self.created::<SHARED>(cpu, |created| &mut created.mms, child.0);
            }
            Op::Exit { mm } => self.mms = self.mms.without(mm.0),
            Op::Gup { handle, foll, range, .. } => {
                self.handle_lens[usize::from(handle.0)] = range.len;
                self.handle_count += 1;
                let set = if foll == Foll::Get { &mut self.gets } else { &mut self.pins };
                set.insert(handle.0);
                self.created::<SHARED>(cpu, |created| &mut created.handles, handle.0);
            }
            Op::Put { handle } => self.gets = self.gets.without(handle.0),
            Op::Unpin { handle, also, .. } => {
                self.pins = self.pins.without(handle.0);
                if let Some(also) = also {
                    self.pins = self.pins.without(also.0);
                }
            }
            Op::Peek { handle } if SHARED => self.own_mut(cpu).used.handles.insert(handle.0),
            Op::LockPage { lock, .. } => {
                self.lock_count += 1;
                self.locks.insert(lock.0);
                self.created::<SHARED>(cpu, |created| &mut created.locks, lock.0);
            }
            Op::UnlockPage { lock } => self.locks = self.locks.without(lock.0),
            Op::MigrateVmaSetup { migration, .. } | Op::MigrateDeviceRange { migration, .. } => {
                self.migration_count += 1;
                self.migrations.insert(migration.0);
                self.created::<SHARED>(cpu, |created| &mut created.migrations, migration.0);
            }
            Op::MigrateVmaPages { migration, .. } if SHARED => {
                self.own_mut(cpu).used.migrations.insert(migration.0);
            }
            Op::MigrateVmaFinalize { migration } => {
                self.migrations = self.migrations.without(migration.0);
            }
            _ => {}
        }
    }

    fn own(&self, cpu: u8) -> &Own {
        &self.own[usize::from(cpu) % MAX_CPUS]
    }

    fn own_mut(&mut self, cpu: u8) -> &mut Own {
        &mut self.own[usize::from(cpu) % MAX_CPUS]
    }

    /// Objects that other CPUs used in this phase.
    fn used_elsewhere(&self, cpu: u8, of_kind: fn(&Objects) -> Set) -> Set {
        let mut others = self.active & !(1 << (usize::from(cpu) % MAX_CPUS));
        let mut used = Set::default();
        while others != 0 {
            used = used | of_kind(&self.own[others.trailing_zeros() as usize].used);
            others &= others - 1;
        }
        used
    }

    fn created<const SHARED: bool>(&mut self, cpu: u8, set: fn(&mut Objects) -> &mut Set, id: u8) {
        if SHARED {
            set(&mut self.own_mut(cpu).created).insert(id);
            set(&mut self.created).insert(id);
        }
    }

    fn create_area<const SHARED: bool>(&mut self, cpu: u8, mm: MmId, len: u16) {
        let area = self.area_count;
        self.lens[usize::from(area)] = len;
        self.area_count += 1;
        self.mapped[usize::from(mm.0)].insert(area);
        self.created::<SHARED>(cpu, |created| &mut created.areas, area);
    }

    fn unmap(&mut self, mm: MmId, range: Range) {
        if range.off == 0 && range.len == self.area_len(range.area) {
            let mapped = &mut self.mapped[usize::from(mm.0)];
            *mapped = mapped.without(range.area.0);
        }
    }
}
