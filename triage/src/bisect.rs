//! `bisect`: which defect or variant, or which commit, a finding hangs on.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args as ClapArgs;
use lockstep::Options;
use optimized::{Defect, Defects, Variant};
use rayon::prelude::*;
use serde::Serialize;

use crate::cli::{Format, ProgramArgs};
use crate::exit::{Exit, Stop};
use crate::judge::Judge;
use crate::{finding, progress, stop, write};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  mm-lockstep bisect FILE                               which defects and variants it finds
  mm-lockstep bisect FILE --defect A --defect B         which of those that are on it needs
  mm-lockstep bisect FILE --good v1.0 --bad HEAD        the commit at which it began

Over commits, each is checked out aside and --run decides, in a shell with $PROGRAM set: exit code
0 is good, 1 is bad, anything else says that this commit cannot run it and is passed over. The text
form is what is replayed, so that old commits read what new ones found.

Exit codes: 0 nothing found, 1 a culprit is named, 3 the program, git or --run fails, 130 stopped by
Ctrl-C.";

/// How a commit is asked.
const RUN: &str = "cargo run --release -q -p triage -- replay \"$PROGRAM\"";

/// Arguments of `bisect`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    program: ProgramArgs,
    /// A commit where it is clean
    #[arg(long, value_name = "REV", requires = "bad")]
    good: Option<String>,
    /// A commit where it is not
    #[arg(long, value_name = "REV", requires = "good")]
    bad: Option<String>,
    /// What to run at each commit
    #[arg(long, value_name = "COMMAND", default_value = RUN)]
    run: String,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Row {
    /// A defect or a variant.
    switch: &'static str,
    /// What the program shows with this one alone.
    alone: String,
    /// What it shows with all that are on but this one.
    without: Option<String>,
}

#[derive(Serialize)]
struct Json {
    schema_version: u32,
    culprits: Vec<String>,
    switches: Vec<Row>,
    commits: Vec<Asked>,
}

/// A commit and its answer.
#[derive(Serialize)]
struct Asked {
    commit: String,
    answer: &'static str,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit, Stop> {
    let stop = stop::flag();
    let json = match (&args.good, &args.bad) {
        (Some(good), Some(bad)) => over_commits(args, good, bad, &stop)?,
        _ => over_switches(args)?,
    };
    let exit = match json.culprits.is_empty() {
        _ if stop.load(Ordering::Relaxed) => Exit::Interrupted,
        true => Exit::Clean,
        false => Exit::Finding,
    };
    if args.format == Format::Json {
        write::json(&json)?;
        return Ok(exit);
    }
    let mut out = String::new();
    for row in &json.switches {
        let without = row.without.as_ref().map(|shown| format!(", without it {shown}"));
        let _ = writeln!(out, "{}: alone {}{}", row.switch, row.alone, without.unwrap_or_default());
    }
    for asked in &json.commits {
        let _ = writeln!(out, "{}: {}", asked.commit, asked.answer);
    }
    let _ = match json.culprits.as_slice() {
        [] if exit == Exit::Interrupted => writeln!(out, "stopped: no culprit is known"),
        [] => writeln!(out, "no culprit: nothing of this decides it"),
        culprits => writeln!(out, "culprit: {}", culprits.join(", ")),
    };
    write::text(&out)?;
    Ok(exit)
}

fn over_switches(args: &Args) -> Result<Json, Stop> {
    let (program, on) = args.program.load()?;
    let shows = |defects: Defects| {
        let mut judge = Judge::new(defects, Options { paranoid: true });
        let trouble = judge.judge(&program);
        trouble.map_or("clean".to_owned(), |trouble| trouble.symptom().class)
    };
    let usual = on.is_empty() && on.variant() == Variant::Batched;
    let candidates: Vec<Switch> = match usual {
        true => {
            let variants = Variant::ALL.iter().copied().map(Switch::Variant);
            Defect::ALL.iter().copied().map(Switch::Defect).chain(variants).collect()
        }
        false => {
            let variant = Some(on.variant()).filter(|&variant| variant != Variant::Batched);
            finding::on(on).map(Switch::Defect).chain(variant.map(Switch::Variant)).collect()
        }
    };
    let row = |&switch: &Switch| Row {
        switch: switch.name(),
        alone: shows(switch.alone()),
        without: (!usual).then(|| shows(switch.off(on))),
    };
    let mut rows: Vec<Row> = candidates.par_iter().map(row).collect();
    let all = shows(on);
    let decides = |row: &&Row| match &row.without {
        // What it shows with all changes when this one goes.
        Some(without) => *without != all,
        None => row.alone != all,
    };
    let culprits = rows.iter().filter(decides).map(|row| row.switch.to_owned()).collect();
    if usual {
        rows.retain(|row| row.alone != all);
    }
    Ok(Json { schema_version: 2, culprits, switches: rows, commits: Vec::new() })
}

/// What can be switched on: a defect, or another way of pinning.
#[derive(Clone, Copy)]
enum Switch {
    Defect(Defect),
    Variant(Variant),
}

