//! Output: standard output in one piece, files all or nothing.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

/// Prints text.
pub fn text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints one JSON value.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    out.push('\n');
    text(&out)
}

/// Writes a file such that there is never half of it: aside, then renamed.
pub fn file(path: &Path, content: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    fs::write(&aside, content)?;
    fs::rename(&aside, path).inspect_err(|_| {
        let _ = fs::remove_file(&aside);
    })
}
