//! Speculative page faults v12: anonymous memory without mmap_lock (kernel: never merged; mm/memory.c
//! of the series).
//!
//! The VMA is held by a reference and watched by its sequence. Page tables are looked at with
//! interrupts off, which keeps those who free them waiting. Before an entry is set the page table's
//! lock is taken by trying, for its holder may be waiting for this very CPU, and sequence and PMD
//! are looked at again, before and under the lock. Whatever is not as it should be ends in
//! `Fault::Retry`: the classic path then does it.
//!
//! Left out: that v12 speculates only where an mm has several users.

use program::{Faults, MmId};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::memory::{Access, Fault, FaultLock, Vmf};
use crate::pgtable::{Pmd, Pte, Table};
use crate::variants::Variant;
use crate::vma::Vma;
use crate::vma_table::VmaId;
use crate::world::{Cx, World};

/// Tries for the page table's lock, if they are bounded.
const MAX_TRY: u32 = 4;

/// What a speculative fault saw with interrupts off, to be found unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Speculation {
    /// `vmf->sequence`.
    sequence: u32,
    /// `vmf->orig_pmd`.
    pmd: Pmd,
    /// `vmf->orig_pte`.
    pub pte: Pte,
}

impl Speculation {
    /// The table that was seen.
    pub fn table(&self) -> Option<Table> {
        match self.pmd {
            Pmd::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// What a speculative fault finds when it looks at its VMA again, under the PTL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Again {
    Same,
    /// Registered with userfaultfd since.
    Registered,
    Changed,
}

#[twice]
impl World {
    /// `handle_speculative_fault`. `Retry`: to be handled under mmap_lock; anything else is final.
    pub(crate) async fn handle_speculative_fault(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        access: Access,
    ) -> Result<(), Fault> {
        let vma = self.find_vma_rcu(mm, vpn).ok_or(Fault::Retry)?;
        let result = self.speculate(cx, mm, vpn, access, vma).await;
        if result != Err(Fault::Retry) || !self.has(Defect::SpfKeepsVma) {
            self.put_vma(vma.id);
        }
        if result == Ok(()) {
            self.hit(Path::Speculative);
        }
        result
    }

    /// `find_vma_rcu`: the VMA, with a reference.
    fn find_vma_rcu(&self, mm: MmId, vpn: u32) -> Option<Vma> {
        self.machine.rcu_read_lock();
        let found = self.vma_lookup_rcu(mm, vpn);
        found.iter().for_each(|vma| self.get_vma(vma.id));
        self.machine.rcu_read_unlock();
        found
    }

    async fn speculate(
        &self,
        cx: &Cx,
        mm: MmId,
        vpn: u32,
        access: Access,
        found: Vma,
    ) -> Result<(), Fault> {
        let id = found.id;
        // A writer inside: never wait for it.
        let sequence = self.vma_shared(id).sequence.begin(&self.machine).await;
        if sequence & 1 == 1 && !self.has(Defect::SpfEntersWriter) {
            return self.bail(Path::SpfVmaChanged);
        }
        let Some(mut vma) = self.vma_fields(mm, id) else { return self.bail(Path::SpfVmaChanged) };
        if self.has(Defect::SpfSamplesLate) {
            vma = found;
        }
        self.spf_supported(&vma, vpn)?;
        if self.has(Defect::SpfKillsUnchecked) {
            // Each field is read by itself: bounds, vm_ops, anon_vma, flags.
            for _field in 0..3 {
                self.machine.point().await;
            }
            vma.flags = self.vma_fields(mm, id).map_or(vma.flags, |now| now.flags);
        }
        if !vma.allows(access) {
            // Only what did not change meanwhile may kill.
            if !self.has(Defect::SpfKillsUnchecked) && self.vma_has_changed(id, sequence).await {
                return self.bail(Path::SpfVmaChanged);
            }
            self.hit(Path::SpfAccess);
            return self.forbid(cx, mm, vpn, access);
        }
        let (pmd, pte) = self.spf_walk(mm, vpn).await?;
        // From here on bounds and flags are known to be of one version.
        if self.vma_has_changed(id, sequence).await {
            return self.bail(Path::SpfVmaChanged);
        }
        let lock = FaultLock::None(Speculation { sequence, pmd, pte });
        self.handle_pte_fault(cx, &Vmf { mm, vma, vpn, access, lock }).await
    }

    /// What is left to the classic path whatever else is true.
    fn spf_supported(&self, vma: &Vma, vpn: u32) -> Result<(), Fault> {
        // vm_ops->fault
        if !vma.anonymous() && !self.has(Defect::SpfMayRetry) {
            return self.bail(Path::SpfNotSup);
        }
        if vma.anon_vma.is_none() && vma.anonymous() && !self.has(Defect::SpfMakesAnonVma) {
            return self.bail(Path::SpfNoAnon);
        }
        if vma.userfaultfd_missing() && !self.has(Defect::SpfIgnoresUffd) {
            return self.bail(Path::SpfNotSup);
        }
        if !(vma.start..vma.end).contains(&vpn) {
            return self.bail(Path::SpfVmaChanged);
        }
        Ok(())
    }

    /// The walk with interrupts off: whatever is seen is not freed before they are on again.
    async fn spf_walk(&self, mm: MmId, vpn: u32) -> Result<(Pmd, Pte), Fault> {
        self.machine.local_irq_disable().await;
        let pmd = self.pmd(mm, self.pmd_number(vpn));
        let pte = if let Pmd::Table(table) = pmd { Some(self.pte(table, vpn)) } else { None };
        self.machine.local_irq_enable().await;
        // A table is made only under mmap_lock: it could come after free_pgtables().
        let pte = pte.or_else(|| self.spf_pte_of_no_table(pmd));
        let Some(pte) = pte else { return self.bail(Path::SpfNoTable) };
        Ok((pmd, pte))
    }

    /// The entry that a speculative fault is about: the one it saw with interrupts off, for by now the
    /// table may be gone.
    pub(crate) async fn spf_orig_pte(&self, seen: &Speculation, vpn: u32) -> Pte {
        match seen.table() {
            Some(table) if self.has(Defect::SpfFetchesPte) => {
                // pte_offset_map: the PMD, the table, the entry.
                self.machine.point().await;
                self.machine.point().await;
                self.check_table(table);
                self.pte(table, vpn)
            }
            _ => seen.pte,
        }
    }

    /// What there is to see without a table, for the defect that makes one.
    fn spf_pte_of_no_table(&self, pmd: Pmd) -> Option<Pte> {
        (self.has(Defect::SpfMakesTables) && pmd == Pmd::None).then_some(Pte::None)
    }

    /// `pte_map_lock`, `pte_spinlock` of a speculative fault: the PTL, if nothing has changed.
    pub(crate) async fn spf_map_lock(
        &self,
        cx: &Cx,
        vmf: &Vmf,
        seen: &Speculation,
    ) -> Result<(), Fault> {
        let (id, number) = (vmf.vma.id, self.pmd_number(vmf.vpn));
        let ptl = self.page_table_lock(cx, vmf.mm);
        let mut tries = 0;
        self.machine.local_irq_disable().await;
        loop {
            // If this holds, whoever tears tables down from now on must wait for this CPU.
            let mut failed = None;
            if self.vma_has_changed(id, seen.sequence).await {
                failed = Some(Path::SpfVmaChanged);
            } else if self.pmd(vmf.mm, number) != seen.pmd && !self.spf_trusts_pmd(seen) {
                failed = Some(Path::SpfPmdChanged);
            } else if self.has(Defect::SpfLooksOnce) {
                // pte_offset_map and pte_lockptr, before what nobody looks at again.
                self.machine.point().await;
                self.machine.point().await;
                if ptl.try_lock(&self.machine, cx.task, "PTL").await {
                    break;
                }
            } else if self.has(Defect::SpfSpinsOnPtl) {
                ptl.lock(&self.machine, cx.task, "PTL").await;
                break;
            } else if ptl.try_lock(&self.machine, cx.task, "PTL").await {
                break;
            }
            if self.has(Defect::SpfIrqWindow) && failed.is_none() {
                // Enabled and disabled again with no instruction between: nothing is delivered.
                self.machine.irq_enable();
                self.machine.irq_disable();
                self.machine.cpu_relax().await;
                self.machine.lap(&vmf.vpn);
                continue;
            }
            self.machine.local_irq_enable().await;
            tries += 1;
            if tries == MAX_TRY && self.shape.faults == Faults::SpeculativeBounded {
                failed = failed.or(Some(Path::SpfLocked));
            }
            if let Some(path) = failed {
                if self.has(Defect::SpfStalePtl) {
                    // vmf->ptl was set all the same: the caller's exit unlocks it.
                    ptl.unlock(&self.machine, cx.task, "PTL");
                }
                return self.bail(path);
            }
            self.machine.lap(&(vmf.vpn, tries.min(MAX_TRY)));
            self.machine.local_irq_disable().await;
        }
        // A writer may have come and gone before the lock was free.
        let second = !self.has(Defect::SpfLooksOnce);
        let changed = second && self.vma_has_changed(id, seen.sequence).await;
        if changed {
            ptl.unlock(&self.machine, cx.task, "PTL");
        }
        // In one step with what the fault does under the lock. A writer that begins after the second
        // look has to wait for the lock before it can undo that, so their order in time is no matter.
        self.machine.irq_enable();
        if changed { self.bail(Path::SpfVmaChanged) } else { Ok(()) }
    }

    /// Where there was no table is the one just made; or the table is taken for what it was.
    fn spf_trusts_pmd(&self, seen: &Speculation) -> bool {
        self.has(Defect::SpfMakesTables) && seen.pmd == Pmd::None
            || self.has(Defect::CollapseUnseen)
    }

    /// The table that the entry is in, under the PTL.
    pub(crate) fn table_of(&self, vmf: &Vmf) -> Option<Table> {
        match (vmf.lock, self.pmd(vmf.mm, self.pmd_number(vmf.vpn))) {
            (FaultLock::None(seen), _) if self.has(Defect::CollapseUnseen) => seen.table(),
            (_, Pmd::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// `vma_has_changed`.
    async fn vma_has_changed(&self, id: VmaId, sequence: u32) -> bool {
        let vma = self.vma_shared(id);
        vma.sequence.retry(&self.machine, sequence).await || !self.vma_is_linked(id)
    }

    /// The alternative of thread S1 (Glisse): a fault that speculates looks under the PTL whether its VMA
    /// is registered with userfaultfd by now, and is then made again. Interrupts are on: whatever changes
    /// the VMA may have come in between, and ends it too.
    pub(crate) async fn spf_look_again(&self, vmf: &Vmf) -> Again {
        let FaultLock::None(seen) = vmf.lock else { return Again::Same };
        if self.variant() != Variant::UffdAbort && !self.has(Defect::UffdAbortKeepsPage) {
            return Again::Same;
        }
        self.machine.point().await;
        let now = self.vma_fields(vmf.mm, vmf.vma.id);
        if now.is_some_and(|now| now.userfaultfd_missing()) {
            self.hit(Path::SpfNotSup);
            return Again::Registered;
        }
        let same = self.vma_shared(vmf.vma.id).sequence.read() == seen.sequence;
        if same && self.vma_is_linked(vmf.vma.id) {
            return Again::Same;
        }
        self.hit(Path::SpfVmaChanged);
        Again::Changed
    }

    fn bail<T>(&self, why: Path) -> Result<T, Fault> {
        self.hit(why);
        Err(Fault::Retry)
    }

    /// `vm_write_begin`: speculative faults in this VMA that began before this end in `Retry`, as
    /// do those that begin before [`World::vm_write_end`].
    #[inline]
    pub(crate) async fn vm_write_begin(&self, id: VmaId) {
        if self.shape.faults.speculative() {
            self.vm_sequence_bump(id).await;
            // What is changed inside is seen by readers one by one.
            self.machine.point().await;
        }
    }

    /// `vm_write_end`.
    #[inline]
    pub(crate) async fn vm_write_end(&self, id: VmaId) {
        if self.shape.faults.speculative() {
            self.vm_sequence_bump(id).await;
        }
    }

    async fn vm_sequence_bump(&self, id: VmaId) {
        self.vma_shared(id).sequence.write(&self.machine).await;
    }
}
