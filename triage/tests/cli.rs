//! The command line as its users meet it: exit codes, output, determinism.

mod common;

use std::fs;

use common::{GOOD, assert_code, directory, err, out, random, run, run_with_input};

#[test]
fn the_correct_version_is_clean() {
    let dir = directory("clean");
    let output = run(&dir, &["hunt", "--execs", "3000"]);
    assert_code(&output, 0);
    let text = out(&output);
    assert!(text.contains("3,000 programs"), "{text}");
    assert!(text.contains("seed 1"), "{text}");
    assert!(text.ends_with("clean: both sides agreed after every operation\n"), "{text}");
    assert!(!dir.join("findings").exists());
}

#[test]
fn a_defect_is_found_made_small_written_and_replayed() {
    let dir = directory("defect");
    let output = run(&dir, &["hunt", "--execs", "3000", "--defect", "canary"]);
    assert_code(&output, 1);
    let text = out(&output);
    let files: Vec<_> = fs::read_dir(dir.join("findings")).expect("written").flatten().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let file = format!("findings/{}", files[0].file_name().to_string_lossy());
    assert!(text.contains(&format!("replay: mm-lockstep replay {file} --defect canary")), "{text}");
    let program = fs::read_to_string(dir.join(&file)).expect("readable");
    assert!(program.contains("# defect: canary -> "), "{program}");
    assert!(program.contains("# seed 1 execution "), "{program}");

    let again = run(&dir, &["replay", &file, "--defect", "canary"]);
    assert_code(&again, 1);
    let class = file.trim_start_matches("findings/").rsplit_once('-').expect("class-hash").0;
    assert!(out(&again).starts_with(&format!("{file}: {class}\n")), "{}", out(&again));
    assert_code(&run(&dir, &["replay", &file]), 0);
    // It is canonical text, but for its head.
    assert_code(&run(&dir, &["fmt", "--check", &file]), 0);
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_threads_and_the_process() {
    let dir = directory("determinism");
    let sets: [&[&str]; 5] = [
        &["--execs", "2000"],
        &["--execs", "2000", "--defect", "fork-shares-pinned", "--seed", "3"],
        &["--execs", "1500", "--defect", "mremap-loses-mapcount", "--keep-going"],
        &["--execs", "1500", "--defect", "C11", "--format", "json"],
        &["--execs", "3000", "--defect", "C08", "--defect", "A48b", "--keep-going"],
    ];
    for set in sets {
        let hunt = |threads| {
            let output = run(&dir, &[&["hunt", "--threads", threads], set].concat());
            (output.status.code(), out(&output))
        };
        let one = hunt("1");
        assert_eq!(one, hunt("1"), "{set:?}: two processes");
        assert_eq!(one, hunt("3"), "{set:?}: three threads");
    }
}

#[test]
fn different_seeds_are_different_programs() {
    let dir = directory("seeds");
    let hunt = |seed| out(&run(&dir, &["hunt", "--execs", "500", "--seed", seed]));
    assert_ne!(hunt("1").replace("seed 1", "seed 2"), hunt("2"));
}

#[test]
fn wrong_usage_is_code_2_and_names_what_was_meant() {
    let dir = directory("usage");
    let output = run(&dir, &["hunt", "--defect", "canarry"]);
    assert_code(&output, 2);
    assert!(err(&output).contains("did you mean canary?"), "{}", err(&output));
    for args in [&["hunt", "--for", "soon"][..], &["replay"], &["hunt", "--execs", "x"], &["huntt"]]
    {
        assert_code(&run(&dir, args), 2);
    }
}

#[test]
fn bad_text_is_code_3_with_line_column_caret_and_hint() {
    let dir = directory("text");
    fs::write(dir.join("bad.txt"), "machine\nm0 = mmap len=2 rw private\nwrte m0\n")
        .expect("written");
    for command in ["replay", "show", "fmt"] {
        let output = run(&dir, &[command, "bad.txt"]);
        assert_code(&output, 3);
        let text = err(&output);
        assert!(text.contains("bad.txt:3:1"), "{text}");
        assert!(text.contains("wrte m0"), "{text}");
        assert!(text.contains("^^^^"), "{text}");
        assert!(text.contains("write"), "{text}");
        assert_eq!(out(&output), "");
    }
}

#[test]
fn a_missing_file_is_code_3_with_a_hint() {
    let output = run(&directory("missing"), &["replay", "no-such-file.txt"]);
    assert_code(&output, 3);
    assert!(err(&output).contains("no-such-file.txt"), "{}", err(&output));
    assert!(err(&output).contains("hint:"), "{}", err(&output));
}

#[test]
fn bytes_and_text_and_standard_input_are_the_same_program() {
    let dir = directory("forms");
    let program = random(5);
    fs::write(dir.join("p"), program.encode()).expect("written");
    fs::write(dir.join("p.txt"), program.to_string()).expect("written");
    let show = |file: &str| run(&dir, &["show", file]);
    assert_code(&show("p"), 0);
    assert_eq!(out(&show("p")), out(&show("p.txt")));
    let piped = run_with_input(&dir, &["show", "-"], &program.to_string());
    assert_eq!(out(&piped), out(&show("p")));

    let mut cut = program.encode();
    cut.pop();
    fs::write(dir.join("cut"), &cut).expect("written");
    assert_code(&run(&dir, &["replay", "cut"]), 3);
    assert_code(&run(&dir, &["replay", "--bytes", "cut"]), 0);
    fs::write(dir.join("noise"), [0xff, 0xfe, 0x00, 0x80]).expect("written");
    assert_code(&run(&dir, &["replay", "noise"]), 3);
    assert_code(&run(&dir, &["replay", "--bytes", "noise"]), 0);
}

#[test]
fn an_expectation_that_does_not_hold_is_named_by_its_line() {
    let dir = directory("expect");
    let text = format!("{GOOD}expect result=2 by B1\nexpect m0 ref=2 ae=1 by B2\n");
    fs::write(dir.join("right.txt"), &text).expect("written");
    let right = run(&dir, &["replay", "right.txt"]);
    assert_code(&right, 0);
    assert!(out(&right).contains("2 expectations hold"), "{}", out(&right));
    fs::write(dir.join("wrong.txt"), text.replace("ref=2", "ref=5")).expect("written");
    let wrong = run(&dir, &["replay", "wrong.txt"]);
    assert_code(&wrong, 1);
    let text = out(&wrong);
    assert!(text.starts_with("wrong.txt: expect\n"), "{text}");
    assert!(text.contains("wrong.txt:6: "), "{text}");
    assert!(text.contains("stated ref 5"), "{text}");
    assert!(text.contains("the reference has 2"), "{text}");
    assert!(text.contains("the optimised side has 2"), "{text}");
}

#[test]
fn fmt_writes_canonical_text_and_check_only_looks() {
    let dir = directory("fmt");
    let file = dir.join("p.txt");
    let source =
        "# what it shows\nmachine\n\nm0   = mmap len=2 rw private # an area\nwrite m0 len=2\n";
    fs::write(&file, source).expect("written");
    let check = run(&dir, &["fmt", "--check", "p.txt"]);
    assert_code(&check, 1);
    assert_eq!(out(&check), "p.txt: not canonical\n");
    assert_eq!(fs::read_to_string(&file).expect("readable"), source);
    assert_code(&run(&dir, &["fmt", "p.txt"]), 0);
    let canonical = fs::read_to_string(&file).expect("readable");
    assert!(canonical.contains("# what it shows"), "{canonical}");
    assert!(canonical.contains("# an area"), "{canonical}");
    assert!(canonical.contains("m0 = mmap len=2 rw private"), "{canonical}");
    assert_code(&run(&dir, &["fmt", "--check", "p.txt"]), 0);
    assert_eq!(out(&run_with_input(&dir, &["fmt", "-"], source)), canonical);
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(&dir).expect("readable").count(), 1);
}

