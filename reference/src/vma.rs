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
        let merged = self.merge_with_previous(mm, i);
        self.merge_with_previous(mm, if merged { i } else { i + 1 });
    }

    fn merge_with_previous(&mut self, mm: MmId, i: usize) -> bool {
        let vmas = &mut self.mm_mut(mm).vmas;
        let Some(previous) = i.checked_sub(1) else { return false };
        let (Some(&a), Some(&b)) = (vmas.get(previous), vmas.get(i)) else { return false };
        let one_anon_vma = a.anon_vma == b.anon_vma || a.anon_vma.is_none() || b.anon_vma.is_none();
        let mergeable = a.flags == b.flags && a.continues_in(&b) && one_anon_vma;
        if mergeable {
            vmas[previous].end = b.end;
            vmas[previous].anon_vma = a.anon_vma.or(b.anon_vma);
            vmas.remove(i);
        }
        mergeable
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
        let reusable = next
            .and_then(|next| next.anon_vma)
            .or_else(|| previous.and_then(|previous| previous.anon_vma));
        let anon_vma = reusable.unwrap_or_else(|| self.fresh_anon_vma());
        self.mm_mut(mm).vmas[i].anon_vma = Some(anon_vma);
    }

    pub fn fresh_anon_vma(&mut self) -> u32 {
        self.next_anon_vma += 1;
        self.next_anon_vma
    }
}
