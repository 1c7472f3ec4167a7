//! Every defect of the catalogue is found from scratch, as a class that the catalogue names, and made
//! small.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use optimized::{Defect, Kind};
use serde_json::Value;

/// Longest program that a finding may be left with.
const MAX_STEPS: u64 = 12;

/// Programs in which a defect must show.
const BUDGET: u32 = 200_000;

fn hunt(defect: Defect, seed: u64) -> Result<(), String> {
    let name = defect.info().name;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("defects");
    let output = Command::new(env!("CARGO_BIN_EXE_mm-lockstep"))
        .args(["hunt", "--threads", "1", "--execs", &BUDGET.to_string(), "--format", "json"])
        .args(["--defect", name, "--seed", &seed.to_string(), "--findings"])
        .arg(dir.join(format!("{name}-{seed}")))
        .output()
        .map_err(|error| error.to_string())?;
    let told: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let Some(finding) = told["findings"].get(0) else {
        return Err(format!("{name}, seed {seed}: not found in {BUDGET} programs"));
    };
    let known = defect.info().classes().any(|class| finding["class"] == class);
    match finding["steps"].as_u64() {
        Some(steps) if known && steps <= MAX_STEPS && output.status.code() == Some(1) => Ok(()),
        _ => Err(format!("{name}, seed {seed}: {:?}, {finding}", output.status)),
    }
}

#[test]
fn every_defect_is_found_and_its_program_is_short() {
    let jobs = Defect::ALL.iter().filter(|defect| defect.info().kind == Kind::Defect);
    let jobs = Mutex::new(jobs.flat_map(|&defect| [(defect, 1), (defect, 2), (defect, 3)]));
    let failures = Mutex::new(Vec::new());
    let next = || jobs.lock().expect("not poisoned").next();
    let work = || {
        while let Some((defect, seed)) = next() {
            if let Err(failure) = hunt(defect, seed) {
                failures.lock().expect("not poisoned").push(failure);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("not poisoned");
    assert!(failures.is_empty(), "{failures:#?}");
}
