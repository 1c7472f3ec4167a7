//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lockstep::Policy;
use optimized::{Defect, Defects, Variant};
use program::{Family, Program};

use crate::exit::Stop;
use crate::input::Loaded;
use crate::judge::Judge;
use crate::{
    bisect, compare, corpus, explain, export, finding, input, manual, minimise, report, triage,
};

/// What this build is called: the version, and the commit if it is known.
pub const VERSION: &str = env!("MM_LOCKSTEP_VERSION");

const EXIT_CODES: &str = "\
Exit codes:
  0    clean: both sides agree
  1    a finding: divergence, misconduct, failed expectation, floor not reached
  2    wrong usage, or findings could not be written to the folder given
  3    input that cannot be read or is not a program, output that cannot be written
  4    a finding that could not be reproduced
  130  stopped by Ctrl-C or SIGTERM, nothing found so far";

const HUNT_EXAMPLES: &str = "\
Examples:
  mm-lockstep hunt --for 60s                        is the optimised side right? (silent if so)
  mm-lockstep hunt --defect pin-bias-on-large       can the harness find this bug by itself?
  mm-lockstep hunt --seed 7 --execs 1000000         the same million programs every time
  mm-lockstep hunt --strategy pct --execs 100000    the same programs, scheduled otherwise
  mm-lockstep hunt --family longterm                programs about longterm pins
  mm-lockstep hunt --smoke                          does the generator still reach everything?

With --execs, standard output is the same byte for byte whatever --threads is. A finding is made
smaller, printed with what differs, and written to --findings; `mm-lockstep replay FILE` shows it
again.

Exit codes:
  0    clean
  1    a finding, or with --smoke a floor not reached
  2    wrong usage, or --findings cannot be written
  3    a finding could not be written (it is printed all the same)
  130  stopped by Ctrl-C or SIGTERM, nothing found so far (the summary is printed all the same)";

const REPLAY_EXAMPLES: &str = "\
Examples:
  mm-lockstep replay findings/refcount-leak-1a2b3c4d.txt --defect pin-bias-on-large
  mm-lockstep replay corpus                         every `expect` line must hold on both sides
  printf 'm0 = mmap len=1 rw private\\nwrite m0\\n' | mm-lockstep replay -

A folder stands for every .txt file below it. A file that cannot be read does not keep the others
from being run.

Exit codes: 0 every program is clean, 1 one is not, 3 one cannot be read or has no operation.";

const EXPLORE_EXAMPLES: &str = "\
Examples:
  mm-lockstep explore phase.txt                     is it right however the CPUs take turns?
  mm-lockstep explore phase.txt --preemptions 3 --limit 10_000_000
  mm-lockstep explore phase.txt --defect gup-fast-ignores-fork

The bound counts preemptions over all phases of the program. It is raised step by step, so that a
finding has the fewest; it is written to --findings with its schedule, and `mm-lockstep replay FILE`
shows it again. A schedule is redundant if it only orders differently what does not touch.

Exit codes: 0 no schedule shows anything (with `complete` false in JSON: of the first --limit), 1 a
finding, 2 wrong usage, 3 no program, 4 a finding did not show itself again, 130 stopped.";

const FMT_EXAMPLES: &str = "\
Examples:
  mm-lockstep fmt corpus                            rewrite every .txt file below
  mm-lockstep fmt --check corpus                    is each canonical already?
  mm-lockstep fmt --bytes crash-1a2b3c4d            an engine's input as text

Exit codes: 0 done, 1 with --check a file is not canonical, 3 one cannot be read or written.";

/// Drives a reference and an optimised Linux memory manager in lockstep.
#[derive(Debug, Parser)]
#[command(name = "mm-lockstep", version = VERSION, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Generate programs and look for one on which the two sides differ
    #[command(after_help = HUNT_EXAMPLES)]
    Hunt(HuntArgs),
    /// Run programs from files and say what is found
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Turn a pile of inputs into buckets: replay, minimise, bucket, keep
    #[command(after_help = triage::EXAMPLES)]
    Triage(triage::Args),
    /// Make a program that shows something as small as it gets
    #[command(after_help = minimise::EXAMPLES)]
    Minimise(minimise::Args),
    /// Tell the story of a finding: in words, in lanes, as a page
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Args),
    /// Compare two programs, two findings, or one program in two builds
    #[command(after_help = compare::EXAMPLES)]
    Diff(compare::Args),
    /// Write a program as a Rust test, a C reproducer or an engine's input
    #[command(after_help = export::EXAMPLES)]
    Export(export::Args),
    /// Find the defect or the commit that a finding hangs on
    #[command(after_help = bisect::EXAMPLES)]
    Bisect(bisect::Args),
    /// Make a report of findings: a page, SARIF, JUnit
    #[command(after_help = report::EXAMPLES)]
    Report(report::Args),
    /// Print a completion script for a shell
    Completions(manual::CompletionsArgs),
    /// Write manual pages
    Manual(manual::ManualArgs),
    /// Print the state after each operation of a program
    Show(ShowArgs),
    /// Run a program under every schedule of its phases, within a bound
    #[command(after_help = EXPLORE_EXAMPLES)]
    Explore(ExploreArgs),
    /// Rewrite programs in canonical text form
    #[command(after_help = FMT_EXAMPLES)]
    Fmt(FmtArgs),
    /// Keep collections of programs: stats, minimise, merge, verify, upgrade, import, export
    #[command(after_help = corpus::EXAMPLES)]
    Corpus(corpus::Args),
    /// Compare the reference with a running Linux, which carries the programs out (needs root)
    Live(crate::live::LiveArgs),
    /// List the historic bugs that can be switched on in the optimised side
    Defects(DefectsArgs),
    /// Measure how fast each defect is found, under each strategy
    #[command(after_help = crate::matrix::EXAMPLES)]
    Matrix(crate::matrix::Args),
    /// Print what each operation of a program costs, variant beside variant
    Cost(CostArgs),
}

