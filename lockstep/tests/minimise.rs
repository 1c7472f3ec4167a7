//! The minimiser, against predicates whose smallest programs are known.

use lockstep::minimise::{minimise, minimise_within};
use program::{Backing, Campaign, Decoder, Foll, Kind, Op, Place, Program, Slice};

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

/// A concurrent program of the generator.
fn concurrent(index: u64) -> Program {
    let (mut bytes, mut program) = (Vec::new(), Program::default());
    let campaign = Campaign { steps: 40, concurrent: 256, ..Campaign::new(6) };
    campaign.generate(index, &mut bytes);
    Decoder::default().decode(&bytes, &mut program);
    program
}

#[test]
fn a_schedule_is_cut_to_the_preemptions_that_matter() {
    // Two CPUs in one phase, and a slice of CPU 1 that is preempted after at least 3 points.
    let wanted = |program: &Program| {
        let phase =
            |phase: &program::Phase| phase.steps.iter().any(|step| step.cpu != phase.steps[0].cpu);
        program.phases.iter().any(phase)
            && program.schedule.slices.iter().any(|slice| slice.cpu == 1 && slice.run >= 3)
    };
    let programs: Vec<Program> = (0..2000).map(concurrent).filter(wanted).take(20).collect();
    assert_eq!(programs.len(), 20);
    for program in programs {
        let (small, effort) = minimise(&program, wanted);
        assert_eq!(small.schedule.slices, [Slice { cpu: 1, run: 3, task: 0 }]);
        assert!(small.schedule.cycle.is_empty());
        let together = small.phases.iter().filter(|phase| phase.steps.len() > 1);
        assert_eq!(together.map(|phase| phase.steps.len()).collect::<Vec<_>>(), [2], "{small}");
        // What two steps name (areas, a child, handles) takes a few steps to make.
        assert!(small.phases.len() <= 3, "{small}");
        assert_eq!(small.validate(), Ok(()));
        let tried: u64 = effort.changes.values().map(|[tried, _]| tried).sum();
        assert_eq!(tried, effort.runs);
    }
}

#[test]
fn a_phase_that_need_not_be_concurrent_is_not() {
    let wanted = |program: &Program| program.steps().count() >= 3;
    let (small, _) = minimise(&concurrent(1), wanted);
    assert!(small.phases.iter().all(|phase| phase.steps.len() == 1), "{small}");
    assert!(small.schedule.slices.is_empty() && small.schedule.cycle.is_empty(), "{small}");
    assert_eq!(small.shape.cpus, 1, "{small}");
}

#[test]
fn no_more_runs_than_there_is_work() {
    let program = random(3);
    let mut runs = 0;
    let (small, effort) = minimise_within(&program, 30, |_| {
        runs += 1;
        (false, 10)
    });
    assert_eq!((runs, effort.runs, small), (3, 3, program));
    assert!(effort.left_out > 0);
}

#[test]
fn long_schedules_are_cut_by_halves() {
    let slices: Vec<Slice> = (0..4000)
        .map(|at| Slice { cpu: 0, run: if at == 1234 || at == 2900 { 7 } else { 2 }, task: 0 })
        .collect();
    let mut program = random(3);
    program.schedule.slices = slices;
    let needed = |program: &Program| {
        program.schedule.slices.iter().filter(|slice| slice.run == 7).count() == 2
    };
    let (small, effort) = minimise(&program, needed);
    assert_eq!(small.schedule.slices.len(), 2);
    assert!(effort.runs < 600, "{}", effort.runs);
}
