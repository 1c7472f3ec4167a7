//! Concurrent phases: marks mean what steps do, and correct code is silent.

use std::fs;
use std::path::Path;

use lockstep::{Lockstep, Names, Options, Stats, Verdict, held};
use machine::Slices;
use optimized::{Defect, Defects, World};
use program::{
    Call, Campaign, Decoder, Kind, Layout, Mark, Model, Outcome, Program, Replay, Step, text,
};
use reference::Reference;

/// Programs of operations that run in phases.
fn programs(seed: u64, count: u64) -> impl Iterator<Item = Program> {
    let campaign = Campaign { concurrent: 256, ..Campaign::new(seed) };
    let mut decoder = Decoder::default();
    let (mut bytes, mut program) = (Vec::new(), Program::default());
    let programs = (0..count).map(move |index| {
        campaign.generate(index, &mut bytes);
        decoder.decode(&bytes, &mut program);
        program.clone()
    });
    programs.filter(|program| !program.steps().any(|step| Kind::of(&step.op).outlasts_marks()))
}

/// Each step alone on the machine, as a phase of its own: carried out by its marks it has the
/// outcome and leaves the state that it has and leaves as a step.
#[test]
fn the_marks_of_a_step_are_the_step() {
    let (mut world, mut by_step, mut by_mark) = (World::new(), Reference::new(), Reference::new());
    let mut marks = 0;
    // Who waits for userfaultfd is killed in a phase, and as a step it has no effect.
    let waits = |step: &Step| Kind::of(&step.op) == Kind::UffdRegister;
    let marked = |step: &Step| Kind::of(&step.op).has_marks() && !waits(step);
    for program in programs(11, 1500).filter(|program| program.steps().all(marked)) {
        let layout = Layout::of(&program);
        world.reset(&program.shape);
        by_step.reset(&program.shape);
        by_mark.reset(&program.shape);
        for (number, step) in program.steps().enumerate() {
            let call = Call { number, step, layout: &layout };
            let mut expected = Outcome::default();
            by_step.step(call, &mut expected);
            let mut found = [Outcome::default()];
            let mut fair = Slices::new(program.shape.cpus, Vec::new(), Vec::new());
            let ran = world.run_phase(&[call], &mut found, &mut fair);
            assert_eq!(ran.verdict, machine::Verdict::Done, "{program}");
            by_mark.begin_phase();
            for marked in world.trace() {
                let seen = by_mark.mark(marked.number.map(|_| call), marked.mark);
                assert_eq!(seen, marked.seen, "step {number}, {marked:?} of\n{program}");
                marks += 1;
            }
            assert!(by_mark.end_phase(), "step {number} of\n{program}");
            assert_eq!(found[0], expected, "step {number} of\n{program}");
            assert_eq!(by_mark.digest(), by_step.digest(), "step {number} of\n{program}");
            assert_eq!(world.digest(), by_step.digest(), "step {number} of\n{program}");
        }
        assert_eq!(by_mark.snapshot(), by_step.snapshot(), "{program}");
    }
    assert!(marks > 50_000, "{marks} marks say little");
}

/// The same programs as they are, operations beside each other.
#[test]
fn correct_code_is_silent() {
    let mut lockstep = Lockstep::new(Defects::NONE);
    for program in programs(12, 4000) {
        let verdict = lockstep.run(&program, &Options::default());
        assert_eq!(verdict, Verdict::Clean, "{program}");
    }
    let Stats { phases, overlapped, .. } = lockstep.take_stats();
    assert!(phases > 3000, "{phases} concurrent phases");
    assert!(overlapped * 4 > phases, "operations met in {overlapped} of {phases} phases");
}

/// Which programs run, and how, depends on nothing but the program.
#[test]
fn a_phase_runs_the_same_way_again() {
    let (mut first, mut second) = (World::new(), World::new());
    for program in programs(13, 300) {
        let layout = Layout::of(&program);
        let run = |world: &mut World| {
            world.reset(&program.shape);
            let mut all = Vec::new();
            let mut number = 0;
            let slices = |list: &[program::Slice]| {
                list.iter().map(|s| machine::Slice { cpu: s.cpu, run: s.run }).collect()
            };
            let schedule = &program.schedule;
            let (head, cycle) = (slices(&schedule.slices), slices(&schedule.cycle));
            let mut strategy = Slices::new(program.shape.cpus, head, cycle);
            for phase in &program.phases {
                let calls: Vec<Call<'_>> = (number..)
                    .zip(&phase.steps)
                    .map(|(number, step)| Call { number, step, layout: &layout })
                    .collect();
                let mut outs = vec![Outcome::default(); calls.len()];
                let ran = world.run_phase(&calls, &mut outs, &mut strategy);
                all.push((ran.points, world.trace().to_vec(), outs, world.digest()));
                number += calls.len();
            }
            all
        };
        // The second world has a past.
        if program.steps().count() % 2 == 0 {
            run(&mut second);
        }
        assert_eq!(run(&mut first), run(&mut second), "{program}");
    }
}

