//! userfaultfd, mode "missing", of private anonymous memory (kernel: `fs/userfaultfd.c`,
//! `mm/userfaultfd.c`).
//!
//! An mm has two of them, one of which has UFFD_FEATURE_SIGBUS.

use program::{Errno, Faults, Mark, MmId, Ret, Seen, Site, Span, Uffd, Uffdio, VmaFlags, written};

use crate::coverage::Path;
use crate::frame::{Pfn, ZERO_PFN};
use crate::memory::{Fault, FaultLock, Vmf, mkwrite, page_prot};
use crate::pgtable::{Pmd, Pte, Table};
use crate::vma::Vma;
use crate::world::{Cx, Mm, World};

/// What `mfill_atomic` maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fill {
    /// MFILL_ATOMIC_COPY.
    Copy,
    /// MFILL_ATOMIC_ZEROPAGE.
    ZeroPage,
}

#[twice]
impl World {
    /// `userfaultfd_ioctl`.
    pub(crate) async fn userfaultfd_ioctl(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        uffdio: Uffdio,
    ) -> Result<u32, Errno> {
        match uffdio {
            Uffdio::Register => self.userfaultfd_register(cx, mm, span, Uffd::Missing).await,
            Uffdio::RegisterSigbus => self.userfaultfd_register(cx, mm, span, Uffd::Sigbus).await,
            Uffdio::Unregister => {
                self.userfaultfd_register(cx, mm, span, Uffd::None).await?;
                self.wake_userfault(mm);
                Ok(0)
            }
            Uffdio::Copy => self.mfill_atomic(cx, mm, span, Fill::Copy).await,
            Uffdio::ZeroPage => self.mfill_atomic(cx, mm, span, Fill::ZeroPage).await,
            Uffdio::Wake => {
                self.wake_userfault(mm);
                Ok(0)
            }
        }
    }

    /// `userfaultfd_register`, `userfaultfd_unregister`: all VMAs of the range, or none.
    async fn userfaultfd_register(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        uffd: Uffd,
    ) -> Result<u32, Errno> {
        self.mmap_write_lock(cx, mm).await;
        let result = self.vma_can_userfault(mm, span, uffd);
        if let Err(errno) = result {
            self.uffd_refused_mark(cx, mm, errno);
        }
        let mut vpn = if result.is_ok() { span.start } else { span.end };
        while let Some(vma) = self.find_vma(mm, vpn).filter(|vma| vma.start.max(vpn) < span.end) {
            let piece = Span { start: vma.start.max(vpn), end: vma.end.min(span.end) };
            if vma.flags.uffd != uffd {
                let flags = VmaFlags { uffd, ..vma.flags };
                let id = self.vma_modify(cx, mm, &vma, piece, flags).await;
                self.vm_write_end(id).await;
            }
            vpn = piece.end;
        }
        self.mmap_write_unlock(cx, mm);
        result.map(|()| 0)
    }

