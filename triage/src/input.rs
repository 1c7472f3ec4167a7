//! Programs from files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use optimized::{Defect, Defects, Variant};
use program::codec::{self, Decoder};
use program::{Program, text};

use crate::exit::Stop;
use crate::{diff, finding};

/// Largest input: far more than any program needs.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a whole file, or standard input for `-`.
fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    let mut fill = |input: &mut dyn Read| input.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    let result = if path == Path::new("-") {
        fill(&mut io::stdin().lock())
    } else {
        File::open(path).and_then(|mut file| fill(&mut file))
    };
    result.map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        let limit = MAX_BYTES >> 20;
        return Err(Stop::Input(format!("error: {}: larger than {limit} MiB", name(path))));
    }
    Ok(bytes)
}

/// The files that the arguments name: a folder stands for every `.txt` below it, in order.
pub fn files(paths: &[PathBuf]) -> Vec<Result<PathBuf, Stop>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(Ok(path.clone()));
            continue;
        }
        let mut found = Vec::new();
        match below(path, &mut found) {
            Ok(()) if found.is_empty() => {
                let message = format!("error: no .txt file in {}", path.display());
                files.push(Err(Stop::Input(message)));
            }
            Ok(()) => files.extend(found.into_iter().map(Ok)),
            Err(stop) => {
                files.extend(found.into_iter().map(Ok));
                files.push(Err(stop));
            }
        }
    }
    files
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Stop> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let entries: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries.map_err(|error| unreadable(folder, &error))?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            below(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
    Ok(())
}

/// Loads one program. A bucket of findings stands for its minimal one.
pub fn one(path: &Path, raw: bool) -> Result<Loaded, Stop> {
    let minimal = path.join("minimal.txt");
    if path.is_dir() && !minimal.exists() {
        let message = format!("error: {} is a folder and no bucket of findings", path.display());
        return Err(Stop::Input(format!(
            "{message}\n  hint: name one program, or findings/BUCKET"
        )));
    }
    load(if path.is_dir() { &minimal } else { path }, raw)
}

/// What to call a file in messages.
pub fn name(path: &Path) -> String {
    if path == Path::new("-") { "<stdin>".to_owned() } else { path.display().to_string() }
}

/// That a file or folder cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> Stop {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path; findings are written to `findings/`",
        _ => "the file must be readable",
    };
    Stop::Input(format!("error: cannot read {}: {error}\n  hint: {hint}", name(path)))
}

/// That an input says nothing: to call it clean would say more.
pub fn vacuous(path: &Path) -> Stop {
    Stop::Input(format!("error: {}: no operation in it", name(path)))
}

/// A program, and where in its text it says what.
pub struct Loaded {
    /// The program.
    pub program: Program,
    /// Line of each expectation.
    pub expects: Vec<u32>,
    /// What it says was switched on when it was found.
    pub found_with: Defects,
    /// What an engine's input meant to a build of an earlier version, which its header names. To one
    /// of this version, any header is as good as another.
    earlier: Option<Program>,
}

impl Loaded {
    /// The program as this version reads it, unless that is `clean` and an earlier version read
    /// another one.
    pub fn telling(self, clean: impl FnOnce(&Program) -> bool) -> Program {
        match self.earlier {
            Some(earlier) if clean(&self.program) => earlier,
            _ => self.program,
        }
    }
}

const FOUND_WITH: &str = "# found with ";

/// Lines that say what was switched on, in files that `triage` and `minimise` write.
pub fn found_with(defects: Defects) -> String {
    finding::switches(defects).map(|switch| format!("{FOUND_WITH}{switch}\n")).collect()
}

/// What such lines say.
fn stated(source: &str) -> Defects {
    let mut defects = Defects::NONE;
    for switch in source.lines().filter_map(|line| line.strip_prefix(FOUND_WITH)) {
        match switch.split_once(' ') {
            Some(("--defect", name)) => {
                Defect::find(name.trim()).into_iter().for_each(|defect| defects.insert(defect));
            }
            Some(("--variant", name)) => {
                let variant = Variant::find(name.trim());
                defects = variant.map_or(defects, |variant| defects.in_variant(variant));
            }
            _ => {}
        }
    }
    defects
}

/// An input in either form.
pub enum Form {
    /// Text, not parsed yet.
    Text(String),
    /// The program that bytes mean, and meant to an earlier version.
    Bytes(Box<Program>, Option<Box<Program>>),
}

/// Reads an input. `raw`: any bytes at all mean a program, if there are any.
pub fn form(path: &Path, raw: bool) -> Result<Form, Stop> {
    let bytes = read(path)?;
    if raw && bytes.is_empty() {
        return Err(vacuous(path));
    }
    if raw {
        let mut program = Program::default();
        Decoder::default().decode(&bytes, &mut program);
        let old = matches!(codec::decode_strict(&bytes), Err(codec::DecodeError::OldVersion(_)));
        let earlier = Some(&bytes).filter(|_| old).and_then(|bytes| codec::upgrade(bytes).ok());
        let earlier = earlier.map(|bytes| Box::new(Program::decode(&bytes)));
        return Ok(Form::Bytes(Box::new(program), earlier));
    }
    if is_bytes(&bytes) {
        return match codec::decode_strict(&bytes) {
            Ok(program) => Ok(Form::Bytes(Box::new(program), None)),
            Err(error) => {
                let hint = "`--raw` reads any bytes, as fuzzing engines do";
                Err(Stop::Input(format!("error: {}: {error}\n  hint: {hint}", name(path))))
            }
        };
    }
    source(path, bytes).map(Form::Text)
}

/// Loads a program in either form. `raw`: any bytes at all mean a program.
pub fn load(path: &Path, raw: bool) -> Result<Loaded, Stop> {
    match form(path, raw)? {
        Form::Text(source) => parse(path, &source),
        Form::Bytes(program, earlier) => {
            let (expects, found_with) = (Vec::new(), Defects::NONE);
            let earlier = earlier.map(|earlier| *earlier);
            Ok(Loaded { program: *program, expects, found_with, earlier })
        }
    }
}

/// Parses the text form.
fn parse(path: &Path, source: &str) -> Result<Loaded, Stop> {
    match text::parse(source) {
        Ok(parsed) => {
            let expects = parsed.expects.iter().map(|place| place.line).collect();
            let found_with = stated(source);
            Ok(Loaded { program: parsed.program, expects, found_with, earlier: None })
        }
        Err(errors) => Err(mistakes(path, source, &errors)),
    }
}

/// What is wrong with a text, as a compiler would show it.
pub fn mistakes(path: &Path, source: &str, errors: &[text::ParseError]) -> Stop {
    let colours = diff::colours(&io::stderr());
    Stop::Input(text::render_all(errors, &name(path), source, colours))
}

/// The text of a file.
fn source(path: &Path, bytes: Vec<u8>) -> Result<String, Stop> {
    String::from_utf8(bytes).map_err(|_| {
        let hint = "programs are UTF-8 text, or bytes that begin with `ml`; `--raw` reads any";
        Stop::Input(format!("error: {}: neither text nor a program\n  hint: {hint}", name(path)))
    })
}

/// Whether it begins as the byte form does: the magic, then a version, which is no printable
/// character.
fn is_bytes(bytes: &[u8]) -> bool {
    bytes.starts_with(&codec::MAGIC) && bytes.get(2).is_some_and(|&version| version < b'\t')
}
