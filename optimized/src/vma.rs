//! VMAs: cutting, merging, anon_vma (kernel: `mm/vma.c`, `mm/rmap.c`).

use program::{MmId, Prot, Span, VmaFlags, digest};

use crate::world::{Cx, World};

/// `struct vm_area_struct`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vma {
    pub start: u32,
    pub end: u32,
    pub flags: VmaFlags,
    /// Offset in pages of `start` in the object, or the linear index of an anonymous VMA.
    pub pgoff: u32,
    /// Index of the anon_vma.
    pub anon_vma: Option<u32>,
}

impl Vma {
    pub fn span(&self) -> Span {
        Span { start: self.start, end: self.end }
    }

    /// `vma_is_anonymous`: private, no object.
    pub fn anonymous(&self) -> bool {
        self.flags.object.is_none()
    }

    /// `is_cow_mapping`.
    pub fn cow(&self) -> bool {
        !self.flags.shared
    }

    /// `vma_wants_writenotify`: a shared mapping of a regular file.
    pub fn writenotify(&self) -> bool {
        self.flags.shared && matches!(self.flags.object, Some(program::ObjectId::File(_)))
    }

    pub fn writable(&self) -> bool {
        self.flags.prot == Prot::ReadWrite
    }

    pub fn readable(&self) -> bool {
        self.flags.prot != Prot::None
    }

    /// `linear_page_index`.
    pub fn pgoff_of(&self, vpn: u32) -> u32 {
        self.pgoff.wrapping_add(vpn - self.start)
    }

    fn continues(&self, next: &Vma) -> bool {
        self.end == next.start
            && self.flags.object == next.flags.object
            && self.pgoff_of(self.end) == next.pgoff
    }
}

impl World {
    /// `vma_lookup`.
    #[inline]
    pub(crate) fn vma_lookup(&self, mm: MmId, vpn: u32) -> Option<Vma> {
        let vmas = self.mm(mm).vmas.borrow();
        vmas.iter().find(|vma| vma.end > vpn).filter(|vma| vma.start <= vpn).copied()
    }

    /// The first VMA that ends above `vpn` (`find_vma`).
    pub(crate) fn find_vma(&self, mm: MmId, vpn: u32) -> Option<Vma> {
        self.mm(mm).vmas.borrow().iter().find(|vma| vma.end > vpn).copied()
    }

    /// Inserts a VMA where nothing is.
    pub(crate) fn vma_link(&self, mm: MmId, vma: Vma) {
        let mut vmas = self.mm(mm).vmas.borrow_mut();
        let at = vmas.partition_point(|other| other.start < vma.start);
        vmas.insert(at, vma);
        self.frames.add(digest::vma(mm, vma.start, vma.end, vma.flags));
    }

    /// Removes the VMA that starts here.
    pub(crate) fn vma_unlink(&self, mm: MmId, start: u32) -> Option<Vma> {
        let mut vmas = self.mm(mm).vmas.borrow_mut();
        let at = vmas.iter().position(|vma| vma.start == start)?;
        let vma = vmas.remove(at);
        self.frames.sub(digest::vma(mm, vma.start, vma.end, vma.flags));
        Some(vma)
    }

    /// `__split_vma` at `vpn` if a VMA spans it; a huge PMD there is split
    /// (`vma_adjust_trans_huge`).
    pub(crate) async fn split_vma(&self, cx: &Cx, mm: MmId, vpn: u32) {
        let Some(vma) = self.vma_lookup(mm, vpn).filter(|vma| vma.start < vpn) else { return };
        if self.pte_index(vpn) != 0 {
            self.split_huge_pmd(cx, mm, self.pmd_number(vpn)).await;
        }
        let mut vmas = self.mm(mm).vmas.borrow_mut();
        let Some(at) = vmas.iter().position(|other| other.start == vma.start) else { return };
        vmas[at].end = vpn;
        // The digest does not see the cut: its VMA terms telescope.
        vmas.insert(at + 1, Vma { start: vpn, pgoff: vma.pgoff_of(vpn), ..vma });
    }

