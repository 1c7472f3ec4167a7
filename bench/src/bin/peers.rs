//! Other tools on the same bugs, side by side, in Markdown. `peers [SEEDS]`; times are CPU times.
//!
//! First the defects that one thread shows, under proptest-state-machine and as `hunt` does it; then
//! three concurrent ones made small, under the schedulers of shuttle and the strategies of `machine`.

use bench::detect::{Detected, by_hunt, by_peer, own_time};
use bench::race::{Race, ours, shuttles};
use machine::{Pct, Pos, RandomWalk, ReadsFrom, Strategy};
use optimized::{Defect, Kind};

/// Executions after which a defect counts as not found.
const MOST: u32 = 30_000;
/// The same for the small races.
const RACES: u32 = 100_000;
const RACE_SEEDS: u64 = 51;

const SEQUENTIAL: &str = "\
## Under proptest-state-machine

The defects that one thread shows, hunted with sequential programs of 16 steps: by `hunt`'s generator, judge and minimiser,
and on the same two sides by proptest-state-machine 0.9, whose transitions are records of the same byte form, with its own
generation and shrinking (`bench/src/detect.rs`). Medians over the seeds that are named; CPU time of one thread.
";
const RACE: &str = "
## Under shuttle

Three concurrent defects made small, statement by statement the same on the primitives of `machine` and on those of
shuttle 0.9 (`bench/src/race`): executions until the bug shows, the median of 51 seeds, and CPU time.
";

fn main() -> Result<(), std::num::ParseIntError> {
    let seeds = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;
    println!("{SEQUENTIAL}");
    sequential(seeds);
    println!("{RACE}");
    races();
    Ok(())
}

/// The lower median, where what was not found comes last.
fn median<T: Ord>(mut values: Vec<T>) -> Option<T> {
    values.sort();
    let at = values.len().saturating_sub(1) / 2;
    values.into_iter().nth(at)
}

/// Medians of one way.
struct Medians {
    found: usize,
    execs: Option<u64>,
    time: Option<u64>,
    steps: Option<usize>,
    shrinking: Option<u64>,
}

fn medians(all: &[Option<Detected>]) -> Medians {
    let found: Vec<&Detected> = all.iter().flatten().collect();
    let most = found.len() * 2 > all.len();
    let of = |field: fn(&Detected) -> u64| {
        let values = all.iter().map(|one| one.as_ref().map_or(u64::MAX, field)).collect();
        median(values).filter(|_| most)
    };
    Medians {
        found: found.len(),
        execs: of(|found| found.execs),
        time: of(|found| found.time),
        steps: median(found.iter().map(|found| found.steps).collect()),
        shrinking: of(|found| found.shrinking),
    }
}

fn number<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn millis(nanos: Option<u64>) -> String {
    nanos.map_or("-".to_owned(), |nanos| format!("{:.1}", nanos as f64 / 1e6))
}

fn ratio(peer: Option<u64>, ours: Option<u64>) -> Option<f64> {
    Some(peer? as f64 / ours?.max(1) as f64)
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1}"))
}

/// Those of the catalogue whose corpus program has no phase and no speculation.
fn sequential_defects() -> impl Iterator<Item = Defect> {
    let one_thread = |defect: &Defect| {
        let corpus = format!("{}/../corpus/{}", env!("CARGO_MANIFEST_DIR"), defect.info().corpus);
        let text = std::fs::read_to_string(corpus).unwrap_or_default();
        !text
            .lines()
            .map(str::trim_start)
            .any(|line| line.starts_with("phase:") || line.contains("faults=spf"))
    };
    let all = Defect::ALL.iter().copied();
    all.filter(|defect| defect.info().kind == Kind::Defect).filter(one_thread)
}

