//! Which mms map a large folio, as far as Linux 6.15 and later remember it (`folio->_mm_ids`,
//! CONFIG_MM_ID): two slots and a bit that says "perhaps more than one". It is history and cannot
//! be derived: a third mm finds no slot, and the bit may stay set after the others left.

use program::MmId;

#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct MmIds {
    /// An mm and its mappings since it has the slot.
    slots: [Option<(MmId, u32)>; 2],
    shared: bool,
}

impl MmIds {
    /// `folio_test_large_maybe_mapped_shared`.
    pub fn maybe_shared(&self) -> bool {
        self.shared
    }

    /// `folio_add_large_mapcount`; `total` mappings are there now.
    pub fn mapped(&mut self, mm: MmId, total: u32) {
        if let Some((_, count)) = self.slot_of(mm) {
            *count += 1;
        } else if let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some((mm, 1));
            self.shared |= total != 1;
        }
    }

    /// `folio_sub_large_mapcount`; `total` mappings are left.
    pub fn unmapped(&mut self, mm: MmId, total: u32) {
        if let Some((_, count)) = self.slot_of(mm) {
            *count -= 1;
            if *count > 0 {
                return;
            }
        }
        self.slots.iter_mut().for_each(|slot| *slot = slot.filter(|&(_, count)| count > 0));
        let owns_all = |slot: &Option<(MmId, u32)>| slot.map_or(0, |(_, count)| count) == total;
        if self.slots.iter().any(owns_all) {
            self.shared = false;
        }
    }

    fn slot_of(&mut self, mm: MmId) -> Option<&mut (MmId, u32)> {
        self.slots.iter_mut().flatten().find(|slot| slot.0 == mm)
    }
}
