//! The folder of findings: one folder a bucket, one file a run.
//!
//! ```text
//! findings/BUCKET/verdict.json    what it shows, and the two programs (`Verdict`)
//!                 minimal.txt     the smallest program known to show it
//!                 program.txt     the input it was made from
//!                 runs/ID.json    an input of the bucket: who made it, and each run of it (`Record`)
//! ```
//!
//! Nothing is ever half there: a bucket is made aside and renamed, a file is written aside and
//! renamed, and an input counts as done when its `runs/ID.json` is there, which is written last.
//! Two processes take turns.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bucket::Titles;
use crate::collect::Engine;
use crate::exit::Stop;
use crate::write;

/// Version of the files' layout; readers refuse others.
pub const SCHEMA: u32 = 1;

/// What a bucket shows: `verdict.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Version of this layout.
    pub schema_version: u32,
    /// The name of the bucket and what else it is called.
    #[serde(flatten)]
    pub titles: Titles,
    /// Class of the finding.
    pub class: String,
    /// The most telling field.
    pub field: String,
    /// The path of the optimised side taken last.
    pub path: String,
    /// Every path taken in the step that shows it.
    pub paths: Vec<String>,
    /// The operation that shows it, if it is one of the program's.
    pub operation: Option<String>,
    /// What differs: field, and the value on each side.
    pub fields: Vec<[String; 3]>,
    /// The defect that it hangs on, if it is known.
    pub cause: Option<String>,
    /// Defects that were on.
    pub defects: Vec<String>,
    /// The variant, if not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operations of the minimal program.
    pub steps: usize,
    /// Scheduling decisions of the minimal program.
    pub slices: usize,
    /// The minimal program as a file: `minimal.txt` is made from it.
    pub minimal: String,
    /// The input that it was made from: `program.txt`.
    pub program: String,
}

/// Where an input was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// File.
    pub file: String,
    /// Who made it.
    pub engine: Engine,
}

/// One look at an input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// When, in UTC.
    pub when: String,
    /// Version and commit of this tool.
    pub commit: String,
    /// Defects that were on.
    pub defects: Vec<String>,
    /// The variant, if not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What it was called then.
    pub title: String,
}

impl Run {
    /// Whether both are of one commit with the same switched on.
    pub fn same_build(&self, other: &Run) -> bool {
        let build = |run: &Run| (run.commit.clone(), run.defects.clone(), run.variant.clone());
        build(self) == build(other)
    }
}

/// An input of a bucket: `runs/ID.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of this layout.
    pub schema_version: u32,
    /// The program's hash, also the file's name.
    pub id: String,
    /// Where it was found; more than once if engines found the same program.
    pub sources: Vec<Source>,
    /// When it was first seen, in UTC.
    pub first_seen: String,
    /// Operations.
    pub steps: usize,
    /// Each look at it.
    pub runs: Vec<Run>,
    /// The program.
    pub program: String,
}

/// A bucket as it is on disk.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Name of its folder.
    pub name: String,
    /// What it shows.
    pub verdict: Verdict,
    /// Its inputs by id.
    pub records: BTreeMap<String, Record>,
}

/// An input with what it shows, to be stored.
pub struct Entry {
    /// Of the minimal program.
    pub verdict: Verdict,
    /// The input.
    pub record: Record,
}

/// The folder, held for this process alone.
pub struct Store {
    root: PathBuf,
    /// Every bucket, by name.
    pub buckets: Vec<Bucket>,
    _lock: File,
}

impl Store {
    /// Opens a folder of findings, which is made if need be, and waits for whoever has it.
    pub fn open(root: &Path) -> Result<Store, Stop> {
        fs::create_dir_all(root).map_err(|error| write::at(root, error))?;
        let path = root.join(".lock");
        let lock = File::create(&path).map_err(|error| write::at(&path, error))?;
        lock.lock().map_err(|error| write::at(&path, error))?;
        sweep(root);
        let buckets = buckets(root)?;
        for bucket in &buckets {
            derive(&root.join(&bucket.name), &bucket.verdict)?;
        }
        Ok(Store { root: root.to_owned(), buckets, _lock: lock })
    }

