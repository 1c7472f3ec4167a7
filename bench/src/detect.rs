//! How soon a defect shows when one thread suffices: under proptest-state-machine, and as `hunt` goes
//! about it; and how small the program is that each is left with.

use std::cell::Cell;
use std::fs;
use std::panic;

use lockstep::minimise::minimise;
use lockstep::{Lockstep, Options, Verdict};
use optimized::{Defect, Defects};
use program::{Campaign, Decoder, Program};
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use crate::peer::{self, Peer};

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Detected {
    /// Executions up to the first that showed it.
    pub execs: u64,
    /// Nanoseconds of CPU time up to there.
    pub time: u64,
    /// Steps when it was made small.
    pub steps: usize,
    /// Nanoseconds that this took.
    pub shrinking: u64,
}

/// Nanoseconds that are measured at least.
const TICKS: u64 = 100_000_000;

/// Nanoseconds that this thread has had a CPU.
pub fn own_time() -> u64 {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0)
}

fn only(defect: Defect) -> Defects {
    let mut defects = Defects::NONE;
    defects.insert(defect);
    defects
}

/// Sequential programs of 16 steps as `hunt` makes and judges them; `None` after `most` executions.
pub fn by_hunt(defect: Defect, seed: u64, most: u64) -> Option<Detected> {
    let (mut decoder, mut program, mut bytes) = (Decoder::default(), Program::default(), vec![]);
    let (campaign, options) = (Campaign::new(seed), Options::default());
    let mut lockstep = Lockstep::new(only(defect));
    let start = own_time();
    let mut shows = |index: u64| {
        campaign.generate(index, &mut bytes);
        decoder.decode(&bytes, &mut program);
        match lockstep.run(&program, &options) {
            Verdict::Clean => None,
            Verdict::Diverged(found) => Some((index + 1, program.clone(), found.class)),
        }
    };
    let (execs, program, class) = (0..most).find_map(&mut shows)?;
    // The clock ticks every few milliseconds; over again until that does not matter.
    let mut rounds = 1;
    while own_time() - start < TICKS {
        (0..execs).for_each(|index| drop(shows(index)));
        rounds += 1;
    }
    let found = own_time();
    let same = |program: &Program| {
        let paranoid = Options { paranoid: true };
        let verdict = Lockstep::new(only(defect)).run(program, &paranoid);
        matches!(verdict, Verdict::Diverged(seen) if seen.class == class)
    };
    let (small, _) =
        if same(&program) { minimise(&program, same) } else { (program, Default::default()) };
    let (time, shrinking) = ((found - start) / rounds, own_time() - found);
    Some(Detected { execs, time, steps: small.steps().count(), shrinking })
}

/// The same with generation, loop and shrinking of proptest-state-machine.
pub fn by_peer(defect: Defect, seed: u64, most: u32) -> Option<Detected> {
    peer::plant(only(defect));
    let config = Config {
        cases: most,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
    let mut runner = TestRunner::new_with_rng(config.clone(), rng);
    let start = own_time();
    let (execs, ended) = (Cell::new(0), Cell::new(start));
    let shown = Cell::new(false);
    // A difference is a panic, and each step of the shrinking one more.
    let usual = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = runner.run(&Peer::sequential_strategy(16..=16), |(state, steps, seen)| {
        if !shown.get() {
            execs.set(execs.get() + 1);
        }
        let one = || Peer::test_sequential(config.clone(), state, steps, seen);
        if let Err(panic) = panic::catch_unwind(panic::AssertUnwindSafe(one)) {
            if !shown.replace(true) {
                ended.set(own_time());
            }
            panic::resume_unwind(panic);
        }
        Ok(())
    });
    panic::set_hook(usual);
    peer::plant(Defects::NONE);
    let Err(TestError::Fail(_, (_, steps, _))) = result else { return None };
    let (time, shrinking) = (ended.get() - start, own_time() - ended.get());
    Some(Detected { execs: execs.get(), time, steps: steps.len(), shrinking })
}

#[cfg(test)]
mod tests {
    use super::{by_hunt, by_peer};
    use optimized::Defect;

    #[test]
    fn both_find_what_shows_at_once() {
        let canary = Defect::find("canary").expect("in the catalogue");
        let (hunt, peer) = (by_hunt(canary, 1, 1000), by_peer(canary, 1, 1000));
        assert!(hunt.is_some_and(|found| found.steps <= 3), "{hunt:?}");
        assert!(peer.is_some(), "{peer:?}");
    }

    #[test]
    fn neither_finds_what_needs_two_cpus() {
        let lost = Defect::find("lost-wakeup").expect("in the catalogue");
        assert!(by_hunt(lost, 1, 300).is_none());
        assert!(by_peer(lost, 1, 300).is_none());
    }
}
