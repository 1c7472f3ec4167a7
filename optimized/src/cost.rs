//! The cost ledger: what operations cost, counted in the things that are slow on a real machine.
//!
//! Counts, not times: the same on every machine, and fit to be compared exactly.

use std::cell::Cell;
use std::ops::Sub;

use crate::world::World;

macro_rules! items {
    ($($(#[$doc:meta])* $item:ident $field:ident $name:literal)*) => {
        /// A thing that is counted.
        #[derive(Clone, Copy)]
        pub(crate) enum Item { $($(#[$doc])* $item,)* }

        const ITEMS: usize = [$(Item::$item,)*].len();

        /// What was counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Cost { $($(#[$doc])* pub $field: u64,)* }

        impl Cost {
            /// Every item: name and count.
            pub fn items(self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($name, self.$field),)*].into_iter()
            }
        }

        impl Sub for Cost {
            type Output = Cost;

            fn sub(self, before: Cost) -> Cost {
                Cost { $($field: self.$field - before.$field,)* }
            }
        }

        impl World {
            /// Everything counted since this world was made.
            pub fn cost(&self) -> Cost {
                let atomics = self.frames.atomics();
                let cost = Cost { $($field: self.costs.0[Item::$item as usize].get(),)* };
                Cost { atomics: cost.atomics + atomics, ..cost }
            }
        }
    };
}

items! {
    /// Calls of a GUP walk (fast or slow).
    Call calls "calls"
    /// PMD entries that GUP's walks read.
    Pmd pmd_visits "pmd visits"
    /// PTEs that GUP's walks read.
    Pte pte_visits "pte visits"
    /// Atomic read-modify-writes of folio counters.
    Atomic atomics "atomics"
    /// Page-table locks, mmap_locks of GUP and folio locks taken.
    Lock locks "locks"
    /// Entries of the output that were looked at again after the walk.
    Rescan rescans "rescans"
}

/// The counters.
#[derive(Default)]
pub(crate) struct Costs([Cell<u64>; ITEMS]);

impl World {
    /// Counts `n` of these.
    #[inline]
    pub(crate) fn pay(&self, item: Item, n: u32) {
        let count = &self.costs.0[item as usize];
        count.set(count.get() + u64::from(n));
    }
}
