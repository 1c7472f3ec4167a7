//! What is shown of the interleaving of a phase: its marks, with what repeats folded and the middle
//! of a long one left out, and remarks at their places.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use program::{Marked, Name};

use crate::overlap;
use crate::verdict::Divergence;

/// Marks at either end, and around the one that differs, that are shown of a long trace.
const ENDS: usize = 60;
/// The longest round, in marks, that is looked for.
const ROUND: usize = 192;
/// A round is folded if that leaves out so many marks.
const WORTH: usize = 12;

/// A row of what is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// The mark at this position of the trace.
    Mark(usize),
    /// A remark, by its position among those of the divergence.
    Remark(usize),
    /// The marks above again, so many of them and so many times more; or, no times, marks that are
    /// left out.
    Gap {
        /// Positions in the trace of all that is not shown.
        marks: Range<usize>,
        /// How many rounds they are.
        rounds: usize,
    },
}

/// The rows in which a phase is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// In the order of time.
    pub frames: Vec<Frame>,
}

impl View {
    /// Of the phase in which the two sides part.
    pub fn of(found: &Divergence) -> View {
        let trace = &found.trace;
        let near = |at: usize| found.at.is_some_and(|wrong| wrong.abs_diff(at) <= ENDS / 2);
        let mut frames = Vec::new();
        let mut remarks = (0..found.remarks.len()).peekable();
        let mut gap: Option<usize> = None;
        let pieces = fold(trace);
        let shown: usize =
            pieces.iter().filter(|piece| piece.rounds == 0).map(|p| p.marks.len()).sum();
        let mut before = 0;
        for Piece { marks, rounds } in pieces {
            if rounds > 0 {
                close(&mut frames, &mut gap, marks.start);
                frames.push(Frame::Gap { marks, rounds });
                continue;
            }
            for at in marks {
                while remarks.next_if(|&remark| found.remarks[remark].at <= at).is_some_and(
                    |remark| {
                        close(&mut frames, &mut gap, at);
                        frames.push(Frame::Remark(remark));
                        true
                    },
                ) {}
                let (number, left) = (before, shown - before);
                before += 1;
                if number < ENDS || left <= ENDS || near(at) {
                    close(&mut frames, &mut gap, at);
                    frames.push(Frame::Mark(at));
                } else {
                    gap.get_or_insert(at);
                }
            }
        }
        close(&mut frames, &mut gap, trace.len());
        frames.extend(remarks.map(Frame::Remark));
        View { frames }
    }

    /// The row in which what is at this position of the trace is, or would be.
    pub fn row(&self, position: usize) -> usize {
        let before = |frame: &Frame| match frame {
            Frame::Mark(at) => *at < position,
            Frame::Gap { marks, .. } => marks.end <= position,
            Frame::Remark(_) => true,
        };
        let marks = self
            .frames
            .iter()
            .rposition(|frame| before(frame) && !matches!(frame, Frame::Remark(_)));
        marks.map_or(0, |row| row + 1)
    }
}

impl Divergence {
    /// The folio that whoever went wrong touched last; rather one that others touched too.
    pub fn touched(&self) -> Option<Name> {
        // By folio: the last touch, and whose they are.
        let mut touches: BTreeMap<Name, (usize, BTreeSet<u8>)> = BTreeMap::new();
        for (at, marked) in self.trace.iter().enumerate() {
            if let Some(folio) = overlap::folio(marked) {
                let (last, cpus) = touches.entry(folio).or_default();
                *last = at;
                cpus.insert(marked.cpu);
            }
        }
        let own = |cpu| touches.iter().filter(move |(_, (_, cpus))| cpus.contains(&cpu));
        let worth = |(_, (last, cpus)): &(&Name, &(usize, BTreeSet<u8>))| (cpus.len() > 1, *last);
        let best = |cpu| own(cpu).max_by_key(worth).map(|(&folio, _)| folio);
        self.remarks.iter().find_map(|remark| best(remark.cpu))
    }
}

/// Ends the gap in which nothing is shown before this position.
fn close(frames: &mut Vec<Frame>, gap: &mut Option<usize>, at: usize) {
    if let Some(from) = gap.take() {
        frames.push(Frame::Gap { marks: from..at, rounds: 0 });
    }
}

/// A part of a trace: marks to be shown, or `rounds` times those before it again.
struct Piece {
    marks: Range<usize>,
    rounds: usize,
}

/// Rounds are looked for that begin so near to an end of the trace: of the rest of a long one nothing is
/// shown, and a million marks take minutes.
const NEAR: usize = 2000;

/// Finds what repeats, shortest rounds first.
fn fold(trace: &[Marked]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut from, mut at) = (0, 0);
    while at < trace.len() {
        if (NEAR..trace.len().saturating_sub(NEAR)).contains(&at) {
            at = trace.len() - NEAR;
        }
        let Some((round, times)) = round(&trace[at..]) else {
            at += 1;
            continue;
        };
        let (once, end) = (at + round, at + round * times);
        pieces.push(Piece { marks: from..once, rounds: 0 });
        pieces.push(Piece { marks: once..end, rounds: times - 1 });
        (from, at) = (end, end);
    }
    pieces.push(Piece { marks: from..trace.len(), rounds: 0 });
    pieces
}

/// The length of the round that the trace begins with, and how often it comes in all.
fn round(trace: &[Marked]) -> Option<(usize, usize)> {
    (1..=ROUND.min(trace.len() / 2)).find_map(|round| {
        let first = &trace[..round];
        let more = trace[round..].chunks_exact(round);
        let times = 1 + more.take_while(|chunk| *chunk == first).count();
        (times > 2 && round * (times - 1) >= WORTH).then_some((round, times))
    })
}

#[cfg(test)]
mod tests {
    use program::{Mark, Name, Seen};

    use super::*;

    fn mark(cpu: u8, folio: u64) -> Marked {
        let mark = Mark::Dirty { folio: Name(folio) };
        Marked { number: Some(usize::from(cpu)), cpu, mark, seen: Seen::Nothing }
    }

    fn parts(trace: &[Marked]) -> Vec<(Range<usize>, usize)> {
        fold(trace).into_iter().map(|piece| (piece.marks, piece.rounds)).collect()
    }

    #[test]
    fn rounds_are_folded() {
        let mut trace = vec![mark(0, 1)];
        (0..10).for_each(|_| trace.extend([mark(0, 2), mark(1, 2), mark(1, 3)]));
        trace.extend([mark(0, 2), mark(0, 5)]);
        assert_eq!(parts(&trace), [(0..4, 0), (4..31, 9), (31..33, 0)]);
    }

    #[test]
    fn what_is_different_or_short_is_shown() {
        let counting: Vec<Marked> = (0..100).map(|folio| mark(0, folio)).collect();
        assert_eq!(parts(&counting), [(0..100, 0)]);
        let twice: Vec<Marked> = (0..40).map(|folio| mark(0, folio % 20)).collect();
        assert_eq!(parts(&twice), [(0..40, 0)]);
    }
}
