//! mremap: a whole range moves to a fresh place (ops 2, decision 20).

use program::{Errno, MmId, Seen, Span, Uffd, VmaFlags};

use crate::mm::Pmd;
use crate::state::{Done, State, fail};
use crate::vma::Vma;

/// A piece of the move: pages `from..from + len` go to `to`.
#[derive(Clone, Copy)]
struct Extent {
    from: u32,
    to: u32,
    len: u32,
}

/// The extents of a move: each ends at the next PMD boundary of the old or the new place
/// (`get_extent`).
fn extents(old: Span, new: Span, ptes: u32) -> impl Iterator<Item = Extent> {
    let mut from = old.start;
    std::iter::from_fn(move || {
        let to = new.start + (from - old.start);
        let len = (ptes - from % ptes).min(ptes - to % ptes).min(old.end - from);
        let extent = Extent { from, to, len };
        from += len;
        (len > 0).then_some(extent)
    })
}

impl State {
    pub fn mremap(&mut self, mm: MmId, old: Span, new: Span) -> Done {
        self.mmap_write_lock(mm)?;
        if !self.kernel.mremap_moves_many() {
            return self.move_vma(mm, old, new);
        }
        // `remap_move`: no gap at the start; later ones are kept.
        let mut at = old.start;
        while let Some(vma) = self.vma_from(mm, at).filter(|vma| vma.start < old.end) {
            let piece = Span { start: vma.start.max(at), end: vma.end.min(old.end) };
            if at == old.start && vma.start > at {
                return fail(Errno::EFAULT);
            }
            let to = |vpn: u32| new.start + (vpn - old.start);
            self.move_vma(mm, piece, Span { start: to(piece.start), end: to(piece.end) })?;
            at = piece.end;
        }
        if at == old.start { fail(Errno::EFAULT) } else { Ok(()) }
    }

    /// A range of one VMA.
    fn move_vma(&mut self, mm: MmId, old: Span, new: Span) -> Done {
        let Some(vma) = self.vma(mm, old.start).filter(|vma| vma.contains(old.start, old.end))
        else {
            return fail(Errno::EFAULT);
        };
        self.copy_vma(mm, vma, old, new);
        self.devices_unmap(mm, old); // also if the move fails
        for (done, extent) in extents(old, new, self.ptes).enumerate() {
            if let Err(stop) = self.move_extent(mm, extent) {
                for Extent { from, to, len } in extents(old, new, self.ptes).take(done) {
                    self.move_back(mm, Extent { from: to, to: from, len });
                }
                self.munmap(mm, new)?;
                return Err(stop);
            }
        }
        self.munmap(mm, old)
    }

    /// `copy_vma`: a VMA without pages yet takes its new address as pgoff.
    pub fn copy_vma(&mut self, mm: MmId, vma: Vma, old: Span, new: Span) {
        let unfaulted = vma.is_anonymous() && vma.anon_vma.is_none();
        let pgoff = if unfaulted { new.start } else { vma.index(old.start) };
        // Who registered the old place is not told of the new one (no UFFD_FEATURE_EVENT_REMAP).
        let flags = VmaFlags { uffd: Uffd::None, ..vma.flags };
        self.insert_vma(mm, Vma { start: new.start, end: new.end, pgoff, flags, ..vma });
    }

    /// The mark of one PTE: it goes to where nothing is.
    pub fn move_entry(&mut self, mm: MmId, from: u32, to: u32) -> Option<Seen> {
        self.entry(mm, from)?;
        if self.pmd(mm, to / self.ptes) != Pmd::Table || self.entry(mm, to).is_some() {
            return None;
        }
        self.leave_stale(mm, from);
        self.move_ptes(mm, Extent { from, to, len: 1 });
        Some(self.seen_entry(mm, to))
    }

    /// The mark of a whole PMD: it goes to where nothing is.
    pub fn move_whole_pmd(&mut self, mm: MmId, from: u32, to: u32) -> Option<Seen> {
        let pmd = self.pmd(mm, from / self.ptes);
        if pmd == Pmd::None || self.pmd(mm, to / self.ptes) != Pmd::None {
            return None;
        }
        self.leave_stale_pmd(mm, from / self.ptes);
        self.move_pmd(mm, Extent { from, to, len: self.ptes });
        let huge = matches!(pmd, Pmd::Huge(_));
        Some(if huge { self.seen_entry(mm, to) } else { Seen::Nothing })
    }

    /// One turn of `move_page_tables`.
    fn move_extent(&mut self, mm: MmId, extent: Extent) -> Done {
        let whole = extent.len == self.ptes;
        match self.pmd(mm, extent.from / self.ptes) {
            Pmd::None => return Ok(()),
            Pmd::Huge(_) | Pmd::Table if whole => {
                self.move_pmd(mm, extent);
                return Ok(());
            }
            Pmd::Huge(_) => self.split_huge_pmd(mm, extent.from / self.ptes),
            Pmd::Table => {}
        }
        self.table_for(mm, extent.to)?;
        self.install_table(mm, extent.to);
        self.move_ptes(mm, extent);
        Ok(())
    }

    fn move_back(&mut self, mm: MmId, extent: Extent) {
        if extent.len == self.ptes {
            return self.move_pmd(mm, extent);
        }
        // `pte_alloc` again, on the old side now, and never refused.
        if self.pmd(mm, extent.from / self.ptes) == Pmd::Table {
            self.install_table(mm, extent.to);
        }
        self.move_ptes(mm, extent);
    }

    /// A huge entry, or a table with all that is in it.
    fn move_pmd(&mut self, mm: MmId, extent: Extent) {
        let pmd = self.pmd(mm, extent.from / self.ptes);
        self.set_pmd(mm, extent.to / self.ptes, pmd);
        self.move_ptes(mm, extent);
        self.set_pmd(mm, extent.from / self.ptes, Pmd::None);
    }

    fn move_ptes(&mut self, mm: MmId, extent: Extent) {
        for page in 0..extent.len {
            if let Some(mut entry) = self.entry(mm, extent.from + page) {
                entry.device = None; // no device maps the new place
                self.set_entry(mm, extent.to + page, Some(entry));
                self.set_entry(mm, extent.from + page, None);
            }
        }
    }
}
