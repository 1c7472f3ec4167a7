//! What is generated does not depend on what is switched on in the optimised side.

use lockstep::{Lockstep, Options, program_hash};
use optimized::{Defect, Defects};
use program::{Campaign, Decoder, Program};

/// A hash of the first programs of a campaign, run one after the other on the same two sides.
fn hash(count: u64, seed: u64, defects: Defects) -> (u64, u64) {
    let mut lockstep = Lockstep::new(defects);
    let (mut bytes, mut decoder, mut program) =
        (Vec::new(), Decoder::default(), Program::default());
    let (mut hash, mut findings) = (0_u64, 0);
    for index in 0..count {
        Campaign::new(seed).generate(index, &mut bytes);
        decoder.decode(&bytes, &mut program);
        hash = hash.rotate_left(5) ^ program_hash(&program);
        let verdict = lockstep.run(&program, &Options { paranoid: false });
        findings += u64::from(verdict.divergence().is_some());
    }
    (hash, findings)
}

#[test]
fn the_first_hundred_thousand_programs_are_the_same_with_and_without_a_defect() {
    let defect = Defect::find("pin-bias-on-large").expect("catalogued");
    let (without, clean) = hash(100_000, 1, Defects::NONE);
    let (with, found) = hash(100_000, 1, Defects::only(defect));
    assert_eq!(without, with);
    assert_eq!(clean, 0);
    assert!(found > 100, "{found}");
}

#[test]
fn the_hash_sees_every_change_of_seed() {
    assert_ne!(hash(100, 1, Defects::NONE).0, hash(100, 2, Defects::NONE).0);
}
