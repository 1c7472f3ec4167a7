//! Locks and sequence counters. Each is a scheduling point and checks who owns it.
//!
//! Taking a lock yields before it. The plain `unlock`s do not: the step before and the release
//! are one, so a trylock never finds a lock whose holder is done with it. Where that window
//! matters, the `release`s yield first.

mod bit;
mod rwsem;
mod seqcount;
mod spin;
mod taking;

pub use bit::BitLock;
pub use rwsem::{Read, RwSem, Write};
pub use seqcount::SeqCount;
pub use spin::{Spin, SpinLock};
pub use taking::Taking;
