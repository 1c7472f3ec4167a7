//! How fast defects are found: `matrix`.

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::fs;

use common::{assert_code, directory, err, out, run};
use serde_json::Value;

const FILES: [&str; 6] = ["--json", "m.json", "--markdown", "m.md", "--svg", "m.svg"];

#[test]
fn the_matrix_says_when_a_defect_is_found_and_is_not_made_twice() {
    let dir = directory("matrix");
    let asked = ["matrix", "--defect", "canary", "--seeds", "2", "--budget", "60s"];
    let output = run(&dir, &[&asked[..], &FILES[..]].concat());
    assert_code(&output, 0);
    let kept = fs::read_to_string(dir.join("m.json")).expect("written");
    let told: Value = serde_json::from_str(&kept).expect("JSON");
    let tried = told["tried"].as_array().expect("a list");
    let seeds: Vec<u64> = tried.iter().filter_map(|tried| tried["seed"].as_u64()).collect();
    assert_eq!(seeds, [1, 2]);
    for tried in tried {
        let (name, seed) = (&tried["name"], &tried["seed"]);
        assert_eq!((name.as_str(), tried["class"].as_str()), (Some("canary"), Some("mm-flags")));
        // What `hunt` says of the same defect and seed.
        let index = tried["execs"].as_u64().expect("found") - 1;
        let seed = seed.to_string();
        let hunt = ["hunt", "--defect", "canary", "--threads", "1", "--seed", &seed];
        let hunted = run(&dir, &[&hunt[..], &["--format", "json"]].concat());
        let hunted: Value = serde_json::from_str(&out(&hunted)).expect("JSON");
        assert_eq!(hunted["findings"][0]["index"].as_u64(), Some(index));
    }
    assert!(fs::read_to_string(dir.join("m.md")).expect("written").contains("| canary |"));
    assert!(fs::read_to_string(dir.join("m.svg")).expect("written").contains("</svg>"));
    // Nothing is left to do, so nothing changes, not even the date.
    assert_code(&run(&dir, &[&asked[..], &FILES[..]].concat()), 0);
    assert_eq!(fs::read_to_string(dir.join("m.json")).expect("still there"), kept);
}

#[test]
fn what_is_not_found_is_said() {
    let dir = directory("matrix-missed");
    let asked = ["matrix", "--defect", "lost-wakeup", "--execs", "1", "--mix-only"];
    let output = run(&dir, &asked);
    assert_code(&output, 1);
    assert!(out(&output).contains("Not in every seed: lost-wakeup."), "{}", out(&output));
    fs::write(dir.join("m.json"), "[]").expect("written");
    let output = run(&dir, &[&asked[..], &["--json", "m.json"]].concat());
    assert_code(&output, 3);
    assert!(err(&output).contains("hint:"), "{}", err(&output));
}
