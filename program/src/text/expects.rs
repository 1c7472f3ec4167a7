//! `expect` lines.

use crate::expect::{Expect, Field, Target};
use crate::hmm;
use crate::op::{AreaId, HandleId, MmId, Range, on_disk};
use crate::outcome::Ret;
use crate::text::error::{Location, Mistake, did_you_mean};
use crate::text::lexer::Token;
use crate::text::names::{ObjectName, Sort, number};
use crate::text::parser::Parser;
use crate::text::words::{self, ENTRIES, ERRNOS, ZONES};
use crate::validate::{Fault, check_expect};

const USAGE: &str = "such as `expect m0+1 ref=2 map=1 by B2`, `expect h0[1] pin=1 by B2`, \
                     `expect result=EFAULT by B5`, `expect machine used.normal=4 by B2`";

/// An `expect` line while it is read.
#[derive(Default)]
struct Draft {
    mm: Option<MmId>,
    area: Option<(AreaId, u16)>,
    handle: Option<(HandleId, u16)>,
    out: Option<u16>,
    machine: bool,
    len: Option<u16>,
    ret: Option<Ret>,
    fields: Vec<(Field, u64)>,
    cite: String,
}

impl Parser {
    /// Reads the line after `expect`; says whether there is such an expectation now.
    pub fn expect(&mut self, word: Token<'_>, tokens: &[Token<'_>]) -> bool {
        let before = self.errors.len();
        let after = self.steps.len();
        let Some(draft) = self.expect_draft(word, tokens) else { return false };
        let target = match draft {
            Draft { area: Some((area, off)), .. } => {
                let range = Range { area, off, len: draft.len.unwrap_or(1) };
                Target::Page(draft.mm.unwrap_or(MmId(0)), range)
            }
            Draft { handle: Some((handle, index)), .. } => Target::Handle(handle, index),
            Draft { out: Some(index), .. } => Target::Out(index),
            Draft { machine: true, .. } => Target::Machine,
            _ if draft.ret.is_some() => Target::Result,
            _ => {
                self.error(word.at, Mistake::NoTarget, Some(USAGE.into()));
                return false;
            }
        };
        let Draft { ret, fields, cite, .. } = draft;
        let expect = Expect { after, target, ret, fields, cite };
        // With mistakes above, step numbers and liveness may be wrong; those come first.
        if before == 0
            && let Err(fault) = check_expect(&expect, &self.arena, &self.program)
        {
            let at = self.expect_fault(fault, word, tokens);
            let hint = self.fault_hint(fault);
            self.fault(at, fault, hint);
        }
        if self.errors.len() > before {
            return false;
        }
        self.program.expects.push(expect);
        true
    }

    fn expect_draft(&mut self, word: Token<'_>, tokens: &[Token<'_>]) -> Option<Draft> {
        let before = self.errors.len();
        let mut draft = Draft::default();
        let mut poisoned = false;
        let mut rest = tokens;
        while !self.full() {
            match rest {
                [by, cite] if by.is("by") && cite.is_word() => {
                    draft.cite = cite.text.into();
                    break;
                }
                [key, equals, value, after @ ..]
                    if key.is_word() && equals.is("=") && value.is_word() =>
                {
                    rest = after;
                    self.expect_field(&mut draft, *key, *value);
                }
                [token, after @ ..] if token.is_word() && !token.is("by") => {
                    rest = after;
                    poisoned |= self.expect_target(&mut draft, *token).is_none();
                }
                [by, _, extra, ..] if by.is("by") => {
                    let hint = Some("`by` and one word end the line".into());
                    self.error(extra.at, Mistake::Unexpected(extra.text.into()), hint);
                    break;
                }
                [] | [_] | [_, ..] => {
                    let at = rest.first().or(tokens.last()).unwrap_or(&word).at;
                    self.error(at, Mistake::NoBy, Some("such as `by B2`".into()));
                    break;
                }
            }
        }
        (self.errors.len() == before && !poisoned).then_some(draft)
    }

    /// None if it was a mistake, or names what a mistake should have defined.
    fn expect_target(&mut self, draft: &mut Draft, token: Token<'_>) -> Option<()> {
        let taken =
            draft.area.is_some() || draft.handle.is_some() || draft.out.is_some() || draft.machine;
        if token.text == "machine" && !taken && draft.mm.is_none() {
            draft.machine = true;
            return Some(());
        }
        let (base, index) = match token.text.split_once('[') {
            Some((base, index)) => (base, index.strip_suffix(']')),
            None => (token.text, None),
        };
        let (base, off) = match base.split_once('+') {
            Some((base, off)) => (base, Some(off)),
            None => (base, None),
        };
        if let ("out", None, Some(index), false) = (base, off, index, taken)
            && draft.mm.is_none()
        {
            draft.out = Some(self.number(token.at, "a page", index, 65535)? as u16);
            return Some(());
        }
        match (ObjectName::read(base), off, index) {
            (Some(name), None, None) if name.sort == Sort::Mm && !taken && draft.mm.is_none() => {
                draft.mm = Some(MmId(self.named(token, name)?.id?));
            }
            (Some(name), off, None) if name.sort == Sort::Area && !taken => {
                let off = self.number(token.at, "an offset", off.unwrap_or("0"), 65535)?;
                draft.area = Some((AreaId(self.named(token, name)?.id?), off as u16));
            }
            (Some(name), None, index)
                if name.sort == Sort::Handle && !taken && draft.mm.is_none() =>
            {
                let index = index.unwrap_or("0");
                let index = self.number(token.at, "a page of a handle", index, 65535)?;
                draft.handle = Some((HandleId(self.named(token, name)?.id?), index as u16));
            }
            _ => {
                self.error(token.at, Mistake::Unexpected(token.text.into()), Some(USAGE.into()));
                return None;
            }
        }
        Some(())
    }

    fn expect_field(&mut self, draft: &mut Draft, key: Token<'_>, value: Token<'_>) {
        match key.text {
            "result" if draft.ret.is_none() => draft.ret = self.ret(value),
            "len" if draft.len.is_none() => {
                draft.len = self.number(value.at, "`len`", value.text, 65535).map(|n| n as u16);
            }
            "result" | "len" => {
                let word = format!("{}=", key.text);
                self.error(key.at, Mistake::Twice { other: word.clone(), word }, None);
            }
            _ => {
                let Some(field) = Field::ALL.into_iter().find(|field| field.word() == key.text)
                else {
                    let words = Field::ALL.map(Field::word);
                    let hint = did_you_mean(key.text, words)
                        .unwrap_or_else(|| format!("fields are {}", words.join(", ")));
                    return self.error(key.at, Mistake::UnknownField(key.text.into()), Some(hint));
                };
                let stated = match field {
                    Field::Data => self.data(value),
                    Field::Zone => self.word_of("zone", value, ZONES).map(|place| place as u64),
                    Field::Entry => self.word_of("entry", value, ENTRIES),
                    Field::Hmm => self.hmm(value),
                    _ => self.number(value.at, &format!("`{}`", key.text), value.text, u64::MAX),
                };
                draft.fields.extend(stated.map(|value| (field, value)));
            }
        }
    }

    fn ret(&mut self, value: Token<'_>) -> Option<Ret> {
        match value.text {
            "void" => Some(Ret::Void),
            "would_block" => Some(Ret::WouldBlock),
            text if text.starts_with(|c: char| c.is_ascii_digit()) => self
                .number(value.at, "a result", text, u64::from(u32::MAX))
                .map(|count| Ret::Ok(count as u32)),
            text => {
                let errno = words::lookup(ERRNOS, text);
                if errno.is_none() {
                    let list = words::list(ERRNOS);
                    let hint = did_you_mean(text, list.iter().copied()).unwrap_or_else(|| {
                        format!("a count, void, would_block, {}", list.join(", "))
                    });
                    let mistake = Mistake::Value { key: "result".into(), text: text.into() };
                    self.error(value.at, mistake, Some(hint));
                }
                errno.map(Ret::Err)
            }
        }
    }

    fn hmm(&mut self, value: Token<'_>) -> Option<u64> {
        let flags = hmm::read(value.text);
        if flags.is_none() {
            let mistake = Mistake::Value { key: "hmm".into(), text: value.text.into() };
            let hint =
                Mistake::Rule { fault: Fault::FieldValue(Field::Hmm, 0), name: String::new() };
            self.error(value.at, mistake, Some(hint.hint()));
        }
        flags.map(u64::from)
    }

    fn data(&mut self, value: Token<'_>) -> Option<u64> {
        let content = read_data(value.text);
        if content.is_none() {
            let mistake = Mistake::Value { key: "data".into(), text: value.text.into() };
            let hint = Mistake::Rule { fault: Fault::NotWritten(0), name: String::new() }.hint();
            self.error(value.at, mistake, Some(hint));
        }
        content
    }

    fn expect_fault(&self, fault: Fault, word: Token<'_>, tokens: &[Token<'_>]) -> Location {
        let at = |text: &str| tokens.iter().rev().find(|token| token.is(text));
        let field = match fault {
            Fault::FieldTwice(field) | Fault::FieldTarget(field) | Fault::FieldValue(field, _) => {
                at(field.word())
            }
            Fault::NotWritten(_) => at("data"),
            Fault::ExpectResult => at("result"),
            Fault::Cite => tokens.last(),
            Fault::Gone(_) | Fault::OutsideArea(..) | Fault::HandlePage(..) => {
                tokens.iter().find(|token| token.text.starts_with(['m', 'h']))
            }
            _ => None,
        };
        field.map_or(word.at, |token| token.at)
    }
}

/// Reads what [`value`](crate::text::value) prints.
fn read_data(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (left, right) = text.split_once('.')?;
    match left.strip_prefix('f') {
        Some(file) => Some(on_disk(number(file)?, number(right)?)),
        None => {
            let (step, page): (u32, u16) = (number(left)?, number(right)?);
            (step > 0).then_some(u64::from(step) << 16 | u64::from(page))
        }
    }
}
