//! Where GUP's walk writes what it finds does not matter: expanding any sink gives the page array.

use lockstep::reference_of;
use optimized::{Variant, World};
use program::{
    Call, Decoder, Entry, Family, Foll, Form, Layout, Model, Op, Outcome, Place, Program, Report,
    Ret, SplitMix64, Step,
};

/// The other form, where the operation has one; `put` gives back whatever it was given.
fn other(op: Op) -> Op {
    let turn = |form| if form == Form::Pages { Form::Range } else { Form::Pages };
    match op {
        Op::Gup { mm, range, handle, entry, foll, write, longterm, form } => {
            Op::Gup { mm, range, handle, entry, foll, write, longterm, form: turn(form) }
        }
        Op::Unpin { handle, also, form, dirty, hole } => {
            Op::Unpin { handle, also, form: turn(form), dirty, hole }
        }
        op => op,
    }
}

/// Runs a program with every call of GUP and unpin as it is and in the other form. How many calls
/// got more than one page.
fn compare(program: &Program) -> u32 {
    let layout = Layout::of(program);
    let mut reference = reference_of(Variant::Batched);
    reference.reset(&program.shape);
    let mut worlds = [World::new(), World::new()];
    worlds.iter_mut().for_each(|world| world.reset(&program.shape));
    let mut compared = 0;
    for (number, step) in program.steps().enumerate() {
        let turned = Step { op: other(step.op), ..*step };
        let mut outcome = Outcome::default();
        reference.step(Call { number, step, layout: &layout }, &mut outcome);
        if outcome.ret == Ret::WouldBlock {
            continue;
        }
        let mut outcomes = [Outcome::default(), Outcome::default()];
        for ((world, step), outcome) in worlds.iter_mut().zip([step, &turned]).zip(&mut outcomes) {
            world.step(Call { number, step, layout: &layout }, outcome);
        }
        let [pages, ranges] = &outcomes;
        assert_eq!(pages.ret, ranges.ret, "step {} of\n{program}", number + 1);
        // What each handle holds, page by page, is part of the digest.
        let same = worlds[0].digest() == worlds[1].digest();
        assert!(same, "after step {} of\n{program}", number + 1);
        let several = matches!(pages.ret, Ret::Ok(2..));
        compared += u32::from(matches!(step.op, Op::Gup { .. }) && several);
    }
    compared
}

#[test]
fn ranges_are_the_page_array() {
    let (mut decoder, mut program, mut bytes) = (Decoder::default(), Program::default(), vec![]);
    let mut rng = SplitMix64::new(50);
    let mut compared = 0;
    for _ in 0..4000 {
        Family::LONGTERM.generate(16, &mut rng, &mut bytes);
        decoder.decode(&bytes, &mut program);
        compared += compare(&program);
    }
    assert!(compared > 1000, "{compared}");
}

/// Each slow GUP without side effects beside the walk that only counts and the one that only says
/// which pages: all three see the same.
fn walked(program: &Program) -> u32 {
    let layout = Layout::of(program);
    let mut world = World::new();
    world.reset(&program.shape);
    let mut run = |number, op, fresh: bool| {
        let step = Step { cpu: 0, op, place: Place::Normal, fail: None };
        let mut outcome = Outcome::default();
        if fresh {
            world.reset(&program.shape);
        }
        world.step(Call { number, step: &step, layout: &layout }, &mut outcome);
        outcome
    };
    let mut seen = 0;
    let steps: Vec<Step> = program.steps().copied().collect();
    for (number, step) in steps.iter().enumerate() {
        let Op::Gup { mm, range, handle, write, .. } = step.op else { continue };
        // The state before it, three times.
        let mut replay = |op| {
            for (at, step) in steps[..number].iter().enumerate() {
                run(at, step.op, at == 0);
            }
            run(number, op, number == 0)
        };
        let walk = |report| Op::Walk { mm, range, write, report };
        let count = replay(walk(Report::Count));
        let pfns = replay(walk(Report::Pfns));
        let (foll, form, longterm) = (Foll::Get, Form::Pages, false);
        let entry = Entry::Slow;
        let get = replay(Op::Gup { mm, range, handle, entry, foll, write, longterm, form });
        assert_eq!(count.ret, get.ret, "step {} of\n{program}", number + 1);
        assert_eq!(pfns.ret, get.ret, "step {} of\n{program}", number + 1);
        if let Ret::Ok(pages) = get.ret {
            assert_eq!(pfns.data.len(), pages as usize);
            seen += u32::from(pages > 1);
        }
    }
    seen
}

#[test]
fn walks_without_references_see_the_page_array() {
    let (mut decoder, mut program, mut bytes) = (Decoder::default(), Program::default(), vec![]);
    let mut rng = SplitMix64::new(51);
    let mut seen = 0;
    for _ in 0..1000 {
        Family::SEQUENTIAL.generate(12, &mut rng, &mut bytes);
        decoder.decode(&bytes, &mut program);
        let waits = |op: &Op| matches!(op, Op::LockPage { .. } | Op::Uffd { .. });
        if !program.shape.has_device() && !program.steps().any(|step| waits(&step.op)) {
            seen += walked(&program);
        }
    }
    assert!(seen > 100, "{seen}");
}
