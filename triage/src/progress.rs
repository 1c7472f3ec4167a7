//! Progress bars: on a terminal, on standard error, and otherwise not at all.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of `total` things, or a spinner if nobody knows how many.
pub fn bar(total: Option<u64>, things: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(8));
    let template = match total {
        Some(_) => format!("{{elapsed}} {{wide_bar}} {{pos}}/{{len}} {things} {{msg}}"),
        None => format!("{{elapsed}} {{spinner}} {{pos}} {things}, {{msg}}"),
    };
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}
