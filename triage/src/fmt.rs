//! `fmt`: canonical text.

use std::path::Path;

use program::text;
use serde::Serialize;

use crate::cli::{FmtArgs, Format};
use crate::exit::{Exit, Stop};
use crate::{input, write};

#[derive(Serialize)]
struct Json {
    file: String,
    canonical: bool,
}

/// Runs the command.
pub fn run(args: &FmtArgs) -> Result<Exit, Stop> {
    let mut list = Vec::new();
    // Nothing is written before everything was read.
    let mut files = Vec::new();
    let paths = input::files(&args.files)?;
    for path in &paths {
        let source = input::source(path, input::read(path)?)?;
        let canonical =
            text::format(&source).map_err(|errors| input::mistakes(path, &source, &errors))?;
        files.push((path, source, canonical));
    }
    for (path, source, canonical) in files {
        let stdin = path == Path::new("-");
        let same = source == canonical;
        list.push(Json { file: input::name(path), canonical: same });
        if args.check {
            if !same && args.format == Format::Text {
                write::text(&format!("{}: not canonical\n", input::name(path)))?;
            }
        } else if stdin {
            write::text(&canonical)?;
        } else if !same {
            write::file(path, &canonical)?;
        }
    }
    let all = list.iter().all(|file| file.canonical);
    if args.format == Format::Json {
        write::json(&list)?;
    }
    Ok(if args.check && !all { Exit::Finding } else { Exit::Clean })
}
