//! The arguments of an operation, read against what the operation takes; their order is free.

use crate::op::{FILES, Fail};
use crate::shape::Place;
use crate::text::error::{Location, Mistake, did_you_mean};
use crate::text::lexer::Token;
use crate::text::names::{ObjectName, Sort, number};
use crate::text::parser::Parser;
use crate::text::render::shown;
use crate::text::verbs::{Choice, Need, Spec};
use crate::text::words::{self, PLACES, SITES, Words};

/// An object named by a source.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    pub at: Location,
    /// None if its definition was in error.
    pub id: Option<u8>,
}

/// The arguments of one operation.
#[derive(Debug)]
pub struct Args<'s> {
    pub spec: &'static Spec,
    /// The operation's name.
    pub op: Location,
    pub mm: Option<Named>,
    pub area: Option<(Named, u16)>,
    pub handles: Vec<Named>,
    pub lock: Option<Named>,
    pub migration: Option<Named>,
    pub file: Option<(u8, u8)>,
    pub file_at: Option<Location>,
    keys: Vec<(&'s str, Token<'s>)>,
    words: Vec<Token<'s>>,
}

impl<'s> Args<'s> {
    /// Whether this word is there.
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|token| token.text == word)
    }

    /// The value of a key.
    pub fn key(&self, key: &str) -> Option<Token<'s>> {
        self.keys.iter().find(|(other, _)| *other == key).map(|(_, value)| *value)
    }

    /// Where a key's value or a word is, else the operation's name.
    pub fn locate(&self, what: &str) -> Location {
        let word = self.words.iter().find(|token| token.text == what);
        self.key(what).or(word.copied()).map_or(self.op, |token| token.at)
    }

    /// The value of the one word of this table that is there.
    pub fn choice<T: Copy>(&self, table: &Words<T>) -> Option<T> {
        self.words.iter().find_map(|token| words::lookup(table, token.text))
    }
}

