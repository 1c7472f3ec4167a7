//! What the tests of the command line share.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use program::{Campaign, Decoder, Program};

/// An empty directory of the test's own.
pub fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a temporary directory");
    path
}

/// Runs the command line in a directory.
pub fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mm-lockstep"));
    command.current_dir(dir).args(args).stdin(Stdio::null()).output().expect("it runs")
}

/// The same, with something on standard input.
pub fn run_with_input(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mm-lockstep"))
        .current_dir(dir)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Standard output.
pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Standard error.
pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The command ended with this code.
#[track_caller]
pub fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}\n{}", out(output), err(output));
}

/// A program of the generator.
pub fn random(index: u64) -> Program {
    let (mut bytes, mut program) = (Vec::new(), Program::default());
    Campaign::new(2).generate(index, &mut bytes);
    Decoder::default().decode(&bytes, &mut program);
    program
}

/// A program on which both sides agree.
pub const GOOD: &str = "machine\nm0 = mmap len=2 rw private\nwrite m0 len=2\nread m0 len=2\n";
