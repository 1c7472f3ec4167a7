//! Survival curves: the share of trials that have not found their defect yet, against executions.

use std::fmt::Write;

use super::trial::Tried;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
/// Around the axes: left, top, right, bottom.
const MARGIN: [f64; 4] = [52.0, 16.0, 120.0, 44.0];
/// Decades of executions.
const DECADES: u32 = 7;

/// Strategies with a colour each that is told apart on light and dark ground.
const CURVES: [(&str, &str); 5] = [
    ("mix", "#d9480f"),
    ("random-walk", "#1971c2"),
    ("pct", "#2f9e44"),
    ("pos", "#9c36b5"),
    ("reads-from", "#868e96"),
];

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1d1f21}.axis{stroke:#6b6f76;stroke-width:1}\
.grid{stroke:#d5d7db;stroke-width:.5}.curve{fill:none;stroke-width:2}\
@media(prefers-color-scheme:dark){text{fill:#e6e6e3}.axis{stroke:#9aa0a8}.grid{stroke:#363a40}}";

/// The picture. Strategies are compared on the same defects: those that all of them were tried on.
pub fn survival(tried: &[Tried]) -> String {
    let compared = |name: &str| {
        CURVES.iter().all(|(strategy, _)| {
            tried.iter().any(|tried| tried.name == name && tried.strategy == *strategy)
        })
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>Share of trials that have not found their defect yet, by executions</title>\n\
         <style>{STYLE}</style>\n"
    );
    axes(&mut out);
    let all = curve(tried.iter().filter(|tried| tried.strategy == "mix"));
    draw(&mut out, 0, "mix, all defects", "#d9480f", "stroke-dasharray=\"5 4\"", &all);
    for (at, (strategy, colour)) in CURVES.into_iter().enumerate() {
        let mine = |tried: &&Tried| tried.strategy == strategy && compared(&tried.name);
        draw(&mut out, at + 1, strategy, colour, "", &curve(tried.iter().filter(mine)));
    }
    out.push_str("</svg>\n");
    out
}

/// Corners of a falling staircase: executions, and the share that is left after them.
fn curve<'a>(tried: impl Iterator<Item = &'a Tried>) -> Vec<(u64, f64)> {
    let execs: Vec<Option<u64>> = tried.map(|tried| tried.execs).collect();
    let mut found: Vec<u64> = execs.iter().flatten().copied().collect();
    found.sort_unstable();
    let share = |found: usize| 1.0 - found as f64 / execs.len() as f64;
    found.iter().enumerate().map(|(at, &execs)| (execs, share(at + 1))).collect()
}

fn x(execs: u64) -> f64 {
    let span = WIDTH - MARGIN[0] - MARGIN[2];
    MARGIN[0] + span * ((execs.max(1) as f64).log10() / f64::from(DECADES)).min(1.0)
}

fn y(share: f64) -> f64 {
    MARGIN[1] + (HEIGHT - MARGIN[1] - MARGIN[3]) * (1.0 - share)
}

fn axes(out: &mut String) {
    for decade in 0..=DECADES {
        let at = x(10u64.pow(decade));
        let (top, bottom) = (y(1.0), y(0.0));
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{top:.1}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">1e{decade}</text>",
            bottom + 16.0
        );
    }
    for tenth in [0, 25, 50, 75, 100] {
        let at = y(f64::from(tenth) / 100.0);
        let (left, right) = (MARGIN[0], WIDTH - MARGIN[2]);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tenth}%</text>",
            left - 6.0,
            at + 4.0
        );
    }
    let middle = (MARGIN[0] + WIDTH - MARGIN[2]) / 2.0;
    let _ = writeln!(
        out,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">executions</text>",
        HEIGHT - 6.0
    );
}

fn draw(out: &mut String, row: usize, name: &str, colour: &str, dash: &str, curve: &[(u64, f64)]) {
    if curve.is_empty() {
        return;
    }
    let mut path = format!("M{:.1} {:.1}", x(1), y(1.0));
    for &(execs, share) in curve {
        let _ = write!(path, "H{:.1}V{:.1}", x(execs), y(share));
    }
    let _ = write!(path, "H{:.1}", WIDTH - MARGIN[2]);
    let (left, at) = (WIDTH - MARGIN[2] + 8.0, MARGIN[1] + 12.0 + 18.0 * row as f64);
    let _ = writeln!(
        out,
        "<path class=\"curve\" stroke=\"{colour}\" {dash} d=\"{path}\"/>\
         <line class=\"curve\" stroke=\"{colour}\" {dash} x1=\"{left}\" y1=\"{0}\" x2=\"{1}\" y2=\"{0}\"/>\
         <text x=\"{2}\" y=\"{at}\">{name}</text>",
        at - 4.0,
        left + 16.0,
        left + 20.0,
    );
}
