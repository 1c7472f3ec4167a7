//! Text to program: lines, sections and operations.

use crate::arena::Arena;
use crate::object::Object;
use crate::op::Step;
use crate::program::{Phase, Program};
use crate::schedule::Slice;
use crate::text::args::Args;
use crate::text::error::{Location, Mistake, ParseError, did_you_mean};
use crate::text::lexer::{BOM, Token, tokens};
use crate::text::names::{Names, ObjectName, number};
use crate::text::render::shown;
use crate::text::verbs::{self, op_names};
use crate::validate::{Fault, check_step};

/// A program and where it stands in its source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// The program.
    pub program: Program,
    /// The comment lines at the head of the source, without their `#`.
    pub description: Vec<String>,
    /// What each line of the source is.
    pub lines: Vec<Line>,
    /// Where each step stands, by step number.
    pub steps: Vec<Location>,
    /// Where each expectation stands, by position.
    pub expects: Vec<Location>,
}

/// What a line of a source is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// Empty or a comment.
    Blank,
    /// `machine …`
    Machine,
    /// `setup:`
    Setup,
    /// `then:`
    Then,
    /// `phase:`
    Phase,
    /// The step with this number; whether it stands in a `phase:`.
    Step(usize, bool),
    /// The expectation with this position.
    Expect(usize),
    /// `schedule: …`
    Schedule,
}

/// Reading stops at this many mistakes.
pub const MAX_ERRORS: usize = 1000;

/// Reads a program, reporting every mistake it can tell apart: all of them, unless there are very
/// many, or more steps than a program has.
pub fn parse(source: &str) -> Result<Parsed, Vec<ParseError>> {
    let mut parser = Parser::default();
    if source.starts_with(BOM) {
        let at = Location { line: 1, column: 1, len: 1 };
        parser.error(at, Mistake::ByteOrderMark, None);
    }
    for (number, line) in (1..).zip(source.lines()) {
        parser.line = number;
        let item = parser.read_line(&tokens(line, number).0);
        parser.lines.push(item);
        if parser.full() || parser.too_long {
            return Err(parser.errors);
        }
    }
    parser.end_phase();
    parser.end_schedule();
    if !parser.errors.is_empty() {
        return Err(parser.errors);
    }
    debug_assert_eq!(parser.program.validate(), Ok(()));
    let head = source.lines().take_while(|line| line.starts_with('#'));
    let description = head.map(|line| line[1..].trim().to_string()).collect();
    let Parser { program, lines, steps, expects, .. } = parser;
    Ok(Parsed { program, description, lines, steps, expects })
}

/// A parser in the middle of a source.
#[derive(Default)]
pub struct Parser {
    pub program: Program,
    pub arena: Arena,
    pub names: Names,
    pub errors: Vec<ParseError>,
    line: u32,
    lines: Vec<Line>,
    /// Where the steps of the program stand, one each.
    pub steps: Vec<Location>,
    expects: Vec<Location>,
    /// There are more steps than a program has.
    too_long: bool,
    /// The header of the `phase:` that is open, and whether an operation stood in it.
    phase: Option<(Location, bool)>,
    /// The phase that the next operation of the open `phase:` joins.
    joins: bool,
    /// An expectation inside the open `phase:`: wrong, if an operation follows.
    expected: Option<Location>,
    /// A `machine` line comes too late now.
    pub machine_closed: bool,
    /// The slices and where they stand.
    pub slices: Vec<(Slice, Location)>,
    /// The loop that is open (it may go on over several lines), and how many slices precede it.
    pub open_loop: Option<(Location, usize)>,
    /// The schedule has its loop.
    pub looped: bool,
}

impl Parser {
    /// Reports a mistake, with the hint that it has if there is no better one.
    pub fn error(&mut self, at: Location, mistake: Mistake, hint: Option<String>) {
        let hint = hint.filter(|hint| !hint.is_empty()).unwrap_or_else(|| mistake.hint());
        self.errors.push(ParseError { at, mistake, hint });
    }

    /// Whether there are so many mistakes that reading stops.
    pub fn full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    pub fn unexpected(&mut self, token: &Token<'_>, hint: &str) {
        self.error(token.at, Mistake::Unexpected(token.text.into()), Some(hint.into()));
    }

