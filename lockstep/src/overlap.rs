//! Whether the operations of a phase really met.

use program::{CollapseMark, DeviceMark, Mark, Marked, Name, PageRef, Seen};

/// Finds where operations of a phase met, keeping its buffers from one phase to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meetings {
    /// Touches of operations that are not over, and of those that others overlap. An operation
    /// has one a folio, the last: one that loops leaves a million marks.
    touches: Vec<Touch>,
    /// Operations that are not over, and when they began.
    flying: Vec<(usize, usize)>,
}

/// An operation was at a folio.
#[derive(Clone, Copy, Debug)]
struct Touch {
    folio: Name,
    number: usize,
    at: usize,
}

impl Meetings {
    /// Whether two operations that overlap in time touched one folio.
    pub(crate) fn any(&mut self, trace: &[Marked]) -> bool {
        self.visit(trace, |_, _| true)
    }

    /// Visits each meeting of two operations that overlap in time on one folio: the number of the
    /// one that was there, and of the one that came; until `visit` says that it has seen enough.
    /// Says whether it did.
    pub(crate) fn visit(
        &mut self,
        trace: &[Marked],
        mut visit: impl FnMut(usize, usize) -> bool,
    ) -> bool {
        let Meetings { touches, flying } = self;
        touches.clear();
        flying.clear();
        for (now, marked) in trace.iter().enumerate() {
            let Some(number) = marked.number else { continue };
            match marked.mark {
                Mark::Begin => {
                    if flying.is_empty() {
                        touches.clear(); // nobody who is still there saw the earlier ones
                    }
                    flying.push((number, now));
                }
                Mark::Return => flying.retain(|&(flight, _)| flight != number),
                _ => {}
            }
            let Some(folio) = folio(marked) else { continue };
            // Since it began, or by one that is not over either.
            let began = flying.iter().find(|flight| flight.0 == number).map_or(now, |own| own.1);
            let mut own = None;
            for (index, touch) in touches.iter().enumerate().filter(|(_, t)| t.folio == folio) {
                if touch.number == number {
                    own = Some(index);
                } else if (touch.at >= began || flying.iter().any(|f| f.0 == touch.number))
                    && visit(touch.number, number)
                {
                    return true;
                }
            }
            match own {
                Some(index) => touches[index].at = now,
                None => touches.push(Touch { folio, number, at: now }),
            }
        }
        false
    }
}

/// The folio that a mark is about.
pub fn folio(marked: &Marked) -> Option<Name> {
    match (marked.mark, marked.seen) {
        (Mark::Hold { folio, .. } | Mark::Drop { folio, .. } | Mark::Dirty { folio }, _)
        | (Mark::Get { folio } | Mark::Put { folio } | Mark::Busy { folio }, _)
        | (Mark::Pinnable { folio } | Mark::Device(DeviceMark::BeginCoherent { folio }), _)
        | (
            Mark::Isolate { folio }
            | Mark::Putback { folio }
            | Mark::Unwanted { folio }
            | Mark::Unreached { folio },
            _,
        )
        | (
            Mark::Move { folio, .. } | Mark::CanSplit { folio, .. } | Mark::Split { folio, .. },
            _,
        ) => Some(folio),
        (Mark::Collapse { mark: CollapseMark::Scan { locked: Some(name) }, .. }, _)
        | (Mark::CopyFrom { page: PageRef::Of(name, _) }, _)
        | (Mark::Release { page: PageRef::Of(name, _), .. }, _) => Some(name),
        (_, Seen::Page(PageRef::Of(name, _)) | Seen::Data(PageRef::Of(name, _), _)) => Some(name),
        (_, Seen::Entry(view)) => match view.page {
            PageRef::Of(name, _) => Some(name),
            PageRef::Zero => None,
        },
        _ => None,
    }
}
