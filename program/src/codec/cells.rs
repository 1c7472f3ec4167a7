//! The places that a program populated last, as far as that can be told without running it.
//!
//! A place is a *cell*: as much of an area as one page table maps. What is believed about cells is
//! kept as sets of them, a bit each, because that takes few branches: decoding must stay fast
//! beside the run of a program, and no processor can predict a branch on random bytes.

use crate::arena::Set;
use crate::op::{Device, Range};

/// How many cells are remembered.
const CELLS: usize = 4;
/// Marks a cell that is none.
const NO_AREA: u8 = u8::MAX;

/// A set of cells.
pub(super) type Slots = u8;

/// Pages of an area: a first one and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pages {
    pub off: u16,
    pub len: u16,
}

/// What is believed about the cells of one mm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contents {
    /// Something is mapped.
    pub some: Slots,
    /// Pages of their own, not only the shared zero page.
    pub real: Slots,
    /// A huge folio, mapped whole or in parts.
    pub huge: Slots,
    /// A table.
    pub table: Slots,
    /// What a write copies, since a fork.
    pub shared: Slots,
    /// Pages in device-private memory.
    pub private: Slots,
    /// Pages in device-coherent memory.
    pub coherent: Slots,
}

/// The cells remembered.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    areas: [u8; CELLS],
    whole: [Pages; CELLS],
    /// What was populated last.
    used: [Pages; CELLS],
    next: u8,
}

impl Default for Cells {
    fn default() -> Self {
        let none = [Pages::default(); CELLS];
        Cells { areas: [NO_AREA; CELLS], whole: none, used: none, next: 0 }
    }
}

impl Pages {
    /// The cell around `page` of an area of `len` pages, `shift` pages past a table's begin.
    pub fn around(page: u16, shift: u16, len: u16, ptes: u16) -> Pages {
        let start = (shift + page) & !(ptes - 1);
        let off = start.saturating_sub(shift);
        Pages { off, len: (start + ptes - shift).min(len) - off }
    }

    pub fn of(range: Range) -> Pages {
        Pages { off: range.off, len: range.len }
    }

    pub fn end(self) -> u16 {
        self.off + self.len
    }

    /// The pages in both; `len` is 0 if there is none.
    pub fn common(self, other: Pages) -> Pages {
        let off = self.off.max(other.off);
        Pages { off, len: self.end().min(other.end()).saturating_sub(off) }
    }
}

impl Contents {
    /// The cells with pages of a device.
    pub fn device_mut(&mut self, device: Device) -> &mut Slots {
        match device {
            Device::Private => &mut self.private,
            Device::Coherent => &mut self.coherent,
        }
    }

    /// What is in these cells only.
    pub fn of(&self, slots: Slots) -> Contents {
        Contents {
            some: self.some & slots,
            real: self.real & slots,
            huge: self.huge & slots,
            table: self.table & slots,
            shared: self.shared & slots,
            private: self.private & slots,
            coherent: self.coherent & slots,
        }
    }
}

impl Cells {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.areas = [NO_AREA; CELLS];
        self.next = 0;
    }

    /// The area of a cell.
    pub fn area(&self, slot: usize) -> u8 {
        self.areas[slot % CELLS]
    }

    /// All of a cell.
    pub fn whole(&self, slot: usize) -> Pages {
        self.whole[slot % CELLS]
    }

    /// What was populated last in a cell.
    pub fn used(&self, slot: usize) -> Pages {
        self.used[slot % CELLS]
    }

    pub fn set_used(&mut self, slot: usize, used: Pages) {
        self.used[slot % CELLS] = used;
    }

    /// The cells of an area.
    pub fn of_area(&self, area: u8) -> Slots {
        let bit = |slot: usize| u8::from(self.areas[slot] == area) << slot;
        (0..CELLS).fold(0, |slots, slot| slots | bit(slot))
    }

    /// Of these, the ones that are in the areas. Looks at all, which is faster than to choose.
    pub fn in_areas(&self, slots: Slots, areas: Set) -> Slots {
        let bit = |slot: usize| areas.bit(self.areas[slot]) << slot;
        slots & (0..CELLS).fold(0, |slots, slot| slots | bit(slot))
    }

    /// Those that could be one huge page.
    pub fn full(&self, ptes: u16) -> Slots {
        let bit = |slot: usize| u8::from(self.whole[slot].len == ptes) << slot;
        (0..CELLS).fold(0, |slots, slot| slots | bit(slot))
    }

    /// One of these, mostly the newest; without a branch, as [`Set::pick`].
    pub fn pick(&self, slots: Slots, choice: u8) -> Option<usize> {
        let from = self.next.wrapping_sub(choice & choice >> 2) % CELLS as u8;
        // Twice, so that the highest bit of the first half is the newest.
        let twice = (slots | slots << CELLS) & (((1 << CELLS) << from) - 1);
        let slot = 7 - twice.leading_zeros() as usize % 8;
        (slots != 0).then_some(slot % CELLS)
    }

    /// The cell of the area that has this page.
    pub fn find(&self, area: u8, page: u16) -> Option<usize> {
        each(self.of_area(area)).find(|&slot| {
            let whole = self.whole[slot];
            whole.off <= page && page < whole.end()
        })
    }

    /// Remembers one more in place of the oldest.
    pub fn push(&mut self, area: u8, whole: Pages, used: Pages) -> usize {
        let slot = usize::from(self.next) % CELLS;
        self.next = self.next.wrapping_add(1);
        self.areas[slot] = area;
        self.whole[slot] = whole;
        self.used[slot] = used;
        slot
    }

    /// Nothing of the range is populated any more in this mm.
    pub fn zap(&mut self, contents: &mut Contents, range: Range) {
        let zapped = Pages::of(range);
        for slot in each(self.of_area(range.area.0) & contents.some) {
            let (whole, used) = (self.whole[slot], self.used[slot]);
            let common = whole.common(zapped);
            if common.len == 0 {
                continue;
            }
            if common != whole {
                contents.table |= 1 << slot;
            }
            let (off, end) = (zapped.off, zapped.end());
            if used.off < off {
                self.used[slot].len = used.end().min(off) - used.off;
            } else if end < used.end() {
                let off = used.off.max(end);
                self.used[slot] = Pages { off, len: used.end() - off };
            } else {
                *contents = contents.of(!(1 << slot));
            }
        }
    }

    /// The part of a huge page that the range cuts off is mapped by a table from now on.
    pub fn cut(&self, contents: &mut Contents, range: Range) {
        for slot in each(self.of_area(range.area.0) & contents.some) {
            let common = self.whole[slot].common(Pages::of(range));
            let cut = common.len != 0 && common != self.whole[slot];
            contents.table |= u8::from(cut) << slot;
        }
    }

    /// Tables in the range become huge pages.
    pub fn collapse(&mut self, contents: &mut Contents, range: Range) {
        for slot in each(self.of_area(range.area.0) & contents.real) {
            let whole = self.whole[slot];
            if whole.common(Pages::of(range)) == whole {
                self.used[slot] = whole;
                contents.huge |= 1 << slot;
                contents.table &= !(1 << slot);
            }
        }
    }
}

/// The cells of a set.
pub(super) fn each(slots: Slots) -> impl Iterator<Item = usize> {
    let mut left = slots;
    std::iter::from_fn(move || {
        let slot = left.trailing_zeros() as usize;
        left &= left.wrapping_sub(1);
        (slot < CELLS).then_some(slot)
    })
}
