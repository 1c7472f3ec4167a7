//! `triage`: from a pile of inputs to a folder of buckets.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use clap::Args as ClapArgs;
use comfy_table::{CellAlignment, Table, presets};
use lockstep::{Options, When, program_hash, render};
use optimized::Defects;
use program::digest::mix;
use program::{Layout, Program};
use rayon::prelude::*;
use serde::Serialize;

use crate::bucket::Titles;
use crate::cause;
use crate::cli::{BytesArg, DefectArgs, Format};
use crate::collect::{self, Artifact};
use crate::exit::{Exit, Stop};
use crate::judge::{Judge, Sight, Trouble};
use crate::minimise::Minimiser;
use crate::store::{Bucket, Entry, Record, Run, SCHEMA, Source, Store, Verdict};
use crate::{finding, input, progress, stop, write};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  mm-lockstep triage fuzz/artifacts                       what cargo-fuzz found
  mm-lockstep triage out                                  crashes and hangs of every AFL++ instance
  mm-lockstep triage clusterfuzz-testcase-minimized-sequential-5149
  mm-lockstep triage fuzz/artifacts --defect fork-shares-pinned   of a build with this bug planted

Each input is run twice, made smaller and put into the bucket that shares a title with it:
findings/BUCKET/ then holds minimal.txt, program.txt, verdict.json and a file for each input in
runs/. A second run adds what is new and loses nothing; an interrupted one goes on where it was.

Exit codes:
  0    every input is clean
  1    an input shows something
  2    wrong usage, or --findings cannot be written
  3    an input cannot be read (the others are done all the same)
  4    inputs that should have shown something did not, and nothing else was found
  130  stopped by Ctrl-C; run it again to go on";

/// Arguments of `triage`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Inputs of any engine, and folders that hold them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    defects: DefectArgs,
    #[command(flatten)]
    bytes: BytesArg,
    /// Where buckets are kept
    #[arg(long, value_name = "DIR", default_value = "findings")]
    findings: PathBuf,
    /// Go by what is seen alone, even where the defect that it hangs on is known
    #[arg(long)]
    by_signature: bool,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Clean inputs that are named on a screen.
const SHOWN: usize = 10;

/// What a run is called that shows nothing.
const CLEAN: &str = "clean";

/// What became of an input.
enum Outcome {
    Clean,
    /// It is in a bucket, and shows what that is, or nothing any more. The run: of another commit.
    Known {
        id: String,
        source: Source,
        run: Option<Run>,
        shows: bool,
    },
    Finding(Box<Entry>),
    /// Somebody wished for the end before it was done.
    Unfinished,
}

#[derive(Serialize)]
struct Json {
    schema_version: u32,
    inputs: usize,
    /// Not every input was looked at.
    interrupted: bool,
    clean: Vec<String>,
    unreadable: usize,
    buckets: Vec<JsonBucket>,
}

#[derive(Serialize)]
struct JsonBucket {
    bucket: String,
    inputs: usize,
    first_seen: String,
    #[serde(flatten)]
    verdict: Verdict,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit, Stop> {
    write::probe(&args.findings).map_err(|error| {
        let folder = args.findings.display();
        Stop::Usage(format!("error: findings cannot be written to {folder}: {error}"))
    })?;
    let stop = stop::flag();
    let (mut inputs, mut unreadable) = (Vec::new(), 0);
    for artifact in collect::artifacts(&args.paths) {
        match artifact {
            Ok(artifact) => inputs.push(artifact),
            Err(problem) => {
                problem.say();
                unreadable += 1;
            }
        }
    }
    let mut store = Store::open(&args.findings)?;
    let clerk = Clerk::new(args, Arc::clone(&stop));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.map_or(0, |threads| threads.get().min(inputs.len().max(1))))
        .build()
        .map_err(|error| Stop::Usage(format!("error: no threads: {error}")))?;
    let bar = progress::bar(Some(inputs.len() as u64), "inputs");
    let (mut clean, mut findings) = (Vec::new(), 0);
    // In order, a few at a time: whoever is killed leaves what a shorter pile would have given.
    'pile: for some in inputs.chunks(4 * pool.current_num_threads()) {
        let look = |input: &Artifact| clerk.look(input, &store);
        let outcomes: Vec<_> = pool.install(|| some.par_iter().map(look).collect());
        for (input, outcome) in some.iter().zip(outcomes) {
            bar.inc(1);
            match outcome {
                Ok(Outcome::Unfinished) => break 'pile,
                Ok(Outcome::Clean) => clean.push(input.path.display().to_string()),
                Ok(Outcome::Known { id, source, run, shows }) => {
                    store.again(&id, source, run)?;
                    match shows {
                        true => findings += 1,
                        false => clean.push(input.path.display().to_string()),
                    }
                }
                Ok(Outcome::Finding(entry)) => {
                    store.put(*entry)?;
                    findings += 1;
                }
                Err(problem) => {
                    bar.suspend(|| problem.say());
                    unreadable += 1;
                }
            }
        }
    }
    bar.finish_and_clear();
    let interrupted = stop.load(Ordering::Relaxed);
    tell(args, &store, inputs.len(), &clean, unreadable, interrupted)?;
    if interrupted {
        eprintln!("stopped: not every input was looked at; run it again to go on");
    }
    Ok(if interrupted {
        Exit::Interrupted
    } else if unreadable > 0 {
        Exit::Partial
    } else if findings > 0 {
        Exit::Finding
    } else if !clean.is_empty() && inputs.iter().any(Artifact::raw) {
        Exit::NotReproducible
    } else {
        Exit::Clean
    })
}

