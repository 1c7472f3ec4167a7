//! What every fuzz target does with its bytes. A target is this and a macro.

use std::cell::RefCell;
use std::process::ExitCode;

use lockstep::{Lockstep, Options, Verdict};
use optimized::{Defect, Defects};
use program::{Decoder, Layout, Program};

/// The digest after every step sees what snapshots would; engines build with debug assertions.
const OPTIONS: Options = Options { paranoid: false };

struct Harness {
    lockstep: Lockstep,
    decoder: Decoder,
    program: Program,
}

thread_local! {
    static HARNESS: RefCell<Harness> = RefCell::new(Harness::new());
}

impl Harness {
    fn new() -> Harness {
        Harness {
            lockstep: Lockstep::new(defects_from_environment()),
            decoder: Decoder::default(),
            program: Program::default(),
        }
    }
}

/// The defects named in `MM_LOCKSTEP_DEFECT` (comma separated), to see an engine find one.
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
    defects
}

/// Target `sequential`: decodes, runs both sides in lockstep.
///
/// # Panics
/// When they diverge: that is how a fuzz target reports.
pub fn sequential(bytes: &[u8]) {
    HARNESS.with_borrow_mut(|harness| {
        let Harness { lockstep, decoder, program } = harness;
        decoder.decode(bytes, program);
        if let Verdict::Diverged(divergence) = lockstep.run(program, &OPTIONS) {
            let layout = Layout::of(program);
            let fields = lockstep::render::fields(&divergence, &layout);
            let fields: String =
                fields.iter().map(|[what, a, b]| format!("    {what}: {a} | {b}\n")).collect();
            panic!("{}\n{fields}\n{program}", divergence.class);
        }
    });
}

/// Replays files through a target without an engine: what a target's `main` is in a plain build.
pub fn replay(target: fn(&[u8])) -> ExitCode {
    let mut files = 0;
    for path in std::env::args_os().skip(1) {
        match std::fs::read(&path) {
            Ok(bytes) => target(&bytes),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                return ExitCode::from(3);
            }
        }
        files += 1;
    }
    println!("replayed {files} file(s), no divergence");
    ExitCode::SUCCESS
}
