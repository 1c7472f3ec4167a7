//! The sequential fast path: one operation, nothing else on the machine.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

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
