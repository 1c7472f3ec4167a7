//! The simulated computer: CPUs, tasks, locks, interrupts, and the conduct that they check.
//!
//! Kernel code under test is written as `async fn` over shared state in cells; every primitive
//! here is a scheduling point ([`Machine::point`]). An operation that is alone on the machine is a
//! plain function: the twin that [`twice::twice`] makes of each `async fn` and of every primitive
//! ([`Machine::point_alone`]), which returns `None` where it would sleep for ever. An [`Executor`]
//! runs many tasks on many CPUs under a [`Strategy`], which decides at every point which CPU moves
//! next. Everything is single-threaded and deterministic: the same tasks and the
//! same decisions give the same run. The crate knows nothing of memory management.
//!
//! A primitive yields *before* its effect. Code between two primitives is therefore atomic, which
//! loses nothing as long as all state that tasks share is read and written through primitives.

#[macro_use]
extern crate twice;

mod atomic;
mod board;
mod conduct;
mod event;
mod exec;
mod holding;
mod irq;
mod lines;
mod lock;
mod lockdep;
mod machine;
mod point;
mod rcu;
mod rng;
mod sched;
mod tlb;
mod watch;
mod work;

pub use atomic::Atomic;
pub use conduct::Conduct;
pub use event::{Access, Event};
pub use exec::{Bounds, Edge, Executor, Owned, Preempt, Verdict, Why};
pub use holding::Holding;
pub use lines::{Lines, Prices};
pub use lock::{BitLock, Read, RwSem, SeqCount, Spin, SpinLock, Taking, Write};
pub use machine::{Machine, Task};
pub use point::Point;
pub use rng::Rng;
pub use sched::{
    Exhaustive, Pct, Pos, RandomWalk, ReadsFrom, Replay, RoundRobin, Slice, Slices, Strategy,
    Traces, View, slices_of,
};
pub use tlb::Tlb;
