//! The cost ledger: what operations cost, counted in the things that are slow on a real machine.
//!
//! Counts, not times: the same on every machine, and fit to be compared exactly.

use std::cell::Cell;
use std::ops::Sub;
use std::rc::Rc;

use machine::{Lines, SpinLock};
use program::MmId;

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
                let mut cost = Cost { $($field: self.costs.0[Item::$item as usize].get(),)* };
                cost.atomics += self.frames.atomics();
                if let Some(lines) = self.machine.lines() {
                    cost.hand_overs += lines.hand_overs();
                    cost.waits += lines.waits();
                }
                cost
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
    /// Locks taken: mmap_lock, those of VMAs, page tables and folios.
    Lock locks "locks"
    /// Entries of the output that were looked at again after the walk.
    Rescan rescans "rescans"
    /// Cache lines that another CPU had: counters of folios and VMAs, locks, sequences.
    HandOver hand_overs "hand-overs"
    /// Waits for locks.
    Wait waits "lock waits"
    /// TLB flushes.
    Flush flushes "tlb flushes"
    /// Interrupts sent to other CPUs.
    Ipi ipis "ipis"
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

impl World {
    /// From now on cache lines are watched too, and waits, flushes and interrupts are counted, of
    /// what runs in phases ([`World::run_phase`]); one phase may be one step.
    pub fn watch_lines(&mut self, lines: Rc<Lines>) {
        self.machine.watch_lines(Some(lines));
    }

    /// From now on, until the machine is reset, each CPU takes a page table lock of its own. Only for
    /// benchmarks in which no two CPUs use the same table.
    pub fn split_page_table_lock(&mut self, mm: MmId) {
        let cpus = usize::from(self.shape.cpus);
        self.mm_mut(mm).split_locks.resize_with(cpus, SpinLock::default);
    }
}
