//! Machine shapes in header bytes: small machines from most values, every machine from some.

use crate::shape::{Faults, Preempt, Shape, Thp};

/// Most pages that a place may have.
pub const MAX_PLACE_PAGES: u32 = 1 << 16;

/// What random bytes choose from; the later ones run out of memory. The second half has devices.
const PAGES: [[u32; 5]; 16] = [
    [512, 256, 256, 0, 0],
    [64, 64, 64, 0, 0],
    [32, 16, 16, 0, 0],
    [16, 8, 8, 0, 0],
    [24, 0, 8, 0, 0],
    [8, 8, 4, 0, 0],
    [12, 4, 0, 0, 0],
    [6, 2, 2, 0, 0],
    [512, 256, 256, 64, 64],
    [64, 64, 64, 16, 16],
    [32, 16, 16, 8, 8],
    [16, 8, 8, 8, 4],
    [24, 0, 8, 6, 0],
    [8, 8, 4, 4, 2],
    [12, 4, 0, 0, 4],
    [6, 2, 2, 2, 2],
];
/// Marks that the page counts follow the header.
const EXPLICIT_PAGES: u8 = 0xFF;

const THP: [Thp; 3] = [Thp::Always, Thp::Madvise, Thp::Never];
const PREEMPT: [Preempt; 3] = [Preempt::None, Preempt::Voluntary, Preempt::Full];
const FAULTS: [Faults; 4] =
    [Faults::Classic, Faults::VmaLock, Faults::Speculative, Faults::SpeculativeBounded];

/// Decodes bytes 3..8 of a header. Says whether the program is concurrent and whether page counts
/// follow.
pub(super) fn decode(bytes: [u8; 5], shape: &mut Shape) -> (bool, bool) {
    let [cpus, ptes, batch, policy, pages] = bytes;
    let concurrent = cpus & 0xC0 == 0xC0;
    shape.cpus = match cpus & 0x3F {
        exact @ 0..8 => exact + 1,
        other if concurrent => 2 + other % 2,
        other => [2, 3, 2, 1][usize::from(other % 4)],
    };
    shape.ptes = match ptes {
        exact @ 0..8 => 4 << exact,
        other => 4 << u16::from(other % 8 == 7),
    };
    shape.batch = if batch < 31 { batch + 1 } else { 1 + batch % 4 };
    shape.thp = match policy & 0x0F {
        exact @ 0..3 => THP[usize::from(exact)],
        3 => Thp::Madvise,
        _ => Thp::Always,
    };
    let front = usize::from(policy >> 4);
    shape.preempt = PREEMPT[front % 3];
    shape.faults = FAULTS[front / 3 % 4];
    let explicit = pages == EXPLICIT_PAGES;
    shape.pages = match pages {
        exact @ 0..16 => PAGES[usize::from(exact)],
        other => {
            let small = if other % 4 == 3 { usize::from(other >> 4) % 8 } else { 0 };
            let devices = if has_devices(other) { 8 } else { 0 };
            PAGES[small + devices]
        }
    };
    (concurrent, explicit)
}

/// Whether the byte of the header for page counts says that devices have memory.
pub(crate) fn has_devices(pages: u8) -> bool {
    match pages {
        EXPLICIT_PAGES => false,
        exact @ 0..16 => exact & 8 != 0,
        other => other & 0x0C == 0x0C,
    }
}

/// The byte of the header for page counts, changed so that devices have memory; what says that the
/// counts follow stays.
pub(crate) fn with_devices(pages: u8) -> u8 {
    match pages {
        EXPLICIT_PAGES => EXPLICIT_PAGES,
        exact @ 0..16 => exact | 8,
        // Without the highest bit: no other may come to say that counts follow.
        other => (other & 0x7F | 0x0C).max(0x1C),
    }
}

/// Bits of a page count that follows a header.
const COUNT_BITS: usize = 19;

/// Decodes page counts that follow a header.
pub(super) fn decode_pages(record: &[u8; 12], shape: &mut Shape) {
    let packed = record.iter().rev().fold(0u128, |sum, &byte| sum << 8 | u128::from(byte));
    for (place, pages) in shape.pages.iter_mut().enumerate() {
        let count = (packed >> (COUNT_BITS * place)) as u32 & ((1 << COUNT_BITS) - 1);
        *pages = count % (MAX_PLACE_PAGES + 1);
    }
}

/// Page counts to follow a header.
pub(super) fn pack_pages(pages: [u32; 5]) -> [u8; 12] {
    let pack = |sum, &pages: &u32| sum << COUNT_BITS | u128::from(pages);
    let packed: u128 = pages.iter().rev().fold(0, pack);
    let mut record = [0; 12];
    record.copy_from_slice(&packed.to_le_bytes()[..12]);
    record
}

/// Encodes a valid shape; page counts to follow the header, if they must.
pub(super) fn encode(shape: &Shape, concurrent: bool) -> ([u8; 5], Option<[u8; 12]>) {
    let cpus = (shape.cpus - 1) | if concurrent { 0xC0 } else { 0 };
    let ptes = (shape.ptes.trailing_zeros() - 2) as u8;
    let known = PAGES.iter().position(|pages| *pages == shape.pages);
    let policy = shape.thp as u8 | (shape.preempt as u8 + 3 * shape.faults as u8) << 4;
    let header = |pages| [cpus, ptes, shape.batch - 1, policy, pages];
    match known {
        Some(index) => (header(index as u8), None),
        None => (header(EXPLICIT_PAGES), Some(pack_pages(shape.pages))),
    }
}
