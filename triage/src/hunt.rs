//! `hunt`: the main job.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lockstep::{Options, Stats};
use optimized::Path;
use program::Campaign;
use serde::Serialize;

use crate::campaign::{self, Plan};
use crate::cli::{self, Format, HuntArgs};
use crate::exit::{Exit, Stop};
use crate::finding::{self, Finding};
use crate::log::Log;
use crate::{progress, stop, summary, write};

/// How long to hunt when nothing else is said.
const USUAL_TIME: Duration = Duration::from_secs(30);
/// How many programs a smoke run has.
const SMOKE_EXECS: u64 = 200_000;

#[derive(Serialize)]
struct Json {
    schema_version: u32,
    seed: u64,
    steps: usize,
    defects: Vec<&'static str>,
    #[serde(flatten)]
    summary: summary::Json,
    findings: Vec<finding::Json>,
    floors: Vec<String>,
}

/// Runs the command.
pub fn run(args: &HuntArgs) -> Result<Exit, Stop> {
    if let Err(error) = write::probe(&args.findings) {
        let folder = args.findings.display();
        return Err(Stop::Usage(format!(
            "error: findings cannot be written to {folder}: {error}\n  hint: `--findings DIR` names \
             another folder"
        )));
    }
    let plan = plan(args);
    let stop = stop::flag();
    let bar = progress::bar(plan.execs, "programs");
    let start = Instant::now();
    let log = Log::new(args.log.clone());
    let report = campaign::run(&plan, &stop, |stats| {
        log.note(stats);
        // Of the executions so far; those of unfinished chunks are missing.
        if !bar.is_hidden() && bar.position() != stats.programs {
            bar.set_position(stats.programs);
            bar.set_message(format!(
                "{} executions/s, {} ops, {}/{} paths, {:.0}% accepted",
                summary::group(rate(stats.programs, start.elapsed())),
                summary::group(stats.steps),
                stats.paths_taken(),
                Path::ALL.len(),
                100.0 * stats.acceptance()
            ));
        }
    });
    let elapsed = start.elapsed();
    bar.finish_and_clear();
    pace(&report.stats, elapsed);
    let logged = log.finish(&report.stats);

    let mut findings = Vec::new();
    let mut lost = 0;
    let patience = stop::Patience::new(&stop);
    let small = progress::bar(Some(report.findings.len() as u64), "findings made small");
    small.set_message("(Ctrl-C: small enough)");
    small.enable_steady_tick(Duration::from_millis(250));
    for found in report.findings {
        let (index, class) = (found.index, found.symptom.class.clone());
        match finding::minimised(found, &plan, || patience.over()) {
            Some(finding) => findings.push(finding),
            None => {
                lost += 1;
                eprintln!(
                    "execution {index} of seed {} showed {class}, but not when run again alone",
                    plan.campaign.seed
                );
            }
        }
        small.inc(1);
    }
    small.finish_and_clear();
    if patience.over() {
        eprintln!("stopped: not every program is as small as it gets, see `mm-lockstep minimise`");
    }
    let floors = if args.smoke { summary::shortfalls(&report.stats) } else { Vec::new() };
    let exit = if !findings.is_empty() || !floors.is_empty() {
        Exit::Finding
    } else if lost > 0 {
        Exit::NotReproducible
    } else if stop.load(Ordering::Relaxed) {
        Exit::Interrupted
    } else {
        Exit::Clean
    };
    let told = tell(args, &plan, &report.stats, &findings, &floors, exit);
    logged.map_err(Stop::Output)?;
    told
}

fn plan(args: &HuntArgs) -> Plan {
    let execs = args.execs.or(args.smoke.then_some(SMOKE_EXECS).filter(|_| args.time.is_none()));
    Plan {
        campaign: Campaign {
            steps: args.steps.into(),
            concurrent: 128,
            ..Campaign::new(args.seed)
        },
        family: args.family,
        strategy: args.strategy,
        execs,
        time: args.time.or(if execs.is_none() { Some(USUAL_TIME) } else { None }),
        threads: args.threads.map_or_else(cli::cores, usize::from),
        defects: args.defects.set(),
        keep_going: args.keep_going,
        options: Options { paranoid: args.paranoid || Options::default().paranoid },
    }
}

fn rate(count: u64, time: Duration) -> u64 {
    (count as f64 / time.as_secs_f64().max(1e-9)) as u64
}

fn pace(stats: &Stats, elapsed: Duration) {
    eprintln!(
        "{:.1} s, {} executions/s, {} operations/s",
        elapsed.as_secs_f64(),
        summary::group(rate(stats.programs, elapsed)),
        summary::group(rate(stats.steps, elapsed)),
    );
}

fn tell(
    args: &HuntArgs,
    plan: &Plan,
    stats: &Stats,
    findings: &[Finding],
    floors: &[String],
    exit: Exit,
) -> Result<Exit, Stop> {
    let (mut files, mut unsaved) = (Vec::new(), Ok(exit));
    for finding in findings {
        let saved = finding.save(&args.findings, plan);
        files.push(saved.map_err(|error| unsaved = Err(Stop::Output(error))).ok());
    }
    if args.format == Format::Json {
        let findings =
            findings.iter().zip(&files).map(|(finding, file)| finding.json(file.as_deref(), plan));
        write::json(&Json {
            schema_version: 1,
            seed: plan.campaign.seed,
            steps: plan.campaign.steps,
            defects: finding::on(plan.defects).map(|defect| defect.info().name).collect(),
            summary: summary::json(stats),
            findings: findings.collect(),
            floors: floors.to_vec(),
        })?;
        return unsaved;
    }
    // Beside a finding the tables are only in the way; `--format json` has them always.
    let mut out = if findings.is_empty() { summary::tables(stats) } else { String::new() };
    out.push_str(&summary::text(stats, plan.campaign.seed));
    for (finding, file) in findings.iter().zip(&files) {
        let _ = write!(out, "\n{}", finding.tell(file.as_deref(), plan));
    }
    for floor in floors {
        let _ = writeln!(out, "floor not reached: {floor}");
    }
    let verdict = match (exit, findings.len(), floors.len()) {
        (Exit::Clean, ..) => "clean: both sides agreed after every operation".to_owned(),
        (Exit::Interrupted, ..) => "interrupted: both sides agreed so far".to_owned(),
        (Exit::NotReproducible, ..) => "a finding did not show itself again".to_owned(),
        (Exit::Finding | Exit::Partial, 0, floors) => format!("{floors} floors not reached"),
        (Exit::Finding | Exit::Partial, 1, _) => "1 finding".to_owned(),
        (Exit::Finding | Exit::Partial, findings, _) => format!("{findings} kinds of finding"),
    };
    let _ = writeln!(out, "{verdict}");
    write::text(&out)?;
    unsaved
}
