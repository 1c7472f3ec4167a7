//! Arguments to operations.

use crate::op::{
    AreaId, Backing, Device, Direction, Entry, Foll, Form, HandleId, LockId, MigrationId, MmId,
    Mode, Op, Prot, Range, Report, Request, Select, TaskId,
};
use crate::shape::Place;
use crate::text::args::Args;
use crate::text::error::Mistake;
use crate::text::names::number;
use crate::text::parser::Parser;
use crate::text::verbs::Verb;
use crate::text::words::{ADVICE, DEVICES, DIRECTIONS, PLACES, PROTS, SELECTS, UFFDIOS};

impl Parser {
    /// The operation; none if a mistake was reported, here or where a name was defined. Where the
    /// caps are reached, what it creates has an id that the validator refuses.
    pub fn op(&mut self, args: &Args<'_>) -> Option<Op> {
        let mm = match args.mm {
            Some(mm) => MmId(mm.id?),
            None => MmId(0),
        };
        let area = self.arena.next_area().unwrap_or(AreaId(u8::MAX));
        Some(match args.spec.verb {
            Verb::Nop => Op::Nop,
            Verb::Mmap => {
                let backing = match (args.has("shared"), args.file) {
                    (false, None) => Backing::AnonPrivate,
                    (true, None) => Backing::AnonShared,
                    (false, Some((file, pgoff))) => Backing::FilePrivate { file, pgoff },
                    (true, Some((file, pgoff))) => Backing::FileShared { file, pgoff },
                };
                let len = self.number_of(args, "len", 1)?;
                let shift = self.number_of(args, "shift", 0)?;
                Op::Mmap { mm, area, backing, prot: prot(args), len, shift }
            }
            Verb::Munmap => Op::Munmap { mm, range: self.range(args)? },
            Verb::Mprotect => Op::Mprotect { mm, range: self.range(args)?, prot: prot(args) },
            Verb::Mremap => {
                let shift = self.number_of(args, "shift", 0)?;
                Op::Mremap { mm, range: self.range(args)?, area, shift }
            }
            Verb::Madvise => {
                Op::Madvise { mm, range: self.range(args)?, advice: args.choice(ADVICE)? }
            }
            Verb::Uffd => Op::Uffd { mm, range: self.range(args)?, uffdio: args.choice(UFFDIOS)? },
            Verb::Read => Op::Read { mm, range: self.range(args)? },
            Verb::Write => Op::Write { mm, range: self.range(args)? },
            Verb::Fork => Op::Fork { mm, child: self.arena.next_mm().unwrap_or(MmId(u8::MAX)) },
            Verb::Exit => Op::Exit { mm },
            Verb::Get | Verb::Pin => Op::Gup {
                mm,
                range: self.range(args)?,
                handle: self.arena.next_handle().unwrap_or(HandleId(u8::MAX)),
                entry: match (args.has("fast"), args.has("fast_only")) {
                    (true, _) => Entry::Fast,
                    (_, true) => Entry::FastOnly,
                    _ => Entry::Slow,
                },
                foll: if args.spec.verb == Verb::Get { Foll::Get } else { Foll::Pin },
                write: args.has("write"),
                longterm: args.has("longterm"),
                form: if args.has("ranges") { Form::Range } else { Form::Pages },
            },
            Verb::Walk => Op::Walk {
                mm,
                range: self.range(args)?,
                write: args.has("write"),
                report: if args.has("pfns") { Report::Pfns } else { Report::Count },
            },
            Verb::Put => Op::Put { handle: handle(args, 0)? },
            Verb::Unpin => Op::Unpin {
                handle: handle(args, 0)?,
                also: match args.handles.len() {
                    2 => Some(handle(args, 1)?),
                    _ => None,
                },
                form: if args.has("range") { Form::Range } else { Form::Pages },
                dirty: args.has("dirty"),
                hole: args.has("hole"),
            },
            Verb::Peek => Op::Peek { handle: handle(args, 0)? },
            Verb::LruAddDrain => Op::LruAddDrain,
            Verb::LruAddDrainAll => Op::LruAddDrainAll,
            Verb::SplitFolio => Op::SplitFolio { mm, range: self.range(args)? },
            Verb::Migrate => {
                let mode = if args.has("sync") { Mode::Sync } else { Mode::Async };
                Op::Migrate { mm, range: self.range(args)?, mode }
            }
            Verb::Offline => Op::Offline { place: args.choice(PLACES).unwrap_or(Place::Normal) },
            Verb::LockPage => Op::LockPage {
                mm,
                range: self.range(args)?,
                lock: self.arena.next_lock().unwrap_or(LockId(u8::MAX)),
                task: self.task(args)?,
            },
            Verb::UnlockPage => Op::UnlockPage { lock: LockId(args.lock?.id?) },
            Verb::MigrateVmaSetup => {
                let set = |(word, flag): &(&str, Select)| if args.has(word) { flag.0 } else { 0 };
                Op::MigrateVmaSetup {
                    mm,
                    range: self.range(args)?,
                    migration: self.arena.next_migration().unwrap_or(MigrationId(u8::MAX)),
                    device: self.device(args)?,
                    select: Select(SELECTS.iter().map(set).sum()),
                    fault: args.has("fault"),
                }
            }
            Verb::MigrateDeviceRange => Op::MigrateDeviceRange {
                migration: self.arena.next_migration().unwrap_or(MigrationId(u8::MAX)),
                device: self.device(args)?,
            },
            Verb::MigrateVmaPages => {
                Op::MigrateVmaPages { migration: migration(args)?, to: args.choice(DIRECTIONS)? }
            }
            Verb::MigrateVmaFinalize => Op::MigrateVmaFinalize { migration: migration(args)? },
            Verb::MigrateToDevice | Verb::MigrateToSystem => {
                let back = args.spec.verb == Verb::MigrateToSystem;
                let to = if back { Direction::ToSystem } else { Direction::ToDevice };
                Op::DeviceMigrate { mm, range: self.range(args)?, device: self.device(args)?, to }
            }
            Verb::DeviceEvict => Op::DeviceEvict { device: self.device(args)?, remove: false },
            Verb::DeviceRemove => Op::DeviceEvict { device: self.device(args)?, remove: true },
            Verb::DeviceRead => {
                Op::DeviceRead { mm, range: self.range(args)?, device: self.device(args)? }
            }
            Verb::DeviceWrite => {
                Op::DeviceWrite { mm, range: self.range(args)?, device: self.device(args)? }
            }
            Verb::HmmRangeFault => {
                let request = match (args.has("fault"), args.has("write")) {
                    (_, true) => Request::Write,
                    (true, _) => Request::Fault,
                    _ => Request::Nothing,
                };
                let (range, device) = (self.range(args)?, self.device(args)?);
                Op::HmmRangeFault { mm, range, device, request, odd: args.has("odd") }
            }
            Verb::MakeDeviceExclusive => {
                Op::MakeDeviceExclusive { mm, range: self.range(args)?, device: self.device(args)? }
            }
        })
    }

