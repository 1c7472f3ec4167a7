//! Under libFuzzer.

use std::cell::RefCell;

use libfuzzer_sys::{Corpus, fuzzer_mutate};
use program::{Mutator, SplitMix64};

use crate::target::Target;

/// One mutation in this many is libFuzzer's own, of bytes.
const RAW: u64 = 8;

thread_local! {
    static MUTATOR: RefCell<(Mutator, Vec<u8>)> = RefCell::default();
}

/// Runs one input; a finding ends the process.
pub fn run(target: &Target, bytes: &[u8]) -> Corpus {
    if let Some(alarm) = target.run(bytes) {
        alarm.raise();
    }
    Corpus::Keep
}

/// Mutates the first `len` of the bytes into at most `max`; returns how many there are then.
pub fn mutate(target: &Target, bytes: &mut [u8], len: usize, max: usize, seed: u32) -> usize {
    let mut rng = SplitMix64::new(seed.into());
    let max = max.min(bytes.len());
    let Some(family) = target.family.filter(|_| rng.below(RAW) > 0) else {
        // Nothing would be taken for a single blank.
        return fuzzer_mutate(bytes, len, max).max(1);
    };
    MUTATOR.with_borrow_mut(|(mutator, buffer)| {
        buffer.clear();
        buffer.extend(&bytes[..len]);
        mutator.mutate(buffer, max, rng.next_u64());
        family.steer(buffer);
        bytes[..buffer.len()].copy_from_slice(buffer);
        buffer.len()
    })
}

/// Crosses two inputs; returns how many bytes of `out` are used.
pub fn cross(target: &Target, a: &[u8], b: &[u8], out: &mut [u8], seed: u32) -> usize {
    MUTATOR.with_borrow_mut(|(mutator, buffer)| {
        mutator.cross(a, b, out.len(), seed.into(), buffer);
        if let Some(family) = target.family {
            family.steer(buffer);
        }
        out[..buffer.len()].copy_from_slice(buffer);
        buffer.len()
    })
}
