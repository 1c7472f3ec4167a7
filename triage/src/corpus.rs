//! `corpus`: collections of programs, in text or as bytes of any engine.
//!
//! What a program is worth is what it does: `lockstep::domain` tells its features, the same that
//! the fuzz targets report to engines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use lockstep::domain::Domain;
use lockstep::{Lockstep, Options, Verdict, program_hash};
use optimized::Defects;
use program::{Decoder, Family, Kind, Program, codec};
use serde::Serialize;

use crate::cli::Format;
use crate::exit::{Exit, Stop};
use crate::{guard, input, write};

/// Examples shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  mm-lockstep corpus export --family sequential --into seeds corpus    text to an engine's inputs
  mm-lockstep corpus import --into new fuzz/corpus/sequential afl/out  an engine's inputs to text
  mm-lockstep corpus minimise --into small new                         the few that do all that all do
  mm-lockstep corpus merge --into corpus/seeds small                   add what does something new
  mm-lockstep corpus stats corpus                                      what a corpus does, and what not
  mm-lockstep corpus verify corpus                                     readable, canonical, clean
  mm-lockstep corpus upgrade old/*                                     bytes of earlier versions to this one

A folder stands for every file below it; .txt files are text, others bytes. Folders of libFuzzer and
of AFL++ are understood, and what is no input in them is passed over.

Exit codes: 0 done, 1 with verify a program is not as it should be, 2 usage, 3 a file cannot be
read or written.";

/// Arguments of `corpus`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// How to print the results
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Count programs, operations, paths and features
    Stats(From),
    /// Keep a few programs that have every feature of all
    Minimise(Into),
    /// Add the programs that have a feature which those of the folder lack
    Merge(Into),
    /// Check that every program can be read, is in canonical form and is clean
    Verify(From),
    /// Rewrite byte files of earlier versions
    Upgrade(From),
    /// Write programs as text, each once
    Import(Into),
    /// Write programs as bytes, each once
    Export {
        #[command(flatten)]
        into: Into,
        /// Only programs of the family of this fuzz target
        #[arg(long, value_name = "NAME", value_parser = family)]
        family: Option<Family>,
    },
}

#[derive(Debug, ClapArgs)]
struct From {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Debug, ClapArgs)]
struct Into {
    #[command(flatten)]
    from: From,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
}

fn family(name: &str) -> Result<Family, String> {
    Family::find(name).ok_or_else(|| {
        let names: Vec<&str> = Family::ALL.iter().map(|family| family.name).collect();
        format!("no such family; there are {}", names.join(", "))
    })
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit, Stop> {
    let format = args.format;
    match &args.action {
        Action::Stats(from) => stats(&Pile::read(&from.paths), format),
        Action::Verify(from) => verify(&Pile::read(&from.paths), format),
        Action::Upgrade(from) => upgrade(&from.paths, format),
        Action::Import(into) => {
            convert(into, format, |_| true, |program| ("txt", program.to_string().into_bytes()))
        }
        Action::Export { into, family } => {
            let holds = |program: &Program| family.is_none_or(|family| family.holds(program));
            convert(into, format, holds, |program| ("", program.encode()))
        }
        Action::Minimise(into) => keep(into, &BTreeSet::new(), format),
        Action::Merge(into) => {
            let known = if into.into.exists() {
                Pile::read(std::slice::from_ref(&into.into)).features()
            } else {
                BTreeSet::new()
            };
            keep(into, &known, format)
        }
    }
}

/// One file of a corpus.
struct Item {
    path: PathBuf,
    bytes: Vec<u8>,
    program: Program,
}

/// Files that could be read, and how many could not, which was said.
#[derive(Default)]
struct Pile {
    items: Vec<Item>,
    bad: usize,
}

impl Pile {
    fn read(paths: &[PathBuf]) -> Pile {
        let mut pile = Pile::default();
        let mut files = Vec::new();
        for path in paths {
            below(path, true, &mut files);
        }
        for path in files {
            match read(&path) {
                Ok(item) => pile.items.push(item),
                Err(stop) => {
                    stop.say();
                    pile.bad += 1;
                }
            }
        }
        pile
    }

    fn exit(&self, exit: Exit) -> Exit {
        if self.bad > 0 { Exit::Partial } else { exit }
    }

    fn features(&self) -> BTreeSet<Feature> {
        let mut runner = Runner::default();
        self.items.iter().flat_map(|item| runner.run(&item.program).features).collect()
    }
}

/// Files of engines' folders that are no inputs.
const NO_INPUT: [&str; 8] = [
    "README.txt",
    "fuzzer_stats",
    "fuzzer_setup",
    "fuzz_bitmap",
    "plot_data",
    "cmdline",
    "target_hash",
    "fastresume.bin",
];

fn below(path: &Path, named: bool, files: &mut Vec<PathBuf>) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !named && (name.starts_with('.') || NO_INPUT.contains(&name.as_ref())) {
        return;
    }
    match fs::read_dir(path) {
        Ok(entries) => {
            let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            entries.sort();
            entries.iter().for_each(|entry| below(entry, false, files));
        }
        Err(_) => files.push(path.to_owned()),
    }
}

fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "txt")
}

fn read(path: &Path) -> Result<Item, Stop> {
    let unreadable = |error| Stop::Input(format!("error: cannot read {}: {error}", path.display()));
    let bytes = fs::read(path).map_err(unreadable)?;
    let program = if is_text(path) {
        input::load(path, false)?.program
    } else {
        // Bytes of an earlier version say so; any others mean what they mean now.
        let bytes = codec::upgrade(&bytes).unwrap_or_else(|_| bytes.clone());
        let mut program = Program::default();
        Decoder::default().decode(&bytes, &mut program);
        program
    };
    Ok(Item { path: path.to_owned(), bytes, program })
}

/// A cell of the domain map and its value.
type Feature = (usize, u8);

/// What a program did.
struct Done {
    features: BTreeSet<Feature>,
    clean: bool,
    paths: Vec<u64>,
}

#[derive(Default)]
struct Runner {
    domain: Domain,
}

impl Runner {
    fn run(&mut self, program: &Program) -> Done {
        let mut features = BTreeSet::new();
        // A side that is new each time: what one program left behind is not the next one's.
        let mut lockstep = Lockstep::new(Defects::NONE);
        let options = Options { paranoid: false };
        let mut seen = |cell, value| {
            features.insert((cell, value));
        };
        let verdict = guard::catch(|| self.domain.run(&mut lockstep, program, &options, &mut seen));
        // Cells of paths come first, one a path.
        let mut paths = vec![0; optimized::Path::ALL.len()];
        for &(cell, _) in &features {
            if let Some(path) = paths.get_mut(cell) {
                *path = 1;
            }
        }
        Done { clean: matches!(verdict, Ok(Verdict::Clean)), features, paths }
    }
}

#[derive(Serialize)]
struct Stats {
    files: usize,
    unreadable: usize,
    distinct: usize,
    concurrent: usize,
    steps: usize,
    features: usize,
    not_clean: usize,
    kinds: BTreeMap<&'static str, usize>,
    kinds_missing: Vec<&'static str>,
    paths: usize,
    paths_missing: Vec<&'static str>,
}

fn stats(pile: &Pile, format: Format) -> Result<Exit, Stop> {
    let mut runner = Runner::default();
    let (mut kinds, mut hashes) = (BTreeMap::new(), BTreeSet::new());
    let (mut features, mut not_clean) = (BTreeSet::new(), 0);
    let mut taken = vec![0; optimized::Path::ALL.len()];
    for item in &pile.items {
        hashes.insert(program_hash(&item.program));
        for step in item.program.steps() {
            *kinds.entry(Kind::of(&step.op).name()).or_insert(0) += 1;
        }
        let done = runner.run(&item.program);
        not_clean += usize::from(!done.clean);
        features.extend(done.features);
        taken.iter_mut().zip(done.paths).for_each(|(all, here)| *all += here);
    }
    let programs = || pile.items.iter().map(|item| &item.program);
    let missing = optimized::Path::ALL.iter().zip(&taken).filter(|(_, hits)| **hits == 0);
    let paths_missing: Vec<_> = missing.map(|(path, _)| path.name()).collect();
    let all = Kind::ALL.iter().map(|kind| kind.name());
    let stats = Stats {
        files: pile.items.len(),
        unreadable: pile.bad,
        distinct: hashes.len(),
        concurrent: programs().filter(|program| Family::CONCURRENT.holds(program)).count(),
        steps: programs().map(|program| program.steps().count()).sum(),
        features: features.len(),
        not_clean,
        kinds_missing: all.filter(|name| !kinds.contains_key(name)).collect(),
        kinds,
        paths: taken.len() - paths_missing.len(),
        paths_missing,
    };
    if format == Format::Json {
        write::json(&stats)?;
        return Ok(pile.exit(Exit::Clean));
    }
    let mut out = format!(
        "{} programs ({} distinct, {} concurrent), {} operations, {} features, {} of {} paths\n",
        stats.files,
        stats.distinct,
        stats.concurrent,
        stats.steps,
        stats.features,
        stats.paths,
        taken.len()
    );
    for (what, list) in [("kinds", &stats.kinds_missing), ("paths", &stats.paths_missing)] {
        if !list.is_empty() && stats.files > 0 {
            let _ = writeln!(out, "{what} that no program has: {}", list.join(", "));
        }
    }
    if not_clean > 0 {
        let _ = writeln!(out, "{not_clean} are not clean; `corpus verify` names them");
    }
    write::text(&out)?;
    Ok(pile.exit(Exit::Clean))
}

#[derive(Serialize)]
struct Fault {
    file: String,
    what: &'static str,
}

fn verify(pile: &Pile, format: Format) -> Result<Exit, Stop> {
    let mut runner = Runner::default();
    let mut faults = Vec::new();
    for item in &pile.items {
        let mut bare = item.program.clone();
        bare.expects.clear();
        let canonical = !is_text(&item.path)
            || std::str::from_utf8(&item.bytes).is_ok_and(|source| {
                program::text::format(source).is_ok_and(|formatted| formatted == source)
            });
        let what = if bare.steps().next().is_none() {
            "no operation in it"
        } else if Program::decode(&bare.encode()) != bare {
            "not the same as bytes"
        } else if !canonical {
            "not in canonical form"
        } else if !runner.run(&item.program).clean {
            "not clean: `replay` shows what differs"
        } else {
            continue;
        };
        faults.push(Fault { file: item.path.display().to_string(), what });
    }
    if format == Format::Json {
        write::json(&faults)?;
    } else {
        let mut out = String::new();
        for Fault { file, what } in &faults {
            let _ = writeln!(out, "{file}: {what}");
        }
        let _ = writeln!(out, "{} programs, {} faults", pile.items.len(), faults.len());
        write::text(&out)?;
    }
    Ok(pile.exit(if faults.is_empty() { Exit::Clean } else { Exit::Finding }))
}

fn upgrade(paths: &[PathBuf], format: Format) -> Result<Exit, Stop> {
    let mut files = Vec::new();
    paths.iter().for_each(|path| below(path, true, &mut files));
    let (mut upgraded, mut bad) = (0, 0);
    let mut same = 0;
    for path in files.iter().filter(|path| !is_text(path)) {
        let result = fs::read(path).map_err(|error| error.to_string()).and_then(|old| {
            let new = codec::upgrade(&old).map_err(|error| error.to_string())?;
            if new == old {
                return Ok(false);
            }
            write::bytes(path, &new).map(|()| true).map_err(|error| error.to_string())
        });
        match result {
            Ok(true) => upgraded += 1,
            Ok(false) => same += 1,
            Err(error) => {
                eprintln!("error: {}: {error}", path.display());
                bad += 1;
            }
        }
    }
    tell(format, &[("upgraded", upgraded), ("current", same), ("refused", bad)])?;
    Ok(if bad > 0 { Exit::Partial } else { Exit::Clean })
}

/// Writes each distinct program once, in one form, under its hash.
fn convert(
    into: &Into,
    format: Format,
    wanted: impl Fn(&Program) -> bool,
    form: impl Fn(&Program) -> (&'static str, Vec<u8>),
) -> Result<Exit, Stop> {
    let pile = Pile::read(&into.from.paths);
    fs::create_dir_all(&into.into).map_err(|error| write::at(&into.into, error))?;
    let (mut written, mut again, mut others) = (BTreeSet::new(), 0, 0);
    for item in &pile.items {
        let mut program = item.program.clone();
        program.expects.clear();
        let hash = program_hash(&program);
        if program.steps().next().is_none() || !wanted(&program) {
            others += 1;
        } else if written.insert(hash) {
            let (extension, content) = form(&program);
            let path = into.into.join(format!("{hash:016x}")).with_extension(extension);
            write::bytes(&path, &content)?;
        } else {
            again += 1;
        }
    }
    tell(format, &[("written", written.len()), ("repeated", again), ("left out", others)])?;
    Ok(pile.exit(Exit::Clean))
}

/// Copies the programs that have features beyond the known ones, shortest first.
fn keep(into: &Into, known: &BTreeSet<Feature>, format: Format) -> Result<Exit, Stop> {
    let mut pile = Pile::read(&into.from.paths);
    fs::create_dir_all(&into.into).map_err(|error| write::at(&into.into, error))?;
    pile.items.sort_by_key(|item| (item.program.steps().count(), item.bytes.len()));
    let mut runner = Runner::default();
    let (mut known, mut kept) = (known.clone(), 0);
    let before = known.len();
    for item in &pile.items {
        let features = runner.run(&item.program).features;
        if features.is_subset(&known) {
            continue;
        }
        known.extend(features);
        kept += 1;
        let name = item.path.file_name().unwrap_or_default();
        let mut path = into.into.join(name);
        if fs::read(&path).is_ok_and(|there| there != item.bytes) {
            let hash = program_hash(&item.program);
            path = into.into.join(format!("{hash:016x}-{}", name.to_string_lossy()));
        }
        write::bytes(&path, &item.bytes)?;
    }
    let new = known.len() - before;
    tell(format, &[("programs", pile.items.len()), ("kept", kept), ("new features", new)])?;
    Ok(pile.exit(Exit::Clean))
}

fn tell(format: Format, counts: &[(&str, usize)]) -> Result<(), Stop> {
    if format == Format::Json {
        let counts: BTreeMap<String, usize> =
            counts.iter().map(|(what, count)| (what.replace(' ', "_"), *count)).collect();
        return Ok(write::json(&counts)?);
    }
    let list: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    Ok(write::text(&format!("{}\n", list.join(", ")))?)
}
