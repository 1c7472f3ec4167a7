//! What a CPU does besides moving its task: switch tasks, take calls.

use std::task::{Context, Waker};

use super::{Account, Cpu, Executor, NOBODY, Preempt, Slot, State};
use crate::event::Access;
use crate::machine::{ATOMIC, ATOMICS, Machine};
use crate::sched::Strategy;

/// Makes `task` the one whose account the machine keeps.
#[inline]
pub(super) fn switch(machine: &Machine, slots: &mut [Slot<'_>], task: u8) {
    let last = machine.current.replace(task);
    if let Some(slot) = slots.get_mut(usize::from(last)) {
        slot.account = Account {
            held: machine.account.get(),
            irq_off: machine.irq_off.get(),
            rcu: machine.rcu.get(),
            fold: machine.fold.get(),
        };
    }
    let Some(slot) = slots.get(usize::from(task)) else { return };
    machine.account.set(slot.account.held);
    machine.irq_off.set(slot.account.irq_off);
    machine.rcu.set(slot.account.rcu);
    machine.fold.set(slot.account.fold);
    machine.name.set(slot.name);
    machine.cpu.set(slot.cpu);
}

impl Executor<'_> {
    /// A task's account, wherever it is.
    pub(super) fn account(&self, task: u8) -> Account {
        let machine = self.machine;
        if machine.current.get() != task {
            return self.slots[usize::from(task)].account;
        }
        Account {
            held: machine.account.get(),
            irq_off: machine.irq_off.get(),
            rcu: machine.rcu.get(),
            fold: machine.fold.get(),
        }
    }

    pub(super) fn state_of(&self, task: u8) -> State {
        self.slots[usize::from(task)].state
    }

    /// Computes anew what a CPU can do.
    pub(super) fn refresh(&mut self, cpu: u8) {
        let at = usize::from(cpu);
        let Cpu { current, ref queue, .. } = self.cpus[at];
        let ready = current != NOBODY && self.state_of(current) == State::Ready;
        let called = !self.machine.board.borrow().calls[at].is_empty()
            && (current == NOBODY || self.account(current).irq_off == 0);
        let crowded = ready && !queue.is_empty();
        let bit = 1u128 << cpu;
        let set = |mask: u128, on: bool| if on { mask | bit } else { mask & !bit };
        self.crowded = set(self.crowded, crowded);
        let runnable = set(self.runnable, ready || called);
        self.count = if runnable > self.runnable {
            self.count + 1
        } else {
            self.count - u32::from(runnable < self.runnable)
        };
        self.runnable = runnable;
        self.interrupted = set(self.interrupted, called);
    }

    pub(super) fn refresh_all(&mut self) {
        (0..self.cpus.len() as u8).for_each(|cpu| self.refresh(cpu));
    }

    /// The CPU's task ended, and there is nothing else for it to do.
    pub(super) fn idle(&mut self, cpu: u8) {
        let bit = 1u128 << cpu;
        self.count -= u32::from(self.runnable & bit != 0);
        self.runnable &= !bit;
        self.crowded &= !bit;
        self.interrupted &= !bit;
        self.cpus[usize::from(cpu)].current = NOBODY;
    }

    /// Gives the CPU, whose task ended or sleeps, to the next one.
    pub(super) fn dispatch(&mut self, cpu: u8) {
        let at = usize::from(cpu);
        let next = self.cpus[at].queue.pop_front().unwrap_or(NOBODY);
        self.cpus[at].current = next;
        if next != NOBODY {
            self.events[at] = self.slots[usize::from(next)].event;
        }
        self.quiescent(cpu);
    }

    /// A woken task queues for its CPU, or still has it.
    pub(super) fn enqueue(&mut self, task: u8) {
        let slot = &mut self.slots[usize::from(task)];
        slot.state = State::Ready;
        let cpu = slot.cpu;
        let at = usize::from(cpu);
        if self.cpus[at].current != task {
            self.cpus[at].queue.push_back(task);
            if self.cpus[at].current == NOBODY {
                self.dispatch(cpu);
            }
        }
        self.refresh(cpu);
    }

    /// A CPU that is to move and is not plainly alone with its task. True if that was the move.
    #[cold]
    pub(super) fn special<S: Strategy>(&mut self, cpu: u8, strategy: &mut S) -> bool {
        if self.interrupted >> cpu & 1 == 1 {
            self.take_call(cpu);
            return true;
        }
        let at = usize::from(cpu);
        if self.switch_point(cpu) {
            let others = self.cpus[at].queue.len();
            let pick = if self.fair {
                usize::from(self.cpus[at].resched)
            } else {
                let value = strategy.next_value(others as u32 + 1).min(others as u32);
                self.record.push(0x80 | value as u8);
                value as usize
            };
            self.cpus[at].resched = false;
            if pick > 0 {
                self.preempt(cpu, pick - 1);
            }
        }
        false
    }

    /// Whether the model lets the CPU switch from its task, which is ready, here.
    pub(super) fn switch_point(&self, cpu: u8) -> bool {
        let account = self.account(self.cpus[usize::from(cpu)].current);
        if account.held & ATOMICS != 0 {
            return false;
        }
        match (self.preempt, self.events[usize::from(cpu)].access()) {
            (Preempt::Full, _) | (_, Access::Resched) => true,
            (Preempt::Voluntary, access) => access == Access::MightSleep,
            (Preempt::None, _) => false,
        }
    }

    fn preempt(&mut self, cpu: u8, pick: usize) {
        let at = usize::from(cpu);
        let event = self.events[at];
        let Cpu { current, queue, .. } = &mut self.cpus[at];
        if let Some(next) = queue.remove(pick) {
            self.slots[usize::from(*current)].event = event;
            queue.push_back(std::mem::replace(current, next));
            self.events[at] = self.slots[usize::from(next)].event;
        }
        self.quiescent(cpu);
        self.woken();
    }

    /// Runs the first call that waits for a CPU. The sender's future, which is stopped in
    /// `smp_call`, lends its closure.
    fn take_call(&mut self, cpu: u8) {
        let machine = self.machine;
        let at = usize::from(cpu);
        let Some(sender) = machine.board.borrow_mut().calls[at].pop_front() else { return };
        let (account, irq_off) = (machine.account.get(), machine.irq_off.get());
        let (name, on) = (machine.name.get(), machine.cpu.get());
        machine.irq_off.set(1);
        machine.account.set(account | ATOMIC);
        machine.cpu.set(cpu);
        machine.resumed.set(false);
        machine.delivering.set(Some(cpu));
        if let Some(future) = &mut self.slots[usize::from(sender)].future {
            let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        machine.account.set(account);
        machine.irq_off.set(irq_off);
        machine.name.set(name);
        machine.cpu.set(on);
        self.acknowledged(cpu, sender);
        self.points += 1;
        self.refresh(cpu);
    }

    fn acknowledged(&mut self, cpu: u8, sender: u8) {
        let mut board = self.machine.board.borrow_mut();
        let Some(index) = board.waiters.iter().position(|waiter| waiter.task == sender) else {
            return;
        };
        board.waiters[index].cpus &= !(1 << cpu);
        if board.waiters[index].cpus == 0 {
            board.end_wait(index);
        }
        drop(board);
        self.woken();
    }

    /// Queues every task whose wait has ended.
    pub(super) fn woken(&mut self) {
        loop {
            let next = self.machine.board.borrow_mut().woken.pop();
            let Some(task) = next else { break };
            self.enqueue(task);
        }
    }
}
