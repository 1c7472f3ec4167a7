//! Prints how many schedules each strategy needs to find each small bug: mean over 20 seeds, and
//! how many of them found it within the limit (first argument, 10,000 if none).

use machine::{Pct, Pos, RandomWalk, ReadsFrom, Strategy};

#[path = "../tests/micro/mod.rs"]
mod micro;

use micro::Model;

const SEEDS: u64 = 20;

fn cell<S: Strategy>(model: Model, most: u32, strategy: impl Fn(u64) -> S) -> String {
    let found: Vec<f64> = (0..SEEDS)
        .filter_map(|seed| model.first_bug(&mut strategy(seed + 1), most))
        .map(f64::from)
        .collect();
    if found.is_empty() {
        return "none".to_owned();
    }
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    let variance = found.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / found.len() as f64;
    let share = match found.len() as u64 {
        SEEDS => String::new(),
        some => format!(" ({some}/{SEEDS})"),
    };
    format!("{mean:.0}±{:.0}{share}", variance.sqrt())
}

fn main() {
    let most = std::env::args().nth(1).and_then(|most| most.parse().ok()).unwrap_or(10_000);
    let models = [
        Model::Reorder(3),
        Model::Reorder(5),
        Model::Reorder(20),
        Model::Reorder(100),
        Model::TwoStage(3),
        Model::TwoStage(20),
        Model::TwoStage(100),
        Model::WrongLock(8),
        Model::Account,
        Model::Bluetooth,
        Model::StringBuffer,
        Model::Deadlock01,
        Model::WorkSteal,
    ];
    println!("| program | random walk | PCT3 | POS | reads-from |");
    println!("|---|---|---|---|---|");
    for model in models {
        println!(
            "| {} | {} | {} | {} | {} |",
            model.name(),
            cell(model, most, RandomWalk::new),
            cell(model, most, |seed| Pct::new(seed, 3)),
            cell(model, most, Pos::new),
            cell(model, most, ReadsFrom::new),
        );
    }
}