    /// `device=`.
    fn device(&mut self, args: &Args<'_>) -> Option<Device> {
        match args.key("device") {
            Some(value) => self.word_of("device", value, DEVICES),
            None => Some(Device::Private),
        }
    }

    fn range(&mut self, args: &Args<'_>) -> Option<Range> {
        let len = self.number_of(args, "len", 1)?;
        let (area, off) = args.area?;
        Some(Range { area: AreaId(area.id?), off, len })
    }

    fn task(&mut self, args: &Args<'_>) -> Option<TaskId> {
        let value = args.key("task")?;
        let task = value.text.strip_prefix('t').and_then(number::<u8>);
        if task.is_none() {
            let mistake = Mistake::Value { key: "task".into(), text: value.text.into() };
            self.error(value.at, mistake, Some("tasks that lock pages are t8 to t15".into()));
        }
        task.map(TaskId)
    }
}

fn migration(args: &Args<'_>) -> Option<MigrationId> {
    Some(MigrationId(args.migration?.id?))
}

fn prot(args: &Args<'_>) -> Prot {
    args.choice(PROTS).unwrap_or(Prot::ReadWrite)
}

fn handle(args: &Args<'_>, index: usize) -> Option<HandleId> {
    Some(HandleId(args.handles.get(index)?.id?))
}
