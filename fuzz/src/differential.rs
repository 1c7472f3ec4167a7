//! Programs in byte form, run on both sides in lockstep.

use std::cell::RefCell;
use std::fmt::Write;
use std::ops::Range;

use lockstep::domain::Domain;
use lockstep::{Divergence, Identity, Lockstep, Options, Verdict, render};
use optimized::{Defect, Defects, Variant};
use program::{Campaign, Decoder, Layout, Program};

use crate::alarm::Alarm;
use crate::cells;

/// The digest after every step sees what snapshots would; engines build with debug assertions.
const OPTIONS: Options = Options { paranoid: false };
/// Programs that warm up.
const WARM: u64 = 1_000;

struct Harness {
    defects: Defects,
    lockstep: Lockstep,
    decoder: Decoder,
    program: Program,
    domain: Domain,
    /// Inputs of `decode` that are something new.
    seeds: Range<usize>,
}

thread_local! {
    static HARNESS: RefCell<Harness> = RefCell::new(Harness::new());
}

/// Decodes a program, runs it and reports its features to the engine.
pub fn run(bytes: &[u8]) -> Option<Alarm> {
    HARNESS.with_borrow_mut(|harness| harness.run(bytes))
}

/// Runs many programs of which nothing is told.
pub fn warm_up() {
    let mut bytes = Vec::new();
    for index in 0..WARM {
        Campaign { concurrent: 64, ..Campaign::new(index) }.generate(index, &mut bytes);
        HARNESS.with_borrow_mut(|harness| drop(harness.verdict(&bytes)));
    }
    settle();
}

/// Runs the empty program: each run begins with clearing away what the one before left.
pub fn settle() {
    HARNESS.with_borrow_mut(|harness| drop(harness.verdict(&[])));
}

/// Decodes a program. The first inputs, as many as `MM_LOCKSTEP_DECODE_SEEDS` says, are something
/// new each: libFuzzer mutates only inputs that were, and the rate is to be one of the programs that
/// it began with, not of the shortest of them.
pub fn decode(bytes: &[u8]) -> Option<Alarm> {
    HARNESS.with_borrow_mut(|harness| {
        harness.decoder.decode(bytes, &mut harness.program);
        if let Some(cell) = harness.seeds.next() {
            cells::hit(cell, 1);
        }
    });
    None
}

impl Harness {
    fn new() -> Harness {
        let defects = defects_from_environment();
        Harness {
            defects,
            lockstep: Lockstep::new(defects),
            decoder: Decoder::default(),
            program: Program::default(),
            domain: Domain::default(),
            seeds: 0..seeds_from_environment(),
        }
    }

    fn verdict(&mut self, bytes: &[u8]) -> Verdict {
        let Harness { lockstep, decoder, program, domain, .. } = self;
        decoder.decode(bytes, program);
        let verdict = domain.run(lockstep, program, &OPTIONS, cells::hit);
        if verdict != Verdict::Clean {
            // Whatever state the two were left in: no later program shall see it.
            *lockstep = Lockstep::new(self.defects);
        }
        verdict
    }

    fn run(&mut self, bytes: &[u8]) -> Option<Alarm> {
        match self.verdict(bytes) {
            Verdict::Clean => None,
            Verdict::Diverged(divergence) => Some(self.alarm(&divergence)),
        }
    }

    /// Tells a divergence by its smallest program and the signature of its root: engines take
    /// findings for one bug when they are told alike.
    fn alarm(&self, divergence: &Divergence) -> Alarm {
        let (signature, small, fields) = match Identity::of(self.defects, &self.program, &OPTIONS) {
            Some(Identity { minimal, divergence, signature }) => {
                let fields = render::fields(&divergence, &Layout::of(&minimal));
                (signature.to_string(), minimal, fields)
            }
            // Not seen again: a run depends on those before it, which is a bug of this harness.
            None => (
                format!("{}--not-reproducible", divergence.class),
                self.program.clone(),
                render::fields(divergence, &Layout::of(&self.program)),
            ),
        };
        let mut report = format!("finding: {}\n\n", divergence.class);
        for [what, reference, optimized] in fields {
            let _ = writeln!(report, "    {what}: reference {reference}, optimised {optimized}");
        }
        let _ = write!(report, "\n{small}\nreplay: mm-lockstep replay --bytes FILE");
        let planted = Defect::ALL.iter().filter(|&&defect| self.defects.contains(defect));
        planted.for_each(|defect| report.extend([" --defect ", defect.info().name]));
        if self.defects.variant() != Variant::Batched {
            report.extend([" --variant ", self.defects.variant().info().name]);
        }
        report.push('\n');
        Alarm { family: divergence.class.family(), signature, report }
    }
}

/// The defects named in `MM_LOCKSTEP_DEFECT` (comma separated), to see an engine find one, and the
/// variant of `MM_LOCKSTEP_VARIANT`.
///
/// # Panics
/// When a name is not in the catalogue.
fn defects_from_environment() -> Defects {
    let mut defects = Defects::NONE;
    let names = std::env::var("MM_LOCKSTEP_DEFECT").unwrap_or_default();
    for name in names.split(',').filter(|name| !name.is_empty()) {
        match Defect::find(name) {
            Some(defect) => defects.insert(defect),
            None => panic!("MM_LOCKSTEP_DEFECT: there is no defect {name}; see `defects`"),
        }
    }
    match std::env::var("MM_LOCKSTEP_VARIANT") {
        Ok(name) if !name.is_empty() => match Variant::find(&name) {
            Some(variant) => defects.in_variant(variant),
            None => panic!("MM_LOCKSTEP_VARIANT: there is no variant {name}; see docs/variants.md"),
        },
        _ => defects,
    }
}

/// How many inputs are new to `decode`: the empty one that libFuzzer begins with, if nothing else.
///
/// # Panics
/// When the variable is not a number.
fn seeds_from_environment() -> usize {
    match std::env::var("MM_LOCKSTEP_DECODE_SEEDS") {
        Ok(count) => count.parse().expect("MM_LOCKSTEP_DECODE_SEEDS: a number"),
        Err(_) => 1,
    }
}
