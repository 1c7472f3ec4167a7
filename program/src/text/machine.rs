//! The `machine` line.

use crate::text::error::{Mistake, did_you_mean};
use crate::text::lexer::Token;
use crate::text::parser::Parser;
use crate::text::words::{FAULTS, PREEMPTS, THPS};
use crate::validate::{Fault, check_shape};

const KEYS: [&str; 11] = [
    "cpus", "preempt", "ptes", "normal", "movable", "cma", "device", "coherent", "batch", "thp",
    "faults",
];

impl Parser {
    /// `machine KEY=VALUE…`
    pub fn machine(&mut self, word: Token<'_>, tokens: &[Token<'_>]) {
        if std::mem::replace(&mut self.machine_closed, true) {
            self.error(word.at, Mistake::MachineTooLate, None);
        }
        let before = self.errors.len();
        let mut shape = self.program.shape.clone();
        let mut seen: Vec<&str> = Vec::new();
        let mut rest = tokens;
        while let [first, after @ ..] = rest
            && !self.full()
        {
            let [equals, value, after @ ..] = after else {
                return self.unexpected(first, "a machine is described by `KEY=VALUE`s");
            };
            rest = after;
            if !equals.is("=") || !first.is_word() || !value.is_word() {
                return self.unexpected(first, "a machine is described by `KEY=VALUE`s");
            }
            let (key, what) = (first.text, format!("`{}`", first.text));
            if seen.contains(&key) {
                let word = format!("{key}=");
                self.error(first.at, Mistake::Twice { other: word.clone(), word }, None);
            }
            seen.push(key);
            let mut number = |most| self.number(value.at, &what, value.text, most).unwrap_or(1);
            match key {
                "cpus" => shape.cpus = number(255) as u8,
                "ptes" => shape.ptes = number(65535) as u16,
                "batch" => shape.batch = number(255) as u8,
                "normal" => shape.pages[0] = number(u64::from(u32::MAX)) as u32,
                "movable" => shape.pages[1] = number(u64::from(u32::MAX)) as u32,
                "cma" => shape.pages[2] = number(u64::from(u32::MAX)) as u32,
                "device" => shape.pages[3] = number(u64::from(u32::MAX)) as u32,
                "coherent" => shape.pages[4] = number(u64::from(u32::MAX)) as u32,
                "preempt" => {
                    shape.preempt = self.word_of(key, *value, PREEMPTS).unwrap_or_default();
                }
                "thp" => shape.thp = self.word_of(key, *value, THPS).unwrap_or_default(),
                "faults" => shape.faults = self.word_of(key, *value, FAULTS).unwrap_or_default(),
                _ => {
                    let hint = did_you_mean(key, KEYS)
                        .unwrap_or_else(|| format!("keys are {}", KEYS.join(", ")));
                    let word = format!("{key}=");
                    let mistake = Mistake::UnknownArgument { op: "machine", word };
                    self.error(first.at, mistake, Some(hint));
                }
            }
        }
        if self.errors.len() > before {
            return;
        }
        match check_shape(&shape) {
            Ok(()) => self.program.shape = shape,
            Err(fault) => {
                let key = match fault {
                    Fault::Cpus(_) => "cpus",
                    Fault::Ptes(_) => "ptes",
                    Fault::Batch(_) => "batch",
                    Fault::Pages(pages) => {
                        let places = KEYS[3..8].iter().zip(shape.pages);
                        places
                            .filter(|(_, n)| *n == pages)
                            .map(|(key, _)| *key)
                            .next()
                            .unwrap_or("")
                    }
                    _ => "",
                };
                let at = tokens.iter().find(|token| token.is(key)).unwrap_or(&word).at;
                self.fault(at, fault, None);
            }
        }
    }
}
