//! One folio: its relations, and the questions that derive counts from them (B1, B2).

use program::digest::{self, Name};
use program::{HandleId, LockId, MmId, ObjectId, Place, TaskId};

use crate::mm_ids::MmIds;
use crate::state::reuse_clone;

/// References of one FOLL_PIN of an order-0 page (GUP_PIN_COUNTING_BIAS).
pub(crate) const PIN_BIAS: u64 = 1024;

/// One relation: who holds the folio. The rows of table B2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// A PTE maps page `sub`.
    Pte { mm: MmId, vpn: u32, sub: u32 },
    /// A huge PMD maps the whole folio.
    Pmd { mm: MmId, pmd: u32 },
    /// Resident in the page cache.
    Cache { object: ObjectId, index: u32 },
    /// In the lru_add batch of a CPU.
    Batch { cpu: u8 },
    /// One page of a FOLL_GET handle.
    Get { handle: HandleId },
    /// One page of a FOLL_PIN handle.
    Pin { handle: HandleId },
    /// A migration entry: neither a reference nor a mapping.
    MigrationPte { mm: MmId, vpn: u32 },
    /// A huge one.
    MigrationPmd { mm: MmId, pmd: u32 },
    /// A device-exclusive entry: a reference alone.
    ExclusivePte { mm: MmId, vpn: u32 },
    /// Source or destination of an open device migration: isolated or fresh, and PG_locked.
    Migration { task: TaskId },
    /// A `lock_page`: PG_locked, and the locker's reference.
    Lock { lock: LockId, task: TaskId },
    /// The running operation: isolation, or the reference of a split's caller.
    Operation,
    /// A transient reference or pin of an operation that runs beside others.
    Hold { pin: bool },
}

/// What is known of one page of a folio besides its mappings.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Content {
    /// PageAnonExclusive.
    pub exclusive: bool,
    /// What it holds; 0 = never written.
    pub data: u64,
}

#[derive(Default, Debug)]
pub(crate) struct Folio {
    pub live: bool,
    pub name: Name,
    pub order: u8,
    pub place: Place,
    pub anon: bool,
    pub lru: bool,
    pub dirty: bool,
    /// Decision 6: on the deferred split list. Not compared.
    pub partially_mapped: bool,
    /// Its block is being offlined. Not compared.
    pub isolated: bool,
    /// Kept for large folios. Not compared.
    pub mm_ids: MmIds,
    /// How many folios were born before it.
    pub age: u64,
    pub owners: Vec<Owner>,
    pub pages: Vec<Content>,
}
reuse_clone!(Folio {
    live,
    name,
    order,
    place,
    anon,
    lru,
    dirty,
    partially_mapped,
    isolated,
    mm_ids,
    age,
    owners,
    pages,
});

impl Owner {
    /// The mm of a mapping.
    pub fn mm(self) -> Option<MmId> {
        match self {
            Owner::Pte { mm, .. } | Owner::Pmd { mm, .. } => Some(mm),
            _ => None,
        }
    }
}

impl Folio {
    /// References and other terms that one relation adds to the digest.
    #[inline(always)]
    pub fn term(&self, owner: Owner) -> u64 {
        let name = self.name;
        let references = digest::reference(name).wrapping_mul(self.weight(owner));
        references.wrapping_add(match owner {
            Owner::Pte { sub, .. } => digest::mapping(name, sub),
            Owner::Pmd { .. } => digest::entire_mapping(name),
            Owner::Cache { object, index } => digest::cache(object, index, name),
            Owner::Batch { cpu } => digest::batch(name, cpu),
            Owner::Pin { .. } | Owner::Hold { pin: true } if self.order > 0 => digest::pin(name),
            Owner::Lock { lock, task } => {
                digest::lock(lock, name).wrapping_add(digest::locked(name, task))
            }
            Owner::Migration { task } => digest::locked(name, task),
            Owner::MigrationPte { .. } | Owner::MigrationPmd { .. } => 0,
            Owner::ExclusivePte { .. } => 0,
            Owner::Get { .. } | Owner::Pin { .. } | Owner::Operation | Owner::Hold { .. } => 0,
        })
    }

    /// B2, column refcount.
    fn weight(&self, owner: Owner) -> u64 {
        match owner {
            Owner::Pin { .. } | Owner::Hold { pin: true } if self.order == 0 => PIN_BIAS,
            Owner::MigrationPte { .. } | Owner::MigrationPmd { .. } => 0,
            _ => 1,
        }
    }

    fn count(&self, counts: impl Fn(Owner) -> bool) -> u32 {
        self.owners.iter().filter(|owner| counts(**owner)).count() as u32
    }

