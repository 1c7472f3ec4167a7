//! The detection table: a row a defect.

use std::fmt::Write;
use std::path::Path;

use comfy_table::{Table, presets};
use optimized::Defect;

use super::Results;
use super::trial::{MIX, Tried};

/// Strategies besides the mix, in the order of the columns.
const OTHERS: [&str; 4] = ["random-walk", "pct", "pos", "reads-from"];

/// A row.
struct Row {
    id: &'static str,
    name: &'static str,
    expected: &'static str,
    /// Classes seen, most frequent first.
    seen: String,
    found: usize,
    tried: usize,
    execs: Option<u64>,
    worst: Option<u64>,
    seconds: Option<f64>,
    steps: Option<usize>,
    /// Median executions under the other strategies; none if not tried.
    others: [Option<Median>; 4],
    concurrent: bool,
}

/// A median of trials of which some found nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Median {
    Exactly(u64),
    /// Most found nothing: more than this.
    Beyond(u64),
}

/// The table.
pub struct Matrix<'a> {
    results: &'a Results,
    rows: Vec<Row>,
}

const HEADER: [&str; 14] = [
    "id",
    "defect",
    "expected",
    "seen",
    "found",
    "executions",
    "worst",
    "seconds",
    "ops",
    "random-walk",
    "pct",
    "pos",
    "reads-from",
    "mix against random-walk",
];

impl<'a> Matrix<'a> {
    /// Of these defects.
    pub fn of(results: &'a Results, defects: &[Defect]) -> Matrix<'a> {
        let rows = defects.iter().map(|&defect| row(defect, results)).collect();
        Matrix { results, rows }
    }

    /// Whether the mix found each with every seed.
    pub fn all_found(&self) -> bool {
        self.rows.iter().all(|row| row.found == row.tried && row.tried > 0)
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(HEADER);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        let mut out = String::new();
        for line in table.lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&self.summary());
        out
    }

    /// For the documentation.
    pub fn markdown(&self, plot: Option<&Path>) -> String {
        let Results { version, date, machine, budget, others, .. } = self.results;
        let seeds = self.rows.iter().map(|row| row.tried).max().unwrap_or(0);
        let mut out = format!(
            "# Detection\n\nEach defect of the catalogue, switched on alone, hunted from scratch by \
             the default campaign. Executions and\nseconds are medians over {seeds} seeds, on one core, \
             up to the finding; `worst` is the seed that took longest; `ops` the median\nsize of the \
             minimised program. The strategies to the right schedule the same programs; they are \
             tried on defects that a\nconcurrent program showed. `> N`: most seeds found nothing, after \
             N executions in the middle.\n\nVersion {version}, {date}, {machine}; at most {budget} s a \
             trial, {others} s of another strategy than the mix. All of this page is\nmade by \
             `scripts/detection.sh`.\n\n"
        );
        out.push_str(&self.summary());
        if let Some(name) = plot.and_then(Path::file_name) {
            let name = name.to_string_lossy();
            let _ = writeln!(out, "\n![share of defects not found yet, by executions]({name})");
        }
        let _ = writeln!(out, "\n| {} |\n|{}", HEADER.join(" | "), "---|".repeat(HEADER.len()));
        for row in &self.rows {
            let _ = writeln!(out, "| {} |", row.cells().join(" | "));
        }
        out
    }

    fn summary(&self) -> String {
        let (found, tried) = self
            .rows
            .iter()
            .fold((0, 0), |(found, tried), row| (found + row.found, tried + row.tried));
        let mut out = format!("{found} of {tried} trials of the default mix found their defect");
        let execs = median(self.rows.iter().filter_map(|row| row.execs));
        let seconds = median_f64(self.rows.iter().filter_map(|row| row.seconds));
        if let (Some(execs), Some(seconds)) = (execs, seconds) {
            let _ = write!(out, "; median of medians {execs} executions, {seconds:.3} s");
        }
        out.push_str(".\n");
        if let Some(slowest) = self.rows.iter().max_by_key(|row| row.worst) {
            let worst = slowest.worst.map_or("-".to_owned(), |worst| worst.to_string());
            let _ = writeln!(out, "Slowest: {}, {worst} executions.", slowest.name);
        }
        let missed = self.rows.iter().filter(|row| row.found < row.tried).map(|row| row.name);
        let missed: Vec<&str> = missed.collect();
        if !missed.is_empty() {
            let _ = writeln!(out, "Not in every seed: {}.", missed.join(", "));
        }
        let ahead = self.rows.iter().filter(|row| row.gain().is_some_and(|gain| gain >= 10.0));
        let raced = self.rows.iter().filter(|row| row.concurrent).count();
        let _ = writeln!(
            out,
            "{raced} defects were shown by concurrent programs; the mix is ten times ahead of \
             random walk on {}.",
            ahead.count()
        );
        out
    }
}

