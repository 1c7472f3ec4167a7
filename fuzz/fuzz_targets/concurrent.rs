//! Fuzz target `concurrent`.
#![cfg_attr(all(fuzzing, not(feature = "afl")), no_main)]

fuzz::programs!(CONCURRENT);