    /// `folio_ref_count`.
    pub fn refcount(&self) -> u64 {
        self.owners.iter().map(|owner| self.weight(*owner)).sum()
    }

    /// `folio_mapcount`: PTE and PMD mappings of the folio (decision 7).
    pub fn mapcount(&self) -> u64 {
        u64::from(self.count(|owner| owner.mm().is_some()))
    }

    /// `_entire_mapcount`.
    pub fn entire_mapcount(&self) -> u32 {
        self.count(|owner| matches!(owner, Owner::Pmd { .. }))
    }

    /// `_mapcount` of one page.
    pub fn page_mapcount(&self, page: u32) -> u32 {
        self.count(|owner| matches!(owner, Owner::Pte { sub, .. } if sub == page))
    }

    /// `_pincount`, which only large folios have.
    pub fn pincount(&self) -> u32 {
        let pins =
            self.count(|owner| matches!(owner, Owner::Pin { .. } | Owner::Hold { pin: true }));
        if self.order > 0 { pins } else { 0 }
    }

    /// `folio_maybe_dma_pinned` (B1).
    pub fn maybe_pinned(&self) -> bool {
        if self.order > 0 { self.pincount() > 0 } else { self.refcount() >= PIN_BIAS }
    }

    /// Holder of PG_locked.
    pub fn locked(&self) -> Option<TaskId> {
        self.owners.iter().find_map(|owner| match owner {
            Owner::Lock { task, .. } | Owner::Migration { task } => Some(*task),
            _ => None,
        })
    }

    /// Whether an operation in the mm can come upon it: through an entry or the page cache.
    pub fn is_reached_from(&self, from: MmId) -> bool {
        self.owners.iter().any(|owner| match *owner {
            Owner::Pte { mm, .. } | Owner::Pmd { mm, .. } => mm == from,
            Owner::MigrationPte { mm, .. } | Owner::ExclusivePte { mm, .. } => mm == from,
            Owner::Cache { .. } => true,
            _ => false,
        })
    }

    /// Whether it is in the page cache of a shmem object.
    pub fn is_shmem(&self) -> bool {
        matches!(self.cached(), Some((ObjectId::Shmem(_), _)))
    }

    /// Where it is in the page cache.
    pub fn cached(&self) -> Option<(ObjectId, u32)> {
        self.owners.iter().find_map(|owner| match owner {
            Owner::Cache { object, index } => Some((*object, *index)),
            _ => None,
        })
    }

    /// Whether some page is mapped and another is not.
    pub fn is_partially_mapped(&self) -> bool {
        let mut mapped = [0u64; 8];
        for owner in &self.owners {
            match *owner {
                Owner::Pmd { .. } => return false,
                Owner::Pte { sub, .. } => mapped[sub as usize / 64] |= 1 << (sub % 64),
                _ => {}
            }
        }
        let mapped: u32 = mapped.iter().map(|word| word.count_ones()).sum();
        0 < mapped && mapped < self.pages.len() as u32
    }
}

/// Mappings of each page of a folio, for `__folio_remove_rmap`.
pub(crate) struct Mapcounts {
    /// By PTEs.
    pages: Vec<u32>,
    /// Pages of which that is not 0 (`_nr_pages_mapped`).
    mapped: usize,
    /// By PMDs.
    entire: u32,
}

impl Mapcounts {
    pub fn of(folio: &Folio) -> Mapcounts {
        let mut pages = vec![0; folio.pages.len()];
        let mut entire = 0;
        for owner in &folio.owners {
            match *owner {
                Owner::Pte { sub, .. } => pages[sub as usize] += 1,
                Owner::Pmd { .. } => entire += 1,
                _ => {}
            }
        }
        let mapped = pages.iter().filter(|&&count| count > 0).count();
        Mapcounts { pages, mapped, entire }
    }

    /// Some page is mapped and another is not.
    fn is_partial(&self) -> bool {
        self.entire == 0 && 0 < self.mapped && self.mapped < self.pages.len()
    }

    /// One mapping less, of one page or of all: whether that leaves the folio partially mapped. A
    /// page that is still mapped elsewhere tells nothing.
    pub fn remove(&mut self, sub: Option<u32>) -> bool {
        let last = match sub {
            Some(sub) => {
                let count = &mut self.pages[sub as usize];
                *count -= 1;
                self.mapped -= usize::from(*count == 0);
                *count == 0
            }
            None => {
                self.entire -= 1;
                true
            }
        };
        last && self.is_partial()
    }
}
