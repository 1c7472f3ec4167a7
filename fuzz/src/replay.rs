//! What a target's `main` is without an engine.

use std::process::ExitCode;

use crate::target::Target;

/// Replays the files named on the command line.
///
/// Exit codes are those of `mm-lockstep`: 0 nothing found, 1 something, 2 no file named, 3 a file
/// that cannot be read.
pub fn replay(target: &Target) -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: {} FILE...\n  replays inputs of a fuzzing engine", target.name);
        return ExitCode::from(2);
    }
    let mut found = 0;
    for path in &files {
        match std::fs::read(path) {
            Ok(bytes) => {
                if let Some(alarm) = target.run(&bytes) {
                    found += 1;
                    println!("{}: {}\n{}", path.display(), alarm.signature, alarm.report);
                }
            }
            Err(error) => {
                eprintln!("error: cannot read {}: {error}", path.display());
                return ExitCode::from(3);
            }
        }
    }
    println!("{} replayed, {found} with a finding", files.len());
    ExitCode::from(u8::from(found > 0))
}
