//! Bytes to program.

use super::{
    FAIL_FROM, HEADER_BYTES, MAX_STEPS, RECORD_BYTES, SCHEDULE_KIND, SLICES_A_RECORD, shape,
};
use crate::arena::Arena;
use crate::kind::Kind;
use crate::op::{
    Advice, AreaId, Backing, Entry, FILES, Fail, Foll, Form, HandleId, LockId, MmId, Mode, Op,
    Prot, Range, Site, Step, TaskId,
};
use crate::program::{Phase, Program};
use crate::schedule::{Schedule, Slice};
use crate::shape::{Place, Shape};
use crate::validate::{FIRST_TASK, MAX_AREA_PAGES, TASKS};

/// Every kind, as often as its weight says. Kind bytes index it.
const FULL_TABLE: [Kind; Kind::TOTAL_WEIGHT] = {
    let mut table = [Kind::Nop; Kind::TOTAL_WEIGHT];
    let (mut kind, mut at) = (0, 0);
    while kind < Kind::ALL.len() {
        let mut left = Kind::WEIGHTS[kind];
        while left > 0 {
            table[at] = Kind::ALL[kind];
            at += 1;
            left -= 1;
        }
        kind += 1;
    }
    table
};
const _: () = assert!(Kind::TOTAL_WEIGHT <= SCHEDULE_KIND as usize);

const ALL_KINDS: u64 = (1 << Kind::ALL.len()) - 1;

/// Lengths of areas from most bytes: around one or two tables of 4 or 8 entries.
const LENS: [u16; 16] = [4, 4, 4, 8, 8, 8, 5, 6, 6, 7, 8, 4, 3, 2, 1, 8];

/// Decodes byte forms, keeping its buffers from one to the next.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    arena: Arena,
    table: Vec<Kind>,
    table_mask: u64,
    spare: Vec<Phase>,
}

/// One record of a step.
struct Record {
    kind: u8,
    mm: u8,
    area: u8,
    off: u16,
    len: u16,
    flags: u8,
    place: u8,
    fail: u8,
    nth: u8,
}

impl Decoder {
    /// Makes `program` the one that `bytes` mean. Total: any bytes mean a valid program.
    pub fn decode(&mut self, bytes: &[u8], program: &mut Program) {
        let mut header = [0; HEADER_BYTES];
        let have = bytes.len().min(HEADER_BYTES);
        header[..have].copy_from_slice(&bytes[..have]);
        let mut records = bytes[have..].chunks(RECORD_BYTES).map(padded);

        let [_, _, _, cpus, ptes, batch, policy, pages, mask @ ..] = header;
        let (concurrent, explicit_pages) =
            shape::decode([cpus, ptes, batch, policy, pages], &mut program.shape);
        if explicit_pages {
            shape::decode_pages(&records.next().unwrap_or_default(), &mut program.shape);
        }
        self.set_mask(u64::from_le_bytes(mask));
        self.arena.reset();
        program.schedule.slices.clear();
        program.schedule.cycle.clear();
        program.expects.clear();

        let (mut phases, mut steps) = (0, 0);
        for record in records {
            if concurrent && record[0] >= SCHEDULE_KIND {
                decode_slices(&record, program.shape.cpus, &mut program.schedule);
                continue;
            }
            if steps == MAX_STEPS {
                continue;
            }
            if !(concurrent && phases > 0 && record[1] & 0x80 != 0) {
                self.arena.begin_phase();
                if phases == program.phases.len() {
                    program.phases.push(self.spare.pop().unwrap_or_default());
                }
                program.phases[phases].steps.clear();
                phases += 1;
            }
            let step = self.step(&record, &program.shape);
            self.arena.apply(step.cpu, &step.op);
            program.phases[phases - 1].steps.push(step);
            steps += 1;
        }
        self.spare.extend(program.phases.drain(phases..));
    }

    fn set_mask(&mut self, mask: u64) {
        let mask = match mask & ALL_KINDS {
            0 => ALL_KINDS,
            some => some,
        };
        if mask == self.table_mask {
            return;
        }
        self.table_mask = mask;
        self.table.clear();
        let mut left = mask;
        while left != 0 {
            let kind = Kind::ALL[left.trailing_zeros() as usize];
            self.table.extend(std::iter::repeat_n(kind, usize::from(kind.weight())));
            left &= left - 1;
        }
    }

    fn step(&self, bytes: &[u8; RECORD_BYTES], shape: &Shape) -> Step {
        let [kind, cpu, mm, area, off0, off1, len0, len1, flags, place, fail, nth] = *bytes;
        let off = u16::from_le_bytes([off0, off1]);
        let len = u16::from_le_bytes([len0, len1]);
        let record = Record { kind, mm, area, off, len, flags, place, fail, nth };
        let cpu = (cpu & 7) % shape.cpus;
        let kind = self.table[usize::from(record.kind) % self.table.len()];
        let op = self.op(&record, shape, cpu, kind).unwrap_or(Op::Nop);
        let kind = Kind::of(&op);
        Step { cpu, op, place: record.place(kind), fail: record.fail(kind) }
    }

