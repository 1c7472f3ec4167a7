//! Plainer operations: what does the same work behind another front.
//!
//! A page must come back from a device for a read, a pin and the device's own access alike; a huge
//! mapping is split by a protection, a move and a migration. The operations on a range stand on a
//! ladder; taking the lowest that shows the same makes one program of many.

use program::{
    Advice, Direction, Entry, Foll, Form, HandleId, MmId, Mode, Op, Program, Prot, Range,
};

/// Operations that may do in place of step `at`, the plainest first. Each stands lower on the
/// ladder, so that replacing ends.
pub(super) fn plainer(program: &Program, at: usize) -> Vec<Op> {
    let Some(step) = program.steps().nth(at) else { return Vec::new() };
    let mut list = Vec::new();
    match (step.op.mm(), step.op.range()) {
        (Some(mm), Some(range)) => {
            list.extend(rungs(mm, range));
            // Part of it: to tear a huge mapping in two takes that.
            let part = Range { len: 1, ..range };
            list.extend(rungs(mm, part).filter(|_| range.len > 1));
        }
        // What is done to all memory, to all of an mm or to a handle may be done to one area.
        (mm, None) => {
            let areas = program.steps().take(at).filter_map(|step| match step.op {
                Op::Mmap { mm, area, len, .. } => Some((mm, area, len)),
                _ => None,
            });
            for (owner, area, len) in areas {
                let mm = mm.unwrap_or(owner);
                list.extend(rungs(mm, Range { area, off: 0, len }));
                list.extend(rungs(mm, Range { area, off: 0, len: 1 }).filter(|_| len > 1));
            }
        }
        (None, Some(_)) => {}
    }
    list.retain(|op| rung(op) < rung(&step.op));
    // Whoever takes pages by GUP for a moment may as well be given them.
    if let (Some(mm), Some(range), None) = (step.op.mm(), step.op.range(), step.op.creates())
        && rung(&step.op) == TOP
    {
        let handles = program.steps().filter(|step| matches!(step.op, Op::Gup { .. })).count();
        if let Ok(handle) = u8::try_from(handles) {
            let (handle, entry, foll) = (HandleId(handle), Entry::Slow, Foll::Get);
            let form = Form::Pages;
            let get =
                |write| Op::Gup { mm, range, handle, entry, foll, write, longterm: false, form };
            list.extend([get(false), get(true)]);
        }
    }
    if let Op::Gup { entry, foll, .. } = step.op {
        if foll == Foll::Pin {
            list.push(gup(&step.op, Entry::Slow, Foll::Get));
            list.push(gup(&step.op, entry, Foll::Get));
        }
        if entry != Entry::Slow {
            list.push(gup(&step.op, Entry::Slow, foll));
        }
        if entry == Entry::FastOnly {
            list.push(gup(&step.op, Entry::Fast, foll));
        }
    }
    list
}

/// The same GUP through another entry; what is for pins alone goes with the pin.
fn gup(op: &Op, through: Entry, to: Foll) -> Op {
    let mut op = *op;
    if let Op::Gup { entry, foll, longterm, form, .. } = &mut op {
        if *foll != to {
            (*longterm, *form) = (false, Form::Pages);
        }
        (*entry, *foll) = (through, to);
    }
    op
}

/// The ladder, on a range.
fn rungs(mm: MmId, range: Range) -> impl Iterator<Item = Op> {
    [
        Op::Read { mm, range },
        Op::Write { mm, range },
        Op::Madvise { mm, range, advice: Advice::PopulateWrite },
        Op::Madvise { mm, range, advice: Advice::DontNeed },
        Op::Mprotect { mm, range, prot: Prot::Read },
        Op::SplitFolio { mm, range },
        Op::Migrate { mm, range, mode: Mode::Async },
        Op::DeviceMigrate { mm, range, device: program::Device::Private, to: Direction::ToDevice },
    ]
    .into_iter()
}

/// Of all that are not on the ladder.
const TOP: usize = 8;

/// How high an operation stands.
fn rung(op: &Op) -> usize {
    match op {
        // It makes what the others need.
        Op::Mmap { .. } => 0,
        Op::Read { .. } => 0,
        Op::Write { .. } => 1,
        Op::Madvise { advice: Advice::PopulateWrite, .. } => 2,
        Op::Madvise { advice: Advice::DontNeed, .. } => 3,
        Op::Mprotect { prot: Prot::Read, .. } => 4,
        Op::SplitFolio { .. } => 5,
        Op::Migrate { mode: Mode::Async, .. } => 6,
        Op::DeviceMigrate { device: program::Device::Private, to: Direction::ToDevice, .. } => 7,
        _ => TOP,
    }
}