/// How to print results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON value.
    Json,
}

/// Defects to switch on.
#[derive(Debug, Args)]
pub struct DefectArgs {
    /// Switch a defect on, by name or id; may be repeated (see `mm-lockstep defects`)
    #[arg(long = "defect", value_name = "NAME", value_parser = defect_named)]
    pub list: Vec<Defect>,
    /// Do it in another way that is meant to work, such as vfio (see docs/variants.md)
    #[arg(long, value_name = "NAME", value_parser = variant_named)]
    pub variant: Option<Variant>,
}

impl DefectArgs {
    /// As a set.
    pub fn set(&self) -> Defects {
        let mut set = Defects::NONE;
        self.list.iter().for_each(|&defect| set.insert(defect));
        let Some(variant) = self.variant else { return set };
        let own = set.variant();
        if own != Variant::Batched && own != variant {
            let (own, other) = (own.info().name, variant.info().name);
            eprintln!("warning: the defect is one of variant {own}, and may not show in {other}");
        }
        set.in_variant(variant)
    }

    /// The same; or, if nothing is asked for, what a bucket was found with.
    pub fn or_found_with(&self, file: &Path, loaded: &Loaded) -> Defects {
        let with = loaded.found_with;
        if !self.list.is_empty() || self.variant.is_some() || with == Defects::NONE {
            return self.set();
        }
        let switches = finding::switches(with).collect::<Vec<_>>().join(" ");
        if file.is_dir() {
            eprintln!("{}: with {switches}, as it was found", file.display());
            with
        } else {
            eprintln!("hint: it was found with {switches}");
            self.set()
        }
    }
}

