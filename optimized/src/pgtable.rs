//! Two-level page tables: PMDs per mm, tables of PTEs in one arena.

use std::cell::RefCell;

use program::{EntryKind, EntryView, MmId, PageRef, digest};

use crate::frame::{Pfn, ZERO_PFN};
use crate::world::{Conduct, World};

/// Permission and dirty bits of a present entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bits {
    /// Not PROT_NONE.
    pub read: bool,
    pub write: bool,
    /// Kept in shared mappings of regular files only (kernel.md 0.3, decision 9).
    pub dirty: bool,
}

impl Bits {
    /// Of an entry that was not read yet.
    pub const NONE: Bits = Bits { read: false, write: false, dirty: false };

    pub fn wrprotect(self) -> Bits {
        Bits { write: false, ..self }
    }

    /// `pte_flags_need_flush`: a TLB that has the old bits allows what the new ones do not.
    pub fn needs_flush(self, new: Bits) -> bool {
        self.read && !new.read || self.write && !new.write
    }
}

/// Kinds of migration entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Migration {
    Writable,
    ReadableExclusive,
    Readable,
}

/// A page table entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pte {
    None,
    Present {
        pfn: Pfn,
        bits: Bits,
    },
    Migration {
        pfn: Pfn,
        kind: Migration,
        dirty: bool,
    },
    /// `make_*_device_private_entry`.
    DevicePrivate {
        pfn: Pfn,
        write: bool,
    },
    /// `make_*_device_exclusive_entry`.
    DeviceExclusive {
        pfn: Pfn,
        write: bool,
    },
}

impl Pte {
    /// Whether it maps its page: present, or device-private.
    pub fn maps(self) -> bool {
        matches!(self, Pte::Present { .. } | Pte::DevicePrivate { .. })
    }
}

/// Index of a table in the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Table(u32);

/// A page middle directory entry. A huge one carries its deposited table
/// (`pgtable_trans_huge_deposit`), so that splitting it never allocates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pmd {
    None,
    Table(Table),
    Huge { pfn: Pfn, bits: Bits, deposit: Table },
    Migration { pfn: Pfn, kind: Migration, deposit: Table },
}

impl Pmd {
    /// `pmd_trans_huge` or `is_swap_pmd`.
    pub fn is_huge(self) -> bool {
        matches!(self, Pmd::Huge { .. } | Pmd::Migration { .. })
    }
}

/// All tables.
#[derive(Default)]
pub(crate) struct Tables {
    ptes: RefCell<Vec<Pte>>,
    free: RefCell<Vec<Table>>,
    /// Freed in the phase that runs: not used again before its end, so that a late look is seen.
    graves: RefCell<Vec<Table>>,
}

impl Tables {
    pub fn reset(&mut self) {
        self.ptes.get_mut().clear();
        self.free.get_mut().clear();
        self.graves.get_mut().clear();
    }
}

impl World {
    /// `pte_alloc_one`, without injection: an empty table.
    pub(crate) fn table_alloc(&self) -> Table {
        if let Some(table) = self.tables.free.borrow_mut().pop() {
            return table;
        }
        let mut ptes = self.tables.ptes.borrow_mut();
        let nr = usize::from(self.shape.ptes);
        let table = Table((ptes.len() / nr) as u32);
        let len = ptes.len() + nr;
        ptes.resize(len, Pte::None);
        table
    }

    /// `pte_free`: the table is empty.
    pub(crate) fn table_free(&self, table: Table) {
        let Tables { free, graves, .. } = &self.tables;
        if self.tracing.get() { graves } else { free }.borrow_mut().push(table);
    }

    /// The end of a phase: tables that it freed can be used again.
    pub(crate) fn tables_reuse(&self) {
        let Tables { free, graves, .. } = &self.tables;
        free.borrow_mut().append(&mut graves.borrow_mut());
    }

    /// A lockless walk reads a table: it must not have been freed.
    #[inline]
    pub(crate) fn check_table(&self, table: Table) {
        if self.tracing.get() && self.tables.graves.borrow().contains(&table) {
            self.report(Conduct::TableUseAfterFree);
        }
    }

    #[inline]
    pub(crate) fn pmd_number(&self, vpn: u32) -> u32 {
        vpn >> self.hpage_order()
    }

    /// Index of the page in its table.
    #[inline]
    pub(crate) fn pte_index(&self, vpn: u32) -> u32 {
        vpn & (u32::from(self.shape.ptes) - 1)
    }

    /// First page of a PMD.
    #[inline]
    pub(crate) fn pmd_start(&self, pmd: u32) -> u32 {
        pmd << self.hpage_order()
    }

