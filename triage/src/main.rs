//! `mm-lockstep`: hunts for divergences between the two memory managers, and takes care of what
//! it finds.

mod bisect;
mod bucket;
mod campaign;
mod cause;
mod cli;
mod collect;
mod compare;
mod corpus;
mod cost;
mod defects;
mod diff;
mod exit;
mod explain;
mod explore;
mod export;
mod finding;
mod fmt;
mod guard;
mod guest;
mod hunt;
mod input;
mod judge;
mod live;
mod log;
mod manual;
mod matrix;
mod minimise;
mod page;
mod phrases;
mod progress;
mod replay;
mod report;
mod show;
mod side;
mod stop;
mod store;
mod story;
mod summary;
mod triage;
mod weave;
mod write;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Hunt(args) => hunt::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Explore(args) => explore::run(&args),
        Command::Fmt(args) => fmt::run(&args),
        Command::Minimise(args) => minimise::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Diff(args) => compare::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Bisect(args) => bisect::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Manual(args) => manual::manual(&args),
        Command::Triage(args) => triage::run(&args),
        Command::Corpus(args) => corpus::run(&args),
        Command::Live(args) => live::run(&args),
        Command::Defects(args) => defects::run(&args),
        Command::Cost(args) => cost::run(&args),
        Command::Matrix(args) => matrix::run(&args),
    };
    exit::code(result)
}
