//! Executions of each fuzz target a second under libFuzzer, beside what the same programs make in
//! process, and beside decoding alone under the same instrumentation. `scripts/engine-rates.sh`
//! builds the targets and runs this.
//!
//! Everything is by CPU time, and builds take turns. The programs of a target are children of one
//! corpus: libFuzzer mutates its inputs, and so does this with the same mutations.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bench::Programs;
use program::{Family, Mutator, SplitMix64};

/// As `-max_len`: 16 records and the header, as programs of the hunt.
const MAX: usize = 208;
/// The kernel's clock ticks a second, as it shows them to programs.
const TICKS: f64 = 100.0;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A folder of targets built in one way.
struct Build {
    name: String,
    folder: PathBuf,
}

impl Build {
    /// Runs a target that begins with so many inputs; returns executions a second of CPU time.
    fn run(&self, target: &str, seeds: usize, args: &[String]) -> Outcome<f64> {
        let before = children_time()?;
        let output = Command::new(self.folder.join(target))
            .args(["-seed=1", "-print_final_stats=1", &format!("-max_len={MAX}")])
            .args(args)
            // And the empty one, which libFuzzer tries first.
            .env("MM_LOCKSTEP_DECODE_SEEDS", (seeds + 1).to_string())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{}: {error}", self.folder.join(target).display()))?;
        let time = children_time()? - before;
        let told = String::from_utf8_lossy(&output.stderr);
        let done =
            told.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        match done.map(|count| count.trim().parse::<f64>()) {
            Some(Ok(done)) if output.status.success() => Ok(done / time),
            _ => Err(format!("{} of {}: {told}", target, self.name).into()),
        }
    }
}

/// Seconds of CPU time of the processes that were waited for.
fn children_time() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name, in parentheses, may hold blanks.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let times: Vec<f64> = fields.skip(13).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(times.iter().sum::<f64>() / TICKS)
}

/// Nanoseconds that this process has had a CPU.
fn own_time() -> Outcome<u64> {
    let told = fs::read_to_string("/proc/self/schedstat")?;
    Ok(told.split(' ').next().unwrap_or_default().parse()?)
}

/// Children of the inputs: seven in eight of a single one, the others of two.
fn children(corpus: &[Vec<u8>], family: Family, count: usize) -> Programs {
    let mut mutator = Mutator::new(family);
    let mut rng = SplitMix64::new(1);
    let pick = |rng: &mut SplitMix64| &corpus[rng.below(corpus.len() as u64) as usize];
    Programs::new((0..count).map(|_| {
        let mut bytes = pick(&mut rng).clone();
        if rng.below(8) == 0 {
            let (head, tail) = (bytes, pick(&mut rng));
            bytes = Vec::new();
            mutator.cross(&head, tail, MAX, rng.next_u64(), &mut bytes);
        } else {
            mutator.mutate(&mut bytes, MAX, rng.next_u64());
        }
        bytes
    }))
}

/// Executions a second of CPU time in this process.
fn in_process(programs: &Programs, count: usize) -> Outcome<f64> {
    let start = own_time()?;
    if programs.lockstep_all() != count {
        return Err("a program is not clean".into());
    }
    Ok(count as f64 * 1e9 / (own_time()? - start) as f64)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// The inputs that a target keeps of so many executions, written to a folder.
fn corpus(build: &Build, target: &str, runs: usize, folder: &Path) -> Outcome<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    build.run(target, 0, &[format!("-runs={runs}"), folder.display().to_string()])?;
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<PathBuf> = entries.iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn measure(
    family: Family,
    runs: usize,
    repeats: usize,
    builds: &[Build],
    work: &Path,
) -> Outcome<()> {
    let paths = corpus(&builds[0], family.name, runs, &work.join(family.name))?;
    let inputs = paths.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    let programs = children(&inputs, family, runs);
    // In memory: a folder would be written to, and the next repeat would begin with more.
    let list = work.join("list");
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    fs::write(&list, names.join(","))?;
    let args = [
        format!("-runs={runs}"),
        "-keep_seed=1".to_owned(),
        format!("-seed_inputs=@{}", list.display()),
    ];

    let mut alone = Vec::new();
    let mut rates = vec![(Vec::new(), Vec::new()); builds.len()];
    for _ in 0..repeats {
        alone.push(in_process(&programs, runs)?);
        for (build, (target, decode)) in builds.iter().zip(&mut rates) {
            target.push(build.run(family.name, paths.len(), &args)?);
            decode.push(build.run("decode", paths.len(), &args)?);
        }
    }
    let alone = median(alone);
    print!("| `{}` | {alone:.0} |", family.name);
    for (target, decode) in rates {
        let (target, decode) = (median(target), median(decode));
        let share = |of: f64| 100.0 * target / of;
        print!(" {target:.0} | {:.0}% | {decode:.0} | {:.0}% |", share(alone), share(decode));
    }
    println!();
    Ok(())
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: engines RUNS REPEATS BUILD=FOLDER...";
    let [runs, repeats, builds @ ..] = args.as_slice() else { return Err(usage.into()) };
    let (runs, repeats) = (runs.parse()?, repeats.parse()?);
    let build = |arg: &String| {
        let (name, folder) = arg.split_once('=')?;
        Some(Build { name: name.to_owned(), folder: folder.into() })
    };
    let builds: Vec<Build> = builds.iter().map(build).collect::<Option<_>>().ok_or(usage)?;
    if builds.is_empty() || repeats == 0 {
        return Err(usage.into());
    }
    let work = std::env::temp_dir().join(format!("engines-{}", std::process::id()));
    print!("| target | in process |");
    for Build { name, .. } in &builds {
        print!(" {name} | of in process | {name}, decoding alone | of decoding alone |");
    }
    println!("\n|---|---|{}", "---|---|---|---|".repeat(builds.len()));
    let result = Family::ALL
        .into_iter()
        .try_for_each(|family| measure(family, runs, repeats, &builds, &work));
    fs::remove_dir_all(&work)?;
    result
}
