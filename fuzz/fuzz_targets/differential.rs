//! Fuzz target `differential`.
#![cfg_attr(all(fuzzing, not(feature = "afl")), no_main)]

fuzz::programs!(DIFFERENTIAL);
