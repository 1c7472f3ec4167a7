//! Fuzz targets: one function under every engine.
//!
//! A [`Target`] takes bytes and says what it found. [`target!`] makes the `main` of a binary from
//! it: under libFuzzer (`--cfg fuzzing`), under AFL++ (feature `afl`), or, in a plain build, a
//! `main` that replays files.

mod alarm;
mod cells;
mod differential;
mod replay;
mod target;
mod text;

pub use alarm::Alarm;
pub use replay::replay;
pub use target::Target;

#[cfg(feature = "afl")]
pub mod aflplusplus;
#[cfg(all(fuzzing, not(feature = "afl")))]
pub mod libfuzzer;

/// The `main` of a target's binary, for the engine of this build.
#[macro_export]
macro_rules! target {
    ($target:ident) => {
        #[cfg(feature = "afl")]
        fn main() {
            $crate::aflplusplus::main(&$crate::Target::$target);
        }

        #[cfg(all(fuzzing, not(feature = "afl")))]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
            $crate::libfuzzer::run(&$crate::Target::$target, bytes)
        });

        #[cfg(not(any(fuzzing, feature = "afl")))]
        fn main() -> std::process::ExitCode {
            $crate::replay(&$crate::Target::$target)
        }
    };
}

/// As [`target!`], for bytes that mean programs: libFuzzer mutates and crosses them as programs.
#[macro_export]
macro_rules! programs {
    ($target:ident) => {
        $crate::target!($target);

        #[cfg(all(fuzzing, not(feature = "afl")))]
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::libfuzzer::mutate(&$crate::Target::$target, data, size, max_size, seed)
        });

        #[cfg(all(fuzzing, not(feature = "afl")))]
        libfuzzer_sys::fuzz_crossover!(|a: &[u8], b: &[u8], out: &mut [u8], seed: u32| {
            $crate::libfuzzer::cross(&$crate::Target::$target, a, b, out, seed)
        });
    };
}
