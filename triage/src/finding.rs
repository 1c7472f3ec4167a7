//! A finding: made smaller, written down, told.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use lockstep::minimise::{self, Effort};
use lockstep::{Names, Options, When, program_hash, render};
use optimized::{Defect, Defects, Variant};
use program::{Layout, Program};
use serde::Serialize;

use crate::campaign::{self, Found, Plan};
use crate::diff;
use crate::judge::{Judge, Trouble};
use crate::{side, write};

/// A minimised finding.
pub struct Finding {
    /// The kind and where it was found.
    pub found: Found,
    /// The smallest program that shows it.
    pub program: Program,
    /// What that program shows.
    pub trouble: Trouble,
    /// Steps of the program that it was made from.
    pub steps_before: usize,
    /// Programs run to make it smaller.
    pub runs: u64,
    /// Programs that were not run, because these had taken all the work that there is for it.
    pub left_out: u64,
}

/// Marks of phases that may pass while a finding is made small: some ten seconds. What has no end in
/// sight (`undecided`) leaves most of a million a run.
pub const WORK: u64 = 20_000_000;

/// Runs the execution again and makes its program smaller until there is no time left for that.
/// `None`: it did not show itself again.
pub fn minimised(found: Found, plan: &Plan, over: impl Fn() -> bool) -> Option<Finding> {
    let whole = campaign::program(plan, &found);
    // What only full snapshots see must not depend on which runs take them.
    let hidden =
        ["digest", "invariant", "cost"].iter().any(|kind| found.symptom.class.starts_with(kind));
    let options = Options { paranoid: plan.options.paranoid || hidden };
    let mut judge = Judge::new(plan.defects, options);
    let shows = |judge: &mut Judge, program: &Program| {
        judge.judge(program).filter(|trouble| trouble.symptom() == found.symptom)
    };
    shows(&mut judge, &whole)?;
    judge.work();
    let same = |program: &Program| {
        let shown = !over() && shows(&mut judge, program).is_some();
        (shown, judge.work())
    };
    let (program, effort) = minimise::minimise_within(&whole, WORK, same);
    let trouble = shows(&mut judge, &program)?;
    let steps_before = whole.steps().count();
    let Effort { runs, left_out, .. } = effort;
    Some(Finding { found, program, trouble, steps_before, runs, left_out })
}

/// A finding as JSON.
#[derive(Serialize)]
pub struct Json {
    class: String,
    field: &'static str,
    path: String,
    index: u64,
    times: u64,
    strategy: &'static str,
    step: Option<usize>,
    steps: usize,
    fields: Vec<[String; 3]>,
    program: String,
    file: Option<String>,
    replay: Option<String>,
}

impl Finding {
    /// Writes the program to a file of `dir`, which is created if need be.
    pub fn save(&self, dir: &Path, plan: &Plan) -> std::io::Result<PathBuf> {
        let Plan { campaign, defects, .. } = plan;
        let family =
            plan.family.map_or_else(String::new, |family| format!("family {}, ", family.name));
        let origin = format!(
            "{family}seed {} execution {} of {} steps, schedule {}",
            campaign.seed,
            self.found.index,
            campaign.steps,
            self.found.policy.name()
        );
        save(dir, &self.program, &self.trouble, *defects, &origin)
    }

    /// For people. `file`: where it was written, if it could be.
    pub fn tell(&self, file: Option<&Path>, plan: &Plan) -> String {
        let Found { index, times, .. } = self.found;
        let mut out = format!("finding: {}\n", headline(&self.program, &self.trouble));
        let steps = self.program.steps().count();
        let _ = writeln!(
            out,
            "execution {index} of seed {}; {} steps made {steps} in {} runs{}{}\n",
            plan.campaign.seed,
            self.steps_before,
            self.runs,
            self.unfinished(),
            if times > 1 { format!("; {times} executions show it") } else { String::new() },
        );
        for line in self.program.to_string().lines() {
            let _ = writeln!(out, "    {line}");
        }
        out.push('\n');
        out.push_str(&explain(&self.program, &self.trouble));
        match file {
            Some(file) => {
                let _ = writeln!(out, "\nwritten to {}", file.display());
                let _ = writeln!(out, "{}", replay_command(file, plan.defects));
            }
            None => out.push_str("\nnot written to a file\n"),
        }
        out
    }

    fn unfinished(&self) -> String {
        match self.left_out {
            0 => String::new(),
            left => format!(" ({left} candidates were left out: each takes too long)"),
        }
    }

    /// For programs.
    pub fn json(&self, file: Option<&Path>, plan: &Plan) -> Json {
        let layout = Layout::of(&self.program);
        let (fields, when) = match &self.trouble {
            Trouble::Diverged(divergence) => {
                (render::fields(divergence, &layout), Some(divergence.when))
            }
            Trouble::Panicked(_) => (Vec::new(), None),
        };
        Json {
            class: self.found.symptom.class.clone(),
            field: self.trouble.field(),
            path: self.found.symptom.path.clone(),
            index: self.found.index,
            times: self.found.times,
            strategy: self.found.policy.name(),
            step: when.and_then(|when| match when {
                When::Step(number, _) => Some(number + 1),
                _ => None,
            }),
            steps: self.program.steps().count(),
            fields,
            program: self.program.to_string(),
            file: file.map(|file| file.display().to_string()),
            replay: file.map(|file| replay_command(file, plan.defects)),
        }
    }
}

