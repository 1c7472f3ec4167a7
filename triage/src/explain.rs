//! `explain`: the story of a finding, for a terminal or as a page.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;

use crate::cli::{Format, ProgramArgs};
use crate::exit::{Exit, Stop};
use crate::page;
use crate::story::{self, Story, Tale};
use crate::{finding, input, side, write};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  mm-lockstep explain corpus/seeds/fork-x-pin.txt --defect fork-shares-pinned
  mm-lockstep explain FILE --html story.html          one page, nothing to install: lanes, locks,
                                                      refcount, the state under the pointer

Exit codes: 0 the program is clean, 1 it shows something, 3 it cannot be read.";

/// Arguments of `explain`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    program: ProgramArgs,
    /// Write a self-contained page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Json {
    schema_version: u32,
    class: String,
    when: String,
    folio: Option<String>,
    story: Vec<String>,
    steps: Vec<JsonStep>,
}

#[derive(Serialize)]
struct JsonStep {
    step: usize,
    cpu: u8,
    operation: String,
    results: [String; 2],
    gained: Vec<String>,
    lost: Vec<String>,
    refcount: [Option<i64>; 2],
    divergent: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit, Stop> {
    let (program, defects) = args.program.load()?;
    let story = story::tell(&program, defects);
    let mut lines = words(&story);
    for defect in finding::on(defects) {
        let info = defect.info();
        lines.push(format!("Switched on: {}. {}", info.name, info.mechanism));
    }
    let exit = if story.class == "clean" { Exit::Clean } else { Exit::Finding };
    if let Some(file) = &args.html {
        let page = page::render(&input::name(&args.program.file), &program, &story, &lines);
        write::file(file, &page)?;
    }
    if args.format == Format::Json {
        write::json(&Json {
            schema_version: 1,
            class: story.class.clone(),
            when: story.when.clone(),
            folio: story.folio.clone(),
            steps: story.tales.iter().map(json).collect(),
            story: lines,
        })?;
        return Ok(exit);
    }
    let mut out = String::new();
    for line in &lines {
        let _ = writeln!(out, "{line}");
    }
    let _ = write!(out, "\n{}", lanes(&story, program.shape.cpus, side::width()));
    if !story.lanes.is_empty() {
        let _ = write!(out, "\n{}", story.lanes);
    }
    if let Some(file) = &args.html {
        let _ = writeln!(out, "\nwritten to {}", file.display());
    }
    write::text(&out)?;
    Ok(exit)
}

fn json(tale: &Tale) -> JsonStep {
    JsonStep {
        step: tale.number,
        cpu: tale.cpu,
        operation: tale.operation.clone(),
        results: tale.results.clone(),
        gained: tale.gained.clone(),
        lost: tale.lost.clone(),
        refcount: tale.counts,
        divergent: tale.divergent,
    }
}

/// The story, a paragraph a line, as a commit message would tell it.
fn words(story: &Story) -> Vec<String> {
    let mut lines = vec![format!("{}: {}.", story.class, story.when)];
    let folio = story.folio.as_deref().unwrap_or_default();
    for (at, tale) in story.tales.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| story.tales[at].counts[0]);
        lines.extend(chapter(tale, before, folio));
    }
    lines.extend(story.scenes.iter().cloned());
    if story.fields.is_empty() {
        return lines;
    }
    let path = story.path.map(|path| format!(" on path {path}")).unwrap_or_default();
    lines.push(format!("There the optimised side went wrong{path}:"));
    for [what, a, mine, b, theirs] in &story.fields {
        lines.push(format!(
            "  {what}: {a} {mine}, {b} {theirs}{}",
            surplus(&story.class, what, mine, theirs)
        ));
    }
    lines
}

/// What one step has to do with the folio at fault. Nothing: no line.
fn chapter(tale: &Tale, before: Option<i64>, folio: &str) -> Option<String> {
    let mut parts = Vec::new();
    let [now, theirs] = tale.counts;
    match (before, now) {
        (None, Some(_)) => parts.push(format!("{folio} is born")),
        (Some(_), None) => parts.push(format!("{folio} is freed")),
        _ => {}
    }
    parts.extend(tale.gained.iter().cloned());
    parts.extend(tale.lost.iter().filter(|_| now.is_some()).map(|who| format!("no longer: {who}")));
    let [expected, found] = &tale.results;
    if expected != found {
        parts.push(format!("it returns {found}, and should return {expected}"));
    }
    if parts.is_empty() && !tale.divergent {
        return None;
    }
    if now != before || now != theirs {
        let count = |count: Option<i64>| count.map_or("none".to_owned(), |count| count.to_string());
        parts.push(match (before, now) {
            (Some(before), Some(now)) if before != now => format!("refcount {before} to {now}"),
            _ => format!("refcount {}", count(now)),
        });
        if now != theirs {
            parts.push(format!("but the optimised side has {}", count(theirs)));
        }
    }
    if parts.is_empty() {
        parts.push("the two sides differ".to_owned());
    }
    let on = if tale.cpu > 0 { format!(" on cpu{}", tale.cpu) } else { String::new() };
    Some(format!("{}. {}{on}: {}.", tale.number, tale.operation, parts.join("; ")))
}

/// What a wrong count means.
fn surplus(class: &str, what: &str, mine: &str, theirs: &str) -> String {
    let (Ok(mine), Ok(theirs)) = (mine.parse::<i64>(), theirs.parse::<i64>()) else {
        return String::new();
    };
    let counted = class.starts_with("refcount") && what.ends_with("ref");
    match theirs - mine {
        more if more > 0 && counted => format!(" ({more} too many: the folio leaks)"),
        less if less < 0 && counted => {
            format!(" ({} too few: it will be freed under its holders)", -less)
        }
        _ => String::new(),
    }
}

/// One column a CPU, one row a step; the refcount of the folio at fault at the side.
fn lanes(story: &Story, cpus: u8, width: usize) -> String {
    let used = story.tales.iter().map(|tale| tale.cpu + 1).max().unwrap_or(1).min(cpus.max(1));
    let counts = if story.folio.is_some() { 16 } else { 0 };
    let column = (width.saturating_sub(7 + counts) / usize::from(used)).clamp(16, 44);
    let mut out = format!("{:5}", "");
    for cpu in 0..used {
        let _ = write!(out, "| {:1$}", format!("cpu{cpu}"), column - 2);
    }
    if let Some(folio) = &story.folio {
        let _ = write!(out, "| {folio} refcount");
    }
    out.push('\n');
    let mut phase = None;
    for tale in &story.tales {
        if tale.phase != phase {
            phase = tale.phase;
            let rule = if phase.is_some() { "= together " } else { "= then " };
            let _ = writeln!(out, "     {rule:=<0$}", column * usize::from(used));
        }
        let mark = if tale.divergent { '>' } else { ' ' };
        let _ = write!(out, "{mark}{:>3} ", tale.number);
        for cpu in 0..used {
            let shown =
                if cpu == tale.cpu { clip(&tale.operation, column - 3) } else { String::new() };
            let _ = write!(out, "| {shown:0$}", column - 2);
        }
        if story.folio.is_some() {
            let count =
                |count: Option<i64>| count.map_or("-".to_owned(), |count| count.to_string());
            let [mine, theirs] = tale.counts;
            let _ = match mine == theirs {
                true => write!(out, "| {}", count(mine)),
                false => write!(out, "| {} but {}", count(mine), count(theirs)),
            };
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}
