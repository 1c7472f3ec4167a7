//! `export`: a program in the form that somebody else needs.

mod c;
mod rust;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Serialize;

use crate::cli::Format;
use crate::exit::{Exit, Stop};
use crate::judge::Judge;
use crate::{input, write};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  mm-lockstep export corpus/seeds/fork-x-pin.txt --rust       a ready #[test] for lockstep/tests/
  mm-lockstep export corpus/seeds/fork-x-pin.txt --c          the same on a real kernel, as far as
                                                              system calls reach
  mm-lockstep export corpus/seeds/fork-x-pin.txt --bytes -o seed   an input for the fuzz targets

Exit codes: 0 done, 3 the program cannot be read or the output not written.";

/// Arguments of `export`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The program, in text or byte form, or a bucket of findings; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    form: Form,
    /// FILE is a fuzzing engine's input: any bytes mean a program
    #[arg(long)]
    raw: bool,
    /// Where to write it [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One of these.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
struct Form {
    /// A Rust test
    #[arg(long)]
    rust: bool,
    /// A C program that makes the system calls
    #[arg(long)]
    c: bool,
    /// The byte form, which every engine takes
    #[arg(long)]
    bytes: bool,
}

#[derive(Serialize)]
struct Json {
    schema_version: u32,
    form: &'static str,
    file: Option<String>,
    text: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit, Stop> {
    let loaded = input::one(&args.file, args.raw)?;
    let defects = loaded.found_with;
    let program = loaded.telling(|program| Judge::is_clean(program, defects));
    if program.steps().count() == 0 {
        return Err(input::vacuous(&args.file));
    }
    let stem = args.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (form, content) = match args.form {
        Form { rust: true, .. } => ("rust", rust::test(&stem, &program).into_bytes()),
        Form { c: true, .. } => ("c", c::reproducer(&program).into_bytes()),
        _ => ("bytes", program.encode()),
    };
    if args.form.bytes && args.format == Format::Json && args.output.is_none() {
        let message = "error: bytes are no JSON\n  hint: write them to a file, -o FILE";
        return Err(Stop::Usage(message.to_owned()));
    }
    if let Some(file) = &args.output {
        write::bytes(file, &content)?;
    }
    if args.format == Format::Json {
        let text = String::from_utf8(content).ok().filter(|_| args.output.is_none());
        let file = args.output.as_ref().map(|file| file.display().to_string());
        write::json(&Json { schema_version: 1, form, file, text })?;
    } else if args.output.is_none() {
        let mut out = io::stdout().lock();
        out.write_all(&content).and_then(|()| out.flush())?;
    }
    Ok(Exit::Clean)
}
