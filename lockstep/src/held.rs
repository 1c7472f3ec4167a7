//! The locks that were held in a phase, named for people, and as bars beside the lanes of its marks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use machine::Holding;
use program::Name;

use crate::names::Names;
use crate::verdict::Divergence;

/// A lock while one CPU held it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The CPU.
    pub cpu: u8,
    /// Its name: `mmap_lock (read)`, `PTL`, `folio lock F0`.
    pub name: String,
    /// The marks that were made meanwhile, as positions in the trace.
    pub marks: Range<usize>,
}

/// The locks held in the phase of a divergence while marks were made, in the order in which they
/// were taken.
pub fn held(found: &Divergence, names: &Names) -> Vec<Held> {
    let mut alike: BTreeMap<&str, usize> = BTreeMap::new();
    for holding in &found.holdings {
        let most = alike.entry(holding.lock).or_default();
        *most = holding.which.max(*most);
    }
    let end = found.trace.len();
    let told = |holding: &Holding| {
        let marks = holding.from..holding.until.unwrap_or(end);
        let only = alike.get(holding.lock).is_none_or(|&most| most == 0);
        let which = match holding.label {
            0 if only => String::new(),
            0 => format!(" #{}", holding.which + 1),
            folio => format!(" {}", names.folio(Name(folio))),
        };
        let how = if holding.shared { " (read)" } else { "" };
        Held { cpu: holding.cpu, name: format!("{}{which}{how}", holding.lock), marks }
    };
    found.holdings.iter().map(told).filter(|held| !held.marks.is_empty()).collect()
}

/// Locks as bars of letters at the left of each lane.
pub(crate) struct Gutters {
    /// The bars, each with its column and letter.
    bars: Vec<(Held, usize, char)>,
    /// Columns of each CPU's gutter.
    widths: BTreeMap<u8, usize>,
}

impl Gutters {
    /// Of locks, in the order in which they were taken.
    pub fn new(locks: Vec<Held>) -> Gutters {
        let mut bars: Vec<(Held, usize, char)> = Vec::new();
        let mut widths: BTreeMap<u8, usize> = BTreeMap::new();
        for held in locks {
            let beside = |(other, ..): &&(Held, usize, char)| {
                other.cpu == held.cpu && other.marks.end > held.marks.start
            };
            let taken: BTreeSet<usize> = bars.iter().filter(beside).map(|bar| bar.1).collect();
            let column = (0..).find(|column| !taken.contains(column)).unwrap_or_default();
            let width = widths.entry(held.cpu).or_default();
            *width = (column + 1).max(*width);
            // A small letter for what others can hold too.
            let letter = held.name.chars().next().unwrap_or('?');
            let letter = match held.name.ends_with("(read)") {
                true => letter.to_ascii_lowercase(),
                false => letter.to_ascii_uppercase(),
            };
            bars.push((held, column, letter));
        }
        Gutters { bars, widths }
    }

    /// What stands before a CPU's cell in the row of a mark.
    pub fn at(&self, cpu: u8, mark: usize) -> String {
        let Some(&width) = self.widths.get(&cpu) else { return String::new() };
        let mut gutter = vec![' '; width + 1];
        for (_, column, letter) in
            self.bars.iter().filter(|(held, ..)| held.cpu == cpu && held.marks.contains(&mark))
        {
            gutter[*column] = *letter;
        }
        gutter.into_iter().collect()
    }

    /// What the letters mean, in a line.
    pub fn legend(&self) -> Option<String> {
        let mut names: BTreeMap<char, BTreeSet<&str>> = BTreeMap::new();
        for (held, _, letter) in &self.bars {
            names.entry(*letter).or_default().insert(&held.name);
        }
        let told = names.into_iter().map(|(letter, names)| {
            format!("{letter} {}", names.into_iter().collect::<Vec<_>>().join(" or "))
        });
        let told: Vec<String> = told.collect();
        (!told.is_empty()).then(|| format!("     held: {}\n", told.join(", ")))
    }
}
