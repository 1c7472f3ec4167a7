//! Scheduling points and the accounting that every task is subject to.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::conduct::Conduct;

/// The state that all primitives share.
#[derive(Debug, Default)]
pub struct Machine {
    held: Cell<u32>,
    irq_off: Cell<u32>,
    waiting: Cell<&'static str>,
    conduct: Cell<Option<Conduct>>,
}

impl Machine {
    /// A scheduling point. With one runnable task it never yields.
    #[inline]
    pub async fn point(&self) {}

    /// Records that a rule was broken; the first one counts.
    #[cold]
    pub fn report(&self, conduct: Conduct) {
        if self.conduct.get().is_none() {
            self.conduct.set(Some(conduct));
        }
    }

    /// The first rule broken since [`Machine::begin`].
    pub fn conduct(&self) -> Option<Conduct> {
        self.conduct.get()
    }

    /// Starts the accounting of an operation.
    pub fn begin(&self) {
        self.held.set(0);
        self.irq_off.set(0);
        self.conduct.set(None);
    }

    /// Ends an operation: nothing may be held any more.
    pub fn end(&self) {
        if self.held.get() != 0 {
            self.report(Conduct::HeldAtEnd(self.held.get()));
        }
        if self.irq_off.get() != 0 {
            self.report(Conduct::IrqOffAtEnd);
        }
    }

    /// One lock more is held by the running operation.
    #[inline]
    pub fn acquired(&self) {
        self.held.set(self.held.get() + 1);
    }

    /// One lock fewer is held by the running operation.
    #[inline]
    pub fn released(&self) {
        self.held.set(self.held.get().wrapping_sub(1));
    }

    /// `local_irq_disable` (nests).
    pub fn irq_disable(&self) {
        self.irq_off.set(self.irq_off.get() + 1);
    }

    /// `local_irq_enable`.
    pub fn irq_enable(&self) {
        self.irq_off.set(self.irq_off.get().wrapping_sub(1));
    }

    /// Sleeps until somebody else acts; alone on the machine, for ever.
    pub(crate) async fn sleep_on(&self, lock: &'static str) {
        self.waiting.set(lock);
        std::future::pending::<()>().await;
    }

    /// What the running operation last went to sleep on.
    pub fn waiting(&self) -> &'static str {
        self.waiting.get()
    }
}

/// Runs an operation with nothing else on the machine. `None`: it sleeps and nobody can wake it.
///
/// The future comes pinned: a step's is kilobytes, and moving it would cost more than many steps.
pub fn run_alone<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match future.poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
