//! The end of every program: all that it may still hold is given back.

use program::{Foll, Form, HandleId, MmId, Op, Place, Program, Step};

/// The steps that unlock every lock, finalize every migration, drop every handle and end every mm that the program could
/// have left.
pub(crate) fn steps(program: &Program, out: &mut Vec<Step>) {
    out.clear();
    let step = |op| Step { cpu: 0, op, place: Place::Normal, fail: None };
    let mut given = Given { handles: [false; 256], mms: [false; 256] };
    let mut locks = false;
    program.steps().for_each(|made| match made.op {
        Op::LockPage { lock, .. } => {
            locks = true;
            out.push(step(Op::UnlockPage { lock }));
        }
        Op::MigrateVmaSetup { migration, .. } | Op::MigrateDeviceRange { migration, .. } => {
            locks = true;
            out.push(step(Op::MigrateVmaFinalize { migration }));
        }
        Op::Gup { handle, foll, .. } => out.push(step(drop_handle(handle, foll))),
        Op::Fork { child, .. } => out.push(step(Op::Exit { mm: child })),
        ref other => given.note(other),
    });
    // A step that blocks on a held lock does nothing, so a program with locks or migrations is
    // taken to give back nothing; dropping a thing twice is `void`.
    if !locks {
        out.retain(|step| !given.has(&step.op));
    }
    // Locks and open migrations first: dropping the rest may have to wait for them.
    out.sort_by_key(|step| match step.op {
        Op::UnlockPage { .. } | Op::MigrateVmaFinalize { .. } => 0,
        Op::Exit { .. } => 2,
        _ => 1,
    });
    out.push(step(Op::Exit { mm: MmId(0) }));
    out.push(step(Op::LruAddDrainAll));
}

fn drop_handle(handle: HandleId, foll: Foll) -> Op {
    match foll {
        Foll::Get => Op::Put { handle },
        Foll::Pin => Op::Unpin { handle, also: None, form: Form::Pages, dirty: false, hole: false },
    }
}

/// What the program gives back itself.
struct Given {
    handles: [bool; 256],
    mms: [bool; 256],
}

impl Given {
    fn note(&mut self, op: &Op) {
        match *op {
            Op::Put { handle } => self.handles[usize::from(handle.0)] = true,
            Op::Unpin { handle, also, .. } => {
                self.handles[usize::from(handle.0)] = true;
                also.into_iter().for_each(|also| self.handles[usize::from(also.0)] = true);
            }
            Op::Exit { mm } => self.mms[usize::from(mm.0)] = true,
            _ => {}
        }
    }

    /// Whether the program does what this step would do.
    fn has(&self, op: &Op) -> bool {
        match *op {
            Op::Put { handle } | Op::Unpin { handle, .. } => self.handles[usize::from(handle.0)],
            Op::Exit { mm } => self.mms[usize::from(mm.0)],
            _ => false,
        }
    }
}
