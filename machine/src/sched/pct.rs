//! Probabilistic concurrency testing.

use super::{Strategy, View};
use crate::event::Access;
use crate::rng::Rng;

/// PCT (Burckhardt, Kothari, Musuvathi, Nagarakatte: A randomized scheduler with probabilistic
/// guarantees of finding bugs, ASPLOS 2010): random priorities, the highest one moves, and at
/// d - 1 random steps whoever moves falls below all others. Finds a bug of depth d among n CPUs
/// and k steps with a probability of at least 1/(n k^(d-1)) an execution.
///
/// Deviations: a CPU stands for the paper's thread; k is the longest execution so far unless
/// given; `cpu_relax` gives way, as a loop that waits for a lower priority would never end; which
/// task of one CPU goes on is uniform.
#[derive(Clone, Debug)]
pub struct Pct {
    rng: Rng,
    depth: u32,
    steps: u64,
    /// `steps` was given.
    known: bool,
    priorities: Vec<u64>,
    /// Steps at which the priority changes, and the priority that is fallen to.
    changes: Vec<(u64, u64)>,
    step: u64,
    /// The lowest priority that a CPU has got by giving way.
    floor: u64,
}

/// Initial priorities are above this, those fallen to below.
const HIGH: u64 = 1 << 40;
/// Those fallen to are above this, those that gave way below: each is the lowest of all.
const LOW: u64 = 1 << 39;

impl Pct {
    /// For bugs of depth `depth` (at least 1).
    pub fn new(seed: u64, depth: u32) -> Pct {
        Pct {
            rng: Rng::new(seed),
            depth: depth.max(1),
            steps: 1,
            known: false,
            priorities: Vec::new(),
            changes: Vec::new(),
            step: 0,
            floor: LOW,
        }
    }

    /// The same, with k known beforehand.
    pub fn with_steps(seed: u64, depth: u32, steps: u64) -> Pct {
        Pct { steps: steps.max(1), known: true, ..Pct::new(seed, depth) }
    }
}

impl Strategy for Pct {
    fn new_execution(&mut self) -> bool {
        if !self.known {
            self.steps = self.steps.max(self.step);
        }
        self.step = 0;
        self.floor = LOW;
        self.priorities.clear();
        self.changes.clear();
        for fallen in 1..u64::from(self.depth) {
            let at = self.rng.below(self.steps.min(u64::from(u32::MAX)) as u32);
            self.changes.push((u64::from(at), LOW + fallen));
        }
        true
    }

    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8> {
        while self.priorities.len() < view.events.len() {
            self.priorities.push(HIGH + (self.rng.next_u64() >> 1));
        }
        let priorities = &mut self.priorities;
        let highest = |priorities: &[u64]| {
            view.cpus().max_by_key(|&cpu| priorities[usize::from(cpu)]).unwrap_or(view.current)
        };
        let mut cpu = highest(priorities);
        if view.events[usize::from(cpu)].access() == Access::Pause {
            self.floor -= 1;
            priorities[usize::from(cpu)] = self.floor;
            cpu = highest(priorities);
        }
        for &(at, fallen) in &self.changes {
            if at == self.step {
                priorities[usize::from(cpu)] = fallen;
                cpu = highest(priorities);
            }
        }
        self.step += 1;
        Some(cpu)
    }

    fn next_value(&mut self, bound: u32) -> u32 {
        self.rng.below(bound)
    }
}
