//! Under libFuzzer.

use std::cell::RefCell;

use libfuzzer_sys::{Corpus, fuzzer_mutate};
use program::{Family, Mutator, SplitMix64};

use crate::target::Target;

/// One mutation in this many is libFuzzer's own, of bytes.
const RAW: u64 = 8;

thread_local! {
    /// A process has one target, and that one family.
    static MUTATOR: RefCell<Option<(Mutator, Vec<u8>)>> = const { RefCell::new(None) };
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
    with_mutator(family, |mutator, buffer| {
        buffer.clear();
        buffer.extend(&bytes[..len]);
        mutator.mutate(buffer, max, rng.next_u64());
        bytes[..buffer.len()].copy_from_slice(buffer);
        buffer.len()
    })
}

/// Crosses two inputs; returns how many bytes of `out` are used.
pub fn cross(target: &Target, a: &[u8], b: &[u8], out: &mut [u8], seed: u32) -> usize {
    with_mutator(target.family.unwrap_or(Family::DIFFERENTIAL), |mutator, buffer| {
        mutator.cross(a, b, out.len(), seed.into(), buffer);
        out[..buffer.len()].copy_from_slice(buffer);
        buffer.len()
    })
}

fn with_mutator<T>(family: Family, change: impl FnOnce(&mut Mutator, &mut Vec<u8>) -> T) -> T {
    MUTATOR.with_borrow_mut(|slot| {
        let (mutator, buffer) = slot.get_or_insert_with(|| (Mutator::new(family), Vec::new()));
        change(mutator, buffer)
    })
}