/// `mprotect` of cpu1 finds its areas under the mmap_lock, writes entries under the PTL too, and
/// flushes before it lets go of the mmap_lock. GUP-fast, beside it on cpu0, takes neither.
#[test]
fn a_divergence_tells_which_locks_were_held_at_each_mark() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/defects");
    let source = fs::read_to_string(corpus.join("R05-gup-fast-no-recheck.txt")).expect("a file");
    let program: Program = source.parse().expect("a program");
    let mut lockstep = Lockstep::new(Defects::only(Defect::GupFastNoRecheck));
    let verdict = lockstep.run(&program, &Options { paranoid: true });
    let found = verdict.divergence().expect("the defect shows");
    let locks = held(found, &Names::of([&found.reference, &found.optimized]));
    assert!(locks.iter().all(|held| held.cpu == 1), "{locks:?}");
    for (at, marked) in found.trace.iter().enumerate().filter(|(_, marked)| marked.cpu == 1) {
        let during = locks.iter().filter(|held| held.marks.contains(&at));
        let names: Vec<&str> = during.map(|held| held.name.as_str()).collect();
        let expected: &[&str] = match marked.mark {
            Mark::Vmas { .. } | Mark::Invalidate { .. } | Mark::Flush { .. } => &["mmap_lock"],
            Mark::Protect { .. } => &["mmap_lock", "PTL"],
            _ => &[],
        };
        assert_eq!(names, expected, "{marked:?}");
    }
}

/// The search for another order asks the reference for an address space before the fork that makes
/// it. A fresh reference answers as one does that has seen larger programs: it does not panic.
#[test]
fn a_search_may_ask_for_what_is_not_made_yet() {
    let source = "\
machine cpus=3 preempt=none ptes=4 normal=12 movable=4 cma=0 batch=4 thp=always faults=vma
setup:
m0 = mmap len=8 rw private
cpu1: madvise m0+7 dontneed
cpu1: write m0+1 len=7 fail=dst#247
cpu2: h0 = pin m0+6 longterm
phase:
cpu0: madvise m0+4 len=4 dontneed
cpu1: unpin h0 range dirty place=movable
cpu2: mm1 = fork
phase:
cpu0: migrate m0 place=cma fail=dst#1
cpu1: migrate mm1 m0
cpu0: mm2 = fork
cpu1: h1 = pin m0 write fast longterm
cpu1: h2 = get m0 write fast_only
cpu1: mm3 = fork
schedule: 0*2 2*2 0*2 2 0*2 2 1*3 2 1*2 0 1*2 0 1 0 1*2 0*6 1*3 0 1*3 0*2 1*2 0*2 1*4 0*4
";
    let program = program::text::parse(source).expect("a program").program;
    let mut defects = Defects::NONE;
    defects.insert(Defect::find("A34").expect("in the catalogue"));
    let run = |lockstep: &mut Lockstep| lockstep.run(&program, &Options { paranoid: false });
    let mut lockstep = Lockstep::new(defects);
    let classes = [(); 2].map(|()| match run(&mut lockstep) {
        Verdict::Diverged(divergence) => divergence.class,
        Verdict::Clean => panic!("clean"),
    });
    assert_eq!(classes[0], classes[1]);
}

/// A migration in three steps runs beside others if it is over before its CPU does anything else.
#[test]
fn a_migration_in_three_steps_runs_beside_others() {
    let phases = |steps: &str| {
        let source = format!(
            "machine cpus=2 preempt=none ptes=4 normal=64 movable=16 cma=16 device=8 coherent=8 batch=3 thp=never\n\
             setup:\n  m0 = mmap len=2 rw private\n  write m0\n\
             phase:\n  cpu1: write m0+1\n  cpu0: v0 = migrate_vma_setup m0 system\n{steps}"
        );
        let program = text::parse(&source).expect("a program").program;
        let mut lockstep = Lockstep::new(Defects::NONE);
        assert_eq!(lockstep.run(&program, &Options::default()), Verdict::Clean);
        lockstep.take_stats().phases
    };
    let (pages, end) =
        ("  cpu0: migrate_vma_pages v0 to_device\n", "  cpu0: migrate_vma_finalize v0\n");
    assert_eq!(phases(&format!("{pages}{end}")), 1);
    assert_eq!(phases(end), 1);
    assert_eq!(phases(pages), 0, "it stays open");
    assert_eq!(phases(&format!("  cpu0: read m0+1\n{end}")), 0, "it may wait for itself");
}
