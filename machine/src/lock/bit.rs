//! Sleeping bit locks.

use std::cell::Cell;

use crate::board::Wait;
use crate::conduct::Conduct;
use crate::event::{Access, Event, address};
use crate::machine::{ATOMICS, Machine, Task};

/// How often a waiter may come too late before the bit is handed to it
/// (kernel: `sysctl_page_lock_unfairness`).
const UNFAIRNESS: u8 = 5;

/// All bit locks are one class to lockdep, that of PG_locked: a trylock does not say which it is.
const CLASS: &str = "folio lock";

/// A sleeping bit lock such as PG_locked, owned by a task. Unfair: a release wakes all who wait,
/// and whoever comes first takes the bit, be it a newcomer.
#[derive(Debug, Default)]
pub struct BitLock {
    owner: Cell<Option<Task>>,
}

#[twice]
impl BitLock {
    /// The holder.
    #[inline]
    pub fn owner(&self) -> Option<Task> {
        self.owner.get()
    }

    /// `folio_trylock`, in one step with what came before.
    #[inline]
    pub fn try_lock(&self, machine: &Machine, task: Task) -> bool {
        let free = self.owner.get().is_none();
        if free {
            self.owner.set(Some(task));
            self.count(machine, task);
        } else if machine.watched.get() {
            self.refused(machine);
        }
        free
    }

    /// The search for a lasso is told. A loop that waits for a lock which the program itself keeps
    /// is nobody's livelock.
    #[cold]
    fn refused(&self, machine: &Machine) {
        machine.fold_in(0);
        let (object, mut board) = (address(self), machine.board.borrow_mut());
        let Some(hold) = board.holds.iter().find(|hold| hold.object == object) else {
            return machine.excused.set(true);
        };
        let tried = (machine.name.get(), board.owned(hold));
        if !board.tries.contains(&tried) {
            board.tries.push(tried);
        }
    }

    #[inline]
    fn count(&self, machine: &Machine, task: Task) {
        if machine.count_in(1) {
            machine.seen(1);
            machine.took(address(self), task, CLASS, false, true);
        }
    }

    /// `folio_trylock` as a scheduling point.
    #[inline]
    pub async fn try_acquire(&self, machine: &Machine, task: Task) -> bool {
        machine.point_at(Event::on(self, Access::Lock)).await;
        self.try_lock(machine, task)
    }

    /// `folio_lock`.
    #[inline]
    pub async fn lock(&self, machine: &Machine, task: Task, name: &'static str) {
        match machine.count_alone(1, ATOMICS) {
            Some(account) if self.owner.get().is_none() => {
                machine.account.set(account);
                self.owner.set(Some(task));
            }
            _ => self.lock_slowly(machine, task, name).await,
        }
    }

    async fn lock_slowly(&self, machine: &Machine, task: Task, name: &'static str) {
        machine.may_sleep(name);
        machine.stop(Event::on(self, Access::Lock)).await;
        let mut late = 0;
        while let Some(owner) = self.owner.get() {
            machine.wait_as(task, Wait::Bit(late), address(self), name, Some(owner)).await;
            if late >= UNFAIRNESS {
                break; // handed over: only this waiter was woken
            }
            late += 1;
        }
        self.owner.set(Some(task));
        machine.count_in(1);
        machine.took(address(self), task, CLASS, false, false);
    }

    /// Sleeps until the bit is released once; that is a hint, not ownership.
    pub async fn wait(&self, machine: &Machine, name: &'static str) {
        machine.may_sleep(name);
        machine.point_at(Event::on(self, Access::Read)).await;
        let owner = self.owner.get();
        machine.seen(u64::from(owner.is_some()));
        if owner.is_some() {
            let task = machine.name.get();
            machine.wait_as(task, Wait::BitShared, address(self), name, owner).await;
        }
    }

    /// Sleeps as [`BitLock::wait`] does, for a task that keeps the bit's object alive by a spinlock:
    /// `release` drops that one when the task is queued, so that nothing happens to the object in
    /// between (kernel: `migration_entry_wait_on_locked`).
    pub async fn wait_releasing(
        &self,
        machine: &Machine,
        name: &'static str,
        release: impl FnOnce(),
    ) {
        machine.point_at(Event::on(self, Access::Read)).await;
        let owner = self.owner.get();
        machine.seen(u64::from(owner.is_some()));
        release();
        machine.may_sleep(name);
        if owner.is_some() {
            let task = machine.name.get();
            machine.wait_as(task, Wait::BitShared, address(self), name, owner).await;
        }
    }

    /// Sleeps until the next release without a look at the bit (a planted defect): if it is free
    /// already, nobody may come.
    pub async fn wait_unseen(&self, machine: &Machine, name: &'static str) {
        let (task, owner) = (machine.name.get(), self.owner.get());
        machine.wait_as(task, Wait::BitShared, address(self), name, owner).await;
    }

    /// `folio_unlock`, in one step with what came before.
    #[inline]
    pub fn unlock(&self, machine: &Machine, task: Task, name: &'static str) {
        if self.clear(machine, task, name) {
            self.wake(machine);
        }
    }

    /// `folio_unlock` as a scheduling point.
    #[inline]
    pub async fn release(&self, machine: &Machine, task: Task, name: &'static str) {
        machine.point_at(Event::on(self, Access::Update)).await;
        self.unlock(machine, task, name);
    }

    /// Clears the bit and wakes nobody: the holder takes it again at once, or it is a planted
    /// defect. True if somebody may wait.
    #[inline]
    pub fn clear(&self, machine: &Machine, task: Task, name: &'static str) -> bool {
        if self.owner.get() != Some(task) {
            machine.report(Conduct::UnlockByNonOwner(name));
            return false;
        }
        self.owner.set(None);
        let multi = machine.count_out(1);
        if multi {
            machine.dropped(address(self), task);
        }
        multi
    }

    #[cold]
    fn wake(&self, machine: &Machine) {
        let object = address(self);
        machine.wake_where(object, |wait| wait == Wait::BitShared);
        match machine.hand_over(object, |wait| wait == Wait::Bit(UNFAIRNESS)) {
            Some(next) => self.owner.set(Some(next.name)),
            None => machine.wake_where(object, |wait| matches!(wait, Wait::Bit(_))),
        }
    }

    /// From here on the program holds the bit, not the running operation: whoever waits for it
    /// waits for the program.
    pub fn keep(&self, machine: &Machine) {
        machine.released();
        if let (true, Some(task)) = (machine.multi(), self.owner.get()) {
            machine.dropped(address(self), task);
            machine.kept(address(self), task);
        }
    }

    /// Makes `task` the holder of a bit that came into being locked (a split hands the lock of
    /// the whole to each part).
    #[inline]
    pub fn set_owner(&self, task: Task, machine: &Machine) {
        self.owner.set(Some(task));
        self.count(machine, task);
    }

    /// A fresh, unlocked bit.
    #[inline]
    pub fn reset(&self) {
        self.owner.set(None);
    }
}
