//! A pile of artifacts, as three engines would leave them behind in builds with known defects.

use std::fs;
use std::path::{Path, PathBuf};

use lockstep::{Lockstep, Options, Verdict};
use optimized::{Defect, Defects};
use program::{Campaign, Decoder, Program};

/// An artifact and the defect that it was made from.
pub struct Made {
    /// The file.
    pub path: PathBuf,
    /// What it shows.
    pub defect: Defect,
}

/// Programs in which a defect must show often enough.
const PROGRAMS: u64 = 30_000;

/// Whether one CPU suffices, as the defect's program has it.
fn is_sequential(defect: Defect) -> bool {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let text = std::fs::read_to_string(corpus.join(defect.info().corpus)).expect("its program");
    !text.lines().any(|line| line.trim() == "phase:")
}

/// Loses a reference in the same failed pin as `UnwindStopsAtNull`: one signature for both.
const TWIN: Defect = Defect::MixedBatchNotPutBack;

/// Artifacts of the first `count` defects of the catalogue that sequential programs show often.
pub fn make_of_many(dir: &Path, count: usize, each: usize, seed: u64) -> Vec<Made> {
    let sequential = |&defect: &Defect| is_sequential(defect) && defect != TWIN;
    let defects = Defect::ALL.iter().copied().filter(sequential);
    let piles = (seed..).zip(defects).filter_map(|(seed, defect)| found(defect, each, seed));
    let mut made = Vec::new();
    piles.take(count).for_each(|pile| write(dir, pile, &mut made));
    made
}

/// Writes `each` artifacts of each defect.
pub fn make(dir: &Path, defects: &[Defect], each: usize, seed: u64) -> Vec<Made> {
    let mut made = Vec::new();
    for (seed, &defect) in (seed..).zip(defects) {
        let pile = found(defect, each, seed).unwrap_or_else(|| panic!("{}", defect.info().name));
        write(dir, pile, &mut made);
    }
    made
}

/// Inputs that show a defect.
struct Pile {
    defect: Defect,
    inputs: Vec<(u64, Vec<u8>)>,
}

/// `None`: it does not show that often.
fn found(defect: Defect, each: usize, seed: u64) -> Option<Pile> {
    let (campaign, mut decoder) = (Campaign::new(seed), Decoder::default());
    let mut program = Program::default();
    let mut lockstep = Lockstep::new(Defects::only(defect));
    let inputs = (0..PROGRAMS).filter_map(|index| {
        let mut bytes = Vec::new();
        campaign.generate(index, &mut bytes);
        decoder.decode(&bytes, &mut program);
        if lockstep.run(&program, &Options { paranoid: false }) == Verdict::Clean {
            return None;
        }
        lockstep = Lockstep::new(Defects::only(defect));
        Some((index, bytes))
    });
    let inputs: Vec<_> = inputs.take(each).collect();
    (inputs.len() == each).then_some(Pile { defect, inputs })
}

/// In a folder of the defect's own below `dir`: what three engines found in a build that has it.
fn write(dir: &Path, pile: Pile, made: &mut Vec<Made>) {
    let Pile { defect, inputs } = pile;
    for (index, bytes) in inputs {
        let path = dir.join(defect.info().name).join(name(made.len(), index));
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(&path, &bytes).expect("written");
        made.push(Made { path, defect });
    }
}

/// Engines take turns.
fn name(number: usize, index: u64) -> PathBuf {
    let hash: String = (0..40)
        .map(|at| char::from_digit(((index >> (at % 24)) & 15) as u32, 16).unwrap_or('0'))
        .collect();
    match number % 3 {
        0 => format!("artifacts/sequential/crash-{hash}{number:04x}"),
        1 => format!("out/default/crashes/id:{number:06},sig:06,src:000003,time:{index},execs:{index},op:havoc,rep:1"),
        _ => format!("oss-fuzz/clusterfuzz-testcase-minimized-sequential-{index}{number:04}"),
    }
    .into()
}
