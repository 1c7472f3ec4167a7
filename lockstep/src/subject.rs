//! What lockstep asks of the side under test beyond [`Model`].

use machine::{Holding, Strategy};
use optimized::{Cost, Variant, World};
use program::{Call, Marked, Model, Outcome};
use reference::Reference;

/// The side under test: a model that also watches its own conduct and counts the paths it takes.
pub trait Subject: Model {
    /// The last path taken in the step just run.
    fn path(&self) -> Option<&'static str> {
        None
    }

    /// A misbehaviour noticed in the step just run: its class and what happened.
    fn conduct(&self) -> Option<(&'static str, String)> {
        None
    }

    /// Whether [`Subject::conduct`] would say something. Asked after every step.
    #[inline]
    fn misbehaved(&self) -> bool {
        self.conduct().is_some()
    }

    /// How often each path was taken since [`Subject::clear_hits`].
    fn hits(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Starts counting paths anew.
    fn clear_hits(&mut self) {}

    /// What was counted of its costs so far.
    fn cost(&self) -> Cost {
        Cost::default()
    }

    /// The same, right and without batching, to compare costs with.
    fn unbatched(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Whether [`Subject::run_phase`] is there. If not, the steps of a phase run in text order.
    const CONCURRENT: bool = false;

    /// The next phase begins with what this step, an earlier one, left in the TLB of its CPU.
    fn tlb_keeps(&mut self, _call: Call<'_>) {}

    /// Runs steps of several CPUs at the same time; `outs` gets what they returned.
    fn run_phase<S: Strategy>(
        &mut self,
        _calls: &[Call<'_>],
        _outs: &mut [Outcome],
        _strategy: &mut S,
    ) -> machine::Verdict {
        machine::Verdict::Done
    }

    /// What was decided in the phases of this program so far, as the machine records it.
    fn decisions(&mut self) -> &[u8] {
        &[]
    }

    /// The marks of the last phase.
    fn trace(&mut self) -> &[Marked] {
        &[]
    }

    /// The locks held during the last phase; times are positions in [`Subject::trace`].
    fn holdings(&self) -> Vec<Holding> {
        Vec::new()
    }

    /// The CPU whose task broke the first rule in the last phase, and when.
    fn blamed(&self) -> Option<(u8, usize)> {
        None
    }
}

impl Subject for World {
    #[inline]
    fn path(&self) -> Option<&'static str> {
        World::path(self).map(|path| path.name())
    }

    fn conduct(&self) -> Option<(&'static str, String)> {
        World::conduct(self).map(|conduct| (conduct.class(), conduct.to_string()))
    }

    #[inline]
    fn misbehaved(&self) -> bool {
        World::misbehaved(self)
    }

    const CONCURRENT: bool = true;

    fn run_phase<S: Strategy>(
        &mut self,
        calls: &[Call<'_>],
        outs: &mut [Outcome],
        strategy: &mut S,
    ) -> machine::Verdict {
        World::run_phase(self, calls, outs, strategy).verdict
    }

    fn tlb_keeps(&mut self, call: Call<'_>) {
        World::tlb_keeps(self, call);
    }

    fn decisions(&mut self) -> &[u8] {
        World::decisions(self)
    }

    fn trace(&mut self) -> &[Marked] {
        World::trace(self)
    }

    fn holdings(&self) -> Vec<Holding> {
        World::holdings(self)
    }

    fn blamed(&self) -> Option<(u8, usize)> {
        World::blamed(self)
    }

    fn hits(&self) -> Vec<u64> {
        World::hits(self).to_vec()
    }

    fn clear_hits(&mut self) {
        World::clear_hits(self);
    }

    fn cost(&self) -> Cost {
        World::cost(self)
    }

    fn unbatched(&self) -> Option<World> {
        (self.variant() == Variant::Batched).then(|| World::of(Variant::PageAtATime))
    }
}

/// The reference beside itself: two versions of the kernel, or the comparison under test.
impl Subject for Reference {}
