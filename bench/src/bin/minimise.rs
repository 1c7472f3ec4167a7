//! What minimising makes of random findings: five of each of 20 defects, beside the programs that
//! people wrote for these defects. Prints a table.
//!
//! Arguments: seed, findings of each defect, and `concurrent` for defects whose programs have
//! phases, as many as show so often; default 1 5.

use std::fs;
use std::path::Path;
use std::time::Instant;

use lockstep::{Identity, Lockstep, Options, Verdict};
use optimized::{Defect, Defects, Kind};
use program::{Campaign, Decoder, Program};

const SEQUENTIAL: [&str; 20] = [
    "put-before-unlock",
    "thp-collect-ref-leak",
    "own-pin-blocks-migration",
    "gup-sees-device-private",
    "batch-below-pmd",
    "pin-forgets-pincount",
    "pin-bias-on-large",
    "batch-not-clamped",
    "grab-not-given-back",
    "and-instead-of-or",
    "unpin-stops-at-null",
    "reuse-by-mapcount",
    "fork-copies-for-parent",
    "upgrade-ignores-exclusive",
    "fork-keeps-exclusive",
    "split-keeps-zero-pages",
    "mremap-loses-mapcount",
    "cow-forgets-copy",
    "migration-loses-dirty",
    "fork-leaves-parent-writable",
];
/// Programs enough for them.
const PROGRAMS: u64 = 60_000;
const OPTIONS: Options = Options { paranoid: true };

struct Row {
    name: &'static str,
    steps_before: Vec<usize>,
    steps: Vec<usize>,
    slices: Vec<usize>,
    millis: Vec<f64>,
    kept: usize,
    by_hand: Option<[usize; 2]>,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |usual| args.next().map_or(usual, |arg| arg.parse().unwrap_or(usual));
    let (seed, each) = (number(1), number(5));
    let concurrent = args.next().is_some_and(|arg| arg == "concurrent");
    println!(
        "| defect | findings | operations | made | by hand | preemptions | by hand | ms | kept |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let campaign = Campaign { concurrent: if concurrent { 256 } else { 0 }, ..Campaign::new(seed) };
    let rows: Vec<Row> = match concurrent {
        false => {
            let rows = SEQUENTIAL.iter().map(|name| row(named(name), &campaign, each));
            rows.inspect(tell).collect()
        }
        true => {
            let rows = Defect::ALL.iter().filter(|&&defect| in_phases(defect));
            let rows = rows.map(|&defect| row(defect, &campaign, each));
            let often = rows.filter(|row| row.steps.len() as u64 == each);
            often.inspect(tell).take(SEQUENTIAL.len()).collect()
        }
    };
    let all = |of: fn(&Row) -> &Vec<usize>| median(rows.iter().flat_map(of).copied());
    let count: usize = rows.iter().map(|row| row.steps.len()).sum();
    let kept: usize = rows.iter().map(|row| row.kept).sum();
    println!(
        "| all | {count} | {} | {} | | {} | | {:.0} | {kept} |",
        all(|row| &row.steps_before),
        all(|row| &row.steps),
        all(|row| &row.slices),
        median(rows.iter().flat_map(|row| &row.millis).copied()),
    );
}

fn tell(row: &Row) {
    let [steps, slices] = match row.by_hand {
        Some(counts) => counts.map(|count| count.to_string()),
        None => ["-", "-"].map(str::to_owned),
    };
    println!(
        "| `{}` | {} | {} | {} | {steps} | {} | {slices} | {:.0} | {} |",
        row.name,
        row.steps.len(),
        median(row.steps_before.iter().copied()),
        median(row.steps.iter().copied()),
        median(row.slices.iter().copied()),
        median(row.millis.iter().copied()),
        row.kept
    );
}

fn named(name: &str) -> Defect {
    Defect::find(name).unwrap_or_else(|| panic!("there is no defect {name}"))
}

/// Whether the program of the corpus that was written for the defect has operations beside each
/// other.
fn in_phases(defect: Defect) -> bool {
    let phases = |program: Program| program.phases.iter().any(|phase| phase.steps.len() > 1);
    defect.info().kind == Kind::Defect && program_of(defect).is_some_and(phases)
}

fn row(defect: Defect, campaign: &Campaign, each: u64) -> Row {
    let on = Defects::only(defect);
    let mut row = Row {
        name: defect.info().name,
        steps_before: Vec::new(),
        steps: Vec::new(),
        slices: Vec::new(),
        millis: Vec::new(),
        kept: 0,
        by_hand: by_hand(defect),
    };
    let (mut bytes, mut program, mut decoder) =
        (Vec::new(), Program::default(), Decoder::default());
    let mut lockstep = Lockstep::new(on);
    for index in 0..PROGRAMS {
        if row.steps.len() as u64 == each {
            break;
        }
        campaign.generate(index, &mut bytes);
        decoder.decode(&bytes, &mut program);
        if lockstep.run(&program, &OPTIONS) == Verdict::Clean {
            continue;
        }
        lockstep = Lockstep::new(on);
        let begin = Instant::now();
        let Some(identity) = Identity::of(on, &program, &OPTIONS) else { continue };
        row.millis.push(begin.elapsed().as_secs_f64() * 1e3);
        let again = Identity::of(on, &identity.minimal, &OPTIONS);
        row.kept += usize::from(again.is_some_and(|again| again.signature == identity.signature));
        row.steps_before.push(program.steps().count());
        row.steps.push(identity.minimal.steps().count());
        row.slices.push(slices(&identity.minimal));
    }
    row
}

fn program_of(defect: Defect) -> Option<Program> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    fs::read_to_string(corpus.join(defect.info().corpus)).ok()?.parse().ok()
}

/// Operations and preemptions of the program of the corpus that was written for the defect.
fn by_hand(defect: Defect) -> Option<[usize; 2]> {
    let program = program_of(defect)?;
    Some([program.steps().count(), slices(&program)])
}

fn slices(program: &Program) -> usize {
    program.schedule.slices.len() + program.schedule.cycle.len()
}

fn median<T: PartialOrd + Copy + Default>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len() / 2).copied().unwrap_or_default()
}
