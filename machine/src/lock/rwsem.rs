//! Reader-writer semaphores.

use std::cell::Cell;

use crate::board::Wait;
use crate::conduct::Conduct;
use crate::event::{Access, Event, address};
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

impl RwSem {
    /// `down_read`.
    #[inline]
    pub async fn read(&self, machine: &Machine, name: &'static str) {
        match machine.count_alone(1, ATOMICS) {
            Some(account) if !self.closed.get() => {
                machine.account.set(account);
                self.readers.set(self.readers.get() + 1);
            }
            _ => self.read_slowly(machine, name).await,
        }
    }

    async fn read_slowly(&self, machine: &Machine, name: &'static str) {
        let task = machine.name.get();
        machine.may_sleep(name);
        machine.stop(Event::on(self, Access::Lock)).await;
        if self.closed.get() {
            // Whoever lets this task in has counted it.
            let owner = self.writer.get();
            machine.wait_as(task, Wait::Read, address(self), name, owner).await;
        } else {
            self.readers.set(self.readers.get() + 1);
        }
        machine.count_in(1);
        machine.took(address(self), task, name, true, false);
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
    pub async fn write(&self, machine: &Machine, task: Task, name: &'static str) {
        match machine.count_alone(1, ATOMICS) {
            Some(account) if self.readers.get() == 0 && !self.closed.get() => {
                machine.account.set(account);
                self.writer.set(Some(task));
                self.closed.set(true);
            }
            _ => self.write_slowly(machine, task, name).await,
        }
    }

    async fn write_slowly(&self, machine: &Machine, task: Task, name: &'static str) {
        machine.may_sleep(name);
        machine.stop(Event::on(self, Access::Lock)).await;
        if self.readers.get() != 0 || self.closed.get() {
            let owner = self.writer.get();
            let wait = machine.wait_as(task, Wait::Write, address(self), name, owner);
            self.closed.set(true);
            wait.await;
        } else {
            self.writer.set(Some(task));
            self.closed.set(true);
        }
        machine.count_in(1);
        machine.took(address(self), task, name, false, false);
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

    /// Forgets every holder (the machine is reset).
    pub fn reset(&self) {
        self.readers.set(0);
        self.writer.set(None);
        self.closed.set(false);
    }
}