    /// The buckets of an input and its record in each. More than one: of commits on which it showed
    /// different things.
    pub fn records<'a>(&'a self, id: &str) -> Vec<(&'a Bucket, &'a Record)> {
        let record = |bucket: &'a Bucket| Some((bucket, bucket.records.get(id)?));
        self.buckets.iter().filter_map(record).collect()
    }

    /// Puts an input into the bucket that shares a title with it, or into a new one. Where it was
    /// before it stays, with what it showed now.
    pub fn put(&mut self, entry: Entry) -> io::Result<()> {
        let Record { id, sources, runs, .. } = entry.record.clone();
        let meets = |bucket: &Bucket| bucket.verdict.titles.meet(&entry.verdict.titles);
        match self.buckets.iter().position(meets) {
            // Two inputs of one pile may be the same program.
            Some(at) if self.buckets[at].records.contains_key(&id) => {}
            Some(at) => self.grow(at, entry)?,
            None => self.create(entry)?,
        }
        let (mut sources, run) = (sources.into_iter(), runs.into_iter().last());
        sources.try_for_each(|source| self.again(&id, source, run.clone()))
    }

    /// Another source or another run of a known input.
    pub fn again(&mut self, id: &str, source: Source, run: Option<Run>) -> io::Result<()> {
        for bucket in &mut self.buckets {
            let Some(record) = bucket.records.get_mut(id) else { continue };
            let known = record.sources.contains(&source);
            if !known {
                record.sources.push(source.clone());
            }
            // Of one commit, one run.
            let run = run.clone().filter(|run| !record.runs.iter().any(|old| old.same_build(run)));
            if known && run.is_none() {
                continue;
            }
            record.runs.extend(run);
            save(&record_path(&self.root.join(&bucket.name), id), record)?;
        }
        Ok(())
    }

    fn grow(&mut self, at: usize, entry: Entry) -> io::Result<()> {
        let bucket = &mut self.buckets[at];
        let folder = self.root.join(&bucket.name);
        let size = |verdict: &Verdict| {
            (verdict.steps, verdict.slices, verdict.minimal.len(), verdict.minimal.clone())
        };
        let mut verdict = bucket.verdict.clone();
        verdict.titles.join(&entry.verdict.titles);
        if size(&entry.verdict) < size(&bucket.verdict) {
            // The bucket keeps its name, whatever shows it best.
            let titles = verdict.titles;
            verdict = Verdict { titles, ..entry.verdict };
        }
        if verdict != bucket.verdict {
            save(&folder.join("verdict.json"), &verdict)?;
            derive(&folder, &verdict)?;
            bucket.verdict = verdict;
        }
        save(&record_path(&folder, &entry.record.id), &entry.record)?;
        bucket.records.insert(entry.record.id.clone(), entry.record);
        Ok(())
    }

    fn create(&mut self, entry: Entry) -> io::Result<()> {
        let slug = entry.verdict.titles.slug();
        let taken = |name: &str| self.root.join(name).exists();
        let numbered = (2..).map(|number| format!("{slug}-{number}"));
        let mut names = std::iter::once(slug.clone()).chain(numbered);
        let name = names.find(|name| !taken(name)).unwrap_or(slug);
        let aside = self.root.join(format!("{}{name}", write::ASIDE));
        let _ = fs::remove_dir_all(&aside);
        fs::create_dir_all(aside.join("runs")).map_err(|error| write::at(&aside, error))?;
        save(&aside.join("verdict.json"), &entry.verdict)?;
        derive(&aside, &entry.verdict)?;
        save(&record_path(&aside, &entry.record.id), &entry.record)?;
        let folder = self.root.join(&name);
        fs::rename(&aside, &folder).map_err(|error| write::at(&folder, error))?;
        let records = BTreeMap::from([(entry.record.id.clone(), entry.record)]);
        self.buckets.push(Bucket { name, verdict: entry.verdict, records });
        Ok(())
    }
}

/// Writes what follows from `verdict.json`, unless it is there.
fn derive(folder: &Path, verdict: &Verdict) -> io::Result<()> {
    for (name, text) in [("minimal.txt", &verdict.minimal), ("program.txt", &verdict.program)] {
        let path = folder.join(name);
        if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            write::file(&path, text)?;
        }
    }
    Ok(())
}

/// Removes what a process that was killed left behind: everything that is still aside.
fn sweep(folder: &Path) {
    for path in entries(folder).into_iter().flatten() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = name.starts_with(write::ASIDE);
        let _ = match path.is_dir() {
            true if aside => fs::remove_dir_all(&path),
            false if aside => fs::remove_file(&path),
            true if path.join("verdict.json").is_file() || name == "runs" => {
                sweep(&path);
                Ok(())
            }
            _ => Ok(()),
        };
    }
}

/// Every bucket of a folder of findings; other files there are not looked at.
pub fn buckets(root: &Path) -> Result<Vec<Bucket>, Stop> {
    let mut list = Vec::new();
    for folder in entries(root)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') && folder.join("verdict.json").is_file() {
            list.extend(bucket(&folder, name)?);
        }
    }
    Ok(list)
}

/// A file that somebody broke does not keep the others from being read, and stays as it is.
fn bucket(folder: &Path, name: String) -> Result<Option<Bucket>, Stop> {
    let Some(verdict) = read::<Verdict>(&folder.join("verdict.json"))? else { return Ok(None) };
    let mut records = BTreeMap::new();
    let runs = folder.join("runs");
    for path in if runs.exists() { entries(&runs)? } else { Vec::new() } {
        if path.extension().is_some_and(|extension| extension == "json") {
            let record = read::<Record>(&path)?;
            records.extend(record.map(|record| (record.id.clone(), record)));
        }
    }
    Ok(Some(Bucket { name, verdict, records }))
}

fn record_path(folder: &Path, id: &str) -> PathBuf {
    folder.join("runs").join(format!("{id}.json"))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Stop> {
    let entries = fs::read_dir(folder).map_err(|error| bad(folder, error))?;
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    Ok(entries)
}

/// `None`: it is broken, and that was said.
fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, Stop> {
    #[derive(Deserialize)]
    struct Schema {
        schema_version: u32,
    }
    let broken = |error: &dyn std::fmt::Display| {
        eprintln!("error: {}: {error}\n  it is passed over", path.display());
        Ok(None)
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return broken(&error),
    };
    let schema: Schema = match serde_json::from_str(&text) {
        Ok(schema) => schema,
        Err(error) => return broken(&error),
    };
    if schema.schema_version != SCHEMA {
        let (theirs, path) = (schema.schema_version, path.display());
        return Err(Stop::Input(format!(
            "error: {path}: schema version {theirs}; this build reads {SCHEMA}\n  hint: move the \
             folder away and triage its inputs again"
        )));
    }
    serde_json::from_str(&text).map(Some).or_else(|error| broken(&error))
}

fn save(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    text.push('\n');
    write::file(path, &text)
}

fn bad(path: &Path, error: impl std::fmt::Display) -> Stop {
    let hint = "a folder of findings holds a folder a bucket, as `triage` writes it";
    Stop::Input(format!("error: {}: {error}\n  hint: {hint}", path.display()))
}
