//! Two states side by side, folded to what differs.

use std::fmt::Write;
use std::io::IsTerminal;

use similar::{ChangeTag, TextDiff};

/// Whether an output stream wants colours (<https://no-color.org>).
pub fn colours(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !refused
}

/// A line diff in which `-` is the reference and `+` the optimised side; lines that agree are left
/// out but for one around each difference.
pub fn folded(reference: &str, optimized: &str, colours: bool) -> String {
    let diff = TextDiff::from_lines(reference, optimized);
    let groups = diff.grouped_ops(1);
    if groups.is_empty() {
        return String::new();
    }
    let mut out = String::from("--- reference\n+++ optimised\n");
    for (at, group) in groups.iter().enumerate() {
        if at > 0 {
            out.push_str("  …\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, colour) = match change.tag() {
                ChangeTag::Delete => ("-", "\x1b[31m"),
                ChangeTag::Insert => ("+", "\x1b[32m"),
                ChangeTag::Equal => (" ", ""),
            };
            let (start, end) =
                if colours && !colour.is_empty() { (colour, "\x1b[0m") } else { ("", "") };
            let _ = writeln!(out, "{start}{sign} {}{end}", change.value().trim_end());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let same = "a\nb\nc\nd\ne\nf\ng\n";
        assert_eq!(folded(same, same, false), "");
        let other = same.replace('d', "D");
        let expected = "--- reference\n+++ optimised\n  c\n- d\n+ D\n  e\n";
        assert_eq!(folded(same, &other, false), expected);
        assert!(folded(same, &other, true).contains("\x1b[31m- d\x1b[0m\n"));
    }
}
