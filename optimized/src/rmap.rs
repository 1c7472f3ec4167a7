//! Reverse mapping (kernel: `mm/rmap.c`).

use program::{MmId, ObjectId, Span};

use crate::coverage::Path;
use crate::folio::Foll;
use crate::frame::{Mapping, Pfn};
use crate::gup::GupFlags;
use crate::pgtable::{Bits, Migration, Pmd, Pte, Table};
use crate::world::{Cx, World};

/// One place that maps a folio or has another entry for it (`page_vma_mapped_walk`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Walked {
    Pmd { mm: MmId, pmd: u32 },
    Pte { mm: MmId, table: Table, vpn: u32 },
}

impl World {
    /// `folio_remove_rmap_pte`: the page loses one PTE mapping; the reference stays.
    pub(crate) fn folio_remove_rmap_pte(&self, pfn: Pfn) {
        self.counted(self.frames.map_add(pfn, -1));
        let head = self.frames.head(pfn);
        if self.frames.page_mapcount(pfn) == 0 && self.frames.entire_mapcount(head) == 0 {
            self.note_partially_mapped(head);
        }
    }

    /// `folio_remove_rmap_pmd`.
    pub(crate) fn folio_remove_rmap_pmd(&self, head: Pfn) {
        self.counted(self.frames.entire_map_add(head, -1));
        if self.frames.entire_mapcount(head) == 0 {
            let pages = 0..self.frames.nr_pages(head);
            if pages.into_iter().any(|i| self.frames.page_mapcount(Pfn(head.0 + i)) == 0) {
                self.note_partially_mapped(head);
            }
        }
    }

    /// `deferred_split_folio(folio, true)` when a page was unmapped and others stay mapped.
    fn note_partially_mapped(&self, head: Pfn) {
        let mapped = self.frames.mapcount(head) > 0;
        if mapped && self.frames.large(head) && self.frames.anon(head) {
            self.frames.set_partially_mapped(head, true);
        }
    }

    /// `rmap_walk`: every entry of every mm for `head`, also those that do not map it.
    pub(crate) fn rmap_walk(&self, head: Pfn) -> Vec<Walked> {
        let mut found = Vec::new();
        let nr = self.frames.nr_pages(head);
        for mm in self.live_mms() {
            for vma in self.mm(mm).vmas.borrow().iter() {
                let index = match self.frames.mapping(head) {
                    Mapping::Anon(anon_vma, index) => {
                        let of = vma.anon_vma;
                        of.is_some_and(|of| self.anon_vma_covers(anon_vma, of)).then_some(index)
                    }
                    Mapping::File(object, index) => {
                        (vma.flags.object == Some(object)).then_some(index)
                    }
                    Mapping::None => None,
                };
                let Some(index) = index else { continue };
                for sub in 0..nr {
                    let offset = (index + sub).wrapping_sub(vma.pgoff);
                    if offset >= vma.end - vma.start {
                        continue;
                    }
                    self.walk_one(mm, vma.start + offset, Pfn(head.0 + sub), sub, &mut found);
                }
            }
        }
        found
    }

