//! What lockstep asks of each side.

use crate::mark::{Mark, Seen};
use crate::op::Step;
use crate::outcome::Outcome;
use crate::program::Layout;
use crate::shape::Shape;
use crate::snapshot::Snapshot;

/// One step, with what it needs to be carried out.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The step's number, counted over the whole program from 0.
    pub number: usize,
    /// The step.
    pub step: &'a Step,
    /// Where areas lie.
    pub layout: &'a Layout,
}

/// A memory manager that can be driven in lockstep with another.
pub trait Model {
    /// Forgets everything and starts a machine of this shape with one empty mm, `MmId(0)`.
    fn reset(&mut self, shape: &Shape);

    /// Carries out one step to its end with nothing else running. `out` arrives cleared.
    fn step(&mut self, call: Call<'_>, out: &mut Outcome);

    /// The running digest of the state (`Snapshot::digest` computes the same from scratch).
    fn digest(&self) -> u64;

    /// The canonical state.
    fn snapshot(&self) -> Snapshot;

    /// The end of the machine, once no mm, handle or lock is left: drains every batch and evicts
    /// every file from the page cache. What then remains was leaked.
    fn teardown(&mut self);
}

/// A model that can carry operations out one mark at a time, those of several CPUs mixed. One that
/// never sees a concurrent phase needs none of this.
pub trait Replay: Model {
    /// A phase begins.
    fn begin_phase(&mut self) {}

    /// Carries out one mark of a step ([`Mark::Begin`] comes first, [`Mark::Return`] last), or of
    /// work that belongs to none, and says what it saw.
    fn mark(&mut self, _call: Option<Call<'_>>, _mark: Mark) -> Seen {
        Seen::Impossible
    }

    /// A copy, to try another order of marks on; none if it cannot be had.
    fn copy(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// A phase ends: whether nothing is held that no operation gave back.
    fn end_phase(&mut self) -> bool {
        true
    }
}
