//! Instruction counts of pinning and unpinning 16 MiB, way by way.
#![expect(missing_docs, reason = "the macros below declare the entry points")]

use std::hint::black_box;

use bench::pinning::{Memory, WAYS};
use gungraun::{library_benchmark, library_benchmark_group, main};

fn memory(ptes: u16, way: usize) -> (Memory, usize) {
    (Memory::new(1, ptes, &WAYS[way]), way)
}

#[library_benchmark]
#[bench::call_a_page(memory(1, 0))]
#[bench::scanned_after(memory(1, 1))]
#[bench::batched(memory(1, 2))]
#[bench::ranges(memory(1, 5))]
fn small((mut memory, way): (Memory, usize)) -> u32 {
    black_box(memory.pin_and_unpin(&WAYS[way]))
}

#[library_benchmark]
#[bench::call_a_page(memory(512, 0))]
#[bench::scanned_after(memory(512, 1))]
#[bench::batched(memory(512, 2))]
#[bench::ranges(memory(512, 5))]
fn huge((mut memory, way): (Memory, usize)) -> u32 {
    black_box(memory.pin_and_unpin(&WAYS[way]))
}

library_benchmark_group!(name = pinning, benchmarks = [small, huge]);
main!(library_benchmark_groups = pinning);
