//! An error planted in any field of one side's state is found at that very step.

mod common;

use common::{ERRORS, Plant};
use lockstep::{Class, Drift, Lockstep, Options, Stats, Subject, Verdict, When};
use program::{
    Call, Campaign, Decoder, Kind, Model, Outcome, Program, Replay, Ret, Shape, Snapshot,
};
use reference::Reference;

/// The reference, with an error planted in its state after one step.
#[derive(Clone)]
struct Planted {
    inner: Reference,
    plant: Plant,
    at: usize,
    now: bool,
}

impl Model for Planted {
    fn reset(&mut self, shape: &Shape) {
        self.now = false;
        self.inner.reset(shape);
    }

    fn step(&mut self, call: Call<'_>, out: &mut Outcome) {
        self.now = call.number == self.at;
        self.inner.step(call, out);
    }

    fn digest(&self) -> u64 {
        if self.now { self.snapshot().digest() } else { self.inner.digest() }
    }

    fn snapshot(&self) -> Snapshot {
        let mut state = self.inner.snapshot();
        if self.now {
            assert!((self.plant)(&mut state), "the error can be planted");
        }
        state
    }

    fn teardown(&mut self) {
        self.now = false;
        self.inner.teardown();
    }
}

impl Replay for Planted {}

impl Subject for Planted {}

const FAST: Options = Options { paranoid: false };
const PARANOID: Options = Options { paranoid: true };

fn random(index: u64) -> Program {
    let (mut bytes, mut program) = (Vec::new(), Program::default());
    Campaign::new(11).generate(index, &mut bytes);
    Decoder::default().decode(&bytes, &mut program);
    program
}

/// A program and a step after which the error can be planted.
fn place_for(plant: Plant) -> Option<(Program, usize)> {
    let mut lockstep = Lockstep::of(Reference::new(), Reference::new());
    for program in (0..20_000).map(random) {
        let mut place = None;
        lockstep.observe(&program, &FAST, |moment| {
            let ran = moment.expected.ret != Ret::WouldBlock;
            // Not the first chance: the step before must not be touched.
            if ran && moment.number > 0 && plant(&mut moment.reference.snapshot()) {
                place.get_or_insert(moment.number);
            }
        });
        if let Some(at) = place {
            return Some((program, at));
        }
    }
    None
}

#[test]
fn an_error_in_any_field_is_found_at_that_very_step() {
    for (name, plant, class) in ERRORS {
        let (program, at) = place_for(*plant).unwrap_or_else(|| panic!("{name}: no place for it"));
        let planted = Planted { inner: Reference::new(), plant: *plant, at, now: false };
        for options in [FAST, PARANOID] {
            let verdict = Lockstep::of(Reference::new(), planted.clone()).run(&program, &options);
            let Verdict::Diverged(divergence) = verdict else { panic!("{name}: not found") };
            assert!(
                matches!(divergence.when, When::Step(number, _) if number == at),
                "{name}: planted at {at}, found at {:?}",
                divergence.when
            );
            assert_eq!(divergence.class, *class, "{name}: {:?}", divergence.fields);
        }
    }
}

#[test]
fn the_reference_agrees_with_itself_and_keeps_the_invariants() {
    let mut lockstep = Lockstep::of(Reference::new(), Reference::new());
    for index in 0..3_000 {
        let verdict = lockstep.run(&random(index), &PARANOID);
        assert_eq!(verdict, Verdict::Clean, "program {index}: {}", random(index));
    }
    let stats = lockstep.take_stats();
    assert_eq!(stats.programs, 3_000);
    assert_eq!(lockstep.take_stats(), Stats::default());
    assert_eq!(stats.steps, Kind::ALL.iter().map(|&kind| stats.kind(kind).attempts).sum::<u64>());
}

