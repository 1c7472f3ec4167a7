//! `report`: a folder of findings as a page for people, or as a file for CI.

use std::path::{Path, PathBuf};

use askama::Template;
use clap::Args as ClapArgs;
use optimized::{Defect, Kind};
use serde_json::json;

use crate::exit::{Exit, Stop};
use crate::log::{self, Curve};
use crate::store::{self, Bucket};
use crate::{cli, collect, write};

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  mm-lockstep report --html report.html               the buckets and the detection table
  mm-lockstep hunt --format json --log log.jsonl > hunt.json
  mm-lockstep report --campaign hunt.json --log log.jsonl --html report.html
  mm-lockstep report --sarif findings.sarif --junit findings.xml

Exit codes: 0 no finding, 1 there are some, 3 something cannot be read or written.";

/// Arguments of `report`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Where `triage` keeps its buckets
    #[arg(value_name = "DIR", default_value = "findings")]
    findings: PathBuf,
    /// What `hunt --format json` printed; may be repeated
    #[arg(long, value_name = "FILE")]
    campaign: Vec<PathBuf>,
    /// What `hunt --log` wrote; may be repeated
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// Write a self-contained page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write SARIF 2.1.0, for code scanning
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Write JUnit XML, a test case a bucket
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    format: cli::Format,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    buckets: &'a [Bucket],
    detection: Vec<Detection>,
    /// How many of them some bucket hangs on.
    seen: usize,
    campaigns: Vec<Campaign>,
    logs: Vec<(String, [Curve; 2])>,
    version: &'a str,
}

/// A defect of the catalogue, and whether some bucket hangs on it.
struct Detection {
    id: &'static str,
    name: &'static str,
    expected: &'static str,
    /// Inputs that show it.
    inputs: usize,
    /// Operations of the smallest program.
    smallest: Option<usize>,
}

/// A hunt.
struct Campaign {
    file: String,
    seed: u64,
    programs: u64,
    operations: u64,
    findings: usize,
    paths: usize,
    paths_taken: usize,
    /// Paths by name with their hits, rarest first.
    rarest: Vec<(String, u64)>,
}

#[derive(Template)]
#[template(path = "junit.xml")]
struct Junit<'a> {
    buckets: &'a [Bucket],
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit, Stop> {
    let buckets = store::buckets(&args.findings)?;
    if buckets.is_empty()
        && collect::artifacts(std::slice::from_ref(&args.findings)).iter().any(Result::is_ok)
    {
        let folder = args.findings.display();
        return Err(Stop::Input(format!(
            "error: {folder}: findings that are in no bucket\n  hint: `mm-lockstep triage {folder}` makes buckets of \
             them; report takes the folder of all buckets"
        )));
    }
    let campaigns =
        args.campaign.iter().map(|file| campaign(file)).collect::<Result<Vec<_>, _>>()?;
    let logs = args.log.iter().map(|file| {
        log::read(file).map(|samples| (file.display().to_string(), log::curves(&samples)))
    });
    let logs = logs.collect::<Result<Vec<_>, _>>()?;
    let render = |page: askama::Result<String>| page.map_err(std::io::Error::other);
    if let Some(file) = &args.html {
        let detection = Defect::ALL.iter().filter(|defect| defect.info().kind == Kind::Defect);
        let detection: Vec<_> = detection.map(|&defect| detected(defect, &buckets)).collect();
        let seen = detection.iter().filter(|defect| defect.inputs > 0).count();
        let page =
            Page { buckets: &buckets, detection, seen, campaigns, logs, version: cli::VERSION };
        write::file(file, &render(page.render())?)?;
    }
    if let Some(file) = &args.junit {
        write::file(file, &render(Junit { buckets: &buckets }.render())?)?;
    }
    if let Some(file) = &args.sarif {
        write::file(file, &format!("{:#}\n", sarif(&args.findings, &buckets)))?;
    }
    if args.format == cli::Format::Json {
        let names: Vec<&str> = buckets.iter().map(|bucket| bucket.name.as_str()).collect();
        write::json(&json!({ "schema_version": 1, "buckets": names }))?;
    } else if buckets.is_empty() {
        write::text("no findings\n")?;
    } else {
        write::text(&crate::triage::table(&buckets))?;
    }
    Ok(if buckets.is_empty() { Exit::Clean } else { Exit::Finding })
}

fn detected(defect: Defect, buckets: &[Bucket]) -> Detection {
    let info = defect.info();
    let hangs = |bucket: &&Bucket| bucket.verdict.cause.as_deref() == Some(info.name);
    let mine = || buckets.iter().filter(hangs);
    Detection {
        id: info.id,
        name: info.name,
        expected: info.expected,
        inputs: mine().map(Bucket::inputs).sum(),
        smallest: mine().map(|bucket| bucket.verdict.steps).min(),
    }
}

fn campaign(file: &Path) -> Result<Campaign, Stop> {
    let bad = |error: &dyn std::fmt::Display| {
        let hint = "`mm-lockstep hunt --format json` prints it";
        Stop::Input(format!("error: {}: {error}\n  hint: {hint}", file.display()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| bad(&error))?;
    let told: serde_json::Value = serde_json::from_str(&text).map_err(|error| bad(&error))?;
    if told["schema_version"] != 1 || !told["paths"].is_array() {
        return Err(bad(&"not what a hunt prints"));
    }
    let number = |key: &str| told[key].as_u64().unwrap_or_default();
    let paths = told["paths"].as_array().into_iter().flatten().map(|path| {
        (path["path"].as_str().unwrap_or_default().to_owned(), path["hits"].as_u64().unwrap_or(0))
    });
    let mut rarest: Vec<(String, u64)> = paths.collect();
    rarest.sort_by_key(|(_, hits)| *hits);
    Ok(Campaign {
        file: file.display().to_string(),
        seed: number("seed"),
        programs: number("programs"),
        operations: number("operations"),
        findings: told["findings"].as_array().map_or(0, Vec::len),
        paths: rarest.len(),
        paths_taken: rarest.iter().filter(|(_, hits)| *hits > 0).count(),
        rarest: rarest.into_iter().take(12).collect(),
    })
}

fn sarif(findings: &Path, buckets: &[Bucket]) -> serde_json::Value {
    let mut classes: Vec<&str> = buckets.iter().map(|bucket| &*bucket.verdict.class).collect();
    classes.sort_unstable();
    classes.dedup();
    let rules: Vec<_> = classes.iter().map(|class| json!({ "id": class })).collect();
    let result = |bucket: &Bucket| {
        let file = findings.join(&bucket.name).join("minimal.txt");
        json!({
            "ruleId": bucket.verdict.class,
            "level": "error",
            "message": { "text": bucket.verdict.titles.title },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": file.display().to_string() } } }],
            "partialFingerprints": { "bucket/v1": bucket.name },
            "occurrenceCount": bucket.inputs(),
        })
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "mm-lockstep", "version": cli::VERSION, "rules": rules } },
            "results": buckets.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}
