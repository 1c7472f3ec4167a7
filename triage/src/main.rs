//! `mm-lockstep`: hunts for divergences between the two memory managers, and takes care of what
//! it finds.

mod bucket;
mod campaign;
mod cause;
mod cli;
mod collect;
mod corpus;
mod cost;
mod defects;
mod diff;
mod exit;
mod finding;
mod fmt;
mod guard;
mod guest;
mod hunt;
mod input;
mod judge;
mod live;
mod progress;
mod replay;
mod show;
mod stop;
mod store;
mod summary;
mod triage;
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
        Command::Fmt(args) => fmt::run(&args),
        Command::Triage(args) => triage::run(&args),
        Command::Corpus(args) => corpus::run(&args),
        Command::Live(args) => live::run(&args),
        Command::Defects(args) => defects::run(&args),
        Command::Cost(args) => cost::run(&args),
    };
    exit::code(result)
}
