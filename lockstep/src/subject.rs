//! What lockstep asks of the side under test beyond [`Model`].

use optimized::{Cost, Variant, World};
use program::Model;

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
