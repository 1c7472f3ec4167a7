//! `fmt`: canonical text.

use std::path::{Path, PathBuf};

use program::text;
use serde::Serialize;

use crate::cli::{FmtArgs, Format};
use crate::exit::{Exit, Stop};
use crate::input::{self, Form};
use crate::write;

#[derive(Serialize)]
struct Json {
    file: String,
    canonical: bool,
    /// What was not written to the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// A file that was read.
struct Read {
    path: PathBuf,
    canonical: String,
    /// Whether it was canonical text already.
    same: bool,
    /// Whether the text goes to standard output: the input has no place for it.
    print: bool,
}

fn read(path: PathBuf, raw: bool) -> Result<Read, Stop> {
    let print = path == Path::new("-");
    match input::form(&path, raw)? {
        Form::Text(source) => {
            let canonical =
                text::format(&source).map_err(|errors| input::mistakes(&path, &source, &errors))?;
            Ok(Read { same: source == canonical, path, canonical, print })
        }
        Form::Bytes(program, earlier) => {
            if earlier.is_some() {
                let path = path.display();
                eprintln!(
                    "note: {path}: to builds of an earlier byte version another program; `corpus upgrade` makes it that"
                );
            }
            Ok(Read { path, canonical: program.to_string(), same: false, print: true })
        }
    }
}

/// Runs the command.
pub fn run(args: &FmtArgs) -> Result<Exit, Stop> {
    let (mut list, mut partial) = (Vec::new(), false);
    let mut bad = |stop: Stop| {
        stop.say();
        partial = true;
    };
    for path in input::files(&args.files) {
        let file = match path.and_then(|path| read(path, args.bytes.bytes)) {
            Ok(file) => file,
            Err(stop) => {
                bad(stop);
                continue;
            }
        };
        let name = input::name(&file.path);
        let mut told = Json { file: name.clone(), canonical: file.same, text: None };
        if args.check {
            if !file.same && args.format == Format::Text {
                write::text(&format!("{name}: not canonical\n"))?;
            }
        } else if file.print && args.format == Format::Json {
            told.text = Some(file.canonical);
        } else if file.print {
            write::text(&file.canonical)?;
        } else if !file.same
            && let Err(error) = write::file(&file.path, &file.canonical)
        {
            bad(Stop::Output(error));
        }
        list.push(told);
    }
    let all = list.iter().all(|file| file.canonical);
    if args.format == Format::Json {
        write::json(&list)?;
    }
    Ok(match (partial, args.check && !all) {
        (true, _) => Exit::Partial,
        (false, true) => Exit::Finding,
        (false, false) => Exit::Clean,
    })
}
