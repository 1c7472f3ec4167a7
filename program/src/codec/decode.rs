//! Bytes to program.

use super::hints::{Hints, Now};
use super::op::{Focus, Meaning};
use super::record::Record;
use super::{HEADER_BYTES, MAX_STEPS, RECORD_BYTES, SCHEDULE_KIND, SLICES_A_RECORD, shape};
use crate::arena::Arena;
use crate::kind::Kind;
use crate::op::{Op, Step};
use crate::program::{Phase, Program};
use crate::schedule::{MAX_TASK, Schedule, Slice};
use crate::shape::{Place, Shape};

const _: () = assert!(Kind::TOTAL_WEIGHT <= SCHEDULE_KIND as usize);

/// At least the greatest weight.
const MAX_WEIGHT: usize = 32;
const _: () = {
    assert!(Kind::TOTAL_WEIGHT + MAX_WEIGHT <= 256);
    let mut kind = 0;
    while kind < Kind::ALL.len() {
        assert!(Kind::WEIGHTS[kind] as usize <= MAX_WEIGHT);
        kind += 1;
    }
};

const ALL_KINDS: u64 = (1 << Kind::ALL.len()) - 1;

/// Decodes byte forms, keeping its buffers from one to the next.
#[derive(Clone, Debug)]
pub struct Decoder {
    arena: Arena,
    hints: Hints,
    /// The kind of each kind byte, and the mask that it is of.
    table: [Kind; 256],
    table_mask: u64,
    spare: Vec<Phase>,
}

impl Default for Decoder {
    fn default() -> Self {
        let mut decoder = Decoder {
            arena: Arena::default(),
            hints: Hints::default(),
            table: [Kind::Nop; 256],
            table_mask: 0,
            spare: Vec::new(),
        };
        decoder.set_mask(ALL_KINDS, 0);
        decoder
    }
}

impl Decoder {
    /// Reads bytes as version 2 did.
    pub(super) fn of_version_2() -> Decoder {
        let mut decoder = Decoder::default();
        decoder.arena.see_own_areas(true);
        decoder
    }

    /// Makes `program` the one that `bytes` mean. Total: any bytes mean a valid program.
    pub fn decode(&mut self, bytes: &[u8], program: &mut Program) {
        let (header, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES));
        let header: [u8; HEADER_BYTES] = padded(header);
        let mut records = rest.chunks(RECORD_BYTES).map(padded);

        let [_, _, _, cpus, ptes, batch, policy, pages, mask @ ..] = header;
        let (concurrent, explicit_pages) =
            shape::decode([cpus, ptes, batch, policy, pages], &mut program.shape);
        if explicit_pages {
            shape::decode_pages(&records.next().unwrap_or_default(), &mut program.shape);
        }
        let absent = if program.shape.has_device() { 0 } else { Kind::DEVICE };
        self.set_mask(u64::from_le_bytes(mask), absent);
        self.arena.reset();
        self.hints.reset();
        program.schedule.slices.clear();
        program.schedule.cycle.clear();
        program.expects.clear();

