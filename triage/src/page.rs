//! The story of a finding as one self-contained page. Time runs to the right.

use askama::Template;
use program::Program;

use crate::story::{Story, Tale};

/// Width of a step, and of what stands before the first.
const STEP: usize = 170;
const LEFT: usize = 90;
/// Height of a lane, of a lock's bar, of the curve.
const LANE: usize = 46;
const LOCK: usize = 22;
const CURVE: usize = 130;

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
    marks: &'a str,
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
    // Pins weigh 1024: only a logarithm shows them beside single references.
    let scale = |count: i64| ((count.max(0) + 1) as f64).log2();
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
        marks: &story.lanes,
        wrong: story.tales.iter().position(|tale| tale.divergent),
    };
    page.render().unwrap_or_else(|error| format!("{error}"))
}

fn clip(text: &str) -> String {
    const CHARS: usize = 18;
    if text.chars().count() <= CHARS {
        return text.to_owned();
    }
    text.chars().take(CHARS - 1).chain(['…']).collect()
}
