//! `completions` and `manual`: what shells and `man` want to know.

use std::path::PathBuf;

use clap::{Args as ClapArgs, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::{Exit, Stop};
use crate::write;

/// Arguments of `completions`.
#[derive(Debug, ClapArgs)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `manual`.
#[derive(Debug, ClapArgs)]
pub struct ManualArgs {
    /// The folder for the pages
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints a completion script.
pub fn completions(args: &CompletionsArgs) -> Result<Exit, Stop> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mm-lockstep", &mut script);
    write::text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Clean)
}

/// Writes a page a command.
pub fn manual(args: &ManualArgs) -> Result<Exit, Stop> {
    std::fs::create_dir_all(&args.folder).map_err(|error| write::at(&args.folder, error))?;
    clap_mangen::generate_to(Cli::command(), &args.folder)
        .map_err(|error| write::at(&args.folder, error))?;
    Ok(Exit::Clean)
}
