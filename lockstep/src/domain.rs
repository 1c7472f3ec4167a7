//! Domain coverage: what a run did, in the terms of memory management.
//!
//! Compiler coverage of a model saturates soon: every line is reached, and what matters is which
//! path met which. The features here are few and hashed into a small map, so that an engine keeps
//! a small corpus.

use optimized::{Path, World};
use program::digest::mix;
use program::{HandleId, Kind, Layout, Op, Program, Range, Ret};
use reference::Reference;

use crate::overlap::Meetings;
use crate::run::{Lockstep, Moment, Options};
use crate::verdict::Verdict;

/// Cells of the map. Engines clear and scan it for every program: a page of memory, not more.
pub const CELLS: usize = 2048;
/// The first cells belong to the paths, one each.
const PATHS: usize = 256;
const _: () = assert!(Path::ALL.len() <= PATHS);

/// Pages of a range that are looked at.
const PAGES: u32 = 8;
/// Pages of the address space that are remembered.
const SPACE: usize = 1024;

/// Finds the features of runs, keeping its buffers from one to the next.
#[derive(Clone, Debug, Default)]
pub struct Domain {
    layout: Layout,
    /// What was last done to each virtual page.
    last: Vec<u16>,
    /// The kind of each step, and whether it is the first of its phase.
    kinds: Vec<(u8, bool)>,
    meetings: Meetings,
    /// What each handle was made of.
    handles: Vec<Option<Range>>,
}

impl Domain {
    /// Runs a program and tells its features: a cell, and a value of 1, 2 or 4.
    ///
    /// * each path and reason to back off of the optimised side, taken once, twice, often;
    /// * each kind of operation with the path it took last and how it ended;
    /// * each pair of kinds of operation of which one came to a folio while the other was at it;
    /// * each *alias pair*: what was done to a page, and what was done to it next.
    pub fn run(
        &mut self,
        lockstep: &mut Lockstep,
        program: &Program,
        options: &Options,
        mut feature: impl FnMut(usize, u8),
    ) -> Verdict {
        self.layout.assign(program);
        self.last.clear();
        self.last.resize((self.layout.end() as usize).min(SPACE), 0);
        self.handles.clear();
        self.kinds.clear();
        for phase in &program.phases {
            let kinds = phase.steps.iter().map(|step| Kind::of(&step.op) as u8);
            self.kinds.extend(kinds.enumerate().map(|(at, kind)| (kind, at == 0)));
        }
        // The empty program is something, too.
        feature(cell(0, 0), 1);
        let verdict = lockstep.follow(program, options, |moment| self.step(&moment, &mut feature));
        lockstep.optimized.take_hits(|path, hits| {
            feature(path as usize, [1, 2, 2, 4][hits.min(4) as usize - 1]);
        });
        verdict
    }

    fn step(&mut self, moment: &Moment<'_, Reference, World>, feature: &mut impl FnMut(usize, u8)) {
        let op = &moment.step.op;
        let kind = Kind::of(op) as u64;
        let path = moment.optimized.path().map_or(0, |path| 1 + path as u64);
        let end = match moment.found.ret {
            Ret::Ok(0) => 0,
            Ret::Ok(_) => 1,
            Ret::Void => 2,
            Ret::WouldBlock => 3,
            Ret::Err(errno) => 4 + errno as u64,
        };
        feature(cell(1, kind << 16 | path << 8 | end), 1);

        let begins = self.kinds.get(moment.number).is_some_and(|step| step.1);
        if begins && !moment.trace.is_empty() {
            self.meetings.visit(moment.trace, |there, came| {
                if let [Some(there), Some(came)] = [there, came].map(|at| self.kinds.get(at)) {
                    feature(cell(3, u64::from(there.0) << 8 | u64::from(came.0)), 1);
                }
                false
            });
        }

        let Some(range) = self.range(op) else { return };
        let span = self.layout.span(range);
        // The path says more than the kind; without one, the kind says what was done.
        let done = if path > 0 { path } else { Path::ALL.len() as u64 + 1 + kind } as u16;
        for vpn in span.start..span.end.min(span.start + PAGES) {
            if let Some(last) = self.last.get_mut(vpn as usize) {
                if *last != 0 {
                    feature(cell(2, u64::from(*last) << 16 | u64::from(done)), 1);
                }
                *last = done;
            }
        }
    }

    /// The pages that an operation is about.
    fn range(&mut self, op: &Op) -> Option<Range> {
        let of = |handle: HandleId| self.handles.get(usize::from(handle.0)).copied().flatten();
        match *op {
            Op::Put { handle } | Op::Unpin { handle, .. } | Op::Peek { handle } => of(handle),
            Op::Gup { handle, .. } => {
                let at = usize::from(handle.0);
                self.handles.resize(self.handles.len().max(at + 1), None);
                self.handles[at] = op.range();
                op.range()
            }
            _ => op.range(),
        }
    }
}

/// The cell of a feature of this sort.
fn cell(sort: u64, value: u64) -> usize {
    PATHS + (mix(sort << 56 ^ value) % (CELLS - PATHS) as u64) as usize
}
