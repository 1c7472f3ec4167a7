//! The text form: the parser answers anything, and what it accepts can be written and read again.

use program::text;

use crate::alarm::Alarm;
use crate::cells;

/// Parses, prints, formats.
pub fn run(bytes: &[u8]) -> Option<Alarm> {
    let Ok(source) = std::str::from_utf8(bytes) else { return None };
    let parsed = match text::parse(source) {
        Ok(parsed) => parsed,
        Err(errors) => {
            for error in &errors {
                cells::hit_name(error.message().split([' ', '`']).next().unwrap_or_default());
            }
            let shown = text::render_all(&errors, "input", source, false);
            return shown.is_empty().then(|| Alarm::text("silent-refusal", source));
        }
    };
    let program = parsed.program;
    for step in program.steps() {
        cells::hit_name(program::Kind::of(&step.op).name());
    }
    if program.validate().is_err() {
        return Some(Alarm::text("invalid-program", source));
    }
    match text::parse(&program.to_string()) {
        Ok(again) if again.program == program => {}
        _ => return Some(Alarm::text("printed-otherwise", source)),
    }
    let Ok(formatted) = text::format(source) else {
        return Some(Alarm::text("format-refuses", source));
    };
    match text::parse(&formatted) {
        Ok(again) if again.program == program => {}
        _ => return Some(Alarm::text("formatted-otherwise", source)),
    }
    if text::format(&formatted).as_ref() != Ok(&formatted) {
        return Some(Alarm::text("format-not-settled", source));
    }
    let mut bare = program;
    bare.expects.clear();
    if program::Program::decode(&bare.encode()) != bare {
        return Some(Alarm::text("bytes-otherwise", source));
    }
    None
}
