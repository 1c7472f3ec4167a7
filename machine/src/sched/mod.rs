//! Strategies: who moves next. One file each.

mod exhaustive;
mod pct;
mod pos;
mod random;
mod reads_from;
mod replay;
mod round_robin;
mod slices;
mod traces;

use crate::event::Event;

pub use exhaustive::Exhaustive;
pub use pct::Pct;
pub use pos::Pos;
pub use random::RandomWalk;
pub use reads_from::ReadsFrom;
pub use replay::Replay;
pub use round_robin::RoundRobin;
pub use slices::{Slice, Slices, slices_of};
pub use traces::Traces;

/// What a strategy sees of the machine.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Bit c: CPU c can move. Never 0.
    pub runnable: u128,
    /// How many can.
    pub count: u32,
    /// The CPU that moved last; `u8::MAX` before the first move.
    pub current: u8,
    /// What each CPU's task is about to do. Stale where the CPU cannot move.
    pub events: &'a [Event],
}

impl View<'_> {
    /// Whether a CPU can move.
    #[inline]
    pub fn can_move(&self, cpu: u8) -> bool {
        if cpu < 64 {
            return self.runnable as u64 >> cpu & 1 == 1; // most machines; two words cost more
        }
        self.runnable.checked_shr(u32::from(cpu)).unwrap_or(0) & 1 == 1
    }

    /// The CPUs that can move, in order.
    #[inline]
    pub fn cpus(&self) -> impl Iterator<Item = u8> + use<> {
        let mut left = self.runnable;
        std::iter::from_fn(move || {
            let cpu = (left != 0).then_some(left.trailing_zeros() as u8);
            left &= left.wrapping_sub(1);
            cpu
        })
    }

    /// The first CPU that can move at or after `cpu`, cyclically.
    #[inline]
    pub fn at_or_after(&self, cpu: u8) -> u8 {
        if self.can_move(cpu) {
            return cpu;
        }
        let above = self.runnable & u128::MAX.checked_shl(u32::from(cpu)).unwrap_or(0);
        if above != 0 { above } else { self.runnable }.trailing_zeros() as u8
    }
}

/// Decides at each point which CPU moves.
pub trait Strategy {
    /// Whether every move must be seen, those too where there is nothing to decide.
    const OBSERVES: bool = false;

    /// Begins another execution; false if the strategy has no more to offer.
    fn new_execution(&mut self) -> bool;

    /// The CPU that moves next, one of `view.runnable`; `None` ends the schedule, and the machine
    /// goes on fairly.
    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8>;

    /// A number below `bound`. Asked before a CPU moves that may switch tasks: 0 goes on with its
    /// task, n takes the n-th of those that wait for the CPU.
    fn next_value(&mut self, bound: u32) -> u32;
}
