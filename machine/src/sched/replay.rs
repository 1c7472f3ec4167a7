//! Replay of recorded decisions.

use super::{Strategy, View};

/// Takes the decisions of an earlier run ([`Executor::decisions`](crate::Executor::decisions));
/// when they end, the fair continuation takes over, as it did then. The same tasks then run the
/// same way to the same verdict.
///
/// Decisions that do not fit (the program was changed, as a minimiser does) are read as the next
/// CPU that can move; [`Replay::fitted`] tells.
#[derive(Clone, Debug)]
pub struct Replay {
    decisions: Vec<u8>,
    at: usize,
    ran: bool,
    fitted: bool,
}

impl Replay {
    /// A strategy with one execution to offer.
    pub fn new(decisions: &[u8]) -> Replay {
        Replay { decisions: decisions.to_vec(), at: 0, ran: false, fitted: true }
    }

    /// Whether every decision asked for so far was recorded as one of its kind and possible.
    pub fn fitted(&self) -> bool {
        self.fitted
    }

    fn take(&mut self) -> Option<u8> {
        let decision = self.decisions.get(self.at).copied();
        self.at += 1;
        decision
    }
}

impl Strategy for Replay {
    fn new_execution(&mut self) -> bool {
        !std::mem::replace(&mut self.ran, true)
    }

    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8> {
        let cpu = self.take()?;
        let next = view.at_or_after(cpu & 0x7f);
        self.fitted &= next == cpu;
        Some(next)
    }

    fn next_value(&mut self, bound: u32) -> u32 {
        let value = self.take();
        self.fitted &= value.is_some_and(|value| value >= 0x80);
        u32::from(value.unwrap_or(0) & 0x7f) % bound
    }
}