#[test]
fn one_run_in_a_hundred_compares_full_snapshots_and_the_choice_is_the_same_every_time() {
    let count = || {
        let mut lockstep = Lockstep::of(Reference::new(), Reference::new());
        for index in 0..5_000 {
            assert_eq!(lockstep.run(&random(index), &FAST), Verdict::Clean);
        }
        lockstep.take_stats().inspected
    };
    let inspected = count();
    assert!((25..=75).contains(&inspected), "{inspected} of 5000");
    assert_eq!(count(), inspected);
}

/// Misbehaves at one step, with a right state.
struct Rude(Reference, usize, bool);

impl Model for Rude {
    fn reset(&mut self, shape: &Shape) {
        self.0.reset(shape);
    }

    fn step(&mut self, call: Call<'_>, out: &mut Outcome) {
        self.2 = call.number == self.1;
        self.0.step(call, out);
    }

    fn digest(&self) -> u64 {
        self.0.digest()
    }

    fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    fn teardown(&mut self) {
        self.0.teardown();
    }
}

impl Replay for Rude {}

impl Subject for Rude {
    fn conduct(&self) -> Option<(&'static str, String)> {
        self.2.then(|| ("rude", "slammed the door".to_owned()))
    }

    fn path(&self) -> Option<&'static str> {
        Some("hall")
    }
}

#[test]
fn misconduct_is_found_although_the_states_agree() {
    let program = random(1);
    let rude = Rude(Reference::new(), 2, false);
    let verdict = Lockstep::of(Reference::new(), rude).run(&program, &FAST);
    let divergence = verdict.divergence().expect("misconduct is a finding");
    assert_eq!(divergence.class, Class::Conduct("rude"));
    assert_eq!(divergence.class.to_string(), "conduct-rude");
    assert_eq!(divergence.path, Some("hall"));
    assert!(matches!(divergence.when, When::Step(2, _)));
}

/// Changes what an operation returns and reads.
type Lie = fn(&mut Outcome);

/// Lies at one step.
struct Liar(Reference, usize, Lie);

impl Model for Liar {
    fn reset(&mut self, shape: &Shape) {
        self.0.reset(shape);
    }

    fn step(&mut self, call: Call<'_>, out: &mut Outcome) {
        self.0.step(call, out);
        if call.number == self.1 {
            (self.2)(out);
        }
    }

    fn digest(&self) -> u64 {
        self.0.digest()
    }

    fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    fn teardown(&mut self) {
        self.0.teardown();
    }
}

impl Replay for Liar {}

impl Subject for Liar {}

#[test]
fn a_wrong_result_and_wrong_data_are_found_although_the_states_agree() {
    let lies: [(Lie, Class); 3] = [
        (|out| out.ret = Ret::Ok(77), Class::Result),
        (|out| out.data.push(1), Class::Content),
        (|out| out.ret = Ret::Void, Class::Result),
    ];
    for (lie, class) in lies {
        let liar = Liar(Reference::new(), 3, lie);
        let program = random(4);
        let verdict = Lockstep::of(Reference::new(), liar).run(&program, &FAST);
        assert_eq!(verdict.class(), Some(class));
        assert!(matches!(verdict.divergence().expect("found").when, When::Step(3, _)));
    }
}

#[test]
fn a_run_knows_nothing_of_the_one_before() {
    let lie: Lie = |out| out.ret = Ret::Ok(77);
    let mut lockstep = Lockstep::of(Reference::new(), Liar(Reference::new(), 3, lie));
    let (long, short) = (random(4), Program::sequential(Shape::default(), []));
    for _ in 0..2 {
        assert_eq!(lockstep.run(&long, &FAST).class(), Some(Class::Result));
        assert_eq!(lockstep.run(&short, &FAST), Verdict::Clean);
    }
}

#[test]
fn the_classes_have_distinct_names_fit_for_file_names() {
    let mut names: Vec<String> = ERRORS.iter().map(|(_, _, class)| class.to_string()).collect();
    names
        .extend([Class::Refcount(Drift::Leak), Class::Invariant(3)].map(|class| class.to_string()));
    for name in &names {
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
    }
}