    /// The operation, or the one that makes what it lacks; none where a cap is reached.
    fn op(&self, record: &Record, shape: &Shape, cpu: u8, kind: Kind) -> Option<Op> {
        let arena = &self.arena;
        let flags = record.flags;
        let bit = |n: u8| flags & (1 << n) != 0;
        let mm = MmId(arena.mms(cpu).pick(record.mm)?);
        let or_make = |maker| self.op(record, shape, cpu, maker);

        // What needs no area.
        match kind {
            Kind::Nop => return Some(Op::Nop),
            Kind::LruAddDrain => return Some(Op::LruAddDrain),
            Kind::LruAddDrainAll => return Some(Op::LruAddDrainAll),
            Kind::Offline => {
                let index = if flags == 0 { 0 } else { 2 - usize::from(flags % 2) };
                return Some(Op::Offline { place: Place::ALL[index] });
            }
            Kind::MmapAnon | Kind::MmapShmem | Kind::MmapFilePrivate | Kind::MmapFileShared => {
                return self.mmap(record, shape, kind, mm);
            }
            Kind::Fork => return Some(Op::Fork { mm, child: arena.next_mm()? }),
            Kind::Exit => {
                return match arena.exitable(cpu).pick(record.mm) {
                    Some(mm) => Some(Op::Exit { mm: MmId(mm) }),
                    None => or_make(Kind::Fork),
                };
            }
            Kind::Put => {
                return match arena.droppable(cpu, Foll::Get).pick(record.area) {
                    Some(handle) => Some(Op::Put { handle: HandleId(handle) }),
                    None => or_make(Kind::Get),
                };
            }
            Kind::Unpin => {
                let pins = arena.droppable(cpu, Foll::Pin);
                let Some(handle) = pins.pick(record.area) else { return or_make(Kind::Pin) };
                let also = if bit(3) { pins.without(handle).pick(record.mm) } else { None };
                let form = if bit(1) { Form::Range } else { Form::Pages };
                return Some(Op::Unpin {
                    handle: HandleId(handle),
                    also: also.map(HandleId),
                    form,
                    dirty: bit(0),
                    hole: bit(2) && also.is_some() && form == Form::Pages,
                });
            }
            Kind::Peek => {
                return match arena.handles(cpu).pick(record.area) {
                    Some(handle) => Some(Op::Peek { handle: HandleId(handle) }),
                    None => or_make(Kind::Pin),
                };
            }
            Kind::UnlockPage => {
                return match arena.locks(cpu).pick(record.area) {
                    Some(lock) => Some(Op::UnlockPage { lock: LockId(lock) }),
                    None => or_make(Kind::LockPage),
                };
            }
            _ => {}
        }

        let areas = if record.any_area() { arena.areas(cpu) } else { arena.mapped(cpu, mm) };
        let Some(area) = areas.pick(record.area) else { return or_make(Kind::MmapAnon) };
        let range = record.range(AreaId(area), arena.area_len(AreaId(area)), kind);
        let gup = |foll, entry| {
            let handle = arena.next_handle()?;
            Some(Op::Gup { mm, range, handle, entry, foll, write: bit(0) })
        };
        let madvise = |advice| Some(Op::Madvise { mm, range, advice });
        match kind {
            Kind::Munmap => Some(Op::Munmap { mm, range }),
            Kind::Mprotect => Some(Op::Mprotect { mm, range, prot: record.prot(1) }),
            Kind::Mremap => {
                let shift = record.mremap_shift() % shape.ptes;
                Some(Op::Mremap { mm, range, area: arena.next_area()?, shift })
            }
            Kind::DontNeed => madvise(Advice::DontNeed),
            Kind::DontFork => madvise(Advice::DontFork),
            Kind::DoFork => madvise(Advice::DoFork),
            Kind::HugePage => madvise(Advice::HugePage),
            Kind::NoHugePage => madvise(Advice::NoHugePage),
            Kind::Collapse => madvise(Advice::Collapse),
            Kind::PopulateRead => madvise(Advice::PopulateRead),
            Kind::PopulateWrite => madvise(Advice::PopulateWrite),
            Kind::Read => Some(Op::Read { mm, range }),
            Kind::Write => Some(Op::Write { mm, range }),
            Kind::Get => gup(Foll::Get, Entry::Slow),
            Kind::GetFast => gup(Foll::Get, Entry::Fast),
            Kind::GetFastOnly => gup(Foll::Get, Entry::FastOnly),
            Kind::Pin => gup(Foll::Pin, Entry::Slow),
            Kind::PinFast => gup(Foll::Pin, Entry::Fast),
            Kind::SplitFolio => Some(Op::SplitFolio { mm, range }),
            Kind::Migrate => {
                let mode = if bit(0) { Mode::Sync } else { Mode::Async };
                Some(Op::Migrate { mm, range, mode })
            }
            Kind::LockPage => {
                let task = TaskId(FIRST_TASK + flags % TASKS);
                Some(Op::LockPage { mm, range, lock: arena.next_lock()?, task })
            }
            _ => None,
        }
    }

