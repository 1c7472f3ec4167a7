//! Variants are judged as `docs/variants.md` says.

use lockstep::{Class, Lockstep, Options, Verdict, reference_of};
use optimized::{Defect, Defects, Variant, World};
use program::{Decoder, Family, Preempt, Program, Site, SplitMix64, text};

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
        Variant::CondResched,
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

/// Device pages first or with the others: the programs above tell the two orders apart.
#[test]
fn the_order_of_the_passes_shows() {
    let (reference, world) = (reference_of(Variant::Batched), World::of(Variant::DevicePrePass));
    assert!(count(Lockstep::of(reference, world), 3000) > 0);
}
