//! `cost`, and hunting for what costs.

#[allow(dead_code, reason = "each test file uses some of it")]
mod common;

use std::fs;

use common::{assert_code, directory, err, out, run};

const SHARED: &str = "machine cpus=2 preempt=none ptes=4 normal=64 movable=0 cma=0 batch=3 thp=never\n\
    m0 = mmap len=2 rw private\nwrite m0 len=2\ncpu1: read m0\nh0 = get m0 len=2\ncpu1: put h0\nmunmap m0 len=2\n";

#[test]
fn the_ledger_is_a_table_and_json() {
    let dir = directory("cost");
    fs::write(dir.join("shared.txt"), SHARED).expect("written");
    let table = run(&dir, &["cost", "shared.txt"]);
    assert_code(&table, 0);
    let table = out(&table);
    let header = table.lines().next().expect("a header");
    for item in ["atomics", "hand-overs", "tlb flushes", "ipis"] {
        assert!(header.contains(item), "{item} in\n{table}");
    }
    // Nobody waits and nothing is looked at again: no columns.
    assert!(!header.contains("lock waits") && !header.contains("rescans"), "{table}");

    let json = run(&dir, &["cost", "shared.txt", "--format", "json", "--variant", "vfio"]);
    assert_code(&json, 0);
    let json: serde_json::Value = serde_json::from_str(&out(&json)).expect("JSON");
    let cost = |step: usize| &json[step]["variants"][0]["cost"];
    assert_eq!(json[4]["operations"][0], "cpu1: put h0");
    assert_eq!(cost(4)["hand-overs"], 2, "the refcounts of two pages");
    assert_eq!(cost(5)["tlb flushes"], 1);
    assert_eq!(cost(5)["ipis"], 1);
    assert_eq!(cost(5)["lock waits"], 0);
}

#[test]
fn a_phase_is_one_entry() {
    let dir = directory("cost-phase");
    let phase = "setup:\n  m0 = mmap len=1 rw private\nphase:\n  cpu0: write m0\n  cpu1: read m0\n";
    fs::write(dir.join("phase.txt"), phase).expect("written");
    let json = run(&dir, &["cost", "phase.txt", "--format", "json"]);
    assert_code(&json, 0);
    let json: serde_json::Value = serde_json::from_str(&out(&json)).expect("JSON");
    assert_eq!(json.as_array().expect("a list").len(), 2);
    assert_eq!(json[1]["operations"].as_array().expect("operations").len(), 2);
    assert_eq!(json[1]["variants"][0]["results"][1], "1");
}

#[test]
fn hunts_about_one_thing() {
    let dir = directory("family");
    let hunt = |family: &str| run(&dir, &["hunt", "--execs", "1000", "--family", family]);
    let longterm = hunt("longterm");
    assert_code(&longterm, 0);
    let pins: u64 = out(&longterm)
        .lines()
        .filter(|line| line.trim_start().starts_with("pin-longterm"))
        .filter_map(|line| line.split_whitespace().nth(1)?.replace(',', "").parse::<u64>().ok())
        .sum();
    assert!(pins > 1000, "{pins}: one a program at least");
    let unknown = hunt("sigterm");
    assert_code(&unknown, 2);
    assert!(err(&unknown).contains("longterm"), "{}", err(&unknown));
}

/// What only wastes is found by its cost, and the finding says of which family it is.
#[test]
fn waste_is_found() {
    let dir = directory("waste");
    let hunt = ["hunt", "--execs", "20000", "--family", "longterm", "--defect", "rescan-for-cma"];
    let output = run(&dir, &hunt);
    assert_code(&output, 1);
    assert!(out(&output).contains("finding: cost: rescans"), "{}", out(&output));
    let files: Vec<_> = fs::read_dir(dir.join("findings")).expect("written").flatten().collect();
    let program = fs::read_to_string(files[0].path()).expect("readable");
    assert!(program.contains("# family longterm, seed 1 execution "), "{program}");
}
