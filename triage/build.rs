//! Tells the binary which commit it is built from.

use std::process::Command;

fn main() {
    let version = env!("CARGO_PKG_VERSION");
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    match &commit {
        Some(commit) => println!("cargo::rustc-env=MM_LOCKSTEP_VERSION={version} ({commit})"),
        None => println!("cargo::rustc-env=MM_LOCKSTEP_VERSION={version}"),
    }
    println!("cargo::rerun-if-changed=build.rs");
    // Written by every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}
