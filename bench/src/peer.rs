//! The same two sides driven by proptest-state-machine: its generation, its shrinking tree, its
//! loop; a transition is one record of the byte form, so the steps are distributed as ours are.

use std::cell::Cell;

use optimized::{Defects, World};
use program::{Call, Decoder, Layout, Model, Outcome, Program};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use reference::Reference;

/// Bytes of a header followed by one record a transition.
const HEADER: usize = 16;

/// The reference side of the state machine.
#[derive(Clone, Debug)]
pub struct State {
    bytes: Vec<u8>,
    reference: Box<Reference>,
    outcome: Outcome,
}

/// The test itself.
pub struct Peer;

thread_local! {
    static PLANTED: Cell<Defects> = const { Cell::new(Defects::NONE) };
}

/// Worlds of this thread have these defects from now on.
pub fn plant(defects: Defects) {
    PLANTED.set(defects);
}

fn decode(bytes: &[u8]) -> (Program, Layout) {
    let mut program = Program::default();
    Decoder::default().decode(bytes, &mut program);
    let layout = Layout::of(&program);
    (program, layout)
}

/// Carries out the last step of the program.
fn last_step(model: &mut impl Model, bytes: &[u8], out: &mut Outcome) {
    let (program, layout) = decode(bytes);
    out.data.clear();
    if let Some((number, step)) = program.steps().enumerate().last() {
        model.step(Call { number, step, layout: &layout }, out);
    }
}

impl ReferenceStateMachine for Peer {
    type State = State;
    type Transition = [u8; 12];

    fn init_state() -> BoxedStrategy<State> {
        any::<[u8; HEADER]>()
            .prop_map(|mut header| {
                header[3] &= 0x3F; // sequential
                header[7] &= 0x7F; // no page counts of its own
                let (program, _) = decode(&header);
                let mut reference = Box::new(Reference::new());
                reference.reset(&program.shape);
                State { bytes: header.to_vec(), reference, outcome: Outcome::default() }
            })
            .boxed()
    }

    fn transitions(_: &State) -> BoxedStrategy<[u8; 12]> {
        any::<[u8; 12]>().boxed()
    }

    fn apply(mut state: State, record: &[u8; 12]) -> State {
        state.bytes.extend(record);
        last_step(&mut *state.reference, &state.bytes, &mut state.outcome);
        state
    }
}

impl StateMachineTest for Peer {
    type SystemUnderTest = Box<World>;
    type Reference = Peer;

    fn init_test(state: &State) -> Box<World> {
        let (program, _) = decode(&state.bytes);
        let mut world = Box::new(World::new());
        world.set_defects(PLANTED.get());
        world.reset(&program.shape);
        world
    }

    fn apply(mut world: Box<World>, state: &State, _: [u8; 12]) -> Box<World> {
        if state.outcome.ret != program::Ret::WouldBlock {
            let mut found = Outcome::default();
            last_step(&mut *world, &state.bytes, &mut found);
            assert_eq!(found, state.outcome);
        }
        assert_eq!(world.digest(), state.reference.digest());
        assert_eq!(world.conduct(), None);
        world
    }
}