impl Switch {
    fn name(self) -> &'static str {
        match self {
            Switch::Defect(defect) => defect.info().name,
            Switch::Variant(variant) => variant.info().name,
        }
    }

    /// It and nothing else.
    fn alone(self) -> Defects {
        match self {
            Switch::Defect(defect) => Defects::only(defect),
            Switch::Variant(variant) => Defects::NONE.in_variant(variant),
        }
    }

    /// Everything that is on but it.
    fn off(self, on: Defects) -> Defects {
        match self {
            Switch::Defect(defect) => finding::without(on, defect),
            Switch::Variant(_) => on.in_variant(Variant::Batched),
        }
    }
}

fn over_commits(args: &Args, good: &str, bad: &str, stop: &AtomicBool) -> Result<Json, Stop> {
    let program = args.program.program()?;
    let [good_commit, bad_commit] =
        [good, bad].map(|revision| git(&["rev-parse", "--verify", revision]));
    let (good, bad) = (good_commit?, bad_commit?);
    let range = format!("{good}..{bad}");
    let commits = git(&["rev-list", "--reverse", "--first-parent", &range])?;
    let commits: Vec<&str> = commits.lines().collect();
    if commits.is_empty() {
        let message =
            format!("error: no commits from {good} to {bad}\n  hint: --good is the older");
        return Err(Stop::Input(message));
    }
    let aside = Aside::new(&good)?;
    let file = aside.folder.with_extension("txt");
    write::file(&file, &program.to_string())?;
    for (expected, commit) in [("bad", &bad), ("good", &good)] {
        let answer = aside.ask(commit, &args.run, &file)?;
        if answer != expected && !stop.load(Ordering::Relaxed) {
            let _ = fs::remove_file(&file);
            return Err(Stop::Input(format!(
                "error: --run says `{answer}` of --{expected} {commit}\n  hint: exit code 0 is good, 1 is bad, \
                 any other cannot say"
            )));
        }
    }
    let mut asked = Vec::new();
    let bar = progress::bar(None, "commits");
    // Everything below `low` is good, `high` is bad; what cannot say is passed over.
    let mut usable: Vec<usize> = (0..commits.len() - 1).collect();
    let mut high = commits.len() - 1;
    while !usable.is_empty() {
        let middle = usable[usable.len() / 2];
        bar.inc(1);
        bar.set_message(commits[middle].chars().take(12).collect::<String>());
        let answer = aside.ask(commits[middle], &args.run, &file)?;
        // Ctrl-C ends the shell too, and what it said is no answer.
        if stop.load(Ordering::Relaxed) {
            break;
        }
        asked.push(Asked { commit: commits[middle].to_owned(), answer });
        match answer {
            "good" => usable.retain(|&at| at > middle),
            "bad" => {
                high = middle;
                usable.retain(|&at| at < middle);
            }
            _ => usable.retain(|&at| at != middle),
        }
    }
    bar.finish_and_clear();
    let _ = fs::remove_file(&file);
    if !usable.is_empty() {
        let culprits = Vec::new();
        return Ok(Json { schema_version: 2, culprits, switches: Vec::new(), commits: asked });
    }
    // Commits right before the first bad one that could not say are suspects too.
    let silent = |commit: &str| {
        asked.iter().any(|asked| asked.commit == commit && asked.answer == "cannot say")
    };
    let mut first = high;
    while first > 0 && silent(commits[first - 1]) {
        first -= 1;
    }
    let culprits = commits[first..=high].iter().map(|commit| (*commit).to_owned()).collect();
    Ok(Json { schema_version: 2, culprits, switches: Vec::new(), commits: asked })
}

/// A work tree of its own, so that the user's is left alone.
struct Aside {
    folder: PathBuf,
}

impl Aside {
    fn new(commit: &str) -> Result<Aside, Stop> {
        let name = format!("mm-lockstep-bisect-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        git(&["worktree", "add", "--detach", "--force", &folder.display().to_string(), commit])?;
        Ok(Aside { folder })
    }

    fn ask(&self, commit: &str, run: &str, program: &Path) -> Result<&'static str, Stop> {
        git(&["-C", &self.folder.display().to_string(), "checkout", "-q", "--force", commit])?;
        let status = Command::new("sh")
            .current_dir(&self.folder)
            .env("PROGRAM", program)
            .args(["-c", run])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| Stop::Input(format!("error: cannot run a shell: {error}")))?;
        Ok(match status.code() {
            Some(0) => "good",
            Some(1) => "bad",
            _ => "cannot say",
        })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let folder = self.folder.display().to_string();
        let _ = git(&["worktree", "remove", "--force", &folder]);
    }
}

fn git(args: &[&str]) -> Result<String, Stop> {
    let output = Command::new("git")
        .args(args)
        .output()
        .map_err(|error| Stop::Input(format!("error: cannot run git: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Stop::Input(format!("error: git {}: {}", args.join(" "), said.trim())))
}
