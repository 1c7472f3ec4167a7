//! `cost`: what each operation of a program costs, variant beside variant.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use lockstep::cost::{StepCost, ledger};
use optimized::{Cost, Variant};
use program::{Ret, Step};
use serde::Serialize;

use crate::cli::{CostArgs, Format};
use crate::exit::{Exit, Stop};
use crate::summary::group;
use crate::{input, write};

#[derive(Serialize)]
struct Json {
    /// The number of the first operation, from 1; several ran beside each other.
    step: usize,
    operations: Vec<String>,
    variants: Vec<VariantJson>,
}

#[derive(Serialize)]
struct VariantJson {
    variant: &'static str,
    /// One an operation.
    results: Vec<String>,
    cost: BTreeMap<&'static str, u64>,
}

/// Runs the command.
pub fn run(args: &CostArgs) -> Result<Exit, Stop> {
    let program = input::one(&args.file, args.bytes.bytes)?.program;
    let variants = match args.variants[..] {
        [] => vec![Variant::Batched, Variant::PageAtATime],
        _ => args.variants.clone(),
    };
    let steps = ledger(&program, &variants);
    match args.format {
        Format::Json => write::json(&json(&steps, &variants))?,
        Format::Text => write::text(&table(&steps, &variants))?,
    }
    Ok(Exit::Clean)
}

fn json(steps: &[StepCost], variants: &[Variant]) -> Vec<Json> {
    let variant = |(variant, (rets, cost)): (&Variant, &(Vec<Ret>, Cost))| VariantJson {
        variant: variant.info().name,
        results: rets.iter().map(Ret::to_string).collect(),
        cost: cost.items().collect(),
    };
    let step = |step: &StepCost| Json {
        step: step.number + 1,
        operations: step.steps.iter().map(Step::to_string).collect(),
        variants: variants.iter().zip(&step.costs).map(variant).collect(),
    };
    steps.iter().map(step).collect()
}

/// A row a step (or phase) and variant; steps that cost nothing of this and items that cost nothing
/// in any step are left out.
fn table(steps: &[StepCost], variants: &[Variant]) -> String {
    let counts = |item: usize| {
        steps
            .iter()
            .flat_map(|step| &step.costs)
            .any(|(_, cost)| cost.items().nth(item).is_some_and(|(_, count)| count > 0))
    };
    let items: Vec<(usize, &str)> = Cost::default()
        .items()
        .enumerate()
        .map(|(item, (name, _))| (item, name))
        .filter(|&(item, _)| counts(item))
        .collect();
    let mut table = Table::new();
    let mut header = vec!["step", "operation", "variant", "result"];
    header.extend(items.iter().map(|(_, name)| name));
    table.load_style(presets::NOTHING).set_header(header);
    for step in steps {
        if step.costs.iter().all(|(_, cost)| *cost == Cost::default()) {
            continue;
        }
        for (at, (variant, (rets, cost))) in variants.iter().zip(&step.costs).enumerate() {
            let first = |cell: String| if at == 0 { cell } else { String::new() };
            let mut row = vec![
                first((step.number + 1).to_string()),
                first(lines(&step.steps)),
                variant.info().name.to_owned(),
                lines(rets),
            ];
            let counts: Vec<u64> = cost.items().map(|(_, count)| count).collect();
            row.extend(items.iter().map(|&(item, _)| group(counts[item])));
            table.add_row(row);
        }
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// One below the other.
fn lines(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
