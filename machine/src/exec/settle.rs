//! What follows from a move that did more than stop at a point.

use super::{Executor, NOBODY, State, Verdict};
use crate::board::Wait;
use crate::machine::{BLOCKED, BROKEN, INTERRUPTS, LAPPED, RCU, WOKEN};

impl Executor<'_> {
    /// After a move of `task` ([`NOBODY`]: the CPU took a call).
    pub(super) fn settle(&mut self, cpu: u8, task: u8, ended: bool) -> Option<Verdict> {
        let machine = self.machine;
        if ended {
            machine.end();
        }
        let attention = machine.attention.replace(0);
        if attention == 0 && self.grace == 0 && ended {
            self.end_task(cpu, task);
            return None;
        }
        if attention & BROKEN != 0
            && let Some(conduct) = machine.conduct()
        {
            return Some(Verdict::Conduct(conduct, machine.name.get()));
        }
        if attention & WOKEN != 0 {
            self.woken();
        }
        if ended {
            self.end_task(cpu, task);
        }
        if attention & RCU != 0 && task != NOBODY {
            self.left_rcu(task);
            self.woken();
        }
        // Who sends goes to sleep for the answers; who does not switched those of its own CPU.
        match attention & (INTERRUPTS | BLOCKED) {
            INTERRUPTS => self.refresh(cpu),
            both if both & INTERRUPTS != 0 => self.refresh_all(),
            _ => {}
        }
        if attention & LAPPED != 0 {
            self.turn = 0;
        }
        if attention & BLOCKED != 0 {
            self.block(cpu, task);
            self.woken();
            if let Some(cycle) = self.cycle(task) {
                return Some(Verdict::Deadlock(cycle));
            }
        }
        if self.grace != 0 && task != NOBODY {
            self.maybe_quiescent(cpu);
            self.woken();
        }
        None
    }

    fn end_task(&mut self, cpu: u8, task: u8) {
        let slot = &mut self.slots[usize::from(task)];
        slot.state = State::Done;
        slot.future = None;
        let name = slot.name;
        self.completed += 1;
        let at = usize::from(cpu);
        let mut board = self.machine.board.borrow_mut();
        if !board.holds.is_empty() {
            board.holds.retain(|hold| hold.name != name);
        }
        let quiet = board.woken.is_empty() && board.calls[at].is_empty();
        drop(board);
        if quiet && self.grace == 0 && self.cpus[at].queue.is_empty() {
            return self.idle(cpu);
        }
        self.dispatch(cpu);
        self.woken();
        self.refresh(cpu);
    }

    fn block(&mut self, cpu: u8, task: u8) {
        let wait = self.wait_of(task).map_or(Wait::Queue, |waiter| waiter.wait);
        self.slots[usize::from(task)].state = State::Blocked;
        if !wait.spins() {
            self.dispatch(cpu);
        }
        if matches!(wait, Wait::Readers | Wait::Quiescent) {
            self.begin_grace(task, wait);
        }
        self.refresh(cpu);
    }

    pub(super) fn is_idle(&self, task: u8) -> bool {
        self.wait_of(task).is_some_and(|waiter| waiter.wait == Wait::Idle)
    }

    pub(super) fn wait_of(&self, task: u8) -> Option<crate::board::Waiter> {
        self.machine.board.borrow().waiters.iter().find(|waiter| waiter.task == task).copied()
    }
}
