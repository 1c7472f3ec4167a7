//! Every permission of the judge (`docs/legitimate-divergence.md`): counted, needed by a program of the
//! corpus, and of no use to an operation that claims it without its cause.

use std::fs;
use std::path::Path;

use lockstep::{Lockstep, Options, Permission, Subject, Verdict};
use machine::Strategy;
use optimized::{Defects, World};
use program::{
    Call, DeviceMark, Mark, Marked, Model, Outcome, PageRef, Program, Seen, Shape, Snapshot,
};
use reference::Reference;

const OPTIONS: Options = Options { paranoid: false };

fn seed(name: &str) -> Program {
    let seeds = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/seeds"));
    let source = fs::read_to_string(seeds.join(format!("{name}.txt"))).expect("in the corpus");
    source.parse().expect("a program")
}

/// Each has a program that is clean by it alone.
#[test]
fn every_permission_is_needed_and_counted() {
    let mut lockstep = Lockstep::new(Defects::NONE);
    for permission in Permission::ALL {
        let program = seed(&format!("permitted-{}", permission.name()));
        lockstep.withhold(None);
        assert_eq!(lockstep.run(&program, &OPTIONS), Verdict::Clean, "{program}");
        let uses = lockstep.take_stats().permissions;
        for other in Permission::ALL {
            assert_eq!(uses[other as usize] > 0, other == permission, "{program}");
        }
        lockstep.withhold(Some(permission));
        assert_ne!(lockstep.run(&program, &OPTIONS), Verdict::Clean, "{program}");
        lockstep.take_stats();
    }
}

/// What a permission would allow, claimed in the trace of the first phase.
type Claim = fn(&mut Vec<Marked>);

/// The optimised side, which makes the claim.
struct Claiming {
    world: World,
    claim: Claim,
    trace: Vec<Marked>,
}

impl Model for Claiming {
    fn reset(&mut self, shape: &Shape) {
        self.world.reset(shape);
    }

    fn step(&mut self, call: Call<'_>, out: &mut Outcome) {
        self.world.step(call, out);
    }

    fn digest(&self) -> u64 {
        self.world.digest()
    }

    fn snapshot(&self) -> Snapshot {
        self.world.snapshot()
    }

    fn teardown(&mut self) {
        self.world.teardown();
    }
}

impl Subject for Claiming {
    const CONCURRENT: bool = true;

    fn run_phase<S: Strategy>(
        &mut self,
        calls: &[Call<'_>],
        outs: &mut [Outcome],
        strategy: &mut S,
    ) -> machine::Verdict {
        let ran = self.world.run_phase(calls, outs, strategy);
        self.trace = self.world.trace().to_vec();
        (self.claim)(&mut self.trace);
        ran.verdict
    }

    fn trace(&mut self) -> &[Marked] {
        &self.trace
    }

    fn decisions(&mut self) -> &[u8] {
        self.world.decisions()
    }
}

/// GUP-fast gave up before it took the page.
fn backed_off(trace: &mut Vec<Marked>) {
    let at = trace.iter().position(|marked| matches!(marked.mark, Mark::Grab { held: true, .. }));
    let at = at.expect("GUP-fast takes a page");
    let Mark::Grab { mm, vpn, .. } = trace[at].mark else { return };
    let mark = Mark::BackOff { mm, vpn };
    trace.insert(at, Marked { mark, seen: Seen::Flag(true), ..trace[at] });
}

/// Migration found the folio locked that it has isolated.
fn locked(trace: &mut Vec<Marked>) {
    let at = trace.iter().position(|marked| matches!(marked.mark, Mark::Isolate { .. }));
    let at = at.expect("migration isolates a folio");
    let Mark::Isolate { folio } = trace[at].mark else { return };
    let mark = Mark::Busy { folio };
    trace.insert(at + 1, Marked { mark, seen: Seen::Flag(true), ..trace[at] });
}

/// `hmm_range_fault` found nothing.
#[expect(clippy::ptr_arg, reason = "a `Claim`")]
fn cleared(trace: &mut Vec<Marked>) {
    let flags =
        |marked: &&mut Marked| matches!(marked.mark, Mark::Device(DeviceMark::Flags { .. }));
    let marked = trace.iter_mut().find(flags).expect("flags of a page");
    marked.seen = Seen::Data(PageRef::Zero, 0);
}

/// Whether the judge lets the claim pass.
fn passes(name: &str, claim: Claim) -> bool {
    let world = Claiming { world: World::new(), claim, trace: Vec::new() };
    let mut lockstep = Lockstep::of(Reference::new(), world);
    let program = seed(name);
    lockstep.run(&program, &OPTIONS) == Verdict::Clean
}

#[test]
fn no_permission_is_given_without_its_cause() {
    let claims: [Claim; 3] = [backed_off, locked, cleared];
    for (permission, claim) in Permission::ALL.into_iter().zip(claims) {
        let name = permission.name();
        assert!(!passes(&format!("refused-{name}"), claim), "{name}: nobody was in the way");
        assert!(passes(&format!("refused-{name}"), |_| ()), "{name}: clean if nothing is claimed");
    }
    // With the cause the same claims pass.
    assert!(passes("claimed-fast-backed-off", backed_off));
    assert!(passes("claimed-locked-for-a-moment", locked));
}
