//! `corpus`: between engines and text, and back.

#[allow(dead_code, reason = "each test file uses some of it")]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::{assert_code, directory, out, random, run};
use program::{Program, text};

/// The programs of a folder, each as its text.
fn programs(folder: &Path) -> BTreeSet<String> {
    let read = |path: &Path| match fs::read_to_string(path).ok().and_then(|s| text::parse(&s).ok())
    {
        Some(parsed) => parsed.program.to_string(),
        None => Program::decode(&fs::read(path).expect("readable")).to_string(),
    };
    fs::read_dir(folder).expect("a folder").map(|entry| read(&entry.unwrap().path())).collect()
}

fn number(dir: &Path, args: &[&str], key: &str) -> u64 {
    let output = run(dir, args);
    assert_code(&output, 0);
    let json: serde_json::Value = serde_json::from_str(&out(&output)).expect("JSON");
    json[key].as_u64().unwrap_or_else(|| panic!("{key} of {json}"))
}

#[test]
fn text_to_bytes_and_back_is_the_same() {
    let dir = directory("corpus-round");
    fs::create_dir(dir.join("text")).unwrap();
    for index in 0..20 {
        fs::write(dir.join(format!("text/{index}.txt")), random(index).to_string()).unwrap();
    }
    assert_code(&run(&dir, &["corpus", "export", "text", "--into", "bytes"]), 0);
    // What AFL++ has beside its inputs is no input.
    fs::create_dir_all(dir.join("out/main/queue/.state")).unwrap();
    for (at, entry) in fs::read_dir(dir.join("bytes")).unwrap().enumerate() {
        let to = format!("out/main/queue/id:{at:06},src:000000,op:havoc");
        fs::copy(entry.unwrap().path(), dir.join(to)).unwrap();
    }
    fs::write(dir.join("out/main/fuzzer_stats"), "execs_done : 1\n").unwrap();
    fs::write(dir.join("out/main/queue/.state/x"), "x").unwrap();
    assert_code(&run(&dir, &["corpus", "import", "out", "--into", "back"]), 0);
    assert_eq!(programs(&dir.join("back")), programs(&dir.join("text")));
    assert_code(&run(&dir, &["corpus", "verify", "back", "bytes"]), 0);
}

#[test]
fn few_programs_do_what_all_do_and_merging_adds_only_what_is_new() {
    let dir = directory("corpus-minimise");
    fs::create_dir(dir.join("all")).unwrap();
    for index in 0..200 {
        fs::write(dir.join(format!("all/{index}")), random(index).encode()).unwrap();
    }
    let stats = |folder| number(&dir, &["corpus", "stats", folder, "--format", "json"], "features");
    let kept = |args: &[&str]| number(&dir, args, "kept");
    let few = kept(&["corpus", "minimise", "all", "--into", "few", "--format", "json"]);
    assert!((20..200).contains(&few), "{few} of 200");
    assert_eq!(programs(&dir.join("few")).len() as u64, few);
    assert_eq!(stats("few"), stats("all"));
    let merge = ["corpus", "merge", "all", "--into", "few", "--format", "json"];
    assert_eq!(kept(&merge), 0);
    for index in 1000..1040 {
        fs::write(dir.join(format!("all/{index}")), random(index).encode()).unwrap();
    }
    let added = kept(&merge);
    assert!((1..=40).contains(&added), "{added}");
    assert_eq!(stats("few"), stats("all"));
}

#[test]
fn old_bytes_are_upgraded_in_place() {
    let dir = directory("corpus-upgrade");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../program/tests/data/v1");
    fs::copy(data.join("large-geometry.bin"), dir.join("old")).unwrap();
    fs::write(dir.join("noise"), "no program").unwrap();
    let output = run(&dir, &["replay", "old"]);
    assert_code(&output, 3);
    assert!(common::err(&output).contains("corpus upgrade"), "{}", common::err(&output));
    let output = run(&dir, &["corpus", "upgrade", "old"]);
    assert_code(&output, 0);
    assert_eq!(out(&output), "1 upgraded, 0 current, 0 refused\n");
    assert_code(&run(&dir, &["replay", "old"]), 0);
    let output = run(&dir, &["corpus", "upgrade", "old", "noise"]);
    assert_code(&output, 3);
    assert_eq!(out(&output), "0 upgraded, 1 current, 1 refused\n");
    assert_eq!(fs::read(dir.join("noise")).unwrap(), b"no program");
}

#[test]
fn verify_names_what_is_wrong() {
    let dir = directory("corpus-verify");
    fs::write(dir.join("good.txt"), "m0 = mmap len=1 rw private\nwrite m0\n").unwrap();
    assert_code(&run(&dir, &["corpus", "verify", "good.txt"]), 0);
    fs::write(dir.join("untidy.txt"), "m0 =  mmap len=1 rw private\nwrite m0\n").unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    let output = run(&dir, &["corpus", "verify", "."]);
    assert_code(&output, 1);
    let told = out(&output);
    assert!(told.contains("untidy.txt: not in canonical form"), "{told}");
    assert!(told.contains("empty: no operation in it"), "{told}");
    assert!(told.ends_with("3 programs, 2 faults\n"), "{told}");
    fs::write(dir.join("broken.txt"), "m0 = nmap\n").unwrap();
    assert_code(&run(&dir, &["corpus", "verify", "."]), 3);
    assert_code(&run(&dir, &["corpus", "stats", "missing"]), 3);
}

#[test]
fn a_family_takes_only_its_own() {
    let dir = directory("corpus-family");
    fs::write(dir.join("a.txt"), "m0 = mmap len=1 rw private\nwrite m0\n").unwrap();
    let export = |family| {
        let args = ["corpus", "export", "a.txt", "--family", family, "--into", family];
        run(&dir, &[&args[..], &["--format", "json"]].concat())
    };
    let families = [
        ("sequential", "1"),
        ("concurrent", "0"),
        ("device", "0"),
        ("longterm", "0"),
        ("differential", "1"),
    ];
    for (family, written) in families {
        let output = export(family);
        assert_code(&output, 0);
        assert!(out(&output).contains(&format!("\"written\": {written}")), "{}", out(&output));
    }
    assert_code(&export("nonsense"), 2);
}
