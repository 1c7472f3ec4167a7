//! `show`: the state after each operation.

use std::collections::BTreeSet;
use std::fmt::Write;

use lockstep::{Lockstep, Moment, Names, Options, Verdict, render};
use optimized::World;
use program::{Layout, Model, Outcome, Program, text};
use reference::Reference;
use serde::Serialize;

use crate::cli::{Format, ShowArgs};
use crate::exit::{Exit, Stop};
use crate::guard;
use crate::judge::Trouble;
use crate::{finding, write};

#[derive(Serialize)]
struct Json {
    step: usize,
    operation: String,
    result: String,
    data: Vec<String>,
    state: Vec<String>,
}

/// Runs the command.
pub fn run(args: &ShowArgs) -> Result<Exit, Stop> {
    let (program, defects) = args.program.load()?;
    let mut lockstep = Lockstep::new(defects);
    let mut scribe = Scribe::new(&program);
    let options = Options { paranoid: true };
    let run = || lockstep.observe(&program, &options, |moment| scribe.note(moment));
    let trouble = match guard::catch(run) {
        Ok(Verdict::Clean) => None,
        Ok(Verdict::Diverged(divergence)) => Some(Trouble::Diverged(divergence)),
        Err(panic) => Some(Trouble::Panicked(panic)),
    };
    if args.format == Format::Json {
        write::json(&scribe.steps)?;
    } else {
        let mut out = scribe.text();
        if let Some(trouble) = &trouble {
            let _ = write!(out, "\n{}", finding::explain(&program, trouble));
        }
        write::text(&out)?;
    }
    Ok(if trouble.is_some() { Exit::Finding } else { Exit::Clean })
}

/// Writes the reference's state down after each step.
struct Scribe {
    layout: Layout,
    names: Names,
    steps: Vec<Json>,
}

impl Scribe {
    fn new(program: &Program) -> Scribe {
        Scribe { layout: Layout::of(program), names: Names::default(), steps: Vec::new() }
    }

    fn note(&mut self, moment: Moment<'_, Reference, World>) {
        let state = moment.reference.snapshot();
        self.names.learn(&state);
        let Outcome { ret, data } = moment.expected;
        self.steps.push(Json {
            step: moment.number + 1,
            operation: moment.step.to_string(),
            result: ret.to_string(),
            data: data.iter().map(|&value| text::value(value).to_string()).collect(),
            state: render::dump(&state, &self.layout, &self.names)
                .lines()
                .map(str::to_owned)
                .collect(),
        });
    }

    /// A block a step; `*` marks the lines that the step made.
    fn text(&self) -> String {
        let mut out = String::new();
        let mut before = BTreeSet::new();
        for step in &self.steps {
            let _ = write!(out, "{:>3}  {}  ->  {}", step.step, step.operation, step.result);
            if !step.data.is_empty() {
                let _ = write!(out, "  [{}]", step.data.join(" "));
            }
            out.push('\n');
            for line in &step.state {
                let mark = if before.contains(line) { ' ' } else { '*' };
                let _ = writeln!(out, "   {mark} {line}");
            }
            before = step.state.iter().cloned().collect();
        }
        out
    }
}
