//! The proof of a livelock: the machine comes back to a state it was in, and does so 64 times.
//!
//! Looked for between rounds of the fair continuation, by Brent's algorithm. Equal states with
//! every CPU that can move having moved in between, and no task ended, repeat for ever, as the
//! machine is deterministic. What is compared is a hash of what the tasks share (the caller's),
//! who holds and awaits what, the run queues, and of each task what its primitives returned since
//! its last lap. Because that is a hash, and sequence counters are abstracted, the lasso must then
//! be walked 64 times.

use std::hash::Hash;

use super::{Edge, Executor, State, Verdict};
use crate::board::Hold;
use crate::machine::Task;
use crate::watch::Fold;

/// Laps that confirm a lasso.
const LAPS: u32 = 64;

/// Brent's search, one value a round.
#[derive(Debug)]
pub(super) struct Search {
    anchor: Option<u64>,
    power: u64,
    steps: u64,
    /// Rounds a lap takes and laps seen, once the anchor was met again.
    found: Option<(u64, u32)>,
    completed: u64,
}

impl Default for Search {
    fn default() -> Search {
        Search { anchor: None, power: 1, steps: 0, found: None, completed: 0 }
    }
}

impl Search {
    /// Takes the state of one more round; the period once it is confirmed. The second value says
    /// that a lap begins.
    fn step(&mut self, state: u64) -> (Option<u64>, bool) {
        self.steps += 1;
        if let Some((period, laps)) = self.found {
            if self.steps < period {
                return (None, false);
            }
            self.steps = 0;
            if self.anchor == Some(state) {
                self.found = Some((period, laps + 1));
                return ((laps + 1 == LAPS).then_some(period), false);
            }
            *self = Search { anchor: Some(state), completed: self.completed, ..Search::default() };
            return (None, false);
        }
        if self.anchor == Some(state) {
            self.found = Some((self.steps, 0));
            self.steps = 0;
            return (None, true);
        }
        if self.anchor.is_none() || self.steps == self.power {
            self.anchor = Some(state);
            self.power *= 2;
            self.steps = 0;
        }
        (None, false)
    }
}

impl Executor<'_> {
    /// A move is made while a lasso is looked for.
    pub(super) fn watch_move(&mut self, task: u8) {
        self.machine.fold_in(1);
        self.slots[usize::from(task)].moved = true;
    }

    pub(super) fn round_over(&mut self) -> Option<Verdict> {
        self.search.as_ref()?;
        let state = self.fingerprint();
        let completed = self.completed;
        let search = self.search.as_mut()?;
        if search.completed != completed {
            *search = Search { completed, ..Search::default() };
        }
        let (period, lap) = search.step(state);
        if lap {
            self.slots.iter_mut().for_each(|slot| slot.moved = false);
            self.machine.excused.set(false);
            self.machine.board.borrow_mut().tries.clear();
        }
        period.map(|period| self.goes_round(period))
    }

    fn goes_round(&self, period: u64) -> Verdict {
        let names = |of: &dyn Fn(u8) -> bool| -> Vec<Task> {
            (0..self.slots.len() as u8)
                .filter(|&task| of(task))
                .map(|task| self.slots[usize::from(task)].name)
                .collect()
        };
        let moved = |task: u8| self.slots[usize::from(task)].moved;
        let spinning = names(&moved);
        if self.machine.excused.get() {
            return Verdict::Pending(spinning);
        }
        let denied = |task: u8| self.state_of(task) == State::Ready && !moved(task);
        let waits: Vec<Edge> = (0..self.slots.len() as u8)
            .flat_map(|task| self.awaited(task).into_iter().map(move |edge| (task, edge)))
            .filter(|(_, edge)| denied(edge.to))
            .map(|(task, edge)| self.edge(task, edge))
            .collect();
        let board = self.machine.board.borrow();
        let tried = board.tries.clone();
        if waits.is_empty() {
            return Verdict::Livelock { spinning, tried, period };
        }
        let name =
            |task: u8| (self.slots[usize::from(task)].name, self.slots[usize::from(task)].cpu);
        let denied = (0..self.slots.len() as u8).filter(|&task| denied(task)).map(name).collect();
        let waiting = |hold: &&Hold| waits.iter().any(|edge| edge.from == hold.name);
        let held = board.holds.iter().filter(waiting).map(|hold| board.owned(hold)).collect();
        Verdict::Starvation { denied, waits, held, spinning, tried }
    }

    /// Everything that decides what happens next, hashed.
    fn fingerprint(&self) -> u64 {
        let mut fold = Fold(self.state.map_or(0, |state| state()));
        for task in 0..self.slots.len() as u8 {
            let account = self.account(task);
            (account.held, account.irq_off, account.rcu, account.fold).hash(&mut fold);
            (self.state_of(task) as u8).hash(&mut fold);
        }
        for cpu in &self.cpus {
            (cpu.current, &cpu.queue, cpu.resched).hash(&mut fold);
        }
        let board = self.machine.board.borrow();
        for hold in &board.holds {
            (hold.object, hold.name, hold.shared).hash(&mut fold);
        }
        for waiter in &board.waiters {
            (waiter.task, waiter.wait, waiter.object, waiter.owner, waiter.cpus).hash(&mut fold);
        }
        for (calls, work) in board.calls.iter().zip(&board.work) {
            (calls, &work.queue, work.running).hash(&mut fold);
        }
        (self.last, fold.0).hash(&mut fold);
        fold.0
    }
}
