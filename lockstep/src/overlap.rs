//! Whether the operations of a phase really met.

use std::collections::BTreeMap;

use program::{DeviceMark, Mark, Marked, Name, PageRef, Seen};

/// Whether two operations that overlap in time touched one folio.
pub(crate) fn overlap(trace: &[Marked]) -> bool {
    meetings(trace, |_, _| true)
}

/// Visits each meeting of two operations that overlap in time on one folio: the number of the one
/// that was there, and of the one that came; until `visit` says that it has seen enough. Says
/// whether it did.
pub(crate) fn meetings(trace: &[Marked], mut visit: impl FnMut(usize, usize) -> bool) -> bool {
    // Touches of operations that are not over, and of those that others overlap.
    // By folio, each operation once, and when it did so last: one that loops leaves a million marks.
    let mut touches: BTreeMap<Name, Vec<(usize, usize)>> = BTreeMap::new();
    // Operations that are not over, and when they began.
    let mut flying: Vec<(usize, usize)> = Vec::new();
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
        let touches = touches.entry(folio).or_default();
        let met = |&&(touched, at): &&(usize, usize)| {
            touched != number && (at >= began || flying.iter().any(|flight| flight.0 == touched))
        };
        if touches.iter().filter(met).any(|touch| visit(touch.0, number)) {
            return true;
        }
        match touches.iter_mut().find(|touch| touch.0 == number) {
            Some(touch) => touch.1 = now,
            None => touches.push((number, now)),
        }
    }
    false
}

/// The folio that a mark is about.
pub fn folio(marked: &Marked) -> Option<Name> {
    match (marked.mark, marked.seen) {
        (Mark::Hold { folio, .. } | Mark::Drop { folio, .. } | Mark::Dirty { folio }, _)
        | (Mark::Get { folio } | Mark::Put { folio } | Mark::Busy { folio }, _)
        | (Mark::Pinnable { folio } | Mark::Device(DeviceMark::BeginCoherent { folio }), _)
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
