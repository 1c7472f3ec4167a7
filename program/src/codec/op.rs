//! Which operation a record means.

use super::aim::Goal;
use super::hints::Hints;
use super::record::Record;
use crate::arena::Arena;
use crate::kind::Kind;
use crate::op::{
    Advice, AreaId, Backing, Device, Direction, Entry, FILES, Foll, Form, HandleId, LockId,
    MigrationId, MmId, Mode, Op, Prot, Range, Report, Request, Select, TaskId, Uffdio,
};
use crate::shape::{Place, Shape};
use crate::validate::{FIRST_TASK, MAX_AREA_PAGES, TASKS};

/// Lengths of areas from most bytes: around one or two tables of 4 or 8 entries.
const LENS: [u16; 16] = [4, 4, 4, 8, 4, 8, 5, 4, 6, 7, 4, 4, 3, 2, 1, 8];

/// What an operation is and is about, apart from the operation so that it can stay in registers.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub kind: Kind,
    /// The one that the record names, if it is about none.
    pub mm: MmId,
    /// Of no meaning if it is about none.
    pub range: Range,
}

/// A record, and all that its meaning depends on.
#[derive(Clone, Copy)]
pub(super) struct Meaning<'a> {
    pub record: Record<'a>,
    pub arena: &'a Arena,
    pub hints: &'a Hints,
    pub shape: &'a Shape,
    pub cpu: u8,
    /// What the record is to be about.
    pub focus: Focus,
}

/// What the steps of a concurrent phase are about, so that they meet.
#[derive(Clone, Copy, Default)]
pub(super) enum Focus {
    /// Nothing: each goes where it likes.
    #[default]
    Nowhere,
    /// The first step, at pages that are there.
    Populated,
    /// What the first step is about.
    At(MmId, Range),
}

impl<'a> Meaning<'a> {
    /// Makes `op` the operation, or the one that makes what it lacks; none where a cap is reached.
    /// It is written where it will stay, because to copy what was just written in parts is slow.
    pub fn write(&self, kind: Kind, op: &mut Op) -> Option<Target> {
        let (kind, mm, range) = match self.goal(kind) {
            Some(Goal::At(kind, mm, range)) => (kind, mm, range),
            Some(Goal::Make(kind)) if !kind.has_range() => return self.elsewhere(kind, op),
            None if !kind.has_range() => return self.elsewhere(kind, op),
            _ => match self.literal(kind) {
                Some((mm, range)) => (kind, mm, range),
                None => return self.elsewhere(Kind::MmapAnon, op),
            },
        };
        self.at(kind, mm, range, op)?;
        Some(Target { kind, mm, range })
    }

    /// Where the record says that it is.
    fn literal(&self, kind: Kind) -> Option<(MmId, Range)> {
        let Meaning { record, arena, cpu, .. } = *self;
        let mm = MmId(arena.mms(cpu).pick(record.mm())?);
        let areas = if record.any_area() { arena.areas(cpu) } else { arena.mapped(cpu, mm) };
        let area = AreaId(areas.pick(record.area())?);
        Some((mm, record.range(area, arena.area_len(area), kind)))
    }

