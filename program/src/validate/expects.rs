//! Rules for expectations.

use crate::arena::Arena;
use crate::expect::{Expect, Field, Target};
use crate::hmm;
use crate::object::Object;
use crate::op::{FILE_PAGES, FILES, Op, Uffdio, on_disk};
use crate::program::Program;
use crate::validate::{Fault, check_range};

/// Checks an expectation that stands where `arena` is.
pub fn check_expect(expect: &Expect, arena: &Arena, program: &Program) -> Result<(), Fault> {
    match expect.target {
        Target::Result => {
            if expect.ret.is_none() || !follows_lone_step(program, expect.after) {
                return Err(Fault::ExpectResult);
            }
        }
        Target::Page(mm, range) => {
            check_live(arena, Object::Mm(mm))?;
            check_live(arena, Object::Area(range.area))?;
            // Between phases every CPU sees every area.
            let mut between = arena.clone();
            between.begin_phase();
            check_range(range, 0, &between)?;
        }
        Target::Handle(handle, index) => {
            check_live(arena, Object::Handle(handle))?;
            let len = arena.handle_len(handle);
            if index >= len {
                return Err(Fault::HandlePage(handle, len));
            }
        }
        Target::Out(_) => {
            if !follows_lone_step(program, expect.after) {
                return Err(Fault::ExpectResult);
            }
        }
        Target::Machine => {}
    }
    if expect.ret.is_some() && expect.target != Target::Result {
        return Err(Fault::ExpectResult);
    }
    if expect.fields.is_empty() && expect.ret.is_none() {
        return Err(Fault::ExpectNothing);
    }
    for (position, &(field, value)) in expect.fields.iter().enumerate() {
        if expect.fields[..position].iter().any(|&(other, _)| other == field) {
            return Err(Fault::FieldTwice(field));
        }
        check_field(expect, field, value, program)?;
    }
    let word = !expect.cite.is_empty() && !expect.cite.contains(char::is_whitespace);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+,/".contains(c);
    if word && expect.cite.chars().all(plain) { Ok(()) } else { Err(Fault::Cite) }
}

fn check_live(arena: &Arena, object: Object) -> Result<(), Fault> {
    if !arena.was_created(object) {
        Err(Fault::Unknown(object))
    } else if !arena.is_live(object) {
        Err(Fault::Gone(object))
    } else {
        Ok(())
    }
}

fn follows_lone_step(program: &Program, after: usize) -> bool {
    let mut number = 0;
    program.phases.iter().any(|phase| {
        number += phase.steps.len();
        number == after && phase.steps.len() == 1
    })
}

fn check_field(expect: &Expect, field: Field, value: u64, program: &Program) -> Result<(), Fault> {
    let of_entry =
        matches!(field, Field::Present | Field::Write | Field::Dirty | Field::Huge | Field::Entry);
    let of_out = matches!(field, Field::Hmm | Field::Data);
    let of_machine = matches!(field, Field::Used(_));
    let applies = match expect.target {
        Target::Result => false,
        Target::Page(..) => !of_machine && field != Field::Hmm,
        Target::Handle(..) => !of_machine && !of_entry && field != Field::Hmm,
        Target::Out(_) => of_out,
        Target::Machine => of_machine,
    };
    if !applies {
        return Err(Fault::FieldTarget(field));
    }
    let most = match field {
        Field::Used(place) if place > 4 => return Err(Fault::FieldTarget(field)),
        Field::Ref | Field::Map | Field::PageMap | Field::Pin | Field::Used(_) => i64::MAX as u64,
        Field::Order => 9,
        Field::Zone => 4,
        Field::Entry => 5,
        // Nothing is writable that is not readable.
        Field::Hmm if hmm::read(&hmm::text(value as u8).to_string()) != Some(value as u8) => 0,
        Field::Hmm => 0x7F,
        Field::Data => return check_data(value, expect.after, program),
        _ => 1,
    };
    if value <= most { Ok(()) } else { Err(Fault::FieldValue(field, value)) }
}

/// Content is 0, what a `write` or a `uffd … copy` so far wrote, or what a file holds on disk.
fn check_data(value: u64, after: usize, program: &Program) -> Result<(), Fault> {
    let from_disk =
        (0..FILES).any(|file| (on_disk(file, 0)..on_disk(file, FILE_PAGES)).contains(&value));
    if value == 0 || from_disk {
        return Ok(());
    }
    let (number, page) = (value >> 16, value & 0xFFFF);
    let step = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let writer = step.and_then(|step| program.steps().take(after).nth(step));
    match writer.map(|step| step.op) {
        Some(
            Op::Write { range, .. }
            | Op::DeviceWrite { range, .. }
            | Op::Uffd { range, uffdio: Uffdio::Copy, .. },
        ) if page < u64::from(range.len) => Ok(()),
        _ => Err(Fault::NotWritten(number)),
    }
}
