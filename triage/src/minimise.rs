//! `minimise`: the smallest program that shows the same.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args as ClapArgs;
use lockstep::Options;
use lockstep::minimise::{self, Effort};
use optimized::Defects;
use program::Program;
use serde::Serialize;

use crate::cli::{Format, ProgramArgs};
use crate::exit::{Exit, Stop};
use crate::finding::WORK;
use crate::judge::{Judge, Sight};
use crate::{input, stop, write};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  mm-lockstep minimise corpus/seeds/fork-x-pin.txt --defect fork-shares-pinned
  mm-lockstep minimise --bytes crash-1a2b3c4d --defect canary -o small.txt

Fewest operations first, then fewest preemptions, then the simplest values; every step of the way
shows a finding of the same class that does no other work than the first. The program goes to standard output (or -o),
what was tried to standard error.

Exit codes: 0 done, 3 the program cannot be read, 4 it shows nothing, 130 stopped by Ctrl-C (the
smallest program so far is printed all the same).";

/// Arguments of `minimise`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    program: ProgramArgs,
    /// Where to write the program
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Json {
    schema_version: u32,
    class: String,
    steps_before: usize,
    steps: usize,
    slices_before: usize,
    slices: usize,
    runs: u64,
    changes: Vec<Change>,
    program: String,
}

impl Json {
    /// Of a program that shows nothing.
    fn clean(program: &Program) -> Json {
        let (steps, slices) = (program.steps().count(), slices(program));
        Json {
            schema_version: 1,
            class: "clean".to_owned(),
            steps_before: steps,
            steps,
            slices_before: slices,
            slices,
            runs: 1,
            changes: Vec::new(),
            program: program.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Change {
    change: &'static str,
    tried: u64,
    taken: u64,
}

/// Makes programs smaller on the optimised side with these defects, until `stop` is set; then it
/// gives what it has.
pub struct Minimiser<'a> {
    pub defects: Defects,
    pub stop: &'a AtomicBool,
}

impl Minimiser<'_> {
    /// The smallest program that shows what `sight` is, and what it shows.
    pub fn smallest(&self, program: &Program, sight: &Sight) -> (Program, Sight, Effort) {
        let (mut judge, seen) = (self.judge(), sight.seen());
        let mut last = sight.clone();
        let (minimal, effort) = minimise::minimise_within(program, WORK, |candidate| {
            let sight = self.look(&mut judge, candidate);
            let sight = sight.filter(|sight| seen.covers(&sight.seen()));
            (sight.map(|sight| last = sight).is_some(), judge.work())
        });
        (minimal, last, effort)
    }

    /// The root of what a minimal program shows, and what that shows.
    pub fn root(&self, program: &Program, sight: &Sight) -> (Program, Sight) {
        let mut judge = self.judge();
        let look = |program: &Program| self.look(&mut judge, program).map(|sight| sight.seen());
        let root = lockstep::root(program, &sight.seen(), look);
        let sight = judge.look(&root).unwrap_or_else(|| sight.clone());
        (root, sight)
    }

    fn judge(&self) -> Judge {
        Judge::new(self.defects, Options { paranoid: true })
    }

    /// What a program shows, while there is time to look.
    fn look(&self, judge: &mut Judge, program: &Program) -> Option<Sight> {
        if self.stop.load(Ordering::Relaxed) { None } else { judge.look(program) }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit, Stop> {
    let (program, defects) = args.program.load()?;
    let mut judge = Judge::new(defects, Options { paranoid: true });
    let Some(sight) = judge.look(&program) else {
        eprintln!("{}: clean, there is nothing to keep", input::name(&args.program.file));
        if args.format == Format::Json {
            write::json(&Json::clean(&program))?;
        }
        return Ok(Exit::NotReproducible);
    };
    let stop = stop::flag();
    let (minimal, seen, effort) = Minimiser { defects, stop: &stop }.smallest(&program, &sight);
    let stopped = stop.load(Ordering::Relaxed);
    let exit = if stopped { Exit::Interrupted } else { Exit::Clean };
    let class = seen.trouble.symptom().class;
    let mut text = format!("# {class}\n");
    text.push_str(&input::found_with(defects));
    let _ = write!(text, "{minimal}");
    if let Some(file) = &args.output {
        write::file(file, &text)?;
    }
    if args.format == Format::Json {
        let changes = effort.changes.iter();
        let changes = changes.map(|(&change, &[tried, taken])| Change { change, tried, taken });
        write::json(&Json {
            schema_version: 1,
            class,
            steps_before: program.steps().count(),
            steps: minimal.steps().count(),
            slices_before: slices(&program),
            slices: slices(&minimal),
            runs: effort.runs,
            changes: changes.collect(),
            program: text,
        })?;
        return Ok(exit);
    }
    if args.output.is_none() {
        write::text(&text)?;
    }
    eprintln!(
        "{} operations made {}, {} preemptions made {}, in {} runs",
        program.steps().count(),
        minimal.steps().count(),
        slices(&program),
        slices(&minimal),
        effort.runs
    );
    for (change, [tried, taken]) in &effort.changes {
        eprintln!("  {change}: tried {tried}, kept {taken}");
    }
    if effort.left_out > 0 {
        eprintln!("  left out: {}, a run of it takes too long", effort.left_out);
    }
    if stopped {
        eprintln!("stopped: it may get smaller still");
    }
    Ok(exit)
}

/// Scheduling decisions of a program.
pub fn slices(program: &Program) -> usize {
    program.schedule.slices.len() + program.schedule.cycle.len()
}
