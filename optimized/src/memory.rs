//! Page faults (kernel: `mm/memory.c`).

use program::{Birth, Errno, Foll as FollKind, Mark, MmId, Seen, Site};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Mapping, Pfn, ZERO_PFN};
use crate::pgtable::{Bits, Pmd, Pte, Table};
use crate::speculative::{Again, Speculation};
use crate::vma::Vma;
use crate::world::{Cx, World};

/// VM_FAULT_* that end a fault without success, or not yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Oom,
    Sigbus,
    Sigsegv,
    /// VM_FAULT_RETRY: what kept the VMA was released; to be done again.
    Retry,
    /// VM_FAULT_RETRY, and a fatal signal is pending.
    Killed,
}

impl Fault {
    /// What a user access gets.
    pub fn signal(self) -> Errno {
        match self {
            Fault::Oom => Errno::ENOMEM,
            Fault::Sigbus => Errno::SIGBUS,
            Fault::Sigsegv | Fault::Retry => Errno::SIGSEGV,
            Fault::Killed => Errno::EINTR,
        }
    }

    /// What GUP makes of it (`vm_fault_to_errno`).
    pub fn errno(self) -> Errno {
        match self {
            Fault::Oom => Errno::ENOMEM,
            Fault::Sigbus | Fault::Sigsegv | Fault::Retry => Errno::EFAULT,
            Fault::Killed => Errno::EINTR,
        }
    }
}

pub(crate) use program::Access;

/// What keeps the VMA for the time of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultLock {
    /// mmap_lock. `retry`: it may be released to sleep (FAULT_FLAG_ALLOW_RETRY).
    Mmap { retry: bool },
    /// The VMA's lock (FAULT_FLAG_VMA_LOCK).
    Vma,
    /// Nothing (FAULT_FLAG_SPECULATIVE).
    None(Speculation),
}

/// `struct vm_fault`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vmf {
    pub mm: MmId,
    pub vma: Vma,
    pub vpn: u32,
    pub access: Access,
    pub lock: FaultLock,
}

impl Vmf {
    pub fn write(&self) -> bool {
        self.access == Access::Write
    }

    /// FAULT_FLAG_ALLOW_RETRY: it may release what keeps its VMA and be made again. (No speculative
    /// fault comes to where this is asked.)
    pub fn allow_retry(&self) -> bool {
        self.lock != FaultLock::Mmap { retry: false }
    }
}

/// `vma->vm_page_prot` for a page of `vma`: what a fresh entry allows without a write fault.
pub(crate) fn page_prot(vma: &Vma) -> Bits {
    let write = vma.flags.shared && !vma.writenotify() && vma.writable();
    Bits { read: vma.readable(), write, dirty: false }
}

/// `maybe_mkwrite(pte_mkdirty(mk_pte(...)))`.
pub(crate) fn mkwrite(vma: &Vma, bits: Bits) -> Bits {
    Bits { write: bits.write || vma.writable(), dirty: vma.writenotify(), ..bits }
}

#[twice]
impl World {
    /// `handle_mm_fault`, `__handle_mm_fault`.
    pub(crate) async fn handle_mm_fault(&self, cx: &Cx, vmf: &Vmf) -> Result<(), Fault> {
        let pmd = self.pmd_number(vmf.vpn);
        self.machine.point().await;
        let orig = self.pmd(vmf.mm, pmd);
        match orig {
            Pmd::None if vmf.write() && self.thp_vma_allowable(vmf) => {
                if self.do_huge_pmd_anonymous_page(cx, vmf).await? {
                    return Ok(());
                }
            }
            Pmd::Huge { bits, .. } => {
                if vmf.access == Access::Read || bits.write {
                    return Ok(());
                }
                if self.do_huge_pmd_wp_page(cx, vmf, orig).await {
                    return Ok(());
                }
            }
            Pmd::Migration { .. } => {
                self.migration_entry_wait(cx, vmf.mm, vmf.vpn).await;
                return Ok(());
            }
            Pmd::None | Pmd::Table(_) => {}
        }
        self.handle_pte_fault(cx, vmf).await
    }

