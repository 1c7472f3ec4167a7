//! Variants are judged as `docs/variants.md` says.

use lockstep::{Class, Lockstep, Options, Verdict, reference_of, render};
use optimized::{Defect, Defects, Variant, World};
use program::{Decoder, Family, Layout, Preempt, Program, Site, SplitMix64, text};

/// How many programs about longterm pins a variant fails, of so many.
fn failures(variant: Variant, programs: u32) -> u32 {
    count(Lockstep::new(Defects::NONE.in_variant(variant)), programs)
}

fn count(mut lockstep: Lockstep, programs: u32) -> u32 {
    let (mut decoder, mut program, mut bytes) = (Decoder::default(), Program::default(), vec![]);
    let mut rng = SplitMix64::new(28);
    let mut failures = 0;
    for _ in 0..programs {
        Family::LONGTERM.generate(16, &mut rng, &mut bytes);
        decoder.decode(&bytes, &mut program);
        // Who takes one page at a time is refused another one.
        let grabs = |fail: program::Fail| matches!(fail.site, Site::Grab | Site::GrabFast);
        if program.steps().any(|step| step.fail.is_some_and(grabs)) {
            continue;
        }
        let verdict = lockstep.run(&program, &Options::default());
        failures += u32::from(!matches!(verdict, Verdict::Clean));
    }
    failures
}

#[test]
fn right_variants_are_silent() {
    for variant in [
        Variant::Batched,
        Variant::PageAtATime,
        Variant::InWalkCheck,
        Variant::InLoopMigration,
        Variant::DevicePrePass,
        Variant::DeviceBulkList,
        Variant::CondResched,
        Variant::UffdAbort,
    ] {
        assert_eq!(failures(variant, 3000), 0, "{}", variant.info().name);
    }
}

/// Pins page by page keep a prefix where one call keeps nothing; pages that were skipped have no pin.
#[test]
fn wrong_variants_are_not() {
    for variant in [Variant::Vfio, Variant::VfioTailSkip] {
        assert!(failures(variant, 300) > 0, "{}", variant.info().name);
    }
}

/// The program of thread S2: giving the CPU away lets the drain run where the loop alone starves it.
#[test]
fn giving_the_cpu_away_ends_the_livelock_of_s2() {
    let source = include_str!("../../corpus/threads/s2-hmm-range-fault-livelock.txt");
    let mut program = text::parse(source).expect("a program of the corpus").program;
    for preempt in [Preempt::None, Preempt::Voluntary, Preempt::Full] {
        program.shape.preempt = preempt;
        let class = |defects| {
            let verdict = Lockstep::new(defects).run(&program, &Options::default());
            verdict.divergence().map(|divergence| divergence.class)
        };
        let spins = Defect::find("spin-starves-drain").expect("catalogued");
        let starves = (preempt != Preempt::Full).then_some(Class::Starvation);
        assert_eq!(class(Defects::only(spins)), starves, "{preempt:?}");
        assert_eq!(class(Defects::NONE.in_variant(Variant::CondResched)), None, "{preempt:?}");
    }
}

/// Who spins, what for and who has it, whose work waits for that CPU, and who for the work.
#[test]
fn the_report_of_s2_names_them_all() {
    let source = include_str!("../../corpus/threads/s2-hmm-range-fault-livelock.txt");
    let program = text::parse(source).expect("a program of the corpus").program;
    let spins = Defect::find("spin-starves-drain").expect("catalogued");
    let verdict = Lockstep::new(Defects::only(spins)).run(&program, &Options::default());
    let divergence = verdict.divergence().expect("a starvation");
    let [field, _, said] = &render::fields(divergence, &Layout::of(&program))[0];
    assert_eq!(field, "starvation");
    let clauses: Vec<&str> = said.split("; ").collect();
    let expected = [
        "the kworker of cpu 0, which is to do lru_add_drain_per_cpu, never gets cpu 0, where task 0 goes round",
        "task 0 tries for folio lock F1, which task 1 holds",
        "task 1 waits in flush_work for the work of the kworker of cpu 0 and holds folio lock F0, folio lock F1, mmap_lock",
    ];
    assert_eq!(clauses, expected);
}

/// Device pages first or with the others: the programs above tell the two orders apart.
#[test]
fn the_order_of_the_passes_shows() {
    let (reference, world) = (reference_of(Variant::Batched), World::of(Variant::DevicePrePass));
    assert!(count(Lockstep::of(reference, world), 3000) > 0);
}

/// Device pages one by one or together: where the first cannot move, the second stays or has moved.
/// Whoever of the two waits for locks with others locked (A30) meets an eviction that does, too.
#[test]
fn what_moves_together_has_results_of_its_own() {
    let run = |source: &str, defects| {
        let program = text::parse(source).expect("a program").program;
        let verdict = Lockstep::new(defects).run(&program, &Options::default());
        verdict.divergence().map(|divergence| divergence.class)
    };
    let program = |zone| {
        format!(
            "machine cpus=1 preempt=none ptes=4 normal=64 movable=16 cma=16 device=0 coherent=8 batch=3 thp=never\n\
             m0 = mmap len=2 rw private\n\
             write m0 len=2\n\
             migrate_to_device m0 len=2 device=coherent\n\
             h0 = get m0\n\
             h1 = pin m0 len=2 longterm\n\
             expect result=EBUSY by B14\n\
             expect m0 zone=coherent pin=0 by B14\n\
             expect m0+1 zone={zone} pin=0 by B14\n"
        )
    };
    let together = Defects::NONE.in_variant(Variant::DeviceBulkList);
    for (zone, defects) in [("coherent", Defects::NONE), ("normal", together)] {
        assert_eq!(run(&program(zone), defects), None, "{zone}");
    }
    assert!(run(&program("coherent"), together).is_some());
    let source = include_str!("../../corpus/defects/A30-batch-sleeps-for-locks.txt");
    assert_eq!(run(source, together), None);
    let sleeps = Defect::find("batch-sleeps-for-locks").expect("catalogued");
    let sleeps = Defects::only(sleeps).in_variant(Variant::DeviceBulkList);
    assert_eq!(run(source, sleeps), Some(Class::Deadlock));
}

/// The programs above tell the two apart, too.
#[test]
fn moving_together_shows() {
    let (reference, world) = (reference_of(Variant::Batched), World::of(Variant::DeviceBulkList));
    assert!(count(Lockstep::of(reference, world), 3000) > 0);
}
