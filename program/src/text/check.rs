//! Broken rules of valid programs, pinned to the argument at fault.

use crate::object::Object;
use crate::text::args::Args;
use crate::text::error::{Location, Mistake};
use crate::text::parser::Parser;
use crate::validate::Fault;

impl Parser {
    /// Reports a rule that a step breaks.
    pub fn step_fault(&mut self, fault: Fault, args: &Args<'_>, name: Option<Location>) {
        let of_object = |object| match object {
            Object::Mm(_) => args.mm.map(|mm| mm.at),
            Object::Area(_) => args.area.map(|(area, _)| area.at),
            Object::Lock(_) => args.lock.map(|lock| lock.at),
            Object::Migration(_) => args.migration.map(|migration| migration.at),
            Object::Handle(handle) => {
                args.handles.iter().rev().find(|named| named.id == Some(handle.0)).map(|n| n.at)
            }
        };
        let at = match fault {
            Fault::TooMany(_) | Fault::OutOfOrder(_) => name.unwrap_or(args.op),
            Fault::AreaLen(_) | Fault::EmptyRange => args.locate("len"),
            Fault::Shift(_) => args.locate("shift"),
            Fault::Task(_) => args.locate("task"),
            Fault::FailNth | Fault::FailOffline => args.locate("fail"),
            Fault::Hole => args.locate("hole"),
            Fault::File(_) => args.file_at.unwrap_or(args.op),
            Fault::ExitFirst => args.mm.map_or(args.op, |mm| mm.at),
            _ => fault.object().and_then(of_object).unwrap_or(args.op),
        };
        let hint = self.fault_hint(fault);
        self.fault(at, fault, hint);
    }

    /// Reports a broken rule, calling the object at fault what the source calls it.
    pub fn fault(&mut self, at: Location, fault: Fault, hint: Option<String>) {
        let object = fault.object();
        let name = object.and_then(|object| self.names.name(object)).map(|name| name.to_string());
        let name = name.or(object.map(|object| object.to_string())).unwrap_or_default();
        self.error(at, Mistake::Rule { fault, name }, hint);
    }

    /// What might help, where the program so far tells more than the fault does.
    pub fn fault_hint(&self, fault: Fault) -> Option<String> {
        let known = |object| self.names.name(object).and_then(|name| self.names.get(name));
        match fault {
            Fault::Gone(object) => {
                known(object)?.ended.map(|line| format!("that is done on line {line}"))
            }
            Fault::OutsideArea(range, len) => {
                let line = known(Object::Area(range.area))?.line;
                Some(format!("line {line} gives it {len} pages, 0 to {}", len - 1))
            }
            Fault::NoCpu(_) | Fault::SliceCpu(_) => {
                let cpus = self.program.shape.cpus;
                Some(format!("this one has {cpus}; say `machine cpus=N` for more"))
            }
            _ => None,
        }
    }
}
