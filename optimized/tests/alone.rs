//! The optimised side by itself: its books agree with its state, and it gives everything back.

use optimized::World;
use program::{Call, Kind, Layout, Model, Op, Outcome, Place, Program, Step, generate};

/// Runs a program and then gives everything back; `check` looks after every step.
fn run(world: &mut World, program: &Program, mut check: impl FnMut(&World, &str)) {
    let layout = Layout::of(program);
    world.reset(&program.shape);
    let mut out = Outcome::default();
    let mut number = 0;
    let mut step = |world: &mut World, step: &Step, what: &str| {
        out.data.clear();
        world.step(Call { number, step, layout: &layout }, &mut out);
        check(world, &format!("{what} {number}: {step:?}"));
        number += 1;
    };
    // Steps that wait for what the program holds (a folio lock, an event, a migration under way)
    // never end; programs without are enough.
    let waits = program
        .steps()
        .map(|step| Kind::of(&step.op))
        .any(|kind| kind.outlasts_marks() || kind == Kind::UffdRegister);
    if waits {
        return;
    }
    for s in program.steps() {
        step(world, s, "step");
    }
    let end = |op| Step { cpu: 0, op, place: Place::Normal, fail: None };
    for s in program.steps() {
        let op = match s.op {
            Op::Gup { handle, foll: program::Foll::Get, .. } => Op::Put { handle },
            Op::Gup { handle, .. } => Op::Unpin {
                handle,
                also: None,
                form: program::Form::Range,
                dirty: false,
                hole: false,
            },
            Op::Fork { child, .. } => Op::Exit { mm: child },
            _ => continue,
        };
        step(world, &end(op), "end");
    }
    step(world, &end(Op::Exit { mm: program::MmId(0) }), "end");
    world.teardown();
    assert_eq!(world.snapshot().folios.len(), 0, "leaked: {:?}\n{program:?}", world.snapshot());
    assert_eq!(world.digest(), 0);
}

#[test]
fn running_digest_is_that_of_the_state() {
    let mut world = World::new();
    let mut bytes = Vec::new();
    let mut program = Program::default();
    for index in 0..4000 {
        generate(7, index, &mut bytes);
        program.decode_into(&bytes);
        run(&mut world, &program, |world, what| {
            assert_eq!(world.conduct(), None, "{what} of program {index}");
            assert_eq!(world.digest(), world.snapshot().digest(), "{what} of program {index}");
        });
    }
}