impl Row {
    /// How many times fewer executions, at least, the mix needs than random walk.
    fn gain(&self) -> Option<f64> {
        let (Median::Exactly(walk) | Median::Beyond(walk)) = self.others[0]?;
        Some(walk as f64 / self.execs? as f64)
    }

    fn cells(&self) -> [String; 14] {
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let beyond = matches!(self.others[0], Some(Median::Beyond(_)));
        let gain = |gain| format!("{}{gain:.1}", if beyond { "> " } else { "" });
        let [walk, pct, pos, reads] = self.others.map(|median| match median {
            None => "-".to_owned(),
            Some(Median::Exactly(execs)) => execs.to_string(),
            Some(Median::Beyond(execs)) => format!("> {execs}"),
        });
        [
            self.id.to_owned(),
            self.name.to_owned(),
            self.expected.to_owned(),
            self.seen.clone(),
            format!("{}/{}", self.found, self.tried),
            number(self.execs),
            number(self.worst),
            self.seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.3}")),
            number(self.steps.map(|steps| steps as u64)),
            walk,
            pct,
            pos,
            reads,
            self.gain().map_or("-".to_owned(), gain),
        ]
    }
}

fn row(defect: Defect, results: &Results) -> Row {
    let info = defect.info();
    let under = |strategy: &'static str| {
        let of = move |tried: &&Tried| tried.name == info.name && tried.strategy == strategy;
        results.tried.iter().filter(of)
    };
    let execs = |strategy| late(under(strategy).map(|tried| (tried.execs, tried.ran)));
    let mut classes: Vec<(usize, &str)> = Vec::new();
    for class in under(MIX).filter_map(|tried| tried.class.as_deref()) {
        match classes.iter_mut().find(|(_, known)| *known == class) {
            Some((times, _)) => *times += 1,
            None => classes.push((1, class)),
        }
    }
    classes.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
    let seen: Vec<&str> = classes.into_iter().map(|(_, class)| class).collect();
    let found = || under(MIX).filter(|tried| tried.execs.is_some());
    Row {
        id: info.id,
        name: info.name,
        expected: info.expected,
        seen: seen.join(", "),
        found: found().count(),
        tried: under(MIX).count(),
        execs: match execs(MIX) {
            Some(Median::Exactly(execs)) => Some(execs),
            Some(Median::Beyond(_)) | None => None,
        },
        worst: found().filter_map(|tried| tried.execs).max(),
        seconds: median_f64(found().map(|tried| tried.seconds)),
        steps: median(found().filter_map(|tried| tried.steps)),
        others: OTHERS.map(execs),
        concurrent: under(MIX).any(|tried| tried.concurrent),
    }
}

/// The median where a trial that found nothing is longer than all that did, by what each found after
/// and how many it ran.
fn late(trials: impl Iterator<Item = (Option<u64>, u64)>) -> Option<Median> {
    let trials: Vec<(Option<u64>, u64)> = trials.collect();
    let exact = median(trials.iter().map(|(execs, _)| execs.unwrap_or(u64::MAX)))?;
    // Each is at least this.
    let least = median(trials.iter().map(|&(execs, ran)| execs.unwrap_or(ran)))?;
    Some(if exact == u64::MAX { Median::Beyond(least) } else { Median::Exactly(exact) })
}

/// The lower median.
fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied()
}

fn median_f64(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_without_a_finding_is_the_longest() {
        let late = |trials: &[(Option<u64>, u64)]| late(trials.iter().copied());
        assert_eq!(late(&[(Some(3), 3), (None, 2), (Some(1), 1)]), Some(Median::Exactly(3)));
        assert_eq!(late(&[(Some(3), 3), (None, 50), (None, 60)]), Some(Median::Beyond(50)));
        assert_eq!(late(&[]), None);
    }
}
