//! Fuzz target `text`.
#![cfg_attr(all(fuzzing, not(feature = "afl")), no_main)]

fuzz::target!(TEXT);
