//! Instruction counts under valgrind: the figures that noise does not touch.
#![expect(missing_docs, reason = "the macros below declare the entry points")]

use std::hint::black_box;

use bench::Programs;
use gungraun::{library_benchmark, library_benchmark_group, main};

const PROGRAMS: usize = 1000;

#[library_benchmark]
#[bench::thousand(Programs::first(PROGRAMS))]
fn decode(programs: Programs) -> usize {
    black_box(programs.decode_all())
}

#[library_benchmark]
#[bench::thousand(Programs::first(PROGRAMS))]
fn lockstep(programs: Programs) -> usize {
    black_box(programs.lockstep_all())
}

#[library_benchmark]
#[bench::thousand(Programs::concurrent(PROGRAMS))]
fn concurrent(programs: Programs) -> usize {
    black_box(programs.lockstep_all())
}

library_benchmark_group!(name = programs, benchmarks = [decode, lockstep, concurrent]);
main!(library_benchmark_groups = programs);
