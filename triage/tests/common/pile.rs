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

/// Found once in some ten or hundred thousand programs: too rare to make artifacts of here.
const RARE: [Defect; 9] = [
    Defect::OrphanMigrationEntry,
    Defect::MixedBatchNotPutBack,
    Defect::DriverMapsWithoutRecheck,
    Defect::NullDestination,
    Defect::TrylockFailureIsSuccess,
    Defect::FaultFolioUnlockedByRestore,
    Defect::SpinStarvesDrain,
    Defect::DrainMovedUp,
    Defect::RetryKeepsIsolated,
];

/// Whether one CPU suffices, as the defect's program has it.
fn is_sequential(defect: Defect) -> bool {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let text = std::fs::read_to_string(corpus.join(defect.info().corpus)).expect("its program");
    !text.lines().any(|line| line.trim() == "phase:")
}

/// The first `count` defects of the catalogue that sequential programs show.
pub fn defects(count: usize) -> Vec<Defect> {
    let often = |defect: &Defect| !RARE.contains(defect) && is_sequential(*defect);
    Defect::ALL.iter().copied().filter(often).take(count).collect()
}

/// Writes `each` artifacts of each defect, in a folder of its own below `dir`: what three engines
/// found in a build that has it.
pub fn make(dir: &Path, defects: &[Defect], each: usize, seed: u64) -> Vec<Made> {
    let mut made = Vec::new();
    for (seed, &defect) in (seed..).zip(defects) {
        let (mut bytes, mut program) = (Vec::new(), Program::default());
        let (campaign, mut decoder) = (Campaign::new(seed), Decoder::default());
        let mut lockstep = Lockstep::new(Defects::only(defect));
        let mut found = 0;
        for index in 0..100_000 {
            campaign.generate(index, &mut bytes);
            decoder.decode(&bytes, &mut program);
            if lockstep.run(&program, &Options { paranoid: false }) == Verdict::Clean {
                continue;
            }
            lockstep = Lockstep::new(Defects::only(defect));
            let path = dir.join(defect.info().name).join(name(made.len(), index));
            let folder = path.parent().expect("a folder");
            fs::create_dir_all(folder).expect("created");
            fs::write(&path, &bytes).expect("written");
            made.push(Made { path, defect });
            found += 1;
            if found == each {
                break;
            }
        }
        assert_eq!(found, each, "{}", defect.info().name);
    }
    made
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
