//! Every program of `corpus/`, one test a file and question.
//!
//! * `clean`: the two sides agree at every step, in full snapshots, and every `expect` line holds
//!   on both;
//! * `expects`: each stated value, changed, makes the program fail at that very line;
//! * `defect`: a file that says `# defect: NAME -> CLASS` in its comments diverges in that class
//!   (or field) with the defect on;
//! * `variant`: a file that says `# variant: NAME` agrees in that variant, too, and all it states holds;
//! * `catalogue`: every defect has its program, and the two say the same of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use lockstep::{Class, Divergence, Lockstep, Names, Options, Verdict, What, lanes, render};
use optimized::{Defect, Defects, Variant};
use program::{Field, Layout, Program, Ret, text};

const PARANOID: Options = Options { paranoid: true };

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus"));
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    let mut trials = Vec::new();
    let found = files.len();
    trials.push(Trial::test("the corpus is not empty", move || {
        if found > 0 { Ok(()) } else { Err("no `.txt` file under corpus/".into()) }
    }));
    for &defect in Defect::ALL {
        let name = format!("catalogue: {}", defect.info().name);
        trials.push(Trial::test(name, move || catalogued(root, defect)));
    }
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let source = fs::read_to_string(&file).unwrap_or_default();
        if let Some((defect, expected)) = defect_line(&source) {
            let (file, name) = (file.clone(), format!("{name}: defect {defect}"));
            trials.push(Trial::test(name, move || diverges(&file, &defect, &expected)));
        }
        if let Some(variant) = stated(&source, "variant") {
            let (file, variant) = (file.clone(), variant.to_owned());
            let name = format!("{name}: variant {variant}");
            trials.push(Trial::test(name, move || {
                let variant = Variant::find(&variant).ok_or("no variant has this name")?;
                clean(&file, Defects::NONE.in_variant(variant))
            }));
        }
        let (clean_file, expects_file) = (file.clone(), file);
        let trial = move || clean(&clean_file, Defects::NONE);
        trials.push(Trial::test(format!("{name}: clean"), trial));
        if source.lines().any(|line| line.trim_start().starts_with("expect")) {
            let name = format!("{name}: expects");
            trials.push(Trial::test(name, move || expects(&expects_file)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
}

/// `# defect: NAME -> CLASS`.
fn defect_line(source: &str) -> Option<(String, String)> {
    let (name, expected) = stated(source, "defect")?.split_once("->")?;
    Some((name.trim().to_owned(), expected.trim().to_owned()))
}

/// What a comment `# WORD: …` says.
fn stated<'s>(source: &'s str, word: &str) -> Option<&'s str> {
    let says = |line: &'s str| line.strip_prefix("# ")?.strip_prefix(word)?.strip_prefix(':');
    source.lines().find_map(|line| says(line.trim())).map(str::trim)
}

/// The program that the catalogue names exists, is about that defect and shows the first class that
/// the catalogue expects.
fn catalogued(root: &Path, defect: Defect) -> Result<(), Failed> {
    let info = defect.info();
    let source = fs::read_to_string(root.join(info.corpus)).map_err(|error| error.to_string())?;
    let said = defect_line(&source);
    if said == Some((info.name.to_owned(), info.alone().to_owned())) {
        Ok(())
    } else {
        Err(format!("the catalogue says {} -> {}, the file {said:?}", info.name, info.alone()))?
    }
}

fn load(file: &Path) -> Result<Program, Failed> {
    let source = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let name = file.display().to_string();
    let parsed = text::parse(&source)
        .map_err(|errors| Failed::from(text::render_all(&errors, &name, &source, false)))?;
    Ok(parsed.program)
}

fn clean(file: &Path, defects: Defects) -> Result<(), Failed> {
    let program = load(file)?;
    match Lockstep::new(defects).run(&program, &PARANOID) {
        Verdict::Clean => Ok(()),
        Verdict::Diverged(divergence) => {
            let fields = render::fields(&divergence, &Layout::of(&program));
            Err(format!("{} at {:?}: {fields:#?}", divergence.class, divergence.when).into())
        }
    }
}

/// Every stated value in turn, changed.
fn expects(file: &Path) -> Result<(), Failed> {
    let program = load(file)?;
    let mut lockstep = Lockstep::new(Defects::NONE);
    let mut changed = 0;
    for at in 0..program.expects.len() {
        let mut wrong = Vec::new();
        if let Some(ret) = program.expects[at].ret {
            let mut program = program.clone();
            program.expects[at].ret = Some(other_ret(ret));
            wrong.push((format!("result {ret}"), program));
        }
        for (number, &(field, value)) in program.expects[at].fields.iter().enumerate() {
            let mut program = program.clone();
            program.expects[at].fields[number].1 = other(field, value);
            wrong.push((format!("{} {value}", field.word()), program));
        }
        for (what, wrong) in wrong {
            changed += 1;
            let verdict = lockstep.run(&wrong, &PARANOID);
            let found = verdict.divergence().and_then(|found| found.field()).map(|diff| diff.what);
            if found != Some(What::Expect(at)) {
                let line = &program.expects[at];
                return Err(format!("`{line}`: nobody checks {what}: {found:?}").into());
            }
        }
    }
    if changed > 0 { Ok(()) } else { Err("no value is stated".into()) }
}

fn other(field: Field, value: u64) -> u64 {
    match field {
        Field::Ref | Field::Map | Field::PageMap | Field::Pin | Field::Order => value + 1,
        Field::Data | Field::Used(_) => value + 1,
        Field::Zone => (value + 1) % 3,
        _ => value ^ 1,
    }
}

fn other_ret(ret: Ret) -> Ret {
    match ret {
        Ret::Ok(count) => Ret::Ok(count + 1),
        Ret::Err(_) | Ret::Void | Ret::WouldBlock => Ret::Ok(0),
    }
}

fn diverges(file: &Path, defect: &str, expected: &str) -> Result<(), Failed> {
    let defect = Defect::find(defect).ok_or("no defect has this name")?;
    let verdict = Lockstep::new(Defects::only(defect)).run(&load(file)?, &PARANOID);
    let Some(divergence) = verdict.divergence() else {
        return Err("the two sides agree although the defect is on".into());
    };
    let found = [
        divergence.class.to_string(),
        divergence.class.family().to_owned(),
        divergence.field_name().to_owned(),
    ];
    let words = expected.split(['/', ' ', ',']).filter(|word| !word.is_empty());
    match words.clone().find(|word| !found.contains(&(*word).to_owned())) {
        Some(word) => Err(format!("says {word}, found {found:?}").into()),
        None if divergence.class == Class::Digest => Err("a bug of the harness".into()),
        None if words.count() == 0 => Err("no class is stated after `->`".into()),
        None => marked(divergence, &Layout::of(&load(file)?)),
    }
}

/// What goes wrong in a phase is marked in its lanes, and they stay short however long it went round.
fn marked(found: &Divergence, layout: &Layout) -> Result<(), Failed> {
    let lanes = lanes(found, layout, &Names::at(found));
    let long = lanes.lines().count() > 300;
    let pointed = found.trace.is_empty() || lanes.lines().any(|line| line.starts_with("  >> |"));
    match (pointed, long) {
        (true, false) => Ok(()),
        _ => Err(format!("wrong where?\n{lanes}").into()),
    }
}
