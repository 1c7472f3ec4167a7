//! The story of a finding as one self-contained page. Time runs to the right.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use program::Program;

use crate::story::{Story, Tale};
use crate::weave::{Thread, Weave};

/// Width of a step, and of what stands before the first.
const STEP: usize = 170;
const LEFT: usize = 90;
/// Height of a lane, of a lock's bar, of the curve.
const LANE: usize = 46;
const LOCK: usize = 22;
const CURVE: usize = 130;
/// Width of a mark of a phase, and of what stands before the first; height of a CPU's lane there
/// and of a lock's bar below it.
const MARK: usize = 34;
const NAMES: usize = 200;
const STRAND: usize = 58;
const HELD: usize = 18;
const GAP: usize = 8;
/// Where gaps are marked.
const GAPS: usize = 10;

#[derive(Template)]
#[template(path = "explain.html")]
struct Page<'a> {
    title: &'a str,
    class: &'a str,
    lines: &'a [String],
    program: String,
    width: usize,
    height: usize,
    lanes: Vec<Lane>,
    boxes: Vec<Box>,
    locks: Vec<Bar>,
    folio: Option<&'a str>,
    curve_top: usize,
    curve_base: usize,
    curves: [String; 2],
    dots: Vec<Dot>,
    tales: &'a [Tale],
    wrong: Option<usize>,
    phase: Option<Phase<'a>>,
}

/// A concurrent phase, drawn.
struct Phase<'a> {
    name: &'a str,
    width: usize,
    height: usize,
    lanes: Vec<Lane>,
    threads: Vec<Bar>,
    locks: Vec<Row>,
    knots: Vec<Spot<'a>>,
    curve: String,
    curve_top: usize,
    curve_base: usize,
    /// Where the count changes.
    dots: Vec<Dot>,
    /// Where it goes wrong.
    wrong: Option<usize>,
    /// Whether marks are left out.
    gaps: bool,
}

/// A lock that a CPU took, and the bars of when it held it.
struct Row {
    name: String,
    y: usize,
    bars: Vec<[usize; 2]>,
}

/// A mark.
struct Spot<'a> {
    x: usize,
    y: usize,
    number: usize,
    text: &'a str,
    divergent: bool,
    /// Marks are left out here.
    gap: bool,
}

struct Lane {
    name: String,
    y: usize,
}

struct Box {
    x: usize,
    y: usize,
    number: usize,
    text: String,
    full: String,
    divergent: bool,
}

struct Bar {
    x: usize,
    y: usize,
    width: usize,
    name: String,
}

struct Dot {
    x: usize,
    y: usize,
    side: usize,
    /// Where its number stands: above, or below for the other side's.
    label: usize,
    text: String,
}

/// The page.
pub fn render(title: &str, program: &Program, story: &Story, lines: &[String]) -> String {
    let steps = story.tales.len();
    let lanes = usize::from(story.tales.iter().map(|tale| tale.cpu + 1).max().unwrap_or(1));
    let lane = |cpu: usize| 30 + cpu * LANE;
    let locks_top = lane(lanes) + 6;
    let curve_top = locks_top + story.locks.len() * LOCK + 24;
    let x = |number: usize| LEFT + (number - 1) * STEP;
    let boxes = story.tales.iter().map(|tale| Box {
        x: x(tale.number),
        y: lane(tale.cpu.into()),
        number: tale.number,
        text: clip(&tale.operation),
        full: tale.operation.clone(),
        divergent: tale.divergent,
    });
    let bars = story.locks.iter().enumerate().map(|(at, held)| Bar {
        x: x(held.steps[0]),
        y: locks_top + at * LOCK,
        width: (held.steps[1] - held.steps[0]) * STEP,
        name: held.name.clone(),
    });
    let counts = || story.tales.iter().flat_map(|tale| tale.counts).flatten();
    let highest = counts().map(scale).fold(1.0, f64::max);
    let y =
        |count: i64| curve_top + CURVE - (scale(count) / highest * (CURVE - 20) as f64) as usize;
    let (mut curves, mut dots) = ([String::new(), String::new()], Vec::new());
    for (side, curve) in curves.iter_mut().enumerate() {
        for tale in &story.tales {
            let Some(count) = tale.counts[side] else { continue };
            let (x, y) = (x(tale.number) + STEP / 2 - 10, y(count));
            curve.push_str(&format!("{x},{y} "));
            if side == 0 || tale.counts[0] != tale.counts[1] {
                let label = if side == 0 { y - 7 } else { y + 18 };
                dots.push(Dot { x, y, side, label, text: count.to_string() });
            }
        }
    }
    let page = Page {
        title,
        class: &story.class,
        lines,
        program: program.to_string(),
        width: LEFT + steps * STEP + 10,
        height: curve_top + if story.folio.is_some() { CURVE + 20 } else { 0 },
        lanes: (0..lanes).map(|cpu| Lane { name: format!("cpu{cpu}"), y: lane(cpu) }).collect(),
        boxes: boxes.collect(),
        locks: bars.collect(),
        folio: story.folio.as_deref(),
        curve_top,
        curve_base: curve_top + CURVE,
        curves,
        dots,
        tales: &story.tales,
        phase: story.weave.as_ref().map(phase),
        wrong: story.tales.iter().position(|tale| tale.divergent),
    };
    page.render().unwrap_or_else(|error| format!("{error}"))
}

