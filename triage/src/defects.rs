//! `defects`: the catalogue.

use comfy_table::{Table, presets};
use optimized::{Defect, Kind};
use serde::Serialize;

use crate::cli::{DefectsArgs, Format};
use crate::exit::{Exit, Stop};
use crate::write;

#[derive(Serialize)]
struct Json {
    id: &'static str,
    name: &'static str,
    kind: &'static str,
    thread: &'static str,
    mechanism: &'static str,
    expected: &'static str,
    corpus: &'static str,
}

/// Runs the command.
pub fn run(args: &DefectsArgs) -> Result<Exit, Stop> {
    let list: Vec<Defect> = match args.name {
        Some(defect) => vec![defect],
        None => Defect::ALL.to_vec(),
    };
    if args.format == Format::Json {
        write::json(&list.iter().map(|&defect| json(defect)).collect::<Vec<_>>())?;
    } else if let Some(defect) = args.name {
        write::text(&in_full(defect))?;
    } else {
        write::text(&table(&list))?;
    }
    Ok(Exit::Clean)
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Defect => "defect",
        Kind::Variant => "variant",
        Kind::Contract => "contract",
    }
}

fn json(defect: Defect) -> Json {
    let info = defect.info();
    Json {
        id: info.id,
        name: info.name,
        kind: kind(info.kind),
        thread: info.thread,
        mechanism: info.mechanism,
        expected: info.expected,
        corpus: info.corpus,
    }
}

fn table(list: &[Defect]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["id", "name", "kind", "expected", "thread"]);
    for defect in list {
        let info = defect.info();
        table.add_row([info.id, info.name, kind(info.kind), info.alone(), info.thread]);
    }
    let mut out = String::new();
    for line in table.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push_str(
        "\nSwitch one on: mm-lockstep hunt --defect NAME. More: mm-lockstep defects NAME\n",
    );
    out
}

fn in_full(defect: Defect) -> String {
    let info = defect.info();
    format!(
        "{} {} ({})\n\n{}\n\nthread:   {}\nexpected: {}\ncorpus:   {}\nfind it:  mm-lockstep hunt --defect {}\n",
        info.id,
        info.name,
        kind(info.kind),
        info.mechanism,
        info.thread,
        info.expected,
        info.corpus,
        info.name,
    )
}
