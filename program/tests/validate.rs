//! Validity, checked against a second and naive reading of its rules.

mod common;

use program::codec::MAX_STEPS;
use program::validate::Part;
use program::{Campaign, Entry, Fault, Foll, Invalid, Object, Op, Phase, Program, Slice, Step};
use proptest::prelude::*;

/// Every step with its position, phase by phase.
fn positions(program: &Program) -> Vec<(usize, usize, Step)> {
    let phases = program.phases.iter().enumerate();
    let steps = phases.flat_map(|(phase, list)| list.steps.iter().map(move |step| (phase, *step)));
    steps.enumerate().map(|(number, (phase, step))| (number, phase, step)).collect()
}

/// Object rules as the documentation states them, every pair of steps against each other.
fn breaks_a_rule_naively(program: &Program) -> Option<String> {
    let steps = positions(program);
    for &(user, phase, step) in &steps {
        for object in step.op.uses() {
            let complain = |what: &str| Some(format!("step {user} {what} {object}"));
            let maker = steps.iter().find(|(_, _, step)| step.op.creates() == Some(object));
            match maker {
                None if object == Object::Mm(program::MmId(0)) => {}
                None => return complain("names nobody's"),
                Some(&(number, _, _)) if number >= user => return complain("is before"),
                // An area is addresses: those are known before anything is there.
                Some(_) if matches!(object, Object::Area(_)) => {}
                Some(&(_, made_in, maker)) if made_in == phase && maker.cpu != step.cpu => {
                    return complain("races with the maker of");
                }
                Some(_) => {}
            }
            for &(number, other_phase, other) in &steps {
                if !other.op.consumes().any(|consumed| consumed == object) || number == user {
                    continue;
                }
                if number < user || (other_phase == phase && other.cpu != step.cpu) {
                    return complain("uses in spite of its end");
                }
            }
        }
        if step.op.consumes().any(|object| object == Object::Mm(program::MmId(0))) {
            return Some(format!("step {user} exits mm0"));
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn random_programs_keep_the_rules(seed: u64) {
        let mut bytes = Vec::new();
        Campaign { seed, steps: 40, concurrent: 200 }.generate(0, &mut bytes);
        prop_assert_eq!(breaks_a_rule_naively(&Program::decode(&bytes)), None);
    }

    /// Moving steps between CPUs and phases breaks rules often; the validator must see it.
    #[test]
    fn the_validator_agrees_with_the_naive_reading(seed: u64, moves: [(usize, u8, bool); 3]) {
        let mut bytes = Vec::new();
        Campaign { seed, steps: 24, concurrent: 256 }.generate(0, &mut bytes);
        let mut program = Program::decode(&bytes);
        let count = program.phases.len();
        prop_assume!(count > 1);
        program.shape.cpus = 8;
        for (pick, cpu, merge) in moves {
            let at = pick % (program.phases.len() - 1).max(1);
            if merge && program.phases.len() > 1 {
                let next = program.phases.remove(at + 1);
                program.phases[at].steps.extend(next.steps);
            } else {
                let steps = &mut program.phases[at].steps;
                let last = steps.len() - 1;
                steps[last].cpu = cpu % 3;
            }
        }
        let naive = breaks_a_rule_naively(&program);
        prop_assert_eq!(program.validate().is_ok(), naive.is_none(), "{:?}\n{}", naive, program);
    }
}

#[track_caller]
fn invalid(text: &str, change: impl FnOnce(&mut Program), at: Part, fault: Fault) {
    let mut program: Program = text.parse().unwrap();
    change(&mut program);
    assert_eq!(program.validate(), Err(Invalid { at, fault }));
}

/// Rules that no text can break.
#[test]
fn rules_that_text_cannot_break() {
    let area = "m0 = mmap len=4 rw private\nh0 = get m0 fast_only\n";
    let second = program::HandleId(1);
    invalid(
        area,
        |program| {
            if let Op::Gup { foll, entry, .. } = &mut program.phases[1].steps[0].op {
                (*foll, *entry) = (Foll::Pin, Entry::FastOnly);
            }
        },
        Part::Step(1),
        Fault::FastOnlyPin,
    );
    invalid(
        area,
        |program| {
            if let Op::Gup { handle, .. } = &mut program.phases[1].steps[0].op {
                *handle = second;
            }
        },
        Part::Step(1),
        Fault::OutOfOrder(Object::Handle(second)),
    );
    invalid(
        area,
        |program| program.phases.push(Phase::default()),
        Part::Phase(2),
        Fault::EmptyPhase,
    );
    invalid(
        area,
        |program| program.schedule.cycle.push(Slice { cpu: 0, run: 0, task: 0 }),
        Part::Schedule,
        Fault::SliceRun,
    );
    invalid(area, |program| program.shape.batch = 32, Part::Machine, Fault::Batch(32));
    invalid(
        "nop",
        |program| program.phases = vec![program.phases[0].clone(); MAX_STEPS + 1],
        Part::Step(MAX_STEPS),
        Fault::TooManySteps,
    );
    invalid(
        "nop\nexpect result=0 by B5",
        |program| program.expects[0].after = 2,
        Part::Expect(0),
        Fault::ExpectInsidePhase,
    );
    let error = Invalid { at: Part::Step(1), fault: Fault::Gone(Object::Handle(second)) };
    assert_eq!(error.to_string(), "step 2: h1 was dropped already");
}

/// The properties about expectations are about something.
#[test]
fn generated_programs_have_expectations() {
    let all = (0..200).map(|seed| common::with_expects(common::program(seed, 40), seed));
    let total: usize = all.map(|program| program.expects.len()).sum();
    assert!(total > 600, "{total}");
}