    #[inline]
    pub(crate) fn pmd(&self, mm: MmId, pmd: u32) -> Pmd {
        let pmds = self.mm(mm).pmds.borrow();
        pmds.get(pmd as usize).copied().unwrap_or(Pmd::None)
    }

    pub(crate) fn set_pmd(&self, mm: MmId, pmd: u32, new: Pmd) {
        let old = {
            let mut pmds = self.mm(mm).pmds.borrow_mut();
            if pmds.len() <= pmd as usize {
                pmds.resize(pmd as usize + 1, Pmd::None);
            }
            std::mem::replace(&mut pmds[pmd as usize], new)
        };
        self.frames.add(self.pmd_term(mm, pmd, new).wrapping_sub(self.pmd_term(mm, pmd, old)));
        if matches!(old, Pmd::Huge { .. }) {
            let start = self.pmd_start(pmd);
            self.mirrors_invalidate(mm, start, start + u32::from(self.shape.ptes));
        }
    }

    #[inline]
    fn pmd_term(&self, mm: MmId, pmd: u32, value: Pmd) -> u64 {
        match value {
            Pmd::Table(_) => digest::table(mm, pmd),
            Pmd::Huge { pfn, bits, .. } => digest::huge(mm, pmd, self.entry_view(pfn, bits)),
            Pmd::None | Pmd::Migration { .. } => 0,
        }
    }

    #[inline]
    pub(crate) fn pte(&self, table: Table, vpn: u32) -> Pte {
        let at = (table.0 << self.hpage_order()) + self.pte_index(vpn);
        self.tables.ptes.borrow()[at as usize]
    }

    #[inline]
    pub(crate) fn set_pte(&self, mm: MmId, table: Table, vpn: u32, new: Pte) {
        let at = (table.0 << self.hpage_order()) + self.pte_index(vpn);
        let old = std::mem::replace(&mut self.tables.ptes.borrow_mut()[at as usize], new);
        self.frames.add(self.pte_term(mm, vpn, new).wrapping_sub(self.pte_term(mm, vpn, old)));
        if old != Pte::None && old != new {
            self.mirrors_invalidate(mm, vpn, vpn + 1);
        }
    }

    #[inline]
    pub(crate) fn pte_term(&self, mm: MmId, vpn: u32, pte: Pte) -> u64 {
        let view = match pte {
            Pte::None => return 0,
            // Most are: the term of a kind that is known is a few instructions.
            Pte::Present { pfn, bits } => self.entry_view(pfn, bits),
            _ => return self.rare_pte_term(mm, vpn, pte),
        };
        digest::entry(mm, vpn, view)
    }

    #[cold]
    fn rare_pte_term(&self, mm: MmId, vpn: u32, pte: Pte) -> u64 {
        self.pte_view(pte).map_or(0, |view| digest::entry(mm, vpn, view))
    }

    /// The PTE that translates the page, through its table; none if there is no table.
    pub(crate) fn lookup_pte(&self, mm: MmId, vpn: u32) -> Pte {
        match self.pmd(mm, self.pmd_number(vpn)) {
            Pmd::Table(table) => self.pte(table, vpn),
            _ => Pte::None,
        }
    }

    #[inline]
    pub(crate) fn page_ref(&self, pfn: Pfn) -> PageRef {
        if pfn == ZERO_PFN {
            return PageRef::Zero;
        }
        let head = self.frames.head(pfn);
        PageRef::Of(self.frames.name(head), pfn.0 - head.0)
    }

    #[inline]
    pub(crate) fn entry_view(&self, pfn: Pfn, bits: Bits) -> EntryView {
        let Bits { read, write, dirty } = bits;
        EntryView { kind: EntryKind::Present, page: self.page_ref(pfn), read, write, dirty }
    }

    /// A PTE as both sides call it.
    #[inline]
    pub(crate) fn pte_view(&self, pte: Pte) -> Option<EntryView> {
        let (kind, pfn, write, dirty) = match pte {
            Pte::None => return None,
            Pte::Present { pfn, bits } => return Some(self.entry_view(pfn, bits)),
            Pte::Migration { pfn, kind, dirty } => {
                let exclusive = kind == Migration::ReadableExclusive;
                let write = kind == Migration::Writable;
                (EntryKind::Migration { exclusive }, pfn, write, dirty)
            }
            Pte::DevicePrivate { pfn, write } => (EntryKind::DevicePrivate, pfn, write, false),
            Pte::DeviceExclusive { pfn, write } => (EntryKind::DeviceExclusive, pfn, write, false),
        };
        Some(EntryView { kind, page: self.page_ref(pfn), read: false, write, dirty })
    }
}
