//! Page faults of one address space on 1 to 64 simulated CPUs: under mmap_lock, under the VMA's
//! lock, speculatively. Prints the table and, with a file name, draws the picture.

use std::fmt::Write;
use std::process::ExitCode;

use bench::front_ends::{Measured, Vmas, measure};
use program::Faults;

const CPUS: [u8; 7] = [1, 2, 4, 8, 16, 32, 64];

/// A front-end and how it is drawn.
struct Curve {
    name: &'static str,
    vmas: Vmas,
    colour: &'static str,
    dash: &'static str,
    /// By [`CPUS`].
    measured: Vec<Measured>,
}

fn curves() -> Vec<Curve> {
    let all = [
        ("mmap_lock", Faults::Classic, "#d9480f"),
        ("per-VMA lock", Faults::VmaLock, "#1971c2"),
        ("speculative", Faults::Speculative, "#2f9e44"),
    ];
    let kinds = [(Vmas::Own, ""), (Vmas::Shared, "5 4")];
    let curve = |(vmas, dash)| {
        all.map(|(name, front_end, colour)| {
            let measured = CPUS.map(|cpus| measure(front_end, cpus, vmas)).to_vec();
            Curve { name, vmas, colour, dash, measured }
        })
    };
    kinds.into_iter().flat_map(curve).collect()
}

fn rate(measured: &Measured) -> f64 {
    1000.0 * measured.faults as f64 / measured.time as f64
}

fn table(curves: &[Curve]) -> String {
    let mut out = String::from("| faults a microsecond (hand-overs a fault) |");
    CPUS.iter().for_each(|cpus| _ = write!(out, " {cpus} |"));
    out.push_str("\n|---|");
    CPUS.iter().for_each(|_| out.push_str("---|"));
    for Curve { name, vmas, measured, .. } in curves {
        let vma = if *vmas == Vmas::Own { "a VMA each" } else { "one VMA" };
        let _ = write!(out, "\n| {name}, {vma} |");
        for measured in measured {
            let hand_overs = measured.cost.hand_overs as f64 / measured.faults as f64;
            let _ = write!(out, " {:.1} ({hand_overs:.1}) |", rate(measured));
        }
    }
    out + "\n"
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
/// Around the axes: left, top, right, bottom.
const MARGIN: [f64; 4] = [52.0, 16.0, 190.0, 44.0];
/// Powers of two on the axis of rates.
const DOUBLINGS: i32 = 7;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1d1f21}.grid{stroke:#d5d7db;stroke-width:.5}\
.curve{fill:none;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#e6e6e3}.grid{stroke:#363a40}}";

fn x(cpus: f64) -> f64 {
    MARGIN[0] + (WIDTH - MARGIN[0] - MARGIN[2]) * cpus.log2() / 6.0
}

fn y(rate: f64) -> f64 {
    let height = HEIGHT - MARGIN[1] - MARGIN[3];
    MARGIN[1] + height * (1.0 - rate.log2() / f64::from(DOUBLINGS))
}

fn picture(curves: &[Curve]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>Page faults a microsecond by number of CPUs, three front-ends</title>\n\
         <style>{STYLE}</style>\n"
    );
    let (left, right, top, bottom) = (MARGIN[0], WIDTH - MARGIN[2], MARGIN[1], HEIGHT - MARGIN[3]);
    for cpus in CPUS {
        let at = x(f64::from(cpus));
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{cpus}</text>",
            bottom + 16.0
        );
    }
    for doubling in 0..=DOUBLINGS {
        let rate = 2f64.powi(doubling);
        let at = y(rate);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{rate}</text>",
            left - 6.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">CPUs; faults a microsecond of machine time</text>",
        (left + right) / 2.0,
        HEIGHT - 6.0
    );
    for (row, curve) in curves.iter().enumerate() {
        let Curve { name, vmas, colour, dash, measured, .. } = curve;
        let points = CPUS
            .iter()
            .zip(measured)
            .map(|(&cpus, measured)| format!("{:.1},{:.1}", x(f64::from(cpus)), y(rate(measured))));
        let points: Vec<String> = points.collect();
        let (from, at) = (right + 10.0, top + 12.0 + 18.0 * row as f64);
        let vma = if *vmas == Vmas::Own { "a VMA each" } else { "one VMA" };
        let _ = writeln!(
            out,
            "<polyline class=\"curve\" stroke=\"{colour}\" stroke-dasharray=\"{dash}\" points=\"{}\"/>\
             <line class=\"curve\" stroke=\"{colour}\" stroke-dasharray=\"{dash}\" x1=\"{from}\" y1=\"{1}\" x2=\"{2}\" y2=\"{1}\"/>\
             <text x=\"{3}\" y=\"{at}\">{name}, {vma}</text>",
            points.join(" "),
            at - 4.0,
            from + 20.0,
            from + 26.0,
        );
    }
    out + "</svg>\n"
}

fn main() -> ExitCode {
    let curves = curves();
    print!("{}", table(&curves));
    let Some(file) = std::env::args().nth(1) else { return ExitCode::SUCCESS };
    match std::fs::write(&file, picture(&curves)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::from(3)
        }
    }
}
