//! `live`: the reference beside a running Linux.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use live::{Host, Plan, Witness, run as compare};
use lockstep::program_hash;
use program::Program;
use reference::Kernel;

use crate::exit::{Exit, Stop};
use crate::{guest, input, write};

/// How long to compare when nothing else is said.
const USUAL_TIME: Duration = Duration::from_secs(30);

/// Arguments of `live`.
#[derive(Debug, Args)]
pub struct LiveArgs {
    /// Run these programs, as they are and blown up to the kernel's tables, instead of random ones
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where the programs come from: the same seed gives the same programs
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Stop after this time, e.g. 60s, 10m [default: 30s unless --execs is given]
    #[arg(long = "for", value_name = "TIME", value_parser = crate::cli::time)]
    pub time: Option<Duration>,
    /// Stop after this many programs
    #[arg(long, value_name = "N", value_parser = crate::cli::count)]
    pub execs: Option<u64>,
    /// Steps a program
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub steps: u16,
    /// The Linux that the reference is, e.g. 6.12 [default: the running one]
    #[arg(long, value_name = "VERSION", value_parser = kernel)]
    pub kernel: Option<Kernel>,
    /// Ask a kernel of the project's own in QEMU, which shows more (see live/guest/README.md)
    #[arg(long)]
    pub guest: bool,
    /// Where findings are written
    #[arg(long, value_name = "DIR", default_value = "findings")]
    pub findings: PathBuf,
}

fn kernel(text: &str) -> Result<Kernel, String> {
    Kernel::parse(text).ok_or_else(|| "a version such as 6.12".to_owned())
}

/// Runs the command.
pub fn run(args: &LiveArgs) -> Result<Exit, Stop> {
    let time = args.time.or(if args.execs.is_none() { Some(USUAL_TIME) } else { None });
    if args.guest {
        return guest::run(args, time);
    }
    let host = match Host::new() {
        Ok(host) => host,
        Err(reason) => {
            write::text(&format!("skipped: {reason}\n"))?;
            return Ok(Exit::Clean);
        }
    };
    let (major, minor) = host.kernel().release();
    let plan = Plan {
        seed: args.seed,
        steps: args.steps.into(),
        execs: args.execs,
        time,
        programs: programs(args)?,
        kernel: args.kernel,
        planted: None,
    };
    let (start, terminal) = (Instant::now(), std::io::stderr().is_terminal());
    let report = compare(host, &plan, |stats| {
        if terminal && stats.programs % 500 == 0 {
            let (seconds, steps) = (start.elapsed().as_secs_f64(), stats.steps);
            eprint!("\r{seconds:.0} s, {} programs, {steps} operations ", stats.programs);
        }
    });
    let report = report.map_err(|e| Stop::Input(format!("error: the witness failed: {e}")))?;
    eprintln!("{:.1} s", report.time.as_secs_f64());
    let mut out = format!("Linux {major}.{minor}, seed {}: {}", args.seed, report.text());
    let Some(found) = report.found else {
        out.push_str("clean: the reference and the kernel agreed after every operation\n");
        write::text(&out)?;
        return Ok(Exit::Clean);
    };
    let (class, hash) = (found.finding.class, program_hash(&found.program) as u32);
    let path = args.findings.join(format!("live-{class}-{hash:08x}.txt"));
    std::fs::create_dir_all(&args.findings).map_err(|error| write::at(&args.findings, error))?;
    let head = format!("# {class} differs on Linux {major}.{minor}\n");
    write::file(&path, &format!("{head}{}", found.program))?;
    write::text(&format!("{out}written to {}\n", path.display()))?;
    Ok(if found.steady { Exit::Finding } else { Exit::NotReproducible })
}

fn programs(args: &LiveArgs) -> Result<Vec<Program>, Stop> {
    let load = |file: Result<PathBuf, Stop>| Ok(input::load(&file?, false)?.program);
    input::files(&args.files).into_iter().map(load).collect()
}
