//! The formatter: canonical lines, in the author's order and with the author's comments.

use crate::text::error::ParseError;
use crate::text::lexer::tokens;
use crate::text::parser::{Line, parse};
use crate::text::printer::{StepLine, schedule_lines};

/// Rewrites every line of a source in its canonical form. Comments, empty lines and sections stay
/// where they are; objects are renumbered in the order of their creation.
pub fn format(source: &str) -> Result<String, Vec<ParseError>> {
    let parsed = parse(source)?;
    let steps: Vec<_> = parsed.program.steps().collect();
    let mut schedule = Some(schedule_lines(&parsed.program.schedule));
    let (mut out, mut indent) = (String::new(), "");
    for ((number, source), line) in (1..).zip(source.lines()).zip(&parsed.lines) {
        let comment = tokens(source, number).1;
        let mut text = match *line {
            Line::Blank if source.starts_with('#') => String::new(),
            Line::Blank => if comment.is_some() { indent } else { "" }.to_string(),
            Line::Machine => parsed.program.shape.to_string(),
            Line::Setup => "setup:".into(),
            Line::Then => "then:".into(),
            Line::Phase => "phase:".into(),
            Line::Step(step, in_phase) => format!("{indent}{}", StepLine(steps[step], in_phase)),
            Line::Expect(index) => format!("{indent}{}", parsed.program.expects[index]),
            // All of it on the first of its lines.
            Line::Schedule => schedule.take().unwrap_or_default().join("\n"),
        };
        match line {
            Line::Setup | Line::Then | Line::Phase => indent = "  ",
            Line::Machine | Line::Schedule => indent = "",
            _ => {}
        }
        if *line == Line::Schedule && text.is_empty() && comment.is_none() {
            continue;
        }
        if let Some(comment) = comment {
            if !text.trim().is_empty() {
                text += "  ";
            }
            text += comment;
        }
        out += text.trim_end();
        out.push('\n');
    }
    Ok(out)
}
