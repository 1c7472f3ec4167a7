//! Edits keep programs valid, and do what they say.

mod common;

use program::{Program, edit};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn edits_of_valid_programs_are_valid(program in common::programs(), seed: u64, pick: usize) {
        let program = common::with_expects(program, seed);
        let count = program.steps().count();
        for number in 0..count {
            let edits = [
                edit::remove_step(&program, number),
                edit::bypass_step(&program, number),
                edit::shrink_area(&program, number, 1 + (seed % 9) as u16),
                edit::remove_steps(&program, &[number, pick % count]),
                edit::sequence_phase(&program, number),
            ];
            for edited in edits.iter().flatten() {
                prop_assert_eq!(edited.validate(), Ok(()), "{}", edited);
                prop_assert!(edited != &program);
            }
            let smaller = edits[0].as_ref().expect("the step is there").steps().count();
            prop_assert!(smaller < count);
        }
        prop_assert_eq!(edit::remove_step(&program, count), None);
    }

    #[test]
    fn renumbering_a_valid_program_changes_nothing(program in common::programs(), seed: u64) {
        let program = common::with_expects(program, seed);
        let mut same = program.clone();
        edit::renumber(&mut same);
        prop_assert_eq!(same, program);
    }
}

#[track_caller]
fn becomes(edited: Option<Program>, expected: &str) {
    let text = edited.expect("the edit applies").to_string();
    let steps = text.split_once('\n').expect("a machine line").1;
    assert_eq!(steps, expected);
}

fn program(text: &str) -> Program {
    text.parse().unwrap()
}

#[test]
fn what_needs_a_removed_step_goes_too() {
    let program = program(
        "m0 = mmap len=4 rw private\nm1 = mmap len=2 rw private\nwrite m1 len=2\n\
         expect m1+1 data=3.1 ref=1 by B2\nh0 = pin m0\nh1 = pin m1\nmm1 = fork\nread mm1 m0\n\
         unpin h0 h1 hole\nexpect result=2 by B5\nexit mm1\nexpect mm0 m1 data=3.0 by B2\n",
    );
    // h0 goes with m0; the unpin lives on with h1, and everything has new numbers.
    becomes(
        edit::remove_step(&program, 0),
        "m0 = mmap len=2 rw private\nwrite m0 len=2\nexpect m0+1 data=2.1 ref=1 by B2\n\
         h0 = pin m0\nmm1 = fork\nunpin h0\nexpect result=2 by B5\nexit mm1\n\
         expect m0 data=2.0 by B2\n",
    );
    // What a removed step wrote is expected no more.
    becomes(
        edit::remove_step(&program, 2),
        "m0 = mmap len=4 rw private\nm1 = mmap len=2 rw private\nexpect m1+1 ref=1 by B2\n\
         h0 = pin m0\nh1 = pin m1\nmm1 = fork\nread mm1 m0\nunpin h0 h1 hole\n\
         expect result=2 by B5\nexit mm1\n",
    );
    assert_eq!(edit::remove_steps(&program, &[]), None);
}

#[test]
fn bypassing_aims_at_the_origin() {
    let text = "m0 = mmap len=8 rw private\nm1 = mremap m0+2 len=4\nmm1 = fork\n\
                write mm1 m1+1 len=2\nexit mm1\nread m1+3\nexpect m1 ref=1 by B2\n";
    becomes(
        edit::bypass_step(&program(text), 1),
        "m0 = mmap len=8 rw private\nmm1 = fork\nwrite mm1 m0+3 len=2\nexit mm1\nread m0+5\n\
         expect m0+2 ref=1 by B2\n",
    );
    becomes(
        edit::bypass_step(&program(text), 2),
        "m0 = mmap len=8 rw private\nm1 = mremap m0+2 len=4\nwrite m1+1 len=2\nread m1+3\n\
         expect m1 ref=1 by B2\n",
    );
    assert_eq!(edit::bypass_step(&program(text), 0), None);
}

#[test]
fn shrinking_cuts_ranges() {
    let text = "m0 = mmap len=8 rw private\nm1 = mremap m0+2 len=6\nread m1+4 len=2\n\
                h0 = get m0 len=8\nexpect h0[7] ref=1 by B2\n";
    becomes(
        edit::shrink_area(&program(text), 0, 3),
        "m0 = mmap len=3 rw private\nm1 = mremap m0+2\nread m1\nh0 = get m0 len=3\n",
    );
    assert_eq!(edit::shrink_area(&program(text), 0, 8), None);
    assert_eq!(edit::shrink_area(&program(text), 1, 1), None);
}

#[test]
fn phases_become_sequences() {
    let text = "nop\nphase:\ncpu0: nop\ncpu1: lru_add_drain\n";
    becomes(edit::sequence_phase(&program(text), 1), "nop\nnop\ncpu1: lru_add_drain\n");
    assert_eq!(edit::sequence_phase(&program(text), 0), None);
}

#[test]
fn replacing_takes_along_what_the_old_step_made() {
    let pinned = "m0 = mmap len=2 rw private\nh0 = pin m0\nh1 = get m0\nunpin h0\nput h1";
    let read = program("m0 = mmap len=2 rw private\nread m0\n").steps().nth(1).expect("two").op;
    let expected = "m0 = mmap len=2 rw private\nread m0\nh0 = get m0\nput h0\n";
    becomes(edit::replace_step(&program(pinned), 1, read), expected);
    // What it needs must be there.
    assert_eq!(edit::replace_step(&program(pinned), 0, read), None);
    assert_eq!(edit::replace_step(&program(pinned), 5, read), None);
}
