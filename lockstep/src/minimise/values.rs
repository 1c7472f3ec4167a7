//! Simpler arguments: each candidate is nearer to a fixed plain form.

use program::{AreaId, Backing, Form, Mode, Op, Place, Prot, Range, Step};

/// Simpler forms of a step, the boldest first. Each is nearer to a fixed plain form.
pub(super) fn candidates(step: &Step) -> Vec<Step> {
    let mut list = Vec::new();
    if step.fail.is_some() {
        list.push(Step { fail: None, ..*step });
    }
    if step.cpu != 0 {
        list.push(Step { cpu: 0, ..*step });
    }
    if step.place != Place::Normal {
        list.push(Step { place: Place::Normal, ..*step });
    }
    if let Some(fail) = step.fail.filter(|fail| fail.nth > 1) {
        list.push(Step { fail: Some(program::Fail { nth: fail.nth - 1, ..fail }), ..*step });
    }
    list.extend(simpler(&step.op).into_iter().map(|op| Step { op, ..*step }));
    list
}

fn simpler(op: &Op) -> Vec<Op> {
    let mut list = Vec::new();
    if let Some(range) = op.range() {
        list.extend(shorter(range).into_iter().map(|range| with_range(op, range)));
        // The fewer areas the steps are about, the fewer are needed.
        let areas = (0..range.area.0).map(AreaId);
        list.extend(areas.map(|area| with_range(op, Range { area, ..range })));
    }
    match *op {
        Op::Mmap { mm, area, backing, prot, len, shift } => {
            let with = |backing, prot, shift| Op::Mmap { mm, area, backing, prot, len, shift };
            let anon = Backing::AnonPrivate;
            list.extend((backing != anon).then(|| with(anon, prot, shift)));
            list.extend((prot != Prot::ReadWrite).then(|| with(backing, Prot::ReadWrite, shift)));
            list.extend((shift > 0).then(|| with(backing, prot, 0)));
        }
        Op::Mremap { mm, range, area, shift } if shift > 0 => {
            list.push(Op::Mremap { mm, range, area, shift: 0 });
        }
        Op::Gup { mm, range, handle, entry, foll, write, longterm, form } => {
            let with = |write, longterm, form| Op::Gup {
                mm,
                range,
                handle,
                entry,
                foll,
                write,
                longterm,
                form,
            };
            list.extend(write.then(|| with(false, longterm, form)));
            list.extend(longterm.then(|| with(write, false, form)));
            list.extend((form == Form::Range).then(|| with(write, longterm, Form::Pages)));
        }
        Op::Unpin { handle, also, form, dirty, hole } => {
            let with = |form, dirty, hole| Op::Unpin { handle, also, form, dirty, hole };
            list.extend(hole.then(|| with(form, dirty, false)));
            list.extend(dirty.then(|| with(form, false, hole)));
            list.extend((form == Form::Range).then(|| with(Form::Pages, dirty, hole)));
        }
        Op::Migrate { mm, range, mode: Mode::Sync } => {
            list.push(Op::Migrate { mm, range, mode: Mode::Async });
        }
        _ => {}
    }
    list
}

fn shorter(range: Range) -> Vec<Range> {
    let mut list = Vec::new();
    if range.len > 1 {
        list.push(Range { len: 1, ..range });
        list.push(Range { len: range.len / 2, ..range });
        list.push(Range { len: range.len - 1, ..range });
    }
    if range.off > 0 {
        list.push(Range { off: 0, ..range });
        list.push(Range { off: range.off - 1, ..range });
    }
    list.retain(|shorter| shorter.len > 0);
    list
}

fn with_range(op: &Op, to: Range) -> Op {
    let mut op = *op;
    if let Some(range) = op.range_mut() {
        *range = to;
    }
    op
}
