//! What a target prints tells bugs apart: several inputs of each of 20 defects, one `FuzzerHash` and one
//! `DEDUP_TOKEN` a defect.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use fuzz::Alarm;
use lockstep::{Lockstep, Options};
use optimized::{Defect, Defects};
use program::{Campaign, Program};

/// Inputs of each defect.
const INPUTS: usize = 4;
/// Programs enough for them.
const PROGRAMS: u64 = 60_000;

/// The 20 defects of `scripts/pile.sh`.
fn defects() -> Vec<Defect> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/pile.sh");
    let script = fs::read_to_string(script).expect("the script");
    let list = script.split("defects=\"").nth(1).and_then(|rest| rest.split('"').next());
    let names = list.expect("a list").split_whitespace();
    names.map(|name| Defect::find(name).expect(name)).collect()
}

/// Byte forms of random programs that show a defect.
fn inputs(defect: Defect) -> Vec<Vec<u8>> {
    let mut lockstep = Lockstep::new(Defects::only(defect));
    let mut inputs = Vec::new();
    let mut bytes = Vec::new();
    for index in 0..PROGRAMS {
        Campaign::new(7).generate(index, &mut bytes);
        let verdict = lockstep.run(&Program::decode(&bytes), &Options { paranoid: false });
        if verdict.divergence().is_some() {
            lockstep = Lockstep::new(Defects::only(defect));
            inputs.push(bytes.clone());
        }
        if inputs.len() == INPUTS {
            return inputs;
        }
    }
    panic!("{} found too seldom", defect.info().name);
}

/// The signatures that the target prints when it replays these files.
fn told(defect: Defect, files: &[Vec<u8>], folder: &Path) -> Vec<String> {
    fs::create_dir_all(folder).expect("a folder");
    let mut target = Command::new(env!("CARGO_BIN_EXE_differential"));
    target.env("MM_LOCKSTEP_DEFECT", defect.info().name);
    for (at, bytes) in files.iter().enumerate() {
        let path = folder.join(at.to_string());
        fs::write(&path, bytes).expect("written");
        target.arg(path);
    }
    let output = target.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stdout).expect("text");
    let start = format!("{}/", folder.display());
    let lines = told.lines().filter_map(|line| line.strip_prefix(&start)?.split_once(": "));
    lines.map(|(_, signature)| signature.to_owned()).collect()
}

#[test]
fn twenty_defects_have_twenty_names() {
    let work = env::temp_dir().join(format!("identity-{}", std::process::id()));
    let mut tokens: BTreeMap<String, &str> = BTreeMap::new();
    let mut slugs = BTreeSet::new();
    let defects = defects();
    assert_eq!(defects.len(), 20);
    for defect in defects {
        let name = defect.info().name;
        let files = inputs(defect);
        let signatures = told(defect, &files, &work.join(name));
        assert_eq!(signatures.len(), INPUTS, "{name}: {signatures:?}");
        for signature in signatures {
            let alarm = Alarm { family: "", signature: signature.clone(), report: String::new() };
            slugs.insert(alarm.slug());
            let other = *tokens.entry(signature.clone()).or_insert(name);
            assert_eq!(other, name, "two defects are {signature}");
        }
    }
    fs::remove_dir_all(&work).expect("removed");
    assert_eq!(slugs.len(), tokens.len());
    assert_eq!(tokens.len(), 20, "{tokens:#?}");
}
