//! Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long what was found may still be improved once somebody wishes for the end.
const GRACE: Duration = Duration::from_secs(1);

/// A flag that Ctrl-C and SIGTERM set; the second of them ends the process.
pub fn flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("warning: Ctrl-C will end the process at once: {error}");
    }
    stop
}

/// Whether it is high time: somebody wished for the end, and has waited for a while.
pub struct Patience<'a> {
    stop: &'a AtomicBool,
    noticed: OnceLock<Instant>,
}

impl Patience<'_> {
    /// Of somebody who can set `stop`.
    pub fn new(stop: &AtomicBool) -> Patience<'_> {
        Patience { stop, noticed: OnceLock::new() }
    }

    /// Whether it is over.
    pub fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
            && self.noticed.get_or_init(Instant::now).elapsed() > GRACE
    }
}
