//! `triage`: what becomes of a pile of inputs, also when it is killed.

mod common;
#[path = "common/pile.rs"]
mod pile;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{GOOD, assert_code, directory, err, out, random, run, run_with_input};
use optimized::Defect;
use program::Program;
use serde_json::Value;

fn defect(name: &str) -> Defect {
    Defect::find(name).expect("in the catalogue")
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}: {text}"))
}

/// The buckets of a folder of findings: name, and the files of it.
fn buckets(findings: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(findings).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let named =
        folders.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named.filter(|(name, _)| !name.starts_with('.')).collect()
}

fn runs(bucket: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(bucket.join("runs")).expect("a folder").flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

#[test]
fn a_pile_of_three_engines_becomes_a_bucket_a_defect() {
    let dir = directory("pile");
    let made = pile::make_of_many(&dir.join("pile"), 20, 3, 11);
    assert!(made.iter().all(|made| made.path.is_file()));
    let mut defects: Vec<&str> = made.iter().map(|made| made.defect.info().name).collect();
    defects.dedup();
    for name in &defects {
        let output =
            run(&dir, &["triage", &format!("pile/{name}"), "--by-signature", "--defect", name]);
        assert_code(&output, 1);
    }
    let buckets = buckets(&dir.join("findings"));
    assert!(buckets.len() <= 22, "{:?}", buckets.keys());
    let mut inputs = 0;
    for (name, folder) in &buckets {
        let mut shown: Vec<String> = Vec::new();
        for file in runs(folder) {
            for source in json(&file)["sources"].as_array().expect("a list") {
                let file = source["file"].as_str().expect("a path");
                shown.push(file.split('/').nth(1).expect("a defect").to_owned());
            }
        }
        inputs += shown.len();
        shown.dedup();
        assert_eq!(shown.len(), 1, "{name} mixes {shown:?}");
        let defect = &shown[0];
        // The minimal program shows it, and shows nothing without it.
        let minimal = format!("findings/{name}/minimal.txt");
        assert_code(&run(&dir, &["replay", &minimal, "--defect", defect]), 1);
        assert_code(&run(&dir, &["replay", &minimal]), 0);
    }
    assert_eq!(inputs, made.len());
}

#[test]
fn a_second_run_adds_and_never_loses() {
    let dir = directory("again");
    let canary = [defect("canary")];
    pile::make(&dir.join("one"), &canary, 3, 1);
    let triage = |paths: &[&str]| run(&dir, &[&["triage", "--defect", "canary"], paths].concat());
    let first = triage(&["one"]);
    assert_code(&first, 1);
    assert!(
        out(&first).contains("3 inputs, 0 clean, 0 unreadable; 1 bucket in findings"),
        "{}",
        out(&first)
    );
    let bucket = buckets(&dir.join("findings")).into_values().next().expect("one");
    let before: Vec<Value> = runs(&bucket).iter().map(|file| json(file)).collect();
    pile::make(&dir.join("two"), &canary, 5, 1);
    assert_code(&triage(&["one", "two"]), 1);
    let after: Vec<Value> = runs(&bucket).iter().map(|file| json(file)).collect();
    assert_eq!(after.len(), 5, "two has the three of one and two more");
    for old in before {
        let new = after.iter().find(|new| new["id"] == old["id"]).expect("kept");
        assert_eq!(new["first_seen"], old["first_seen"]);
        assert_eq!(new["sources"].as_array().expect("a list").len(), 2);
    }
    let verdict = json(&bucket.join("verdict.json"));
    assert_eq!(verdict["schema_version"], 1);
    assert_eq!(verdict["class"], "mm-flags");
    assert_eq!(verdict["cause"], "canary");
    // Its own output is an input like any other, and nothing new. What else is there stays.
    fs::write(dir.join("findings/.notes.tmp"), "mine").expect("written");
    assert_code(&triage(&["findings"]), 1);
    assert!(dir.join("findings/.notes.tmp").is_file());
    assert_eq!(buckets(&dir.join("findings")).len(), 1);
}

#[test]
fn an_input_of_another_commit_may_show_another_bug() {
    let dir = directory("another-commit");
    pile::make(&dir.join("pile"), &[defect("canary")], 1, 1);
    let args = ["triage", "pile", "--defect", "canary"];
    assert_code(&run(&dir, &args), 1);
    // As if an earlier commit had shown something else.
    let folder = buckets(&dir.join("findings")).into_values().next().expect("one");
    let edit = |file: &Path, change: &dyn Fn(&mut Value)| {
        let mut value = json(file);
        change(&mut value);
        fs::write(file, value.to_string()).expect("written");
    };
    edit(&folder.join("verdict.json"), &|verdict| {
        verdict["title"] = "an older bug".into();
        verdict["alternatives"] = Value::Array(Vec::new());
    });
    edit(&runs(&folder)[0], &|record| record["runs"][0]["commit"] = "of old".into());
    let output = run(&dir, &args);
    assert_code(&output, 1);
    assert!(err(&output).contains("shows something else now"), "{}", err(&output));
    let folders = buckets(&dir.join("findings"));
    assert_eq!(folders.len(), 2, "{folders:?}");
    let history = |folder: &Path| json(&runs(folder)[0])["runs"].as_array().expect("a list").len();
    let other = folders.into_values().find(|other| *other != folder).expect("a new one");
    assert_eq!((history(&folder), history(&other)), (2, 1), "nothing is lost");
    // Known now: nothing is new, whoever else is in the folder decides nothing.
    assert_code(&run(&dir, &args), 1);
    assert_eq!((history(&folder), history(&other)), (2, 1));
    fs::write(dir.join("good.txt"), GOOD).expect("written");
    assert_code(&run(&dir, &["triage", "good.txt"]), 0);
}

#[test]
fn an_artifact_of_an_earlier_version_shows_what_it_showed() {
    let dir = directory("earlier");
    fs::create_dir_all(dir.join("artifacts")).expect("created");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../program/tests/data/v1");
    let name = "artifacts/crash-da39a3ee5e6b4b0d3255bfef95601890afd80709";
    fs::copy(data.join("memory-runs-out.bin"), dir.join(name)).expect("copied");
    let on = ["--defect", "fork-leaves-parent-writable"];
    // To this version the same bytes are another program.
    fs::write(dir.join("now.txt"), out(&run(&dir, &["fmt", "--raw", name]))).expect("written");
    assert_code(&run(&dir, &[&["replay", "now.txt"], &on[..]].concat()), 0);
    assert_code(&run(&dir, &[&["replay", "--raw", name], &on[..]].concat()), 1);
    let output = run(&dir, &[&["triage", "artifacts"], &on[..]].concat());
    assert_code(&output, 1);
    assert!(out(&output).contains("1 input, 0 clean, 0 unreadable; 1 bucket"), "{}", out(&output));
}

#[test]
fn a_broken_file_is_passed_over_and_a_bucket_is_a_program() {
    let dir = directory("broken");
    pile::make(&dir.join("pile"), &[defect("canary")], 2, 1);
    let args = ["triage", "pile", "--defect", "canary"];
    assert_code(&run(&dir, &args), 1);
    let folder = buckets(&dir.join("findings")).into_values().next().expect("one");
    // A bucket stands for its minimal program, with what it was found with.
    let bucket = folder.to_str().expect("a path");
    assert_code(&run(&dir, &["report", "pile"]), 3);
    assert_code(&run(&dir, &["explain", bucket]), 1);
    assert_code(&run(&dir, &["explain", &format!("{bucket}/minimal.txt")]), 0);
    assert_code(&run(&dir, &["export", bucket, "--c"]), 0);
    assert_code(&run(&dir, &["minimise", bucket]), 0);
    assert_code(&run(&dir, &["diff", bucket, bucket]), 0);
    assert!(out(&run(&dir, &["bisect", bucket])).contains("culprit: canary"));
    let before = fs::read_to_string(&runs(&folder)[0]).expect("there");
    fs::write(&runs(&folder)[0], &before[..before.len() / 2]).expect("written");
    let output = run(&dir, &args);
    assert_code(&output, 1);
    assert!(err(&output).contains("it is passed over"), "{}", err(&output));
    assert_eq!(fs::read_to_string(&runs(&folder)[0]).expect("there").len(), before.len());
    fs::remove_dir_all(folder.join("runs")).expect("removed");
    assert_code(&run(&dir, &["report"]), 1);
    fs::write(folder.join("verdict.json"), "{").expect("written");
    assert_code(&run(&dir, &args), 1);
    assert_eq!(buckets(&dir.join("findings")).len(), 2);
}

#[test]
fn what_a_variant_shows_is_not_what_another_shows() {
    let dir = directory("variant-triage");
    let program = "m0 = mmap len=2 rw private\nwrite m0 len=2\nh0 = pin m0 len=2 longterm\n";
    fs::write(dir.join("p.txt"), program).expect("written");
    let with = ["triage", "p.txt", "--variant", "vfio-tail-skip", "--defect", "canary"];
    assert_code(&run(&dir, &with), 1);
    let folder = buckets(&dir.join("findings")).into_values().next().expect("one");
    let minimal = fs::read_to_string(folder.join("minimal.txt")).expect("there");
    assert!(minimal.contains("# found with --variant vfio-tail-skip\n"), "{minimal}");
    assert_eq!(json(&runs(&folder)[0])["runs"][0]["variant"], "vfio-tail-skip");
    // In another build it is another input.
    assert_code(&run(&dir, &["triage", "p.txt"]), 0);
}

#[test]
fn whatever_is_given_is_taken_or_refused_with_a_reason() {
    let dir = directory("adverse-triage");
    fs::create_dir_all(dir.join("out/default/crashes")).expect("created");
    fs::create_dir_all(dir.join("empty")).expect("created");
    let crash = |n: u32| format!("out/default/crashes/id:{n:06},sig:06");
    fs::write(dir.join(crash(0)), "").expect("written");
    fs::write(dir.join(crash(1)), [0xff; 40]).expect("written");
    let mut cut = random(3).encode();
    cut.pop();
    fs::write(dir.join(crash(2)), &cut).expect("written");
    let mut old = random(3).encode();
    old[2] = 0;
    fs::write(dir.join(crash(3)), &old).expect("written");
    fs::write(dir.join("out/default/crashes/README.txt"), "not a program").expect("written");
    let output = run(&dir, &["triage", "out"]);
    assert_code(&output, 3);
    assert!(err(&output).contains("no operation in it"), "{}", err(&output));
    assert!(out(&output).contains("4 inputs, 3 clean, 1 unreadable"), "{}", out(&output));
    fs::remove_file(dir.join(crash(0))).expect("removed");
    assert_code(&run(&dir, &["triage", "out"]), 4);

    fs::write(dir.join("old"), &old).expect("written");
    fs::write(dir.join("cut"), &cut).expect("written");
    fs::write(dir.join("noise"), [0xff, 0xfe]).expect("written");
    fs::write(dir.join("bad.txt"), "wrte m0\n").expect("written");
    fs::write(dir.join("good.txt"), GOOD).expect("written");
    let large = fs::File::create(dir.join("large")).expect("created");
    large.set_len(100 << 20).expect("sparse");
    for (file, says) in [
        ("old", "version 0"),
        ("cut", "ends inside a record"),
        ("noise", "neither text nor a program"),
        ("bad.txt", "bad.txt:1:1"),
        ("large", "larger than 16 MiB"),
        ("gone", "cannot read gone"),
        ("empty", "nothing to triage in empty"),
    ] {
        let output = run(&dir, &["triage", file]);
        assert_code(&output, 3);
        assert!(err(&output).contains(says), "{file}: {}", err(&output));
    }
    assert_code(&run(&dir, &["triage", "good.txt"]), 0);
    assert_code(&run_with_input(&dir, &["triage", "-"], GOOD), 0);
}

#[test]
fn a_store_of_another_version_is_refused_and_left_alone() {
    let dir = directory("schema");
    fs::create_dir_all(dir.join("findings/b/runs")).expect("created");
    let verdict = dir.join("findings/b/verdict.json");
    fs::write(&verdict, "{\"schema_version\": 99}").expect("written");
    fs::write(dir.join("good.txt"), GOOD).expect("written");
    let output = run(&dir, &["triage", "good.txt"]);
    assert_code(&output, 3);
    assert!(err(&output).contains("schema version 99"), "{}", err(&output));
    assert_eq!(json(&verdict)["schema_version"], 99);
}

/// Every file that is there is whole.
fn check(findings: &Path) -> usize {
    let mut records = 0;
    for folder in buckets(findings).into_values() {
        json(&folder.join("verdict.json"));
        for name in ["minimal.txt", "program.txt"] {
            let text = fs::read_to_string(folder.join(name)).expect("readable");
            text.parse::<Program>().expect("a program");
        }
        for file in runs(&folder) {
            let record = json(&file);
            record["program"].as_str().expect("text").parse::<Program>().expect("a program");
            records += 1;
        }
    }
    records
}

#[test]
fn killed_fifty_times_it_ends_as_if_it_had_not_been() {
    const ON: [&str; 6] = [
        "--defect",
        "batch-put-forgotten",
        "--defect",
        "mprotect-loses-exclusive",
        "--defect",
        "C02",
    ];
    let dir = directory("killed");
    pile::make(&dir.join("pile"), &[defect("batch-put-forgotten"), defect("C02")], 30, 5);
    let args = [&["triage", "pile", "--threads", "1", "--by-signature"], &ON[..]].concat();
    assert_code(&run(&dir, &[&args[..], &["--findings", "whole"]].concat()), 1);

    let findings = dir.join("killed");
    let (mut kills, mut seen) = (0, 0);
    while kills < 50 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mm-lockstep"))
            .current_dir(&dir)
            .args(&args)
            .args(["--findings", "killed"])
            .stdout(Stdio::null())
            .spawn()
            .expect("it runs");
        // As soon as there is something new, whatever it is doing then; every fifth at once.
        while kills % 5 != 0
            && count(&findings) <= seen
            && child.try_wait().expect("waited").is_none()
        {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().expect("it ended");
        seen = check(&findings);
        kills += 1;
    }
    assert_code(&run(&dir, &[&args[..], &["--findings", "killed"]].concat()), 1);
    let (whole, killed) = (buckets(&dir.join("whole")), buckets(&findings));
    assert_eq!(whole.keys().collect::<Vec<_>>(), killed.keys().collect::<Vec<_>>());
    for (name, folder) in &whole {
        for file in ["minimal.txt", "program.txt", "verdict.json"] {
            let text = |folder: &Path| fs::read_to_string(folder.join(file)).expect("readable");
            assert_eq!(text(folder), text(&killed[name]), "{name}/{file}");
        }
        let names = |folder: &Path| -> Vec<_> {
            runs(folder).iter().map(|file| file.file_name().map(ToOwned::to_owned)).collect()
        };
        assert_eq!(names(folder), names(&killed[name]), "{name}");
    }
    let hidden = fs::read_dir(&findings).expect("readable").flatten();
    let hidden = hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 1, "nothing but the lock");
}

/// Records that are there.
fn count(findings: &Path) -> usize {
    let folders = buckets(findings).into_values().filter(|folder| folder.join("runs").is_dir());
    folders.map(|folder| runs(&folder).len()).sum()
}
