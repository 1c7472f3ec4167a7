//! A run: random programs, or given ones, until the first difference, which is made smaller.

use std::fmt::Write;
use std::time::{Duration, Instant};

use lockstep::minimise;
use program::{Kind, Program, SplitMix64};
use reference::{Kernel, Reference};

use crate::campaign::{Live, scaled};
use crate::planted::{Mistaken, Planted};
use crate::session::{Finding, Session, Stats};
use crate::witness::{Broken, Witness};

/// How often a finding must show itself when its program is run again.
const AGAIN: usize = 3;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Where random programs come from.
    pub seed: u64,
    /// Steps of each.
    pub steps: usize,
    /// Stop after so many programs.
    pub execs: Option<u64>,
    /// Stop after this time.
    pub time: Option<Duration>,
    /// Run these instead, as they are and blown up to the kernel's tables.
    pub programs: Vec<Program>,
    /// The version that the reference is; none: the witness's.
    pub kernel: Option<Kernel>,
    /// A wrong rule in the reference, to see that it is found.
    pub planted: Option<Planted>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was compared.
    pub stats: Stats,
    /// The first difference, if there was one.
    pub found: Option<Found>,
    /// How long it took.
    pub time: Duration,
}

/// A difference.
#[derive(Clone, Debug)]
pub struct Found {
    /// The smallest program that shows it.
    pub program: Program,
    /// What differs.
    pub finding: Finding,
    /// It showed itself every time.
    pub steady: bool,
}

/// Runs the plan. `progress` is told of each program.
pub fn run<W: Witness>(
    witness: W,
    plan: &Plan,
    mut progress: impl FnMut(&Stats),
) -> Result<Report, Broken> {
    let here = witness.kernel();
    let kernel = plan.kernel.map_or(here, |chosen| chosen.as_set_by(here));
    let live = Live { seed: plan.seed, steps: plan.steps, can: witness.abilities() };
    let planted = plan.planted.unwrap_or_default();
    let mut session = Session::new(witness, Mistaken::new(Reference::of(kernel), planted));
    let start = Instant::now();
    let report = |session: &Session<W, Mistaken>, found| {
        Ok(Report { stats: session.stats.clone(), found, time: start.elapsed() })
    };
    for index in 0.. {
        let over = plan.execs.is_some_and(|execs| index >= execs)
            || plan.time.is_some_and(|time| start.elapsed() >= time);
        let program = match given(&plan.programs, index) {
            Some(program) => program,
            None if over || !plan.programs.is_empty() => break,
            None => live.program(index),
        };
        if let Some(finding) = session.run(&program)? {
            let counted = session.stats.clone();
            let found = smaller(&mut session, program, finding)?;
            session.stats = counted;
            return report(&session, Some(found));
        }
        progress(&session.stats);
    }
    report(&session, None)
}

/// Each given program twice: blown up, and as it is.
fn given(programs: &[Program], index: u64) -> Option<Program> {
    let program = programs.get(index as usize / 2)?;
    let whole = &mut SplitMix64::new(index);
    Some(if index.is_multiple_of(2) { scaled(program, whole) } else { program.clone() })
}

fn smaller<W: Witness>(
    session: &mut Session<W, Mistaken>,
    program: Program,
    finding: Finding,
) -> Result<Found, Broken> {
    let mut shows = |program: &Program| -> Result<Option<Finding>, Broken> {
        Ok(session.run(program)?.filter(|found| found.class == finding.class))
    };
    for _ in 0..AGAIN {
        if shows(&program)?.is_none() {
            return Ok(Found { program, finding, steady: false });
        }
    }
    let small = minimise::minimise(&program, |program| matches!(shows(program), Ok(Some(_)))).0;
    Ok(match shows(&small)? {
        Some(finding) => Found { program: small, finding, steady: true },
        None => Found { program, finding, steady: false },
    })
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let Stats { programs, steps, facts, disturbed, locked, .. } = self.stats;
        let mut out = format!(
            "{programs} programs, {steps} operations, {facts} entries, pages and areas compared\n"
        );
        let row = |(kind, (all, ok)): (&Kind, &(u64, u64))| {
            format!("  {:18} {all:>9} compared {ok:>9} succeeded\n", kind.name())
        };
        out.extend(self.stats.kinds.iter().map(row));
        for (reason, count) in &self.stats.left_out {
            let _ = writeln!(out, "  {count:>9} left out: {reason}");
        }
        if disturbed > 0 {
            let _ = writeln!(out, "  {disturbed:>9} programs run again after a disturbance");
        }
        if locked > 0 {
            let _ =
                writeln!(out, "  {locked:>9} looks repeated while somebody else had a page locked");
        }
        if let Some(found) = &self.found {
            out.push_str(&found.text());
        }
        out
    }
}

impl Found {
    fn text(&self) -> String {
        let Found { program, finding, steady } = self;
        let mut out =
            format!("\n{program}\nafter step {}, {}:\n", finding.number + 1, finding.step);
        for [what, reference, kernel] in finding.fields.iter().take(20) {
            let _ = writeln!(out, "    {what}  reference {reference}  kernel {kernel}");
        }
        if finding.fields.len() > 20 {
            let _ = writeln!(out, "    and {} more", finding.fields.len() - 20);
        }
        if !steady {
            out.push_str("It did not show itself every time.\n");
        }
        let short = |line: &str| line.chars().take(160).collect::<String>();
        let state: Vec<String> = finding.state.lines().take(40).map(short).collect();
        let _ = writeln!(out, "\nthe reference then:\n{}", state.join("\n"));
        out
    }
}
