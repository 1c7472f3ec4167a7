//! `replay`: runs programs from files.

use std::fmt::Write;

use lockstep::{Options, What, render};
use optimized::Defects;
use program::Layout;
use serde::Serialize;

use crate::cli::{Format, ReplayArgs};
use crate::exit::{Exit, Stop};
use crate::judge::{Judge, Trouble};
use crate::{finding, input, write};

#[derive(Serialize)]
struct Json {
    file: String,
    verdict: String,
    field: Option<&'static str>,
    path: Option<String>,
    expects: usize,
    failed_lines: Vec<u32>,
    fields: Vec<[String; 3]>,
}

/// Runs the command.
pub fn run(args: &ReplayArgs) -> Result<Exit, Stop> {
    let mut judge = Judge::new(args.defects.set(), Options { paranoid: true });
    let mut exit = Exit::Clean;
    let mut list = Vec::new();
    for path in input::files(&args.files) {
        let loaded = path.and_then(|path| {
            let loaded = input::load(&path, args.bytes.bytes)?;
            Ok((path, loaded))
        });
        let (path, loaded) = match loaded {
            Ok(loaded) => loaded,
            Err(stop) => {
                stop.say();
                exit = Exit::Partial;
                continue;
            }
        };
        let (expects, found_with) = (loaded.expects.clone(), loaded.found_with);
        let program = loaded.telling(|program| judge.judge(program).is_none());
        let trouble = judge.judge(&program);
        let says_nothing = program.steps().count() == 0 && program.expects.is_empty();
        if trouble.is_none() && says_nothing && !args.bytes.bytes {
            input::vacuous(&path).say();
            exit = Exit::Partial;
            continue;
        }
        let name = input::name(&path);
        if trouble.is_some() && exit == Exit::Clean {
            exit = Exit::Finding;
        }
        let symptom = trouble.as_ref().map(Trouble::symptom);
        let verdict = symptom.as_ref().map_or("clean", |symptom| &symptom.class);
        if args.format == Format::Json {
            list.push(Json {
                file: name,
                verdict: verdict.to_owned(),
                field: trouble.as_ref().map(Trouble::field),
                path: symptom.as_ref().map(|symptom| symptom.path.clone()),
                expects: program.expects.len(),
                failed_lines: trouble
                    .as_ref()
                    .map(|trouble| failed_lines(trouble, &expects))
                    .unwrap_or_default(),
                fields: match &trouble {
                    Some(Trouble::Diverged(divergence)) => {
                        render::fields(divergence, &Layout::of(&program))
                    }
                    _ => Vec::new(),
                },
            });
            continue;
        }
        let mut out = format!("{name}: {verdict}");
        match &trouble {
            Some(trouble) => {
                out.push('\n');
                for line in failed_lines(trouble, &expects) {
                    let _ = writeln!(out, "{name}:{line}: this expectation does not hold");
                }
                out.push_str(&if args.diff {
                    finding::beside(&program, trouble)
                } else {
                    finding::explain(&program, trouble)
                });
            }
            None => {
                let steps = program.steps().count();
                let _ = write!(out, ", {steps} steps");
                if !program.expects.is_empty() {
                    let _ = write!(out, ", {} expectations hold", program.expects.len());
                }
                if args.defects.set() == Defects::NONE && found_with != Defects::NONE {
                    let switches = finding::switches(found_with).collect::<Vec<_>>().join(" ");
                    let _ = write!(out, " (it was found with {switches})");
                }
                out.push('\n');
            }
        }
        write::text(&out)?;
    }
    if args.format == Format::Json {
        write::json(&list)?;
    }
    Ok(exit)
}

/// The lines of the expectations that do not hold.
fn failed_lines(trouble: &Trouble, expects: &[u32]) -> Vec<u32> {
    let Trouble::Diverged(divergence) = trouble else { return Vec::new() };
    let failed = divergence.fields.iter().filter_map(|field| match field.what {
        What::Expect(index) => expects.get(index).copied(),
        _ => None,
    });
    let mut lines: Vec<u32> = failed.collect();
    lines.dedup();
    lines
}
