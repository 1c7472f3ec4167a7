//! Random programs by number: a hunt is a seed, and execution `index` of it is the same program
//! whoever runs it, in whatever order.

use crate::codec::{HEADER_BYTES, MAGIC, RECORD_BYTES, SCHEDULE_KIND, VERSION, has_devices};
use crate::digest::mix;
use crate::kind::{Kind, bits};
use crate::rng::SplitMix64;
use crate::scene::scene;

/// A family of random programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Campaign {
    /// Tells campaigns apart.
    pub seed: u64,
    /// Steps a program (in concurrent ones about a quarter are schedule records instead).
    pub steps: usize,
    /// Programs in 256 that are concurrent.
    pub concurrent: u16,
}

impl Campaign {
    /// Sequential programs of 16 steps.
    pub fn new(seed: u64) -> Campaign {
        Campaign { seed, steps: 16, concurrent: 0 }
    }

    /// Replaces `bytes` by the byte form of the campaign's program number `index`.
    pub fn generate(&self, index: u64, bytes: &mut Vec<u8>) {
        self.fill(index, true, bytes);
    }

    /// The same, with or without scenes, which have kinds of their own.
    pub(crate) fn fill(&self, index: u64, scenes: bool, bytes: &mut Vec<u8>) {
        let mut rng = SplitMix64::new(self.seed ^ mix(index.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        bytes.clear();
        let len = HEADER_BYTES + self.steps * RECORD_BYTES;
        while bytes.len() < len {
            bytes.extend(rng.next_u64().to_le_bytes());
        }
        bytes.truncate(len);
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION;
        let concurrent = (rng.next_u64() & 0xFF) < u64::from(self.concurrent);
        bytes[3] = if concurrent { bytes[3] | 0xC0 } else { bytes[3] & 0x3F };
        // No page counts of its own after the header: large machines cost time, not bugs.
        bytes[7] &= 0x7F;
        // A quarter with every kind of operation, the others with about half or three quarters.
        let mask = match rng.next_u64() & 3 {
            0 => u64::MAX,
            1 => rng.next_u64() | rng.next_u64(),
            _ => rng.next_u64(),
        };
        // Where there is a device, half of the time mostly what is done with one.
        let driver = has_devices(bytes[7]) && rng.next_u64() & 1 == 0;
        let mask = if driver { mask & rng.next_u64() | DRIVER_KINDS } else { mask };
        let mask = if concurrent { mask & PHASE_KINDS } else { mask };
        bytes[8..HEADER_BYTES].copy_from_slice(&mask.to_le_bytes());
        if concurrent && scenes && rng.next_u64() & 3 != 0 {
            scene(&mut rng, bytes);
        } else if concurrent {
            phases(&mut rng, bytes);
        }
    }
}

/// What a driver does, and what it must move its pages for.
const DRIVER_KINDS: u64 =
    Kind::DEVICE | bits(&[Kind::Write, Kind::Get, Kind::PinLongterm, Kind::PinLongtermFast]);

/// Kinds of operation that run beside each other, as a swarm mask.
pub const PHASE_KINDS: u64 = {
    let (mut mask, mut at) = (0, 0);
    while at < Kind::ALL.len() {
        if Kind::ALL[at].has_marks() && !Kind::ALL[at].outlasts_marks() {
            mask |= 1 << Kind::ALL[at] as u64;
        }
        at += 1;
    }
    mask
};

/// Says in a record how it is aimed: to meet others.
const MEET: u8 = 0x40;

/// A third to a half of the records become phases of one step, the others a few larger phases.
fn phases(rng: &mut SplitMix64, bytes: &mut [u8]) {
    let count = (bytes.len() - HEADER_BYTES) / RECORD_BYTES;
    let random = rng.next_u64();
    let setup = count / 3 + (random % (count as u64 / 6 + 1)) as usize;
    let mut cpu = 0;
    for (at, record) in bytes[HEADER_BYTES..].chunks_exact_mut(RECORD_BYTES).enumerate() {
        if record[0] >= SCHEDULE_KIND {
            // Short slices first, or the first step is over before the second begins.
            if record[1] & 0x30 != 0 {
                record[2..].chunks_exact_mut(2).for_each(|slice| slice[1] &= 3);
            }
            continue;
        }
        let begins = at <= setup || random >> 8 >> (at % 28 * 2) & 3 == 0;
        if begins {
            record[1] = record[1] & 0x3F | if at >= setup { MEET } else { 0 };
            cpu = record[1] & 7;
            continue;
        }
        // In the phase of the step before, mostly on the next CPU, and about the same pages.
        let flags = record[1];
        if flags & 3 != 0 {
            cpu = (cpu + 1) & 7;
        }
        let meet = if flags & 0x1C != 0 { MEET } else { 0 };
        record[1] = 0x80 | flags & 0x38 | meet | cpu;
    }
}

/// The bytes of execution `index` of the default campaign with this seed: sequential, 16 steps.
pub fn generate(seed: u64, index: u64, bytes: &mut Vec<u8>) {
    Campaign::new(seed).generate(index, bytes);
}
