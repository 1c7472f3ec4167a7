//! Small changes of programs, for engines that mutate what they found interesting.
//!
//! A byte deleted from the byte form aims every later argument elsewhere. So programs are changed
//! as programs: steps inserted, removed, repeated, changed, the schedule cut and spliced; only then
//! are they written as bytes again.

use crate::codec::{Decoder, HEADER_BYTES, MAX_STEPS, RECORD_BYTES, SLICES_A_RECORD};
use crate::edit;
use crate::family::Family;
use crate::generate::Campaign;
use crate::op::Step;
use crate::program::Program;
use crate::rng::SplitMix64;
use crate::schedule::{Schedule, Slice};

/// Steps of a program made from nothing.
const FRESH_STEPS: usize = 16;
/// Times that a change which comes to nothing is made again.
const TRIES: usize = 8;

/// Mutates byte forms, keeping its buffers from one to the next.
#[derive(Clone, Debug)]
pub struct Mutator {
    family: Family,
    decoder: Decoder,
    program: Program,
}

impl Mutator {
    /// One that aims at programs of a family.
    pub fn new(family: Family) -> Mutator {
        Mutator { family, decoder: Decoder::default(), program: Program::default() }
    }

    /// Replaces a byte form by that of a program a little different, of at most `max` bytes.
    /// The same seed makes the same of the same bytes.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>, max: usize, seed: u64) {
        let mut rng = SplitMix64::new(seed);
        let room = max.saturating_sub(HEADER_BYTES) / RECORD_BYTES;
        if bytes.len() < HEADER_BYTES + RECORD_BYTES || room < 2 || rng.below(64) == 0 {
            let steps = FRESH_STEPS.min(room).max(1);
            self.family.generate(steps, &mut rng, bytes);
            bytes.truncate(max.max(1));
            return;
        }
        self.decoder.decode(bytes, &mut self.program);
        let mut best = self.program.clone();
        // One change mostly, sometimes several.
        for _ in 0..1 + rng.next_u64().trailing_zeros().min(4) {
            for _ in 0..TRIES {
                if let Some(changed) = self.change(&best, &mut rng) {
                    best = changed;
                    break;
                }
            }
        }
        loop {
            *bytes = best.encode();
            if bytes.len() <= max {
                return self.family.steer(bytes);
            }
            let at = rng.below(best.steps().count() as u64) as usize;
            match edit::remove_step(&best, at).filter(|shorter| !shorter.phases.is_empty()) {
                Some(shorter) => best = shorter,
                None => return bytes.truncate(max.max(1)),
            }
        }
    }

    /// The header and first steps of one byte form, and the last steps of another.
    pub fn cross(&mut self, a: &[u8], b: &[u8], max: usize, seed: u64, out: &mut Vec<u8>) {
        let mut rng = SplitMix64::new(seed);
        let records = |bytes: &[u8]| bytes.len().saturating_sub(HEADER_BYTES) / RECORD_BYTES;
        let cut = |rng: &mut SplitMix64, bytes: &[u8]| {
            HEADER_BYTES + RECORD_BYTES * rng.below(records(bytes) as u64 + 1) as usize
        };
        let (head, tail) = (cut(&mut rng, a), cut(&mut rng, b));
        out.clear();
        out.extend(&a[..head.min(a.len())]);
        out.resize(out.len().max(HEADER_BYTES), 0);
        out.extend(b.get(tail..).unwrap_or_default());
        out.truncate(max.max(1));
        self.family.steer(out);
    }

    fn change(&mut self, program: &Program, rng: &mut SplitMix64) -> Option<Program> {
        let steps = program.steps().count();
        let any = |rng: &mut SplitMix64, count: usize| rng.below(count.max(1) as u64) as usize;
        let concurrent = program.phases.iter().any(|phase| phase.steps.len() > 1);
        match rng.below(16) {
            0..3 => edit::remove_step(program, any(rng, steps)).filter(|p| !p.phases.is_empty()),
            3..8 if steps < MAX_STEPS => self.insert(program, None, rng),
            8 if steps < MAX_STEPS => {
                let again = *program.steps().nth(any(rng, steps))?;
                self.insert(program, Some(again), rng)
            }
            9..13 => self.alter(program, any(rng, steps), rng),
            13 => swap(program, any(rng, program.phases.len())),
            14 if concurrent => {
                let mut changed = program.clone();
                reschedule(&mut changed.schedule, program.shape.cpus, rng);
                Some(changed)
            }
            _ => self.reshape(program, rng),
        }
    }

    /// One more step: a new one, or one that is there already, once more.
    fn insert(
        &mut self,
        program: &Program,
        again: Option<Step>,
        rng: &mut SplitMix64,
    ) -> Option<Program> {
        let phase = rng.below(program.phases.len() as u64 + 1) as usize;
        let concurrent = program.phases.iter().any(|phase| phase.steps.len() > 1);
        let inside = concurrent && phase < program.phases.len() && rng.below(2) == 0;
        if let Some(step) = again {
            // What creates something cannot do so twice under one number.
            let new = step.op.creates().is_none();
            return new.then(|| edit::insert_step(program, phase, inside, step)).flatten();
        }
        let mut record = [0; RECORD_BYTES];
        for chunk in record.chunks_mut(8) {
            let bytes = rng.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        let before = if inside { phase + 1 } else { phase };
        let step = self.step(program, before, inside, &mut record, rng)?;
        edit::insert_step(program, phase, inside, step)
    }

    /// The step that a record means after the first phases of a program.
    fn step(
        &mut self,
        program: &Program,
        phases: usize,
        inside: bool,
        record: &mut [u8; RECORD_BYTES],
        rng: &mut SplitMix64,
    ) -> Option<Step> {
        let mut prefix = Program { expects: Vec::new(), ..program.clone() };
        prefix.phases.truncate(phases);
        prefix.schedule = Schedule::default();
        let mut bytes = prefix.encode();
        // The schedule alone makes a program without such phases concurrent.
        if inside {
            bytes[3] |= 0xC0;
        }
        self.family.focus(&mut bytes, inside, rng);
        record[0] %= 0xC0;
        record[1] = record[1] & 0x7F | u8::from(inside) << 7;
        bytes.extend(&*record);
        self.decoder.decode(&bytes, &mut self.program);
        self.program.steps().last().copied()
    }

    /// Another argument of a step, or several.
    fn alter(&mut self, program: &Program, at: usize, rng: &mut SplitMix64) -> Option<Program> {
        let old = *program.steps().nth(at)?;
        let bytes = program.encode();
        let last = HEADER_BYTES + RECORD_BYTES * (program.steps().count() + slices(program));
        // Page counts may lie between the header and the steps.
        let start = HEADER_BYTES + RECORD_BYTES * at + (bytes.len() - last);
        let mut changed = bytes;
        for _ in 0..1 + rng.below(2) {
            // The kind stays: another kind is another step.
            let byte = start + 1 + rng.below(RECORD_BYTES as u64 - 1) as usize;
            let keep = if byte == start + 1 { 0x80 } else { 0 };
            changed[byte] = changed[byte] & keep | rng.next_u64() as u8 & !keep;
        }
        self.decoder.decode(&changed, &mut self.program);
        let step = *self.program.steps().nth(at)?;
        if step.op.creates() != old.op.creates() {
            return None;
        }
        let mut altered = program.clone();
        altered.expects.clear();
        *altered.steps_mut().nth(at)? = step;
        (altered != *program && altered.validate().is_ok()).then_some(altered)
    }

    /// Another machine.
    fn reshape(&mut self, program: &Program, rng: &mut SplitMix64) -> Option<Program> {
        let mut fresh = Vec::new();
        Campaign { steps: 0, ..Campaign::new(rng.next_u64()) }.generate(0, &mut fresh);
        self.decoder.decode(&fresh, &mut self.program);
        let mut changed = program.clone();
        changed.expects.clear();
        let new = &self.program.shape;
        match rng.below(5) {
            0 => changed.shape.preempt = new.preempt,
            1 => changed.shape.pages = new.pages,
            2 => changed.shape.batch = new.batch,
            3 => changed.shape.thp = new.thp,
            _ => changed.shape = new.clone(),
        }
        changed.validate().is_ok().then_some(changed)
    }
}

