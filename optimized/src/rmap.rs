//! Reverse mapping (kernel: `mm/rmap.c`).

use program::{DeviceMark, Mark, MmId, ObjectId, Seen, Span};

use crate::coverage::Path;
use crate::defects::Defect;
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

/// Pages of a VMA below one PMD where pages `sub` and following of a folio belong.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    mm: MmId,
    /// Index of the VMA's first page: the interval tree's key.
    pgoff: u32,
    vpn: u32,
    sub: u32,
    pages: u32,
}

const RMAP_LOCK: &str = "i_mmap_rwsem or anon_vma lock";

#[twice]
impl World {
    /// `folio_remove_rmap_pte`: the page loses one PTE mapping; the reference stays.
    pub(crate) fn folio_remove_rmap_pte(&self, pfn: Pfn) {
        self.map_add(pfn, -1);
        let head = self.frames.head(pfn);
        if self.frames.page_mapcount(pfn) == 0 && self.frames.entire_mapcount(head) == 0 {
            self.note_partially_mapped(head);
        }
    }

    /// `folio_remove_rmap_pmd`.
    pub(crate) fn folio_remove_rmap_pmd(&self, head: Pfn) {
        self.entire_map_add(head, -1);
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

    /// Where pages of `head` belong, mapped or not: the VMAs of `rmap_walk` in its order, cut at
    /// PMDs. Of equal ones parents come before their children. The list goes back to `self.rmap_list`.
    fn rmap_pieces(&self, head: Pfn) -> Vec<Piece> {
        let mut pieces = self.rmap_list.take();
        pieces.clear();
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
                    let vpn = vma.start + offset;
                    // Two VMAs of an mm that have pages of a folio begin at different indices.
                    let same = |last: &&mut Piece| {
                        let next = (last.mm, last.pgoff, last.vpn + last.pages);
                        next == (mm, vma.pgoff, vpn) && self.pte_index(vpn) != 0
                    };
                    match pieces.last_mut().filter(same) {
                        Some(last) => last.pages += 1,
                        None => {
                            pieces.push(Piece { mm, pgoff: vma.pgoff, vpn, sub, pages: 1 });
                        }
                    }
                }
            }
        }
        if !pieces.is_sorted_by_key(|piece| piece.pgoff) {
            pieces.sort_by_key(|piece| piece.pgoff);
        }
        pieces
    }

    /// The entries of a piece for `head`, until `each` has seen enough; whether it has not.
    fn rmap_piece(&self, head: Pfn, piece: Piece, each: &mut impl FnMut(Walked) -> bool) -> bool {
        let Piece { mm, vpn, sub, pages, .. } = piece;
        let pmd = self.pmd_number(vpn);
        match self.pmd(mm, pmd) {
            Pmd::Huge { pfn, .. } | Pmd::Migration { pfn, .. } if pfn == head && sub == 0 => {
                each(Walked::Pmd { mm, pmd })
            }
            Pmd::Table(table) => (0..pages).all(|i| match self.pte(table, vpn + i) {
                Pte::Present { pfn, .. }
                | Pte::Migration { pfn, .. }
                | Pte::DevicePrivate { pfn, .. }
                | Pte::DeviceExclusive { pfn, .. }
                    if pfn.0 == head.0 + sub + i =>
                {
                    each(Walked::Pte { mm, table, vpn: vpn + i })
                }
                _ => true,
            }),
            _ => true,
        }
    }

    /// Every entry of every mm for `head`, also those that do not map it, as they are now.
    pub(crate) fn rmap_entries(&self, head: Pfn) -> Vec<Walked> {
        let mut found = Vec::new();
        let pieces = self.rmap_pieces(head);
        for &piece in &pieces {
            self.rmap_piece(head, piece, &mut |walked| {
                found.push(walked);
                true
            });
        }
        self.rmap_list.set(pieces);
        found
    }

    /// `rmap_walk_locked`: the entries for `head`, each piece under its PTL; whether `each` saw
    /// all of them. TTU_SPLIT_HUGE_PMD: huge ones are split first.
    async fn rmap_walk_locked(
        &self,
        cx: &Cx,
        head: Pfn,
        split_pmds: bool,
        mut each: impl FnMut(Walked) -> bool,
    ) -> bool {
        let pieces = self.rmap_pieces(head);
        let mut more = true;
        for &piece in &pieces {
            self.ptl_lock(cx, piece.mm).await;
            if split_pmds {
                self.rmap_piece(head, piece, &mut |walked| {
                    if let Walked::Pmd { mm, pmd } = walked {
                        self.split_huge_pmd_locked(cx, mm, pmd);
                    }
                    true
                });
            }
            more = self.rmap_piece(head, piece, &mut each);
            self.ptl_unlock(cx, piece.mm);
            if !more {
                break;
            }
        }
        self.rmap_list.set(pieces);
        more
    }

    /// `anon_vma_lock_read`, `i_mmap_lock_read`: while it is held, no entry moves to where an rmap
    /// walk has been. One lock for all, where Linux has one for each tree of anon_vmas and each file.
    pub(crate) async fn rmap_lock_read(&self) {
        self.rmap_lock.read(&self.machine, RMAP_LOCK).await;
    }

    pub(crate) fn rmap_unlock_read(&self) {
        self.rmap_lock.read_unlock(&self.machine, RMAP_LOCK);
    }

    /// `anon_vma_lock_write`, `i_mmap_lock_write`.
    pub(crate) async fn rmap_lock_write(&self, cx: &Cx) {
        self.rmap_lock.write(&self.machine, cx.task, RMAP_LOCK).await;
    }

    pub(crate) fn rmap_unlock_write(&self, cx: &Cx) {
        self.rmap_lock.write_unlock(&self.machine, cx.task, RMAP_LOCK);
    }

    /// `try_to_migrate`: replaces every mapping by a migration entry. False (with some mappings
    /// perhaps replaced already) when an exclusive page is pinned: it must stay mapped.
    pub(crate) async fn try_to_migrate(&self, cx: &Cx, head: Pfn) -> bool {
        self.rmap_lock_read().await;
        let done = self.try_to_migrate_locked(cx, head, false).await;
        self.rmap_unlock_read();
        done
    }

    /// As [`World::try_to_migrate`], for whoever holds the rmap lock (TTU_RMAP_LOCKED).
    pub(crate) async fn try_to_migrate_locked(&self, cx: &Cx, head: Pfn, split_pmds: bool) -> bool {
        if self.has(Defect::ExclusiveClearedFirst) {
            self.clear_exclusive_first(head).await;
        }
        let mut batch = Vec::new();
        let one = |walked| {
            let (mm, span, done) = match walked {
                Walked::Pmd { mm, pmd } => {
                    let span = Span { start: self.pmd_start(pmd), end: self.pmd_start(pmd + 1) };
                    (mm, span, self.set_pmd_migration_entry(cx, mm, pmd))
                }
                Walked::Pte { mm, table, vpn } => {
                    let span = Span { start: vpn, end: vpn + 1 };
                    (mm, span, self.set_pte_migration_entry(cx, mm, table, vpn))
                }
            };
            if self.tracing.get() {
                batch.push((mm, span));
            }
            done
        };
        let done = self.rmap_walk_locked(cx, head, split_pmds, one).await;
        // try_to_unmap_flush: until then others may use, and write to, the old page.
        for (mm, span) in batch {
            self.flush_tlb_range(cx, mm, span).await;
        }
        done
    }

    /// The defect: PageAnonExclusive goes while the entries are there for GUP-fast to walk through, which
    /// asks no more of a writable one.
    async fn clear_exclusive_first(&self, head: Pfn) {
        if self.folio_maybe_dma_pinned(head) || !self.frames.anon(head) {
            return;
        }
        for walked in self.rmap_entries(head) {
            if let Walked::Pte { table, vpn, .. } = walked
                && let Pte::Present { pfn, bits: Bits { write: true, .. } } = self.pte(table, vpn)
            {
                self.frames.set_exclusive(pfn, false);
            }
        }
        self.machine.point().await;
    }

    /// Replaces one mapping by a migration entry (device-exclusive entries are passed over: they
    /// map nothing). False if it may be pinned: it stays.
    pub(crate) fn set_pte_migration_entry(
        &self,
        cx: &Cx,
        mm: MmId,
        table: Table,
        vpn: u32,
    ) -> bool {
        if !self.pte(table, vpn).maps() {
            return true;
        }
        let done = self.replace_by_migration_entry(mm, table, vpn);
        self.unmap_mark(cx, mm, vpn, done);
        done
    }

    /// As [`World::set_pte_migration_entry`], for a caller that has a mark of its own.
    pub(crate) fn replace_by_migration_entry(&self, mm: MmId, table: Table, vpn: u32) -> bool {
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
        if exclusive && !private && self.folio_maybe_dma_pinned(head) {
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
        self.folio_remove_rmap_pte(pfn);
        self.folio_put(head);
        true
    }

    /// A mapping became a migration entry, or did not because it may be pinned.
    fn unmap_mark(&self, cx: &Cx, mm: MmId, vpn: u32, done: bool) {
        self.mark(cx, || {
            let seen = if done { self.seen_entry(mm, vpn) } else { Seen::Flag(false) };
            (Mark::Unmap { mm, vpn }, seen)
        });
    }

    fn set_pmd_migration_entry(&self, cx: &Cx, mm: MmId, pmd: u32) -> bool {
        let Pmd::Huge { pfn, bits, deposit } = self.pmd(mm, pmd) else { return true };
        self.set_pmd(mm, pmd, Pmd::None);
        let exclusive = self.frames.exclusive(pfn);
        if exclusive && self.folio_maybe_dma_pinned(pfn) {
            self.set_pmd(mm, pmd, Pmd::Huge { pfn, bits, deposit });
            self.unmap_mark(cx, mm, self.pmd_start(pmd), false);
            return false;
        }
        if exclusive {
            self.frames.set_exclusive(pfn, false);
        }
        let kind = migration_kind(bits, exclusive);
        self.set_pmd(mm, pmd, Pmd::Migration { pfn, kind, deposit });
        self.folio_remove_rmap_pmd(pfn);
        self.folio_put(pfn);
        self.unmap_mark(cx, mm, self.pmd_start(pmd), true);
        true
    }

    /// `remove_migration_ptes`: every migration entry for `src` becomes a mapping of `dst`.
    pub(crate) async fn remove_migration_ptes(&self, cx: &Cx, src: Pfn, dst: Pfn) {
        self.rmap_lock_read().await;
        self.remove_migration_ptes_locked(cx, src, dst, false).await;
        self.rmap_unlock_read();
    }

    /// As [`World::remove_migration_ptes`], for whoever holds the rmap lock (RMP_LOCKED). `split`:
    /// a page of zeroes becomes the zero page (RMP_USE_SHARED_ZEROPAGE).
    pub(crate) async fn remove_migration_ptes_locked(
        &self,
        cx: &Cx,
        src: Pfn,
        dst: Pfn,
        split: bool,
    ) {
        let one = |walked| {
            match walked {
                Walked::Pmd { mm, pmd } => self.remove_migration_pmd(cx, mm, pmd, dst),
                Walked::Pte { mm, table, vpn } => {
                    if let Pte::Migration { pfn, .. } = self.pte(table, vpn) {
                        let new = Pfn(dst.0 + (pfn.0 - src.0));
                        self.remove_migration_pte(cx, mm, table, vpn, new, split);
                    }
                }
            }
            true
        };
        self.rmap_walk_locked(cx, src, false, one).await;
    }

    /// `remove_migration_pte` for one entry, to page `new`.
    fn remove_migration_pte(
        &self,
        cx: &Cx,
        mm: MmId,
        table: Table,
        vpn: u32,
        new: Pfn,
        split: bool,
    ) {
        let Pte::Migration { kind, dirty, .. } = self.pte(table, vpn) else { return };
        if split && self.frames.data(new) == 0 && !self.has(Defect::SplitKeepsZeroPages) {
            self.map_unused_to_zeropage(mm, table, vpn);
            return self.restore_mark(cx, mm, vpn, split);
        }
        let head = self.frames.head(new);
        let bits = self.restored_bits(mm, vpn, kind, dirty && self.frames.dirty(head));
        self.folio_get(head);
        self.map_add(new, 1);
        if self.frames.anon(head) && kind != Migration::Readable {
            self.frames.set_exclusive(new, true);
        }
        let pte = match self.is_device_private(head) {
            true => Pte::DevicePrivate { pfn: new, write: bits.write },
            false => Pte::Present { pfn: new, bits },
        };
        self.set_pte(mm, table, vpn, pte);
        self.restore_mark(cx, mm, vpn, split);
    }

    /// A migration entry became a mapping again.
    fn restore_mark(&self, cx: &Cx, mm: MmId, vpn: u32, split: bool) {
        self.mark(cx, || (Mark::Restore { mm, vpn, split }, self.seen_entry(mm, vpn)));
    }

    fn remove_migration_pmd(&self, cx: &Cx, mm: MmId, pmd: u32, new: Pfn) {
        let Pmd::Migration { kind, deposit, .. } = self.pmd(mm, pmd) else { return };
        let bits = self.restored_bits(mm, self.pmd_start(pmd), kind, false);
        self.folio_get(new);
        self.entire_map_add(new, 1);
        if kind != Migration::Readable {
            self.frames.set_exclusive(new, true);
        }
        self.set_pmd(mm, pmd, Pmd::Huge { pfn: new, bits, deposit });
        self.restore_mark(cx, mm, self.pmd_start(pmd), false);
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
        if self.get_user_pages_remote(cx, mm, span, flags, &mut pages).await.is_err() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (vpn, page) in (span.start..).zip(pages) {
            let head = self.frames.head(page);
            let tail = page != head;
            if tail || !self.folio_trylock(cx, head) {
                self.hit(Path::ExclusiveFailed);
                self.unhold(cx, head, 1, program::Foll::Get);
                found.push(None);
            } else if !self.folio_make_device_exclusive(cx, head, mm, vpn).await {
                self.hit(Path::ExclusiveFailed);
                self.folio_unlock(cx, head);
                self.unhold(cx, head, 1, program::Foll::Get);
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
        let mut replaced = Vec::new();
        let one = |walked| {
            let Walked::Pte { mm: of, table, vpn: at } = walked else { return false };
            let Pte::Present { pfn, bits } = self.pte(table, at) else { return false };
            self.hit(Path::MadeExclusive);
            valid |= (of, at) == (mm, vpn) && bits.write;
            let entry = Pte::DeviceExclusive { pfn, write: bits.write };
            self.set_pte(of, table, at, Pte::None);
            self.set_pte(of, table, at, entry);
            self.folio_remove_rmap_pte(pfn);
            let mark = DeviceMark::Exclusive { mm: of, vpn: at };
            self.device_mark(cx, mark, || self.seen_entry(of, at));
            if self.tracing.get() {
                replaced.push((of, at));
            }
            true
        };
        self.rmap_lock_read().await;
        self.rmap_walk_locked(cx, head, false, one).await;
        self.rmap_unlock_read();
        for (of, at) in replaced {
            self.flush_tlb_page(cx, of, at).await; // of ptep_clear_flush
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
