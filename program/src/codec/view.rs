//! What is believed about the areas of one address space.

use super::cells::{Contents, Slots};
use crate::arena::Set;
use crate::op::Prot;

/// A property of areas.
#[derive(Clone, Copy, Debug)]
pub(super) enum Area {
    /// Mapped from end to end.
    Whole,
    /// Of one VMA.
    Solid,
    Readable,
    /// Follows `Readable`.
    Writable,
    DontFork,
    /// A write to an empty cell makes a huge folio.
    Thp,
    /// Registered with userfaultfd, in whole or in part.
    Armed,
    /// Private anonymous, with room for a huge page, and `collapse` may use it.
    Collapsible,
}

/// What is believed about one mm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    sets: [Set; 8],
    pub contents: Contents,
}

impl View {
    /// The areas with a property.
    pub fn get(&self, property: Area) -> Set {
        self.sets[property as usize]
    }

    /// Of two properties that follow each other the first or the second.
    pub fn either(&self, first: Area, second: bool) -> Set {
        self.sets[(first as usize + usize::from(second)) % 8]
    }

    pub fn set(&mut self, property: Area, area: u8, on: bool) {
        let set = &mut self.sets[property as usize];
        *set = set.with(area, on);
    }

    /// A new mapping. `thp` and `collapsible`: whether it belongs to these sets.
    pub fn map(&mut self, area: u8, prot: Prot, thp: bool, collapsible: bool) {
        self.set(Area::Whole, area, true);
        self.set(Area::Solid, area, true);
        self.set(Area::Thp, area, thp);
        self.set(Area::Collapsible, area, collapsible);
        self.set(Area::DontFork, area, false);
        self.set(Area::Armed, area, false);
        self.protect(area, prot);
    }

    /// All of it, or a part, is unmapped.
    pub fn unmap(&mut self, area: u8, all: bool) {
        self.set(Area::Whole, area, false);
        self.set(Area::Solid, area, false);
        if all {
            self.protect(area, Prot::None);
            self.set(Area::Armed, area, false);
        }
    }

    /// All of it, or a part, has other flags.
    pub fn cut(&mut self, area: u8, all: bool) {
        self.set(Area::Solid, area, all && self.get(Area::Solid).contains(area));
    }

    /// All of it has this protection.
    pub fn protect(&mut self, area: u8, prot: Prot) {
        self.set(Area::Readable, area, prot >= Prot::Read);
        self.set(Area::Writable, area, prot == Prot::ReadWrite);
    }

    /// A part of it has.
    pub fn protect_part(&mut self, area: u8, prot: Prot) {
        self.set(Area::Solid, area, false);
        self.protect(area, prot.min(self.prot(area)));
    }

    /// The protection that all of it has.
    pub fn prot(&self, area: u8) -> Prot {
        match (self.get(Area::Writable).contains(area), self.get(Area::Readable).contains(area)) {
            (true, _) => Prot::ReadWrite,
            (false, true) => Prot::Read,
            (false, false) => Prot::None,
        }
    }

    /// What a child has; `left`: cells of areas that it does not get.
    pub fn fork(&mut self, left: Slots) -> View {
        self.contents.shared |= self.contents.some & !left;
        let mut child = View { contents: self.contents.of(!left), ..*self };
        let gone = self.get(Area::DontFork);
        for property in [Area::Whole, Area::Solid, Area::Readable, Area::Writable] {
            child.sets[property as usize] = child.sets[property as usize] & !gone;
        }
        child.sets[Area::Armed as usize] = Set::default();
        child
    }
}
