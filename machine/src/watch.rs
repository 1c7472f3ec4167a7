//! What the search for a lasso knows of a task: the results its primitives returned.
//!
//! The hidden state of a future is a function of its state at the last lap and of what its
//! primitives returned since. So each primitive with a result folds it in, and [`Machine::lap`]
//! starts anew from the place and the locals that a retry loop carries round.

use std::hash::{Hash, Hasher};
use std::panic::Location;

use crate::machine::{LAPPED, Machine};
use crate::rng::mix;

/// A hasher that depends on nothing but what is hashed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fold(pub u64);

impl Fold {
    #[inline]
    pub fn add(&mut self, value: u64) {
        self.0 = mix(self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ value).wrapping_add(value);
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }
}

impl Machine {
    /// Tells the search for a lasso what a task has just read from shared state. Every primitive
    /// of this crate does it; code that reads shared cells by itself must.
    #[inline]
    pub fn seen(&self, value: u64) {
        if self.watched.get() {
            self.fold_in(value);
        }
    }

    #[cold]
    pub(crate) fn fold_in(&self, value: u64) {
        let mut fold = Fold(self.fold.get());
        fold.add(value);
        self.fold.set(fold.0);
    }

    /// One round of a retry loop. `carried` must hold every local that decides what the next
    /// rounds do, those of the loops around it too; a loop that never laps is never called a
    /// livelock (it ends as undecided).
    #[inline]
    #[track_caller]
    pub fn lap<T: Hash + ?Sized>(&self, carried: &T) {
        if self.watched.get() {
            let place = Location::caller();
            let mut fold = Fold(0);
            (place.file(), place.line(), place.column()).hash(&mut fold);
            carried.hash(&mut fold);
            self.fold.set(fold.0);
            self.attend(LAPPED);
        }
    }
}
