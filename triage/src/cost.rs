//! `cost`: what each operation of a program costs, variant beside variant.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use lockstep::cost::{StepCost, ledger};
use optimized::{Cost, Variant};
use serde::Serialize;

use crate::cli::{CostArgs, Format};
use crate::exit::{Exit, Stop};
use crate::summary::group;
use crate::{input, write};

#[derive(Serialize)]
struct Json {
    step: usize,
    operation: String,
    variants: Vec<VariantJson>,
}

#[derive(Serialize)]
struct VariantJson {
    variant: &'static str,
    result: String,
    cost: BTreeMap<&'static str, u64>,
}

/// Runs the command.
pub fn run(args: &CostArgs) -> Result<Exit, Stop> {
    let program = input::load(&args.file, args.bytes.bytes)?.program;
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
    let variant = |(variant, (ret, cost)): (&Variant, &(program::Ret, Cost))| VariantJson {
        variant: variant.info().name,
        result: ret.to_string(),
        cost: cost.items().collect(),
    };
    let step = |step: &StepCost| Json {
        step: step.number + 1,
        operation: step.step.to_string(),
        variants: variants.iter().zip(&step.costs).map(variant).collect(),
    };
    steps.iter().map(step).collect()
}

/// A row a step and variant; steps that cost nothing of this are left out.
fn table(steps: &[StepCost], variants: &[Variant]) -> String {
    let mut table = Table::new();
    let items = Cost::default().items().map(|(name, _)| name);
    let mut header = vec!["step", "operation", "variant", "result"];
    header.extend(items);
    table.load_style(presets::NOTHING).set_header(header);
    for step in steps {
        if step.costs.iter().all(|(_, cost)| *cost == Cost::default()) {
            continue;
        }
        for (at, (variant, (ret, cost))) in variants.iter().zip(&step.costs).enumerate() {
            let first = at == 0;
            let mut row = vec![
                if first { (step.number + 1).to_string() } else { String::new() },
                if first { step.step.to_string() } else { String::new() },
                variant.info().name.to_owned(),
                ret.to_string(),
            ];
            row.extend(cost.items().map(|(_, count)| group(count)));
            table.add_row(row);
        }
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}