    /// `vma_modify_flags` over `span`, which lies in the VMA given: cuts it out, gives it the new
    /// flags and merges it with its neighbours.
    pub(crate) async fn vma_modify(&self, cx: &Cx, mm: MmId, span: Span, flags: VmaFlags) {
        self.split_vma(cx, mm, span.start).await;
        self.split_vma(cx, mm, span.end).await;
        {
            let mut vmas = self.mm(mm).vmas.borrow_mut();
            let Some(vma) = vmas.iter_mut().find(|vma| vma.start == span.start) else { return };
            self.frames.sub(digest::vma(mm, vma.start, vma.end, vma.flags));
            vma.flags = flags;
            self.frames.add(digest::vma(mm, vma.start, vma.end, vma.flags));
        }
        // With the previous one first, as vma_merge_existing_range prefers when it cannot do both.
        self.vma_merge(mm, span.start);
        self.vma_merge(mm, span.end);
    }

    /// `vma_merge` across the boundary at `vpn`, if the VMAs on both sides allow it.
    fn vma_merge(&self, mm: MmId, vpn: u32) {
        let mut vmas = self.mm(mm).vmas.borrow_mut();
        let Some(at) = vmas.iter().position(|vma| vma.start == vpn) else { return };
        let Some(prev) = at.checked_sub(1).map(|at| vmas[at]) else { return };
        let next = vmas[at];
        let anon_vmas =
            prev.anon_vma.is_none() || next.anon_vma.is_none() || prev.anon_vma == next.anon_vma;
        if prev.continues(&next) && prev.flags == next.flags && anon_vmas {
            vmas[at - 1].end = next.end;
            vmas[at - 1].anon_vma = prev.anon_vma.or(next.anon_vma);
            vmas.remove(at);
        }
    }

    /// `vmf_anon_prepare` / `__anon_vma_prepare`: the VMA at `vpn` gets an anon_vma, that of a
    /// neighbour if it could have been merged with it but for its protection.
    pub(crate) fn anon_vma_prepare(&self, mm: MmId, vpn: u32) {
        let mut vmas = self.mm(mm).vmas.borrow_mut();
        let Some(at) = vmas.iter().position(|vma| vma.start <= vpn && vpn < vma.end) else {
            return;
        };
        let vma = vmas[at];
        if vma.anon_vma.is_some() || !vma.cow() {
            return;
        }
        let alike = |a: &Vma, b: &Vma| {
            a.continues(b) && VmaFlags { prot: b.flags.prot, ..a.flags } == b.flags
        };
        let next = vmas.get(at + 1).filter(|next| alike(&vma, next));
        let prev = at.checked_sub(1).map(|at| &vmas[at]).filter(|prev| alike(prev, &vma));
        let found = next.and_then(|v| v.anon_vma).or(prev.and_then(|v| v.anon_vma));
        vmas[at].anon_vma = Some(found.unwrap_or_else(|| self.anon_vma_alloc(None)));
    }

    /// A new anon_vma; `parent` is the one it was forked from (`anon_vma->parent`).
    pub(crate) fn anon_vma_alloc(&self, parent: Option<u32>) -> u32 {
        let mut anon_vmas = self.anon_vmas.borrow_mut();
        anon_vmas.push(parent);
        anon_vmas.len() as u32 - 1
    }

    /// Whether `of` is `anon_vma` or was forked from it: pages of `anon_vma` can be mapped there.
    pub(crate) fn anon_vma_covers(&self, anon_vma: u32, of: u32) -> bool {
        let anon_vmas = self.anon_vmas.borrow();
        let mut at = Some(of);
        while let Some(node) = at {
            if node == anon_vma {
                return true;
            }
            at = anon_vmas[node as usize];
        }
        false
    }
}
