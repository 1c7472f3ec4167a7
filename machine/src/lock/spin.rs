//! Spinlocks.

use std::cell::Cell;

use crate::board::Wait;
use crate::conduct::Conduct;
use crate::event::{Access, Event, address};
use crate::lock::taking::{Take, Taking};
use crate::machine::{ATOMIC, Machine, Task};

/// A spinlock held: a lock, and a reason to be atomic.
const SPIN: u64 = ATOMIC + 1;

/// A spinlock (kernel: `spinlock_t`). Fair as qspinlock is: the release hands it to the waiter
/// that came first, and a trylock fails while anybody waits.
#[derive(Debug, Default)]
pub struct SpinLock {
    owner: Cell<Option<Task>>,
}

#[twice]
impl SpinLock {
    /// `spin_lock`. A task that waits keeps its CPU.
    #[inline]
    pub fn lock<'m>(
        &'m self,
        machine: &'m Machine,
        task: Task,
        name: &'static str,
    ) -> Taking<'m, Spin<'m>> {
        Taking::new(machine, Spin { lock: self, task, name })
    }

    /// `spin_trylock`: a scheduling point, then at once yes or no.
    #[inline]
    pub async fn try_lock(&self, machine: &Machine, task: Task, name: &'static str) -> bool {
        machine.point_at(Event::on(self, Access::Lock)).await;
        let free = self.owner.get().is_none();
        machine.touch(address(self), false);
        machine.seen(u64::from(free));
        if free {
            self.owner.set(Some(task));
            if machine.count_in(SPIN) {
                machine.took(address(self), task, name, false, true);
            }
        }
        free
    }

    /// `spin_unlock`, in one step with what came before.
    #[inline]
    pub fn unlock(&self, machine: &Machine, task: Task, name: &'static str) {
        if self.owner.get() != Some(task) {
            return machine.report(Conduct::UnlockByNonOwner(name));
        }
        self.owner.set(None);
        if machine.count_out(SPIN) {
            self.pass_on(machine, task);
        }
    }

    /// `spin_unlock` as a scheduling point.
    #[inline]
    pub async fn release(&self, machine: &Machine, task: Task, name: &'static str) {
        machine.point_at(Event::on(self, Access::Update)).await;
        self.unlock(machine, task, name);
    }

    #[cold]
    fn pass_on(&self, machine: &Machine, task: Task) {
        machine.dropped(address(self), task);
        let next = machine.hand_over(address(self), |wait| wait == Wait::Spin);
        self.owner.set(next.map(|waiter| waiter.name));
    }

    /// The holder.
    pub fn owner(&self) -> Option<Task> {
        self.owner.get()
    }
}

/// `spin_lock` under way.
#[derive(Debug)]
pub struct Spin<'m> {
    lock: &'m SpinLock,
    task: Task,
    name: &'static str,
}

impl Take for Spin<'_> {
    #[inline]
    fn alone(&self, machine: &Machine) -> bool {
        let Some(account) = machine.count_alone(SPIN, 0) else { return false };
        if self.lock.owner.get().is_some() {
            return false;
        }
        machine.account.set(account);
        self.lock.owner.set(Some(self.task));
        true
    }

    fn stop(&self, machine: &Machine) {
        machine.stop(Event::on(self.lock, Access::Lock));
    }

    fn arrive(&self, machine: &Machine) -> bool {
        let Some(owner) = self.lock.owner.get() else { return true };
        if owner == self.task {
            machine.report(Conduct::Recursion(self.name));
        }
        machine.wait_as(self.task, Wait::Spin, address(self.lock), self.name, Some(owner));
        false
    }

    fn taken(&self, machine: &Machine) {
        self.lock.owner.set(Some(self.task));
        machine.count_in(SPIN);
        machine.took(address(self.lock), self.task, self.name, false, false);
    }
}