    /// An operation that has no range.
    fn elsewhere(&self, kind: Kind, op: &mut Op) -> Option<Target> {
        let Meaning { record, arena, cpu, .. } = *self;
        let flags = record.flags();
        let bit = |n: u8| flags & (1 << n) != 0;
        let mut mm = MmId(arena.mms(cpu).pick(record.mm())?);
        let or_make = |maker, op| self.write(maker, op);

        *op = match kind {
            Kind::LruAddDrain => Op::LruAddDrain,
            Kind::LruAddDrainAll => Op::LruAddDrainAll,
            Kind::Offline => Op::Offline { place: Place::SYSTEM[usize::from(flags % 3)] },
            Kind::MmapAnon | Kind::MmapShmem | Kind::MmapFilePrivate | Kind::MmapFileShared => {
                self.mmap(kind, mm)?
            }
            Kind::Fork => Op::Fork { mm, child: arena.next_mm()? },
            Kind::Exit => match arena.exitable(cpu).pick(record.mm()) {
                Some(id) => {
                    mm = MmId(id);
                    Op::Exit { mm }
                }
                None => return or_make(Kind::Fork, op),
            },
            Kind::Put => match arena.droppable(cpu, Foll::Get).pick(record.area()) {
                Some(handle) => Op::Put { handle: HandleId(handle) },
                None => return or_make(Kind::Get, op),
            },
            Kind::Unpin => {
                let pins = arena.droppable(cpu, Foll::Pin);
                let Some(handle) = pins.pick(record.area()) else { return or_make(Kind::Pin, op) };
                let also = if bit(3) { pins.without(handle).pick(record.mm()) } else { None };
                let form = if bit(1) { Form::Range } else { Form::Pages };
                Op::Unpin {
                    handle: HandleId(handle),
                    also: also.map(HandleId),
                    form,
                    dirty: bit(0),
                    hole: bit(2) && also.is_some() && form == Form::Pages,
                }
            }
            Kind::Peek => match arena.handles(cpu).pick(record.area()) {
                Some(handle) => Op::Peek { handle: HandleId(handle) },
                None => return or_make(Kind::Pin, op),
            },
            Kind::UnlockPage => match arena.locks(cpu).pick(record.area()) {
                Some(lock) => Op::UnlockPage { lock: LockId(lock) },
                None => return or_make(Kind::LockPage, op),
            },
            Kind::MigrateDeviceRange => {
                Op::MigrateDeviceRange { migration: arena.next_migration()?, device: self.device() }
            }
            Kind::MigrateVmaPages => match arena.migrations(cpu).pick(record.area()) {
                Some(migration) => {
                    let to = if bit(0) { Direction::ToSystem } else { Direction::ToDevice };
                    Op::MigrateVmaPages { migration: MigrationId(migration), to }
                }
                None => return or_make(Kind::MigrateVmaSetup, op),
            },
            Kind::MigrateVmaFinalize => match arena.finalizable(cpu).pick(record.area()) {
                Some(migration) => Op::MigrateVmaFinalize { migration: MigrationId(migration) },
                None => return or_make(Kind::MigrateVmaSetup, op),
            },
            Kind::DeviceEvict => Op::DeviceEvict { device: self.device(), remove: flags >= 0xF0 },
            _ => Op::Nop,
        };
        Some(Target { kind, mm, range: Range { area: AreaId(0), off: 0, len: 1 } })
    }

