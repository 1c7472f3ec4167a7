//! `explore`: one program under every schedule of its phases, within a bound.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use lockstep::{Options, Scheduler};
use optimized::Defects;
use program::{Program, Schedule};
use serde::Serialize;

use crate::cli::{ExploreArgs, Format};
use crate::exit::{Exit, Stop};
use crate::finding::{self, headline};
use crate::judge::{Judge, Trouble};
use crate::{input, progress, stop, summary, write};

#[derive(Serialize)]
struct Json {
    schema_version: u32,
    file: String,
    /// Whether every schedule within the bound was run, or none has more preemptions.
    complete: bool,
    bounds: Vec<Bound>,
    finding: Option<Finding>,
}

/// What was done with at most so many preemptions.
#[derive(Clone, Copy, Debug, Serialize)]
struct Bound {
    preemptions: u32,
    schedules: u64,
    redundant: u64,
    distinct: u64,
}

#[derive(Serialize)]
struct Finding {
    class: String,
    preemptions: u32,
    program: String,
    file: Option<String>,
}

/// How exploring ended.
enum End {
    /// There is no other schedule.
    Complete,
    /// At the limit, or because somebody wished so.
    Cut,
    /// A schedule that shows something.
    Found(Box<Trouble>, Schedule),
}

/// Runs the command.
pub fn run(args: &ExploreArgs) -> Result<Exit, Stop> {
    let (program, defects) = args.program.load()?;
    let mut judge = Judge::new(defects, Options::default());
    let stop = stop::flag();
    let (bounds, end) = explore(&program, args, &mut judge, &stop);
    let complete = matches!(end, End::Complete);
    let (exit, found) = match end {
        End::Complete => (Exit::Clean, None),
        End::Cut if stop.load(Ordering::Relaxed) => (Exit::Interrupted, None),
        End::Cut => (Exit::Clean, None),
        End::Found(trouble, schedule) => {
            let program = Program { schedule, ..program };
            let again = judge.judge(&program).map(|trouble| trouble.symptom());
            let same = again == Some(trouble.symptom());
            (if same { Exit::Finding } else { Exit::NotReproducible }, Some((program, trouble)))
        }
    };
    tell(args, defects, exit, complete, &bounds, found)
}

/// Raises the bound until something is found, or there is no more to find.
fn explore(
    program: &Program,
    args: &ExploreArgs,
    judge: &mut Judge,
    stop: &AtomicBool,
) -> (Vec<Bound>, End) {
    let bar = progress::bar(Some(args.limit), "schedules");
    let (mut bounds, mut total): (Vec<Bound>, u64) = (Vec::new(), 0);
    for preemptions in 0..=args.preemptions {
        let mut scheduler = Scheduler::exhaustive(preemptions);
        let mut schedules = 0;
        let end = loop {
            if !scheduler.next_schedule() {
                break End::Complete;
            }
            if total == args.limit || stop.load(Ordering::Relaxed) {
                break End::Cut;
            }
            schedules += 1;
            total += 1;
            if let Some((trouble, schedule)) = judge.judge_under(program, &mut scheduler) {
                break End::Found(Box::new(trouble), schedule);
            }
            if total.is_multiple_of(1024) {
                bar.set_position(total);
            }
        };
        let redundant = scheduler.redundant();
        let distinct = schedules - redundant;
        bounds.push(Bound { preemptions, schedules, redundant, distinct });
        let same = bounds.iter().rev().nth(1).is_some_and(|last| last.schedules == schedules);
        if same || !matches!(end, End::Complete) {
            bar.finish_and_clear();
            return (bounds, end);
        }
    }
    bar.finish_and_clear();
    (bounds, End::Complete)
}

fn tell(
    args: &ExploreArgs,
    defects: Defects,
    exit: Exit,
    complete: bool,
    bounds: &[Bound],
    found: Option<(Program, Box<Trouble>)>,
) -> Result<Exit, Stop> {
    let (preemptions, last) =
        bounds.last().map_or((0, 0), |last| (last.preemptions, last.schedules));
    let origin = format!("schedule {last} of those with up to {preemptions} preemptions");
    let (mut file, mut unsaved) = (None, Ok(exit));
    if let Some((program, trouble)) = &found {
        let saved = finding::save(&args.findings, program, trouble, defects, &origin);
        file = saved.map_err(|error| unsaved = Err(Stop::Output(error))).ok();
    }
    if args.format == Format::Json {
        write::json(&Json {
            schema_version: 1,
            file: input::name(&args.program.file),
            complete,
            bounds: bounds.to_vec(),
            finding: found.map(|(program, trouble)| Finding {
                class: trouble.symptom().class,
                preemptions,
                program: program.to_string(),
                file: file.map(|file| file.display().to_string()),
            }),
        })?;
        return unsaved;
    }
    let mut out = String::new();
    for bound in bounds {
        let Bound { preemptions, schedules, redundant, distinct } = *bound;
        let [schedules, redundant, distinct] = [schedules, redundant, distinct].map(summary::group);
        let _ = writeln!(
            out,
            "preemptions up to {preemptions}: {schedules} schedules, {redundant} redundant, \
             {distinct} distinct"
        );
    }
    if let Some((program, trouble)) = &found {
        let _ = writeln!(out, "\nfinding: {}\n{origin}\n", headline(program, trouble));
        for line in program.to_string().lines() {
            let _ = writeln!(out, "    {line}");
        }
        let _ = write!(out, "\n{}", finding::explain(program, trouble));
        if let Some(file) = &file {
            let _ = writeln!(out, "\nwritten to {}", file.display());
            let _ = writeln!(out, "{}", finding::replay_command(file, defects));
        }
    }
    let _ = writeln!(
        out,
        "{}",
        match exit {
            Exit::NotReproducible => "the finding did not show itself again",
            Exit::Finding => "1 finding",
            Exit::Interrupted => "interrupted: no schedule so far shows anything",
            _ if complete => "clean: no schedule within the bound shows anything",
            _ => "no schedule so far shows anything; there are more than --limit",
        }
    );
    write::text(&out)?;
    unsaved
}
