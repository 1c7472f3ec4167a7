//! Finds the inputs that fuzzing engines leave behind.
//!
//! | producer | where | form |
//! |---|---|---|
//! | cargo-fuzz | `artifacts/TARGET/{crash,leak,timeout,oom,slow-unit}-SHA1`, `minimized-from-SHA1` | bytes |
//! | AFL++ | `OUT/INSTANCE/{crashes,hangs}/id:…` | bytes |
//! | OSS-Fuzz, ClusterFuzz | `clusterfuzz-testcase-[minimized-]TARGET-ID` | bytes |
//! | `hunt` and `triage` | `.txt` | text |
//!
//! What a folder holds beside these (an AFL queue, statistics, a README) is not looked at. A file
//! that is named on the command line is always taken.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::Stop;
use crate::input;

/// Who made an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// libFuzzer through cargo-fuzz.
    CargoFuzz,
    /// AFL++.
    Afl,
    /// ClusterFuzz, OSS-Fuzz, ClusterFuzzLite.
    ClusterFuzz,
    /// A program in text form: `hunt`, `triage`, a person.
    Text,
    /// A file that was named and looks like none of these.
    Unknown,
}

/// A file to look at.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Where.
    pub path: PathBuf,
    /// Whose.
    pub engine: Engine,
}

impl Artifact {
    /// Whether any bytes at all are a program there.
    pub fn raw(&self) -> bool {
        matches!(self.engine, Engine::CargoFuzz | Engine::Afl | Engine::ClusterFuzz)
    }
}

/// Everything below these paths, in the order of its names; what cannot be looked into is said.
pub fn artifacts(paths: &[PathBuf]) -> Vec<Result<Artifact, Stop>> {
    let mut list = Vec::new();
    for path in paths {
        let before = list.len();
        if path.is_dir() {
            below(path, &mut list);
            if list.len() == before {
                let message = format!(
                    "error: nothing to triage in {}\n  hint: crash-…, id:…, clusterfuzz-testcase-… and \
                     .txt files are taken; name any other file itself",
                    path.display()
                );
                list.push(Err(Stop::Input(message)));
            }
        } else {
            let engine = engine(path).unwrap_or(Engine::Unknown);
            list.push(Ok(Artifact { path: path.clone(), engine }));
        }
    }
    list
}

fn below(folder: &Path, list: &mut Vec<Result<Artifact, Stop>>) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return list.push(Err(input::unreadable(folder, &error))),
    };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        // A link to a folder may lead back up.
        let link = fs::symlink_metadata(&path).is_ok_and(|data| data.is_symlink());
        if path.is_dir() {
            if !link && !hidden(&path) {
                below(&path, list);
            }
        // A pipe would never end.
        } else if let Some(engine) = engine(&path).filter(|_| path.is_file() && !hidden(&path)) {
            list.push(Ok(Artifact { path, engine }));
        }
    }
}

fn hidden(path: &Path) -> bool {
    name(path).starts_with('.')
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whose a file is, by its name and the folder that it is in.
fn engine(path: &Path) -> Option<Engine> {
    const LIBFUZZER: [&str; 6] =
        ["crash-", "leak-", "timeout-", "oom-", "slow-unit-", "minimized-from-"];
    let name = name(path);
    let folder = path.parent().map(self::name).unwrap_or_default();
    if name.starts_with("clusterfuzz-testcase-") {
        Some(Engine::ClusterFuzz)
    } else if name.starts_with("id:") || name.starts_with("id_") {
        let findings = folder.starts_with("crashes") || folder.starts_with("hangs");
        findings.then_some(Engine::Afl)
    } else if LIBFUZZER.iter().any(|kind| is_hash(name.strip_prefix(kind))) {
        Some(Engine::CargoFuzz)
    } else if name.ends_with(".txt") && name != "README.txt" {
        Some(Engine::Text)
    } else {
        None
    }
}

/// Whether it is the hexadecimal hash that libFuzzer names its artifacts after.
fn is_hash(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.len() >= 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_producer_is_known_by_its_names() {
        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let cases = [
            (format!("fuzz/artifacts/sequential/crash-{sha1}"), Some(Engine::CargoFuzz)),
            (format!("artifacts/minimized-from-{sha1}"), Some(Engine::CargoFuzz)),
            (format!("slow-unit-{sha1}"), Some(Engine::CargoFuzz)),
            ("crash-report".to_owned(), None),
            ("out/default/crashes/id:000000,sig:06,src:000003".to_owned(), Some(Engine::Afl)),
            ("out/m/hangs/id:000001,src:000003,time:1269".to_owned(), Some(Engine::Afl)),
            ("out/default/crashes.2026-11-01/id:000000,sig:06".to_owned(), Some(Engine::Afl)),
            ("out/default/queue/id:000000,orig:seed".to_owned(), None),
            ("out/default/crashes/README.txt".to_owned(), None),
            ("out/default/fuzzer_stats".to_owned(), None),
            (
                "clusterfuzz-testcase-minimized-sequential-5149".to_owned(),
                Some(Engine::ClusterFuzz),
            ),
            ("clusterfuzz-testcase-sequential-5149".to_owned(), Some(Engine::ClusterFuzz)),
            ("findings/some-bucket/minimal.txt".to_owned(), Some(Engine::Text)),
        ];
        for (path, expected) in cases {
            assert_eq!(engine(Path::new(&path)), expected, "{path}");
        }
    }
}
