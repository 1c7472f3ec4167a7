//! What runs in the guest: `live-guest [--seed N] [--steps N] [--execs N] [--for SECONDS]
//! [--planted NAME] [--say] [FILE…]`. `--planted`: with a wrong rule in the reference, which is to be
//! found. `--say`: a number before each program, to see in which the kernel hangs.
//! Exit codes as those of `mm-lockstep`: 0 clean, 1 a finding, 2 usage, 3 failure.

use std::fs::{self, DirEntry};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use live::{Host, Plan, Planted, Stats, run};
use program::{Program, text};

fn main() -> ExitCode {
    match plan().map(|plan| carry_out(&plan)) {
        Ok(code) => ExitCode::from(code),
        Err(mistake) => {
            eprintln!("{mistake}");
            ExitCode::from(2)
        }
    }
}

fn plan() -> Result<Plan, String> {
    let mut plan = Plan { seed: 1, steps: 16, ..Plan::default() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--planted" {
            let name = args.next().unwrap_or_default();
            let planted = Planted::named(&name).ok_or(format!("no rule {name} to plant"))?;
            plan.planted = Some(planted);
            continue;
        }
        let mut number = || -> Result<u64, String> {
            let value = args.next().ok_or(format!("{arg} needs a number"))?;
            value.parse().map_err(|error| format!("{arg} {value}: {error}"))
        };
        match arg.as_str() {
            "--seed" => plan.seed = number()?,
            "--steps" => plan.steps = number()? as usize,
            "--execs" => plan.execs = Some(number()?),
            "--for" => plan.time = Some(Duration::from_secs(number()?)),
            "--say" => {}
            path => programs(Path::new(path), &mut plan.programs)?,
        }
    }
    Ok(plan)
}

/// The program in a file, or those in all files below a folder, in the order of their names.
fn programs(path: &Path, found: &mut Vec<Program>) -> Result<(), String> {
    let says = |error: std::io::Error| format!("{}: {error}", path.display());
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(says)?.collect::<Result<Vec<_>, _>>();
        let mut paths: Vec<_> = entries.map_err(says)?.iter().map(DirEntry::path).collect();
        paths.sort();
        return paths.iter().try_for_each(|path| programs(path, found));
    }
    let source = fs::read_to_string(path).map_err(says)?;
    let parsed = text::parse(&source).map_err(|_| format!("{}: no program", path.display()))?;
    found.push(parsed.program);
    Ok(())
}

fn carry_out(plan: &Plan) -> u8 {
    let host = match Host::new() {
        Ok(host) => host,
        Err(reason) => {
            println!("skipped: {reason}");
            return 3;
        }
    };
    let say = std::env::args().any(|arg| arg == "--say");
    let progress = |stats: &Stats| {
        if say {
            println!("{} programs, {} operations", stats.programs, stats.steps);
        }
    };
    match run(host, plan, progress) {
        Ok(report) => {
            println!("seed {}: {}{:.1} s", plan.seed, report.text(), report.time.as_secs_f64());
            u8::from(report.found.is_some())
        }
        Err(broken) => {
            println!("the witness failed: {broken}");
            3
        }
    }
}
