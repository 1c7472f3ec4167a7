//! The text form: what people read, write, review and keep.
//!
//! `docs/program-text.md` in the repository is its manual. [`parse`] reads it, [`Program`]'s
//! `Display` writes the canonical form (`parse(p.to_string())` gives `p` back), and [`format()`]
//! rewrites a source line by line in the canonical way without losing a comment.

mod args;
mod build;
mod check;
mod error;
mod expects;
mod format;
mod hints;
mod lexer;
mod machine;
mod names;
mod parser;
mod printer;
mod render;
mod schedule;
mod verbs;
mod words;

pub use error::{Location, Mistake, ParseError};
pub use format::format;
pub use parser::{Line, Parsed, parse};
pub use printer::{entry, value};
pub use render::render_all;
pub use verbs::op_names;

use crate::program::Program;

impl std::str::FromStr for Program {
    type Err = Vec<ParseError>;

    fn from_str(source: &str) -> Result<Program, Vec<ParseError>> {
        parse(source).map(|parsed| parsed.program)
    }
}
