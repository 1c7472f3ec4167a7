//! Wrong rules for the reference, to see that a witness finds them.

use program::{Advice, Call, Foll, Form, Model, Op, Outcome, Prot, Shape, Snapshot, Step};
use reference::Reference;

/// A wrong rule: some operations mean something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Planted {
    /// None.
    #[default]
    Nothing,
    /// Pins are mere references.
    PinsAreGets,
    /// MADV_DONTFORK is ignored.
    ForksAll,
    /// PROT_NONE can be read.
    NoneIsRead,
    /// A longterm pin leaves its pages where they are.
    LongtermStays,
    /// Nothing is migrated.
    NothingMigrates,
    /// No large folio is split.
    NothingSplits,
}

impl Planted {
    /// Each by its name.
    pub const NAMES: [(&str, Planted); 6] = [
        ("pins-are-gets", Planted::PinsAreGets),
        ("forks-all", Planted::ForksAll),
        ("none-is-read", Planted::NoneIsRead),
        ("longterm-stays", Planted::LongtermStays),
        ("nothing-migrates", Planted::NothingMigrates),
        ("nothing-splits", Planted::NothingSplits),
    ];

    /// By its name.
    pub fn named(name: &str) -> Option<Planted> {
        Planted::NAMES.iter().find(|(known, _)| *known == name).map(|(_, planted)| *planted)
    }

    /// What the reference takes an operation for.
    fn takes_for(self, op: Op) -> Op {
        match (self, op) {
            (
                Planted::PinsAreGets,
                Op::Gup { mm, range, handle, entry, foll: Foll::Pin, write, .. },
            ) => {
                let (foll, form) = (Foll::Get, Form::Pages);
                Op::Gup { mm, range, handle, entry, foll, write, longterm: false, form }
            }
            (
                Planted::LongtermStays,
                Op::Gup { mm, range, handle, entry, foll, write, form, .. },
            ) => Op::Gup { mm, range, handle, entry, foll, write, longterm: false, form },
            (Planted::ForksAll, Op::Madvise { advice: Advice::DontFork, mm, range }) => {
                Op::Madvise { advice: Advice::DoFork, mm, range }
            }
            (Planted::NoneIsRead, Op::Mprotect { mm, range, prot: Prot::None }) => {
                Op::Mprotect { mm, range, prot: Prot::Read }
            }
            (Planted::NothingMigrates, Op::Migrate { .. }) => Op::LruAddDrain,
            (Planted::NothingSplits, Op::SplitFolio { .. }) => Op::LruAddDrain,
            (_, op) => op,
        }
    }
}

/// A reference with a wrong rule.
#[derive(Debug)]
pub struct Mistaken {
    reference: Reference,
    planted: Planted,
}

impl Mistaken {
    /// This reference, but for one rule.
    pub fn new(reference: Reference, planted: Planted) -> Mistaken {
        Mistaken { reference, planted }
    }
}

impl Model for Mistaken {
    fn reset(&mut self, shape: &Shape) {
        self.reference.reset(shape);
    }

    fn step(&mut self, call: Call<'_>, out: &mut Outcome) {
        let step = Step { op: self.planted.takes_for(call.step.op), ..*call.step };
        self.reference.step(Call { step: &step, ..call }, out);
    }

    fn digest(&self) -> u64 {
        self.reference.digest()
    }

    fn snapshot(&self) -> Snapshot {
        self.reference.snapshot()
    }

    fn teardown(&mut self) {
        self.reference.teardown();
    }
}
