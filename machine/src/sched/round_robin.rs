//! Round robin.

use super::{Strategy, View};

/// One point each in turn, once: the most regular interleaving there is. One execution.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    ran: bool,
}

impl RoundRobin {
    /// A strategy with one execution to offer.
    pub fn new() -> RoundRobin {
        RoundRobin::default()
    }
}

impl Strategy for RoundRobin {
    fn new_execution(&mut self) -> bool {
        !std::mem::replace(&mut self.ran, true)
    }

    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8> {
        Some(view.at_or_after(view.current.wrapping_add(1)))
    }

    fn next_value(&mut self, bound: u32) -> u32 {
        1.min(bound - 1)
    }
}
