//! Two texts side by side, folded to what differs.

use std::fmt::Write;

use similar::{DiffTag, TextDiff};

/// Columns when nobody says how wide the terminal is.
const USUAL_WIDTH: usize = 100;
/// Narrowest column that can be read.
const NARROWEST: usize = 20;

/// Columns of the terminal, or of `COLUMNS`.
pub fn width() -> usize {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    set.or_else(terminal).unwrap_or(USUAL_WIDTH)
}

/// Both texts in two columns: `<` only left, `>` only right, `|` changed; one line of context.
/// Empty if they are the same.
pub fn columns(left: [&str; 2], right: [&str; 2], width: usize, colours: bool) -> String {
    let ([left_name, left], [right_name, right]) = (left, right);
    let diff = TextDiff::from_lines(left, right);
    let groups = diff.grouped_ops(1);
    if groups.is_empty() {
        return String::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let column = (width.saturating_sub(3) / 2).max(NARROWEST);
    let mut out = String::new();
    let mut row = |left: &str, sign: char, right: &str| {
        let paint = |text: String, colour: &str| {
            if colours && sign != ' ' && sign != '=' {
                format!("{colour}{text}\x1b[0m")
            } else {
                text
            }
        };
        let (mut lefts, mut rights) =
            (wrap(left, column).into_iter(), wrap(right, column).into_iter());
        let mut sign_left = Some(sign);
        loop {
            let (a, b) = (lefts.next(), rights.next());
            if a.is_none() && b.is_none() {
                break;
            }
            let a = format!("{:column$}", a.unwrap_or_default());
            let sign = sign_left.take().unwrap_or(' ');
            let line = format!(
                "{} {} {}",
                paint(a, "\x1b[31m"),
                if sign == '=' { ' ' } else { sign },
                paint(b.unwrap_or_default(), "\x1b[32m")
            );
            let _ = writeln!(out, "{}", line.trim_end());
        }
    };
    row(left_name, '=', right_name);
    row(&"-".repeat(left_name.chars().count()), '=', &"-".repeat(right_name.chars().count()));
    for (at, group) in groups.iter().enumerate() {
        if at > 0 {
            row("…", '=', "…");
        }
        for op in group {
            let (a, b) = (&old[op.old_range()], &new[op.new_range()]);
            for at in 0..a.len().max(b.len()) {
                let (a, b) = (a.get(at), b.get(at));
                let sign = match (op.tag(), a, b) {
                    (DiffTag::Equal, ..) => ' ',
                    (_, Some(_), Some(_)) => '|',
                    (_, Some(_), None) => '<',
                    _ => '>',
                };
                row(a.copied().unwrap_or(" "), sign, b.copied().unwrap_or(" "));
            }
        }
    }
    out
}

/// A line broken at words to at most so many characters a piece.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for word in line.split(' ') {
        let mut word: String = word.to_owned();
        loop {
            let last = pieces.last_mut().expect("never empty");
            let used = last.chars().count();
            let space = usize::from(used > 0);
            if used + space + word.chars().count() <= width {
                last.push_str(if space > 0 { " " } else { "" });
                last.push_str(&word);
                break;
            }
            if used == 0 {
                let rest: String = word.chars().skip(width).collect();
                last.extend(word.chars().take(width));
                word = rest;
            }
            pieces.push(String::new());
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agrees_is_folded_and_what_differs_stands_side_by_side() {
        let left = "a\nb\nc\nd\ne\nf\n";
        let right = left.replace('c', "C").replace("f\n", "f\ng\n");
        let shown = columns(["left", left], ["right", &right], 43, false);
        let gap = " ".repeat(15);
        let expected = format!(
            "left{gap}    right\n----{gap}    -----\n\
             b{gap}       b\nc{gap}     | C\nd{gap}       d\n…{gap}       …\n\
             f{gap}       f\n{gap}     > g\n"
        );
        let squeeze = |text: &str| {
            text.lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(squeeze(&shown), squeeze(&expected), "{shown}");
        assert_eq!(columns(["l", left], ["r", left], 80, false), "");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = "word ".repeat(40);
        let shown = columns(["l", &long], ["r", &"x".repeat(200)], 60, false);
        assert!(shown.lines().all(|line| line.chars().count() <= 60), "{shown}");
        assert_eq!(shown.matches("word").count(), 40);
        assert_eq!(shown.matches('x').count(), 200);
    }

    #[test]
    fn colours_only_where_wanted() {
        assert!(columns(["l", "a\n"], ["r", "b\n"], 60, true).contains("\x1b[31ma"));
        assert!(!columns(["l", "a\n"], ["r", "b\n"], 60, false).contains('\x1b'));
    }
}
