//! `diff`: two programs, two findings, or one program in two builds.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use lockstep::{Lockstep, Options, Verdict, render};
use optimized::{Defect, Defects, Variant};
use program::{Layout, Model, Program};
use serde::Serialize;

use crate::cli::{BytesArg, DefectArgs, Format, defect_named, variant_named};
use crate::exit::{Exit, Stop};
use crate::judge::{Judge, Trouble};
use crate::{diff, finding, guard, input, side, write};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  mm-lockstep diff old.txt new.txt                    two programs: text, verdict, states
  mm-lockstep diff findings/one findings/other        the minimal programs of two buckets
  mm-lockstep diff FILE --with fork-shares-pinned     the same program with and without a defect
  mm-lockstep diff FILE --with-variant vfio           the same program in two ways of pinning

Exit codes: 0 no difference, 1 there is one, 3 a file cannot be read.";

/// Arguments of `diff`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// A program, or a bucket of findings
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another; the same if left out
    #[arg(value_name = "B", required_unless_present_any = ["with", "with_variant"])]
    b: Option<PathBuf>,
    #[command(flatten)]
    defects: DefectArgs,
    /// Defects that are on for B only
    #[arg(long, value_name = "NAME", value_parser = defect_named)]
    with: Vec<Defect>,
    /// Variant of B, if not that of A
    #[arg(long, value_name = "NAME", value_parser = variant_named)]
    with_variant: Option<Variant>,
    #[command(flatten)]
    bytes: BytesArg,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One side.
#[derive(PartialEq, Eq, Serialize)]
struct Shown {
    program: String,
    verdict: String,
    /// What differs from the reference: field, and both values.
    fields: Vec<[String; 3]>,
    /// The optimised side after each operation.
    states: Vec<String>,
}

#[derive(Serialize)]
struct Json {
    schema_version: u32,
    same: bool,
    a: Shown,
    b: Shown,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit, Stop> {
    let other = args.b.as_ref().unwrap_or(&args.a);
    let load = |path: &Path| -> Result<(Program, Defects), Stop> {
        let loaded = input::one(path, args.bytes.bytes)?;
        let on = args.defects.or_found_with(path, &loaded);
        Ok((loaded.telling(|program| Judge::is_clean(program, on)), on))
    };
    let ((a, on), (b, own)) = (load(&args.a)?, load(other)?);
    let variant = args.with_variant.unwrap_or(own.variant());
    let with = args.with.iter().fold(own.in_variant(variant), |mut set, &defect| {
        set.insert(defect);
        set
    });
    let (a, b) = (show(&a, on), show(&b, with));
    let exit = if a == b { Exit::Clean } else { Exit::Finding };
    if args.format == Format::Json {
        write::json(&Json { schema_version: 1, same: a == b, a, b })?;
        return Ok(exit);
    }
    let name = |path: &Path, defects: Defects| {
        let switched = finding::on(defects).map(|defect| format!(" +{}", defect.info().name));
        let variant = Some(defects.variant()).filter(|&variant| variant != Variant::Batched);
        let variant = variant.map_or(String::new(), |variant| format!(" {}", variant.info().name));
        format!("{}{}{variant}", input::name(path), switched.collect::<String>())
    };
    let (left, right) = (name(&args.a, on), name(other, with));
    let (width, colours) = (side::width(), diff::colours(&std::io::stdout()));
    let columns = |a: &str, b: &str| side::columns([&left, a], [&right, b], width, colours);
    let mut out = String::new();
    for (title, a, b) in [("programs", &a.program, &b.program), ("verdicts", &a.told(), &b.told())]
    {
        let shown = columns(a, b);
        let _ = match shown.is_empty() {
            true => writeln!(out, "{title}: the same"),
            false => writeln!(out, "{title}:\n{shown}"),
        };
    }
    match a.states.iter().zip(&b.states).position(|(a, b)| a != b) {
        Some(at) => {
            let shown = columns(&a.states[at], &b.states[at]);
            let _ = writeln!(
                out,
                "states of the optimised side, first after operation {}:\n{shown}",
                at + 1
            );
        }
        None => out.push_str("states of the optimised side: the same\n"),
    }
    write::text(&out)?;
    Ok(exit)
}

impl Shown {
    fn told(&self) -> String {
        let mut out = format!("{}\n", self.verdict);
        for [what, reference, optimized] in &self.fields {
            let _ = writeln!(out, "{what}: reference {reference}, optimised {optimized}");
        }
        out
    }
}

fn show(program: &Program, defects: Defects) -> Shown {
    let layout = Layout::of(program);
    let mut lockstep = Lockstep::new(defects);
    let mut states = Vec::new();
    let run = || {
        lockstep.observe(program, &Options { paranoid: true }, |moment| {
            states.push(render::state(&moment.optimized.snapshot(), &layout));
        })
    };
    let trouble = match guard::catch(run) {
        Ok(Verdict::Clean) => None,
        Ok(Verdict::Diverged(found)) => Some(Trouble::Diverged(found)),
        Err(panic) => Some(Trouble::Panicked(panic)),
    };
    let fields = match &trouble {
        Some(Trouble::Diverged(found)) => render::fields(found, &layout),
        _ => Vec::new(),
    };
    let verdict = trouble.map_or("clean".to_owned(), |trouble| trouble.symptom().class);
    Shown { program: program.to_string(), verdict, fields, states }
}
