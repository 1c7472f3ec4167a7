//! `matrix`: how fast each defect of the catalogue is found, under each strategy.
//!
//! Every defect is hunted with the default mix first. Strategies matter to those only that a
//! concurrent program shows, so the others are hunted with the mix alone. The state of the work is
//! the JSON file: it is written after each trial, and a trial that it has is not run again.

mod plot;
mod table;
mod trial;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use clap::Args as ClapArgs;
use lockstep::Policy;
use optimized::{Defect, Kind};
use serde::{Deserialize, Serialize};

use crate::cli::{self, Format};
use crate::exit::{Exit, Stop};
use crate::{progress, stop, write};
use trial::{Trial, Tried};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  mm-lockstep matrix                                  every defect, one seed, 60 s each at most
  mm-lockstep matrix --defect lost-wakeup --seeds 5   one of them
  mm-lockstep matrix --seeds 5 --json m.json --markdown m.md --svg m.svg
                                                      as scripts/detection.sh, which makes docs/detection.md
  The same command again goes on where it was interrupted.

Exit codes: 0 every defect was found in every seed by the default mix, 1 not so, 130 interrupted.";

/// Arguments of `matrix`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Hunt for these only, by name or id; may be repeated
    #[arg(long = "defect", value_name = "NAME", value_parser = cli::defect_named)]
    defects: Vec<Defect>,
    /// Seeds 1..=N
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Time for each trial, on one core
    #[arg(long, value_name = "TIME", value_parser = cli::time, default_value = "60s")]
    budget: Duration,
    /// Time for each trial of a strategy other than the default mix [default: the same]
    #[arg(long, value_name = "TIME", value_parser = cli::time)]
    others: Option<Duration>,
    /// Programs for each trial
    #[arg(long, value_name = "N", value_parser = cli::count)]
    execs: Option<u64>,
    /// Only the default mix
    #[arg(long)]
    mix_only: bool,
    /// Trials at the same time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Keep the results here, and take those that are there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table in Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Draw survival curves: the share of defects not found yet against executions
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Everything known; what the JSON file holds.
#[derive(Serialize, Deserialize)]
pub struct Results {
    schema_version: u32,
    /// The build.
    version: String,
    /// When the newest trial ended (RFC 3339).
    date: String,
    /// Architecture and number of cores.
    machine: String,
    /// Seconds a trial at most.
    budget: f64,
    /// Seconds a trial of another strategy than the mix at most.
    others: f64,
    /// Programs a trial at most.
    execs: Option<u64>,
    tried: Vec<Tried>,
}

impl Results {
    fn new(args: &Args) -> Results {
        let machine = format!("{}, {} cores", model(), cli::cores());
        let (version, budget) = (cli::VERSION.to_owned(), args.budget.as_secs_f64());
        let others = args.others.unwrap_or(args.budget).as_secs_f64();
        let (execs, date, tried) = (args.execs, String::new(), Vec::new());
        Results { schema_version: 2, version, date, machine, budget, others, execs, tried }
    }

    /// Those of the file, if they are of this build and these limits.
    fn of(args: &Args) -> Result<Results, Stop> {
        let fresh = Results::new(args);
        let Some(file) = args.json.as_deref().filter(|file| file.exists()) else {
            return Ok(fresh);
        };
        let text = std::fs::read_to_string(file).map_err(|error| write::at(file, error))?;
        let kept: Results = serde_json::from_str(&text).map_err(|error| {
            let hint = "--json names a file that `matrix` wrote, or none yet";
            Stop::Input(format!("error: {}: {error}\n  hint: {hint}", file.display()))
        })?;
        let limits = |results: &Results| (results.budget, results.others, results.execs);
        let same = (kept.schema_version, &kept.version) == (fresh.schema_version, &fresh.version)
            && limits(&kept) == limits(&fresh);
        if !same {
            eprintln!("{}: of another build or budget; it is made anew", file.display());
        }
        Ok(if same { kept } else { fresh })
    }

    fn has(&self, trial: &Trial) -> bool {
        self.tried.iter().any(|tried| tried.is_of(trial))
    }

    fn save(&self, args: &Args) -> std::io::Result<()> {
        let Some(file) = &args.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::other)?;
        write::file(file, &format!("{text}\n"))
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit, Stop> {
    let mut defects = args.defects.clone();
    if defects.is_empty() {
        defects.extend(Defect::ALL.iter().filter(|defect| defect.info().kind == Kind::Defect));
    }
    let results = Mutex::new(Results::of(args)?);
    let stop = stop::flag();
    let seeds = || 1..=args.seeds;
    let mix = defects.iter().flat_map(|&defect| seeds().map(move |seed| Trial::mix(defect, seed)));
    wave(args, args.budget, mix.collect(), &results, &stop)?;
    if !args.mix_only {
        let concurrent = |defect: &&Defect| {
            let name = defect.info().name;
            lock(&results).tried.iter().any(|tried| tried.name == name && tried.concurrent)
        };
        let trials = defects.iter().filter(concurrent).flat_map(|&defect| {
            let others = [Policy::RandomWalk, Policy::Pct, Policy::Pos, Policy::ReadsFrom];
            let with = move |policy| seeds().map(move |seed| Trial::under(defect, policy, seed));
            others.into_iter().flat_map(with)
        });
        wave(args, args.others.unwrap_or(args.budget), trials.collect(), &results, &stop)?;
    }
    let results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let table = table::Matrix::of(&results, &defects);
    if let Some(file) = &args.markdown {
        write::file(file, &table.markdown(args.svg.as_deref()))?;
    }
    if let Some(file) = &args.svg {
        write::file(file, &plot::survival(&results.tried))?;
    }
    match args.format {
        Format::Json => write::json(&results)?,
        Format::Text => write::text(&table.text())?,
    }
    Ok(if stop.load(Ordering::Relaxed) {
        Exit::Interrupted
    } else if table.all_found() {
        Exit::Clean
    } else {
        Exit::Finding
    })
}

/// Of the processor, as Linux calls it.
fn model() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let name = named.map_or(std::env::consts::ARCH, |(_, name)| name);
    name.trim().to_owned()
}

fn lock(results: &Mutex<Results>) -> std::sync::MutexGuard<'_, Results> {
    results.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Runs trials, several at a time, and keeps each as soon as it is done.
fn wave(
    args: &Args,
    budget: Duration,
    mut trials: Vec<Trial>,
    results: &Mutex<Results>,
    stop: &AtomicBool,
) -> Result<(), Stop> {
    trials.retain(|trial| !lock(results).has(trial));
    let bar = progress::bar(Some(trials.len() as u64), "trials");
    let (queue, failed) = (Mutex::new(trials.into_iter()), Mutex::new(None));
    let next = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
    let work = || {
        while !stop.load(Ordering::Relaxed)
            && let Some(trial) = next()
        {
            bar.set_message(trial.to_string());
            // One that was interrupted says nothing.
            let tried = trial.run(budget, args.execs, stop);
            if stop.load(Ordering::Relaxed) {
                break;
            }
            bar.inc(1);
            let mut results = lock(results);
            results.date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
            results.tried.push(tried);
            results.tried.sort_by_cached_key(Tried::order);
            if let Err(error) = results.save(args) {
                *failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(error);
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..args.threads.map_or_else(cli::cores, usize::from) {
            scope.spawn(work);
        }
    });
    bar.finish_and_clear();
    match failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(error) => Err(Stop::Output(error)),
        None => Ok(()),
    }
}
