//! Locks and sequence counters. Each is a scheduling point and checks who owns it.

use std::cell::Cell;

use crate::conduct::Conduct;
use crate::cpu::Machine;

/// A task; tasks own locks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Task(pub u8);

/// A spinlock (kernel: `spinlock_t`).
#[derive(Debug, Default)]
pub struct SpinLock {
    owner: Cell<Option<Task>>,
}

impl SpinLock {
    /// `spin_lock`.
    #[inline]
    pub async fn lock(&self, machine: &Machine, task: Task, name: &'static str) {
        machine.point().await;
        if self.owner.get().is_some() {
            self.contended(machine, task, name).await;
        }
        self.owner.set(Some(task));
        machine.acquired();
    }

    async fn contended(&self, machine: &Machine, task: Task, name: &'static str) {
        if self.owner.get() == Some(task) {
            machine.report(Conduct::Recursion(name));
        }
        machine.sleep_on(name).await;
    }

    /// `spin_unlock`.
    #[inline]
    pub fn unlock(&self, machine: &Machine, task: Task, name: &'static str) {
        if self.owner.get() != Some(task) {
            machine.report(Conduct::UnlockByNonOwner(name));
        }
        self.owner.set(None);
        machine.released();
    }
}

/// A reader-writer semaphore (kernel: `struct rw_semaphore`).
#[derive(Debug, Default)]
pub struct RwSem {
    readers: Cell<u32>,
    writer: Cell<Option<Task>>,
}

impl RwSem {
    /// `down_read`.
    #[inline]
    pub async fn read(&self, machine: &Machine, name: &'static str) {
        machine.point().await;
        if self.writer.get().is_some() {
            machine.sleep_on(name).await;
        }
        self.readers.set(self.readers.get() + 1);
        machine.acquired();
    }

    /// `up_read`.
    #[inline]
    pub fn read_unlock(&self, machine: &Machine, name: &'static str) {
        if self.readers.get() == 0 {
            machine.report(Conduct::UnlockByNonOwner(name));
        }
        self.readers.set(self.readers.get().saturating_sub(1));
        machine.released();
    }

    /// `down_write`.
    #[inline]
    pub async fn write(&self, machine: &Machine, task: Task, name: &'static str) {
        machine.point().await;
        if self.readers.get() != 0 || self.writer.get().is_some() {
            machine.sleep_on(name).await;
        }
        self.writer.set(Some(task));
        machine.acquired();
    }

    /// `up_write`.
    #[inline]
    pub fn write_unlock(&self, machine: &Machine, task: Task, name: &'static str) {
        if self.writer.get() != Some(task) {
            machine.report(Conduct::UnlockByNonOwner(name));
        }
        self.writer.set(None);
        machine.released();
    }

    /// Forgets every holder (the machine is reset).
    pub fn reset(&self) {
        self.readers.set(0);
        self.writer.set(None);
    }
}

/// A sleeping bit lock such as PG_locked, owned by a task. It does not count as held by the
/// operation: whoever embeds it decides (a `lock_page` keeps it across operations).
#[derive(Debug, Default)]
pub struct BitLock {
    owner: Cell<Option<Task>>,
}

impl BitLock {
    /// The holder.
    #[inline]
    pub fn owner(&self) -> Option<Task> {
        self.owner.get()
    }

    /// `folio_trylock`.
    #[inline]
    pub fn try_lock(&self, machine: &Machine, task: Task) -> bool {
        if self.owner.get().is_some() {
            return false;
        }
        self.owner.set(Some(task));
        machine.acquired();
        true
    }

    /// `folio_lock`.
    #[inline]
    pub async fn lock(&self, machine: &Machine, task: Task, name: &'static str) {
        machine.point().await;
        if !self.try_lock(machine, task) {
            machine.sleep_on(name).await;
        }
    }

    /// Sleeps until the bit is clear; the wake-up is a hint, not ownership.
    pub async fn wait(&self, machine: &Machine, name: &'static str) {
        machine.point().await;
        if self.owner.get().is_some() {
            machine.sleep_on(name).await;
        }
    }

    /// `folio_unlock`.
    #[inline]
    pub fn unlock(&self, machine: &Machine, task: Task, name: &'static str) {
        if self.owner.get() != Some(task) {
            machine.report(Conduct::UnlockByNonOwner(name));
        }
        self.owner.set(None);
        machine.released();
    }

    /// Makes `task` the holder of a bit that came into being locked (a split hands the lock of
    /// the whole to each part).
    #[inline]
    pub fn set_owner(&self, task: Task, machine: &Machine) {
        self.owner.set(Some(task));
        machine.acquired();
    }

    /// A fresh, unlocked bit.
    #[inline]
    pub fn reset(&self) {
        self.owner.set(None);
    }
}

/// A sequence counter (kernel: `seqcount_t`): odd while a writer is inside.
#[derive(Debug, Default)]
pub struct SeqCount {
    sequence: Cell<u32>,
}

impl SeqCount {
    /// `raw_write_seqcount_begin` / `_end`.
    pub fn bump(&self) {
        self.sequence.set(self.sequence.get().wrapping_add(1));
    }

    /// `raw_read_seqcount`.
    pub fn read(&self) -> u32 {
        self.sequence.get()
    }
}
