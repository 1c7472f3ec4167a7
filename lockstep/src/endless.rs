//! An operation alone on the machine that passes points for ever: as a phase of its own the machine can
//! prove that it goes round. A limit on steps proves nothing.

use program::{Kind, Phase, Program, Replay};

use crate::compare::What;
use crate::run::{Lockstep, Options};
use crate::subject::Subject;
use crate::verdict::{Class, Divergence};

/// The conduct of what never ends, as far as one can see.
const OUT_OF_FUEL: &str = "out-of-fuel";

impl<R: Replay, O: Subject> Lockstep<R, O> {
    /// The divergence of this step alone; the livelock that it is, if the machine proves one.
    pub(crate) fn proven(
        &mut self,
        program: &Program,
        number: usize,
        found: Box<Divergence>,
    ) -> Box<Divergence> {
        let endless = found.class == Class::Conduct(OUT_OF_FUEL) && self.alone.is_none();
        let marks = program.steps().nth(number).is_some_and(|step| Kind::of(&step.op).has_marks());
        if !O::CONCURRENT || !endless || !marks {
            return found;
        }
        let (cut, phase) = apart(program, number);
        self.alone = Some(phase);
        let result = self.again(&cut, &Options::default());
        self.alone = None;
        match result {
            Err(proof) if proof.field().is_some_and(|diff| is_livelock(diff.what)) => {
                Box::new(Divergence { when: found.when, ..*proof })
            }
            _ => found,
        }
    }
}

fn is_livelock(what: What) -> bool {
    matches!(what, What::Machine(Class::Livelock))
}

/// The program up to this step, which has a phase of its own, as have those of its phase before it;
/// and the number of that phase.
fn apart(program: &Program, number: usize) -> (Program, usize) {
    let mut cut = Program { phases: Vec::new(), ..program.clone() };
    let mut count = 0;
    for phase in &program.phases {
        if count + phase.steps.len() > number {
            let own = phase.steps[..=number - count].iter();
            cut.phases.extend(own.map(|&step| Phase { steps: vec![step] }));
            break;
        }
        count += phase.steps.len();
        cut.phases.push(phase.clone());
    }
    let last = cut.phases.len() - 1;
    (cut, last)
}
