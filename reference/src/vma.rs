//! VMAs: lookup, cutting, merging, anon_vma identity (ops 0).

use program::{MmId, ObjectId, Prot, Uffd, VmaFlags, digest};

use crate::mm::Pmd;
use crate::state::State;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vma {
    pub start: u32,
    pub end: u32,
    pub flags: VmaFlags,
    /// Page of the object at `start`; private anonymous: address at creation.
    pub pgoff: u32,
    pub anon_vma: Option<u32>,
    /// It has that anon_vma by fork.
    pub forked: bool,
}

impl Vma {
    /// Private anonymous.
    pub fn is_anonymous(&self) -> bool {
        self.flags.object.is_none()
    }

    pub fn is_readable(&self) -> bool {
        self.flags.prot != Prot::None
    }

    pub fn is_writable(&self) -> bool {
        self.flags.prot == Prot::ReadWrite
    }

    /// A shared mapping of a regular file: dirty-tracked (`vma_wants_writenotify`).
    pub fn wants_writenotify(&self) -> bool {
        self.flags.shared && matches!(self.flags.object, Some(ObjectId::File(_)))
    }

    /// Page of the object at `vpn`.
    pub fn index(&self, vpn: u32) -> u32 {
        self.pgoff + (vpn - self.start)
    }

    pub fn contains(&self, start: u32, end: u32) -> bool {
        self.start <= start && end <= self.end
    }

    pub fn intersects(&self, start: u32, end: u32) -> bool {
        self.start < end && start < self.end
    }

    /// Whether `next` follows without a gap, in addresses and in the object.
    fn continues_in(&self, next: &Vma) -> bool {
        self.end == next.start && self.index(self.end) == next.pgoff
    }
}

impl State {
    /// The VMA that `vpn` lies in.
    pub fn vma(&self, mm: MmId, vpn: u32) -> Option<Vma> {
        self.vma_from(mm, vpn).filter(|vma| vma.start <= vpn)
    }

    /// `find_vma`: the first VMA that ends above `vpn`.
    pub fn vma_from(&self, mm: MmId, vpn: u32) -> Option<Vma> {
        self.mm(mm).vmas.iter().find(|vma| vpn < vma.end).copied()
    }

    /// A new VMA at a fresh place.
    pub fn insert_vma(&mut self, mm: MmId, vma: Vma) {
        self.ledger.add(digest::vma(mm, vma.start, vma.end, vma.flags));
        let ptes = self.ptes;
        let mm = self.mm_mut(mm);
        mm.cover(vma.end, ptes);
        let at = mm.vmas.partition_point(|other| other.start < vma.start);
        mm.vmas.insert(at, vma);
    }

    /// Removes the VMAs in a range at whose ends they were cut.
    pub fn remove_vmas(&mut self, mm: MmId, start: u32, end: u32) {
        let vmas = &mut self.mms[usize::from(mm.0)].vmas;
        vmas.retain(|vma| {
            let inside = vma.intersects(start, end);
            if inside {
                self.ledger.sub(digest::vma(mm, vma.start, vma.end, vma.flags));
            }
            !inside
        });
    }

    /// Cuts the VMA that `at` lies inside of; a huge PMD around `at` is split
    /// (`vma_adjust_trans_huge`).
    pub fn cut(&mut self, mm: MmId, at: u32) {
        let vmas = &mut self.mm_mut(mm).vmas;
        let Some(i) = vmas.iter().position(|vma| vma.start < at && at < vma.end) else { return };
        let tail = Vma { start: at, pgoff: vmas[i].index(at), ..vmas[i] };
        vmas[i].end = at;
        vmas.insert(i + 1, tail);
        if !at.is_multiple_of(self.ptes) && matches!(self.pmd(mm, at / self.ptes), Pmd::Huge(_)) {
            self.split_huge_pmd(mm, at / self.ptes);
        }
    }

