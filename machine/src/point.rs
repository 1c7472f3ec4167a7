//! Scheduling points: where a task can stop.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::board::{Wait, Waiter};
use crate::conduct::Conduct;
use crate::event::{Access, Event};
use crate::machine::{BLOCKED, Machine, Task};

/// Stops the task; the executor says when it passes.
///
/// It has no state of its own: the executor sets `resumed` before it polls a task that stopped,
/// and the first thing polled is the place where it stopped. A task that is the only one which can
/// run passes while its fuel lasts.
pub(crate) struct Stop<'m>(pub(crate) &'m Machine);

impl Future for Stop<'_> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.resumed.replace(false) || self.0.fuel.get() != 0 && self.0.burn() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Stop<'_> {
    /// Nobody lets pass what is alone.
    pub(crate) fn alone(self) -> Option<()> {
        None
    }
}

/// A scheduling point; see [`Machine::point`]. A future by hand: an `async fn` would be one level
/// more to go through at each switch.
#[must_use = "a point does nothing unless awaited"]
#[derive(Debug)]
pub struct Point<'m> {
    machine: &'m Machine,
    event: Event,
}

impl Future for Point<'_> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let machine = self.machine;
        // Mostly it goes on where it stopped.
        if machine.resumed.replace(false) {
            return Poll::Ready(());
        }
        if let Some(account) = machine.count_alone(0, 0) {
            machine.account.set(account);
            return Poll::Ready(());
        }
        Pin::new(&mut machine.stop(self.event)).poll(context)
    }
}

impl Point<'_> {
    /// What is alone passes, while its fuel lasts.
    #[inline]
    pub fn alone(self) -> Option<()> {
        let Some(account) = self.machine.count_alone(0, 0) else {
            return self.machine.stop(self.event).alone();
        };
        self.machine.account.set(account);
        Some(())
    }
}

#[twice]
impl Machine {
    fn burn(&self) -> bool {
        self.fuel.set(self.fuel.get() - 1);
        true
    }

    /// Stops before `event`.
    #[inline]
    pub(crate) fn stop(&self, event: Event) -> Stop<'_> {
        self.event.set(event);
        if !self.multi() {
            self.report(Conduct::OutOfFuel);
        }
        Stop(self)
    }

    /// A scheduling point. With one runnable task it does not yield.
    #[inline]
    pub fn point(&self) -> Point<'_> {
        self.point_at(Event::NONE)
    }

    /// A scheduling point before something that strategies may want to know about.
    #[inline]
    pub fn point_at(&self, event: Event) -> Point<'_> {
        Point { machine: self, event }
    }

    /// `cond_resched`: every preemption model may switch tasks here.
    #[inline]
    pub async fn cond_resched(&self) {
        self.may_sleep("cond_resched");
        self.point_at(Event::new(0, Access::Resched)).await;
    }

    /// `might_sleep`: complains in atomic context; the voluntary model may switch tasks here.
    #[inline]
    pub async fn might_sleep(&self) {
        self.may_sleep("might_sleep");
        self.point_at(Event::new(0, Access::MightSleep)).await;
    }

    /// `cpu_relax`: one round of a loop that waits for another CPU.
    #[inline]
    pub async fn cpu_relax(&self) {
        self.point_at(Event::new(0, Access::Pause)).await;
    }

    /// Waits until somebody on the machine ends the wait; alone, for ever.
    pub(crate) fn wait(&self, wait: Wait, object: usize, lock: &'static str) -> Stop<'_> {
        self.wait_as(self.name.get(), wait, object, lock, None)
    }

    /// The same, for a lock that is to belong to `name` and belongs to `owner`.
    pub(crate) fn wait_as(
        &self,
        name: Task,
        wait: Wait,
        object: usize,
        lock: &'static str,
        owner: Option<Task>,
    ) -> Stop<'_> {
        self.waiting.set(lock);
        if self.multi() {
            self.waits_for_line(object);
            self.enlist(name, wait, object, lock, owner, 0);
        }
        Stop(self)
    }

    pub(crate) fn enlist(
        &self,
        name: Task,
        wait: Wait,
        object: usize,
        lock: &'static str,
        owner: Option<Task>,
        cpus: u128,
    ) {
        self.event.set(Event::new(object, Access::Block));
        self.attend(BLOCKED);
        let task = self.current.get();
        let waiter = Waiter { task, name, wait, object, lock, owner, cpus };
        self.board.borrow_mut().waiters.push(waiter);
    }

    /// Sleeps on a wait queue, which any object can be, until [`Machine::wake_up`]. Nobody on the
    /// machine is held responsible for the wake-up: a task left here is pending, not deadlocked.
    pub async fn sleep_on<T>(&self, queue: &T, name: &'static str) {
        self.may_sleep(name);
        self.point_at(Event::on(queue, Access::Lock)).await;
        self.wait(Wait::Queue, crate::event::address(queue), name).await;
    }

    /// Sleeps on a wait queue if `condition` holds, as [`Machine::sleep_on`]: looking and going to
    /// sleep are one step, so that no wake-up is lost between them (kernel: a task queues itself
    /// before it looks).
    pub async fn sleep_if<T>(
        &self,
        queue: &T,
        name: &'static str,
        condition: impl FnOnce() -> bool,
    ) {
        self.may_sleep(name);
        self.point_at(Event::on(queue, Access::Lock)).await;
        let sleep = condition();
        self.seen(u64::from(sleep));
        if sleep {
            self.wait(Wait::Queue, crate::event::address(queue), name).await;
        }
    }

    /// Wakes every task that sleeps on a wait queue.
    pub fn wake_up<T>(&self, queue: &T) {
        if self.multi() {
            self.wake_where(crate::event::address(queue), |wait| wait == Wait::Queue);
        }
    }
}