#[test]
fn show_tells_the_state_after_each_operation() {
    let output = run_with_input(&directory("show"), &["show", "-"], GOOD);
    assert_code(&output, 0);
    let text = out(&output);
    assert!(text.contains("  2  write m0 len=2  ->  2\n"), "{text}");
    assert!(text.contains("  3  read m0 len=2  ->  2  [2.0 2.1]\n"), "{text}");
    assert!(text.contains("   * F0 order=0 anon normal ref=2 map=1 ae=1"), "{text}");
}

#[test]
fn every_command_speaks_json() {
    let dir = directory("json");
    fs::write(dir.join("p.txt"), GOOD).expect("written");
    let json = |args: &[&str]| -> serde_json::Value {
        let output = run(&dir, &[args, &["--format", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    };
    let defects = json(&["defects"]);
    for defect in defects.as_array().expect("a list") {
        for key in ["id", "name", "kind", "thread", "expected"] {
            assert!(defect[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {defect}");
        }
    }
    assert_eq!(json(&["defects", "canary"])[0]["name"], "canary");
    let hunt = json(&["hunt", "--execs", "300", "--defect", "canary"]);
    assert_eq!(hunt["schema_version"], 1);
    assert_eq!(hunt["seed"], 1);
    assert_eq!(hunt["defects"][0], "canary");
    let finding = &hunt["findings"][0];
    assert!(finding["program"].as_str().expect("text").starts_with("machine "), "{finding}");
    let programs = finding["index"].as_u64().expect("a number") + 1;
    assert_eq!(hunt["programs"], programs, "counted up to the finding");
    assert_eq!(json(&["replay", "p.txt"])[0]["verdict"], "clean");
    assert_eq!(json(&["show", "p.txt"])[1]["operation"], "write m0 len=2");
    assert_eq!(json(&["fmt", "--check", "p.txt"])[0]["file"], "p.txt");
}
