//! Rules of conduct that code on the machine can break.

use std::fmt;

/// A broken rule. The name of the lock is that of its kind in the kernel (`mmap_lock`, `PTL`…).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduct {
    /// A lock was released by a task that does not hold it.
    UnlockByNonOwner(&'static str),
    /// A task took a lock that it already holds.
    Recursion(&'static str),
    /// An operation ended with this many locks held.
    HeldAtEnd(u32),
    /// An operation ended with interrupts off.
    IrqOffAtEnd,
    /// An operation went to sleep and nothing can wake it.
    Blocked(&'static str),
}

impl Conduct {
    /// A stable class name, letters and dashes only.
    pub fn class(&self) -> &'static str {
        match self {
            Conduct::UnlockByNonOwner(_) => "unlock-by-non-owner",
            Conduct::Recursion(_) => "lock-recursion",
            Conduct::HeldAtEnd(_) => "lock-held-at-end",
            Conduct::IrqOffAtEnd => "irq-off-at-end",
            Conduct::Blocked(_) => "blocked",
        }
    }
}

impl fmt::Display for Conduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conduct::UnlockByNonOwner(lock) => write!(f, "{lock} unlocked by a task without it"),
            Conduct::Recursion(lock) => write!(f, "{lock} taken by the task that holds it"),
            Conduct::HeldAtEnd(n) => write!(f, "operation ended with {n} lock(s) held"),
            Conduct::IrqOffAtEnd => write!(f, "operation ended with interrupts off"),
            Conduct::Blocked(lock) => write!(f, "operation sleeps for ever on {lock}"),
        }
    }
}
