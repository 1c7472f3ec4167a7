//! Rules of conduct that code on the machine can break.

use std::fmt;

/// A broken rule. The name of the lock is that of its kind in the kernel (`mmap_lock`, `PTL`…).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduct {
    /// A lock was released by a task that does not hold it.
    UnlockByNonOwner(&'static str),
    /// A task took a lock that it already holds.
    Recursion(&'static str),
    /// Something was done that needs a lock which nobody holds.
    NotHeld(&'static str),
    /// An operation ended with this many locks held.
    HeldAtEnd(u32),
    /// An operation ended with interrupts off.
    IrqOffAtEnd,
    /// An operation ended inside an RCU read section.
    RcuAtEnd,
    /// An operation ended with preemption off.
    PreemptOffAtEnd,
    /// An operation went to sleep and nothing can wake it.
    Blocked(&'static str),
    /// A primitive that may sleep, under a spinlock or with interrupts or preemption off.
    SleepInAtomic(&'static str),
    /// The second lock was taken under the first, and elsewhere the first under the second.
    LockOrder(&'static str, &'static str),
    /// A call to other CPUs was awaited with interrupts off.
    IpiWithIrqsOff,
    /// Interrupts were enabled, or an RCU section left, more often than entered.
    Unbalanced(&'static str),
    /// An operation alone on the machine passed more points than any legal one does.
    OutOfFuel,
}

impl Conduct {
    /// A stable class name, letters and dashes only.
    pub fn class(&self) -> &'static str {
        match self {
            Conduct::UnlockByNonOwner(_) => "unlock-by-non-owner",
            Conduct::Recursion(_) => "lock-recursion",
            Conduct::NotHeld(_) => "lock-not-held",
            Conduct::HeldAtEnd(_) => "lock-held-at-end",
            Conduct::IrqOffAtEnd => "irq-off-at-end",
            Conduct::RcuAtEnd => "rcu-section-at-end",
            Conduct::PreemptOffAtEnd => "preempt-off-at-end",
            Conduct::Blocked(_) => "blocked",
            Conduct::SleepInAtomic(_) => "sleep-in-atomic",
            Conduct::LockOrder(..) => "lock-order",
            Conduct::IpiWithIrqsOff => "ipi-with-irqs-off",
            Conduct::Unbalanced(_) => "unbalanced",
            Conduct::OutOfFuel => "out-of-fuel",
        }
    }
}

impl fmt::Display for Conduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conduct::UnlockByNonOwner(lock) => write!(f, "{lock} unlocked by a task without it"),
            Conduct::Recursion(lock) => write!(f, "{lock} taken by the task that holds it"),
            Conduct::NotHeld(lock) => write!(f, "{lock} is needed and not held"),
            Conduct::HeldAtEnd(n) => write!(f, "operation ended with {n} lock(s) held"),
            Conduct::IrqOffAtEnd => write!(f, "operation ended with interrupts off"),
            Conduct::RcuAtEnd => write!(f, "operation ended inside an RCU read section"),
            Conduct::PreemptOffAtEnd => write!(f, "operation ended with preemption off"),
            Conduct::Blocked(lock) => write!(f, "operation sleeps for ever on {lock}"),
            Conduct::SleepInAtomic(what) => write!(f, "{what} may sleep, in atomic context"),
            Conduct::LockOrder(first, second) => {
                write!(f, "{second} taken under {first}, and elsewhere the other way round")
            }
            Conduct::IpiWithIrqsOff => write!(f, "other CPUs called with interrupts off"),
            Conduct::Unbalanced(what) => write!(f, "{what} left more often than entered"),
            Conduct::OutOfFuel => write!(f, "operation passes points for ever"),
        }
    }
}
