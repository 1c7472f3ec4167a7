//! The map of domain features, where the engine of this build looks for it. The only file with
//! unsafe code: engines share memory with what they fuzz.

use lockstep::domain::CELLS;

/// Tells the engine that a feature was seen. Engines tell values apart by powers of two.
#[inline]
pub fn hit(cell: usize, value: u8) {
    map::set(cell % CELLS, value);
}

/// Tells the engine of a feature that has a name.
pub fn hit_name(name: &str) {
    let hash = |hash: u64, byte| program::digest::mix(hash ^ u64::from(byte));
    hit((name.bytes().fold(0, hash) % CELLS as u64) as usize, 1);
}

/// libFuzzer takes this section for counters beside those of the compiler, and clears it.
#[cfg(all(fuzzing, not(feature = "afl")))]
mod map {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::CELLS;

    #[used]
    #[unsafe(link_section = "__libfuzzer_extra_counters")]
    static COUNTERS: [AtomicU8; CELLS] = [const { AtomicU8::new(0) }; CELLS];

    pub fn set(cell: usize, value: u8) {
        let counter = &COUNTERS[cell];
        counter.store(counter.load(Relaxed).max(value), Relaxed);
    }
}

/// The runtime of AFL++ numbers the guards of this section as it does those of the compiler, and
/// each number is a byte of the map that it shares with the fuzzer.
#[cfg(feature = "afl")]
mod map {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::CELLS;

    #[used]
    #[unsafe(link_section = "__sancov_guards")]
    static GUARDS: [AtomicU32; CELLS] = [const { AtomicU32::new(0) }; CELLS];

    unsafe extern "C" {
        static __afl_area_ptr: *mut u8;
    }

    pub fn set(cell: usize, value: u8) {
        let at = GUARDS[cell].load(Relaxed) as usize;
        // SAFETY: the runtime sets the pointer before `main`, to a map larger than any guard that
        // it has numbered; one thread runs programs.
        unsafe {
            let byte = __afl_area_ptr.add(at);
            *byte = (*byte).max(value);
        }
    }
}

#[cfg(not(any(fuzzing, feature = "afl")))]
mod map {
    pub fn set(_cell: usize, _value: u8) {}
}
