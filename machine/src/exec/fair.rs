//! The fair continuation, after the strategy has had its say.

use super::{Executor, Verdict, lasso::Search};

impl Executor<'_> {
    /// From here on every CPU gets turns.
    pub(super) fn go_fair(&mut self) {
        self.fair = true;
        self.turn = self.bounds.turn;
        self.limit = self.points + self.bounds.soft;
    }

    /// The CPU that moves next: the one that moved last until its turn is over, then the next one
    /// that can. A verdict if the search for a lasso, which looks between rounds, is successful.
    pub(super) fn fair_cpu(&mut self) -> Result<u8, Verdict> {
        let can_move = self.runnable.checked_shr(u32::from(self.last)).unwrap_or(0) & 1 == 1;
        if self.turn > 0 && can_move {
            self.turn -= 1;
            return Ok(self.last);
        }
        let above = u128::MAX.checked_shl(u32::from(self.last) + 1).unwrap_or(0);
        let later = self.runnable & above;
        if later == 0
            && let Some(verdict) = self.round_over()
        {
            return Err(verdict);
        }
        let next = if later != 0 { later } else { self.runnable }.trailing_zeros() as u8;
        self.turn = self.bounds.turn.saturating_sub(1);
        self.cpus[usize::from(next)].resched = true;
        Ok(next)
    }

    /// A limit was reached: the next phase of the run, or its end.
    #[cold]
    pub(super) fn at_limit(&mut self) -> Option<Verdict> {
        if !self.fair {
            self.go_fair();
        } else if self.points >= self.bounds.hard || self.state.is_none() {
            return Some(Verdict::Undecided);
        } else {
            self.limit = self.bounds.hard;
            self.search = Some(Search::default());
            self.machine.watched.set(true);
        }
        None
    }
}
