//! VMAs: cutting, merging, anon_vma (kernel: `mm/vma.c`, `mm/rmap.c`).

use program::{Access, Mark, MmId, Prot, Seen, Span, Uffd, VmaFlags, digest};

use crate::vma_table::VmaId;
use crate::world::{Cx, World};

/// `struct vm_area_struct`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vma {
    pub id: VmaId,
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

    /// `userfaultfd_missing`: VM_UFFD_MISSING.
    pub fn userfaultfd_missing(&self) -> bool {
        self.flags.uffd != Uffd::None
    }

    /// Whether it allows the access (`access_error`).
    pub fn allows(&self, access: Access) -> bool {
        if access == Access::Write { self.writable() } else { self.readable() }
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

#[twice]
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

    /// `vma_link`: a new VMA where nothing is; `closed`: left inside [`World::vm_write_begin`].
    pub(crate) async fn vma_link(&self, cx: &Cx, mm: MmId, vma: Vma, closed: bool) -> VmaId {
        let id = self.vma_alloc();
        if closed {
            self.vm_write_begin(id).await;
        }
        self.vma_start_write(cx, mm, id).await;
        // vma_prepare: an rmap walk that is under way has been here, or comes here later.
        self.rmap_lock_write(cx).await;
        {
            let mut vmas = self.mm(mm).vmas.borrow_mut();
            let at = vmas.partition_point(|other| other.start < vma.start);
            vmas.insert(at, Vma { id, ..vma });
        }
        self.frames.add(digest::vma(mm, vma.start, vma.end, vma.flags));
        self.rmap_unlock_write(cx);
        id
    }

    /// Removes a VMA that is detached and whose pages are unmapped: `rmap_walk` still had to find
    /// it (`remove_vma`).
    pub(crate) fn vma_unlink(&self, mm: MmId, id: VmaId) {
        let mut vmas = self.mm(mm).vmas.borrow_mut();
        let Some(at) = vmas.iter().position(|vma| vma.id == id) else { return };
        let vma = vmas.remove(at);
        self.frames.sub(digest::vma(mm, vma.start, vma.end, vma.flags));
        self.put_vma(id);
    }

    /// The same of every VMA of an mm that ends.
    pub(crate) fn vma_unlink_all(&self, mm: MmId) {
        for vma in self.mm(mm).vmas.borrow_mut().drain(..) {
            self.frames.sub(digest::vma(mm, vma.start, vma.end, vma.flags));
            self.put_vma(vma.id);
        }
    }

    /// `split_vma` at `vpn`, if a VMA spans it.
    pub(crate) async fn split_vma(&self, cx: &Cx, mm: MmId, vpn: u32) {
        if let Some(vma) = self.vma_lookup(mm, vpn).filter(|vma| vma.start < vpn) {
            self.__split_vma(cx, mm, &vma, vpn).await;
        }
    }

    /// `__split_vma`: the part from `vpn` on becomes a VMA of its own; a huge PMD there is split
    /// (`vma_adjust_trans_huge`).
    async fn __split_vma(&self, cx: &Cx, mm: MmId, vma: &Vma, vpn: u32) -> VmaId {
        self.vma_start_write(cx, mm, vma.id).await;
        self.vm_write_begin(vma.id).await;
        let id = self.vma_alloc();
        self.vma_start_write(cx, mm, id).await;
        if self.pte_index(vpn) != 0 {
            self.split_huge_pmd(cx, mm, self.pmd_number(vpn)).await;
        }
        self.vma_cut(mm, vma.id, id, vpn);
        self.vm_write_end(vma.id).await;
        id
    }

    /// The upper part of a VMA becomes one of its own.
    fn vma_cut(&self, mm: MmId, id: VmaId, upper: VmaId, vpn: u32) {
        let mut vmas = self.mm(mm).vmas.borrow_mut();
        let Some(at) = vmas.iter().position(|vma| vma.id == id) else { return };
        let vma = vmas[at];
        vmas[at].end = vpn;
        // The digest does not see the cut: its VMA terms telescope.
        vmas.insert(at + 1, Vma { id: upper, start: vpn, pgoff: vma.pgoff_of(vpn), ..vma });
    }

    /// `vma_modify_flags` over `span`, which lies in `vma`: cuts it out, gives it the new flags and
    /// merges it with its neighbours. What it is then part of is left inside
    /// [`World::vm_write_begin`].
    pub(crate) async fn vma_modify(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        span: Span,
        flags: VmaFlags,
    ) -> VmaId {
        let mut id = vma.id;
        if vma.start < span.start {
            id = self.__split_vma(cx, mm, vma, span.start).await;
        }
        self.split_vma(cx, mm, span.end).await;
        self.vma_start_write(cx, mm, id).await;
        self.vm_write_begin(id).await;
        self.vma_set_flags(mm, id, flags);
        self.mark(cx, || (Mark::Vmas { mm, span }, Seen::Nothing));
        let (left, right) = self.vma_merge_existing_range(mm, id);
        if left {
            id = self.commit_merge(cx, mm, span.start, id).await;
        }
        if right {
            id = self.commit_merge(cx, mm, span.end, id).await;
        }
        id
    }

    fn vma_set_flags(&self, mm: MmId, id: VmaId, flags: VmaFlags) {
        let mut vmas = self.mm(mm).vmas.borrow_mut();
        let Some(vma) = vmas.iter_mut().find(|vma| vma.id == id) else { return };
        self.frames.sub(digest::vma(mm, vma.start, vma.end, vma.flags));
        vma.flags = flags;
        self.frames.add(digest::vma(mm, vma.start, vma.end, vma.flags));
    }

    /// Whether a VMA can be one with the previous, and with the next (`vma_merge_existing_range`).
    fn vma_merge_existing_range(&self, mm: MmId, id: VmaId) -> (bool, bool) {
        let vmas = self.mm(mm).vmas.borrow();
        let Some(at) = vmas.iter().position(|vma| vma.id == id) else { return (false, false) };
        let vma = &vmas[at];
        let prev = at.checked_sub(1).map(|at| &vmas[at]).filter(|prev| {
            let alike = prev.continues(vma) && prev.flags == vma.flags;
            alike && self.is_mergeable_anon_vma(vma, prev)
        });
        let next = vmas.get(at + 1).filter(|next| {
            let alike = vma.continues(next) && vma.flags == next.flags;
            alike && self.is_mergeable_anon_vma(vma, next)
        });
        // With the previous one first where it cannot be with both (`are_anon_vmas_compatible`).
        let both = |prev: &Vma, next: &Vma| {
            let (a, b) = (prev.anon_vma, next.anon_vma);
            a.is_none() || b.is_none() || a == b
        };
        let right = next.is_some_and(|next| prev.is_none_or(|prev| both(prev, next)));
        (prev.is_some(), right)
    }

    /// `is_mergeable_anon_vma`: a VMA may take over its neighbour's anon_vma unless that was forked;
    /// it does not hand its own on to a neighbour that has none.
    fn is_mergeable_anon_vma(&self, vma: &Vma, neighbour: &Vma) -> bool {
        let takes = vma.anon_vma.is_none() && self.anon_vma_chain_is_singular(neighbour);
        takes || vma.anon_vma == neighbour.anon_vma
    }

    /// `list_is_singular(&vma->anon_vma_chain)`: it has one, not by fork.
    fn anon_vma_chain_is_singular(&self, vma: &Vma) -> bool {
        vma.anon_vma.is_some_and(|own| self.anon_vmas.borrow()[own as usize].is_none())
    }

    /// Makes one of the VMAs on both sides of `vpn`; `inside` is the one of them that is being
    /// written. Returns what it is part of then.
    async fn commit_merge(&self, cx: &Cx, mm: MmId, vpn: u32, inside: VmaId) -> VmaId {
        let Some((prev, next)) = self.vmas_around(mm, vpn) else { return inside };
        let other = if prev == inside { next } else { prev };
        self.vma_start_write(cx, mm, other).await;
        self.vm_write_begin(other).await;
        {
            let mut vmas = self.mm(mm).vmas.borrow_mut();
            let Some(at) = vmas.iter().position(|vma| vma.id == next) else { return inside };
            let gone = vmas.remove(at);
            vmas[at - 1].end = gone.end;
            vmas[at - 1].anon_vma = vmas[at - 1].anon_vma.or(gone.anon_vma);
        }
        self.vma_mark_detached(next);
        self.vm_write_end(next).await;
        self.put_vma(next);
        prev
    }

    /// The VMAs below and above `vpn`.
    fn vmas_around(&self, mm: MmId, vpn: u32) -> Option<(VmaId, VmaId)> {
        let vmas = self.mm(mm).vmas.borrow();
        let at = vmas.iter().position(|vma| vma.start == vpn)?;
        Some((vmas[at.checked_sub(1)?].id, vmas[at].id))
    }

    /// `__anon_vma_prepare`: the VMA at `vpn` gets an anon_vma, that of a
    /// neighbour if it could have been merged with it but for its protection.
    pub(crate) fn anon_vma_prepare(&self, cx: &Cx, mm: MmId, vpn: u32) {
        let mut vmas = self.mm(mm).vmas.borrow_mut();
        let Some(at) = vmas.iter().position(|vma| vma.start <= vpn && vpn < vma.end) else {
            return;
        };
        let vma = vmas[at];
        if vma.anon_vma.is_some() || !vma.cow() {
            return;
        }
        // It looks at the neighbours.
        self.mm(mm).mmap_lock.assert_held(&self.machine, "mmap_lock");
        let alike = |a: &Vma, b: &Vma| {
            // anon_vma_compatible: the flags, whichever userfaultfd is meant.
            let armed = a.userfaultfd_missing() == b.userfaultfd_missing();
            let flags = VmaFlags { prot: b.flags.prot, uffd: b.flags.uffd, ..a.flags };
            a.continues(b) && armed && flags == b.flags
        };
        let next = vmas.get(at + 1).filter(|next| alike(&vma, next));
        let prev = at.checked_sub(1).map(|at| &vmas[at]).filter(|prev| alike(prev, &vma));
        // `reusable_anon_vma`
        let reusable = |vma: Option<&Vma>| {
            vma.filter(|vma| self.anon_vma_chain_is_singular(vma)).and_then(|vma| vma.anon_vma)
        };
        let found = reusable(next).or_else(|| reusable(prev));
        vmas[at].anon_vma = Some(found.unwrap_or_else(|| self.anon_vma_alloc(None)));
        self.mark(cx, || (Mark::AnonVma { mm, vpn }, Seen::Nothing));
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
