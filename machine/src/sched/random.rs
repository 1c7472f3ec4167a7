//! Random walk.

use super::{Strategy, View};
use crate::rng::Rng;

/// Each decision uniform among the CPUs that can move. The baseline that others must beat; what
/// shuttle calls its random scheduler.
#[derive(Clone, Debug)]
pub struct RandomWalk {
    rng: Rng,
}

impl RandomWalk {
    /// One generator serves all executions, one after another.
    pub fn new(seed: u64) -> RandomWalk {
        RandomWalk { rng: Rng::new(seed) }
    }
}

impl Strategy for RandomWalk {
    fn new_execution(&mut self) -> bool {
        true
    }

    #[inline]
    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8> {
        let mut mask = view.runnable;
        for _ in 0..self.rng.below(mask.count_ones()) {
            mask &= mask - 1;
        }
        Some(mask.trailing_zeros() as u8)
    }

    fn next_value(&mut self, bound: u32) -> u32 {
        self.rng.below(bound)
    }
}
