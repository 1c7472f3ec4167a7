//! Development only: the mutation score (docs/mutants.md). `scripts/mutants.sh` runs this.
//!
//! cargo-mutants says what to change, but builds anew for each of thousands of changes. Here one build
//! holds them all, each behind a switch that the environment sets, and the default hunt judges each.

mod copy;
mod list;
mod report;
mod rewrite;
mod site;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::{env, fs, thread};

use optimized::Variant;

use copy::{Copy, Outcome};
use list::Mutant;
use trial::{Campaign, Fate};

const USAGE: &str = "usage: mutants LIST FOLDER REASONS REPORT
  LIST     what `cargo mutants --list --json` printed
  FOLDER   the copy of the workspace, and results.json: what it has is not judged again
  REASONS  why survivors survive, a line each
  REPORT   Markdown, written anew
EXECS=20000  executions a mutant    LIMIT=10  seconds of CPU time after which it is taken for endless
THREADS=2                           AGAIN=1   judge again what was not caught
REPORT=1     only write the report";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [list, folder, reasons, report] = args.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(list, Path::new(folder), reasons, report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number(name: &str, usual: u64) -> Outcome<u64> {
    Ok(env::var(name).map_or(Ok(usual), |text| text.parse())?)
}

fn run(list: &str, folder: &Path, reasons: &str, report: &str) -> Outcome<()> {
    let mutants: Vec<Mutant> = serde_json::from_str(&fs::read_to_string(list)?)?;
    let kept = folder.join("results.json");
    let mut fates: BTreeMap<String, Fate> = match fs::read_to_string(&kept) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => BTreeMap::new(),
    };
    let known: BTreeSet<&String> = mutants.iter().map(|mutant| &mutant.name).collect();
    let again = env::var_os("AGAIN").is_some();
    let lasts = |fate: &Fate| !again || !matches!(fate, Fate::Survived | Fate::Unreached);
    fates.retain(|name, fate| known.contains(name) && lasts(fate));

    let execs = number("EXECS", 20_000)?;
    let tell = env::var_os("REPORT").is_some();
    if !tell && mutants.iter().any(|mutant| !fates.contains_key(&mutant.name)) {
        let campaign = build(&mutants, &mut fates, folder, execs)?;
        judge(&campaign, &mutants, &mut fates, &kept)?;
    }
    let reasons = fs::read_to_string(reasons).unwrap_or_default();
    fs::write(report, report::markdown(&mutants, &fates, &reasons, execs))?;
    Ok(())
}

/// Builds the campaign with all mutants; settles the fates of those that it cannot or need not switch.
fn build(
    mutants: &[Mutant],
    fates: &mut BTreeMap<String, Fate>,
    folder: &Path,
    execs: u64,
) -> Outcome<Campaign> {
    let viable = |(_, mutant): &(usize, &Mutant)| fates.get(&mutant.name) != Some(&Fate::Unviable);
    let workspace = env::current_dir()?;
    let numbered = mutants.iter().enumerate();
    let mut copy = Copy::of(&workspace, folder.join("workspace"), numbered.filter(viable))?;
    copy.settle(&workspace)?;
    let (mut switched, mut planted) = (BTreeSet::new(), BTreeSet::new());
    for site in copy.sites() {
        (if site.planted { &mut planted } else { &mut switched }).insert(site.id);
    }
    for (id, mutant) in mutants.iter().enumerate() {
        if planted.contains(&id) {
            fates.insert(mutant.name.clone(), Fate::Planted);
        } else if !switched.contains(&id) {
            fates.insert(mutant.name.clone(), Fate::Unviable);
        }
    }
    let [program, corpus] = copy.build()?;
    Ok(Campaign { program, corpus, execs, limit: number("LIMIT", 10)? })
}

fn write(file: &Path, fates: &BTreeMap<String, Fate>) -> Outcome<()> {
    Ok(fs::write(file, serde_json::to_string_pretty(fates)?)?)
}

/// Judges all that have no fate yet: by the usual hunt, or, where that does not come by, by the same
/// under each variant that is silent without a mutant.
fn judge(
    campaign: &Campaign,
    mutants: &[Mutant],
    fates: &mut BTreeMap<String, Fate>,
    kept: &Path,
) -> Outcome<()> {
    if campaign.corpus_shows(None)? {
        return Err("without a mutant a program of the corpus fails".into());
    }
    let mut ways = vec![(None, campaign.reached(None)?)];
    for variant in Variant::ALL {
        let name = variant.info().name;
        match campaign.reached(Some(name)) {
            Ok(reached) => ways.push((Some(name), reached)),
            Err(error) => eprintln!("{name} is left out: {error}"),
        }
    }
    let mut open: Vec<(usize, &Mutant)> = mutants.iter().enumerate().collect();
    open.retain(|(_, mutant)| !fates.contains_key(&mutant.name));
    open.sort_by_key(|(_, mutant)| mutant.lot());
    let queue = Mutex::new(open.into_iter());
    let (fates, failed) = (Mutex::new(fates), Mutex::new(None));
    let work = || -> Outcome<()> {
        loop {
            let Some((id, mutant)) = queue.lock().map_err(|_| "a thread failed")?.next() else {
                return Ok(());
            };
            let fate = fate(campaign, &ways, id)?;
            let mut fates = fates.lock().map_err(|_| "a thread failed")?;
            eprintln!("{} {}: {fate:?}", fates.len(), mutant.name);
            fates.insert(mutant.name.clone(), fate);
            if fates.len().is_multiple_of(64) {
                write(kept, &fates)?;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..number("THREADS", 2).unwrap_or(1) {
            scope.spawn(|| {
                if let Err(error) = work()
                    && let Ok(mut failed) = failed.lock()
                {
                    *failed = Some(error.to_string());
                }
            });
        }
    });
    let fates = fates.into_inner().map_err(|_| "a thread failed")?;
    write(kept, fates)?;
    match failed.into_inner().map_err(|_| "a thread failed")? {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// A way that the hunt goes: a variant, and the mutants that it reaches.
type Way = (Option<&'static str>, BTreeSet<usize>);

fn fate(campaign: &Campaign, ways: &[Way], id: usize) -> Outcome<Fate> {
    let mut last = Fate::Unreached;
    for (variant, _) in ways.iter().filter(|(_, reached)| reached.contains(&id)) {
        last = campaign.judge(id, *variant)?;
        // Variants are for what the usual version does not do.
        if last != Fate::Survived || variant.is_none() {
            break;
        }
    }
    match last {
        Fate::Survived | Fate::Unreached if campaign.corpus_shows(Some(id))? => {
            Ok(Fate::CaughtByCorpus)
        }
        last => Ok(last),
    }
}
