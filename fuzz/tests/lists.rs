//! What has to be said in several places is said in all of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The targets that are fuzzed.
fn targets() -> Vec<String> {
    let files = fs::read_dir(root().join("fuzz/fuzz_targets")).expect("a folder").flatten();
    let name = |entry: fs::DirEntry| Some(entry.path().file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = files.filter_map(name).collect();
    names.retain(|name| name != "decode");
    assert!(names.len() >= 6, "{names:?}");
    names
}

#[test]
fn each_target_is_built_shipped_and_told() {
    let manifest = read("fuzz/Cargo.toml");
    let build = read("oss-fuzz/build.sh");
    let shipped = build.lines().find_map(|line| line.strip_prefix("targets=")).expect("a list");
    let shipped: BTreeSet<&str> = shipped.trim_matches('"').split(' ').collect();
    let guide = read("docs/continuous-fuzzing.md");
    for target in targets() {
        assert!(manifest.contains(&format!("name = \"{target}\"\n")), "{target}");
        assert!(shipped.contains(&*target), "{target} in oss-fuzz/build.sh");
        assert!(guide.contains(&format!("| `{target}` |")), "{target} in the guide");
        assert!(read(&format!("fuzz/{target}.options")).contains("max_len"), "{target}");
        for script in ["scripts/afl.sh", "scripts/coverage.sh"] {
            assert!(read(script).contains(&*target), "{target} in {script}");
        }
    }
}
