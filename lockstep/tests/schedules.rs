//! Every strategy's schedules are data: as a program's own they repeat the run, mark for mark.

use lockstep::{Lockstep, Options, Policy, Scheduler, Verdict};
use optimized::{Defect, Defects};
use program::{Campaign, Decoder, Program, Schedule};

const OPTIONS: Options = Options { paranoid: false };
const PROGRAMS: u64 = if cfg!(debug_assertions) { 400 } else { 4000 };

fn random(index: u64) -> Program {
    let (mut bytes, mut program) = (Vec::new(), Program::default());
    let campaign = Campaign { concurrent: 256, ..Campaign::new(5) };
    campaign.generate(index, &mut bytes);
    Decoder::default().decode(&bytes, &mut program);
    program
}

/// Runs it; the verdict, all that was seen, and the schedule it had.
fn seen(
    lockstep: &mut Lockstep,
    program: &Program,
    scheduler: &mut Scheduler,
) -> (Verdict, u64, Schedule) {
    let verdict = lockstep.run_under(program, &OPTIONS, scheduler);
    (verdict, lockstep.take_stats().fingerprint, lockstep.schedule(program))
}

#[test]
fn the_schedule_of_any_strategy_repeats_the_run_from_its_text() {
    let mut lockstep = Lockstep::new(Defects::NONE);
    for policy in Policy::ALL {
        let (mut scheduled, mut chosen) = (0, 0);
        for index in 0..PROGRAMS {
            let program = random(index);
            let mut scheduler = policy.scheduler(&program, index);
            for _ in 0..2 {
                let (verdict, fingerprint, schedule) =
                    seen(&mut lockstep, &program, &mut scheduler);
                scheduled += u64::from(!schedule.slices.is_empty());
                chosen += schedule.slices.iter().filter(|slice| slice.task > 0).count();
                let text = Program { schedule: schedule.clone(), ..program.clone() }.to_string();
                let written: Program = text.parse().expect("a program");
                let again = seen(&mut lockstep, &written, &mut Scheduler::own(&written));
                let name = policy.name();
                assert_eq!(again, (verdict, fingerprint, schedule), "{name} {index}:\n{text}");
            }
        }
        assert!(scheduled > PROGRAMS / 2, "{}: {scheduled} phases had a choice", policy.name());
        assert!(policy == Policy::Own || chosen > 0, "{}: no task was chosen", policy.name());
    }
}

#[test]
fn another_seed_is_another_schedule() {
    let mut lockstep = Lockstep::new(Defects::NONE);
    for policy in [Policy::RandomWalk, Policy::Pct, Policy::Pos, Policy::ReadsFrom] {
        let mut differ = 0;
        for index in 0..100 {
            let program = random(index);
            let mut run = |seed| {
                let mut scheduler = policy.scheduler(&program, seed);
                seen(&mut lockstep, &program, &mut scheduler)
            };
            assert_eq!(run(1), run(1));
            differ += u64::from(run(1).2 != run(2).2);
        }
        assert!(differ >= 10, "{}: {differ}", policy.name());
    }
}

#[test]
fn a_finding_under_any_strategy_is_the_same_finding_from_its_text() {
    let defect = Defect::find("fork-shares-pinned").expect("in the catalogue");
    let fresh = || Lockstep::new(Defects::only(defect));
    let mut lockstep = fresh();
    for policy in Policy::ALL {
        let mut findings = 0;
        for index in 0..PROGRAMS {
            let program = random(index);
            let mut scheduler = policy.scheduler(&program, index);
            let verdict = lockstep.run_under(&program, &OPTIONS, &mut scheduler);
            if verdict == Verdict::Clean {
                continue;
            }
            findings += 1;
            let written = Program { schedule: lockstep.schedule(&program), ..program };
            lockstep = fresh();
            let again = lockstep.run(&written, &OPTIONS);
            lockstep = fresh();
            assert_eq!(again, verdict, "{} {index}:\n{written}", policy.name());
        }
        assert!(findings > 0, "{}: nothing found", policy.name());
    }
}
