//! Faults at entries that are not present (kernel: `mm/memory.c:do_swap_page`): migration,
//! device-private and device-exclusive entries.

use program::{DeviceMark, Foll, MmId};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::Pfn;
use crate::memory::{Fault, FaultLock, Vmf, mkwrite, page_prot};
use crate::pgtable::{Pmd, Pte, Table};
use crate::variants::Variant;
use crate::vma::Vma;
use crate::world::{Conduct, Cx, World};

#[twice]
impl World {
    /// `do_swap_page`: an entry that is not present.
    pub(crate) async fn do_swap_page(&self, cx: &Cx, vmf: &Vmf, entry: Pte) -> Result<(), Fault> {
        match entry {
            _ if matches!(vmf.lock, FaultLock::None(_)) => {
                self.hit(Path::SpfSpecial);
                Err(Fault::Retry)
            }
            Pte::DevicePrivate { .. } if vmf.lock == FaultLock::Vma => {
                // migrate_to_ram is not ready to work under the VMA's lock.
                self.release_fault_lock(vmf);
                Err(Fault::Retry)
            }
            Pte::Migration { .. } => {
                self.migration_entry_wait(cx, vmf.mm, vmf.vpn).await;
                Ok(())
            }
            Pte::DeviceExclusive { pfn, .. } => {
                self.remove_device_exclusive_entry(cx, vmf, entry, pfn).await;
                Ok(())
            }
            Pte::DevicePrivate { pfn, .. } => self.do_device_private(cx, vmf, entry, pfn).await,
            Pte::None | Pte::Present { .. } => Ok(()),
        }
    }

    /// `do_swap_page` where it finds a device-private entry.
    async fn do_device_private(
        &self,
        cx: &Cx,
        vmf: &Vmf,
        entry: Pte,
        pfn: Pfn,
    ) -> Result<(), Fault> {
        self.ptl_lock(cx, vmf.mm).await;
        if self.lookup_pte(vmf.mm, vmf.vpn) != entry {
            self.ptl_unlock(cx, vmf.mm);
            return Ok(());
        }
        if self.has(Defect::ReferenceBeforeLock) {
            self.hold(cx, pfn, 1, Foll::Get);
            self.ptl_unlock(cx, vmf.mm);
            let result = self.migrate_to_ram(cx, vmf, pfn).await;
            self.unhold(cx, pfn, 1, Foll::Get);
            return result;
        }
        if !self.folio_trylock(cx, pfn) {
            return self.device_private_locked(cx, vmf, pfn).await;
        }
        // Only the owner of the lock takes a reference: one more would stop the migration.
        self.hold(cx, pfn, 1, Foll::Get);
        if self.entry_in_fault() {
            self.install_migration_entry(cx, vmf);
        }
        self.ptl_unlock(cx, vmf.mm);
        self.migrate_private_page(cx, vmf, pfn).await
    }

    /// `migrate_to_ram` of a page that the fault holds and has locked.
    async fn migrate_private_page(&self, cx: &Cx, vmf: &Vmf, pfn: Pfn) -> Result<(), Fault> {
        let result = self.migrate_to_ram(cx, vmf, pfn).await;
        if self.entry_in_fault() && !self.has(Defect::OrphanMigrationEntry) {
            self.remove_migration_ptes(cx, pfn, pfn).await;
        }
        if self.has(Defect::PutBeforeUnlock) {
            self.unhold(cx, pfn, 1, Foll::Get);
            self.folio_unlock(cx, pfn);
        } else {
            self.folio_unlock(cx, pfn);
            self.unhold(cx, pfn, 1, Foll::Get);
        }
        result
    }

    /// Somebody else has locked the page: waits, and the access is made again.
    async fn device_private_locked(&self, cx: &Cx, vmf: &Vmf, pfn: Pfn) -> Result<(), Fault> {
        self.hit(Path::DeviceFaultWaits);
        let in_kernel = vmf.lock == FaultLock::Mmap { retry: false };
        let spins = self.has(Defect::SpinStarvesDrain) || self.has(Defect::DrainMovedUp);
        let spins = spins || self.variant() == Variant::CondResched;
        if self.has(Defect::TrylockFailureIsSuccess) || spins && in_kernel {
            self.ptl_unlock(cx, vmf.mm);
            return Ok(());
        }
        if self.has(Defect::WaitKeepsPtl) {
            return Ok(());
        }
        if self.has(Defect::WaitWithReference) {
            self.hold(cx, pfn, 1, Foll::Get);
            self.ptl_unlock(cx, vmf.mm);
            self.frames.lock(pfn).wait(&self.machine, "PG_locked").await;
            self.unhold(cx, pfn, 1, Foll::Get);
            return Ok(());
        }
        self.migration_entry_wait_on_locked(cx, vmf.mm, pfn).await;
        if self.has(Defect::WaitThenUnlock) {
            self.ptl_unlock(cx, vmf.mm);
        }
        if self.has(Defect::WaitIsLock) && self.frames.refcount(pfn) > 0 {
            self.hold(cx, pfn, 1, Foll::Get);
            return self.migrate_private_page(cx, vmf, pfn).await;
        }
        Ok(())
    }

