//! Families of programs: what a fuzz target is about.

use crate::codec::HEADER_BYTES;
use crate::kind::Kind;
use crate::program::Program;

/// A family of programs, told by their header and by the kinds of operation in them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Family {
    /// Its name; the fuzz target is called the same.
    pub name: &'static str,
    /// What is in it, in a few words.
    pub about: &'static str,
    /// Whether its programs have phases of several steps; `None`: some have.
    concurrent: Option<bool>,
    /// Its programs have an operation of one of these kinds; 0: of any.
    kinds: u64,
}

/// Byte 3 of the header; these bits set make a program concurrent.
const CONCURRENT: (usize, u8) = (3, 0xC0);
/// The swarm mask.
const MASK: std::ops::Range<usize> = 8..HEADER_BYTES;

impl Family {
    /// One step after the other.
    pub const SEQUENTIAL: Family = Family {
        name: "sequential",
        about: "one operation after the other",
        concurrent: Some(false),
        kinds: 0,
    };
    /// Several CPUs at once.
    pub const CONCURRENT: Family = Family {
        name: "concurrent",
        about: "operations on several CPUs at once, and a schedule",
        concurrent: Some(true),
        kinds: 0,
    };
    /// Everything.
    pub const DIFFERENTIAL: Family =
        Family { name: "differential", about: "everything", concurrent: None, kinds: 0 };
    /// Every family.
    pub const ALL: [Family; 3] = [Family::SEQUENTIAL, Family::CONCURRENT, Family::DIFFERENTIAL];

    /// The family of this name.
    pub fn find(name: &str) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.name == name)
    }

    /// Whether a program belongs to it.
    pub fn holds(&self, program: &Program) -> bool {
        let concurrent = program.phases.iter().any(|phase| phase.steps.len() > 1);
        let kinds = || program.steps().any(|step| self.kinds & Kind::of(&step.op).bit() != 0);
        self.concurrent.is_none_or(|wanted| wanted == concurrent) && (self.kinds == 0 || kinds())
    }

    /// Changes the header of a byte form so that it may mean a program of the family.
    pub fn steer(&self, bytes: &mut [u8]) {
        let (at, bits) = CONCURRENT;
        match (self.concurrent, bytes.get_mut(at)) {
            (Some(true), Some(byte)) => *byte |= bits,
            (Some(false), Some(byte)) if *byte & bits == bits => *byte &= !bits,
            _ => {}
        }
        if let Some(mask) = bytes.get_mut(MASK)
            && mask.iter().any(|&byte| byte != 0)
        {
            for (byte, kinds) in mask.iter_mut().zip(self.kinds.to_le_bytes()) {
                *byte |= kinds;
            }
        }
    }
}