/// Marks in the order of time, a lane a CPU; a bar from the first to the last mark of each step, and
/// below it one for each lock.
fn phase(weave: &Weave) -> Phase<'_> {
    let cpus: BTreeSet<u8> = weave.knots.iter().filter_map(|knot| knot.cpu).collect();
    let x = |at: usize| NAMES + at * MARK;
    let (mut tops, mut locks, mut top) = (BTreeMap::new(), Vec::new(), 24);
    for &cpu in &cpus {
        tops.insert(cpu, top);
        top += STRAND - GAP;
        let first = locks.len();
        for held in weave.locks.iter().filter(|held| held.cpu == cpu) {
            let bar = [x(held.marks.start), held.marks.len() * MARK - 4];
            match locks[first..].iter_mut().find(|row: &&mut Row| row.name == held.name) {
                Some(row) => row.bars.push(bar),
                None => {
                    locks.push(Row { name: held.name.clone(), y: top, bars: vec![bar] });
                    top += HELD;
                }
            }
        }
        top += if locks.len() > first { 2 * GAP } else { GAP };
    }
    let y = |cpu: u8| tops.get(&cpu).copied().unwrap_or(0);
    let curve_top = top + 16;
    let curve_base = curve_top + CURVE;
    let counts = || weave.knots.iter().filter_map(|knot| knot.count);
    let highest = counts().map(scale).fold(1.0, f64::max);
    let level = |count: i64| curve_base - (scale(count) / highest * (CURVE - 20) as f64) as usize;
    let (mut curve, mut dots, mut last) = (String::new(), Vec::new(), None);
    for (at, knot) in weave.knots.iter().enumerate() {
        let Some(count) = knot.count else { continue };
        let (x, y) = (x(at) + MARK / 2, level(count));
        // Steps, not slopes: a count changes at once.
        if let Some(before) = last {
            curve.push_str(&format!("{x},{} ", level(before)));
        }
        curve.push_str(&format!("{x},{y} "));
        if last != Some(count) {
            dots.push(Dot { x, y, side: 0, label: y - 7, text: count.to_string() });
        }
        last = Some(count);
    }
    let lane = |&cpu: &u8| Lane { name: format!("cpu{cpu}"), y: y(cpu) };
    let bar = |thread: &Thread| Bar {
        x: x(thread.knots[0]),
        y: y(thread.cpu),
        width: (thread.knots[1] - thread.knots[0] + 1) * MARK - 4,
        name: format!("{}. {}", thread.number, thread.operation),
    };
    Phase {
        name: &weave.phase,
        width: x(weave.knots.len()) + 10,
        height: if last.is_some() { curve_base + 20 } else { curve_top },
        lanes: cpus.iter().map(lane).collect(),
        threads: weave.threads.iter().map(bar).collect(),
        locks,
        knots: (0..)
            .zip(&weave.knots)
            .map(|(at, knot)| Spot {
                x: x(at) + MARK / 2 - 2,
                y: knot.cpu.map_or(GAPS, |cpu| y(cpu) + 34),
                number: at + 1,
                text: &knot.text,
                divergent: knot.divergent,
                gap: knot.cpu.is_none(),
            })
            .collect(),
        curve,
        curve_top,
        curve_base,
        dots,
        gaps: weave.knots.iter().any(|knot| knot.cpu.is_none()),
        wrong: weave.knots.iter().position(|knot| knot.divergent).map(|at| x(at) + MARK / 2 - 2),
    }
}

/// Pins weigh 1024: only a logarithm shows them beside single references.
fn scale(count: i64) -> f64 {
    ((count.max(0) + 1) as f64).log2()
}

fn clip(text: &str) -> String {
    const CHARS: usize = 18;
    if text.chars().count() <= CHARS {
        return text.to_owned();
    }
    text.chars().take(CHARS - 1).chain(['…']).collect()
}