    /// The alternative of thread S0: the fault installs the migration entry, not collect.
    pub(crate) fn entry_in_fault(&self) -> bool {
        self.has(Defect::OrphanMigrationEntry)
            || self.has(Defect::PreinstalledEntrySkipped)
            || self.has(Defect::EntryHandOffUnlocksTwice)
    }

    fn install_migration_entry(&self, cx: &Cx, vmf: &Vmf) {
        if let Pmd::Table(table) = self.pmd(vmf.mm, self.pmd_number(vmf.vpn)) {
            self.set_pte_migration_entry(cx, vmf.mm, table, vmf.vpn);
        }
    }

    /// `remove_device_exclusive_entry`.
    async fn remove_device_exclusive_entry(&self, cx: &Cx, vmf: &Vmf, entry: Pte, pfn: Pfn) {
        // The entry was read without a lock: the folio may be gone.
        let head = self.frames.head(pfn);
        if self.frames.refcount(head) == 0 {
            return;
        }
        self.hold(cx, head, 1, Foll::Get);
        self.folio_lock(cx, head).await;
        self.ptl_lock(cx, vmf.mm).await;
        if let Pmd::Table(table) = self.pmd(vmf.mm, self.pmd_number(vmf.vpn))
            && self.pte(table, vmf.vpn) == entry
        {
            self.restore_exclusive_pte(cx, vmf.mm, &vmf.vma, table, vmf.vpn);
        }
        self.ptl_unlock(cx, vmf.mm);
        self.folio_unlock(cx, head);
        self.unhold(cx, head, 1, Foll::Get);
    }

    /// `restore_exclusive_pte`: under the folio lock and the PTL. The entry's reference becomes
    /// the mapping's.
    pub(crate) fn restore_exclusive_pte(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        table: Table,
        vpn: u32,
    ) {
        let Pte::DeviceExclusive { pfn, write } = self.pte(table, vpn) else { return };
        self.hit(Path::ExclusiveRestored);
        let prot = page_prot(vma);
        let bits = if write { mkwrite(vma, prot) } else { prot };
        self.map_add(pfn, 1);
        self.set_pte(mm, table, vpn, Pte::Present { pfn, bits });
        self.device_mark(cx, DeviceMark::Restore { mm, vpn }, || self.seen_entry(mm, vpn));
    }

    /// `migration_entry_wait`, `pmd_migration_entry_wait`: for the end of the migration, if the
    /// entry is still one.
    pub(crate) async fn migration_entry_wait(&self, cx: &Cx, mm: MmId, vpn: u32) {
        self.ptl_lock(cx, mm).await;
        match (self.pmd(mm, self.pmd_number(vpn)), self.lookup_pte(mm, vpn)) {
            (Pmd::Migration { pfn, .. }, _) | (Pmd::Table(_), Pte::Migration { pfn, .. }) => {
                self.migration_entry_wait_on_locked(cx, mm, pfn).await;
            }
            _ => self.ptl_unlock(cx, mm),
        }
    }

    /// `migration_entry_wait_on_locked`: sleeps until the folio is unlocked, without a reference,
    /// which would stop the migration. The entry keeps the folio until the PTL is dropped, and by
    /// then this task is queued. That it was woken is only a hint.
    async fn migration_entry_wait_on_locked(&self, cx: &Cx, mm: MmId, pfn: Pfn) {
        let head = self.frames.head(pfn);
        if self.frames.refcount(head) <= 0 {
            self.report(Conduct::UseAfterFree);
        }
        let lock = self.frames.lock(head);
        if self.has(Defect::WaitAfterUnlock) {
            self.ptl_unlock(cx, mm);
            self.machine.point().await;
            if self.frames.refcount(head) <= 0 {
                self.report(Conduct::UseAfterFree);
            }
            return lock.wait(&self.machine, "PG_locked").await;
        }
        if self.has(Defect::WaitWithoutRecheck) {
            let locked = lock.owner().is_some();
            self.ptl_unlock(cx, mm);
            self.machine.point().await;
            if locked {
                lock.wait_unseen(&self.machine, "PG_locked").await;
            }
            return;
        }
        let release = || self.ptl_unlock(cx, mm);
        lock.wait_releasing(&self.machine, "PG_locked", release).await;
    }
}