impl Parser {
    /// Reads the arguments after an operation's name; none if there was any mistake.
    pub fn args<'s>(
        &mut self,
        spec: &'static Spec,
        op: Token<'s>,
        tokens: &[Token<'s>],
    ) -> Option<Args<'s>> {
        let before = self.errors.len();
        let mut args = Args {
            spec,
            op: op.at,
            mm: None,
            area: None,
            handles: Vec::new(),
            lock: None,
            migration: None,
            file: None,
            file_at: None,
            keys: Vec::new(),
            words: Vec::new(),
        };
        let mut rest = tokens;
        while let [token, after @ ..] = rest
            && !self.full()
        {
            rest = after;
            if !token.is_word() {
                self.error(token.at, Mistake::Unexpected(token.text.into()), usage(spec));
                break;
            }
            match after {
                [equals, value, after @ ..] if equals.is("=") && value.is_word() => {
                    rest = after;
                    self.keyed(&mut args, *token, *value);
                }
                [equals, ..] if equals.is("=") => {
                    let text = format!("{}=", token.text);
                    let hint = Some(format!("a value follows `{}` without a space", shown(&text)));
                    self.error(token.at.to(equals.at), Mistake::Unexpected(text), hint);
                    break;
                }
                _ => self.bare(&mut args, *token),
            }
        }
        if self.errors.len() == before {
            self.missing(&args);
        }
        (self.errors.len() == before).then_some(args)
    }

    fn keyed<'s>(&mut self, args: &mut Args<'s>, key: Token<'s>, value: Token<'s>) {
        let known = args.spec.keys.contains(&key.text) || matches!(key.text, "place" | "fail");
        if !known {
            let keys = args.spec.keys.iter().copied().chain(["place", "fail"]);
            let hint = did_you_mean(key.text, keys).or_else(|| usage(args.spec));
            let word = format!("{}=", key.text);
            self.error(key.at, Mistake::UnknownArgument { op: args.spec.name, word }, hint);
        } else if args.key(key.text).is_some() {
            self.twice(key.at.to(value.at), &format!("{}=", key.text), &format!("{}=", key.text));
        } else {
            args.keys.push((key.text, value));
        }
    }

    fn bare<'s>(&mut self, args: &mut Args<'s>, token: Token<'s>) {
        let spec = args.spec;
        let (base, plus) = match token.text.split_once('+') {
            Some((base, plus)) => (base, Some(plus)),
            None => (token.text, None),
        };
        if let Some(choice) = spec.choices.iter().find(|set| set.words().contains(&token.text)) {
            let words = choice.words();
            match args.words.iter().find(|other| words.contains(&other.text)) {
                Some(other) => self.twice(token.at, token.text, other.text),
                None => args.words.push(token),
            }
        } else if spec.file != Need::Never
            && let Some(file) = base.strip_prefix('f').and_then(number::<u8>)
        {
            if args.file.is_some() {
                return self.twice(token.at, token.text, "the file before it");
            }
            if file >= FILES {
                let mistake = Mistake::UndefinedName(base.into());
                return self.error(token.at, mistake, Some("the files are f0 and f1".into()));
            }
            let page = self.number(token.at, "a file page", plus.unwrap_or("0"), 255);
            args.file = page.map(|page| (file, page as u8));
            args.file_at = Some(token.at);
        } else if let Some(name) = ObjectName::read(base) {
            self.object(args, token, name, plus);
        } else {
            let words: Vec<_> = spec.choices.iter().flat_map(|choice| choice.words()).collect();
            let keys = spec.keys.iter().copied();
            let hint = did_you_mean(token.text, words.into_iter().chain(keys));
            let mistake = Mistake::UnknownArgument { op: spec.name, word: token.text.into() };
            self.error(token.at, mistake, hint.or_else(|| usage(spec)));
        }
    }

    fn object<'s>(
        &mut self,
        args: &mut Args<'s>,
        at: Token<'s>,
        name: ObjectName,
        plus: Option<&str>,
    ) {
        let spec = args.spec;
        let (taken, full) = match name.sort {
            Sort::Mm => (spec.mm != Need::Never, args.mm.is_some()),
            Sort::Area => (spec.area != Need::Never, args.area.is_some()),
            Sort::Handle => (spec.handles.1 > 0, args.handles.len() == spec.handles.1),
            Sort::Lock => (spec.lock != Need::Never, args.lock.is_some()),
            Sort::Migration => (spec.migration != Need::Never, args.migration.is_some()),
        };
        if !taken || (plus.is_some() && name.sort != Sort::Area) {
            let mistake = Mistake::UnknownArgument { op: spec.name, word: at.text.into() };
            return self.error(at.at, mistake, usage(spec));
        }
        if full {
            let what = if spec.handles.1 > 1 { "the two before it" } else { "the one before it" };
            return self.twice(at.at, at.text, what);
        }
        let Some(named) = self.named(at, name) else { return };
        match name.sort {
            Sort::Mm => args.mm = Some(named),
            Sort::Handle => args.handles.push(named),
            Sort::Lock => args.lock = Some(named),
            Sort::Migration => args.migration = Some(named),
            Sort::Area => {
                let off = self.number(at.at, "an offset", plus.unwrap_or("0"), 65535);
                args.area = off.map(|off| (named, off as u16));
            }
        }
    }

    /// Looks up a name.
    pub fn named(&mut self, token: Token<'_>, name: ObjectName) -> Option<Named> {
        if let Some(known) = self.names.get(name) {
            return Some(Named { at: token.at, id: known.id });
        }
        let others: Vec<_> = self.names.of_sort(name.sort).map(|(n, _)| format!("`{n}`")).collect();
        let hint = if others.is_empty() {
            format!("it would be {}", name.sort.describe())
        } else {
            format!("defined so far: {}", others.join(", "))
        };
        self.error(token.at, Mistake::UndefinedName(name.to_string()), Some(hint));
        None
    }

    fn missing(&mut self, args: &Args<'_>) {
        let spec = args.spec;
        let mut missing = Vec::new();
        if spec.mm == Need::Must && args.mm.is_none() {
            missing.push("an address space".to_string());
        }
        if spec.area == Need::Must && args.area.is_none() {
            missing.push("a range".into());
        }
        if args.handles.len() < spec.handles.0 {
            missing.push("a handle".into());
        }
        if spec.lock == Need::Must && args.lock.is_none() {
            missing.push("a lock".into());
        }
        if spec.migration == Need::Must && args.migration.is_none() {
            missing.push("a migration".into());
        }
        let keys = &spec.keys[..spec.keys_needed];
        missing.extend(
            keys.iter().filter(|key| args.key(key).is_none()).map(|key| format!("`{key}=`")),
        );
        let absent = |choice: &&Choice| !choice.words().iter().any(|word| args.has(word));
        let choices = spec.choices.iter().filter(absent);
        missing.extend(choices.filter_map(|choice| choice.needed()).map(String::from));
        if let Some(what) = (!missing.is_empty()).then(|| missing.join(" and ")) {
            self.error(args.op, Mistake::Missing { op: spec.name, what }, usage(spec));
        }
    }

    fn twice(&mut self, at: Location, word: &str, other: &str) {
        let mistake = Mistake::Twice { word: word.into(), other: other.into() };
        self.error(at, mistake, None);
    }

    /// A number of at most `most`.
    pub fn number(&mut self, at: Location, what: &str, text: &str, most: u64) -> Option<u64> {
        let value = number::<u64>(text).filter(|value| *value <= most);
        if value.is_none() {
            let (what, text) = (what.to_string(), text.to_string());
            self.error(at, Mistake::Number { what, text, most }, None);
        }
        value
    }

    /// The number given for a key, or `default` without the key.
    pub fn number_of(&mut self, args: &Args<'_>, key: &str, default: u16) -> Option<u16> {
        let Some(value) = args.key(key) else { return Some(default) };
        let what = format!("`{key}`");
        self.number(value.at, &what, value.text, 65535).map(|value| value as u16)
    }

    /// The word given for a key.
    pub fn word_of<T: Copy>(&mut self, key: &str, value: Token<'_>, table: &Words<T>) -> Option<T> {
        let found = words::lookup(table, value.text);
        if found.is_none() {
            let list = words::list(table);
            let hint = did_you_mean(value.text, list.iter().copied())
                .unwrap_or_else(|| format!("one of {}", list.join(", ")));
            let mistake = Mistake::Value { key: key.into(), text: value.text.into() };
            self.error(value.at, mistake, Some(hint));
        }
        found
    }

    /// `place=`.
    pub fn place(&mut self, args: &Args<'_>) -> Option<Place> {
        match args.key("place") {
            Some(value) => self.word_of("place", value, PLACES),
            None => Some(Place::Normal),
        }
    }

    /// `fail=`.
    pub fn fail(&mut self, args: &Args<'_>) -> Option<Option<Fail>> {
        let Some(value) = args.key("fail") else { return Some(None) };
        let Some((site, nth)) = value.text.split_once('#') else {
            let mistake = Mistake::Value { key: "fail".into(), text: value.text.into() };
            let hint = "a site and which attempt fails there, such as `page#1`";
            self.error(value.at, mistake, Some(hint.into()));
            return None;
        };
        let at = Location { len: site.chars().count() as u32, ..value.at };
        let site = self.word_of("fail", Token { text: site, at }, SITES)?;
        let nth = self.number(value.at, "an attempt", nth, 255)?;
        Some(Some(Fail { site, nth: nth as u8 }))
    }
}

/// `usage: …`.
pub fn usage(spec: &Spec) -> Option<String> {
    Some(format!("usage: {}", spec.usage))
}
