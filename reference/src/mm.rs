//! An address space: a map from virtual page to entry, and which PMDs hold a table.

use program::digest;
use program::{Device, EntryKind, MmId, Place};

use crate::folio::Owner;
use crate::ledger::FolioId;
use crate::state::State;
use crate::vma::Vma;

/// What an entry maps or a handle holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Page {
    /// The shared zero page.
    Zero,
    /// Page `.1` of a folio.
    Of(FolioId, u32),
}

/// A PTE that is not none, or a huge PMD (which maps page 0 of its folio).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub kind: EntryKind,
    pub page: Page,
    pub read: bool,
    pub write: bool,
    /// Only in shared mappings of regular files (decision 9).
    pub dirty: bool,
    /// The device whose page table maps the page of this device-exclusive entry.
    pub device: Option<Device>,
}

impl Entry {
    /// A present entry that is not dirty.
    pub fn present(page: Page, read: bool, write: bool) -> Entry {
        Entry { kind: EntryKind::Present, page, read, write, dirty: false, device: None }
    }

    pub fn is_present(&self) -> bool {
        self.kind == EntryKind::Present
    }

    /// The relation of an entry at `vpn` to its folio (B2).
    fn owner(&self, mm: MmId, vpn: u32) -> Option<(FolioId, Owner)> {
        let Page::Of(folio, sub) = self.page else { return None };
        let owner = match self.kind {
            EntryKind::Present | EntryKind::DevicePrivate => Owner::Pte { mm, vpn, sub },
            EntryKind::Migration { .. } => Owner::MigrationPte { mm, vpn },
            EntryKind::DeviceExclusive => Owner::ExclusivePte { mm, vpn },
        };
        Some((folio, owner))
    }

    /// The same of a huge one.
    fn huge_owner(&self, mm: MmId, pmd: u32) -> Option<(FolioId, Owner)> {
        let Page::Of(folio, _) = self.page else { return None };
        let owner = match self.kind {
            EntryKind::Migration { .. } => Owner::MigrationPmd { mm, pmd },
            _ => Owner::Pmd { mm, pmd },
        };
        Some((folio, owner))
    }
}

/// What hangs below a PMD.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Pmd {
    #[default]
    None,
    /// A page table, possibly empty.
    Table,
    /// A huge entry.
    Huge(Entry),
}

/// What an address translates to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapped {
    /// The entry, with the very page of the address.
    pub entry: Entry,
    /// Through a huge PMD.
    pub huge: bool,
}

#[derive(Default, Debug)]
pub(crate) struct Mm {
    pub live: bool,
    pub has_pinned: bool,
    /// In address order.
    pub vmas: Vec<Vma>,
    pub pmds: Vec<Pmd>,
    pub entries: Vec<Option<Entry>>,
}

impl Clone for Mm {
    fn clone(&self) -> Mm {
        let Mm { live, has_pinned, .. } = *self;
        let (vmas, pmds) = (self.vmas.clone(), self.pmds.clone());
        Mm { live, has_pinned, vmas, pmds, entries: self.entries.clone() }
    }

    /// Reuses allocations. What is not live is empty.
    fn clone_from(&mut self, other: &Mm) {
        (self.live, self.has_pinned) = (other.live, other.has_pinned);
        if other.live {
            self.vmas.clone_from(&other.vmas);
            self.pmds.clone_from(&other.pmds);
            self.entries.clone_from(&other.entries);
        } else {
            self.clear();
        }
    }
}

impl Mm {
    pub fn clear(&mut self) {
        (self.live, self.has_pinned) = (false, false);
        self.vmas.clear();
        self.pmds.clear();
        self.entries.clear();
    }

    /// The first page in the range, which is addressable, that has an entry.
    pub fn first_entry(&self, start: u32, end: u32) -> Option<u32> {
        let pages = &self.entries[start as usize..end as usize];
        pages.iter().position(Option::is_some).map(|at| start + at as u32)
    }

    /// Makes pages below `end` addressable.
    pub fn cover(&mut self, end: u32, ptes: u32) {
        let pmds = end.div_ceil(ptes).max(self.pmds.len() as u32);
        self.pmds.resize(pmds as usize, Pmd::None);
        self.entries.resize((pmds * ptes) as usize, None);
    }
}

/// The PMDs that `start..end` touches: number and the touched pages.
pub(crate) fn pmds(start: u32, end: u32, ptes: u32) -> impl Iterator<Item = (u32, u32, u32)> {
    (start / ptes..end.div_ceil(ptes))
        .map(move |pmd| (pmd, start.max(pmd * ptes), end.min((pmd + 1) * ptes)))
}

impl State {
    pub fn mm(&self, mm: MmId) -> &Mm {
        &self.mms[usize::from(mm.0)]
    }

    pub fn mm_mut(&mut self, mm: MmId) -> &mut Mm {
        &mut self.mms[usize::from(mm.0)]
    }

