//! Executions a second, side by side in one run: decoding alone, lockstep, the same two sides
//! under proptest-state-machine, and lockstep of concurrent programs. Repeats are interleaved; the median and the range are printed.

use std::time::Instant;

use bench::Programs;
use bench::peer::Peer;
use proptest::test_runner::{Config, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

const PROGRAMS: usize = 100_000;
const CONCURRENT: usize = 20_000;
const PEER_CASES: u32 = 3_000;
const REPEATS: usize = 7;

fn rate(count: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    count as f64 / start.elapsed().as_secs_f64()
}

fn peer() {
    let config = Config { cases: PEER_CASES, failure_persistence: None, ..Config::default() };
    let strategy = Peer::sequential_strategy(16..=16);
    let result = TestRunner::new(config.clone()).run(&strategy, |(state, steps, seen)| {
        Peer::test_sequential(config.clone(), state, steps, seen);
        Ok(())
    });
    assert!(result.is_ok(), "{result:?}");
}

fn main() {
    let programs = Programs::first(PROGRAMS);
    let concurrent = Programs::concurrent(CONCURRENT);
    let mut rates: [Vec<f64>; 4] = Default::default();
    for _ in 0..REPEATS {
        rates[0].push(rate(PROGRAMS, || {
            std::hint::black_box(programs.decode_all());
        }));
        rates[1].push(rate(PROGRAMS, || assert_eq!(programs.lockstep_all(), PROGRAMS)));
        rates[2].push(rate(PEER_CASES as usize, peer));
        rates[3].push(rate(CONCURRENT, || assert_eq!(concurrent.lockstep_all(), CONCURRENT)));
    }
    let names = ["decode only", "lockstep", "proptest-state-machine", "concurrent lockstep"];
    for (name, rates) in names.iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        let (low, median, high) = (rates[0], rates[REPEATS / 2], rates[REPEATS - 1]);
        println!("{name:24} {median:>12.0}/s   [{low:.0} .. {high:.0}]");
    }
    let median = |at: usize| rates[at][REPEATS / 2];
    println!("lockstep / decode only            {:.3}", median(1) / median(0));
    println!("lockstep / proptest-state-machine {:.1}", median(1) / median(2));
}
