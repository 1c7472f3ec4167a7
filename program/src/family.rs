//! Families of programs: what a fuzz target is about.

use crate::codec::{HEADER_BYTES, with_devices};
use crate::generate::{Campaign, PHASE_KINDS};
use crate::kind::{Kind, bits};
use crate::program::Program;
use crate::rng::SplitMix64;

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
    /// The kinds that those are made from nothing with.
    beside: u64,
}

/// Byte 3 of the header; these bits set make a program concurrent.
const CONCURRENT: (usize, u8) = (3, 0xC0);
/// Byte 7: how many pages each place has.
const PAGES: usize = 7;
/// The swarm mask.
const MASK: std::ops::Range<usize> = 8..HEADER_BYTES;

impl Family {
    /// One step after the other.
    pub const SEQUENTIAL: Family = Family {
        name: "sequential",
        about: "one operation after the other",
        concurrent: Some(false),
        kinds: 0,
        beside: u64::MAX,
    };
    /// Several CPUs at once.
    pub const CONCURRENT: Family = Family {
        name: "concurrent",
        about: "operations on several CPUs at once, and a schedule",
        concurrent: Some(true),
        kinds: 0,
        beside: u64::MAX,
    };
    /// A driver and its memory.
    pub const DEVICE: Family = Family {
        name: "device",
        about: "machines with device memory, and what a driver does",
        concurrent: None,
        kinds: Kind::DEVICE,
        beside: u64::MAX,
    };
    /// Longterm pins, and what decides where the pages that they pin may lie.
    pub const LONGTERM: Family = Family {
        name: "longterm",
        about: "longterm pins, and what moves pages or keeps them from moving",
        concurrent: None,
        kinds: bits(&[Kind::PinLongterm, Kind::PinLongtermFast]),
        beside: bits(&[
            Kind::MmapAnon,
            Kind::MmapShmem,
            Kind::MmapFilePrivate,
            Kind::MmapFileShared,
            Kind::Munmap,
            Kind::DontNeed,
            Kind::Collapse,
            Kind::Read,
            Kind::Write,
            Kind::Fork,
            Kind::Get,
            Kind::Pin,
            Kind::PinFast,
            Kind::Put,
            Kind::Unpin,
            Kind::Peek,
            Kind::LruAddDrain,
            Kind::LruAddDrainAll,
            Kind::SplitFolio,
            Kind::Migrate,
            Kind::Offline,
            Kind::LockPage,
            Kind::UnlockPage,
            Kind::ToDevice,
        ]),
    };
    /// Everything.
    pub const DIFFERENTIAL: Family = Family {
        name: "differential",
        about: "everything",
        concurrent: None,
        kinds: 0,
        beside: u64::MAX,
    };
    /// Every family.
    pub const ALL: [Family; 5] = [
        Family::SEQUENTIAL,
        Family::CONCURRENT,
        Family::DEVICE,
        Family::LONGTERM,
        Family::DIFFERENTIAL,
    ];

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

    /// Changes the header of a byte form so that it may mean a program of the family. The steps stay,
    /// apart from what steps out of their phase can see now.
    pub fn steer(&self, bytes: &mut [u8]) {
        let (at, bits) = CONCURRENT;
        match (self.concurrent, bytes.get_mut(at)) {
            (Some(true), Some(byte)) => *byte |= bits,
            (Some(false), Some(byte)) if *byte & bits == bits => *byte &= !bits,
            _ => {}
        }
        if self.kinds & Kind::DEVICE != 0
            && let Some(pages) = bytes.get_mut(PAGES)
        {
            *pages = with_devices(*pages);
        }
    }

    /// Replaces `bytes` by a program of so many steps, made from nothing; most belong to the family.
    pub fn generate(&self, steps: usize, rng: &mut SplitMix64, bytes: &mut Vec<u8>) {
        // Where none of its kinds has marks, a program with them cannot have phases.
        let may = self.kinds == 0 || self.kinds & PHASE_KINDS != 0;
        let concurrent = self.concurrent.unwrap_or(may && rng.below(2) == 0);
        let campaign =
            Campaign { steps, concurrent: 256 * u16::from(concurrent), seed: rng.next_u64() };
        campaign.fill(0, self.kinds == 0, bytes);
        self.steer(bytes);
        let own = if concurrent { self.kinds & PHASE_KINDS } else { self.kinds };
        // The fewer kinds beside its own, the more of its own.
        let beside = if self.beside == u64::MAX { u64::MAX } else { self.beside & rng.next_u64() };
        if let Some(mask) = bytes[MASK].as_mut_array() {
            *mask = (u64::from_le_bytes(*mask) & beside | own).to_le_bytes();
        }
    }

    /// Sets the swarm mask of a byte form, for the meaning of records that are added to it: inside a
    /// phase a kind that has marks, else, now and then, one that the family is about.
    pub(crate) fn focus(&self, bytes: &mut [u8], inside: bool, rng: &mut SplitMix64) {
        let any = if inside { PHASE_KINDS } else { u64::MAX };
        let own = self.kinds & any;
        let mask = if own != 0 && rng.below(4) == 0 { own } else { any };
        bytes[MASK].copy_from_slice(&mask.to_le_bytes());
    }
}
