//! The first executions of the default hunt as a test: the verdict on a mutant (docs/mutants.md).
//!
//! It has no harness, because thousands of mutants are judged by it: the exit code is the verdict,
//! and a panic is one, too. `MM_LOCKSTEP_EXECS` is the number of executions (the debug build compares
//! everything after every step: a few by default), `MM_LOCKSTEP_VARIANT` another way of pinning.

use std::process::ExitCode;

use lockstep::{Lockstep, Options, Policy, Verdict};
use optimized::{Defects, Variant};
use program::{Campaign, Decoder, Program};

/// Executions when nothing is said.
const EXECS: u64 = 2_000;
const SEED: u64 = 1;

fn main() -> ExitCode {
    let asked = |name| std::env::var(name).ok();
    let execs = match asked("MM_LOCKSTEP_EXECS") {
        Some(text) => text.parse().expect("MM_LOCKSTEP_EXECS is a number"),
        None => EXECS,
    };
    let defects = match asked("MM_LOCKSTEP_VARIANT") {
        Some(name) => {
            Defects::NONE.in_variant(Variant::find(&name).expect("a variant of docs/variants.md"))
        }
        None => Defects::NONE,
    };
    match hunt(execs, defects) {
        Some((index, class)) => {
            println!("execution {index} of seed {SEED}: {class}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// As `mm-lockstep hunt --seed 1`: the first execution that shows something, and its class.
fn hunt(execs: u64, defects: Defects) -> Option<(u64, String)> {
    let campaign = Campaign { concurrent: 128, ..Campaign::new(SEED) };
    let (mut decoder, mut program) = (Decoder::default(), Program::default());
    let (mut bytes, options) = (Vec::new(), Options::default());
    let mut lockstep = Lockstep::new(defects);
    (0..execs).find_map(|index| {
        campaign.generate(index, &mut bytes);
        decoder.decode(&bytes, &mut program);
        let mut scheduler = Policy::in_turn(index).scheduler(&program, Policy::seed(SEED, index));
        match lockstep.run_under(&program, &options, &mut scheduler) {
            Verdict::Clean => None,
            Verdict::Diverged(found) => Some((index, found.class.to_string())),
        }
    })
}
