//! Another order of the steps of a phase, if the order of time does not explain it.
//!
//! What Wing and Gong (J. Parallel Distrib. Comput. 17, 1993) do with operations, as Lowe
//! (Concurrency Comput. 29, 2017) remembers where it has been, done with marks: depth first over all
//! orders in which each lane (a CPU, or its kworker) keeps its own, an operation that began after
//! another returned comes after it, and every mark sees what it saw, up to a state with the digest
//! of the optimised side. A phase that only this explains is *excused*: a class of its own, which the
//! correct version must not know, for there the marks are where the effects are.

use std::collections::BTreeSet;

use program::{Call, Mark, Marked, Replay};

use crate::permission;

/// Marks tried before the search gives up.
const NODES: u32 = 20_000;
/// Marks of the longest phase that is searched: the way to its end keeps a state for each.
const LONGEST: usize = 4_096;

/// The marks of a CPU, or of its kworker, by their place in the trace.
#[derive(Default)]
struct Lane {
    name: (u8, bool),
    marks: Vec<usize>,
}

struct Search<'a> {
    trace: &'a [Marked],
    first: usize,
    calls: &'a [Call<'a>],
    lanes: Vec<Lane>,
    /// By mark: how far each lane must be, before it.
    after: Vec<Vec<usize>>,
    goal: u64,
    seen: BTreeSet<(Vec<usize>, u64)>,
    left: u32,
}

