//! Reader-writer semaphores.

use std::cell::Cell;

use crate::board::Wait;
use crate::conduct::Conduct;
use crate::event::{Access, Event, address};
use crate::lock::taking::{Take, Taking};
use crate::machine::{ATOMICS, Machine, Task};

/// A reader-writer semaphore (kernel: `struct rw_semaphore`). Fair to writers: a reader that comes
/// while a writer waits queues behind it. A release hands the semaphore to the writer that came
/// first, or to all waiting readers if a reader came first.
#[derive(Debug, Default)]
pub struct RwSem {
    readers: Cell<u32>,
    writer: Cell<Option<Task>>,
    /// A writer is inside or somebody waits: nobody else comes in.
    closed: Cell<bool>,
}

#[twice]
impl RwSem {
    /// `down_read`.
    #[inline]
    pub fn read<'m>(&'m self, machine: &'m Machine, name: &'static str) -> Taking<'m, Read<'m>> {
        Taking::new(machine, Read { lock: self, name })
    }

    /// `down_read_trylock`: a scheduling point, then at once yes or no.
    #[inline]
    pub async fn try_read(&self, machine: &Machine, name: &'static str) -> bool {
        machine.point_at(Event::on(self, Access::Lock)).await;
        let open = !self.closed.get();
        machine.seen(u64::from(open));
        if open {
            self.readers.set(self.readers.get() + 1);
            if machine.count_in(1) {
                machine.took(address(self), machine.name.get(), name, true, true);
            }
        }
        open
    }

    /// `up_read`, in one step with what came before.
    #[inline]
    pub fn read_unlock(&self, machine: &Machine, name: &'static str) {
        if self.readers.get() == 0 {
            return machine.report(Conduct::UnlockByNonOwner(name));
        }
        self.readers.set(self.readers.get() - 1);
        if machine.count_out(1) {
            self.pass_on(machine, machine.name.get(), name);
        }
    }

    /// `up_read` as a scheduling point.
    #[inline]
    pub async fn read_release(&self, machine: &Machine, name: &'static str) {
        machine.point_at(Event::on(self, Access::Update)).await;
        self.read_unlock(machine, name);
    }

    /// `down_write`.
    #[inline]
    pub fn write<'m>(
        &'m self,
        machine: &'m Machine,
        task: Task,
        name: &'static str,
    ) -> Taking<'m, Write<'m>> {
        Taking::new(machine, Write { lock: self, task, name })
    }

    /// `up_write`, in one step with what came before.
    #[inline]
    pub fn write_unlock(&self, machine: &Machine, task: Task, name: &'static str) {
        if self.writer.get() != Some(task) {
            return machine.report(Conduct::UnlockByNonOwner(name));
        }
        self.writer.set(None);
        self.closed.set(false);
        if machine.count_out(1) {
            self.pass_on(machine, task, name);
        }
    }

    /// `up_write` as a scheduling point.
    #[inline]
    pub async fn write_release(&self, machine: &Machine, task: Task, name: &'static str) {
        machine.point_at(Event::on(self, Access::Update)).await;
        self.write_unlock(machine, task, name);
    }

    /// Lets in whoever is first, now that a holder left.
    #[cold]
    fn pass_on(&self, machine: &Machine, task: Task, name: &'static str) {
        if !machine.dropped(address(self), task) {
            machine.report(Conduct::UnlockByNonOwner(name));
        }
        let first = machine.first_waiter(address(self));
        match first {
            Some(Wait::Write) if self.readers.get() == 0 => {
                let next = machine.hand_over(address(self), |wait| wait == Wait::Write);
                self.writer.set(next.map(|waiter| waiter.name));
            }
            Some(Wait::Read) => {
                while machine.hand_over(address(self), |wait| wait == Wait::Read).is_some() {
                    self.readers.set(self.readers.get() + 1);
                }
            }
            _ => {}
        }
        let queued = machine.first_waiter(address(self)).is_some();
        self.closed.set(self.writer.get().is_some() || queued);
    }

    /// `lockdep_assert_held`, as far as `rwsem_is_locked` tells: somebody holds it.
    #[inline]
    pub fn assert_held(&self, machine: &Machine, name: &'static str) {
        if self.readers.get() == 0 && self.writer.get().is_none() {
            machine.report(Conduct::NotHeld(name));
        }
    }

    /// Forgets every holder (the machine is reset).
    pub fn reset(&self) {
        self.readers.set(0);
        self.writer.set(None);
        self.closed.set(false);
    }
}

/// `down_read` under way.
#[derive(Debug)]
pub struct Read<'m> {
    lock: &'m RwSem,
    name: &'static str,
}

impl Take for Read<'_> {
    #[inline]
    fn alone(&self, machine: &Machine) -> bool {
        let Some(account) = machine.count_alone(1, ATOMICS) else { return false };
        if self.lock.closed.get() {
            return false;
        }
        machine.account.set(account);
        self.lock.readers.set(self.lock.readers.get() + 1);
        true
    }

    fn stop(&self, machine: &Machine) {
        machine.may_sleep(self.name);
        machine.stop(Event::on(self.lock, Access::Lock));
    }

    fn arrive(&self, machine: &Machine) -> bool {
        if !self.lock.closed.get() {
            self.lock.readers.set(self.lock.readers.get() + 1);
            return true;
        }
        // Whoever lets this task in has counted it.
        let (task, owner) = (machine.name.get(), self.lock.writer.get());
        machine.wait_as(task, Wait::Read, address(self.lock), self.name, owner);
        false
    }

    fn taken(&self, machine: &Machine) {
        machine.count_in(1);
        machine.took(address(self.lock), machine.name.get(), self.name, true, false);
    }
}

/// `down_write` under way.
#[derive(Debug)]
pub struct Write<'m> {
    lock: &'m RwSem,
    task: Task,
    name: &'static str,
}

impl Take for Write<'_> {
    #[inline]
    fn alone(&self, machine: &Machine) -> bool {
        let Some(account) = machine.count_alone(1, ATOMICS) else { return false };
        if self.lock.readers.get() != 0 || self.lock.closed.get() {
            return false;
        }
        machine.account.set(account);
        self.lock.writer.set(Some(self.task));
        self.lock.closed.set(true);
        true
    }

    fn stop(&self, machine: &Machine) {
        machine.may_sleep(self.name);
        machine.stop(Event::on(self.lock, Access::Lock));
    }

    fn arrive(&self, machine: &Machine) -> bool {
        let free = self.lock.readers.get() == 0 && !self.lock.closed.get();
        if free {
            self.lock.writer.set(Some(self.task));
        } else {
            let owner = self.lock.writer.get();
            machine.wait_as(self.task, Wait::Write, address(self.lock), self.name, owner);
        }
        self.lock.closed.set(true);
        free
    }

    fn taken(&self, machine: &Machine) {
        machine.count_in(1);
        machine.took(address(self.lock), self.task, self.name, false, false);
    }
}
