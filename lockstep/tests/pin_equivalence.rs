//! A45: pinning n pages in one call and in n calls leaves the same state, on a quiescent machine and
//! while nothing is refused. (Which batch a page waits in may differ, so batches are drained.)

use optimized::{Variant, World};
use program::{Call, Decoder, Layout, Model, Op, Outcome, Place, Program, Ret, Step, generate};

const DRAIN: Step = Step { cpu: 0, op: Op::LruAddDrainAll, place: Place::Normal, fail: None };

/// How many GUP calls of several pages agreed.
fn compare(program: &Program) -> u32 {
    let layout = Layout::of(program);
    let mut worlds = [Variant::Batched, Variant::Vfio].map(World::of);
    worlds.iter_mut().for_each(|world| world.reset(&program.shape));
    let mut compared = 0;
    for (number, step) in program.steps().enumerate() {
        if step.fail.is_some() || matches!(step.op, Op::LockPage { .. }) {
            break;
        }
        let mut rets = [Ret::Void; 2];
        for (world, ret) in worlds.iter_mut().zip(&mut rets) {
            for step in [step, &DRAIN] {
                let mut outcome = Outcome::default();
                world.step(Call { number, step, layout: &layout }, &mut outcome);
                if step.op != DRAIN.op {
                    *ret = outcome.ret;
                }
            }
        }
        if let Op::Gup { range, .. } = step.op {
            if rets[0] != Ret::Ok(u32::from(range.len)) {
                break; // refused somewhere: one call keeps nothing, several keep a prefix
            }
            compared += u32::from(range.len > 1);
        }
        let [one, several] = &worlds;
        assert_eq!(rets[0], rets[1], "step {} of\n{program}", number + 1);
        let same = one.digest() == several.digest();
        assert!(same, "after step {} of\n{program}", number + 1);
    }
    compared
}

#[test]
fn one_call_for_many_pages_or_many_for_one() {
    let (mut decoder, mut program, mut bytes) = (Decoder::default(), Program::default(), vec![]);
    let mut compared = 0;
    for index in 0..6000 {
        generate(45, index, &mut bytes);
        decoder.decode(&bytes, &mut program);
        compared += compare(&program);
    }
    assert!(compared > 1000, "{compared}");
}