/// Whether another order of the marks leads from `before`, the state at the start of the phase, to a
/// state with the digest `goal`. `calls` are those of the phase, the first of this number.
pub(crate) fn excused<R: Replay>(
    before: &R,
    (first, calls): (usize, &[Call<'_>]),
    trace: &[Marked],
    goal: u64,
) -> bool {
    let Some(mut state) = before.copy() else { return false };
    let (lanes, after) = lanes(trace);
    let at = vec![0; lanes.len()];
    let seen = BTreeSet::new();
    let mut search = Search { trace, first, calls, lanes, after, goal, seen, left: NODES };
    state.begin_phase();
    trace.len() <= LONGEST && search.from(state, at)
}

/// The lanes of a trace; and of every `begin`, how far each lane was when the last operation returned
/// that had returned by then.
fn lanes(trace: &[Marked]) -> (Vec<Lane>, Vec<Vec<usize>>) {
    let mut lanes: Vec<Lane> = Vec::new();
    let (mut after, mut returned) = (Vec::new(), Vec::new());
    for (at, marked) in trace.iter().enumerate() {
        let name = (marked.cpu, marked.number.is_none());
        let lane = lanes.iter().position(|lane| lane.name == name).unwrap_or_else(|| {
            lanes.push(Lane { name, marks: Vec::new() });
            lanes.len() - 1
        });
        lanes[lane].marks.push(at);
        returned.resize(lanes.len(), 0);
        after.push(if marked.mark == Mark::Begin { returned.clone() } else { Vec::new() });
        if marked.mark == Mark::Return {
            returned[lane] = lanes[lane].marks.len();
        }
    }
    (lanes, after)
}

/// A state on the way, with so many marks of each lane done, and the marks to try from there, the
/// last one first.
struct Node<R> {
    state: R,
    at: Vec<usize>,
    next: Vec<(usize, usize)>,
}

impl Search<'_> {
    /// From this state, with so many marks of each lane done.
    fn from<R: Replay>(&mut self, state: R, at: Vec<usize>) -> bool {
        // Not by recursion: a phase may have more marks than a stack has room for.
        let mut path: Vec<Node<R>> = Vec::new();
        let mut reached = Some((state, at));
        loop {
            if let Some((mut state, at)) = reached.take() {
                let lanes = self.lanes.iter().zip(&at).enumerate();
                let next =
                    lanes.filter_map(|(at, (lane, &done))| Some((*lane.marks.get(done)?, at)));
                let mut next: Vec<(usize, usize)> = next.collect();
                if next.is_empty() {
                    if state.end_phase() && state.digest() == self.goal {
                        return true;
                    }
                } else if self.seen.insert((at.clone(), state.digest())) {
                    // As near to the order of time as it goes.
                    next.sort_unstable_by(|a, b| b.cmp(a));
                    path.push(Node { state, at, next });
                }
            }
            let Some(Node { state, at, next }) = path.last_mut() else { return false };
            let Some((mark, lane)) = next.pop() else {
                path.pop();
                continue;
            };
            let early = self.after[mark].iter().zip(&*at).any(|(needs, done)| done < needs);
            if early || self.left == 0 {
                continue;
            }
            self.left -= 1;
            let Some(mut then) = state.copy() else { return false };
            let mut at = at.clone();
            if self.carry_out(&mut then, mark) {
                at[lane] += 1;
                reached = Some((then, at));
            }
        }
    }

    fn carry_out<R: Replay>(&self, state: &mut R, at: usize) -> bool {
        let marked = self.trace[at];
        let call = marked.number.and_then(|number| self.calls.get(number - self.first)).copied();
        let seen = state.mark(call, marked.mark);
        seen == marked.seen
            || permission::of(self.first, self.calls, self.trace, at, seen).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use program::{Layout, MmId, Model, Op, Outcome, Place, Program, Seen, Shape, Snapshot, Step};

    /// A register: `Vmas` increments it, `HasPinned` sees whether it is odd.
    #[derive(Clone, Default)]
    struct Register(u64);

    impl Model for Register {
        fn reset(&mut self, _: &Shape) {}
        fn step(&mut self, _: Call<'_>, _: &mut Outcome) {}
        fn digest(&self) -> u64 {
            self.0
        }
        fn snapshot(&self) -> Snapshot {
            Snapshot::default()
        }
        fn teardown(&mut self) {}
    }

    impl Replay for Register {
        fn mark(&mut self, _: Option<Call<'_>>, mark: Mark) -> Seen {
            match mark {
                Mark::MmGone { .. } => self.0 += 1,
                Mark::HasPinned { .. } => return Seen::Flag(self.0 % 2 == 1),
                _ => {}
            }
            Seen::Nothing
        }

        fn copy(&self) -> Option<Register> {
            Some(self.clone())
        }
    }

    const ADD: Mark = Mark::MmGone { mm: MmId(0) };
    const LOOK: Mark = Mark::HasPinned { mm: MmId(0) };

    /// A trace of two operations, 0 on CPU 0 and 1 on CPU 1.
    fn explained(trace: &[(usize, Mark, Seen)], goal: u64) -> bool {
        let trace: Vec<Marked> = trace
            .iter()
            .map(|&(number, mark, seen)| Marked {
                number: Some(number),
                cpu: number as u8,
                mark,
                seen,
            })
            .collect();
        let layout = Layout::of(&Program::default());
        let step = Step { cpu: 0, op: Op::Nop, place: Place::Normal, fail: None };
        let call = |number| Call { number, step: &step, layout: &layout };
        excused(&Register(0), (0, &[call(0), call(1)]), &trace, goal)
    }

    const fn plain(number: usize, mark: Mark) -> (usize, Mark, Seen) {
        (number, mark, Seen::Nothing)
    }

    #[test]
    fn an_order_that_explains_is_found() {
        // In the order of time 1 looks after 0 added, and saw that nobody had.
        let trace = [
            plain(0, Mark::Begin),
            plain(1, Mark::Begin),
            plain(0, ADD),
            (1, LOOK, Seen::Flag(false)),
            plain(0, Mark::Return),
            plain(1, Mark::Return),
        ];
        assert!(explained(&trace, 1));
        assert!(!explained(&trace, 2), "the state at the end counts");
    }

    #[test]
    fn an_operation_that_was_over_stays_before() {
        let trace = [
            plain(0, Mark::Begin),
            plain(0, ADD),
            plain(0, Mark::Return),
            plain(1, Mark::Begin),
            (1, LOOK, Seen::Flag(false)),
            plain(1, Mark::Return),
        ];
        assert!(!explained(&trace, 1));
    }

    #[test]
    fn a_long_way_needs_no_stack() {
        let mut trace = vec![plain(0, Mark::Begin)];
        trace.extend((0..4000).map(|_| plain(0, ADD)));
        trace.push(plain(0, Mark::Return));
        assert!(explained(&trace, 4000));
        assert!(!explained(&trace, 1));
    }

    #[test]
    fn the_steps_of_an_operation_stay_in_order() {
        // Both looks would have to lie before and after the one addition.
        let trace = [
            plain(0, Mark::Begin),
            plain(1, Mark::Begin),
            (1, LOOK, Seen::Flag(true)),
            plain(0, ADD),
            (1, LOOK, Seen::Flag(false)),
            plain(0, Mark::Return),
            plain(1, Mark::Return),
        ];
        assert!(!explained(&trace, 1));
    }
}