    /// `handle_pte_fault`. A speculative fault does not look at the tables again.
    pub(crate) async fn handle_pte_fault(&self, cx: &Cx, vmf: &Vmf) -> Result<(), Fault> {
        self.machine.point().await;
        let orig = match vmf.lock {
            FaultLock::None(seen) => self.spf_orig_pte(&seen, vmf.vpn).await,
            _ => self.lookup_pte(vmf.mm, vmf.vpn),
        };
        match orig {
            Pte::None if vmf.vma.anonymous() => self.do_anonymous_page(cx, vmf).await,
            Pte::None => self.do_fault(cx, vmf).await,
            pte @ (Pte::Migration { .. }
            | Pte::DevicePrivate { .. }
            | Pte::DeviceExclusive { .. }) => self.do_swap_page(cx, vmf, pte).await,
            Pte::Present { pfn, bits } => {
                if vmf.access == Access::Read || bits.write {
                    return Ok(());
                }
                if self.pte_same_lock(cx, vmf, orig).await?.is_none() {
                    return Ok(());
                }
                self.do_wp_page(cx, vmf, pfn, bits).await
            }
        }
    }

    /// The PTL and the table, if the entry is still the one that the fault is about (`pte_same`).
    pub(crate) async fn pte_same_lock(
        &self,
        cx: &Cx,
        vmf: &Vmf,
        orig: Pte,
    ) -> Result<Option<Table>, Fault> {
        self.pte_map_lock(cx, vmf).await?;
        if let Some(table) = self.table_of(vmf)
            && self.pte(table, vmf.vpn) == orig
        {
            return Ok(Some(table));
        }
        self.hit(Path::FaultRaced);
        self.ptl_unlock(cx, vmf.mm);
        Ok(None)
    }

    /// The fault took effect; `copied`: because of an earlier decision to copy.
    pub(crate) fn fault_mark(&self, cx: &Cx, vmf: &Vmf, copied: bool, new: Option<Pfn>) {
        let Vmf { mm, vpn, access, .. } = *vmf;
        self.mark(cx, || {
            let placed = new.map(|pfn| self.frames.place(pfn));
            (Mark::Fault { mm, vpn, access, copied, placed }, self.seen_entry(mm, vpn))
        });
    }

    /// `pte_offset_map_lock`, `pte_lockptr`: the lock of the page's table.
    pub(crate) async fn pte_map_lock(&self, cx: &Cx, vmf: &Vmf) -> Result<(), Fault> {
        if let FaultLock::None(seen) = &vmf.lock {
            return self.spf_map_lock(cx, vmf, seen).await;
        }
        self.ptl_lock(cx, vmf.mm).await;
        Ok(())
    }

    /// `vmf_anon_prepare`.
    pub(crate) async fn vmf_anon_prepare(&self, cx: &Cx, vmf: &Vmf) -> Result<(), Fault> {
        if vmf.vma.anon_vma.is_some() {
            return Ok(());
        }
        // It looks at the neighbours.
        let mmap_lock = &self.mm(vmf.mm).mmap_lock;
        let vma_lock = vmf.lock == FaultLock::Vma;
        if vma_lock && !mmap_lock.try_read(&self.machine, "mmap_lock").await {
            self.vma_end_read(vmf.vma.id);
            return Err(Fault::Retry);
        }
        self.anon_vma_prepare(cx, vmf.mm, vmf.vpn);
        if vma_lock {
            mmap_lock.read_unlock(&self.machine, "mmap_lock");
        }
        Ok(())
    }

    /// `pte_alloc`: sees to it that a table hangs below the PMD, unless a huge page came first.
    pub(crate) async fn pte_alloc(&self, cx: &Cx, mm: MmId, vpn: u32) -> Result<(), Fault> {
        let pmd = self.pmd_number(vpn);
        if self.pmd(mm, pmd) != Pmd::None {
            return Ok(());
        }
        if self.refused(cx, Site::Table) {
            self.refused_mark(cx, Site::Table);
            return Err(Fault::Oom);
        }
        let table = self.table_alloc();
        self.ptl_lock(cx, mm).await;
        self.pmd_install(cx, mm, pmd, table);
        self.ptl_unlock(cx, mm);
        Ok(())
    }

    /// `pmd_install`: the table, unless somebody was faster.
    pub(crate) fn pmd_install(&self, cx: &Cx, mm: MmId, pmd: u32, table: Table) {
        if self.pmd(mm, pmd) != Pmd::None {
            return self.table_free(table);
        }
        self.set_pmd(mm, pmd, Pmd::Table(table));
        self.mark(cx, || (Mark::Table { mm, pmd }, Seen::Flag(true)));
    }