    fn read_line(&mut self, line: &[Token<'_>]) -> Line {
        let Some((first, rest)) = line.split_first() else { return Line::Blank };
        let header = rest.first().is_some_and(|token| token.is(":"));
        match first.text {
            "machine" => {
                self.machine(*first, rest);
                Line::Machine
            }
            "setup" | "then" | "phase" if header => {
                if let Some(extra) = rest.get(1) {
                    self.unexpected(extra, "operations stand on the lines below");
                }
                self.end_phase();
                match first.text {
                    "setup" => Line::Setup,
                    "then" => Line::Then,
                    _ => {
                        self.phase = Some((first.at, false));
                        Line::Phase
                    }
                }
            }
            "schedule" if header => {
                self.end_phase();
                self.schedule(&rest[1..]);
                Line::Schedule
            }
            "expect" => {
                if !self.expect(*first, rest) {
                    return Line::Blank;
                }
                let whole = line.last().map_or(first.at, |last| first.at.to(last.at));
                self.expects.push(whole);
                if self.phase.is_some() {
                    self.expected = Some(whole);
                }
                Line::Expect(self.expects.len() - 1)
            }
            _ => {
                let at = self.steps.len();
                self.step(line);
                Line::Step(at, self.phase.is_some())
            }
        }
    }

    fn end_phase(&mut self) {
        if let Some((at, false)) = self.phase {
            let hint = "operations with their CPUs stand below it, such as `cpu0: read m0`";
            self.error(at, Mistake::EmptyPhase, Some(hint.into()));
        }
        (self.phase, self.joins, self.expected) = (None, false, None);
    }

    /// `[cpuN:] [NAME =] OP ARGS`
    fn step(&mut self, line: &[Token<'_>]) {
        self.machine_closed = true;
        let mut rest = line;
        let mut cpu = None;
        if let [word, colon, after @ ..] = rest
            && colon.is(":")
        {
            rest = after;
            cpu = word.text.strip_prefix("cpu").and_then(number::<u8>).map(|cpu| (cpu, word.at));
            if cpu.is_none() {
                let hint = "`cpuN:`, `setup:`, `then:`, `phase:` and `schedule:` end with a colon";
                return self.unexpected(word, hint);
            }
        } else if self.phase.is_some() {
            let at = line[0].at;
            self.error(
                at,
                Mistake::NoCpu,
                Some(format!("such as `cpu0: {} …`", shown(line[0].text))),
            );
        }
        let mut name = None;
        if let [word, equals, after @ ..] = rest
            && equals.is("=")
        {
            rest = after;
            name = Some(*word);
        }
        let Some((&op, rest)) = rest.split_first() else {
            let at = line.last().map_or(line[0].at, |token| token.at);
            let hint = Some("an operation stands there, such as `read m0`".into());
            return self.error(at, Mistake::Unexpected("end of line".into()), hint);
        };
        if let Some((_, stepped)) = &mut self.phase {
            *stepped = true;
        }
        let Some(spec) = verbs::find(op.text) else {
            self.define(name, None);
            let hint = did_you_mean(op.text, op_names()).unwrap_or_else(|| {
                format!("operations are {}", op_names().collect::<Vec<_>>().join(", "))
            });
            return self.error(op.at, Mistake::UnknownOp(op.text.into()), Some(hint));
        };
        let args = self.args(spec, op, rest);
        let name = self.check_name(name, op, spec);
        let step = args.and_then(|args| {
            let step = self.build(&args, cpu)?;
            self.append(&step, &args, cpu.map(|(_, at)| at), name).then_some(step)
        });
        let created = step.and_then(|step| step.op.creates()).map(Object::id);
        self.define(name, created);
        if step.is_some() {
            self.steps.push(line.last().map_or(op.at, |last| line[0].at.to(last.at)));
        }
    }

    fn build(&mut self, args: &Args<'_>, cpu: Option<(u8, Location)>) -> Option<Step> {
        let place = self.place(args);
        let fail = self.fail(args);
        let op = self.op(args);
        Some(Step { cpu: cpu.map_or(0, |(cpu, _)| cpu), op: op?, place: place?, fail: fail? })
    }

    /// Appends a step, if it keeps the rules.
    fn append(
        &mut self,
        step: &Step,
        args: &Args<'_>,
        cpu: Option<Location>,
        name: Option<Token<'_>>,
    ) -> bool {
        let joins = self.phase.is_some() && self.joins;
        if !joins {
            self.arena.begin_phase();
        }
        if let Some(at) = self.expected.take() {
            self.fault(at, Fault::ExpectInsidePhase, self.fault_hint(Fault::ExpectInsidePhase));
        }
        self.too_long = self.steps.len() >= crate::codec::MAX_STEPS;
        let fault = match check_step(step, &self.arena, &self.program.shape) {
            _ if self.too_long => Some(Fault::TooManySteps),
            other => other.err(),
        };
        if let Some(fault) = fault {
            match (fault, cpu) {
                (Fault::NoCpu(_), Some(at)) => self.fault(at, fault, self.fault_hint(fault)),
                _ => self.step_fault(fault, args, name.map(|name| name.at)),
            }
            return false;
        }
        self.arena.apply(step.cpu, &step.op);
        step.op.consumes().for_each(|o| self.names.end(o, self.line));
        match self.program.phases.last_mut().filter(|_| joins) {
            Some(phase) => phase.steps.push(*step),
            None => self.program.phases.push(Phase { steps: vec![*step] }),
        }
        self.joins = self.phase.is_some();
        true
    }

    /// The name to the left of `=`, if it is a good one; complains if it is not there.
    fn check_name<'s>(
        &mut self,
        name: Option<Token<'s>>,
        op: Token<'s>,
        spec: &'static verbs::Spec,
    ) -> Option<Token<'s>> {
        match (name, spec.creates) {
            (None, None) => {}
            (Some(token), None) => {
                self.error(token.at, Mistake::CreatesNothing(spec.name), None);
                return None;
            }
            (None, Some(sort)) => {
                let what = format!("a name for {}", sort.describe());
                let hint = Some(format!("usage: {}", spec.usage));
                self.error(op.at, Mistake::Missing { op: spec.name, what }, hint);
            }
            (Some(token), Some(sort)) => match ObjectName::read(token.text) {
                Some(read) if read.sort == sort => {
                    if let Some(known) = self.names.get(read) {
                        let name = token.text.into();
                        let mistake = Mistake::DefinedTwice { name, line: known.line };
                        let free = (0..).map(|number| ObjectName { sort, number });
                        let next = free.into_iter().find(|name| self.names.get(*name).is_none());
                        let hint = next.map(|next| format!("`{next}` is free"));
                        self.error(token.at, mistake, hint);
                        return None;
                    }
                }
                _ => {
                    let (name, sigil) = (token.text.into(), sort.sigil());
                    let mistake = Mistake::WrongName { name, op: spec.name, sigil };
                    self.error(token.at, mistake, None);
                    return None;
                }
            },
        }
        name
    }

    fn define(&mut self, name: Option<Token<'_>>, id: Option<u8>) {
        if let Some(name) = name.and_then(|token| ObjectName::read(token.text))
            && self.names.get(name).is_none()
        {
            self.names.define(name, id, self.line);
        }
    }
}
