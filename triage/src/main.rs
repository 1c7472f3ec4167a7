//! `mm-lockstep`: hunts for divergences between the two memory managers, and takes care of what
//! it finds.

mod campaign;
mod cli;
mod defects;
mod diff;
mod exit;
mod finding;
mod fmt;
mod guard;
mod hunt;
mod input;
mod judge;
mod replay;
mod show;
mod summary;
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
        Command::Defects(args) => defects::run(&args),
    };
    exit::code(result)
}
