//! Faults at entries that are not present (kernel: `mm/memory.c:do_swap_page`): migration,
//! device-private and device-exclusive entries.

use program::MmId;

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::Pfn;
use crate::memory::{Fault, FaultLock, Vmf, mkwrite, page_prot};
use crate::pgtable::{Pmd, Pte, Table};
use crate::vma::Vma;
use crate::world::{Cx, World};

impl World {
    /// `do_swap_page`: an entry that is not present.
    pub(crate) async fn do_swap_page(&self, cx: &Cx, vmf: Vmf, entry: Pte) -> Result<(), Fault> {
        match entry {
            _ if matches!(vmf.lock, FaultLock::None(_)) => {
                self.hit(Path::SpfSpecial);
                Err(Fault::Retry)
            }
            Pte::DevicePrivate { .. } if vmf.lock == FaultLock::Vma => {
                // migrate_to_ram is not ready to work under the VMA's lock.
                self.release_fault_lock(&vmf);
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
            Pte::DevicePrivate { pfn, .. } => {
                self.ptl_lock(cx, vmf.mm).await;
                if self.lookup_pte(vmf.mm, vmf.vpn) != entry {
                    self.ptl_unlock(cx, vmf.mm);
                    return Ok(());
                }
                if !self.folio_trylock(cx, pfn) {
                    self.ptl_unlock(cx, vmf.mm);
                    self.migration_entry_wait_on_locked(pfn).await;
                    return Ok(());
                }
                // Only the owner of the lock takes a reference: one more would stop the migration.
                self.folio_get(pfn);
                if self.entry_in_fault() {
                    self.install_migration_entry(cx, &vmf);
                }
                self.ptl_unlock(cx, vmf.mm);
                let result = self.migrate_to_ram(cx, vmf, pfn).await;
                if self.entry_in_fault() && !self.has(Defect::OrphanMigrationEntry) {
                    self.remove_migration_ptes(cx, pfn, pfn).await;
                }
                if self.has(Defect::PutBeforeUnlock) {
                    self.folio_put(pfn);
                    self.folio_unlock(cx, pfn);
                } else {
                    self.folio_unlock(cx, pfn);
                    self.folio_put(pfn);
                }
                result
            }
            Pte::None | Pte::Present { .. } => Ok(()),
        }
    }

    /// The alternative of thread S0: the fault installs the migration entry, not collect.
    pub(crate) fn entry_in_fault(&self) -> bool {
        self.has(Defect::OrphanMigrationEntry)
            || self.has(Defect::PreinstalledEntrySkipped)
            || self.has(Defect::EntryHandOffUnlocksTwice)
    }

    fn install_migration_entry(&self, cx: &Cx, vmf: &Vmf) {
        if let Pmd::Table(table) = self.pmd(vmf.mm, self.pmd_number(vmf.vpn)) {
            self.set_pte_migration_entry(cx, vmf.mm, table, vmf.vpn, false);
        }
    }

    /// `remove_device_exclusive_entry`.
    async fn remove_device_exclusive_entry(&self, cx: &Cx, vmf: Vmf, entry: Pte, pfn: Pfn) {
        let head = self.frames.head(pfn);
        self.folio_get(head);
        self.folio_lock(cx, head).await;
        self.ptl_lock(cx, vmf.mm).await;
        if let Pmd::Table(table) = self.pmd(vmf.mm, self.pmd_number(vmf.vpn))
            && self.pte(table, vmf.vpn) == entry
        {
            self.restore_exclusive_pte(vmf.mm, &vmf.vma, table, vmf.vpn);
        }
        self.ptl_unlock(cx, vmf.mm);
        self.folio_unlock(cx, head);
        self.folio_put(head);
    }

    /// `restore_exclusive_pte`: under the folio lock and the PTL. The entry's reference becomes
    /// the mapping's.
    pub(crate) fn restore_exclusive_pte(&self, mm: MmId, vma: &Vma, table: Table, vpn: u32) {
        let Pte::DeviceExclusive { pfn, write } = self.pte(table, vpn) else { return };
        self.hit(Path::ExclusiveRestored);
        let prot = page_prot(vma);
        let bits = if write { mkwrite(vma, prot) } else { prot };
        self.counted(self.frames.map_add(pfn, 1));
        self.set_pte(mm, table, vpn, Pte::Present { pfn, bits });
    }

    /// `migration_entry_wait`, `pmd_migration_entry_wait`: for the end of the migration, if the
    /// entry is still one.
    pub(crate) async fn migration_entry_wait(&self, cx: &Cx, mm: MmId, vpn: u32) {
        self.ptl_lock(cx, mm).await;
        let migrating = match (self.pmd(mm, self.pmd_number(vpn)), self.lookup_pte(mm, vpn)) {
            (Pmd::Migration { pfn, .. }, _) | (Pmd::Table(_), Pte::Migration { pfn, .. }) => {
                Some(pfn)
            }
            _ => None,
        };
        self.ptl_unlock(cx, mm);
        if let Some(pfn) = migrating {
            self.migration_entry_wait_on_locked(pfn).await;
        }
    }

    /// `migration_entry_wait_on_locked`: sleeps until the folio is unlocked, without a reference.
    pub(crate) async fn migration_entry_wait_on_locked(&self, pfn: Pfn) {
        let head = self.frames.head(pfn);
        self.frames.lock(head).wait(&self.machine, "PG_locked").await;
    }
}
