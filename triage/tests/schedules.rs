//! Schedules on the command line: strategies, exploring, and what they show being the same
//! everywhere.

#[allow(dead_code, reason = "each test file uses some of it")]
mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{assert_code, directory, err, out, run, run_with_input};

/// A pin without locks beside a fork. Clean in text order, and without preemption: the fork first.
const FORK_X_PIN: &str = "\
machine cpus=2 preempt=full ptes=4 normal=64 movable=16 cma=16 batch=3 thp=never
m0 = mmap len=1 rw private
write m0
phase:
  cpu0: mm1 = fork
  cpu1: h0 = pin m0 write fast
then:
  write m0
  peek h0
";

const EXECS: &str = if cfg!(debug_assertions) { "2000" } else { "10000" };

/// The report of a hunt in a process of its own, with so many bytes of environment.
fn report(dir: &Path, seed: &str, environment: usize) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mm-lockstep"));
    command.args(["hunt", "--execs", EXECS, "--seed", seed, "--format", "json"]);
    command.current_dir(dir).stdin(Stdio::null()).env_clear();
    if environment > 0 {
        command.env("MM_LOCKSTEP_TEST", "x".repeat(environment)).env("LANG", "tr_TR.UTF-8");
    }
    let output = command.output().expect("it runs");
    assert_code(&output, 0);
    out(&output)
}

#[test]
fn every_trace_is_the_same_in_every_process() {
    let dir = directory("environments");
    let one = report(&dir, "1", 0);
    assert_eq!(one, report(&dir, "1", 50_000));
    let fingerprint = |report: &str| {
        let report: serde_json::Value = serde_json::from_str(report).expect("JSON");
        report["fingerprint"].as_str().map(str::to_owned).expect("a fingerprint")
    };
    assert_ne!(fingerprint(&one), fingerprint(&report(&dir, "2", 0)));
}

#[test]
fn every_strategy_hunts_the_same_whatever_the_threads() {
    let dir = directory("strategies");
    let mut reports = Vec::new();
    for strategy in ["own", "random-walk", "pct", "pos", "reads-from", "round-robin"] {
        let hunt = |threads| {
            let args = ["hunt", "--execs", "1500", "--strategy", strategy, "--threads", threads];
            let output = run(&dir, &args);
            assert_code(&output, 0);
            out(&output)
        };
        let one = hunt("1");
        assert_eq!(one, hunt("3"), "{strategy}");
        assert!(!reports.contains(&one), "{strategy}: other schedules are seen");
        reports.push(one);
    }
    let output = run(&dir, &["hunt", "--strategy", "chance"]);
    assert_code(&output, 2);
    assert!(err(&output).contains("there are own, random-walk, pct,"), "{}", err(&output));
}

#[test]
fn explore_runs_every_schedule_and_raises_the_bound() {
    let dir = directory("explore-clean");
    let output = run_with_input(&dir, &["explore", "-", "--preemptions", "1"], FORK_X_PIN);
    assert_code(&output, 0);
    let text = out(&output);
    assert!(text.starts_with("preemptions up to 0: "), "{text}");
    assert!(text.contains("preemptions up to 1: "), "{text}");
    assert!(text.ends_with("clean: no schedule within the bound shows anything\n"), "{text}");
    assert!(!dir.join("findings").exists());

    let json = |args: &[&str]| -> serde_json::Value {
        let args = [&["explore", "-", "--format", "json"], args].concat();
        let output = run_with_input(&dir, &args, FORK_X_PIN);
        assert_code(&output, 0);
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let whole = json(&["--preemptions", "1"]);
    assert_eq!(whole["complete"], true);
    let counts = |at: usize| whole["bounds"][at]["schedules"].as_u64().expect("a number");
    assert!(counts(0) >= 2 && counts(1) > counts(0), "{whole}");
    assert!(whole["bounds"][1]["redundant"].as_u64().expect("a number") > 0, "{whole}");
    assert_eq!(json(&["--preemptions", "1", "--limit", "3"])["complete"], false);

    let alone = run_with_input(&dir, &["explore", "-"], "m0 = mmap len=1 rw private\nwrite m0\n");
    assert_code(&alone, 0);
    assert!(out(&alone).contains("preemptions up to 1: 1 schedules, 0 redundant"), "it has one");
    assert_code(&run_with_input(&dir, &["explore", "-"], "# nothing\n"), 3);
}

#[test]
fn explore_finds_what_the_programs_own_schedule_does_not_show() {
    let dir = directory("explore-defect");
    let defect = ["--defect", "fork-shares-pinned"];
    fs::write(dir.join("p.txt"), FORK_X_PIN).expect("written");
    assert_code(&run(&dir, &[&["replay", "p.txt"][..], &defect].concat()), 0);
    let output = run(&dir, &[&["explore", "p.txt"][..], &defect].concat());
    assert_code(&output, 1);
    let text = out(&output);
    let files: Vec<_> = fs::read_dir(dir.join("findings")).expect("written").flatten().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let file = format!("findings/{}", files[0].file_name().to_string_lossy());
    assert!(text.contains(&format!("mm-lockstep replay {file} --defect ")), "{text}");
    let program = fs::read_to_string(dir.join(&file)).expect("readable");
    assert!(program.contains("\nschedule: "), "{program}");
    assert!(program.contains(" of those with up to "), "{program}");
    assert_code(&run(&dir, &[&["replay", &file][..], &defect].concat()), 1);
    assert_code(&run(&dir, &["replay", &file]), 0);
}

#[test]
fn a_race_needs_its_one_preemption() {
    let dir = directory("explore-race");
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/defects/");
    for (id, defect) in [
        ("R01", "fork-without-write-protect-seq"),
        ("R05", "gup-fast-no-recheck"),
        ("R07", "lost-wakeup"),
    ] {
        let file = format!("{corpus}{id}-{defect}.txt");
        let explore = |preemptions, more: &[&str]| {
            let args = ["explore", file.as_str(), "--preemptions", preemptions];
            run(&dir, &[&args, more].concat()).status.code()
        };
        assert_eq!(explore("0", &["--defect", defect]), Some(0), "{defect}");
        assert_eq!(explore("1", &["--defect", defect]), Some(1), "{defect}");
        assert_eq!(explore("2", &[]), Some(0), "{defect} is off");
    }
}
