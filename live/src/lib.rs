//! A running Linux as witness of the reference.
//!
//! Everything in this project rests on the reference being right, and only a real kernel can say
//! whether it is. A [`Witness`] carries programs out as system calls and says what it sees in the
//! words of [`program::Snapshot`]; a [`Session`] runs the reference beside it and compares after
//! every step. `docs/fidelity.md` says what was witnessed and what cannot be.

mod campaign;
mod compare;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod elsewhere;
mod frames;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod host;
mod planted;
mod run;
mod session;
pub mod subset;
mod witness;

pub use campaign::{Live, scaled};
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub use elsewhere::Host;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use host::Host;
pub use planted::{Mistaken, Planted};
pub use run::{Found, Plan, Report, run};
pub use session::{Finding, Session, Stats};
pub use witness::{
    Abilities, Broken, EntrySight, Frame, MmSight, Observation, PageSight, Reply, Vmas, Witness,
};
