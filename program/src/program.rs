//! A whole program: machine shape, phases of steps, schedule, expectations.

use crate::expect::Expect;
use crate::op::{AreaId, Op, Range, Step};
use crate::schedule::Schedule;
use crate::shape::Shape;

/// Steps that run together; between phases the machine is quiescent. A phase of one step is
/// plain sequential lockstep. Steps on one CPU run in their order in `steps`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Phase {
    /// The steps, in text order.
    pub steps: Vec<Step>,
}

/// A program.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Program {
    /// The machine.
    pub shape: Shape,
    /// What it runs.
    pub phases: Vec<Phase>,
    /// Scheduling decisions for phases that use more than one CPU.
    pub schedule: Schedule,
    /// Expectations stated by hand in the text; the byte form carries none.
    pub expects: Vec<Expect>,
}

impl Program {
    /// Every step in program order; a step's position is its *step number*.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.phases.iter().flat_map(|phase| &phase.steps)
    }

    /// A program of sequential steps.
    pub fn sequential(shape: Shape, steps: impl IntoIterator<Item = Step>) -> Program {
        let phases = steps.into_iter().map(|step| Phase { steps: vec![step] }).collect();
        Program { shape, phases, ..Program::default() }
    }
}

/// Virtual pages `start..end`. Addresses are counted in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Span {
    /// First page.
    pub start: u32,
    /// One past the last page.
    pub end: u32,
}

/// Where every area of a program lies: a static property, the same in every mm.
///
/// Areas are laid out upwards from page `ptes`; each begins `shift` pages past a PMD boundary and
/// at least one empty PMD lies between two areas, so areas never merge and never share a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    spans: Vec<Span>,
    next: u32,
}

impl Layout {
    /// Starts an empty layout, reusing the allocation.
    pub fn reset(&mut self, shape: &Shape) {
        self.spans.clear();
        self.next = u32::from(shape.ptes);
    }

    /// The layout of a whole program.
    pub fn of(program: &Program) -> Layout {
        let mut layout = Layout::default();
        layout.assign(program);
        layout
    }

    /// As [`Layout::of`], reusing the allocation.
    pub fn assign(&mut self, program: &Program) {
        self.reset(&program.shape);
        program.steps().for_each(|step| match step.op {
            Op::Mmap { len, shift, .. } => self.push(&program.shape, len, shift),
            Op::Mremap { range, shift, .. } => self.push(&program.shape, range.len, shift),
            _ => {}
        });
    }

    /// Appends the next area.
    pub fn push(&mut self, shape: &Shape, len: u16, shift: u16) {
        let ptes = u32::from(shape.ptes);
        let start = self.next + u32::from(shift) % ptes;
        let end = start + u32::from(len);
        self.spans.push(Span { start, end });
        self.next = end.next_multiple_of(ptes) + ptes;
    }

    /// The whole area.
    pub fn area(&self, area: AreaId) -> Span {
        self.spans[usize::from(area.0)]
    }

    /// A range inside an area, as virtual pages.
    pub fn span(&self, range: Range) -> Span {
        let start = self.area(range.area).start + u32::from(range.off);
        Span { start, end: start + u32::from(range.len) }
    }

    /// Number of areas laid out so far.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no area yet.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The area that page `vpn` lies in, and its offset there.
    pub fn locate(&self, vpn: u32) -> Option<(AreaId, u32)> {
        let at = self.spans.partition_point(|span| span.end <= vpn);
        let span = self.spans.get(at)?;
        (span.start <= vpn).then(|| (AreaId(at as u8), vpn - span.start))
    }

    /// One past the highest page of any area.
    pub fn end(&self) -> u32 {
        self.spans.last().map_or(0, |span| span.end)
    }
}