    pub fn is_live(&self, mm: MmId) -> bool {
        self.mms.get(usize::from(mm.0)).is_some_and(|mm| mm.live)
    }

    /// A new, empty address space.
    pub fn create_mm(&mut self, mm: MmId) {
        while self.mms.len() <= usize::from(mm.0) {
            self.mms.push(Mm::default());
        }
        self.mm_mut(mm).clear();
        self.mm_mut(mm).live = true;
        self.ledger.add(digest::mm(mm));
    }

    /// MMF_HAS_PINNED, sticky (decision 23).
    pub fn set_has_pinned(&mut self, mm: MmId) {
        if !std::mem::replace(&mut self.mm_mut(mm).has_pinned, true) {
            self.ledger.add(digest::has_pinned(mm));
        }
    }

    pub fn entry(&self, mm: MmId, vpn: u32) -> Option<Entry> {
        self.mm(mm).entries.get(vpn as usize).copied().flatten()
    }

    pub fn pmd(&self, mm: MmId, pmd: u32) -> Pmd {
        self.mm(mm).pmds.get(pmd as usize).copied().unwrap_or_default()
    }

    /// Writes a PTE; the relation to its page begins or ends with it (B2).
    pub fn set_entry(&mut self, mm: MmId, vpn: u32, new: Option<Entry>) {
        let old = std::mem::replace(&mut self.mm_mut(mm).entries[vpn as usize], new);
        if let Some(entry) = new {
            self.ledger.add(digest::entry(mm, vpn, self.ledger.view(entry)));
        }
        if let Some(entry) = old {
            self.ledger.sub(digest::entry(mm, vpn, self.ledger.view(entry)));
        }
        let relation = |entry: Option<Entry>| entry.and_then(|entry| entry.owner(mm, vpn));
        let (old, new) = (relation(old), relation(new));
        if old == new {
            return;
        }
        if let Some((folio, owner)) = new {
            self.ledger.relate(folio, owner);
        }
        if let Some((folio, owner)) = old {
            self.ledger.unrelate(folio, owner);
        }
    }

    /// Writes a PMD. Entries of a table are the caller's business.
    pub fn set_pmd(&mut self, mm: MmId, pmd: u32, new: Pmd) {
        let old = std::mem::replace(&mut self.mm_mut(mm).pmds[pmd as usize], new);
        match new {
            Pmd::None => {}
            Pmd::Table => self.ledger.add(digest::table(mm, pmd)),
            Pmd::Huge(entry) => {
                self.ledger.add(digest::huge(mm, pmd, self.ledger.view(entry)));
                if let Some((folio, owner)) = entry.huge_owner(mm, pmd) {
                    self.ledger.relate(folio, owner);
                }
            }
        }
        match old {
            Pmd::None => {}
            Pmd::Table => self.ledger.sub(digest::table(mm, pmd)),
            Pmd::Huge(entry) => {
                self.ledger.sub(digest::huge(mm, pmd, self.ledger.view(entry)));
                if let Some((folio, owner)) = entry.huge_owner(mm, pmd) {
                    self.ledger.unrelate(folio, owner);
                }
            }
        }
    }

    /// What page `vpn` is mapped to, if anything.
    pub fn translate(&self, mm: MmId, vpn: u32) -> Option<Mapped> {
        match self.pmd(mm, vpn / self.ptes) {
            Pmd::None => None,
            Pmd::Table => {
                let entry = self.entry(mm, vpn).filter(Entry::is_present)?;
                Some(Mapped { entry, huge: false })
            }
            Pmd::Huge(entry) if !entry.is_present() => None,
            Pmd::Huge(mut entry) => {
                if let Page::Of(_, sub) = &mut entry.page {
                    *sub = vpn % self.ptes;
                }
                Some(Mapped { entry, huge: true })
            }
        }
    }

    /// The folio mapped at `vpn` by an entry of any protection; none for the zero page.
    pub fn folio_at(&self, mm: MmId, vpn: u32) -> Option<FolioId> {
        match self.translate(mm, vpn)?.entry.page {
            Page::Zero => None,
            Page::Of(folio, _) => Some(folio),
        }
    }

    /// Whether it maps an anonymous page with PageAnonExclusive: the head's bit under a huge PMD
    /// (K15). None if it maps no anonymous page.
    pub fn anon_exclusive(&self, mapped: Mapped) -> Option<bool> {
        let Page::Of(folio, sub) = mapped.entry.page else { return None };
        let folio = self.ledger.folio(folio);
        let sub = if mapped.huge { 0 } else { sub };
        folio.anon.then(|| folio.pages[sub as usize].exclusive)
    }

    /// Capacity of a place.
    pub fn capacity(&self, place: Place) -> u32 {
        self.shape.pages[place as usize]
    }
}
