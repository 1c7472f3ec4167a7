//! Random programs for a running kernel: those of `program::Campaign`, of operations that exist as
//! system calls, as they are or blown up so that the model's small tables become the kernel's.

use program::codec::{Decoder, HEADER_BYTES};
use program::{
    Advice, Backing, Campaign, Device, Family, Kind, Op, Program, Range, SplitMix64, Step,
};

use crate::witness::Abilities;

/// Most pages of an area.
const MAX_LEN: u16 = 4096;

/// A family of random programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Live {
    /// Tells campaigns apart.
    pub seed: u64,
    /// Steps a program.
    pub steps: usize,
    /// What the witness can do.
    pub can: Abilities,
}

impl Live {
    /// Program number `index`.
    pub fn program(&self, index: u64) -> Program {
        let mut bytes = Vec::new();
        let campaign = Campaign { steps: self.steps, ..Campaign::new(self.seed) };
        campaign.generate(index, &mut bytes);
        let mut rng = SplitMix64::new(self.seed.rotate_left(32) ^ index);
        let huge = rng.next_u64().is_multiple_of(3);
        // The small table, no failures; THP by advice as most machines have it.
        (bytes[4], bytes[6], bytes[7]) = (0, 1, 0);
        if self.can.has(Device::Private) && rng.next_u64().is_multiple_of(3) {
            Family::DEVICE.steer(&mut bytes);
        }
        let mask = u64::from_le_bytes(bytes[8..HEADER_BYTES].try_into().unwrap_or_default());
        bytes[8..HEADER_BYTES].copy_from_slice(&(mask & self.mask(huge)).to_le_bytes());
        let mut program = Program::default();
        Decoder::default().decode(&bytes, &mut program);
        program.steps_mut().for_each(|step| step.fail = None);
        if huge { scaled(&program, &mut rng) } else { program }
    }

    fn mask(&self, huge: bool) -> u64 {
        let possible = |kind: &&Kind| match kind {
            Kind::Collapse => huge,
            Kind::SplitFolio | Kind::LockPage | Kind::UnlockPage => self.can.driver,
            Kind::Migrate => self.can.driver,
            Kind::GetFastOnly | Kind::PinLongterm => self.can.driver,
            Kind::Walk => false,
            kind if kind.bit() & Kind::DEVICE != 0 => self.can.has(Device::Private),
            // What comes after it are further mechanisms.
            kind => **kind < Kind::Offline,
        };
        Kind::ALL.iter().filter(possible).fold(0, |mask, kind| mask | kind.bit())
    }
}

/// The program with 128 pages for one: what was a table of 4 becomes one of 512 (and likewise for
/// other tables; a program whose areas would be too large stays as it is). Half of the
/// ranges shrink to one page, so that huge pages are also looked at in parts.
pub fn scaled(program: &Program, rng: &mut SplitMix64) -> Program {
    let scale = 512 / program.shape.ptes;
    let fits = |step: &Step| !matches!(step.op, Op::Mmap { len, .. } if len > MAX_LEN / scale);
    if !program.steps().all(fits) {
        return program.clone();
    }
    let mut program = program.clone();
    for step in program.steps_mut() {
        if let Some(range) = step.op.range_mut() {
            let jitter = rng.next_u64();
            let (off, len) = (range.off * scale, range.len * scale);
            *range = match jitter & 3 {
                0 | 1 => Range { off, len, ..*range },
                2 => Range { off: off + (jitter >> 2) as u16 % len, len: 1, ..*range },
                _ => {
                    let skip = (jitter >> 2) as u16 % len;
                    let len = 1 + (jitter >> 18) as u16 % (len - skip);
                    Range { off: off + skip, len, ..*range }
                }
            };
        }
        match &mut step.op {
            Op::Mmap { len, shift, .. } => (*len, *shift) = (*len * scale, *shift * scale),
            Op::Mremap { shift, .. } => *shift *= scale,
            _ => {}
        }
    }
    // An mremap may have moved less than the later steps believe.
    fit(&mut program);
    advised(program, rng)
}

/// Most machines give huge pages to those who ask: three areas in four do.
fn advised(program: Program, rng: &mut SplitMix64) -> Program {
    let mut steps = Vec::new();
    for step in program.steps() {
        steps.push(*step);
        if let Op::Mmap { mm, area, backing: Backing::AnonPrivate, len, .. } = step.op
            && rng.next_u64() & 3 != 0
        {
            let range = Range { area, off: 0, len };
            let op = Op::Madvise { mm, range, advice: Advice::HugePage };
            steps.push(Step { op, ..*step });
        }
    }
    Program::sequential(program.shape, steps)
}

/// Cuts ranges to the areas that there are.
fn fit(program: &mut Program) {
    let mut lens: Vec<u16> = Vec::new();
    for step in program.steps_mut() {
        if let Some(range) = step.op.range_mut() {
            let len = lens.get(usize::from(range.area.0)).copied().unwrap_or(1);
            range.off = range.off.min(len - 1);
            range.len = range.len.min(len - range.off);
        }
        match step.op {
            Op::Mmap { len, .. } => lens.push(len),
            Op::Mremap { range, .. } => lens.push(range.len),
            _ => {}
        }
        // A collapse of less than a table says little.
        if let Op::Madvise { advice: Advice::Collapse, range, .. } = &mut step.op {
            let len = lens.get(usize::from(range.area.0)).copied().unwrap_or(1);
            (range.off, range.len) = (0, len);
        }
    }
}
