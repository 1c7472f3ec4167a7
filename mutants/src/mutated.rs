//! Which mutant is switched on. Only in the copy of the workspace that holds all mutants, in each
//! crate that is mutated.
//!
//! `MUTANT=7` switches number 7 on; `MUTANT=reached` none, and tells which are reached.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

const UNKNOWN: u32 = u32::MAX;
const TELL: u32 = UNKNOWN - 1;

static ACTIVE: AtomicU32 = AtomicU32::new(UNKNOWN);
static REACHED: [AtomicBool; 10_000] = [const { AtomicBool::new(false) }; 10_000];

/// Whether it is this one.
#[inline]
pub(crate) fn mutated(id: u32) -> bool {
    let active = ACTIVE.load(Relaxed);
    if active < TELL { active == id } else { seldom(id) }
}

#[cold]
fn seldom(id: u32) -> bool {
    if ACTIVE.load(Relaxed) == UNKNOWN {
        let active = std::env::var("MUTANT").unwrap_or_default();
        ACTIVE.store(if active == "reached" { TELL } else { active.parse().unwrap_or(TELL - 1) }, Relaxed);
        return mutated(id);
    }
    if !REACHED[id as usize].swap(true, Relaxed) {
        eprintln!("reached {id}");
    }
    false
}
