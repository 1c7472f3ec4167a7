//! What a hunt did, and the floors that it must reach.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use lockstep::{Permission, Stats};
use optimized::Path;
use program::Kind;
use serde::Serialize;

/// Least share of the operations of a kind that must succeed, in percent.
const SUCCESS_FLOOR: u64 = 30;
/// Least number of effective steps of a program of 16.
const EFFECTIVE_FLOOR: f64 = 10.0;

/// The counters as JSON.
#[derive(Serialize)]
pub struct Json {
    programs: u64,
    operations: u64,
    effective_per_program: f64,
    snapshots_compared: u64,
    fingerprint: String,
    kinds: Vec<KindJson>,
    paths: Vec<PathJson>,
}

#[derive(Serialize)]
struct KindJson {
    kind: &'static str,
    attempts: u64,
    successes: u64,
}

#[derive(Serialize)]
struct PathJson {
    path: &'static str,
    hits: u64,
}

/// The counters for programs.
pub fn json(stats: &Stats) -> Json {
    let kind = |&kind: &Kind| KindJson {
        kind: kind.name(),
        attempts: stats.kind(kind).attempts,
        successes: stats.kind(kind).successes,
    };
    let path = |&path: &Path| PathJson { path: path.name(), hits: hits(stats, path) };
    Json {
        programs: stats.programs,
        operations: stats.steps,
        effective_per_program: stats.effective_per_program(),
        snapshots_compared: stats.inspected,
        fingerprint: fingerprint(stats),
        kinds: Kind::ALL.iter().map(kind).collect(),
        paths: Path::ALL.iter().map(path).collect(),
    }
}

/// What each kind of operation and each path came to, for people.
pub fn tables(stats: &Stats) -> String {
    let kinds = Kind::ALL.iter().map(|&kind| {
        let count = stats.kind(kind);
        let rate = match count.attempts {
            0 => "-".to_owned(),
            attempts => format!("{:.1}%", 100.0 * count.successes as f64 / attempts as f64),
        };
        [kind.name().to_owned(), group(count.attempts), rate]
    });
    let paths = Path::ALL.iter().map(|&path| {
        let hits = match hits(stats, path) {
            0 => "never".to_owned(),
            hits => group(hits),
        };
        [path.name().to_owned(), hits]
    });
    let kinds = table(["operation", "attempts", "succeeded"], kinds.collect());
    kinds + "\n" + &table(["path of the optimised side", "hits"], paths.collect()) + "\n"
}

/// The counters in a few lines, for people.
pub fn text(stats: &Stats, seed: u64) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} programs, {} operations compared, {} full snapshots; {:.1} of {:.1} operations a \
         program had an effect; {} of {} paths taken; seed {seed}; \
         fingerprint {}",
        group(stats.programs),
        group(stats.steps),
        group(stats.inspected),
        stats.effective_per_program(),
        stats.steps as f64 / stats.programs.max(1) as f64,
        stats.paths_taken(),
        Path::ALL.len(),
        fingerprint(stats),
    );
    if stats.phases > 0 {
        let _ = write!(
            out,
            "{} concurrent phases, in {:.0}% of them operations met on a folio; excused: {}; \
             permitted:",
            group(stats.phases),
            100.0 * stats.overlapped as f64 / stats.phases as f64,
            group(stats.excused),
        );
        for (permission, &uses) in Permission::ALL.iter().zip(&stats.permissions) {
            let _ = write!(out, " {} {}", permission.name(), group(uses));
        }
        out.push('\n');
    }
    out
}

/// Equal for equal campaigns, whatever the machine, the build and the number of threads.
fn fingerprint(stats: &Stats) -> String {
    format!("{:016x}", stats.fingerprint)
}

/// Paths without a floor. Two need steps that cannot run beside others yet (docs/steps.md): a
/// collapse, a userfaultfd event (alone it would block). The third is a rare one, once in some
/// hundred thousand programs; `corpus/semantics/exclusive-fork-of-a-locked-page.txt` takes it.
const BEYOND_SMOKE: [Path; 3] = [Path::SpfPmdChanged, Path::UffdWait, Path::ForkExclusiveLocked];

/// The floors that were not reached.
pub fn shortfalls(stats: &Stats) -> Vec<String> {
    let mut list = Vec::new();
    for &kind in Kind::ALL.iter().filter(|&&kind| kind != Kind::Nop) {
        let count = stats.kind(kind);
        let name = kind.name();
        if count.attempts == 0 {
            list.push(format!("operation {name} was never attempted"));
        } else if count.successes * 100 < count.attempts * SUCCESS_FLOOR {
            let rate = 100.0 * count.successes as f64 / count.attempts as f64;
            list.push(format!("operation {name} succeeds in {rate:.1}%, below {SUCCESS_FLOOR}%"));
        }
    }
    let missed = |path: &&Path| hits(stats, **path) == 0 && !BEYOND_SMOKE.contains(path);
    for &path in Path::ALL.iter().filter(missed) {
        list.push(format!("path {} was never taken", path.name()));
    }
    // Stated for programs of 16 steps; others in proportion.
    let effective = 16.0 * stats.effective as f64 / stats.steps.max(1) as f64;
    if effective < EFFECTIVE_FLOOR {
        list.push(format!(
            "{effective:.2} of 16 operations have an effect, below {EFFECTIVE_FLOOR}"
        ));
    }
    list
}

fn hits(stats: &Stats, path: Path) -> u64 {
    stats.paths.get(path as usize).copied().unwrap_or(0)
}

/// Two rows of the list a line, the second half of it beside the first.
fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let (left, right) = rows.split_at(rows.len().div_ceil(2));
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([header, header].concat());
    for (at, row) in left.iter().enumerate() {
        table.add_row(row.iter().chain(right.get(at).into_iter().flatten()));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        match at % N {
            0 if at > 0 => drop(column.set_padding((3, 1))),
            0 => {}
            _ => column.set_cell_alignment(CellAlignment::Right),
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// A number with its thousands apart.
pub fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(group(0), "0");
        assert_eq!(group(999), "999");
        assert_eq!(group(1000), "1,000");
        assert_eq!(group(12_345_678), "12,345,678");
    }

    #[test]
    fn nothing_reaches_no_floor() {
        let floors = shortfalls(&Stats::default());
        assert!(floors.iter().any(|floor| floor.contains("operation write was never attempted")));
        assert!(floors.iter().any(|floor| floor.contains("have an effect")));
        let untaken = floors.iter().filter(|floor| floor.starts_with("path ")).count();
        assert_eq!(untaken, Path::ALL.len() - BEYOND_SMOKE.len());
    }
}