    /// `do_anonymous_page`.
    async fn do_anonymous_page(&self, cx: &Cx, vmf: &Vmf) -> Result<(), Fault> {
        let Vmf { mm, ref vma, vpn, .. } = *vmf;
        self.fault_table(cx, vmf).await?;
        if !vmf.write() {
            if let Some(table) = self.pte_same_lock(cx, vmf, Pte::None).await? {
                if self.userfaultfd_missing(vmf) {
                    self.userfault_mark(cx, vmf);
                    self.ptl_unlock(cx, mm);
                    return Err(self.handle_userfault(cx, vmf).await);
                }
                if self.spf_look_again(vmf).await != Again::Same {
                    self.ptl_unlock(cx, mm);
                    return Err(Fault::Retry);
                }
                self.hit(Path::AnonZeroPage);
                let bits = page_prot(vma);
                self.set_pte(mm, table, vpn, Pte::Present { pfn: ZERO_PFN, bits });
                self.fault_mark(cx, vmf, false, None);
                self.ptl_unlock(cx, mm);
            }
            return Ok(());
        }
        self.vmf_anon_prepare(cx, vmf).await?;
        let pfn = self.folio_alloc(cx, Site::Page, 0, true).ok_or(Fault::Oom)?;
        let locked = self.pte_same_lock(cx, vmf, Pte::None).await;
        let Ok(Some(table)) = locked else {
            self.folio_put(pfn);
            return locked.map(|_| ());
        };
        let again = self.spf_look_again(vmf).await;
        if again != Again::Same {
            self.ptl_unlock(cx, mm);
            if again == Again::Changed || !self.has(Defect::UffdAbortKeepsPage) {
                self.folio_put(pfn);
            }
            return Err(Fault::Retry);
        }
        // Delivered to user space only now: the PTE may have come meanwhile.
        let missing = self.userfaultfd_missing(vmf);
        if missing {
            self.userfault_mark(cx, vmf);
        } else {
            self.hit(Path::AnonPage);
            self.map_new_anon(cx, mm, table, vpn, pfn, mkwrite(vma, page_prot(vma)));
            self.fault_mark(cx, vmf, false, Some(pfn));
        }
        self.ptl_unlock(cx, mm);
        if missing {
            self.folio_put(pfn);
            return Err(self.handle_userfault(cx, vmf).await);
        }
        Ok(())
    }

    /// The table that the fault will set an entry in; a speculative one never makes it.
    async fn fault_table(&self, cx: &Cx, vmf: &Vmf) -> Result<(), Fault> {
        match vmf.lock {
            FaultLock::None(seen) if !self.has(Defect::SpfMakesTables) => {
                seen.table().map(|_| ()).ok_or(Fault::Retry)
            }
            _ => self.pte_alloc(cx, vmf.mm, vmf.vpn).await,
        }
    }

    /// [`World::add_new_anon_rmap`] and `set_pte_at`: publishes a new order-0
    /// anonymous page; its allocation reference becomes the entry's.
    pub(crate) fn map_new_anon(
        &self,
        cx: &Cx,
        mm: MmId,
        table: Table,
        vpn: u32,
        pfn: Pfn,
        bits: Bits,
    ) {
        self.add_new_anon_rmap(cx, mm, vpn, pfn);
        self.set_pte(mm, table, vpn, Pte::Present { pfn, bits });
    }

    /// `folio_add_new_anon_rmap` and `folio_add_lru_vma` of a new order-0 page, before its entry is
    /// set.
    pub(crate) fn add_new_anon_rmap(&self, cx: &Cx, mm: MmId, vpn: u32, pfn: Pfn) {
        let mapping = self.anon_mapping(mm, vpn, 0);
        self.frames.set_mapping(pfn, mapping);
        self.publish(cx, pfn, Birth::Anon(mm, vpn));
        self.map_add(pfn, 1);
        self.frames.set_exclusive(pfn, true);
        self.folio_add_lru(cx, pfn);
    }

    /// The anonymous mapping of a folio whose page `sub` is mapped at `vpn` (`__folio_set_anon`).
    pub(crate) fn anon_mapping(&self, mm: MmId, vpn: u32, sub: u32) -> Mapping {
        match self.vma_lookup(mm, vpn) {
            Some(Vma { anon_vma: Some(anon_vma), start, pgoff, .. }) => {
                Mapping::Anon(anon_vma, pgoff.wrapping_add(vpn - start).wrapping_sub(sub))
            }
            _ => Mapping::None,
        }
    }

    /// `do_fault`: nothing mapped yet in an object-backed VMA.
    async fn do_fault(&self, cx: &Cx, vmf: &Vmf) -> Result<(), Fault> {
        if !vmf.write() {
            self.do_read_fault(cx, vmf).await
        } else if vmf.vma.flags.shared {
            self.do_shared_fault(cx, vmf).await
        } else {
            self.do_cow_fault(cx, vmf).await
        }
    }

