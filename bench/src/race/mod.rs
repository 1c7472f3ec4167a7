//! Three concurrent defects of the catalogue made small, once on the primitives of `machine` and once
//! on those of shuttle, statement by statement the same: how many executions, and how much time, do
//! the strategies of each need?
//!
//! Each task first goes through [`AROUND`] accesses of its own, as an operation of the kernel goes
//! through many that have nothing to do with the bug.

pub mod ours;
pub mod shuttles;

/// Accesses before what matters.
pub const AROUND: u32 = 12;

/// A defect, or the correct code in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Race {
    /// `gup-fast-no-recheck`: the lockless walk reads an entry and takes a reference; meanwhile the
    /// page was unmapped, freed and allocated again.
    Recheck,
    /// `fork-without-write-protect-seq`: fork sees no pin and makes the entry read-only; a pin came between.
    Sequence,
    /// `wait-without-recheck`: who waits for PG_locked looks, and then queues; the unlock came
    /// between and woke nobody.
    Wakeup,
}

impl Race {
    /// All of them.
    pub const ALL: [Race; 3] = [Race::Recheck, Race::Sequence, Race::Wakeup];

    /// The defect of the catalogue.
    pub fn defect(self) -> &'static str {
        match self {
            Race::Recheck => "gup-fast-no-recheck",
            Race::Sequence => "fork-without-write-protect-seq",
            Race::Wakeup => "wait-without-recheck",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Race, ours, shuttles};
    use machine::{Pct, Pos, RandomWalk, ReadsFrom};

    const MOST: u32 = 20_000;

    #[test]
    fn what_is_correct_shows_nothing() {
        for race in Race::ALL {
            assert_eq!(ours::first(race, false, &mut RandomWalk::new(1), MOST), None, "{race:?}");
            assert_eq!(ours::first(race, false, &mut Pct::new(1, 3), MOST), None, "{race:?}");
            assert_eq!(shuttles::random(race, false, 1, 2_000), None, "{race:?}");
            assert_eq!(shuttles::pct(race, false, 1, 3, 2_000), None, "{race:?}");
        }
    }

    #[test]
    fn each_strategy_finds_each_defect() {
        for race in Race::ALL {
            let found = [
                ours::first(race, true, &mut RandomWalk::new(1), MOST),
                ours::first(race, true, &mut Pct::new(1, 3), MOST),
                ours::first(race, true, &mut Pos::new(1), MOST),
                ours::first(race, true, &mut ReadsFrom::new(1), MOST),
                shuttles::random(race, true, 1, MOST),
                shuttles::pct(race, true, 1, 3, MOST),
            ];
            assert!(found.iter().all(Option::is_some), "{race:?}: {found:?}");
        }
    }
}
