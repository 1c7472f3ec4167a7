//! How the steps of a concurrent phase interleaved, mark by mark, and what became of the folio at
//! fault meanwhile: the reference, carried through the same marks, says how many held it after each.

use lockstep::{Divergence, Held, Names, When, mark_text};
use optimized::Defects;
use program::{Call, Layout, Marked, Model, Name, Outcome, Program, Replay};
use reference::Reference;

/// A concurrent phase.
pub struct Weave {
    /// Its number, from 1.
    pub phase: usize,
    /// Its steps, in the order of their first marks.
    pub threads: Vec<Thread>,
    /// Its marks, in the order of time.
    pub marks: Vec<Knot>,
    /// The locks held meanwhile.
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
    /// Its first and last mark; of a step that does not end, the last there is.
    pub marks: [usize; 2],
}

/// A mark.
pub struct Knot {
    /// Its CPU.
    pub cpu: u8,
    /// What it is and what it saw.
    pub text: String,
    /// The refcount of the folio at fault after it, by the reference, while it can follow.
    pub count: Option<i64>,
    /// Whether the two sides see different things here.
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
            Some((_, trace)) => shadow.marks(trace, |_| {}),
            None => (first..first + phase.steps.len()).for_each(|number| shadow.step(number)),
        }
    }
    let mut counts = Vec::new();
    shadow.marks(trace, |reference| {
        let refcount = |name| reference.snapshot().folios.get(&name).map(|view| view.refcount);
        counts.push(folio.and_then(refcount));
    });
    let knot = |(at, marked): (usize, &Marked)| Knot {
        cpu: marked.cpu,
        text: mark_text(marked, &layout, names),
        count: counts.get(at).copied().flatten(),
        divergent: found.at == Some(at),
    };
    let mut threads: Vec<Thread> = Vec::new();
    for (at, marked) in trace.iter().enumerate() {
        let Some(number) = marked.number else { continue };
        match threads.iter_mut().find(|thread| thread.number == number + 1) {
            Some(thread) => thread.marks[1] = at,
            None => {
                let operation = program.steps().nth(number)?.op.to_string();
                let (number, cpu) = (number + 1, marked.cpu);
                threads.push(Thread { number, cpu, operation, marks: [at, at] });
            }
        }
    }
    let marks = trace.iter().enumerate().map(knot).collect();
    let locks = lockstep::held(found, names);
    Some(Weave { phase: phase + 1, threads, marks, locks })
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
    fn marks(&mut self, trace: &[Marked], mut after: impl FnMut(&Reference)) {
        self.reference.begin_phase();
        for marked in trace {
            let call = marked.number.and_then(|number| self.call(number));
            self.reference.mark(call, marked.mark);
            after(&self.reference);
        }
        self.reference.end_phase();
    }
}
