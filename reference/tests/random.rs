//! Random programs: the running digest never drifts (asserted inside every step of a debug
//! build), nothing leaks, would-block changes nothing, and every run is the same.

mod common;

use common::nothing;
use program::{
    Call, Decoder, Form, Layout, Model, Op, Outcome, PageRef, Program, Ret, Snapshot, Step,
    generate,
};
use reference::Reference;

fn programs(count: u64) -> impl Iterator<Item = Program> {
    let mut bytes = Vec::new();
    let mut decoder = Decoder::default();
    (0..count).map(move |index| {
        let mut program = Program::default();
        generate(77, index, &mut bytes);
        decoder.decode(&bytes, &mut program);
        program
    })
}

fn run(reference: &mut Reference, program: &Program, mut each: impl FnMut(&Reference, &Outcome)) {
    let layout = Layout::of(program);
    reference.reset(&program.shape);
    let mut out = Outcome::default();
    for (number, step) in program.steps().enumerate() {
        out.data.clear();
        reference.step(Call { number, step, layout: &layout }, &mut out);
        each(reference, &out);
    }
}

/// Drops every handle, unlocks every lock, exits every mm.
fn release(reference: &mut Reference, program: &Program) {
    let layout = Layout::of(program);
    let (also, form, dirty, hole) = (None, Form::Pages, false, false);
    let created = |op: &Op| match *op {
        Op::Gup { handle, foll: program::Foll::Get, .. } => Some(Op::Put { handle }),
        Op::Gup { handle, .. } => Some(Op::Unpin { handle, also, form, dirty, hole }),
        Op::LockPage { lock, .. } => Some(Op::UnlockPage { lock }),
        Op::MigrateVmaSetup { migration, .. } | Op::MigrateDeviceRange { migration, .. } => {
            Some(Op::MigrateVmaFinalize { migration })
        }
        _ => None,
    };
    let child = |op: &Op| match *op {
        Op::Fork { child, .. } => Some(Op::Exit { mm: child }),
        _ => None,
    };
    let ops: Vec<Op> = program.steps().map(|step| step.op).collect();
    let first = ops.iter().filter_map(created);
    let then = ops.iter().filter_map(child).chain([Op::Exit { mm: program::MmId(0) }]);
    for op in first.chain(then) {
        let step = Step { cpu: 0, op, place: program::Place::Normal, fail: None };
        let call = Call { number: 1000, step: &step, layout: &layout };
        reference.step(call, &mut Outcome::default());
    }
    reference.teardown();
}

#[test]
fn teardown_leaves_nothing() {
    let mut reference = Reference::new();
    for program in programs(3000) {
        run(&mut reference, &program, |_, _| {});
        release(&mut reference, &program);
        assert_eq!(reference.snapshot(), nothing(&program.shape), "{program:?}");
        assert_eq!(reference.digest(), 0);
    }
}

#[test]
fn digest_is_that_of_the_snapshot() {
    let mut reference = Reference::new();
    for program in programs(500) {
        run(&mut reference, &program, |reference, _| {
            assert_eq!(reference.digest(), reference.snapshot().digest());
        });
    }
}

/// I2: what is writable and anonymous is exclusive. I3: what is exclusive is mapped once. I4: a
/// pinned mapped anonymous page is exclusive. And nothing is held by an operation that is over.
fn check_invariants(snapshot: &Snapshot) {
    for mm in snapshot.mms.values() {
        let ptes = mm.entries.values().map(|entry| (entry, false));
        for (entry, huge) in ptes.chain(mm.huge.values().map(|entry| (entry, true))) {
            let PageRef::Of(name, sub) = entry.page else { continue };
            if matches!(entry.kind, program::EntryKind::Migration { .. }) {
                continue;
            }
            let folio = &snapshot.folios[&name];
            let sub = sub as usize;
            let exclusive = folio.exclusive[sub];
            assert!(!entry.write || !folio.anon || exclusive, "I2");
            let device = u32::from(entry.kind == program::EntryKind::DeviceExclusive);
            let mappings = folio.mapcount[sub] + folio.entire_mapcount + device;
            assert!(!exclusive || mappings == 1, "I3");
            let pinned =
                (huge && folio.pincount > 0) || (folio.order == 0 && folio.refcount >= 1024);
            assert!(!pinned || !folio.anon || exclusive, "I4");
        }
    }
    for folio in snapshot.folios.values() {
        let mapcount = folio.mapcount.iter().sum::<u32>() + folio.entire_mapcount;
        assert!(folio.refcount >= i64::from(mapcount.max(1)));
    }
}

#[test]
fn invariants_hold_after_every_step() {
    let mut reference = Reference::new();
    for program in programs(3000) {
        run(&mut reference, &program, |reference, _| check_invariants(&reference.snapshot()));
    }
}

#[test]
fn would_block_and_void_change_nothing() {
    let mut reference = Reference::new();
    let mut before = None;
    let mut blocked = 0;
    for program in programs(3000) {
        run(&mut reference, &program, |reference, out| {
            let after = (reference.digest(), reference.snapshot());
            if out.ret == Ret::WouldBlock || out.ret == Ret::Void {
                blocked += u32::from(out.ret == Ret::WouldBlock);
                assert_eq!(before.as_ref().unwrap_or(&after), &after);
                assert!(out.data.is_empty());
            }
            before = Some(after);
        });
        before = None;
    }
    assert!(blocked > 10, "only {blocked}");
}

#[test]
fn a_clone_goes_the_same_way() {
    let (mut reference, mut copy) = (Reference::new(), Reference::new());
    for program in programs(200) {
        let layout = Layout::of(&program);
        reference.reset(&program.shape);
        for (number, step) in program.steps().enumerate() {
            copy.clone_from(&reference);
            let fresh = reference.clone();
            for side in [&mut reference, &mut copy, &mut fresh.clone()] {
                side.step(Call { number, step, layout: &layout }, &mut Outcome::default());
            }
            assert_eq!(reference.snapshot(), copy.snapshot());
            assert_eq!(reference.digest(), copy.digest());
        }
    }
}
