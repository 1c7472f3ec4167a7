//! Partial order sampling.

use super::{Strategy, View};
use crate::event::{Access, Event};
use crate::rng::Rng;

/// POS (Yuan, Yang, Gu: Partial order aware concurrency sampling, CAV 2018): each pending event
/// has a random priority, the highest one happens, and then every pending event that races with
/// it draws anew.
///
/// Deviations: taking a lock is an event that can happen while the lock is held (the task then
/// blocks); `cpu_relax` draws the lowest priority; which task of one CPU goes on is uniform.
#[derive(Clone, Debug)]
pub struct Pos {
    pub(super) rng: Rng,
    /// 0: to be drawn.
    priorities: Vec<u64>,
}

impl Pos {
    /// One generator serves all executions, one after another.
    pub fn new(seed: u64) -> Pos {
        Pos { rng: Rng::new(seed), priorities: Vec::new() }
    }

    /// The highest pending event among the CPUs of a mask, which is not 0.
    pub(super) fn choose(&mut self, view: &View<'_>, mask: u128) -> u8 {
        self.priorities.resize(view.events.len(), 0);
        for cpu in view.cpus() {
            let priority = &mut self.priorities[usize::from(cpu)];
            if *priority == 0 {
                let pause = view.events[usize::from(cpu)].access() == Access::Pause;
                *priority = if pause { 1 } else { self.rng.next_u64() | 2 };
            }
        }
        let among = View { runnable: mask, count: mask.count_ones(), ..*view };
        let priority = |cpu: &u8| self.priorities[usize::from(*cpu)];
        among.cpus().max_by_key(priority).unwrap_or(view.current)
    }

    /// The event of a CPU happens.
    pub(super) fn happens(&mut self, view: &View<'_>, cpu: u8) {
        let event: Event = view.events[usize::from(cpu)];
        self.priorities[usize::from(cpu)] = 0;
        for other in view.cpus() {
            if view.events[usize::from(other)].conflicts(event) {
                self.priorities[usize::from(other)] = 0;
            }
        }
    }
}

impl Strategy for Pos {
    const OBSERVES: bool = true;

    fn new_execution(&mut self) -> bool {
        self.priorities.clear();
        true
    }

    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8> {
        let cpu = self.choose(view, view.runnable);
        self.happens(view, cpu);
        Some(cpu)
    }

    fn next_value(&mut self, bound: u32) -> u32 {
        self.rng.below(bound)
    }
}
