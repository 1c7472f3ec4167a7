//! Fuzz target `longterm`.
#![cfg_attr(all(fuzzing, not(feature = "afl")), no_main)]

fuzz::programs!(LONGTERM);
