//! Per-VMA locks: page faults without mmap_lock (kernel: `include/linux/mm.h`, `mm/memory.c`).
//!
//! A reader takes the VMA's own semaphore; a writer, who holds mmap_lock for writing, waits for the
//! readers once and then marks the VMA as locked for as long as it holds mmap_lock. So the VMA is
//! stable for a whole fault, and everything that the classic path does is done under it.

use program::{Faults, MmId};

use crate::cost::Item;
use crate::coverage::Path;
use crate::memory::{Access, Fault, FaultLock, Vmf};
use crate::vma::Vma;
use crate::vma_table::VmaId;
use crate::world::{Cx, World};

#[twice]
impl World {
    /// The fault under the VMA's lock (the first half of `do_user_addr_fault`). `Retry`: to be
    /// handled under mmap_lock.
    pub(crate) async fn do_vma_lock_fault(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        access: Access,
    ) -> Result<(), Fault> {
        let vma = self.lock_vma_under_rcu(mm, vpn).await.ok_or(Fault::Retry)?;
        if !vma.allows(access) {
            let forbidden = self.forbid(cx, mm, vpn, access);
            self.vma_end_read(vma.id);
            return forbidden;
        }
        let lock = FaultLock::Vma;
        let result = self.handle_mm_fault(cx, &Vmf { mm, vma, vpn, access, lock }).await;
        // A fault that is to be retried gave the lock back itself.
        if matches!(result, Err(Fault::Retry | Fault::Killed)) {
            self.hit(Path::VmaLockRetry);
        } else {
            self.hit(Path::VmaLockFault);
            self.vma_end_read(vma.id);
        }
        result
    }

    /// `lock_vma_under_rcu`.
    pub(crate) async fn lock_vma_under_rcu(&self, mm: MmId, vpn: u32) -> Option<Vma> {
        self.machine.rcu_read_lock();
        let found = self.lock_vma(mm, vpn).await;
        self.machine.rcu_read_unlock();
        if found.is_none() {
            self.hit(Path::VmaLockAbort);
        }
        found
    }

    async fn lock_vma(&self, mm: MmId, vpn: u32) -> Option<Vma> {
        loop {
            let found = self.vma_lookup_rcu(mm, vpn)?;
            if !self.vma_start_read(mm, found.id).await {
                return None;
            }
            // Locked now, but perhaps detached, or something else, since it was looked up.
            let vma = self.vma_fields(mm, found.id).filter(|vma| self.vma_is_linked(vma.id));
            match vma {
                Some(vma) if vma.start <= vpn && vpn < vma.end => return Some(vma),
                Some(_) => {
                    self.vma_end_read(found.id);
                    return None;
                }
                None => {
                    self.vma_end_read(found.id);
                    self.hit(Path::VmaLockMiss);
                    self.machine.lap(&(mm.0, vpn));
                }
            }
        }
    }

    /// `vma_start_read`: may fail where no writer is (legal), never succeeds where one is.
    async fn vma_start_read(&self, mm: MmId, id: VmaId) -> bool {
        self.pay(Item::Lock, 1);
        let (vma, seq) = (self.vma_under_rcu(id), &self.mm(mm).mm_lock_seq);
        if vma.lock_seq.get() == seq.get() || !vma.lock.try_read(&self.machine, "vma_lock").await {
            return false;
        }
        if vma.lock_seq.get() == seq.get() {
            self.vma_end_read(id);
            return false;
        }
        true
    }

    /// `vma_end_read`.
    pub(crate) fn vma_end_read(&self, id: VmaId) {
        self.vma_under_rcu(id).lock.read_unlock(&self.machine, "vma_lock");
    }

    /// `vma_start_write`: waits for the readers; from then on, until mmap_lock is released, there
    /// are none.
    #[inline]
    pub(crate) async fn vma_start_write(&self, cx: &Cx, mm: MmId, id: VmaId) {
        if self.shape.faults == Faults::VmaLock {
            self.vma_lock_write(cx, mm, id).await;
        }
    }

    async fn vma_lock_write(&self, cx: &Cx, mm: MmId, id: VmaId) {
        let (vma, seq) = (self.vma_shared(id), self.mm(mm).mm_lock_seq.get());
        if vma.lock_seq.get() != seq {
            vma.lock.write(&self.machine, cx.task, "vma_lock").await;
            vma.lock_seq.set(seq);
            vma.lock.write_unlock(&self.machine, cx.task, "vma_lock");
        }
    }

    /// `vma_end_write_all`, when mmap_lock is released or downgraded.
    pub(crate) fn vma_end_write_all(&self, mm: MmId) {
        let seq = &self.mm(mm).mm_lock_seq;
        seq.set(seq.get().wrapping_add(1));
    }
}
