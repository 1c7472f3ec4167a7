//! Whether the operations of a phase really met.

use program::{Mark, Marked, Name, PageRef, Seen};

/// What one operation did to one folio, or that it began or returned.
struct Touch {
    number: usize,
    folio: Name,
}

/// Whether two operations that overlap in time touched one folio.
pub(crate) fn overlap(trace: &[Marked]) -> bool {
    meetings(trace, |_, _| true)
}

/// Visits each meeting of two operations that overlap in time on one folio: the number of the one
/// that was there, and of the one that came; until `visit` says that it has seen enough. Says
/// whether it did.
pub(crate) fn meetings(trace: &[Marked], mut visit: impl FnMut(usize, usize) -> bool) -> bool {
    // Touches of operations that are not over, and of those that others overlap.
    let mut touches: Vec<Touch> = Vec::new();
    // Operations that are not over, and how many touches there were when they began.
    let mut flying: Vec<(usize, usize)> = Vec::new();
    for marked in trace {
        let Some(number) = marked.number else { continue };
        match marked.mark {
            Mark::Begin => {
                if flying.is_empty() {
                    touches.clear(); // nobody who is still there saw the earlier ones
                }
                flying.push((number, touches.len()));
            }
            Mark::Return => flying.retain(|&(flight, _)| flight != number),
            _ => {}
        }
        let Some(folio) = folio(marked) else { continue };
        // Since it began, or by one that is not over either.
        let began =
            flying.iter().find(|flight| flight.0 == number).map_or(touches.len(), |own| own.1);
        let met = |&(at, touch): &(usize, &Touch)| {
            touch.folio == folio
                && touch.number != number
                && (at >= began || flying.iter().any(|flight| flight.0 == touch.number))
        };
        if touches.iter().enumerate().filter(met).any(|(_, touch)| visit(touch.number, number)) {
            return true;
        }
        touches.push(Touch { number, folio });
    }
    false
}

/// The folio that a mark is about.
pub(crate) fn folio(marked: &Marked) -> Option<Name> {
    match (marked.mark, marked.seen) {
        (Mark::Hold { folio, .. } | Mark::Drop { folio, .. } | Mark::Dirty { folio }, _)
        | (Mark::Get { folio } | Mark::Put { folio } | Mark::Busy { folio }, _)
        | (Mark::Isolate { folio } | Mark::Putback { folio } | Mark::Unwanted { folio }, _)
        | (
            Mark::Move { folio, .. } | Mark::CanSplit { folio, .. } | Mark::Split { folio, .. },
            _,
        ) => Some(folio),
        (Mark::CopyFrom { page: PageRef::Of(name, _) }, _)
        | (Mark::Release { page: PageRef::Of(name, _), .. }, _) => Some(name),
        (_, Seen::Page(PageRef::Of(name, _)) | Seen::Data(PageRef::Of(name, _), _)) => Some(name),
        (_, Seen::Entry(view)) => match view.page {
            PageRef::Of(name, _) => Some(name),
            PageRef::Zero => None,
        },
        _ => None,
    }
}
