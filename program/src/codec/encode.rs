//! Program to bytes: literal records, and for each field a value that the decoder reads back as it.

use super::decode::kind_byte;
use super::{
    FAIL_FROM, HEADER_BYTES, MAGIC, RECORD_BYTES, SCHEDULE_KIND, SLICES_A_RECORD, VERSION, shape,
};
use crate::arena::Arena;
use crate::kind::Kind;
use crate::op::{Backing, Device, Direction, Foll, Form, Mode, Op, Prot, Report, Request, Step};
use crate::program::Program;
use crate::schedule::Slice;
use crate::shape::{Place, Shape};
use crate::validate::FIRST_TASK;

pub(super) fn encode(program: &Program) -> Vec<u8> {
    debug_assert_eq!(program.validate(), Ok(()));
    let schedule = &program.schedule;
    let concurrent = program.phases.iter().any(|phase| phase.steps.len() > 1)
        || !schedule.slices.is_empty()
        || !schedule.cycle.is_empty();

    let steps = program.steps().count();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + RECORD_BYTES * (steps + 1));
    let (header, pages) = shape::encode(&program.shape, concurrent);
    bytes.extend(MAGIC);
    bytes.push(VERSION);
    bytes.extend(header);
    bytes.extend(u64::MAX.to_le_bytes());
    bytes.extend(pages.into_iter().flatten());

    let mut arena = Arena::default();
    for phase in &program.phases {
        arena.begin_phase();
        for (position, step) in phase.steps.iter().enumerate() {
            let mut record = record(step, &arena, &program.shape);
            record[1] |= if position > 0 { 0x80 } else { 0 };
            bytes.extend(record);
            arena.apply(step.cpu, &step.op);
        }
    }
    encode_slices(&schedule.slices, program.shape.cpus, false, &mut bytes);
    encode_slices(&schedule.cycle, program.shape.cpus, true, &mut bytes);
    bytes
}

fn record(step: &Step, arena: &Arena, shape: &Shape) -> [u8; RECORD_BYTES] {
    let Step { cpu, op, place, fail } = *step;
    let kind = Kind::of(&op);
    let mut mm = op.mm().map_or(0, |mm| arena.mms(cpu).rank(mm.0));
    let (mut area, mut off, mut len, mut flags) = (0, 0, 0, 0u8);
    let mut place = if place == Place::Normal { 0 } else { 0xE0 | place as u8 };
    if let (Some(range), Some(id)) = (op.range(), op.mm()) {
        let mapped = arena.mapped(cpu, id);
        area = if mapped.contains(range.area.0) {
            mapped.rank(range.area.0)
        } else {
            place = 0xF0 | step.place as u8;
            arena.areas(cpu).rank(range.area.0)
        };
        (off, len) = (range.off, range.len - 1);
    }
    match op {
        Op::Mmap { backing, prot, len: pages, shift, .. } => {
            let (file, pgoff) = match backing {
                Backing::FilePrivate { file, pgoff } | Backing::FileShared { file, pgoff } => {
                    (file, pgoff)
                }
                _ => (0, 0),
            };
            area = pgoff;
            off = 0xFE00 | shift;
            len = 0xF000 | (pages - 1);
            flags = 0xF8 | file << 2 | prot_bits(prot);
        }
        Op::Mprotect { prot, .. } => flags = prot_bits(prot),
        Op::Mremap { shift, .. } => {
            off |= 0x3000;
            len |= 0x1000 | (shift >> 8) << 13;
            flags = shift as u8;
        }
        Op::Exit { mm: id } => mm = arena.exitable(cpu).rank(id.0),
        Op::Gup { write, form, .. } => {
            flags = u8::from(write) | u8::from(form == Form::Range) << 1;
        }
        Op::Walk { write, report, .. } => {
            flags = u8::from(write) | u8::from(report == Report::Pfns) << 1;
        }
        Op::Put { handle } => area = arena.droppable(cpu, Foll::Get).rank(handle.0),
        Op::Unpin { handle, also, form, dirty, hole } => {
            let pins = arena.droppable(cpu, Foll::Pin);
            area = pins.rank(handle.0);
            mm = also.map_or(0, |also| pins.without(handle.0).rank(also.0));
            flags = u8::from(dirty)
                | u8::from(form == Form::Range) << 1
                | u8::from(hole) << 2
                | u8::from(also.is_some()) << 3;
        }
        Op::Peek { handle } => area = arena.handles(cpu).rank(handle.0),
        Op::Migrate { mode, .. } => flags = u8::from(mode == Mode::Sync),
        Op::Offline { place } => flags = [0, 1, 2][place as usize],
        Op::LockPage { task, .. } => flags = task.0 - FIRST_TASK,
        Op::UnlockPage { lock } => area = arena.locks(cpu).rank(lock.0),
        Op::MigrateVmaSetup { device, select, fault, .. } => {
            flags = device_bit(device) | select.0 << 1 | if fault { 0xF0 } else { 0x20 };
        }
        Op::MigrateDeviceRange { device, .. } => flags = device_bit(device),
        Op::MigrateVmaPages { migration, to } => {
            area = arena.migrations(cpu).rank(migration.0);
            flags = u8::from(to == Direction::ToSystem);
        }
        Op::MigrateVmaFinalize { migration } => {
            area = arena.finalizable(cpu).rank(migration.0);
        }
        Op::DeviceMigrate { device, .. }
        | Op::DeviceRead { device, .. }
        | Op::DeviceWrite { device, .. }
        | Op::MakeDeviceExclusive { device, .. } => flags = device_bit(device),
        Op::DeviceEvict { device, remove } => {
            flags = device_bit(device) | if remove { 0xF0 } else { 0 };
        }
        Op::HmmRangeFault { device, request, odd, .. } => {
            let request = match request {
                Request::Nothing => 0,
                Request::Fault => 1,
                Request::Write => 2,
            };
            flags = device_bit(device) | request << 1 | u8::from(odd) << 3;
        }
        _ => {}
    }
    let (fail, nth) = fail.map_or((0, 0), |fail| (FAIL_FROM + fail.site as u8, fail.nth));
    let ([off0, off1], [len0, len1]) = (off.to_le_bytes(), len.to_le_bytes());
    [
        kind_byte(kind, shape.has_device()),
        cpu,
        mm,
        area,
        off0,
        off1,
        len0,
        len1,
        flags,
        place,
        fail,
        nth,
    ]
}

fn device_bit(device: Device) -> u8 {
    u8::from(device == Device::Coherent)
}

fn prot_bits(prot: Prot) -> u8 {
    prot as u8
}

fn encode_slices(slices: &[Slice], cpus: u8, cycle: bool, bytes: &mut Vec<u8>) {
    for chunk in slices.chunks(SLICES_A_RECORD) {
        let mut record = [0; RECORD_BYTES];
        record[0] = SCHEDULE_KIND;
        record[1] = 0xF0 | u8::from(cycle) << 3 | (chunk.len() - 1) as u8;
        for (pair, slice) in record[2..].chunks_exact_mut(2).zip(chunk) {
            pair.copy_from_slice(&[slice.cpu + slice.task * cpus, slice.run]);
        }
        bytes.extend(record);
    }
}
