//! What minimising makes of random findings: five of each of 20 defects, beside the programs that
//! people wrote for these defects. Prints a table.
//!
//! Arguments: seed, findings of each defect; default 1 5.

use std::fs;
use std::path::Path;
use std::time::Instant;

use lockstep::{Identity, Lockstep, Options, Verdict};
use optimized::{Defect, Defects};
use program::{Campaign, Decoder, Program};

const DEFECTS: [&str; 20] = [
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
const PROGRAMS: u64 = 400_000;
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
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().unwrap_or(1));
    let (seed, each) = (args.next().unwrap_or(1), args.next().unwrap_or(5));
    println!(
        "| defect | findings | operations | made | by hand | preemptions | by hand | ms | kept |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let rows: Vec<Row> = DEFECTS.iter().map(|name| row(name, seed, each)).collect();
    rows.iter().for_each(tell);
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

fn row(name: &'static str, seed: u64, each: u64) -> Row {
    let Some(defect) = Defect::find(name) else { panic!("there is no defect {name}") };
    let on = Defects::only(defect);
    let mut row = Row {
        name,
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
        Campaign::new(seed).generate(index, &mut bytes);
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

/// Operations and preemptions of the program of the corpus that was written for the defect.
fn by_hand(defect: Defect) -> Option<[usize; 2]> {
    let info = defect.info();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/defects");
    let text = fs::read_to_string(folder.join(format!("{}-{}.txt", info.id, info.name))).ok()?;
    let program = text.parse::<Program>().ok()?;
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
