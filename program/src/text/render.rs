//! Mistakes as a compiler would show them.

use std::fmt::{self, Display, Write};
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::text::error::{Location, ParseError};
use crate::text::parser::MAX_ERRORS;

/// Most characters of a source line that are shown.
const LINE: usize = 160;
/// Most characters of a word that a message repeats.
const WORD: usize = 60;
/// Most mistakes that are shown at once.
const SHOWN: usize = 20;

impl ParseError {
    /// The mistake as a compiler would show it: the line with the place underlined, and the hint.
    /// `source` must be the text that was parsed; `path` is what to call it.
    pub fn render(&self, path: &str, source: &str, color: bool) -> String {
        let line = source.lines().nth(self.at.line as usize - 1).unwrap_or_default();
        self.render_line(path, line, color)
    }

    /// Likewise, given the line of the mistake alone.
    fn render_line(&self, path: &str, line: &str, color: bool) -> String {
        let (line, span) = excerpt(line, self.at);
        let snippet = Snippet::source(line)
            .path(path)
            .line_start(self.at.line as usize)
            .annotation(AnnotationKind::Primary.span(span));
        let message = self.message();
        let title = Level::ERROR.primary_title(&message);
        let group = title.element(snippet).element(Level::HELP.message(&self.hint));
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        // The excerpt is short enough, also with every character escaped.
        let rendered = renderer.term_width(16 * LINE).render(&[group]);
        with_column(rendered, &format!("{path}:{}:", self.at.line), self.at.column)
    }
}

/// Puts the column in the source where the renderer, behind `place`, put that in the excerpt.
fn with_column(mut rendered: String, place: &str, column: u32) -> String {
    let title = rendered.find('\n').unwrap_or_default();
    if let Some(at) = rendered[title..].find(place) {
        let start = title + at + place.len();
        let digits = rendered[start..].bytes().take_while(u8::is_ascii_digit).count();
        rendered.replace_range(start..start + digits, &column.to_string());
    }
    rendered
}

/// The mistakes, rendered, with an empty line between; of very many the first ones, and how many
/// there are besides.
pub fn render_all(errors: &[ParseError], path: &str, source: &str, color: bool) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let line = |at: Location| lines.get(at.line as usize - 1).copied().unwrap_or_default();
    let render = |error: &ParseError| error.render_line(path, line(error.at), color) + "\n";
    let mut rendered: Vec<_> = errors.iter().take(SHOWN).map(render).collect();
    if let more @ 1.. = errors.len().saturating_sub(SHOWN) {
        // Reading stops at so many.
        let least = if errors.len() >= MAX_ERRORS { "at least " } else { "" };
        rendered.push(format!("… and {least}{more} more\n"));
    }
    rendered.join("\n")
}

/// What is shown of a line, and the bytes of it that `at` means: no more than [`LINE`] characters,
/// before escaping, with `…` for what is left out.
fn excerpt(line: &str, at: Location) -> (String, Range<usize>) {
    let length = line.chars().count();
    let start = (at.column as usize).saturating_sub(1).min(length);
    let end = (start + at.len as usize).min(length);
    let (mut from, mut to) = (0, length);
    if length > LINE {
        let window = LINE - 2;
        from = start.saturating_sub(window / 3).min(length - window);
        to = from + window;
    }
    let mut text = String::from(if from > 0 { "…" } else { "" });
    let (mut first, mut last) = (None, None);
    for (index, c) in line.chars().enumerate().take(to).skip(from) {
        if index == start {
            first = Some(text.len());
        }
        if index == end {
            last = Some(text.len());
        }
        push_visible(&mut text, c);
    }
    let (first, last) = (first.unwrap_or(text.len()), last.unwrap_or(text.len()));
    if to < length {
        text.push('…');
    }
    (text, first..last.max(first))
}

/// Appends a character, escaped if a terminal would obey it or show nothing. (A tab is shown as
/// spaces.)
fn push_visible(text: &mut String, c: char) {
    let hidden = matches!(
        c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    );
    if (c.is_control() && c != '\t') || hidden {
        text.extend(c.escape_unicode());
    } else {
        text.push(c);
    }
}

/// A word of the source as messages repeat it: escaped, and shortened if it is very long.
pub fn shown(word: &str) -> impl Display {
    fmt::from_fn(move |f| {
        let mut text = String::new();
        let mut chars = word.chars();
        chars.by_ref().take(WORD).for_each(|c| push_visible(&mut text, c));
        f.write_str(&text)?;
        if chars.next().is_some() { f.write_char('…') } else { Ok(()) }
    })
}
