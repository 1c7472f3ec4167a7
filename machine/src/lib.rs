//! The simulated computer: tasks, locks, scheduling points and the conduct that they check.
//!
//! Kernel code under test is written as `async fn` over shared state in cells; every primitive
//! here is a scheduling point ([`Machine::point`]). With one runnable task a point never yields,
//! so a sequential step is one poll ([`run_alone`]). The crate knows nothing of memory management.

mod conduct;
mod cpu;
mod lock;

pub use conduct::Conduct;
pub use cpu::{Machine, run_alone};
pub use lock::{BitLock, RwSem, SeqCount, SpinLock, Task};
