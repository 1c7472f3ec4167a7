//! Grace periods: what the executor knows of readers and quiescent CPUs.

use super::{Executor, NOBODY};
use crate::board::Wait;

impl Executor<'_> {
    /// A task began to wait for a grace period: for whom?
    pub(super) fn begin_grace(&mut self, task: u8, wait: Wait) {
        let mut mask = 0u128;
        match wait {
            Wait::Readers => {
                for reader in 0..self.slots.len() as u8 {
                    if self.account(reader).rcu != 0 {
                        mask |= 1 << reader;
                    }
                }
            }
            _ => {
                for (cpu, state) in self.cpus.iter().enumerate() {
                    if state.current != NOBODY && state.current != task {
                        mask |= 1 << cpu;
                    }
                }
                self.grace += 1;
            }
        }
        let mut board = self.machine.board.borrow_mut();
        if let Some(waiter) = board.waiters.iter_mut().find(|waiter| waiter.task == task) {
            waiter.cpus = mask;
        }
        drop(board);
        self.end_graces();
    }

    /// A CPU switched tasks, idles, or is preemptible.
    pub(super) fn quiescent(&mut self, cpu: u8) {
        if self.grace != 0 {
            self.elapse(Wait::Quiescent, cpu);
        }
    }

    /// The same, if the point at which the CPU's task stopped is such a place.
    pub(super) fn maybe_quiescent(&mut self, cpu: u8) {
        if self.cpus[usize::from(cpu)].current == NOBODY || self.switch_point(cpu) {
            self.quiescent(cpu);
        }
    }

    /// A task has left its read sections.
    pub(super) fn left_rcu(&mut self, task: u8) {
        self.elapse(Wait::Readers, task);
    }

    fn elapse(&mut self, wait: Wait, bit: u8) {
        for waiter in &mut self.machine.board.borrow_mut().waiters {
            if waiter.wait == wait {
                waiter.cpus &= !(1 << bit);
            }
        }
        self.end_graces();
    }

    fn end_graces(&mut self) {
        let mut board = self.machine.board.borrow_mut();
        let mut index = 0;
        while index < board.waiters.len() {
            let waiter = &board.waiters[index];
            match waiter.wait {
                Wait::Readers if waiter.cpus == 0 => {}
                Wait::Quiescent if waiter.cpus == 0 => self.grace -= 1,
                _ => {
                    index += 1;
                    continue;
                }
            }
            board.end_wait(index);
        }
    }
}