    /// An operation on a range.
    fn at(&self, kind: Kind, mm: MmId, range: Range, op: &mut Op) -> Option<()> {
        let Meaning { record, arena, .. } = *self;
        let flags = record.flags();
        let bit = |n: u8| flags & (1 << n) != 0;
        let form = if bit(1) { Form::Range } else { Form::Pages };
        let gup = |foll, entry, longterm| {
            let handle = arena.next_handle()?;
            Some(Op::Gup { mm, range, handle, entry, foll, write: bit(0), longterm, form })
        };
        let uffd = |uffdio| Op::Uffd { mm, range, uffdio };
        let madvise = |advice| Op::Madvise { mm, range, advice };
        let device = self.device();
        *op = match kind {
            Kind::Munmap => Op::Munmap { mm, range },
            Kind::Mprotect => Op::Mprotect { mm, range, prot: self.prot(mm, range) },
            Kind::Mremap => {
                let shift = record.mremap_shift() % self.shape.ptes;
                Op::Mremap { mm, range, area: arena.next_area()?, shift }
            }
            Kind::DontNeed => madvise(Advice::DontNeed),
            Kind::DontFork => madvise(Advice::DontFork),
            Kind::DoFork => madvise(Advice::DoFork),
            Kind::HugePage => madvise(Advice::HugePage),
            Kind::NoHugePage => madvise(Advice::NoHugePage),
            Kind::Collapse => madvise(Advice::Collapse),
            Kind::PopulateRead => madvise(Advice::PopulateRead),
            Kind::PopulateWrite => madvise(Advice::PopulateWrite),
            Kind::UffdRegister => uffd(Uffdio::Register),
            Kind::UffdRegisterSigbus => uffd(Uffdio::RegisterSigbus),
            Kind::UffdUnregister => uffd(Uffdio::Unregister),
            Kind::UffdCopy => uffd(Uffdio::Copy),
            Kind::UffdZeroPage => uffd(Uffdio::ZeroPage),
            Kind::UffdWake => uffd(Uffdio::Wake),
            Kind::Read => Op::Read { mm, range },
            Kind::Write => Op::Write { mm, range },
            Kind::Get => gup(Foll::Get, Entry::Slow, false)?,
            Kind::GetFast => gup(Foll::Get, Entry::Fast, false)?,
            Kind::GetFastOnly => gup(Foll::Get, Entry::FastOnly, false)?,
            Kind::Pin => gup(Foll::Pin, Entry::Slow, false)?,
            Kind::PinFast => gup(Foll::Pin, Entry::Fast, false)?,
            Kind::PinLongterm => gup(Foll::Pin, Entry::Slow, true)?,
            Kind::PinLongtermFast => gup(Foll::Pin, Entry::Fast, true)?,
            Kind::Walk => {
                let report = if bit(1) { Report::Pfns } else { Report::Count };
                Op::Walk { mm, range, write: bit(0), report }
            }
            Kind::SplitFolio => Op::SplitFolio { mm, range },
            Kind::Migrate => {
                let mode = if bit(0) { Mode::Sync } else { Mode::Async };
                Op::Migrate { mm, range, mode }
            }
            Kind::LockPage => {
                let task = TaskId(FIRST_TASK + flags % TASKS);
                Op::LockPage { mm, range, lock: arena.next_lock()?, task }
            }
            Kind::MigrateVmaSetup => {
                let migration = arena.next_migration()?;
                // Literal where bits 4..8 say so; else what moves something, mostly.
                let select = match flags >> 1 & 7 {
                    literal if flags & 0x20 != 0 => Select(literal),
                    0 => Select::of(device),
                    1 | 2 => Select(Select::of(device).0 | Select::SYSTEM.0),
                    _ => Select::SYSTEM,
                };
                let fault = flags & 0xF0 == 0xF0;
                Op::MigrateVmaSetup { mm, range, migration, device, select, fault }
            }
            Kind::ToDevice => Op::DeviceMigrate { mm, range, device, to: Direction::ToDevice },
            Kind::ToSystem => Op::DeviceMigrate { mm, range, device, to: Direction::ToSystem },
            Kind::DeviceRead => Op::DeviceRead { mm, range, device },
            Kind::DeviceWrite => Op::DeviceWrite { mm, range, device },
            Kind::HmmRangeFault => {
                let request = match flags >> 1 & 3 {
                    0 => Request::Nothing,
                    1 => Request::Fault,
                    _ => Request::Write,
                };
                Op::HmmRangeFault { mm, range, device, request, odd: bit(3) }
            }
            Kind::MakeDeviceExclusive => Op::MakeDeviceExclusive { mm, range, device },
            _ => return None,
        };
        Some(())
    }

    /// The device that the record names.
    fn device(&self) -> Device {
        if self.record.flags() & 1 != 0 { Device::Coherent } else { Device::Private }
    }

    fn mmap(&self, kind: Kind, mm: MmId) -> Option<Op> {
        let record = self.record;
        let area = self.arena.next_area()?;
        let file = u8::from(record.flags() & 4 != 0) % FILES;
        let (prot, len, shift, pgoff);
        if record.is_exact_mmap() {
            prot = [Prot::None, Prot::Read, Prot::ReadWrite][usize::from(record.flags() & 3) % 3];
            len = 1 + (record.len() & 0x0FFF) % MAX_AREA_PAGES;
            shift = record.off() & 0x1FF;
            pgoff = record.area();
        } else {
            prot = record.prot(2);
            len = LENS[usize::from(record.len() & 15)];
            shift = if record.off() & 7 == 7 { record.off() >> 3 } else { 0 };
            pgoff = if record.area() & 7 == 7 { record.area() >> 4 } else { record.area() & 3 };
        }
        let backing = match kind {
            Kind::MmapShmem => Backing::AnonShared,
            Kind::MmapFilePrivate => Backing::FilePrivate { file, pgoff },
            Kind::MmapFileShared => Backing::FileShared { file, pgoff },
            _ => Backing::AnonPrivate,
        };
        Some(Op::Mmap { mm, area, backing, prot, len, shift: shift % self.shape.ptes })
    }
}
