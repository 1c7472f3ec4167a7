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
        let mut nth = self.rng.below(view.count);
        if view.runnable.wrapping_add(1) == 1u128.checked_shl(view.count).unwrap_or(0) {
            return Some(nth as u8); // the first CPUs, all of them
        }
        let mut cpu = view.at_or_after(0);
        while nth > 0 {
            cpu = view.at_or_after(cpu + 1);
            nth -= 1;
        }
        Some(cpu)
    }

    fn next_value(&mut self, bound: u32) -> u32 {
        self.rng.below(bound)
    }
}