    /// Changes the flags of `start..end`, which lies in one VMA: cut, change, merge.
    pub fn set_vma_flags(&mut self, mm: MmId, start: u32, end: u32, flags: VmaFlags) {
        self.cut(mm, start);
        self.cut(mm, end);
        let vmas = &mut self.mms[usize::from(mm.0)].vmas;
        let Some(i) = vmas.iter().position(|vma| vma.start == start) else { return };
        let old = std::mem::replace(&mut vmas[i].flags, flags);
        self.ledger.add(digest::vma(mm, start, end, flags));
        self.ledger.sub(digest::vma(mm, start, end, old));
        let (left, right) = self.mergeable(mm, i);
        if right {
            self.merge_with_next(mm, i);
        }
        if left {
            self.merge_with_next(mm, i - 1);
        }
    }

    /// Whether a VMA can be one with the previous, and with the next
    /// (`vma_merge_existing_range`).
    fn mergeable(&self, mm: MmId, i: usize) -> (bool, bool) {
        let vmas = &self.mm(mm).vmas;
        let vma = &vmas[i];
        let joins = |a: &Vma, b: &Vma| a.flags == b.flags && a.continues_in(b);
        let anon = |neighbour: &Vma| self.is_mergeable_anon_vma(vma, neighbour);
        let previous = i.checked_sub(1).map(|i| &vmas[i]).filter(|p| joins(p, vma) && anon(p));
        let next = vmas.get(i + 1).filter(|next| joins(vma, next) && anon(next));
        // The previous one comes first where the two do not go together.
        let apart = |a: &Vma, b: &Vma| {
            a.anon_vma.is_some() && b.anon_vma.is_some() && a.anon_vma != b.anon_vma
        };
        let right = next.is_some_and(|next| !previous.is_some_and(|p| apart(p, next)));
        (previous.is_some(), right)
    }

    /// Whether a changed VMA and its neighbour agree about their anon_vmas. One without takes over
    /// that of the neighbour, but nobody takes over a forked one (`list_is_singular`).
    fn is_mergeable_anon_vma(&self, vma: &Vma, neighbour: &Vma) -> bool {
        match (vma.anon_vma, neighbour.anon_vma) {
            (None, Some(_)) => !neighbour.forked,
            (Some(_), None) => self.kernel.merges_into_unfaulted() && !vma.forked,
            (one, other) => one == other,
        }
    }

    fn merge_with_next(&mut self, mm: MmId, i: usize) {
        let vmas = &mut self.mm_mut(mm).vmas;
        let next = vmas.remove(i + 1);
        vmas[i].end = next.end;
        if vmas[i].anon_vma.is_none() {
            (vmas[i].anon_vma, vmas[i].forked) = (next.anon_vma, next.forked);
        }
    }

    /// `anon_vma_prepare` (`find_mergeable_anon_vma`: the next VMA's, else the previous one's).
    pub fn anon_vma_prepare(&mut self, mm: MmId, vpn: u32) {
        let vmas = &self.mm(mm).vmas;
        let Some(i) = vmas.iter().position(|vma| vpn < vma.end) else { return };
        let vma = vmas[i];
        if vma.anon_vma.is_some() {
            return;
        }
        let compatible = |a: &Vma, b: &Vma| {
            let uffd = (a.flags.uffd == Uffd::None) == (b.flags.uffd == Uffd::None);
            let flags = VmaFlags { prot: a.flags.prot, uffd: a.flags.uffd, ..b.flags };
            a.continues_in(b) && uffd && a.flags == flags
        };
        let next = vmas.get(i + 1).filter(|next| compatible(&vma, next));
        let previous = i.checked_sub(1).map(|i| &vmas[i]).filter(|p| compatible(p, &vma));
        let own = |vma: Option<&Vma>| vma.filter(|vma| !vma.forked).and_then(|vma| vma.anon_vma);
        let reusable = own(next).or_else(|| own(previous));
        let anon_vma = reusable.unwrap_or_else(|| self.fresh_anon_vma());
        self.mm_mut(mm).vmas[i].anon_vma = Some(anon_vma);
    }

    pub fn fresh_anon_vma(&mut self) -> u32 {
        self.next_anon_vma += 1;
        self.next_anon_vma
    }
}
