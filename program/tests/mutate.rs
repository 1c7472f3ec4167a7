//! Mutations: valid, within their length, the same for the same seed, and small.

use std::collections::BTreeSet;

use program::codec::{HEADER_BYTES, RECORD_BYTES};
use program::{Campaign, Family, Mutator, Program, SplitMix64};

const MAX: usize = HEADER_BYTES + 24 * RECORD_BYTES;

fn mutator() -> Mutator {
    Mutator::new(Family::DIFFERENTIAL)
}

#[test]
fn chains_of_mutations_stay_valid_short_and_reproducible() {
    let (mut mutator, mut again) = (mutator(), mutator());
    for seed in 0..40 {
        let mut bytes = Vec::new();
        let campaign = Campaign { concurrent: 128, ..Campaign::new(seed) };
        campaign.generate(0, &mut bytes);
        for round in 0..60 {
            let (mut twin, before) = (bytes.clone(), bytes.clone());
            mutator.mutate(&mut bytes, MAX, seed << 32 | round);
            again.mutate(&mut twin, MAX, seed << 32 | round);
            assert_eq!(bytes, twin);
            assert!(!bytes.is_empty() && bytes.len() <= MAX, "{} bytes", bytes.len());
            let program = Program::decode(&bytes);
            assert_eq!(program.validate(), Ok(()), "from {before:?}\n{program}");
            assert_eq!(Program::decode(&program.encode()), program);
        }
    }
}

#[test]
fn most_mutations_change_little_and_something() {
    let (mut mutator, mut bytes) = (mutator(), Vec::new());
    let (mut same, mut kept) = (0, 0);
    for seed in 0..400 {
        Campaign::new(seed).generate(0, &mut bytes);
        let before = Program::decode(&bytes);
        mutator.mutate(&mut bytes, MAX, seed);
        let after = Program::decode(&bytes);
        same += u32::from(before == after);
        let lines = |program: &Program| -> BTreeSet<String> {
            program.steps().map(|step| step.op.to_string()).collect()
        };
        kept += u32::from(lines(&before).intersection(&lines(&after)).count() >= 6);
    }
    assert!(same <= 20, "{same} of 400 came to nothing");
    assert!(kept >= 340, "{kept} of 400 kept most of their steps");
}

#[test]
fn every_short_input_and_limit_is_taken() {
    let mut mutator = mutator();
    let (mut rng, mut out) = (SplitMix64::new(1), Vec::new());
    for len in 0..64 {
        for max in [1, 2, 15, 16, 17, 28, 40, 64] {
            let mut bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            let other = bytes.clone();
            mutator.cross(&bytes, &other, max, rng.next_u64(), &mut out);
            assert!((1..=max).contains(&out.len()));
            mutator.mutate(&mut bytes, max, rng.next_u64());
            assert!((1..=max).contains(&bytes.len()), "{len} {max}");
        }
    }
}

#[test]
fn the_empty_program_grows() {
    let mut grown = 0;
    for seed in 0..200 {
        let mut bytes = vec![0; HEADER_BYTES];
        for round in 0..4 {
            mutator().mutate(&mut bytes, MAX, seed << 8 | round);
        }
        grown += u32::from(Program::decode(&bytes).steps().count() > 1);
    }
    assert!(grown >= 190, "{grown} of 200");
    // Records of which nothing but a schedule is left: no step to change.
    let mut schedule = vec![0; HEADER_BYTES + 2 * RECORD_BYTES];
    schedule[3] = 0xC0;
    schedule[HEADER_BYTES] = 0xFF;
    schedule[HEADER_BYTES + RECORD_BYTES] = 0xFF;
    assert_eq!(Program::decode(&schedule).steps().count(), 0);
    for seed in 0..400 {
        mutator().mutate(&mut schedule.clone(), MAX, seed);
    }
}

#[test]
fn a_crossing_has_steps_of_both() {
    let (mut a, mut b, mut out) = (Vec::new(), Vec::new(), Vec::new());
    Campaign::new(1).generate(0, &mut a);
    Campaign::new(2).generate(0, &mut b);
    let mut both = 0;
    for seed in 0..100 {
        mutator().cross(&a, &b, 4096, seed, &mut out);
        assert!((out.len() - HEADER_BYTES).is_multiple_of(RECORD_BYTES));
        let has = |of: &[u8]| {
            of[HEADER_BYTES..]
                .chunks(RECORD_BYTES)
                .any(|record| out.windows(RECORD_BYTES).any(|w| w == record))
        };
        both += u32::from(has(&a) && has(&b));
    }
    assert!(both >= 70, "{both} of 100");
}

#[test]
fn what_is_made_of_a_family_stays_in_it() {
    for family in Family::ALL {
        let (mut mutator, mut bytes) = (Mutator::new(family), Vec::new());
        let mut held = 0;
        for seed in 0..400 {
            // Eight changes of one program made from nothing, then the next.
            if seed % 8 == 0 {
                bytes.clear();
            }
            mutator.mutate(&mut bytes, MAX, seed);
            held += u32::from(family.holds(&Program::decode(&bytes)));
        }
        assert!(held >= 280, "{}: {held} of 400", family.name);
    }
}
