//! What `hunt` would make a second of the programs that an engine makes: those of a corpus,
//! mutated as engines mutate them, decoded and run in process. `scripts/engine-rates.sh` puts the
//! engine's own rate beside it.
//!
//! Prints executions a second of CPU time, of decoding alone and of lockstep.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bench::Programs;
use program::{Family, Mutator, SplitMix64};

const PROGRAMS: usize = 50_000;
/// As `-max_len` of the engines.
const MAX: usize = 1024;

fn files(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<PathBuf> = entries.iter().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(std::fs::read).collect()
}

/// Seven children in eight of single inputs, one of two: as libFuzzer's own choice comes out.
fn children(corpus: &[Vec<u8>], family: Family) -> Programs {
    let mut mutator = Mutator::new(family);
    let mut rng = SplitMix64::new(1);
    let pick = |rng: &mut SplitMix64| &corpus[rng.below(corpus.len() as u64) as usize];
    Programs::new((0..PROGRAMS).map(|_| {
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

/// Nanoseconds that this process has had a CPU; `None` where the kernel does not say.
fn cpu_time() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    told.split(' ').next()?.parse().ok()
}

/// Executions a second of CPU time.
fn rate(work: impl FnOnce()) -> Option<f64> {
    let start = cpu_time()?;
    work();
    Some(PROGRAMS as f64 * 1e9 / (cpu_time()? - start) as f64)
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(name), Some(folder)) = (args.next(), args.next()) else {
        eprintln!("usage: engines FAMILY CORPUS");
        return ExitCode::from(2);
    };
    let Some(family) = Family::find(&name) else {
        eprintln!("error: there is no family {name}");
        return ExitCode::from(2);
    };
    let corpus = match files(Path::new(&folder)) {
        Ok(files) if !files.is_empty() => files,
        Ok(_) => {
            eprintln!("error: no inputs in {folder}");
            return ExitCode::from(3);
        }
        Err(error) => {
            eprintln!("error: cannot read {folder}: {error}");
            return ExitCode::from(3);
        }
    };
    let programs = children(&corpus, family);
    let decode = rate(|| {
        std::hint::black_box(programs.decode_all());
    });
    let lockstep = rate(|| assert_eq!(programs.lockstep_all(), PROGRAMS, "one is not clean"));
    let (Some(decode), Some(lockstep)) = (decode, lockstep) else {
        eprintln!("error: /proc/self/schedstat does not tell CPU time");
        return ExitCode::from(3);
    };
    println!("{decode:.0} {lockstep:.0}");
    ExitCode::SUCCESS
}