/// Two neighbouring phases change places.
fn swap(program: &Program, at: usize) -> Option<Program> {
    if at + 1 >= program.phases.len() {
        return None;
    }
    let mut changed = program.clone();
    changed.expects.clear();
    changed.phases.swap(at, at + 1);
    edit::renumber(&mut changed);
    changed.validate().is_ok().then_some(changed)
}

/// A slice more, a slice less, another slice, or the list rotated into the loop.
fn reschedule(schedule: &mut Schedule, cpus: u8, rng: &mut SplitMix64) {
    let slice = |rng: &mut SplitMix64| {
        let longest = if rng.below(4) == 0 { 200 } else { 8 };
        Slice { cpu: rng.below(cpus.into()) as u8, run: 1 + rng.below(longest) as u8, task: 0 }
    };
    let list = if rng.below(4) == 0 { &mut schedule.cycle } else { &mut schedule.slices };
    let at = rng.below(list.len() as u64 + 1) as usize;
    match rng.below(4) {
        0 if at < list.len() => drop(list.remove(at)),
        1 if at < list.len() => list[at] = slice(rng),
        // Where a slice ends is what matters most.
        2 if at < list.len() => {
            list[at].run = list[at].run.wrapping_add(rng.below(3) as u8).max(2) - 1
        }
        _ => list.insert(at, slice(rng)),
    }
}

/// Records of the schedule.
fn slices(program: &Program) -> usize {
    let Schedule { slices, cycle } = &program.schedule;
    slices.len().div_ceil(SLICES_A_RECORD) + cycle.len().div_ceil(SLICES_A_RECORD)
}