    /// The checks before anything is changed. (Shmem is left out.)
    fn vma_can_userfault(&self, mm: MmId, span: Span, uffd: Uffd) -> Result<(), Errno> {
        let vmas = self.mm(mm).vmas.borrow();
        let mut some = false;
        for vma in vmas.iter().filter(|vma| vma.start < span.end && span.start < vma.end) {
            some = true;
            if !vma.anonymous() {
                return Err(Errno::EINVAL);
            }
            let registered = vma.flags.uffd;
            if uffd != Uffd::None && registered != Uffd::None && registered != uffd {
                return Err(Errno::EBUSY);
            }
        }
        if some { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// `mfill_atomic`, and the wake-up after it: how many pages, or the error of the first.
    async fn mfill_atomic(&self, cx: &Cx, mm: MmId, span: Span, fill: Fill) -> Result<u32, Errno> {
        let vma = self.uffd_mfill_lock(cx, mm, span).await?;
        let mut result = Ok(0);
        for vpn in span.start..span.end {
            let page = self.mfill_atomic_pte(cx, mm, &vma, vpn, vpn - span.start, fill).await;
            match (page, result) {
                (Ok(()), Ok(filled)) => result = Ok(filled + 1),
                (Err(errno), Ok(0)) => result = Err(errno),
                _ => break,
            }
            if result.is_err() {
                break;
            }
        }
        self.uffd_mfill_unlock(mm, &vma);
        if result.is_ok() {
            self.wake_userfault(mm);
        }
        result
    }

    /// `uffd_mfill_lock`: the one VMA of the range, with mmap_lock or its own lock held for reading.
    async fn uffd_mfill_lock(&self, cx: &Cx, mm: MmId, span: Span) -> Result<Vma, Errno> {
        let per_vma = self.shape.faults == Faults::VmaLock;
        if per_vma && let Some(vma) = self.lock_vma_under_rcu(mm, span.start).await {
            if vma.flags.shared || vma.anon_vma.is_some() {
                return self.validate_dst_vma(cx, mm, span, vma);
            }
            self.vma_end_read(vma.id);
        }
        self.mmap_read_lock(mm).await;
        let found = self.vma_lookup(mm, span.start);
        if let Some(vma) = found.filter(|_| per_vma) {
            // Not vma_start_read(), which may fail without a writer.
            self.anon_vma_prepare(cx, mm, span.start);
            self.vma_shared(vma.id).lock.read(&self.machine, "vma_lock").await;
            self.mmap_read_unlock(mm);
            return self.validate_dst_vma(cx, mm, span, vma);
        }
        let Some(vma) = found else {
            self.uffd_refused_mark(cx, mm, Errno::ENOENT);
            self.mmap_read_unlock(mm);
            return Err(Errno::ENOENT);
        };
        self.anon_vma_prepare(cx, mm, span.start);
        self.validate_dst_vma(cx, mm, span, vma)
    }

    /// `validate_dst_vma`; gives the lock back if it says no.
    fn validate_dst_vma(&self, cx: &Cx, mm: MmId, span: Span, vma: Vma) -> Result<Vma, Errno> {
        if span.end <= vma.end && vma.flags.uffd != Uffd::None {
            return Ok(vma);
        }
        self.uffd_refused_mark(cx, mm, Errno::ENOENT);
        self.uffd_mfill_unlock(mm, &vma);
        Err(Errno::ENOENT)
    }

    /// `uffd_mfill_unlock`.
    fn uffd_mfill_unlock(&self, mm: MmId, vma: &Vma) {
        if self.shape.faults == Faults::VmaLock {
            self.vma_end_read(vma.id);
        } else {
            self.mmap_read_unlock(mm);
        }
    }

    /// `mfill_atomic_pte`, with the table made before it.
    async fn mfill_atomic_pte(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        vpn: u32,
        index: u32,
        fill: Fill,
    ) -> Result<(), Errno> {
        self.pte_alloc(cx, mm, vpn).await.map_err(Fault::errno)?;
        let table = match self.pmd(mm, self.pmd_number(vpn)) {
            Pmd::Table(table) => table,
            // Never over a huge page.
            _ => {
                self.fill_mark(cx, mm, vpn, index, None, false);
                return Err(Errno::EEXIST);
            }
        };
        match fill {
            Fill::Copy => self.mfill_atomic_pte_copy(cx, mm, vma, vpn, table, index).await,
            Fill::ZeroPage => self.mfill_atomic_pte_zeropage(cx, mm, vma, vpn, table, index).await,
        }
    }

    /// A page was filled in, or `empty` was not what there was.
    fn fill_mark(&self, cx: &Cx, mm: MmId, vpn: u32, index: u32, new: Option<Pfn>, empty: bool) {
        self.mark(cx, || {
            let placed = new.map(|pfn| self.frames.place(pfn));
            let seen = if empty { self.seen_entry(mm, vpn) } else { Seen::Flag(false) };
            (Mark::UffdFill { mm, vpn, index, placed }, seen)
        });
    }

    fn uffd_refused_mark(&self, cx: &Cx, mm: MmId, errno: Errno) {
        self.mark(cx, || (Mark::UffdRefused { mm }, Seen::Ret(Ret::Err(errno))));
    }

    /// `mfill_atomic_pte_copy`, `mfill_atomic_install_pte`.
    async fn mfill_atomic_pte_copy(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        vpn: u32,
        table: Table,
        index: u32,
    ) -> Result<(), Errno> {
        let new = self.folio_alloc(cx, Site::Page, 0, true).ok_or(Errno::ENOMEM)?;
        self.frames.set_data(new, written(cx.number, index));
        self.ptl_lock(cx, mm).await;
        let empty = self.pte(table, vpn) == Pte::None;
        if empty {
            self.hit(Path::UffdCopy);
            self.map_new_anon(cx, mm, table, vpn, new, mkwrite(vma, page_prot(vma)));
        }
        self.fill_mark(cx, mm, vpn, index, Some(new), empty);
        self.ptl_unlock(cx, mm);
        if empty {
            return Ok(());
        }
        self.hit(Path::UffdExists);
        self.folio_put(new);
        Err(Errno::EEXIST)
    }

    /// `mfill_atomic_pte_zeropage`.
    async fn mfill_atomic_pte_zeropage(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        vpn: u32,
        table: Table,
        index: u32,
    ) -> Result<(), Errno> {
        self.ptl_lock(cx, mm).await;
        let empty = self.pte(table, vpn) == Pte::None;
        if empty {
            self.hit(Path::UffdZeroPage);
            self.set_pte(mm, table, vpn, Pte::Present { pfn: ZERO_PFN, bits: page_prot(vma) });
        }
        self.fill_mark(cx, mm, vpn, index, None, empty);
        self.ptl_unlock(cx, mm);
        if empty { Ok(()) } else { Err(Errno::EEXIST) }
    }

    /// A fault found nothing where userfaultfd is to be told.
    pub(crate) fn userfault_mark(&self, cx: &Cx, vmf: &Vmf) {
        let Vmf { mm, vpn, .. } = *vmf;
        let sigbus = self.userfault_is_sigbus(vmf);
        self.mark(cx, || (Mark::Userfault { mm, vpn, sigbus }, Seen::Flag(true)));
    }

    /// Without leave to sleep, or if so registered, a userfault is a SIGBUS.
    fn userfault_is_sigbus(&self, vmf: &Vmf) -> bool {
        vmf.vma.flags.uffd == Uffd::Sigbus || !vmf.allow_retry()
    }

    /// `handle_userfault`: the fault is left to user space. It is queued, and has looked, before the lock
    /// is released that keeps the VMA registered: no wake-up is lost.
    pub(crate) async fn handle_userfault(&self, cx: &Cx, vmf: &Vmf) -> Fault {
        if self.userfault_is_sigbus(vmf) {
            self.hit(Path::UffdSigbus);
            return Fault::Sigbus;
        }
        self.hit(Path::UffdWait);
        let Mm { userfaults, kills, .. } = self.mm(vmf.mm);
        let before = kills.get();
        let waits = || {
            let waits = self.userfaultfd_must_wait(vmf);
            userfaults.set(userfaults.get() + 1);
            self.release_fault_lock(vmf);
            waits
        };
        self.machine.sleep_if(userfaults, "userfault", waits).await;
        userfaults.set(userfaults.get() - 1);
        if kills.get() == before {
            return Fault::Retry;
        }
        self.mark(cx, || (Mark::Killed, Seen::Nothing));
        Fault::Killed
    }

    /// Nobody else can go on: whoever waits for a userfault is killed. Says whether somebody was.
    pub(crate) fn kill_userfaults(&self) -> bool {
        let mut killed = false;
        for mm in self.live_mms() {
            let Mm { userfaults, kills, .. } = self.mm(mm);
            if userfaults.get() > 0 {
                killed = true;
                kills.set(kills.get() + 1);
                self.machine.wake_up(userfaults);
            }
        }
        killed
    }

    /// `userfaultfd_must_wait`: whether the page is still missing.
    fn userfaultfd_must_wait(&self, vmf: &Vmf) -> bool {
        match self.pmd(vmf.mm, self.pmd_number(vmf.vpn)) {
            Pmd::None => true,
            Pmd::Table(table) => self.pte(table, vmf.vpn) == Pte::None,
            _ => false,
        }
    }

    /// `wake_userfault`. Sleepers elsewhere in the mm are woken too: they find their page missing
    /// and sleep again.
    fn wake_userfault(&self, mm: MmId) {
        if self.mm(mm).userfaults.get() > 0 {
            self.machine.wake_up(&self.mm(mm).userfaults);
        }
    }

    /// `userfaultfd_missing`. A speculative fault looked before it began, and does not look again.
    pub(crate) fn userfaultfd_missing(&self, vmf: &Vmf) -> bool {
        vmf.vma.flags.uffd != Uffd::None && !matches!(vmf.lock, FaultLock::None(_))
    }
}
