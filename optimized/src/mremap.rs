//! mremap, move only (kernel: `mm/mremap.c`).

use program::{Access, Errno, Mark, MmId, Seen, Site, Span, Uffd, VmaFlags};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::ZERO_PFN;
use crate::pgtable::{Pmd, Pte, Table};
use crate::vma::Vma;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `mremap` with MREMAP_FIXED to a fresh place (`mremap_to`, `move_vma`).
    pub(crate) async fn mremap(
        &self,
        cx: &Cx,
        mm: MmId,
        old: Span,
        new: Span,
    ) -> Result<(), Errno> {
        self.mmap_write_lock(cx, mm).await;
        let result = match self.vma_lookup(mm, old.start) {
            Some(vma) if old.end <= vma.end => self.move_vma(cx, mm, &vma, old, new).await,
            _ => {
                let mark = Mark::Forbidden { mm, vpn: old.start, access: Access::Read };
                self.mark(cx, || (mark, Seen::Flag(false)));
                Err(Errno::EFAULT)
            }
        };
        self.mmap_write_unlock(cx, mm);
        result
    }

    async fn move_vma(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        old: Span,
        new: Span,
    ) -> Result<(), Errno> {
        // copy_vma: a faulted anonymous VMA keeps its linear index, so that rmap finds its pages.
        let fresh = vma.anonymous() && vma.anon_vma.is_none();
        let pgoff = if fresh { new.start } else { vma.pgoff_of(old.start) };
        self.vma_start_write(cx, mm, vma.id).await;
        // mremap_userfaultfd_prep without UFFD_FEATURE_EVENT_REMAP
        let flags = VmaFlags { uffd: Uffd::None, ..vma.flags };
        let copy = Vma { start: new.start, end: new.end, pgoff, flags, ..*vma };
        // Nobody may fault in the new place before the entries are there.
        let closed = !self.has(Defect::MremapOpensDestination);
        let copy = self.vma_link(cx, mm, copy, closed).await;
        self.mark(cx, || (Mark::Vmas { mm, span: new }, Seen::Nothing));
        self.vm_write_begin(vma.id).await;
        self.mirrors_invalidate(mm, old.start, old.end);
        self.mark(cx, || (Mark::Invalidate { mm, span: old }, Seen::Nothing));
        let moved = self.move_page_tables(cx, mm, old, new.start, false).await;
        let whole = moved == old.end - old.start;
        if !whole {
            self.hit(Path::MoveUndone);
            let back = Span { start: new.start, end: new.start + moved };
            self.move_page_tables(cx, mm, back, old.start, true).await;
        }
        self.vm_write_end(vma.id).await;
        if closed {
            self.vm_write_end(copy).await;
        }
        self.do_vmi_munmap(cx, mm, if whole { old } else { new }).await;
        if whole { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// `move_page_tables`: returns how many pages' worth of entries moved before a table was
    /// refused. `back`: the way back needs no tables, and goes against the order of rmap walks
    /// (`need_rmap_locks`).
    async fn move_page_tables(&self, cx: &Cx, mm: MmId, old: Span, to: u32, back: bool) -> u32 {
        let ptes = u32::from(self.shape.ptes);
        let mut from = old.start;
        while from < old.end {
            self.machine.cond_resched().await;
            let target = to + (from - old.start);
            let left = |vpn: u32| ptes - self.pte_index(vpn);
            let extent = left(from).min(left(target)).min(old.end - from);
            let whole = extent == ptes;
            let (source, dest) = (self.pmd_number(from), self.pmd_number(target));
            let entry = self.pmd(mm, source);
            let empty = self.pmd(mm, dest) == Pmd::None;
            // A table moves under the rmap locks: who walks finds it before or after.
            let moved = whole
                && match entry {
                    Pmd::Table(_) if empty => self.move_pgt_entry(cx, mm, source, dest, true).await,
                    Pmd::Huge { .. } | Pmd::Migration { .. } => {
                        self.move_pgt_entry(cx, mm, source, dest, back).await
                    }
                    _ => false,
                };
            if !moved {
                if entry.is_huge() {
                    self.split_huge_pmd(cx, mm, source).await;
                }
                if let Pmd::Table(table) = self.pmd(mm, source) {
                    let Some(into) = self.dest_table(cx, mm, dest, !back).await else {
                        return from - old.start;
                    };
                    self.hit(Path::MovePtes);
                    let piece = Span { start: from, end: from + extent };
                    self.move_ptes(cx, mm, table, piece, into, target, back).await;
                }
            }
            from += extent;
        }
        old.end - old.start
    }

    async fn dest_table(&self, cx: &Cx, mm: MmId, pmd: u32, fallible: bool) -> Option<Table> {
        if let Pmd::Table(table) = self.pmd(mm, pmd) {
            return Some(table);
        }
        if fallible && self.refused(cx, Site::Table) {
            self.refused_mark(cx, Site::Table);
            return None;
        }
        let table = self.table_alloc();
        self.ptl_lock(cx, mm).await;
        self.pmd_install(cx, mm, pmd, table);
        self.ptl_unlock(cx, mm);
        Some(table)
    }

    /// `move_normal_pmd`, `move_huge_pmd`: the whole PMD entry moves, unless it is another one by
    /// now. The entries below a table change address, so each is set anew for the digest.
    async fn move_pgt_entry(&self, cx: &Cx, mm: MmId, source: u32, dest: u32, lock: bool) -> bool {
        let huge = self.pmd(mm, source).is_huge();
        if lock {
            self.rmap_lock_write(cx).await;
        }
        self.ptl_lock(cx, mm).await;
        let entry = self.pmd(mm, source);
        let moves = entry.is_huge() == huge;
        if moves {
            self.hit(if huge { Path::MoveHuge } else { Path::MoveTable });
            if let Pmd::Table(table) = entry {
                for i in 0..u32::from(self.shape.ptes) {
                    let (from, to) = (self.pmd_start(source) + i, self.pmd_start(dest) + i);
                    let pte = self.pte(table, from);
                    self.set_pte(mm, table, from, Pte::None);
                    self.set_pte(mm, table, to, pte);
                }
            }
            self.set_pmd(mm, source, Pmd::None);
            self.set_pmd(mm, dest, entry);
            self.mark(cx, || {
                let (from, to) = (self.pmd_start(source), self.pmd_start(dest));
                let seen = if huge { self.seen_entry(mm, to) } else { Seen::Nothing };
                (Mark::MovePmd { mm, from, to }, seen)
            });
            let (start, end) = (self.pmd_start(source), self.pmd_start(source + 1));
            self.flush_tlb_range(cx, mm, Span { start, end }).await;
        }
        self.ptl_unlock(cx, mm);
        if lock {
            self.rmap_unlock_write(cx);
        }
        moves
    }

    #[expect(clippy::too_many_arguments, reason = "the kernel's move_ptes has as many")]
    async fn move_ptes(
        &self,
        cx: &Cx,
        mm: MmId,
        table: Table,
        old: Span,
        into: Table,
        to: u32,
        lock: bool,
    ) {
        if lock {
            self.rmap_lock_write(cx).await;
        }
        self.ptl_lock(cx, mm).await;
        let mut flush = false;
        for (from, to) in (old.start..old.end).zip(to..) {
            if self.pte(table, from) == Pte::None {
                continue;
            }
            // ptep_get_and_clear
            self.machine.point().await;
            let pte = self.pte(table, from);
            self.set_pte(mm, table, from, Pte::None);
            self.set_pte(mm, into, to, pte);
            self.mark(cx, || (Mark::MovePte { mm, from, to }, self.seen_entry(mm, to)));
            if let Pte::Present { pfn, .. } = pte {
                flush = true;
                if self.has(Defect::MremapLosesMapcount)
                    && pfn != ZERO_PFN
                    && self.frames.page_mapcount(pfn) > 1
                {
                    self.map_add(pfn, -1);
                }
            }
        }
        if flush {
            // Before the PTL is dropped: whoever then finds the page elsewhere may free it.
            self.flush_tlb_range(cx, mm, old).await;
        }
        self.ptl_unlock(cx, mm);
        if lock {
            self.rmap_unlock_write(cx);
        }
    }
}
