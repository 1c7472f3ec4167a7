//! What the judge of a phase permits although the reference sees something else
//! (`docs/legitimate-divergence.md`). Each permission needs a cause: another operation at the same
//! time that could have had this effect.

use program::{Mark, Marked, Seen};

/// A permission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    /// A write fault copies a page that it could have reused: the folio lock was taken.
    CopyBecauseLocked,
    /// GUP-fast gives up on an entry that fits by now: it changed, or a fork ran.
    FastBackedOff,
    /// An operation that does not wait finds a folio locked.
    LockedForAMoment,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Permission; 3] =
        [Permission::CopyBecauseLocked, Permission::FastBackedOff, Permission::LockedForAMoment];

    /// A stable name.
    pub fn name(self) -> &'static str {
        match self {
            Permission::CopyBecauseLocked => "copy-because-locked",
            Permission::FastBackedOff => "fast-backed-off",
            Permission::LockedForAMoment => "locked-for-a-moment",
        }
    }
}

/// The permission for mark `at` of a trace, for which the reference sees `seen`.
pub(crate) fn of(trace: &[Marked], at: usize, seen: Seen) -> Option<Permission> {
    let permission = match (trace[at].mark, seen) {
        (Mark::Reusable { contended: true, .. }, Seen::Flag(true)) => Permission::CopyBecauseLocked,
        (Mark::BackOff { .. }, Seen::Flag(false)) => Permission::FastBackedOff,
        (Mark::Busy { .. }, Seen::Flag(false)) => Permission::LockedForAMoment,
        _ => return None,
    };
    overlapped(trace, at).then_some(permission)
}

/// Whether another operation ran between the beginning of the mark's operation and the mark.
fn overlapped(trace: &[Marked], at: usize) -> bool {
    let own = trace[at].number;
    let mut inside = true; // of the operation's own interval, going back
    let mut returned = Vec::new();
    for marked in trace[..at].iter().rev() {
        if marked.number == own {
            inside &= marked.mark != Mark::Begin;
        } else if inside {
            return true;
        } else if marked.mark == Mark::Return {
            returned.push(marked.number);
        } else if marked.mark == Mark::Begin && !returned.contains(&marked.number) {
            return true;
        }
    }
    false
}
