//! All schedules within a preemption bound.

use super::{Strategy, View};

/// Depth-first through every decision, without reduction (iterative context bounding: Musuvathi,
/// Qadeer, PLDI 2007). A preemption is a decision for another CPU while the one that moved last
/// can still move, or for another task while the CPU's own can go on. Every schedule with at most
/// so many is offered exactly once; [`Exhaustive::schedules`] counts them.
///
/// Deviation: the bound is on one search, not raised step by step.
#[derive(Clone, Debug)]
pub struct Exhaustive {
    bound: u32,
    /// The decisions of this execution so far, or those of the last one.
    stack: Vec<Choice>,
    at: usize,
    preemptions: u32,
    schedules: u64,
}

#[derive(Clone, Copy, Debug)]
struct Choice {
    /// Alternatives not tried yet.
    left: u128,
    chosen: u8,
    /// Whether `chosen` is the only one that costs nothing; if not, all are free.
    free: Option<u8>,
}

impl Exhaustive {
    /// All schedules with at most `preemptions` preemptions.
    pub fn new(preemptions: u32) -> Exhaustive {
        Exhaustive { bound: preemptions, stack: Vec::new(), at: 0, preemptions: 0, schedules: 0 }
    }

    /// Executions begun so far; once there are no more, the number of schedules.
    pub fn schedules(&self) -> u64 {
        self.schedules
    }

    /// Decides among `mask`, of which `free` (if any) is no preemption.
    fn decide(&mut self, mask: u128, free: Option<u8>) -> u8 {
        if self.at == self.stack.len() {
            let first = free.unwrap_or(mask.trailing_zeros() as u8);
            let affordable = free.is_none() || self.preemptions < self.bound;
            let left = if affordable { mask & !(1 << first) } else { 0 };
            self.stack.push(Choice { left, chosen: first, free });
        }
        let choice = self.stack[self.at];
        self.at += 1;
        self.preemptions += u32::from(choice.free.is_some_and(|free| free != choice.chosen));
        choice.chosen
    }
}

impl Strategy for Exhaustive {
    fn new_execution(&mut self) -> bool {
        // What the last execution did not get to is gone: its decisions were others.
        if self.schedules > 0 {
            self.stack.truncate(self.at);
            while self.stack.pop_if(|choice| choice.left == 0).is_some() {}
            let Some(choice) = self.stack.last_mut() else { return false };
            choice.chosen = choice.left.trailing_zeros() as u8;
            choice.left &= choice.left - 1;
        }
        self.at = 0;
        self.preemptions = 0;
        self.schedules += 1;
        true
    }

    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8> {
        let free = view.can_move(view.current).then_some(view.current);
        Some(self.decide(view.runnable, free))
    }

    fn next_value(&mut self, bound: u32) -> u32 {
        u32::from(self.decide((1 << bound) - 1, Some(0)))
    }
}
