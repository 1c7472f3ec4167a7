//! Output: standard output in one piece, files all or nothing.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

/// What the name of everything that is still aside begins with.
pub const ASIDE: &str = ".mm-lockstep-";

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
    bytes(path, content.as_bytes())
}

/// As [`file()`], for what is not text.
pub fn bytes(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("{ASIDE}{name}.{}", std::process::id()));
    fs::write(&aside, content).and_then(|()| fs::rename(&aside, path)).map_err(|error| {
        let _ = fs::remove_file(&aside);
        at(path, error)
    })
}

/// Whether files can be written to a folder, or a folder that is missing be made. Leaves nothing
/// behind, so that runs beside each other do not meet.
pub fn probe(folder: &Path) -> io::Result<()> {
    let aside = format!("{ASIDE}probe.{}", std::process::id());
    for ancestor in folder.ancestors() {
        let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        match fs::symlink_metadata(ancestor) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if !fs::metadata(ancestor)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let probe = ancestor.join(aside);
        return fs::write(&probe, "probe\n").and_then(|()| fs::remove_file(&probe));
    }
    Err(io::ErrorKind::NotFound.into())
}

/// The error, naming the file.
pub fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
