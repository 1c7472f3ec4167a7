//! The end of every program: all that it may still hold is given back.

use program::{Foll, Form, MmId, Op, Place, Program, Step};

/// The steps that unlock every lock, drop every handle and end every mm that the program could
/// have left. What it gave back itself is `void` by then.
pub(crate) fn steps(program: &Program, out: &mut Vec<Step>) {
    out.clear();
    let step = |op| Step { cpu: 0, op, place: Place::Normal, fail: None };
    // Locks first: dropping the rest may have to take them.
    out.extend(program.steps().filter_map(|made| match made.op {
        Op::LockPage { lock, .. } => Some(step(Op::UnlockPage { lock })),
        _ => None,
    }));
    out.extend(program.steps().filter_map(|made| match made.op {
        Op::Gup { handle, foll: Foll::Get, .. } => Some(step(Op::Put { handle })),
        Op::Gup { handle, foll: Foll::Pin, .. } => Some(step(Op::Unpin {
            handle,
            also: None,
            form: Form::Pages,
            dirty: false,
            hole: false,
        })),
        _ => None,
    }));
    out.extend(program.steps().filter_map(|made| match made.op {
        Op::Fork { child, .. } => Some(step(Op::Exit { mm: child })),
        _ => None,
    }));
    out.push(step(Op::Exit { mm: MmId(0) }));
    out.push(step(Op::LruAddDrainAll));
}