/// Writes a program that shows something to a file of `dir`, which is created if need be.
pub fn save(
    dir: &Path,
    program: &Program,
    trouble: &Trouble,
    defects: Defects,
    origin: &str,
) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(dir).map_err(|error| write::at(dir, error))?;
    let (hash, class) = (program_hash(program) as u32, trouble.symptom().class);
    let path = dir.join(format!("{class}-{hash:08x}.txt"));
    let mut out = String::new();
    // What a panic says may have many lines.
    for line in headline(program, trouble).lines() {
        let _ = writeln!(out, "# {line}");
    }
    for defect in on(defects) {
        let _ = writeln!(out, "# defect: {} -> {class}", defect.info().name);
    }
    let _ = writeln!(out, "# {origin}");
    for line in replay_command(&path, defects).lines() {
        let _ = writeln!(out, "# {line}");
    }
    let _ = write!(out, "{program}");
    write::file(&path, &out)?;
    Ok(path)
}

/// What a program showed, in one line.
pub fn headline(program: &Program, trouble: &Trouble) -> String {
    let class = trouble.symptom().class;
    match trouble {
        Trouble::Panicked(panic) => format!("{class} at {}: {}", panic.place, panic.message),
        Trouble::Diverged(divergence) => {
            let fields = render::fields(divergence, &Layout::of(program));
            match fields.first().zip(divergence.field()) {
                Some(([what, reference, optimized], field)) => {
                    let [mine, theirs] = render::labels(field.what);
                    format!("{class}: {what}: {mine} {reference}, {theirs} {optimized}")
                }
                None => class,
            }
        }
    }
}

/// The defects that are on.
pub fn on(defects: Defects) -> impl Iterator<Item = Defect> {
    Defect::ALL.iter().copied().filter(move |&defect| defects.contains(defect))
}

/// The variant's name, unless it is the usual one.
pub fn variant(defects: Defects) -> Option<String> {
    let variant = Some(defects.variant()).filter(|&variant| variant != Variant::Batched);
    variant.map(|variant| variant.info().name.to_owned())
}

/// The same without one of them.
pub fn without(defects: Defects, defect: Defect) -> Defects {
    let none = Defects::NONE.in_variant(defects.variant());
    on(defects).filter(|&other| other != defect).fold(none, |mut others, other| {
        others.insert(other);
        others
    })
}

/// How to see it again.
pub fn replay_command(file: &Path, defects: Defects) -> String {
    format!("replay: mm-lockstep replay {}", command(file, defects))
}

/// The arguments that name a program and the defects to run it with.
pub fn command(file: &Path, defects: Defects) -> String {
    let mut command = quoted(file);
    for switch in switches(defects) {
        let _ = write!(command, " {switch}");
    }
    command
}

/// What switches these defects and their variant on, as arguments.
pub fn switches(defects: Defects) -> impl Iterator<Item = String> {
    let defect = |defect: Defect| format!("--defect {}", defect.info().name);
    on(defects).map(defect).chain(variant(defects).map(|name| format!("--variant {name}")))
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    // An argument that begins with a dash would be an option.
    let path = if path.starts_with('-') { format!("./{path}") } else { path };
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// When and how the two sides differ, and their states as a diff.
pub fn explain(program: &Program, trouble: &Trouble) -> String {
    let mut out = facts(program, trouble);
    if let Trouble::Diverged(found) = trouble {
        let (a, b) = render::pair(&found.reference, &found.optimized, &Layout::of(program));
        let diff = diff::folded(&a, &b, diff::colours(&std::io::stdout()));
        if !diff.is_empty() {
            let _ = write!(out, "\n{diff}");
        }
    }
    out
}

/// As [`explain`], with the states side by side.
pub fn beside(program: &Program, trouble: &Trouble) -> String {
    let mut out = facts(program, trouble);
    if let Trouble::Diverged(found) = trouble {
        let (a, b) = render::pair(&found.reference, &found.optimized, &Layout::of(program));
        let colours = diff::colours(&std::io::stdout());
        let diff = side::columns(["reference", &a], ["optimised", &b], side::width(), colours);
        if !diff.is_empty() {
            let _ = write!(out, "\n{diff}");
        }
    }
    out
}

/// What to call a phase: the steps that ran beside each other.
pub fn together(program: &Program, phase: usize) -> String {
    let before: usize = program.phases[..phase].iter().map(|phase| phase.steps.len()).sum();
    let last = before + program.phases[phase].steps.len();
    format!("steps {} to {last} beside each other", before + 1)
}

/// When the two sides differ, and in which fields.
fn facts(program: &Program, trouble: &Trouble) -> String {
    let divergence = match trouble {
        Trouble::Panicked(panic) => {
            return format!("panic at {}: {}\n", panic.place, panic.message);
        }
        Trouble::Diverged(divergence) => divergence,
    };
    let layout = Layout::of(program);
    let mut out = match divergence.when {
        When::Start => "before the first step".to_owned(),
        When::Step(number, step) => {
            format!("after step {}, {}", number + 1, step)
        }
        When::Phase(phase) => together(program, phase),
        When::Ending(step) => {
            format!("when all was given back, after {}", step)
        }
        When::End => "when all was given back".to_owned(),
    };
    if let Some(path) = divergence.path {
        let _ = write!(out, " (path {path})");
    }
    out.push_str(":\n");
    let rows = render::fields(divergence, &layout);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let (what, reference) = (width(0).unwrap_or(0), width(1).unwrap_or(0));
    for (row, field) in rows.iter().zip(&divergence.fields) {
        let [mine, theirs] = render::labels(field.what);
        let _ = writeln!(
            out,
            "    {:what$}  {mine} {:reference$}  {theirs} {}",
            row[0], row[1], row[2]
        );
    }
    if !divergence.trace.is_empty() {
        let names = Names::at(divergence);
        out.push('\n');
        out.push_str(&lockstep::lanes(divergence, &layout, &names));
    }
    out
}
