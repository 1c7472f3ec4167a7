//! An operation alone that never ends is a livelock if the machine can prove it, and nothing of it is
//! left for the program that comes after.

use lockstep::{Class, Lockstep, Options};
use optimized::{Defect, Defects};

/// A fault of a page of a device whose migration keeps it locked, with a lock of its VMA.
const FAULT: &str = "machine cpus=1 preempt=none device=64 faults=vma
m0 = mmap len=1 rw private
migrate_to_device m0
read m0
";

/// A page that is migrated to where it lay, which is never as it was.
const MIGRATION: &str = "machine cpus=1 preempt=none
m0 = mmap len=1 rw private
h0 = pin m0 longterm
";

fn class(lockstep: &mut Lockstep, text: &str) -> Option<Class> {
    let program = program::text::parse(text).expect("a program").program;
    lockstep.run(&program, &Options::default()).class()
}

fn with(id: &str) -> Lockstep {
    Lockstep::new(Defects::only(Defect::find(id).expect("a defect")))
}

#[test]
fn what_goes_round_is_a_livelock_each_time() {
    let mut lockstep = with("A04");
    for _ in 0..2 {
        assert_eq!(class(&mut lockstep, FAULT), Some(Class::Livelock));
    }
}

#[test]
fn what_never_is_as_it_was_is_not_called_one() {
    let mut lockstep = with("A31");
    assert_eq!(class(&mut lockstep, MIGRATION), Some(Class::Conduct("out-of-fuel")));
    assert_eq!(class(&mut Lockstep::new(Defects::NONE), MIGRATION), None);
}
