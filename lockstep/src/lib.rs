//! Drives the reference and the optimised memory manager in lockstep, and judges.
//!
//! [`Lockstep::run`] carries one [`Program`](program::Program) out on both sides, compares the
//! results and the running digests after every step, and returns a [`Verdict`]. Only when the
//! digests differ are the two canonical states written out and searched for the fields that do:
//! a [`Divergence`] is a typed value, turned into text late. The crate reads no files, prints
//! nothing and knows no fuzzing engine.

mod compare;
pub mod cost;
pub mod domain;
mod endless;
mod expects;
mod held;
mod invariants;
mod lanes;
pub mod minimise;
mod names;
mod ops;
mod overlap;
mod permission;
mod phase;
pub mod render;
mod root;
mod run;
mod scheduler;
mod search;
mod signature;
mod stats;
mod stuck;
mod subject;
mod teardown;
mod verdict;
mod view;

pub use compare::{FieldDiff, FolioField, MmField, Value, What, differences};
pub use expects::Failure;
pub use held::{Held, held};
pub use invariants::{Violation, broken};
pub use lanes::{lanes, mark_text};
pub use names::Names;
pub use ops::program_hash;
pub use overlap::folio as folio_of;
pub use permission::Permission;
pub use root::{guise, root};
pub use run::{Lockstep, Moment, Options, reference_of};
pub use scheduler::{Policy, Scheduler};
pub use signature::{Identity, Sight, Signature, kinds};
pub use stats::{KindCount, Stats};
pub use subject::Subject;
pub use verdict::{Class, Divergence, Drift, Remark, Verdict, When};
pub use view::{Frame, View};