/// Arguments of `hunt`.
#[derive(Debug, Args)]
pub struct HuntArgs {
    /// Where the programs come from: the same seed gives the same programs
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Stop after this many programs
    #[arg(long, value_name = "N", value_parser = count)]
    pub execs: Option<u64>,
    /// Stop after this time, e.g. 60s, 10m [default: 30s unless --execs is given]
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub time: Option<Duration>,
    /// What the programs are about: sequential, concurrent, device, longterm or differential
    /// (everything), as the fuzz targets [default: everything, made another way]
    #[arg(long, value_name = "NAME", value_parser = family_named)]
    pub family: Option<Family>,
    /// Steps a program
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub steps: u16,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Who schedules concurrent phases: own (the program's schedule), random-walk, pct, pos,
    /// reads-from (8 executions a program) or round-robin [default: the first four in turn]
    #[arg(long, value_name = "NAME", value_parser = policy_named)]
    pub strategy: Option<Policy>,
    #[command(flatten)]
    pub defects: DefectArgs,
    /// Go on after the first finding; report one of each kind at the end
    #[arg(long)]
    pub keep_going: bool,
    /// A short run that checks that the generator still reaches every operation and path
    #[arg(long)]
    pub smoke: bool,
    /// Compare full states and check the invariants after every step (slow)
    #[arg(long)]
    pub paranoid: bool,
    /// Where findings are written
    #[arg(long, value_name = "DIR", default_value = "findings")]
    pub findings: PathBuf,
    /// Write how it went over time, a JSON line a sample; `report --log` draws it
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Programs, in text or byte form; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub defects: DefectArgs,
    #[command(flatten)]
    pub bytes: BytesArg,
    /// Show the two states side by side, as wide as the terminal
    #[arg(long)]
    pub diff: bool,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How to read files that are not text.
#[derive(Clone, Copy, Debug, Args)]
pub struct BytesArg {
    /// Take files for fuzzing-engine inputs: any bytes mean a program, whatever their header
    #[arg(long, visible_alias = "raw")]
    pub bytes: bool,
}

/// One program, and what to run it on.
#[derive(Debug, Args)]
pub struct ProgramArgs {
    /// The program, in text or byte form, or a bucket of findings; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    defects: DefectArgs,
    #[command(flatten)]
    bytes: BytesArg,
}

impl ProgramArgs {
    /// The program, and what is to be switched on: what its bucket was found with, if nothing is
    /// asked for.
    pub fn load(&self) -> Result<(Program, Defects), Stop> {
        let loaded = self.read()?;
        let defects = self.defects.or_found_with(&self.file, &loaded);
        Ok((loaded.telling(|program| Judge::is_clean(program, defects)), defects))
    }

    /// The program alone.
    pub fn program(&self) -> Result<Program, Stop> {
        Ok(self.read()?.telling(|program| Judge::is_clean(program, self.asked())))
    }

    /// What the command line switches on.
    pub fn asked(&self) -> Defects {
        self.defects.set()
    }

    /// A program without operations says nothing.
    fn read(&self) -> Result<Loaded, Stop> {
        let loaded = input::one(&self.file, self.bytes.bytes)?;
        match loaded.program.steps().count() {
            0 => Err(input::vacuous(&self.file)),
            _ => Ok(loaded),
        }
    }
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub program: ProgramArgs,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Arguments of `explore`.
#[derive(Debug, Args)]
pub struct ExploreArgs {
    /// Preemptions at most
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=64))]
    pub preemptions: u32,
    /// Stop after this many schedules
    #[arg(long, value_name = "N", default_value = "1_000_000", value_parser = count)]
    pub limit: u64,
    #[command(flatten)]
    pub program: ProgramArgs,
    /// Where a finding is written
    #[arg(long, value_name = "DIR", default_value = "findings")]
    pub findings: PathBuf,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Arguments of `fmt`.
#[derive(Debug, Args)]
pub struct FmtArgs {
    /// Programs; text is rewritten in place, bytes and `-` are printed as text
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Change nothing; exit 1 if a file is not canonical
    #[arg(long, conflicts_with = "bytes")]
    pub check: bool,
    #[command(flatten)]
    pub bytes: BytesArg,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Arguments of `defects`.
#[derive(Debug, Args)]
pub struct DefectsArgs {
    /// Only this one, in full
    #[arg(value_name = "NAME", value_parser = defect_named)]
    pub name: Option<Defect>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Arguments of `cost`.
#[derive(Debug, Args)]
pub struct CostArgs {
    /// The program, in text or byte form; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A way of pinning to show; may be repeated [default: batched and page-at-a-time]
    #[arg(long = "variant", value_name = "NAME", value_parser = variant_named)]
    pub variants: Vec<Variant>,
    #[command(flatten)]
    pub bytes: BytesArg,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

fn family_named(text: &str) -> Result<Family, String> {
    Family::find(text).ok_or_else(|| {
        format!("no such family; there are {}", Family::ALL.map(|family| family.name).join(", "))
    })
}

fn policy_named(text: &str) -> Result<Policy, String> {
    Policy::find(text).ok_or_else(|| {
        let names: Vec<&str> = Policy::ALL.iter().map(|policy| policy.name()).collect();
        format!("no such strategy; there are {}", names.join(", "))
    })
}

/// A variant by its name.
pub fn variant_named(text: &str) -> Result<Variant, String> {
    Variant::find(text).ok_or_else(|| {
        let all = [&Variant::Batched].into_iter().chain(Variant::ALL);
        let names: Vec<&str> = all.map(|variant| variant.info().name).collect();
        format!("no such variant; there are {}", names.join(", "))
    })
}

/// A defect by its name or id.
pub fn defect_named(text: &str) -> Result<Defect, String> {
    if let Some(defect) = Defect::find(text) {
        return Ok(defect);
    }
    let names: Vec<&str> = Defect::ALL.iter().map(|defect| defect.info().name).collect();
    Err(match similar::get_close_matches(text, &names, 3, 0.5).as_slice() {
        [] => "no such defect; `mm-lockstep defects` lists them".to_owned(),
        close => format!("no such defect; did you mean {}?", close.join(", ")),
    })
}

/// Threads when nobody says how many: one a core.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A number of programs, at least one; `_` may separate digits.
pub fn count(text: &str) -> Result<u64, String> {
    match text.replace('_', "").parse() {
        Ok(0) => Err("at least one program must run".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

/// A time, at least a second.
pub fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(1) { Err("at least 1s".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The command lines that the documents show, without their remarks.
    fn shown(document: &str) -> impl Iterator<Item = &str> {
        let lines = document.lines().filter_map(|line| {
            let line = line.trim_start().trim_start_matches("$ ");
            let begins = ["cargo run --release -- ", "mm-lockstep "];
            let rest = begins.iter().find_map(|begin| line.strip_prefix(begin))?;
            Some(rest.split(" #").next().unwrap_or(rest).trim())
        });
        // Prose may begin with the name of the tool.
        lines.filter(|line| !line.contains('`') && !line.contains('…'))
    }

    #[test]
    fn what_the_documents_show_can_be_typed() {
        let documents = [
            include_str!("../../README.md"),
            include_str!("../../docs/continuous-fuzzing.md"),
            include_str!("../../docs/fidelity.md"),
            include_str!("../../docs/performance.md"),
            include_str!("../../docs/triage.md"),
            include_str!("../../docs/variants.md"),
        ];
        let mut count = 0;
        for line in documents.into_iter().flat_map(shown) {
            let words = std::iter::once("mm-lockstep").chain(line.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}\n{error}");
            }
            count += 1;
        }
        assert!(count > 20, "only {count} command lines found");
    }
}
