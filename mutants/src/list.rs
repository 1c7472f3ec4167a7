//! The list that `cargo mutants --list --json` prints.

use serde::{Deserialize, Serialize};

/// A place in a file; both count from one, columns in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// From a place up to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Span {
    pub start: Position,
    pub end: Position,
}

/// One change of one file.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Mutant {
    /// File, place and change.
    pub name: String,
    /// From the root of the workspace.
    pub file: String,
    /// What is replaced.
    pub span: Span,
    /// What it is replaced by.
    pub replacement: String,
    /// What kind of thing is replaced.
    pub genre: String,
}

impl Mutant {
    /// Those that are judged are a fair sample at any time: lots are drawn for the order (FNV-1a).
    pub fn lot(&self) -> u64 {
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        self.name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
    }

    /// The name without line and column: it outlives edits elsewhere in the file.
    pub fn key(&self) -> String {
        let change = self.name.splitn(4, ':').nth(3).unwrap_or(&self.name);
        format!("{}:{change}", self.file)
    }
}

/// Where the lines of a file begin.
pub struct Lines(Vec<usize>);

impl Lines {
    /// Of this text.
    pub fn of(text: &str) -> Lines {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines(std::iter::once(0).chain(breaks).collect())
    }

    /// The offset in bytes.
    pub fn offset(&self, text: &str, position: Position) -> Option<usize> {
        let start = *self.0.get(position.line.checked_sub(1)?)?;
        let mut chars = text[start..].char_indices().map(|(at, _)| at);
        Some(start + chars.nth(position.column.checked_sub(1)?)?)
    }
}