    fn walk_one(&self, mm: MmId, vpn: u32, page: Pfn, sub: u32, found: &mut Vec<Walked>) {
        let pmd = self.pmd_number(vpn);
        match self.pmd(mm, pmd) {
            Pmd::Huge { pfn, .. } | Pmd::Migration { pfn, .. }
                if pfn == self.frames.head(page) && sub == 0 =>
            {
                found.push(Walked::Pmd { mm, pmd });
            }
            Pmd::Table(table) => match self.pte(table, vpn) {
                Pte::Present { pfn, .. }
                | Pte::Migration { pfn, .. }
                | Pte::DevicePrivate { pfn, .. }
                | Pte::DeviceExclusive { pfn, .. }
                    if pfn == page =>
                {
                    found.push(Walked::Pte { mm, table, vpn });
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// `try_to_migrate`: replaces every mapping by a migration entry. False (with some mappings
    /// perhaps replaced already) when an exclusive page is pinned: it must stay mapped.
    pub(crate) async fn try_to_migrate(&self, cx: &Cx, head: Pfn, split_pmds: bool) -> bool {
        if split_pmds {
            for walked in self.rmap_walk(head) {
                if let Walked::Pmd { mm, pmd } = walked {
                    self.split_huge_pmd(cx, mm, pmd).await;
                }
            }
        }
        let pinned = self.folio_maybe_dma_pinned(head);
        for walked in self.rmap_walk(head) {
            let mm = match walked {
                Walked::Pmd { mm, .. } | Walked::Pte { mm, .. } => mm,
            };
            self.ptl_lock(cx, mm).await;
            let done = match walked {
                Walked::Pmd { mm, pmd } => self.set_pmd_migration_entry(mm, pmd, pinned),
                Walked::Pte { mm, table, vpn } => {
                    self.set_pte_migration_entry(mm, table, vpn, pinned)
                }
            };
            self.ptl_unlock(cx, mm);
            if !done {
                return false;
            }
        }
        true
    }

    /// Replaces one mapping by a migration entry (device-exclusive entries are passed over: they
    /// map nothing). False if it may be pinned: it stays.
    pub(crate) fn set_pte_migration_entry(
        &self,
        mm: MmId,
        table: Table,
        vpn: u32,
        pinned: bool,
    ) -> bool {
        let (pfn, bits, private) = match self.pte(table, vpn) {
            Pte::Present { pfn, bits } => (pfn, bits, false),
            Pte::DevicePrivate { pfn, write } => {
                (pfn, Bits { read: false, write, dirty: false }, true)
            }
            _ => return true,
        };
        let old = self.pte(table, vpn);
        let head = self.frames.head(pfn);
        // Clear the entry first, then look for pins, as against GUP-fast.
        self.set_pte(mm, table, vpn, Pte::None);
        let exclusive = self.frames.anon(head) && self.frames.exclusive(pfn);
        if exclusive && pinned && !private {
            self.set_pte(mm, table, vpn, old);
            return false;
        }
        if exclusive {
            self.frames.set_exclusive(pfn, false);
        }
        let kind = migration_kind(bits, exclusive);
        if bits.dirty {
            self.frames.set_dirty(head);
        }
        self.set_pte(mm, table, vpn, Pte::Migration { pfn, kind, dirty: bits.dirty });
        self.counted(self.frames.map_add(pfn, -1));
        self.folio_put(head);
        true
    }

    fn set_pmd_migration_entry(&self, mm: MmId, pmd: u32, pinned: bool) -> bool {
        let Pmd::Huge { pfn, bits, deposit } = self.pmd(mm, pmd) else { return true };
        self.set_pmd(mm, pmd, Pmd::None);
        let exclusive = self.frames.exclusive(pfn);
        if exclusive && pinned {
            self.set_pmd(mm, pmd, Pmd::Huge { pfn, bits, deposit });
            return false;
        }
        if exclusive {
            self.frames.set_exclusive(pfn, false);
        }
        let kind = migration_kind(bits, exclusive);
        self.set_pmd(mm, pmd, Pmd::Migration { pfn, kind, deposit });
        self.counted(self.frames.entire_map_add(pfn, -1));
        self.folio_put(pfn);
        true
    }

    /// `remove_migration_ptes`: every migration entry for `src` becomes a mapping of `dst`.
    pub(crate) async fn remove_migration_ptes(&self, cx: &Cx, src: Pfn, dst: Pfn) {
        for walked in self.rmap_walk(src) {
            match walked {
                Walked::Pmd { mm, pmd } => {
                    self.ptl_lock(cx, mm).await;
                    self.remove_migration_pmd(mm, pmd, dst);
                    self.ptl_unlock(cx, mm);
                }
                Walked::Pte { mm, table, vpn } => {
                    self.ptl_lock(cx, mm).await;
                    if let Pte::Migration { pfn, .. } = self.pte(table, vpn) {
                        let new = Pfn(dst.0 + (pfn.0 - src.0));
                        self.remove_migration_pte(mm, table, vpn, new);
                    }
                    self.ptl_unlock(cx, mm);
                }
            }
        }
    }

    /// `remove_migration_pte` for one entry, to page `new`.
    pub(crate) fn remove_migration_pte(&self, mm: MmId, table: Table, vpn: u32, new: Pfn) {
        let Pte::Migration { kind, dirty, .. } = self.pte(table, vpn) else { return };
        let head = self.frames.head(new);
        let bits = self.restored_bits(mm, vpn, kind, dirty && self.frames.dirty(head));
        self.folio_get(head);
        self.counted(self.frames.map_add(new, 1));
        if self.frames.anon(head) && kind != Migration::Readable {
            self.frames.set_exclusive(new, true);
        }
        let pte = match self.is_device_private(head) {
            true => Pte::DevicePrivate { pfn: new, write: bits.write },
            false => Pte::Present { pfn: new, bits },
        };
        self.set_pte(mm, table, vpn, pte);
    }

    fn remove_migration_pmd(&self, mm: MmId, pmd: u32, new: Pfn) {
        let Pmd::Migration { kind, deposit, .. } = self.pmd(mm, pmd) else { return };
        let bits = self.restored_bits(mm, self.pmd_start(pmd), kind, false);
        self.folio_get(new);
        self.counted(self.frames.entire_map_add(new, 1));
        if kind != Migration::Readable {
            self.frames.set_exclusive(new, true);
        }
        self.set_pmd(mm, pmd, Pmd::Huge { pfn: new, bits, deposit });
    }

    fn restored_bits(&self, mm: MmId, vpn: u32, kind: Migration, dirty: bool) -> Bits {
        let vma = self.vma_lookup(mm, vpn);
        let prot = vma.as_ref().map_or(Bits { read: true, write: false, dirty }, |vma| {
            let shmem = matches!(vma.flags.object, Some(ObjectId::Shmem(_)));
            let write = shmem && vma.flags.shared && vma.writable();
            Bits { read: vma.readable(), write, dirty }
        });
        Bits { write: prot.write || kind == Migration::Writable, ..prot }
    }

    /// `make_device_exclusive_range`: the pages that GUP found, each locked and referenced if it
    /// is exclusive now.
    pub(crate) async fn make_device_exclusive_range(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
    ) -> Vec<Option<Pfn>> {
        let get: Foll = Some(program::Foll::Get);
        let flags = GupFlags { write: true, foll: get, split_pmd: true, ..GupFlags::default() };
        let mut pages = Vec::new();
        if self.get_user_pages(cx, mm, span, flags, &mut pages).await.is_err() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (vpn, page) in (span.start..).zip(pages) {
            let head = self.frames.head(page);
            let tail = page != head;
            if tail || !self.folio_trylock(cx, head) {
                self.hit(Path::ExclusiveFailed);
                self.folio_put(head);
                found.push(None);
            } else if !self.folio_make_device_exclusive(cx, head, mm, vpn).await {
                self.hit(Path::ExclusiveFailed);
                self.folio_unlock(cx, head);
                self.folio_put(head);
                found.push(None);
            } else {
                found.push(Some(page));
            }
        }
        found
    }

    /// `folio_make_device_exclusive`: every PTE of the folio becomes a device-exclusive entry;
    /// whether the one at the address was writable and none is left.
    async fn folio_make_device_exclusive(&self, cx: &Cx, head: Pfn, mm: MmId, vpn: u32) -> bool {
        if !self.frames.anon(head) {
            return false;
        }
        let mut valid = false;
        for walked in self.rmap_walk(head) {
            let Walked::Pte { mm: of, table, vpn: at } = walked else { break };
            self.ptl_lock(cx, of).await;
            let pte = self.pte(table, at);
            if let Pte::Present { pfn, bits } = pte {
                self.hit(Path::MadeExclusive);
                valid |= (of, at) == (mm, vpn) && bits.write;
                let entry = Pte::DeviceExclusive { pfn, write: bits.write };
                self.set_pte(of, table, at, Pte::None);
                self.set_pte(of, table, at, entry);
                self.folio_remove_rmap_pte(pfn);
            }
            self.ptl_unlock(cx, of);
            if !matches!(pte, Pte::Present { .. }) {
                break;
            }
        }
        valid && self.frames.mapcount(head) == 0
    }
}

fn migration_kind(bits: Bits, exclusive: bool) -> Migration {
    match (bits.write, exclusive) {
        (true, _) => Migration::Writable,
        (false, true) => Migration::ReadableExclusive,
        (false, false) => Migration::Readable,
    }
}
