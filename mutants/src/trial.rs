//! One mutant switched on, and what the campaign says of it.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::{Deserialize, Serialize};

use crate::copy::Outcome;

/// What came of a mutant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It does not compile.
    Unviable,
    /// It is inside a planted defect.
    Planted,
    /// What the campaign saw: an execution and a class, a panic, or that it did not end.
    Caught(String),
    /// The campaign sees nothing, but a program of the corpus does.
    CaughtByCorpus,
    /// Nothing was seen.
    Survived,
    /// No execution of the campaign evaluates what it changes.
    Unreached,
}

/// The campaign, built with all mutants.
pub struct Campaign {
    pub program: PathBuf,
    /// The test of the corpus: every program is clean, and shows the defect that it is about.
    pub corpus: PathBuf,
    /// Executions.
    pub execs: u64,
    /// Seconds of CPU time after which it is taken for endless.
    pub limit: u64,
}

impl Campaign {
    /// The mutants that are reached, of nothing but the usual version.
    pub fn reached(&self, variant: Option<&str>) -> Outcome<BTreeSet<usize>> {
        let output = self.run("reached", variant)?;
        let told = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("without a mutant: {}", fate(&output)).into());
        }
        Ok(told.lines().filter_map(|line| line.strip_prefix("reached ")?.parse().ok()).collect())
    }

    /// Whether a program of the corpus shows it.
    pub fn corpus_shows(&self, id: Option<usize>) -> Outcome<bool> {
        let id = id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        Ok(!self.start(&self.corpus, &id, None)?.status.success())
    }

    /// Whether the campaign sees it, and how.
    pub fn judge(&self, id: usize, variant: Option<&str>) -> Outcome<Fate> {
        let output = self.run(&id.to_string(), variant)?;
        Ok(if output.status.success() { Fate::Survived } else { Fate::Caught(fate(&output)) })
    }

    fn run(&self, mutant: &str, variant: Option<&str>) -> Outcome<Output> {
        self.start(&self.program, mutant, variant)
    }

    fn start(&self, program: &Path, mutant: &str, variant: Option<&str>) -> Outcome<Output> {
        // One that loops or allocates for ever is ended by the kernel.
        let limits =
            format!("ulimit -t {}; ulimit -v 8000000; ulimit -c 0; exec \"$0\"", self.limit);
        let mut command = Command::new("sh");
        command.arg("-c").arg(limits).arg(program);
        command
            .env("RUST_BACKTRACE", "0")
            .env("MUTANT", mutant)
            .env("MM_LOCKSTEP_EXECS", self.execs.to_string());
        if let Some(name) = variant {
            command.env("MM_LOCKSTEP_VARIANT", name);
        }
        Ok(command.output()?)
    }
}

/// In a word or two.
fn fate(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stdout);
    match (output.status.code(), output.status.signal()) {
        (Some(1), _) => told.trim().to_owned(),
        (Some(101), _) => "panic".to_owned(),
        (_, Some(9 | 24)) => "did not end".to_owned(), // SIGKILL, SIGXCPU
        (code, signal) => format!("exit code {code:?}, signal {signal:?}"),
    }
}
