//! libFuzzer target: sequential lockstep. In a plain build, a `main` that replays files.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sequential(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    fuzz::replay(fuzz::sequential)
}
