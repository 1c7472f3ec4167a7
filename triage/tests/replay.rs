//! The same programs in two processes whose environments have nothing in common: all that was seen is the
//! same. `.ci/run` does it with 10,000 programs, a debug build and a release build.

#[allow(dead_code, reason = "each test file uses some of it")]
mod common;

use std::process::Command;

use common::directory;

const PROGRAMS: u32 = if cfg!(debug_assertions) { 800 } else { 10_000 };

/// What a hunt with this seed saw, as JSON with the fingerprint of all states, marks and decisions.
fn hunt(mut command: Command, threads: &str) -> String {
    let execs = PROGRAMS.to_string();
    command.args(["hunt", "--seed", "3", "--execs", &execs, "--threads", threads]);
    let output = command.args(["--format", "json"]).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn two_processes_see_the_same() {
    let here = directory("replay-here");
    let program = env!("CARGO_BIN_EXE_mm-lockstep");
    let mut bare = Command::new(program);
    bare.env_clear().current_dir("/");
    let mut full = Command::new(program);
    full.current_dir(&here).env("LC_ALL", "C").env("TZ", "Asia/Tokyo").env("HOME", &here);
    // More on the stack, and elsewhere.
    full.env("MM_LOCKSTEP_PADDING", "x".repeat(50_000));
    let (first, second) = (hunt(bare, "1"), hunt(full, "2"));
    assert!(first.contains("fingerprint"), "{first}");
    assert_eq!(first, second);
}