/// Looks at inputs, several at a time.
struct Clerk {
    defects: Defects,
    names: Vec<String>,
    variant: Option<String>,
    raw: bool,
    by_signature: bool,
    now: String,
    commit: String,
    stop: Arc<AtomicBool>,
}

impl Clerk {
    fn new(args: &Args, stop: Arc<AtomicBool>) -> Clerk {
        let defects = args.defects.set();
        Clerk {
            defects,
            names: finding::on(defects).map(|defect| defect.info().name.to_owned()).collect(),
            variant: finding::variant(defects),
            raw: args.bytes.bytes,
            by_signature: args.by_signature,
            now: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            commit: crate::cli::VERSION.to_owned(),
            stop,
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn judge(&self) -> Judge {
        Judge::new(self.defects, Options { paranoid: true })
    }

    /// What tells inputs apart: the program, and the build that it is run on.
    fn id(&self, program: &Program) -> String {
        let build = self.names.iter().chain(&self.variant).flat_map(|name| name.bytes());
        let build = build.fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        format!("{:016x}", program_hash(program) ^ build)
    }

    fn look(&self, input: &Artifact, store: &Store) -> Result<Outcome, Stop> {
        if self.stopped() {
            return Ok(Outcome::Unfinished);
        }
        let loaded = input::load(&input.path, self.raw || input.raw())?;
        if loaded.program.steps().count() == 0 && !input.raw() {
            return Err(input::vacuous(&input.path));
        }
        let program = loaded.telling(|program| self.judge().judge(program).is_none());
        let id = self.id(&program);
        let file = input.path.display().to_string();
        let source = Source { file, engine: input.engine };
        let mut run = Run {
            when: self.now.clone(),
            commit: self.commit.clone(),
            defects: self.names.clone(),
            variant: self.variant.clone(),
            title: String::new(),
        };
        let known = store.records(&id);
        let same = |old: &&Run| old.same_build(&run);
        if let Some(run) = known.iter().flat_map(|(_, record)| &record.runs).find(same) {
            let shows = run.title != CLEAN;
            return Ok(Outcome::Known { id, source, run: None, shows });
        }
        let look = || self.judge().look(&program);
        let (first, second) = (look(), look());
        let seen = self.verdict(&program, first, second);
        // What is not as small as it gets has other titles.
        if self.stopped() {
            return Ok(Outcome::Unfinished);
        }
        let Some((minimal, mut verdict)) = seen else {
            if known.is_empty() {
                return Ok(Outcome::Clean);
            }
            run.title = CLEAN.to_owned();
            return Ok(Outcome::Known { id, source, run: Some(run), shows: false });
        };
        run.title.clone_from(&verdict.titles.title);
        // The same input of another commit may show another bug: then it is of two buckets.
        let meets = |(bucket, _): &(&Bucket, _)| bucket.verdict.titles.meet(&verdict.titles);
        if known.iter().any(meets) {
            return Ok(Outcome::Known { id, source, run: Some(run), shows: true });
        }
        if !known.is_empty() {
            eprintln!("{}: shows something else now: {}", source.file, run.title);
        }
        let record = Record {
            schema_version: SCHEMA,
            id,
            sources: vec![source],
            first_seen: self.now.clone(),
            steps: program.steps().count(),
            runs: vec![run],
            program: program.to_string(),
        };
        verdict.minimal = self.text(&minimal, &verdict);
        verdict.program.clone_from(&record.program);
        Ok(Outcome::Finding(Box::new(Entry { verdict, record })))
    }

    /// The minimal program and what it shows. `None`: nothing.
    fn verdict(
        &self,
        program: &Program,
        first: Option<Sight>,
        second: Option<Sight>,
    ) -> Option<(Program, Verdict)> {
        let tell = |sight: &Option<Sight>| {
            sight.as_ref().map(|seen| finding::explain(program, &seen.trouble))
        };
        let same = tell(&first) == tell(&second);
        let sight = first.or(second)?;
        if !same {
            let verdict = self.describe(program, &sight, Titles::flaky(), None);
            return Some((program.clone(), verdict));
        }
        let cause =
            if self.by_signature { None } else { cause::cause(program, &sight, self.defects) };
        // With the cause alone on, no other bug can take its place while the program shrinks.
        let on = cause
            .map_or(self.defects, |cause| Defects::only(cause).in_variant(self.defects.variant()));
        let mut judge = Judge::new(on, Options { paranoid: true });
        let sight = judge.look(program).unwrap_or(sight);
        let minimiser = Minimiser { defects: on, stop: &self.stop };
        let (minimal, seen, _) = minimiser.smallest(program, &sight);
        let (root, last) = minimiser.root(&minimal, &seen);
        let titles = Titles::of((&minimal, &seen), (&root, &last), cause);
        let name = cause.map(|defect| defect.info().name.to_owned());
        let verdict = self.describe(&minimal, &seen, titles, name);
        Some((minimal, verdict))
    }

    /// The minimal program as a file that says what it is.
    fn text(&self, minimal: &Program, verdict: &Verdict) -> String {
        let mut text = format!("# {}\n", verdict.titles.title);
        text.push_str(&input::found_with(self.defects));
        let _ = write!(text, "{minimal}");
        text
    }

    fn describe(
        &self,
        program: &Program,
        sight: &Sight,
        titles: Titles,
        cause: Option<String>,
    ) -> Verdict {
        let symptom = sight.trouble.symptom();
        let (fields, operation) = match &sight.trouble {
            Trouble::Diverged(found) => {
                let operation = match found.when {
                    When::Step(_, step) => Some(step.to_string()),
                    _ => None,
                };
                (render::fields(found, &Layout::of(program)), operation)
            }
            Trouble::Panicked(_) => (Vec::new(), None),
        };
        let schedule = &program.schedule;
        Verdict {
            schema_version: SCHEMA,
            titles,
            class: symptom.class,
            field: sight.trouble.field().to_owned(),
            path: symptom.path,
            paths: sight.paths.iter().map(|path| (*path).to_owned()).collect(),
            operation,
            fields,
            cause,
            defects: self.names.clone(),
            variant: self.variant.clone(),
            steps: program.steps().count(),
            slices: schedule.slices.len() + schedule.cycle.len(),
            minimal: String::new(),
            program: String::new(),
        }
    }
}

fn tell(
    args: &Args,
    store: &Store,
    inputs: usize,
    clean: &[String],
    unreadable: usize,
    interrupted: bool,
) -> Result<(), Stop> {
    if args.format == Format::Json {
        let bucket = |bucket: &Bucket| JsonBucket {
            bucket: bucket.name.clone(),
            inputs: bucket.inputs(),
            first_seen: bucket.first_seen().to_owned(),
            verdict: bucket.verdict.clone(),
        };
        write::json(&Json {
            schema_version: SCHEMA,
            inputs,
            interrupted,
            clean: clean.to_vec(),
            unreadable,
            buckets: store.buckets.iter().map(bucket).collect(),
        })?;
        return Ok(());
    }
    let mut out = if store.buckets.is_empty() { String::new() } else { table(&store.buckets) };
    for file in clean.iter().take(SHOWN) {
        let _ = writeln!(out, "{file}: clean, it shows nothing");
    }
    if clean.len() > SHOWN {
        let _ = writeln!(out, "… and {} more (--format json lists them)", clean.len() - SHOWN);
    }
    let count = store.buckets.len();
    let plural = if count == 1 { "" } else { "s" };
    let _ = writeln!(
        out,
        "{inputs} input{}, {} clean, {unreadable} unreadable; {count} bucket{plural} in {}",
        if inputs == 1 { "" } else { "s" },
        clean.len(),
        args.findings.display()
    );
    if let Some(bucket) = by_size(&store.buckets).first() {
        let folder = args.findings.join(&bucket.name);
        let _ = writeln!(out, "next: mm-lockstep explain {}", finding::quoted(&folder));
    }
    write::text(&out)?;
    Ok(())
}

/// The fullest first.
fn by_size(buckets: &[Bucket]) -> Vec<&Bucket> {
    let mut buckets: Vec<&Bucket> = buckets.iter().collect();
    buckets.sort_by_key(|bucket| (std::cmp::Reverse(bucket.inputs()), &bucket.name));
    buckets
}

/// One line a bucket, the fullest first.
pub fn table(buckets: &[Bucket]) -> String {
    let mut table = Table::new();
    let header = ["bucket", "class", "path", "inputs", "smallest", "first seen"];
    table.load_style(presets::NOTHING).set_header(header);
    for bucket in by_size(buckets) {
        let verdict = &bucket.verdict;
        table.add_row([
            bucket.name.clone(),
            verdict.class.clone(),
            verdict.path.clone(),
            bucket.inputs().to_string(),
            format!("{} ops", verdict.steps),
            bucket.first_seen().to_owned(),
        ]);
    }
    if let Some(column) = table.column_mut(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n\n"
}

impl Bucket {
    /// How many inputs show it.
    pub fn inputs(&self) -> usize {
        self.records.values().map(|record| record.sources.len()).sum()
    }

    /// When the first of them was seen.
    pub fn first_seen(&self) -> &str {
        self.records.values().map(|record| record.first_seen.as_str()).min().unwrap_or_default()
    }
}
