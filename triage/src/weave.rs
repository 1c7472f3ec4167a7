//! How the steps of a concurrent phase interleaved, mark by mark, and what became of the folio at
//! fault meanwhile: the reference, carried through the same marks, says how many held it after each.

use std::collections::BTreeSet;

use lockstep::{Divergence, Frame, Held, Names, Remark, View, When, mark_text};
use optimized::Defects;
use program::{Call, Layout, Marked, Model, Name, Outcome, Program, Replay};
use reference::Reference;

use crate::finding;

/// A concurrent phase.
pub struct Weave {
    /// What it is called.
    pub phase: String,
    /// Its steps, in the order of their first marks.
    pub threads: Vec<Thread>,
    /// What is shown of it, in the order of time.
    pub knots: Vec<Knot>,
    /// The locks held meanwhile, from knot to knot.
    pub locks: Vec<Held>,
}

/// A step of the phase.
pub struct Thread {
    /// The step's number, from 1.
    pub number: usize,
    /// Its CPU.
    pub cpu: u8,
    /// Its operation as text.
    pub operation: String,
    /// Its first and last knot; of a step that does not end, the last there is.
    pub knots: [usize; 2],
}

/// A mark, a remark, or where marks are left out.
pub struct Knot {
    /// Its CPU; none where marks are left out.
    pub cpu: Option<u8>,
    /// What it is and what it saw.
    pub text: String,
    /// The refcount of the folio at fault after it, by the reference, while it can follow.
    pub count: Option<i64>,
    /// Whether it goes wrong here.
    pub divergent: bool,
}

/// The phase in which a program diverges, if that is concurrent. `traces`: the marks of the phases
/// before it, by the number of their first step, from 0.
pub fn weave(
    program: &Program,
    defects: Defects,
    found: &Divergence,
    traces: &[(usize, Vec<Marked>)],
    folio: Option<Name>,
    names: &Names,
) -> Option<Weave> {
    let trace = Some(&found.trace).filter(|trace| !trace.is_empty())?;
    let firsts = program.phases.iter().scan(0, |next, phase| {
        let first = *next;
        *next += phase.steps.len();
        Some(first)
    });
    let firsts: Vec<usize> = firsts.collect();
    let phase = match found.when {
        When::Phase(phase) => phase,
        When::Step(number, _) => firsts.iter().rposition(|&first| first <= number)?,
        _ => return None,
    };
    let layout = Layout::of(program);
    let mut shadow = Shadow::new(program, defects, &layout);
    for (&first, phase) in firsts.iter().zip(&program.phases).take(phase) {
        match traces.iter().find(|(number, _)| *number == first) {
            Some((_, trace)) => shadow.marks(trace, |_, _| {}),
            None => (first..first + phase.steps.len()).for_each(|number| shadow.step(number)),
        }
    }
    let view = View::of(found);
    let mut counts = vec![None; trace.len()];
    let mut shown = view.frames.iter().filter_map(|frame| match frame {
        Frame::Mark(at) => Some(*at),
        _ => None,
    });
    let mut next = shown.next();
    shadow.marks(trace, |at, reference| {
        if next == Some(at) {
            let refcount = |name| reference.snapshot().folios.get(&name).map(|view| view.refcount);
            counts[at] = folio.and_then(refcount);
            next = shown.next();
        }
    });
    let knot = |frame: &Frame| match frame {
        Frame::Mark(at) => Knot {
            cpu: Some(trace[*at].cpu),
            text: mark_text(&trace[*at], &layout, names),
            count: counts[*at],
            divergent: found.at == Some(*at),
        },
        Frame::Remark(at) => {
            let Remark { cpu, text, .. } = &found.remarks[*at];
            Knot { cpu: Some(*cpu), text: text.clone(), count: None, divergent: true }
        }
        Frame::Gap { marks, rounds } => {
            let text = match rounds {
                0 => format!("{} marks", marks.len()),
                _ => format!("the {} marks before {rounds} times more", marks.len() / rounds),
            };
            Knot { cpu: None, text, count: None, divergent: false }
        }
    };
    let knots: Vec<Knot> = view.frames.iter().map(knot).collect();
    let column = |at: usize| view.row(at).min(knots.len() - 1);
    let mut threads: Vec<Thread> = Vec::new();
    for (at, marked) in trace.iter().enumerate() {
        let Some(number) = marked.number else { continue };
        match threads.iter_mut().find(|thread| thread.number == number + 1) {
            Some(thread) => thread.knots[1] = at,
            None => {
                let operation = program.steps().nth(number)?.op.to_string();
                let (number, cpu) = (number + 1, marked.cpu);
                threads.push(Thread { number, cpu, operation, knots: [at, at] });
            }
        }
    }
    threads.iter_mut().for_each(|thread| thread.knots = thread.knots.map(column));
    // What is said of a CPU is about the step that it is in.
    for (at, knot) in knots.iter().enumerate() {
        let own = |thread: &&mut Thread| Some(thread.cpu) == knot.cpu && thread.knots[0] < at;
        if let Some(last) = threads.iter_mut().rfind(own).filter(|_| knot.divergent) {
            last.knots[1] = last.knots[1].max(at);
        }
    }
    let mut locks = lockstep::held(found, names);
    for held in &mut locks {
        let end = if held.marks.end == trace.len() {
            knots.len()
        } else {
            column(held.marks.end - 1) + 1
        };
        held.marks = column(held.marks.start)..end;
    }
    // Of what repeats, many are at one place.
    let mut known = BTreeSet::new();
    locks.retain(|held| {
        known.insert((held.cpu, held.name.clone(), held.marks.start, held.marks.end))
    });
    let phase = finding::together(program, phase);
    Some(Weave { phase, threads, knots, locks })
}

/// The reference, taken where the two sides went.
struct Shadow<'a> {
    reference: Reference,
    program: &'a Program,
    layout: &'a Layout,
}

impl<'a> Shadow<'a> {
    fn new(program: &'a Program, defects: Defects, layout: &'a Layout) -> Shadow<'a> {
        let mut reference = lockstep::reference_of(defects.variant());
        reference.reset(&program.shape);
        Shadow { reference, program, layout }
    }

    fn call(&self, number: usize) -> Option<Call<'a>> {
        let step = self.program.phases.iter().flat_map(|phase| &phase.steps).nth(number)?;
        Some(Call { number, step, layout: self.layout })
    }

    fn step(&mut self, number: usize) {
        if let Some(call) = self.call(number) {
            self.reference.step(call, &mut Outcome::default());
        }
    }

    /// Carries marks out as long as the reference sees the same or its state may still tell.
    fn marks(&mut self, trace: &[Marked], mut after: impl FnMut(usize, &Reference)) {
        self.reference.begin_phase();
        for (at, marked) in trace.iter().enumerate() {
            let call = marked.number.and_then(|number| self.call(number));
            self.reference.mark(call, marked.mark);
            after(at, &self.reference);
        }
        self.reference.end_phase();
    }
}
