//! Fuzz target `decode`.
#![cfg_attr(all(fuzzing, not(feature = "afl")), no_main)]

fuzz::programs!(DECODE);
