//! A line of source to tokens.

use crate::text::error::Location;

/// A word, or one of the signs `= : * ( )`.
#[derive(Clone, Copy, Debug)]
pub struct Token<'s> {
    pub text: &'s str,
    pub at: Location,
}

impl Token<'_> {
    /// Whether it is this sign.
    pub fn is(&self, sign: &str) -> bool {
        self.text == sign
    }

    /// Whether it is a word.
    pub fn is_word(&self) -> bool {
        !self.text.starts_with(is_sign)
    }
}

/// A byte-order mark, which is reported once and passed over.
pub const BOM: char = '\u{feff}';

fn is_sign(c: char) -> bool {
    matches!(c, '=' | ':' | '*' | '(' | ')')
}

/// The tokens of line `line`, and its comment with the `#`. A comment begins where a word could, so
/// that `fail=page#1` has none.
pub fn tokens(source: &str, line: u32) -> (Vec<Token<'_>>, Option<&str>) {
    let mut tokens = Vec::new();
    let mut chars = (1u32..).zip(source.char_indices()).peekable();
    while let Some((column, (start, c))) = chars.next() {
        if c == '#' {
            return (tokens, Some(source[start..].trim_end()));
        }
        if c.is_whitespace() || (line == 1 && column == 1 && c == BOM) {
            continue;
        }
        let (mut end, mut len) = (start + c.len_utf8(), 1);
        if !is_sign(c) {
            let in_word = |c: char| !c.is_whitespace() && !is_sign(c);
            while let Some((_, (at, c))) = chars.next_if(|&(_, (_, c))| in_word(c)) {
                end = at + c.len_utf8();
                len += 1;
            }
        }
        tokens.push(Token { text: &source[start..end], at: Location { line, column, len } });
    }
    (tokens, None)
}
