//! `replay`: runs programs from files.

use std::fmt::Write;

use lockstep::{Options, render};
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
    fields: Vec<[String; 3]>,
}

/// Runs the command.
pub fn run(args: &ReplayArgs) -> Result<Exit, Stop> {
    let mut judge = Judge::new(args.defects.set(), Options { paranoid: true });
    let mut exit = Exit::Clean;
    let mut list = Vec::new();
    for path in &args.files {
        let program = input::load(path, args.bytes.bytes)?;
        let trouble = judge.judge(&program);
        if trouble.is_some() {
            exit = Exit::Finding;
        }
        let name = input::name(path);
        let signature = trouble.as_ref().map(Trouble::signature);
        let verdict = signature.as_ref().map_or("clean", |signature| &signature.class);
        if args.format == Format::Json {
            list.push(Json {
                file: name,
                verdict: verdict.to_owned(),
                field: trouble.as_ref().map(Trouble::field),
                path: signature.as_ref().map(|signature| signature.path.clone()),
                expects: program.expects.len(),
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
                let _ = write!(out, "\n{}", finding::explain(&program, trouble));
            }
            None => {
                let steps = program.steps().count();
                let _ = write!(out, ", {steps} steps");
                if !program.expects.is_empty() {
                    let _ = write!(out, ", {} expectations hold", program.expects.len());
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