    /// `__do_fault`: preallocates the table, then gets the page-cache folio, locked and held.
    async fn fault_folio(&self, cx: &Cx, vmf: &Vmf) -> Result<(Option<Table>, Pfn), Fault> {
        let mut prealloc = None;
        if self.pmd(vmf.mm, self.pmd_number(vmf.vpn)) == Pmd::None {
            if self.refused(cx, Site::Table) {
                self.refused_mark(cx, Site::Table);
                return Err(Fault::Oom);
            }
            prealloc = Some(self.table_alloc());
        }
        match self.filemap_fault(cx, vmf).await {
            Ok(folio) => Ok((prealloc, folio)),
            Err(fault) => {
                prealloc.into_iter().for_each(|table| self.table_free(table));
                Err(fault)
            }
        }
    }

    /// The first half of `finish_fault`: installs the preallocated table, takes the PTL. Nothing
    /// if the page was mapped meanwhile.
    async fn finish_fault(&self, cx: &Cx, vmf: &Vmf, prealloc: Option<Table>) -> Option<Table> {
        let pmd = self.pmd_number(vmf.vpn);
        if let Some(table) = prealloc {
            self.ptl_lock(cx, vmf.mm).await;
            self.pmd_install(cx, vmf.mm, pmd, table);
            self.ptl_unlock(cx, vmf.mm);
        }
        // Never speculative: it cannot fail.
        self.pte_same_lock(cx, vmf, Pte::None).await.ok().flatten()
    }

    /// The end of a fault on a page-cache folio: its lock, and its reference if no entry got it.
    fn fault_folio_done(&self, cx: &Cx, pfn: Pfn, mapped: bool) {
        self.folio_unlock(cx, pfn);
        if !mapped {
            self.unhold(cx, pfn, 1, FollKind::Get);
        }
    }

    /// `do_read_fault` (fault-around is one page: kernel.md 0.3, decision 4).
    async fn do_read_fault(&self, cx: &Cx, vmf: &Vmf) -> Result<(), Fault> {
        self.hit(Path::FileRead);
        let (prealloc, pfn) = self.fault_folio(cx, vmf).await?;
        let bits = page_prot(&vmf.vma);
        let mapped = self.map_file(cx, vmf, prealloc, pfn, bits).await;
        self.fault_folio_done(cx, pfn, mapped);
        Ok(())
    }

    /// `do_shared_fault`.
    async fn do_shared_fault(&self, cx: &Cx, vmf: &Vmf) -> Result<(), Fault> {
        self.hit(Path::FileShared);
        let (prealloc, pfn) = self.fault_folio(cx, vmf).await?;
        self.set_page_dirty(cx, pfn);
        let bits = mkwrite(&vmf.vma, page_prot(&vmf.vma));
        let mapped = self.map_file(cx, vmf, prealloc, pfn, bits).await;
        self.fault_folio_done(cx, pfn, mapped);
        Ok(())
    }

    /// `finish_fault` of a page-cache folio: the fault's reference becomes the entry's.
    async fn map_file(
        &self,
        cx: &Cx,
        vmf: &Vmf,
        prealloc: Option<Table>,
        pfn: Pfn,
        bits: Bits,
    ) -> bool {
        let Some(table) = self.finish_fault(cx, vmf, prealloc).await else { return false };
        self.map_add(pfn, 1);
        self.set_pte(vmf.mm, table, vmf.vpn, Pte::Present { pfn, bits });
        self.fault_mark(cx, vmf, false, None);
        self.unhold_mark(cx, pfn, 1, FollKind::Get);
        self.ptl_unlock(cx, vmf.mm);
        true
    }

    /// `do_cow_fault`: the new page is allocated before the cache page is read.
    async fn do_cow_fault(&self, cx: &Cx, vmf: &Vmf) -> Result<(), Fault> {
        self.hit(Path::FileCow);
        self.vmf_anon_prepare(cx, vmf).await?;
        let new = self.folio_alloc(cx, Site::Page, 0, true).ok_or(Fault::Oom)?;
        let (prealloc, old) = match self.fault_folio(cx, vmf).await {
            Ok(found) => found,
            Err(fault) => {
                self.folio_put(new);
                return Err(fault);
            }
        };
        self.copy_page(cx, new, old).await;
        match self.finish_fault(cx, vmf, prealloc).await {
            Some(table) => {
                let bits = mkwrite(&vmf.vma, page_prot(&vmf.vma));
                self.map_new_anon(cx, vmf.mm, table, vmf.vpn, new, bits);
                self.fault_mark(cx, vmf, true, Some(new));
                self.ptl_unlock(cx, vmf.mm);
            }
            None => self.folio_put(new),
        }
        self.fault_folio_done(cx, old, false);
        Ok(())
    }
}
