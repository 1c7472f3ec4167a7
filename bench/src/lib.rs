//! Development only: how fast lockstep is, beside what else could drive the same two sides.

pub mod detect;
pub mod front_ends;
pub mod peer;
pub mod pinning;
pub mod race;

use lockstep::{Lockstep, Options, Verdict};
use optimized::Defects;
use program::{Campaign, Decoder, Program, generate};

/// Programs of the default campaign, generated beforehand so that loops measure what they name.
pub struct Programs {
    bytes: Vec<Vec<u8>>,
}

impl Programs {
    /// The first `count` programs of the campaign with seed 1: 16 steps, compact geometry.
    pub fn first(count: usize) -> Programs {
        Programs::new((0..count as u64).map(|index| {
            let mut bytes = Vec::new();
            generate(1, index, &mut bytes);
            bytes
        }))
    }

    /// Concurrent programs of that campaign: 16 steps on 3 CPUs, each under its own schedule.
    pub fn concurrent(count: usize) -> Programs {
        // About a quarter of the records are schedules.
        let campaign = Campaign { steps: 21, concurrent: 256, ..Campaign::new(1) };
        let bytes = (0..).map(|index| {
            let mut bytes = Vec::new();
            campaign.generate(index, &mut bytes);
            bytes[3] = 0xC0 | 2;
            bytes
        });
        let sixteen = |bytes: &Vec<u8>| Program::decode(bytes).steps().count() == 16;
        Programs::new(bytes.filter(sixteen).take(count))
    }

    /// These byte forms.
    pub fn new(bytes: impl Iterator<Item = Vec<u8>>) -> Programs {
        Programs { bytes: bytes.collect() }
    }

    /// Decodes each; returns the number of steps.
    pub fn decode_all(&self) -> usize {
        let mut decoder = Decoder::default();
        let mut program = Program::default();
        let mut steps = 0;
        for bytes in &self.bytes {
            decoder.decode(bytes, &mut program);
            steps += program.steps().count();
        }
        steps
    }

    /// Decodes each and runs both sides in lockstep, digest after every step; returns the number
    /// of programs on which they agreed.
    pub fn lockstep_all(&self) -> usize {
        let mut decoder = Decoder::default();
        let mut program = Program::default();
        let mut lockstep = Lockstep::new(Defects::NONE);
        let options = Options::default();
        let mut clean = 0;
        for bytes in &self.bytes {
            decoder.decode(bytes, &mut program);
            clean += usize::from(matches!(lockstep.run(&program, &options), Verdict::Clean));
        }
        clean
    }
}
