//! mremap, move only (kernel: `mm/mremap.c`).

use program::{Errno, MmId, Site, Span, Uffd, VmaFlags};

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
            _ => Err(Errno::EFAULT),
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
        let copy = self.vma_link(cx, mm, copy).await;
        // Nobody may fault in the new place before the entries are there.
        self.vm_write_begin(copy).await;
        self.vm_write_begin(vma.id).await;
        let moved = self.move_page_tables(cx, mm, old, new.start, true).await;
        let whole = moved == old.end - old.start;
        if !whole {
            self.hit(Path::MoveUndone);
            let back = Span { start: new.start, end: new.start + moved };
            self.move_page_tables(cx, mm, back, old.start, false).await;
        }
        self.vm_write_end(vma.id).await;
        self.vm_write_end(copy).await;
        self.do_vmi_munmap(cx, mm, if whole { old } else { new }).await;
        if whole { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// `move_page_tables`: returns how many pages' worth of entries moved before a table was
    /// refused. `fallible`: the way back needs no tables.
    async fn move_page_tables(&self, cx: &Cx, mm: MmId, old: Span, to: u32, fallible: bool) -> u32 {
        let ptes = u32::from(self.shape.ptes);
        let mut from = old.start;
        while from < old.end {
            let target = to + (from - old.start);
            let left = |vpn: u32| ptes - self.pte_index(vpn);
            let extent = left(from).min(left(target)).min(old.end - from);
            let (source, dest) = (self.pmd_number(from), self.pmd_number(target));
            if self.pmd(mm, source).is_huge() {
                if extent == ptes {
                    self.hit(Path::MoveHuge);
                    self.move_pgt_entry(cx, mm, source, dest).await;
                    from += extent;
                    continue;
                }
                self.split_huge_pmd(cx, mm, source).await;
            }
            if let Pmd::Table(table) = self.pmd(mm, source) {
                if extent == ptes && self.pmd(mm, dest) == Pmd::None {
                    self.hit(Path::MoveTable);
                    self.move_pgt_entry(cx, mm, source, dest).await;
                } else {
                    let Some(into) = self.dest_table(cx, mm, dest, fallible).await else {
                        return from - old.start;
                    };
                    self.hit(Path::MovePtes);
                    self.move_ptes(cx, mm, table, from, into, target, extent).await;
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
            return None;
        }
        let table = self.table_alloc();
        self.ptl_lock(cx, mm).await;
        self.set_pmd(mm, pmd, Pmd::Table(table));
        self.ptl_unlock(cx, mm);
        Some(table)
    }

    /// `move_normal_pmd`, `move_huge_pmd`: the whole PMD entry moves. The entries below a table
    /// change address, so each is set anew for the digest.
    async fn move_pgt_entry(&self, cx: &Cx, mm: MmId, source: u32, dest: u32) {
        self.ptl_lock(cx, mm).await;
        let entry = self.pmd(mm, source);
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
        self.ptl_unlock(cx, mm);
    }

    #[expect(clippy::too_many_arguments, reason = "the kernel's move_ptes has as many")]
    async fn move_ptes(
        &self,
        cx: &Cx,
        mm: MmId,
        table: Table,
        from: u32,
        into: Table,
        to: u32,
        extent: u32,
    ) {
        self.ptl_lock(cx, mm).await;
        for i in 0..extent {
            let pte = self.pte(table, from + i);
            if pte == Pte::None {
                continue;
            }
            self.set_pte(mm, table, from + i, Pte::None);
            self.set_pte(mm, into, to + i, pte);
            if let Pte::Present { pfn, .. } = pte
                && self.has(Defect::MremapLosesMapcount)
                && pfn != ZERO_PFN
                && self.frames.page_mapcount(pfn) > 1
            {
                self.map_add(pfn, -1);
            }
        }
        self.ptl_unlock(cx, mm);
    }
}
