//! The end of every program: all that it may still hold is given back.

use program::{Foll, Form, HandleId, MmId, Op, Place, Program, Step};

/// The steps that unlock every lock, finalize every migration, drop every handle and end every mm that the program could
/// have left.
pub(crate) fn steps(program: &Program, out: &mut Vec<Step>) {
    out.clear();
    let step = |op| Step { cpu: 0, op, place: Place::Normal, fail: None };
    let mut made = Left::default();
    let mut given = Left::default();
    // Locks and open migrations first: dropping the rest may have to wait for them.
    program.steps().for_each(|one| match one.op {
        Op::LockPage { lock, .. } => out.push(step(Op::UnlockPage { lock })),
        Op::MigrateVmaSetup { migration, .. } | Op::MigrateDeviceRange { migration, .. } => {
            out.push(step(Op::MigrateVmaFinalize { migration }));
        }
        Op::Gup { handle, foll: Foll::Get, .. } => made.gets |= 1 << handle.0,
        Op::Gup { handle, foll: Foll::Pin, .. } => made.pins |= 1 << handle.0,
        Op::Fork { child, .. } => made.mms |= 1 << child.0,
        Op::Put { handle } => given.gets |= 1 << handle.0,
        Op::Unpin { handle, also, .. } => {
            given.pins |= 1 << handle.0;
            also.into_iter().for_each(|also| given.pins |= 1 << also.0);
        }
        Op::Exit { mm } => given.mms |= 1 << mm.0,
        _ => {}
    });
    // A step that blocks on a held lock does nothing, so a program with locks or migrations is
    // taken to give back nothing; dropping a thing twice is `void`.
    if !out.is_empty() {
        given = Left::default();
    }
    let (gets, pins) = (made.gets & !given.gets, made.pins & !given.pins);
    // Ids are in the order of the program.
    each(gets | pins, |id| {
        let handle = HandleId(id);
        out.push(step(match gets >> id & 1 {
            1 => Op::Put { handle },
            _ => Op::Unpin { handle, also: None, form: Form::Pages, dirty: false, hole: false },
        }));
    });
    each(made.mms & !given.mms, |id| out.push(step(Op::Exit { mm: MmId(id) })));
    out.push(step(Op::Exit { mm: MmId(0) }));
    out.push(step(Op::LruAddDrainAll));
}

/// Handles and mms, a bit each: a valid program has at most 64.
#[derive(Default)]
struct Left {
    gets: u64,
    pins: u64,
    mms: u64,
}

fn each(ids: u64, mut act: impl FnMut(u8)) {
    let mut left = ids;
    while left != 0 {
        act(left.trailing_zeros() as u8);
        left &= left - 1;
    }
}
