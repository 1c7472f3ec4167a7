//! The copy of the workspace that holds all mutants, and which of them compile.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::list::Mutant;
use crate::rewrite::{Rewritten, rewrite};
use crate::site::{Site, sites};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// What the campaign needs.
const CRATES: [&str; 6] = ["twice", "machine", "program", "reference", "optimized", "lockstep"];
/// The tests that judge.
const TESTS: [&str; 2] = ["campaign", "corpus"];
const SWITCH: &str = include_str!("mutated.rs");

/// The copy.
pub struct Copy {
    root: PathBuf,
    /// The sites of each file that still take part.
    sites: BTreeMap<String, Vec<Site>>,
    files: BTreeMap<String, Rewritten>,
}

impl Copy {
    /// Of the workspace in this folder, with these mutants, by number.
    pub fn of<'a>(
        workspace: &Path,
        root: PathBuf,
        mutants: impl Iterator<Item = (usize, &'a Mutant)>,
    ) -> Outcome<Copy> {
        let mut by_file: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
        for (id, mutant) in mutants {
            by_file.entry(&mutant.file).or_default().push((id, mutant));
        }
        let mut copy = Copy { root, sites: BTreeMap::new(), files: BTreeMap::new() };
        for (file, mutants) in by_file {
            let found = sites(&fs::read_to_string(workspace.join(file))?, &mutants)?;
            copy.sites.insert(file.to_owned(), found);
        }
        let switched: BTreeSet<PathBuf> = copy
            .crates()
            .map(|name| format!("{name}/src/lib.rs"))
            .chain(copy.sites.keys().cloned())
            .map(|file| workspace.join(file))
            .collect();
        for name in CRATES.into_iter().chain(["corpus"]) {
            copy_folder(&workspace.join(name), &copy.root.join(name), &switched)?;
        }
        fs::copy(workspace.join("Cargo.lock"), copy.root.join("Cargo.lock"))?;
        let manifest = fs::read_to_string(workspace.join("Cargo.toml"))?;
        let line = |line: &str| match line.split_once(" = ") {
            Some(("members", _)) => format!("members = {CRATES:?}\n"),
            Some(("default-members", _)) => String::new(),
            _ => format!("{line}\n"),
        };
        write(&copy.root.join("Cargo.toml"), manifest.lines().map(line).collect::<String>())?;
        copy.rewrite(workspace)?;
        Ok(copy)
    }

    /// The crates that are mutated.
    fn crates(&self) -> impl Iterator<Item = &str> {
        let names: BTreeSet<&str> =
            self.sites.keys().filter_map(|file| file.split('/').next()).collect();
        names.into_iter()
    }

    fn rewrite(&mut self, workspace: &Path) -> Outcome<()> {
        for (file, sites) in &self.sites {
            let text = fs::read_to_string(workspace.join(file))?;
            let rewritten = rewrite(&text, sites.clone());
            if !file.ends_with("/lib.rs") {
                write(&self.root.join(file), &rewritten.text)?;
            }
            self.files.insert(file.clone(), rewritten);
        }
        for name in self.crates() {
            let folder = self.root.join(name).join("src");
            write(&folder.join("mutated.rs"), SWITCH)?;
            let lib = format!("{name}/src/lib.rs");
            let text = match self.files.get(&lib) {
                Some(rewritten) => rewritten.text.clone(),
                None => fs::read_to_string(workspace.join(&lib))?,
            };
            write(&self.root.join(&lib), format!("{text}\nmod mutated;\n"))?;
        }
        Ok(())
    }

    /// Takes out what does not compile until the rest does.
    pub fn settle(&mut self, workspace: &Path) -> Outcome<()> {
        loop {
            let packages = self.crates().flat_map(|name| ["-p", name]);
            let output =
                self.cargo().args(["check", "--message-format=json"]).args(packages).output()?;
            if output.status.success() {
                return Ok(());
            }
            let told = String::from_utf8_lossy(&output.stdout);
            let messages = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut refused: BTreeSet<usize> = BTreeSet::new();
            let mut strange = Vec::new();
            for message in messages.filter(|message| message["message"]["level"] == "error") {
                let message = &message["message"];
                let blamed = self.blamed(message);
                if blamed.is_empty()
                    && message["spans"].as_array().is_some_and(|spans| !spans.is_empty())
                {
                    strange.push(message["rendered"].to_string());
                }
                refused.extend(blamed);
            }
            if refused.is_empty() {
                let errors = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{}\n{errors}", strange.join("\n")).into());
            }
            eprintln!("{} do not compile", refused.len());
            for sites in self.sites.values_mut() {
                sites.retain(|site| !refused.contains(&site.id));
            }
            self.rewrite(workspace)?;
        }
    }

    /// The mutants at the places that an error names first, or else at any that it names.
    fn blamed(&self, message: &Value) -> Vec<usize> {
        let spans = message["spans"].as_array().map_or(&[][..], |spans| spans);
        let at = |span: &Value| {
            let file = self.files.get(span["file_name"].as_str()?)?;
            Some(file.blamed(span["byte_start"].as_u64()? as usize))
        };
        let of = |primary| {
            let spans = spans.iter().filter(move |span| span["is_primary"] == primary);
            spans.filter_map(at).flatten().collect::<Vec<_>>()
        };
        let first = of(true);
        if first.is_empty() { of(false) } else { first }
    }

    /// Those that take part.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.values().flatten()
    }

    /// Builds the campaign and the test of the corpus; returns the programs.
    pub fn build(&self) -> Outcome<[PathBuf; 2]> {
        let asked = ["test", "--release", "--no-run", "--message-format=json", "-p", "lockstep"];
        let output = self
            .cargo()
            .args(asked)
            .args(TESTS.map(|test| format!("--test={test}")))
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .stderr(Stdio::inherit())
            .output()?;
        let told = String::from_utf8_lossy(&output.stdout);
        let built: Vec<Value> =
            told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let program = |test: &str| {
            let of = |message: &&Value| message["target"]["name"] == test;
            built.iter().filter(of).find_map(|message| message["executable"].as_str())
        };
        match TESTS.map(program) {
            [Some(campaign), Some(corpus)] => Ok([campaign.into(), corpus.into()]),
            _ => Err("the tests were not built".into()),
        }
    }

    fn cargo(&self) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", self.root.join("target"));
        cargo
    }
}

/// Writes unless it is there: what has not changed is not built again.
fn write(file: &Path, content: impl AsRef<[u8]>) -> Outcome<()> {
    if fs::read(file).ok().as_deref() != Some(content.as_ref()) {
        fs::write(file, content)?;
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path, but: &BTreeSet<PathBuf>) -> Outcome<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let from = entry?.path();
        let to = to.join(from.file_name().unwrap_or_default());
        if from.is_dir() {
            copy_folder(&from, &to, but)?;
        } else if !but.contains(&from) {
            write(&to, &fs::read(&from)?)?;
        }
    }
    Ok(())
}
