//! `schedule:` lines.

use crate::schedule::{Schedule, Slice};
use crate::text::error::Mistake;
use crate::text::lexer::Token;
use crate::text::parser::Parser;
use crate::validate::check_schedule;

impl Parser {
    /// `0*3 1 (0*2 1)*`
    pub fn schedule(&mut self, tokens: &[Token<'_>]) {
        let mut rest = tokens;
        while let [first, after @ ..] = rest
            && !self.full()
        {
            rest = after;
            if self.looped {
                let what = "a schedule ends with its loop";
                let hint = Some("nothing stands behind `)*`".into());
                return self.error(first.at, Mistake::Schedule(what), hint);
            }
            match (first.text, self.open_loop) {
                ("(", None) => {
                    self.open_loop = Some((first.at, self.program.schedule.slices.len()));
                }
                (")", Some((_, from))) => {
                    let [star, after @ ..] = rest else {
                        let what = "a loop is written `( … )*`";
                        return self.error(first.at, Mistake::Schedule(what), None);
                    };
                    if !star.is("*") {
                        return self.unexpected(star, "a loop is written `( … )*`");
                    }
                    rest = after;
                    self.looped = true;
                    let schedule = &mut self.program.schedule;
                    schedule.cycle = schedule.slices.split_off(from);
                    if schedule.cycle.is_empty() {
                        let what = "a loop has at least one slice";
                        self.error(first.at, Mistake::Schedule(what), None);
                    }
                    self.open_loop = None;
                }
                (_, _) if first.is_word() => {
                    let most = 255;
                    let (cpu, task) = first.text.split_once('+').unwrap_or((first.text, "0"));
                    let cpu = self.number(first.at, "a CPU", cpu, most);
                    let task = self.number(first.at, "a task", task, most);
                    let mut run = Some(1);
                    if let [star, word, after @ ..] = rest
                        && star.is("*")
                        && word.is_word()
                    {
                        rest = after;
                        run = self.number(word.at, "a run", word.text, most);
                    }
                    if let (Some(cpu), Some(task), Some(run)) = (cpu, task, run) {
                        let slice = Slice { cpu: cpu as u8, run: run as u8, task: task as u8 };
                        self.program.schedule.slices.push(slice);
                        self.slices.push((slice, first.at));
                    }
                }
                _ => {
                    let hint = "slices are `CPU`, `CPU*RUN` or `CPU+TASK*RUN`; a loop `( … )*` may end them";
                    return self.unexpected(first, hint);
                }
            }
        }
    }

    /// Checks the slices, now that the machine is known.
    pub fn end_schedule(&mut self) {
        if let Some((at, _)) = self.open_loop {
            self.error(
                at,
                Mistake::Schedule("this loop is not closed"),
                Some("end it with `)*`".into()),
            );
        }
        for (slice, at) in std::mem::take(&mut self.slices) {
            if self.full() {
                break;
            }
            let one = Schedule { slices: vec![slice], cycle: vec![] };
            if let Err(fault) = check_schedule(&one, &self.program.shape) {
                self.fault(at, fault, self.fault_hint(fault));
            }
        }
    }
}
