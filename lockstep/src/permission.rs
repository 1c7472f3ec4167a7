//! What the judge of a phase permits although the reference sees something else
//! (`docs/legitimate-divergence.md`). Each permission needs a cause: another operation at the same
//! time, on the same folio or in the same mm, that could have had this effect.

use program::{Call, CollapseMark, DeviceMark, Mark, Marked, MmId, Name, PageRef, Seen};

use crate::overlap::folio;

/// A permission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    /// GUP-fast gives up on an entry that fits by now: it changed, or a fork ran.
    FastBackedOff,
    /// An operation that does not wait finds a folio locked.
    LockedForAMoment,
    /// `hmm_range_fault`, which takes no lock, sees an entry cleared that is being replaced.
    ClearedForAMoment,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Permission; 3] =
        [Permission::FastBackedOff, Permission::LockedForAMoment, Permission::ClearedForAMoment];

    /// A stable name.
    pub fn name(self) -> &'static str {
        match self {
            Permission::FastBackedOff => "fast-backed-off",
            Permission::LockedForAMoment => "locked-for-a-moment",
            Permission::ClearedForAMoment => "cleared-for-a-moment",
        }
    }
}

/// What a cause has to be about.
#[derive(Clone, Copy)]
enum About {
    Folio(Name),
    Mm(MmId),
}

/// The permission for mark `at` of a trace, for which the reference sees `seen`. `calls` are those of
/// the phase, the first of which has the number `first`.
pub(crate) fn of(
    first: usize,
    calls: &[Call<'_>],
    trace: &[Marked],
    at: usize,
    seen: Seen,
) -> Option<Permission> {
    let (permission, about) = match (trace[at].mark, seen) {
        (Mark::BackOff { mm, .. }, Seen::Flag(false)) => (Permission::FastBackedOff, About::Mm(mm)),
        (Mark::Busy { folio }, Seen::Flag(false)) => {
            (Permission::LockedForAMoment, About::Folio(folio))
        }
        (
            Mark::Collapse { mark: CollapseMark::Scan { locked: Some(folio) }, .. },
            Seen::Flag(false),
        ) => (Permission::LockedForAMoment, About::Folio(folio)),
        (Mark::Device(DeviceMark::Collect { contended: Some(folio), .. }), Seen::Flag(true))
        | (Mark::Device(DeviceMark::CollectDevice { folio, contended: true }), Seen::Flag(true)) => {
            (Permission::LockedForAMoment, About::Folio(folio))
        }
        (Mark::Device(DeviceMark::Flags { mm, vpn, .. }), _)
            if trace[at].seen == Seen::Data(PageRef::Zero, 0)
                && being_replaced(&trace[..at], mm, vpn) =>
        {
            return Some(Permission::ClearedForAMoment);
        }
        _ => return None,
    };
    let concerns = |number: usize| {
        let mut marks = trace.iter().filter(|marked| marked.number == Some(number));
        match about {
            About::Folio(name) => marks.any(|marked| folio(marked) == Some(name)),
            About::Mm(mm) => {
                let of_call = calls.get(number - first).and_then(|call| call.step.op.mm());
                of_call == Some(mm) || marks.any(|marked| marked.mark.mm() == Some(mm))
            }
        }
    };
    overlapping(trace, at).into_iter().any(concerns).then_some(permission)
}

/// Whether a fault is on its way between the mark of a copy, whose entry is cleared, and its flush,
/// after which the new one is there (`ptep_clear_flush`).
fn being_replaced(trace: &[Marked], mm: MmId, vpn: u32) -> bool {
    let mut flushed = Vec::new();
    for marked in trace.iter().rev() {
        match marked.mark {
            Mark::Flush { mm: of, span } if of == mm && (span.start..span.end).contains(&vpn) => {
                flushed.push(marked.number);
            }
            Mark::Fault { mm: of, vpn: at, copied: true, .. } if (of, at) == (mm, vpn) => {
                return !flushed.contains(&marked.number);
            }
            _ => {}
        }
    }
    false
}

/// The operations that were under way between the beginning of the mark's operation and the mark.
fn overlapping(trace: &[Marked], at: usize) -> Vec<usize> {
    let own = trace[at].number;
    let mut flying = Vec::new();
    let mut begun = false;
    for Marked { number, mark, .. } in &trace[..at] {
        let Some(number) = *number else { continue };
        match mark {
            Mark::Begin if Some(number) == own => begun = true,
            Mark::Begin => flying.push(number),
            Mark::Return if !begun => flying.retain(|&flight| flight != number),
            _ => {}
        }
    }
    flying
}

#[cfg(test)]
mod tests {
    use program::{Layout, Program};

    use super::*;

    const PROGRAM: &str = "\
machine cpus=2
m0 = mmap len=1 rw private
write m0
mm1 = fork
phase:
  cpu0: h0 = get m0 fast
  cpu1: write mm1 m0
  cpu1: write m0
";

    /// What is said of a GUP-fast in mm0 that backs off while steps 4 and 5 have these marks.
    fn backed_off(marks: &[(usize, Mark)]) -> Option<Permission> {
        let program: Program = PROGRAM.parse().unwrap_or_default();
        let layout = Layout::of(&program);
        let steps: Vec<_> = program.steps().cloned().collect();
        let calls: Vec<Call<'_>> = (3..)
            .zip(&steps[3..])
            .map(|(number, step)| Call { number, step, layout: &layout })
            .collect();
        assert_eq!(calls.len(), 3);
        let marked = |&(number, mark)| Marked {
            number: Some(number),
            cpu: u8::from(number != 3),
            mark,
            seen: Seen::Nothing,
        };
        let trace: Vec<Marked> = marks.iter().map(marked).collect();
        of(3, &calls, &trace, trace.len() - 1, Seen::Flag(false))
    }

    const BACK_OFF: Mark = Mark::BackOff { mm: MmId(0), vpn: 4 };

    #[test]
    fn whoever_is_under_way_in_the_same_mm_is_a_cause() {
        let marks = [(5, Mark::Begin), (3, Mark::Begin), (3, BACK_OFF)];
        assert_eq!(backed_off(&marks), Some(Permission::FastBackedOff));
        // Its own call is in another mm, but it takes the entry away here (rmap).
        let unmap = Mark::Unmap { mm: MmId(0), vpn: 4 };
        let marks = [(3, Mark::Begin), (4, Mark::Begin), (4, unmap), (3, BACK_OFF)];
        assert_eq!(backed_off(&marks), Some(Permission::FastBackedOff));
    }

    #[test]
    fn whoever_is_busy_elsewhere_is_none() {
        let marks = [(4, Mark::Begin), (3, Mark::Begin), (3, BACK_OFF)];
        assert_eq!(backed_off(&marks), None);
    }

    #[test]
    fn whoever_was_done_before_is_none() {
        let marks = [(5, Mark::Begin), (5, Mark::Return), (3, Mark::Begin), (3, BACK_OFF)];
        assert_eq!(backed_off(&marks), None);
    }
}
