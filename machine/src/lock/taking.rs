//! Taking a lock, from the first try to the end of the wait.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use crate::machine::Machine;
use crate::point::Stop;

/// How one kind of lock is taken; [`Taking`] calls these in order.
pub trait Take {
    /// Takes it, if nothing else is on the machine and it is free.
    fn alone(&self, machine: &Machine) -> bool;

    /// Stops before it.
    fn stop(&self, machine: &Machine);

    /// Takes it, or queues and says no. Whoever lets this task in later leaves it the lock.
    fn arrive(&self, machine: &Machine) -> bool;

    /// The machine is told of the lock that is now held.
    fn taken(&self, machine: &Machine);
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    New,
    Stopped,
    Queued,
}

/// A lock being taken. A future by hand: free locks of tasks that run alone are the most frequent
/// points of all, and this one is a few instructions where an `async fn` is a call.
#[must_use = "a lock is not taken unless awaited"]
#[derive(Debug)]
pub struct Taking<'m, L> {
    lock: L,
    machine: &'m Machine,
    progress: Progress,
}

impl<'m, L> Taking<'m, L> {
    #[inline]
    pub(crate) fn new(machine: &'m Machine, lock: L) -> Taking<'m, L> {
        Taking { lock, machine, progress: Progress::New }
    }
}

impl<L: Take + Unpin> Future for Taking<'_, L> {
    type Output = ();

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.lock.alone(self.machine) { Poll::Ready(()) } else { self.slowly(context) }
    }
}

impl<L: Take + Unpin> Taking<'_, L> {
    /// What is alone takes the lock if it is free, and else would wait for ever.
    #[inline(always)]
    pub fn alone(self) -> Option<()> {
        if self.lock.alone(self.machine) { Some(()) } else { self.alone_slowly() }
    }

    #[cold]
    fn alone_slowly(mut self) -> Option<()> {
        match Pin::new(&mut self).slowly(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(()) => Some(()),
            Poll::Pending => None,
        }
    }

    #[inline(never)]
    fn slowly(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let machine = self.machine;
        if let Progress::New = self.progress {
            self.lock.stop(machine);
            self.progress = Progress::Stopped;
        }
        ready!(Pin::new(&mut Stop(machine)).poll(context));
        if let Progress::Stopped = self.progress
            && !self.lock.arrive(machine)
        {
            self.progress = Progress::Queued;
            ready!(Pin::new(&mut Stop(machine)).poll(context));
        }
        self.lock.taken(machine);
        Poll::Ready(())
    }
}