fn sequential(seeds: u64) {
    println!(
        "| defect | found: hunt | executions | ms | steps | ms to make it small | found: proptest-state-machine | executions | ms | steps | ms to shrink | ratio of executions | ratio of time |"
    );
    println!("|{}", "---|".repeat(13));
    let (mut fewer, mut faster, mut missed) = (Vec::new(), Vec::new(), 0);
    let mut steps = [Vec::new(), Vec::new()];
    for defect in sequential_defects() {
        let hunt: Vec<_> = (1..=seeds).map(|seed| by_hunt(defect, seed, MOST.into())).collect();
        let peer: Vec<_> = (1..=seeds).map(|seed| by_peer(defect, seed, MOST)).collect();
        let (hunt, peer) = (medians(&hunt), medians(&peer));
        let (execs, time) = (ratio(peer.execs, hunt.execs), ratio(peer.time, hunt.time));
        let side = |side: &Medians| {
            let Medians { found, execs, time, steps, shrinking } = side;
            let (execs, steps) = (number(*execs), number(*steps));
            format!(
                "{found}/{seeds} | {execs} | {} | {steps} | {}",
                millis(*time),
                millis(*shrinking)
            )
        };
        let (name, ours, theirs) = (defect.info().name, side(&hunt), side(&peer));
        println!("| {name} | {ours} | {theirs} | {} | {} |", times(execs), times(time));
        missed += usize::from(hunt.execs.is_some() && peer.execs.is_none());
        fewer.extend(execs);
        faster.extend(time);
        if let (Some(ours), Some(theirs)) = (hunt.steps, peer.steps) {
            steps[0].push(ours);
            steps[1].push(theirs);
        }
    }
    let middle = |mut ratios: Vec<f64>| {
        ratios.sort_by(f64::total_cmp);
        times(ratios.get(ratios.len() / 2).copied())
    };
    let [ours, theirs] = steps.map(|steps| number(median(steps)));
    println!(
        "\nOf those that both find proptest-state-machine takes {} times the executions and {} times the time \
         (medians); it is left with {theirs} steps, hunt with {ours}. It misses {missed} that hunt finds in {MOST} executions.",
        middle(fewer),
        middle(faster),
    );
}

/// Median executions, and nanoseconds of all runs by the executions of all.
fn race(run: impl Fn(u64) -> Option<u32>) -> (Option<u32>, f64) {
    let start = own_time();
    let first: Vec<Option<u32>> = (0..RACE_SEEDS).map(run).collect();
    let time = own_time() - start;
    let all: u64 = first.iter().map(|first| u64::from(first.unwrap_or(RACES))).sum();
    let middle = median(first.into_iter().map(|first| first.unwrap_or(u32::MAX)).collect());
    (middle.filter(|&execs| execs != u32::MAX), time as f64 / all as f64)
}

fn by<S: Strategy>(of: Race, strategy: impl Fn(u64) -> S) -> (Option<u32>, f64) {
    race(|seed| ours::first(of, true, &mut strategy(seed), RACES))
}

fn races() {
    println!(
        "| defect | scheduler | executions | ns an execution | µs to the bug | against shuttle's random scheduler: executions | time |"
    );
    println!("|{}", "---|".repeat(7));
    for of in Race::ALL {
        let rows = [
            ("shuttle, random", race(|seed| shuttles::random(of, true, seed, RACES))),
            ("shuttle, PCT (depth 2)", race(|seed| shuttles::pct(of, true, seed, 2, RACES))),
            ("shuttle, PCT (depth 3)", race(|seed| shuttles::pct(of, true, seed, 3, RACES))),
            ("machine, random walk", by(of, RandomWalk::new)),
            ("machine, PCT (depth 2)", by(of, |seed| Pct::new(seed, 2))),
            ("machine, PCT (depth 3)", by(of, |seed| Pct::new(seed, 3))),
            ("machine, POS", by(of, Pos::new)),
            ("machine, reads-from", by(of, ReadsFrom::new)),
        ];
        let (base, first) = rows[0].1;
        let base = base.map(|execs| (f64::from(execs), f64::from(execs) * first));
        for (name, (execs, each)) in rows {
            let own = execs.map(|execs| (f64::from(execs), f64::from(execs) * each));
            let both = own.zip(base);
            println!(
                "| {} | {name} | {} | {each:.0} | {} | {} | {} |",
                of.defect(),
                number(execs),
                own.map_or("-".to_owned(), |(_, time)| format!("{:.0}", time / 1e3)),
                times(both.map(|((execs, _), (base, _))| base / execs)),
                times(both.map(|((_, time), (_, base))| base / time)),
            );
        }
    }
}
