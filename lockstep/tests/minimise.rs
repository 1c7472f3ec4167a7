//! The minimiser, against predicates whose smallest programs are known.

use lockstep::minimise::minimise;
use program::{Backing, Campaign, Decoder, Foll, Kind, Op, Place, Program};

fn random(index: u64) -> Program {
    let (mut bytes, mut program) = (Vec::new(), Program::default());
    Campaign { steps: 32, ..Campaign::new(5) }.generate(index, &mut bytes);
    Decoder::default().decode(&bytes, &mut program);
    program
}

fn has(program: &Program, wanted: impl Fn(&Op) -> bool) -> bool {
    program.steps().any(|step| wanted(&step.op))
}

/// The first programs of a campaign of which `holds` is true.
fn some(count: usize, holds: impl Fn(&Program) -> bool) -> Vec<Program> {
    (0..100_000).map(random).filter(|program| holds(program)).take(count).collect()
}

#[test]
fn a_pin_of_a_child_needs_mmap_fork_and_pin() {
    let wanted = |program: &Program| {
        has(program, |op| matches!(op, Op::Gup { foll: Foll::Pin, mm, .. } if mm.0 > 0))
    };
    let programs = some(50, wanted);
    assert_eq!(programs.len(), 50);
    for program in programs {
        let (small, _) = minimise(&program, wanted);
        let kinds: Vec<Kind> = small.steps().map(|step| Kind::of(&step.op)).collect();
        assert_eq!(kinds.len(), 3, "{kinds:?}");
        assert!(kinds.contains(&Kind::Fork), "{kinds:?}");
        assert_eq!(small.validate(), Ok(()));
        for step in small.steps() {
            assert_eq!((step.cpu, step.place, step.fail), (0, Place::Normal, None));
            if let Some(range) = step.op.range() {
                assert_eq!((range.off, range.len), (0, 1));
            }
        }
    }
}

#[test]
fn what_the_predicate_needs_is_kept() {
    let wanted = |program: &Program| {
        has(
            program,
            |op| matches!(op, Op::Mmap { backing: Backing::FileShared { .. }, len, .. } if *len >= 3),
        )
    };
    for program in some(20, wanted) {
        let (small, _) = minimise(&program, wanted);
        let steps: Vec<Op> = small.steps().map(|step| step.op).collect();
        assert!(matches!(steps[..], [Op::Mmap { len: 3, shift: 0, .. }]), "{steps:?}");
    }
}

#[test]
fn it_is_deterministic_ends_in_a_fixpoint_and_tries_nothing_twice() {
    let wanted =
        |program: &Program| program.steps().count() >= 4 && has(program, |op| op.mm().is_some());
    let program = random(3);
    let mut seen = Vec::new();
    let (small, effort) = minimise(&program, |candidate| {
        assert!(!seen.contains(candidate), "tried twice");
        seen.push(candidate.clone());
        wanted(candidate)
    });
    assert_eq!(effort.runs, seen.len() as u64);
    assert_eq!(minimise(&program, wanted).0, small);
    assert_eq!(minimise(&small, wanted).0, small);
}
