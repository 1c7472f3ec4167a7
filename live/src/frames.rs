//! Which page frame each folio of the reference is: the two sides name pages differently, so that
//! agreement means a one-to-one map between the names, kept from step to step.

use std::collections::BTreeMap;

use program::{Name, Snapshot};

/// The map: of each folio, the frame of its first page.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    first: BTreeMap<Name, u64>,
    /// Pages seen in this look.
    seen: BTreeMap<u64, (Name, u32)>,
}

impl Frames {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.first.clear();
        self.seen.clear();
    }

    /// A new look begins.
    pub fn begin(&mut self) {
        self.seen.clear();
    }

    /// Page `sub` of a folio is in this frame. False: that contradicts what was seen before, in
    /// this look or in an earlier one.
    pub fn agree(&mut self, name: Name, sub: u32, frame: u64) -> bool {
        let alone = *self.seen.entry(frame).or_insert((name, sub)) == (name, sub);
        let Some(first) = frame.checked_sub(u64::from(sub)) else { return false };
        alone && *self.first.entry(name).or_insert(first) == first
    }

    /// The frame of a page, if it was ever seen.
    pub fn of(&self, name: Name, sub: u32) -> Option<u64> {
        Some(self.first.get(&name)? + u64::from(sub))
    }

    /// Forgets folios that are no more: their frames may come back under other names.
    pub fn end(&mut self, state: &Snapshot) {
        self.first.retain(|name, _| state.folios.contains_key(name));
    }
}
