//! A seeded generator of pseudo-random numbers, the same on every machine.

use crate::digest::mix;

/// splitmix64 (Steele, Lea and Flood): 64 bits of state, one number a step.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator with this seed; distinct seeds give unrelated sequences.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64(mix(seed ^ 0x6a09_e667_f3bc_c909))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}