    fn mmap(&self, record: &Record, shape: &Shape, kind: Kind, mm: MmId) -> Option<Op> {
        let area = self.arena.next_area()?;
        let file = u8::from(record.flags & 4 != 0) % FILES;
        let (prot, len, shift, pgoff);
        if record.is_exact_mmap() {
            prot = [Prot::None, Prot::Read, Prot::ReadWrite][usize::from(record.flags & 3) % 3];
            len = 1 + (record.len & 0x0FFF) % MAX_AREA_PAGES;
            shift = record.off & 0x1FF;
            pgoff = record.area;
        } else {
            prot = record.prot(4);
            len = LENS[usize::from(record.len & 15)];
            shift = if record.off & 7 == 7 { record.off >> 3 } else { 0 };
            pgoff = if record.area & 7 == 7 { record.area >> 4 } else { record.area & 3 };
        }
        let backing = match kind {
            Kind::MmapShmem => Backing::AnonShared,
            Kind::MmapFilePrivate => Backing::FilePrivate { file, pgoff },
            Kind::MmapFileShared => Backing::FileShared { file, pgoff },
            _ => Backing::AnonPrivate,
        };
        Some(Op::Mmap { mm, area, backing, prot, len, shift: shift % shape.ptes })
    }
}

impl Record {
    /// Aims at any area that exists, mapped or not.
    fn any_area(&self) -> bool {
        self.place >= 0xF0
    }

    /// 16 bits all set: length, shift, file page and protection are taken literally.
    fn is_exact_mmap(&self) -> bool {
        self.flags >= 0xF8 && self.len >= 0xF000 && self.off >= 0xFE00
    }

    /// Literally below 3; else `r` for the low `read` values in 16, and `rw` for the others.
    fn prot(&self, read: u8) -> Prot {
        match self.flags & 15 {
            0 => Prot::None,
            1 => Prot::Read,
            2 => Prot::ReadWrite,
            other if other < 3 + read => Prot::Read,
            _ => Prot::ReadWrite,
        }
    }

    fn range(&self, area: AreaId, area_len: u16, kind: Kind) -> Range {
        let off = if self.off >= 0xC000 { 0 } else { (self.off & 0x0FFF) % area_len };
        let rest = area_len - off;
        // These look at the first page only.
        let single = matches!(kind, Kind::SplitFolio | Kind::Migrate | Kind::LockPage);
        let len = match self.len {
            0x1000.. if single => 1,
            0xC000.. => rest,
            other => 1 + (other & 0x0FFF) % rest,
        };
        Range { area, off, len }
    }

    /// Literal when 3 spare bits are all set; else mostly 0.
    fn mremap_shift(&self) -> u16 {
        let high = self.off >> 12 & 3 | (self.len >> 12 & 3) << 2;
        match high & 7 {
            7 => u16::from(self.flags) | high >> 3 << 8,
            _ if self.flags & 3 == 3 => u16::from(self.flags >> 2),
            _ => 0,
        }
    }

    fn place(&self, kind: Kind) -> Place {
        match (self.place >> 4, self.place & 15) {
            (14.., exact) => Place::ALL[usize::from(exact) % 3],
            (_, 12 | 13) if kind.allocates() => Place::Movable,
            (_, 14 | 15) if kind.allocates() => Place::Cma,
            _ => Place::Normal,
        }
    }

    fn fail(&self, kind: Kind) -> Option<Fail> {
        if self.fail < FAIL_FROM || kind == Kind::Offline {
            return None;
        }
        let choice = usize::from(self.fail - FAIL_FROM);
        if let Some(&site) = Site::ALL.get(choice) {
            return Some(Fail { site, nth: self.nth.max(1) });
        }
        let sites = kind.sites();
        if sites.is_empty() {
            return None;
        }
        let nth = if self.nth < 160 { 1 } else { 1 + self.nth % 4 };
        Some(Fail { site: sites[choice % sites.len()], nth })
    }
}

/// The last record may be short; a whole one is copied with its length known.
fn padded(chunk: &[u8]) -> [u8; RECORD_BYTES] {
    chunk.first_chunk().copied().unwrap_or_else(|| {
        let mut record = [0; RECORD_BYTES];
        record[..chunk.len()].copy_from_slice(chunk);
        record
    })
}

fn decode_slices(record: &[u8; RECORD_BYTES], cpus: u8, schedule: &mut Schedule) {
    let (count, exact) = (usize::from(record[1] & 7) % SLICES_A_RECORD + 1, record[1] >> 4 == 15);
    let list = if record[1] & 8 != 0 { &mut schedule.cycle } else { &mut schedule.slices };
    list.extend(record[2..].chunks_exact(2).take(count).map(|pair| Slice {
        cpu: pair[0] % cpus,
        run: if exact { pair[1].max(1) } else { 1 + pair[1] % 12 },
    }));
}

/// The byte that [`Decoder`] takes for this kind under a full mask.
pub(super) fn kind_byte(kind: Kind) -> u8 {
    FULL_TABLE.iter().position(|&entry| entry == kind).unwrap_or(0) as u8
}
