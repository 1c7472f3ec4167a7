//! What a VMA is to those who hold no mmap_lock: an identity, a reference count, a sequence, a lock.
//!
//! The fields of a VMA that everybody else uses stay in the list of its mm (`vma.rs`).

use std::cell::{Cell, OnceCell, RefCell};

use machine::{RwSem, SeqCount};
use program::MmId;

use crate::vma::Vma;
use crate::world::{Conduct, World};

/// Identity of a VMA, as its address is in the kernel. Reused when nobody refers to it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct VmaId(u32);

/// The shared part of a `struct vm_area_struct`.
#[derive(Default)]
pub(crate) struct VmaShared {
    /// `vm_ref_count` of v12: one of the tree, one of each speculative fault.
    refs: Cell<u32>,
    /// In the tree: not RB_EMPTY_NODE (v12), not `detached` (6.12).
    linked: Cell<bool>,
    /// `vm_sequence` of v12: odd while a writer is inside.
    pub sequence: SeqCount,
    /// `vm_lock->lock`.
    pub lock: RwSem,
    /// `vm_lock_seq`.
    pub lock_seq: Cell<u32>,
}

/// As many at hand as all but long programs need, then chunks of 128, 256, 512… so that what is
/// there never moves.
const NEAR: u32 = 64;
const CHUNKS: usize = 20;

/// All shared parts.
pub(crate) struct VmaTable {
    near: [VmaShared; NEAR as usize],
    chunks: [OnceCell<Box<[VmaShared]>>; CHUNKS],
    used: Cell<u32>,
    free: RefCell<Vec<VmaId>>,
    /// Freed, but perhaps still looked at by readers under RCU (`call_rcu`).
    dying: RefCell<Vec<VmaId>>,
    /// VMAs that left the tree and that somebody still refers to.
    orphans: Cell<u32>,
}

impl VmaTable {
    pub fn new() -> VmaTable {
        VmaTable {
            near: std::array::from_fn(|_| VmaShared::default()),
            chunks: Default::default(),
            used: Cell::default(),
            free: RefCell::default(),
            dying: RefCell::default(),
            orphans: Cell::default(),
        }
    }

    pub fn reset(&mut self) {
        let used = self.used.replace(0) as usize;
        let far = self.chunks.iter_mut().filter_map(OnceCell::get_mut).flatten();
        self.near.iter_mut().chain(far).take(used).for_each(|vma| *vma = VmaShared::default());
        self.free.get_mut().clear();
        self.dying.get_mut().clear();
        self.orphans.set(0);
    }

    #[inline]
    fn get(&self, id: VmaId) -> &VmaShared {
        match self.near.get(id.0 as usize) {
            Some(vma) => vma,
            None => self.far(id),
        }
    }

    #[cold]
    fn far(&self, id: VmaId) -> &VmaShared {
        let chunk = (id.0 / NEAR + 1).ilog2();
        let (start, len) = (NEAR * ((1 << chunk) - 1), NEAR << chunk);
        let fresh = || (0..len).map(|_| VmaShared::default()).collect();
        &self.chunks[chunk as usize - 1].get_or_init(fresh)[(id.0 - start) as usize]
    }
}

impl World {
    /// `vm_area_alloc`: a VMA that is about to enter the tree.
    pub(crate) fn vma_alloc(&self) -> VmaId {
        let id = self.vma_table.free.borrow_mut().pop().unwrap_or_else(|| {
            let next = self.vma_table.used.get();
            self.vma_table.used.set(next + 1);
            VmaId(next)
        });
        let vma = self.vma_table.get(id);
        vma.refs.set(1);
        vma.linked.set(true);
        vma.lock_seq.set(u32::MAX);
        id
    }

    /// The shared part of a VMA that the caller may use: it holds mmap_lock or a reference.
    #[inline]
    pub(crate) fn vma_shared(&self, id: VmaId) -> &VmaShared {
        let vma = self.vma_table.get(id);
        if vma.refs.get() == 0 {
            self.report(Conduct::VmaUseAfterFree);
        }
        vma
    }

    /// The shared part of a VMA that was looked up under RCU: it may be freed by now, but is no other
    /// VMA yet.
    #[inline]
    pub(crate) fn vma_under_rcu(&self, id: VmaId) -> &VmaShared {
        self.vma_table.get(id)
    }

    /// `vma_rb_erase` (v12), `vma_mark_detached` (6.12): lockless lookups find it no more.
    pub(crate) fn vma_mark_detached(&self, id: VmaId) {
        if self.vma_shared(id).linked.replace(false) {
            self.vma_table.orphans.set(self.vma_table.orphans.get() + 1);
        }
    }

    pub(crate) fn vma_is_linked(&self, id: VmaId) -> bool {
        self.vma_under_rcu(id).linked.get()
    }

    /// The lookup of a reader without mmap_lock: what is detached is not there.
    pub(crate) fn vma_lookup_rcu(&self, mm: MmId, vpn: u32) -> Option<Vma> {
        self.vma_lookup(mm, vpn).filter(|vma| self.vma_is_linked(vma.id))
    }

    /// What the VMA looks like now, as far as it is still in a list.
    pub(crate) fn vma_fields(&self, mm: MmId, id: VmaId) -> Option<Vma> {
        self.mm(mm).vmas.borrow().iter().find(|vma| vma.id == id).copied()
    }

    /// `get_vma`.
    pub(crate) fn get_vma(&self, id: VmaId) {
        let vma = self.vma_shared(id);
        self.machine.touch(std::ptr::from_ref(&vma.refs).addr(), true);
        vma.refs.set(vma.refs.get() + 1);
    }

    /// `put_vma`: the last one frees it, for use as another when the machine is quiescent.
    pub(crate) fn put_vma(&self, id: VmaId) {
        let vma = self.vma_shared(id);
        self.machine.touch(std::ptr::from_ref(&vma.refs).addr(), true);
        let refs = vma.refs.get().saturating_sub(1);
        vma.refs.set(refs);
        if refs == 0 {
            self.vma_table.orphans.set(self.vma_table.orphans.get().saturating_sub(1));
            self.vma_table.dying.borrow_mut().push(id);
        }
    }

    /// Nobody is inside a fault: frees VMAs for good, and looks for those that nobody will ever put.
    #[inline]
    pub(crate) fn vma_quiesce(&self) {
        if self.vma_table.orphans.get() > 0 {
            self.report(Conduct::VmaLeak);
        }
        if !self.vma_table.dying.borrow().is_empty() {
            self.vma_free_dying();
        }
    }

    fn vma_free_dying(&self) {
        self.vma_table.free.borrow_mut().append(&mut self.vma_table.dying.borrow_mut());
    }
}
