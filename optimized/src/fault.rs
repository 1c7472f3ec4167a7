//! The user's side of page faults: the access, the front-end, the retry (kernel:
//! `arch/x86/mm/fault.c`).

use program::{Faults, Mark, MmId, Seen};

use crate::frame::Pfn;
use crate::memory::{Access, Fault, FaultLock, Vmf};
use crate::world::{Cx, World};

#[twice]
impl World {
    /// A user access to one page: returns the frame once the entry permits it.
    pub(crate) async fn user_access(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        write: bool,
    ) -> Result<Pfn, Fault> {
        let access = if write { Access::Write } else { Access::Read };
        loop {
            // The walk and the access that the caller makes are one step.
            self.machine.point().await;
            if let Some(pfn) = self.mmu_translate(cx, mm, vpn, write) {
                return Ok(pfn);
            }
            match self.do_user_addr_fault(cx, mm, vpn, access).await {
                Ok(()) | Err(Fault::Retry) => {
                    self.machine.lap(&(cx.number, mm.0, vpn, write, cx.attempt.get()));
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// `do_user_addr_fault`: the machine's front-end, and where it gives up the classic path.
    async fn do_user_addr_fault(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        access: Access,
    ) -> Result<(), Fault> {
        let attempts = cx.attempt.get();
        let result = match self.shape.faults {
            Faults::Classic => Err(Fault::Retry),
            Faults::VmaLock => self.do_vma_lock_fault(cx, mm, vpn, access).await,
            _ => self.handle_speculative_fault(cx, mm, vpn, access).await,
        };
        if result != Err(Fault::Retry) {
            return result;
        }
        // What is done again is no new attempt (docs/architecture.md).
        cx.attempt.set(attempts);
        self.mmap_read_lock(mm).await;
        let result = self.do_classic_fault(cx, mm, vpn, access).await;
        if !matches!(result, Err(Fault::Retry | Fault::Killed)) {
            self.mmap_read_unlock(mm);
        }
        result
    }

    /// Under mmap_lock.
    async fn do_classic_fault(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        access: Access,
    ) -> Result<(), Fault> {
        let Some(vma) = self.vma_lookup(mm, vpn).filter(|vma| vma.allows(access)) else {
            return self.forbid(cx, mm, vpn, access);
        };
        let lock = FaultLock::Mmap { retry: true };
        self.handle_mm_fault(cx, &Vmf { mm, vma, vpn, access, lock }).await
    }

    /// The VMA, or its lack, forbids the access (`bad_area`).
    pub(crate) fn forbid(&self, cx: &Cx, mm: MmId, vpn: u32, access: Access) -> Result<(), Fault> {
        self.mark(cx, || (Mark::Forbidden { mm, vpn, access }, Seen::Flag(false)));
        Err(Fault::Sigsegv)
    }

    /// `release_fault_lock`, before a fault sleeps for long; it then ends in `Retry`.
    pub(crate) fn release_fault_lock(&self, vmf: &Vmf) {
        match vmf.lock {
            FaultLock::Vma => self.vma_end_read(vmf.vma.id),
            FaultLock::Mmap { .. } | FaultLock::None(_) => {
                self.mmap_read_unlock(vmf.mm);
            }
        }
    }
}