        let (mut phases, mut steps, mut focus) = (0, 0, Focus::Nowhere);
        for record in records {
            if concurrent && record[0] >= SCHEDULE_KIND {
                decode_slices(&record, program.shape.cpus, &mut program.schedule);
                continue;
            }
            if steps == MAX_STEPS {
                continue;
            }
            if !(concurrent && phases > 0 && record[1] & 0x80 != 0) {
                if concurrent {
                    self.arena.begin_phase();
                }
                if phases == program.phases.len() {
                    program.phases.push(self.spare.pop().unwrap_or_default());
                }
                program.phases[phases].steps.clear();
                phases += 1;
                focus = if concurrent { Focus::Populated } else { Focus::Nowhere };
            }
            let list = &mut program.phases[phases - 1].steps;
            list.push(Step { cpu: 0, op: Op::Nop, place: Place::Normal, fail: None });
            let Some(step) = list.last_mut() else { continue };
            self.step(&record, &program.shape, &mut focus, step);
            if concurrent {
                self.arena.apply(step.cpu, &step.op);
            } else {
                self.arena.apply_alone(&step.op);
            }
            steps += 1;
        }
        self.spare.extend(program.phases.drain(phases..));
    }

    /// Of the kinds of the mask, or of all, those that are not `absent`.
    fn set_mask(&mut self, mask: u64, absent: u64) {
        let present = ALL_KINDS & !absent;
        let mask = match mask & present {
            0 => present,
            some => some,
        };
        if mask == self.table_mask {
            return;
        }
        self.table_mask = mask;
        let (mut left, mut end) = (mask, 0);
        while left != 0 {
            let kind = Kind::ALL[left.trailing_zeros() as usize];
            // Always the same number, which needs no loop: the next kind takes back what is too many.
            self.table[end..end + MAX_WEIGHT].copy_from_slice(&[kind; MAX_WEIGHT]);
            end += usize::from(kind.weight());
            left &= left - 1;
        }
        // Over and over, to the end.
        while end < 256 {
            let more = end.min(256 - end);
            self.table.copy_within(..more, end);
            end += more;
        }
    }

    fn step(
        &mut self,
        bytes: &[u8; RECORD_BYTES],
        shape: &Shape,
        focus: &mut Focus,
        step: &mut Step,
    ) {
        let record = Record::new(bytes);
        let cpu = record.cpu(shape.cpus);
        step.cpu = cpu;
        let mut kind = self.table[usize::from(record.kind())];
        let mut about = Focus::Nowhere;
        if record.meets() && !matches!(focus, Focus::Nowhere) {
            about = *focus;
            let first = matches!(focus, Focus::Populated);
            let suits = |kind: &Kind| kind.uses_pages() && (kind.has_range() || !first);
            let kinds = record.kinds().map(|byte| self.table[usize::from(byte)]);
            kind = kinds.into_iter().find(suits).unwrap_or(kind);
        }
        let (arena, hints) = (&self.arena, &self.hints);
        let meaning = Meaning { record, arena, hints, shape, cpu, focus: about };
        let Some(target) = meaning.write(kind, &mut step.op) else {
            step.place = record.place(Kind::Nop);
            step.fail = record.fail(Kind::Nop);
            return;
        };
        if matches!(focus, Focus::Populated) && target.kind.has_range() {
            *focus = Focus::At(target.mm, target.range);
        }
        let fail = record.fail(target.kind);
        (step.place, step.fail) = (record.place(target.kind), fail);
        let now = Now::new(&step.op, cpu, fail, &self.arena, shape);
        self.hints.apply(target, now);
    }
}

/// The last one may be short; a whole one is copied with its length known.
fn padded<const BYTES: usize>(chunk: &[u8]) -> [u8; BYTES] {
    chunk.first_chunk().copied().unwrap_or_else(|| {
        let mut whole = [0; BYTES];
        whole[..chunk.len()].copy_from_slice(chunk);
        whole
    })
}

fn decode_slices(record: &[u8; RECORD_BYTES], cpus: u8, schedule: &mut Schedule) {
    let (count, exact) = (usize::from(record[1] & 7) % SLICES_A_RECORD + 1, record[1] >> 4 == 15);
    let list = if record[1] & 8 != 0 { &mut schedule.cycle } else { &mut schedule.slices };
    list.extend(record[2..].chunks_exact(2).take(count).map(|pair| Slice {
        cpu: pair[0] % cpus,
        run: if exact { pair[1].max(1) } else { 1 + pair[1] % 12 },
        task: if exact { (pair[0] / cpus).min(MAX_TASK) } else { 0 },
    }));
}

/// The byte that [`Decoder`] takes for this kind under a full mask, on a machine with or
/// without device memory.
pub(super) fn kind_byte(kind: Kind, has_device: bool) -> u8 {
    let present = if has_device { ALL_KINDS } else { ALL_KINDS & !Kind::DEVICE };
    let before = Kind::ALL[..kind as usize].iter().filter(|kind| present & kind.bit() != 0);
    before.map(|kind| kind.weight()).sum()
}
