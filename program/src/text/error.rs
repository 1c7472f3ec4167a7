//! What can be wrong with a text, and how it is shown.

use std::fmt;

use crate::text::render::shown;
use crate::validate::Fault;

/// A place in a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct Location {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Length in characters.
    pub len: u32,
}

impl Location {
    /// From the start of this to the end of `last`, on the same line.
    pub fn to(self, last: Location) -> Location {
        let end = last.column + last.len;
        Location { len: end.saturating_sub(self.column), ..self }
    }
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// The text begins with a byte-order mark.
    ByteOrderMark,
    /// No operation has this name.
    UnknownOp(String),
    /// A sign or word where the line should have ended or gone on otherwise.
    Unexpected(String),
    /// The operation does not take this argument.
    UnknownArgument {
        /// The operation.
        op: &'static str,
        /// The argument.
        word: String,
    },
    /// An argument that must be there is not.
    Missing {
        /// The operation or line.
        op: &'static str,
        /// What is not there.
        what: String,
    },
    /// An argument, or one that excludes it, is there already.
    Twice {
        /// This one.
        word: String,
        /// The one before.
        other: String,
    },
    /// `=` to the left of an operation that creates nothing.
    CreatesNothing(&'static str),
    /// The name to the left of `=` is not one for what the operation creates.
    WrongName {
        /// The name.
        name: String,
        /// The operation.
        op: &'static str,
        /// A name of the right sort begins so.
        sigil: &'static str,
    },
    /// No operation above defines this name.
    UndefinedName(String),
    /// The name is defined already.
    DefinedTwice {
        /// The name.
        name: String,
        /// The line of the definition; 0 for `mm0`, which is there from the start.
        line: u32,
    },
    /// Not a number, or too large a one.
    Number {
        /// Of what.
        what: String,
        /// What is there.
        text: String,
        /// The largest.
        most: u64,
    },
    /// Not a value of this key.
    Value {
        /// The key.
        key: String,
        /// What is there.
        text: String,
    },
    /// An operation of a concurrent phase without its CPU.
    NoCpu,
    /// The machine is described twice, or after the first operation.
    MachineTooLate,
    /// A phase without operations.
    EmptyPhase,
    /// An expectation without `by RULE`.
    NoBy,
    /// An expectation that does not say what it looks at.
    NoTarget,
    /// No field has this name.
    UnknownField(String),
    /// Not a schedule.
    Schedule(&'static str),
    /// Breaks a rule of valid programs.
    Rule {
        /// Which.
        fault: Fault,
        /// What the source calls the object at fault.
        name: String,
    },
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mistake::ByteOrderMark => write!(f, "a byte-order mark before the text"),
            Mistake::UnknownOp(word) => write!(f, "unknown operation `{}`", shown(word)),
            Mistake::Unexpected(text) => write!(f, "unexpected `{}`", shown(text)),
            Mistake::UnknownArgument { op, word } => {
                write!(f, "`{op}` does not take `{}`", shown(word))
            }
            Mistake::Missing { op, what } => write!(f, "`{op}` wants {what}"),
            Mistake::Twice { word, other } if word == other => {
                write!(f, "`{}` is here twice", shown(word))
            }
            Mistake::Twice { word, other } => {
                write!(f, "`{}` contradicts `{}`", shown(word), shown(other))
            }
            Mistake::CreatesNothing(op) => write!(f, "`{op}` creates nothing to name"),
            Mistake::WrongName { name, op, sigil } => {
                let name = shown(name);
                write!(f, "`{name}` is not a name for what `{op}` creates: `{sigil}` and a number")
            }
            Mistake::UndefinedName(name) => write!(f, "nothing above defines `{}`", shown(name)),
            Mistake::DefinedTwice { name, line: 0 } => {
                write!(f, "`{name}` exists from the start")
            }
            Mistake::DefinedTwice { name, line } => {
                write!(f, "`{name}` is defined on line {line} already")
            }
            Mistake::Number { what, text, most } => {
                write!(f, "{what} is a number up to {most}, not `{}`", shown(text))
            }
            Mistake::Value { key, text } => {
                write!(f, "`{}` is not a value of `{key}`", shown(text))
            }
            Mistake::NoCpu => write!(f, "an operation in a `phase:` says on which CPU it runs"),
            Mistake::MachineTooLate => {
                write!(f, "`machine` stands once, before the first operation")
            }
            Mistake::EmptyPhase => write!(f, "a phase without operations"),
            Mistake::NoBy => write!(f, "an expectation ends with the rule that it comes from"),
            Mistake::NoTarget => write!(f, "an expectation says what it looks at"),
            Mistake::UnknownField(word) => write!(f, "unknown field `{}`", shown(word)),
            Mistake::Schedule(what) => f.write_str(what),
            Mistake::Rule { fault, name } => f.write_str(&fault.describe(&format!("`{name}`"))),
        }
    }
}

/// One mistake in a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// Where.
    pub at: Location,
    /// What.
    pub mistake: Mistake,
    /// How it might be put right; never empty.
    pub hint: String,
}

impl ParseError {
    /// The mistake as a sentence.
    pub fn message(&self) -> String {
        self.mistake.to_string()
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} ({})", self.at.line, self.at.column, self.mistake, self.hint)
    }
}

impl std::error::Error for ParseError {}

/// `did you mean …`, if one of the candidates is close to `word`.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    // Nothing is close to a very long word, and to find that out costs its length.
    if word.len() > 64 {
        return None;
    }
    let distance = |other: &str| strsim::damerau_levenshtein(word, other);
    let near = candidates.into_iter().map(|other| (distance(other), other));
    let (distance, other) = near.min_by_key(|(distance, _)| *distance)?;
    let close = distance <= (word.chars().count() / 3).max(1);
    close.then(|| format!("did you mean `{other}`?"))
}
