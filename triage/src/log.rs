//! How a campaign went over time: `hunt --log` writes a JSON line a sample, `report --log` draws them.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lockstep::Stats;
use serde::{Deserialize, Serialize};

use crate::exit::Stop;
use crate::write;

/// Time between two samples, at first.
const INTERVAL: Duration = Duration::from_millis(250);
/// Samples at most; then every other one goes, and the interval is twice as long.
const MOST: usize = 1024;
/// Time between two writes of the file, which is written whole.
const SAVE: Duration = Duration::from_secs(10);

/// The counters at one time.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Since the beginning.
    pub seconds: f64,
    /// Executions.
    pub programs: u64,
    /// Operations compared.
    pub operations: u64,
    /// Paths of the optimised side that were taken.
    pub paths: usize,
}

/// Samples of a hunt that runs.
pub struct Log {
    file: Option<PathBuf>,
    start: Instant,
    state: Mutex<State>,
}

struct State {
    samples: Vec<Sample>,
    interval: Duration,
    next: Duration,
    save: Duration,
}

impl Log {
    /// To this file, if any; time runs from now on.
    pub fn new(file: Option<PathBuf>) -> Log {
        let (samples, next, save) = (Vec::new(), Duration::ZERO, SAVE);
        let state = Mutex::new(State { samples, interval: INTERVAL, next, save });
        Log { file, start: Instant::now(), state }
    }

    /// Takes a sample, if it is time for one.
    pub fn note(&self, stats: &Stats) {
        let now = self.start.elapsed();
        let Some(file) = &self.file else { return };
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if now < state.next {
            return;
        }
        state.add(now, stats);
        if now >= state.save {
            state.save = now + SAVE;
            // The write at the end says what is wrong.
            let _ = state.write(file);
        }
    }

    /// The last sample; writes the file.
    pub fn finish(self, stats: &Stats) -> io::Result<()> {
        let now = self.start.elapsed();
        let mut state = self.state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        state.add(now, stats);
        self.file.map_or(Ok(()), |file| state.write(&file))
    }
}

impl State {
    fn add(&mut self, now: Duration, stats: &Stats) {
        if self.samples.len() >= MOST {
            let mut nth = 0;
            self.samples.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.interval *= 2;
        }
        self.next = now + self.interval;
        self.samples.push(Sample {
            seconds: now.as_secs_f64(),
            programs: stats.programs,
            operations: stats.steps,
            paths: stats.paths_taken(),
        });
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        let mut out = String::new();
        for sample in &self.samples {
            let line = serde_json::to_string(sample).map_err(io::Error::other)?;
            let _ = writeln!(out, "{line}");
        }
        write::file(file, &out)
    }
}

/// What `hunt --log` wrote.
pub fn read(file: &Path) -> Result<Vec<Sample>, Stop> {
    let bad = |at: &str, error: &dyn std::fmt::Display| {
        let hint = "`mm-lockstep hunt --log FILE` writes it";
        Stop::Input(format!("error: {}{at}: {error}\n  hint: {hint}", file.display()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| bad("", &error))?;
    let samples = (1..).zip(text.lines()).map(|(number, line)| {
        serde_json::from_str(line).map_err(|error| bad(&format!(":{number}"), &error))
    });
    let samples: Vec<Sample> = samples.collect::<Result<_, _>>()?;
    if samples.is_empty() { Err(bad("", &"no sample")) } else { Ok(samples) }
}

/// A curve over time, as the page draws it: 640 by 160.
pub struct Curve {
    /// What it shows.
    pub title: &'static str,
    /// Corners, `x,y` each.
    pub points: String,
    /// The highest value.
    pub most: u64,
    /// How long it took.
    pub seconds: u64,
}

/// Growth of coverage, and executions a second.
pub fn curves(samples: &[Sample]) -> [Curve; 2] {
    let growth = samples.iter().map(|sample| (sample.seconds, sample.paths as f64));
    let pace = samples.windows(2).map(|pair| {
        let time = (pair[1].seconds - pair[0].seconds).max(1e-3);
        (pair[1].seconds, pair[1].programs.saturating_sub(pair[0].programs) as f64 / time)
    });
    [curve("paths taken", growth.collect()), curve("executions a second", pace.collect())]
}

fn curve(title: &'static str, values: Vec<(f64, f64)>) -> Curve {
    let most = |of: fn(&(f64, f64)) -> f64| values.iter().map(of).fold(1e-9, f64::max);
    let (width, height) = (most(|value| value.0), most(|value| value.1));
    let mut points = String::new();
    for (x, y) in &values {
        let _ = write!(points, "{:.1},{:.1} ", 640.0 * x / width, 160.0 * (1.0 - y / height));
    }
    Curve { title, points, most: height as u64, seconds: width as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_thinned_out() {
        let mut state = Log::new(None).state.into_inner().expect("nobody panicked");
        let mut now = Duration::ZERO;
        for _ in 0..10 * MOST {
            now = now.max(state.next);
            state.add(now, &Stats::default());
        }
        assert!(state.samples.len() <= MOST);
        assert_eq!(state.samples[0].seconds, 0.0);
        assert!(state.samples.windows(2).all(|pair| pair[0].seconds < pair[1].seconds));
        let last = state.samples.last().expect("samples").seconds;
        assert!(last > 0.9 * now.as_secs_f64(), "{last}");
    }

    #[test]
    fn curves_fill_the_picture() {
        let sample = |seconds, programs, paths| Sample { seconds, programs, operations: 0, paths };
        let [growth, pace] = curves(&[sample(1.0, 10, 5), sample(2.0, 30, 10)]);
        assert_eq!((growth.points.as_str(), growth.most), ("320.0,80.0 640.0,0.0 ", 10));
        assert_eq!((pace.points.as_str(), pace.most), ("640.0,0.0 ", 20));
    }
}
