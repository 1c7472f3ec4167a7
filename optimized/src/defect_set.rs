//! Which defects are switched on, in which variant.

use crate::defects::Defect;
use crate::variants::Variant;

/// A set of defects that are switched on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Defects {
    bits: u128,
    variant: Variant,
}

impl Defects {
    /// None: the best correct version.
    pub const NONE: Defects = Defects { bits: 0, variant: Variant::Batched };

    /// Just this one.
    pub fn only(defect: Defect) -> Defects {
        let mut set = Defects::NONE;
        set.insert(defect);
        set
    }

    /// Switches one on.
    pub fn insert(&mut self, defect: Defect) {
        self.bits |= 1 << defect as u32;
        if matches!(defect, Defect::FaultedPagesUnchecked | Defect::MigrateUnderOwnPin) {
            self.variant = Variant::InWalkCheck;
        }
    }

    /// The same defects in a variant.
    pub fn in_variant(self, variant: Variant) -> Defects {
        Defects { variant, ..self }
    }

    /// The variant that they are in.
    pub fn variant(self) -> Variant {
        self.variant
    }

    /// Whether it is on.
    #[inline]
    pub fn contains(self, defect: Defect) -> bool {
        self.bits >> defect as u32 & 1 != 0
    }

    /// Whether none is on.
    pub fn is_empty(self) -> bool {
        self.bits == 0
    }
}
