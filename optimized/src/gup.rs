//! get_user_pages, the slow walk, and the way back (kernel: `mm/gup.c`).

use program::{Errno, Foll as FollKind, Mark, MmId, Seen, Site, Span};

use crate::cost::Item;
use crate::coverage::Path;
use crate::defects::Defect;
use crate::folio::Foll;
use crate::frame::{Pfn, ZERO_PFN};
use crate::gup_sink::{Count, Sink};
use crate::memory::{Access, Fault, FaultLock, Vmf};
use crate::pgtable::{Bits, Pmd, Pte, Table};
use crate::vma::Vma;
use crate::world::{Cx, World};

/// What a walk is for (FOLL_WRITE, FOLL_LONGTERM, FOLL_GET or FOLL_PIN), and whether it may release
/// mmap_lock on the way (FOLL_UNLOCKABLE).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct GupFlags {
    pub write: bool,
    pub longterm: bool,
    /// Ends after one leaf.
    pub one_leaf: bool,
    pub foll: Foll,
    pub unlockable: bool,
    /// FOLL_SPLIT_PMD.
    pub split_pmd: bool,
    /// A longterm pin walks again.
    pub again: bool,
}

/// What `follow_page_mask` found.
enum Follow {
    /// `nr` consecutive pages of one folio from `page` on, with references; the next was refused
    /// one if `refused`.
    Pages { page: Pfn, nr: u32, writable: bool, refused: bool },
    /// Nothing that satisfies the request: fault it in.
    Fault,
    /// -EMLINK: present but to be unshared first.
    Unshare,
    /// The grab was refused.
    Refused(Errno),
}

/// Where `follow_page_mask` looks.
#[derive(Clone, Copy)]
struct Place<'a> {
    mm: MmId,
    vma: &'a Vma,
    vpn: u32,
    /// Pages still wanted of this VMA.
    limit: u32,
}

#[twice]
impl World {
    /// `__get_user_pages_locked`. Appends what it got to `sink` and returns how many pages that
    /// are, or the error if the very first page failed.
    pub(crate) async fn get_user_pages(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Result<u32, Errno> {
        self.mmap_read_lock(mm).await;
        let result = self.get_user_pages_remote(cx, mm, span, flags, sink).await;
        self.mmap_read_unlock(mm);
        result
    }

    /// The same for a caller that holds mmap_lock, and keeps it.
    pub(crate) async fn get_user_pages_remote(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        sink: &mut dyn Sink,
    ) -> Result<u32, Errno> {
        self.pay(Item::Call, 1);
        self.gup_walk(cx, mm, span, flags, sink, Errno::EFAULT, Errno::EFAULT).await
    }

    /// `faultin_page_range`: the walk without references, with the errors of MADV_POPULATE.
    pub(crate) async fn faultin_page_range(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        write: bool,
    ) -> Result<u32, Errno> {
        self.mmap_read_lock(mm).await;
        let flags = GupFlags { write, unlockable: true, ..GupFlags::default() };
        let result =
            self.gup_walk(cx, mm, span, flags, &mut Count, Errno::ENOMEM, Errno::EINVAL).await;
        self.mmap_read_unlock(mm);
        result
    }

    /// `__get_user_pages`.
    #[expect(clippy::too_many_arguments, reason = "two callers, which differ in their errors")]
    async fn gup_walk(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        flags: GupFlags,
        sink: &mut dyn Sink,
        no_vma: Errno,
        forbidden: Errno,
    ) -> Result<u32, Errno> {
        let mut got = 0;
        let mut vpn = span.start;
        let error = loop {
            if vpn >= span.end {
                return Ok(got);
            }
            self.machine.lap(&(cx.number, vpn, got, cx.attempt.get()));
            let vma = self.vma_lookup(mm, vpn);
            let Some(vma) = vma.filter(|vma| World::check_vma_flags(vma, flags)) else {
                let access = if flags.write { Access::Write } else { Access::Read };
                self.mark(cx, || (Mark::Forbidden { mm, vpn, access }, Seen::Flag(false)));
                break if vma.is_some() { forbidden } else { no_vma };
            };
            self.machine.cond_resched().await;
            let limit = span.end.min(vma.end) - vpn;
            let place = Place { mm, vma: &vma, vpn, limit };
            match self.follow_page_mask(cx, place, flags).await {
                Follow::Pages { page, nr, writable, refused } => {
                    sink.push(self, page, nr, writable);
                    got += nr;
                    vpn += nr;
                    if refused {
                        break Errno::ENOMEM;
                    }
                    if flags.one_leaf {
                        return Ok(got);
                    }
                }
                Follow::Refused(errno) => break errno,
                other => {
                    let unshare = matches!(other, Follow::Unshare);
                    match self.faultin_page(cx, mm, &vma, vpn, flags, unshare).await {
                        Ok(()) => {}
                        // The fault released mmap_lock: what was got so far stays.
                        Err(Fault::Retry) => {
                            self.mmap_read_lock(mm).await;
                        }
                        Err(fault @ Fault::Killed) => {
                            self.mmap_read_lock(mm).await;
                            break fault.errno();
                        }
                        Err(fault) => break fault.errno(),
                    }
                    continue;
                }
            }
        };
        if got > 0 { Ok(got) } else { Err(error) }
    }

    /// Whether GUP may read or write through a VMA at all (`check_vma_flags`). A longterm pin must
    /// not write to a file whose dirty pages are tracked (`writable_file_mapping_allowed`).
    fn check_vma_flags(vma: &Vma, flags: GupFlags) -> bool {
        match flags.write {
            true => vma.writable() && !(flags.longterm && vma.writenotify()),
            false => vma.readable(),
        }
    }

    /// `faultin_page`.
    async fn faultin_page(
        &self,
        cx: &Cx,
        mm: MmId,
        vma: &Vma,
        vpn: u32,
        flags: GupFlags,
        unshare: bool,
    ) -> Result<(), Fault> {
        let access = match (unshare, flags.write) {
            (true, _) => Access::Unshare,
            (false, true) => Access::Write,
            (false, false) => Access::Read,
        };
        self.hit(if unshare { Path::GupUnshare } else { Path::GupFault });
        let lock = FaultLock::Mmap { retry: flags.unlockable };
        cx.faults.set(cx.faults.get() + 1);
        let nested = self.has(Defect::NestedMmapRead);
        if nested {
            self.mmap_read_lock(mm).await;
        }
        let vmf = Vmf { mm, vma: *vma, vpn, access, lock };
        let result = self.handle_mm_fault(cx, &vmf).await;
        if nested {
            self.mmap_read_unlock(mm);
        }
        result
    }

    /// `follow_page_mask`: `follow_huge_pmd` or `follow_page_pte`.
    async fn follow_page_mask(&self, cx: &Cx, place: Place<'_>, flags: GupFlags) -> Follow {
        let Place { mm, vpn, .. } = place;
        if flags.split_pmd {
            self.split_huge_pmd(cx, mm, self.pmd_number(vpn)).await;
        }
        self.ptl_lock(cx, mm).await;
        self.pay(Item::Pmd, 1);
        let found = match self.pmd(mm, self.pmd_number(vpn)) {
            Pmd::Huge { pfn, bits, .. } => self.follow_huge_pmd(cx, place, pfn, bits, flags),
            Pmd::Table(table) => self.follow_page_pte(cx, place, table, flags),
            _ => Follow::Fault,
        };
        self.follow_mark(cx, place, flags, &found);
        self.ptl_unlock(cx, mm);
        found
    }

    fn follow_mark(&self, cx: &Cx, place: Place<'_>, flags: GupFlags, found: &Follow) {
        let Place { mm, vpn, .. } = place;
        let write = flags.write;
        match *found {
            Follow::Pages { page, nr: pages, refused, .. } => {
                self.mark(cx, || match flags.foll {
                    None => (Mark::Follow { mm, vpn, pages, write }, Seen::Flag(true)),
                    Some(_) => {
                        let seen = Seen::Page(self.page_ref(page));
                        (Mark::Grab { mm, vpn, pages, held: false }, seen)
                    }
                });
                if refused {
                    self.refused_mark(cx, Site::Grab);
                }
            }
            Follow::Refused(errno) => {
                let second = errno == Errno::EFAULT;
                let mark = Mark::Refused { site: Site::Grab, second };
                self.mark(cx, || (mark, Seen::Nothing));
            }
            Follow::Fault | Follow::Unshare => {}
        }
    }

    /// `follow_huge_pmd`: all that is wanted of the leaf, in one grab (`page_mask`).
    fn follow_huge_pmd(
        &self,
        cx: &Cx,
        place: Place<'_>,
        head: Pfn,
        bits: Bits,
        flags: GupFlags,
    ) -> Follow {
        if let Some(missed) = self.missed(head, bits, place.vma, flags) {
            return missed;
        }
        let index = self.pte_index(place.vpn);
        let whole = self.batch_of(u32::from(self.shape.ptes) - index);
        self.grab_leaf(cx, Pfn(head.0 + index), whole, bits, place, flags)
    }

    /// How much of a leaf is taken at once.
    pub(crate) fn batch_of(&self, pages: u32) -> u32 {
        if self.variant().batches() { pages } else { 1 }
    }

    /// `follow_page_pte`: one page, or a run of consecutive pages of one large folio. Every entry
    /// of the run is looked at: only a PMD says that what follows the page in the folio also
    /// follows it in the address space (Gunthorpe in S4; as `folio_pte_batch`).
    fn follow_page_pte(&self, cx: &Cx, place: Place<'_>, table: Table, flags: GupFlags) -> Follow {
        let Place { vma, vpn, .. } = place;
        self.pay(Item::Pte, 1);
        let (pfn, bits) = match self.pte(table, vpn) {
            Pte::Present { pfn, bits } => (pfn, bits),
            Pte::DevicePrivate { pfn, write } if self.has(Defect::GupSeesDevicePrivate) => {
                (pfn, Bits { read: true, write, dirty: false })
            }
            _ => return Follow::Fault,
        };
        if let Some(missed) = self.missed(pfn, bits, vma, flags) {
            return missed;
        }
        if self.has(Defect::BatchBelowPmd) && pfn != ZERO_PFN && flags.foll.is_some() {
            let nr = self.frames.nr_pages(self.frames.head(pfn));
            return self.grab_leaf(cx, pfn, nr - (vpn & (nr - 1)), bits, place, flags);
        }
        if flags.foll.is_none() {
            return Follow::Pages { page: pfn, nr: 1, writable: bits.write, refused: false };
        }
        if self.refused(cx, Site::Grab) {
            return Follow::Refused(Errno::ENOMEM);
        }
        self.hit(Path::GupPte);
        let most = self.pte_run(table, vpn, pfn, bits, place.limit);
        let (mut nr, mut refused) = (1, false);
        while nr < most && !refused && self.missed(nth_page(pfn, nr), bits, vma, flags).is_none() {
            refused = self.refused(cx, Site::Grab);
            nr += u32::from(!refused);
        }
        if nr > 1 {
            self.hit(Path::GupPteRun);
            self.pay(Item::Pte, nr - 1);
        }
        self.grab(pfn, nr, flags.foll);
        Follow::Pages { page: pfn, nr, writable: bits.write, refused }
    }

    /// How many entries from `vpn` on, at most `limit`, map one page after the other of the same
    /// large folio with the same permissions.
    pub(crate) fn pte_run(&self, table: Table, vpn: u32, pfn: Pfn, bits: Bits, limit: u32) -> u32 {
        let runs = self.variant().batches() && !self.checks_in_walk();
        if pfn == ZERO_PFN || !self.frames.large(self.frames.head(pfn)) || !runs {
            return 1;
        }
        let head = self.frames.head(pfn);
        let in_folio = self.frames.nr_pages(head) - (pfn.0 - head.0);
        let in_table = u32::from(self.shape.ptes) - self.pte_index(vpn);
        let same =
            |&i: &u32| self.pte(table, vpn + i) == Pte::Present { pfn: Pfn(pfn.0 + i), bits };
        let most = limit.min(in_folio).min(in_table);
        1 + (1..most).take_while(same).count() as u32
    }

    /// Why a present leaf does not do, if so; `judge` is the page whose AnonExclusive counts (the
    /// head of a huge PMD).
    fn missed(&self, judge: Pfn, bits: Bits, vma: &Vma, flags: GupFlags) -> Option<Follow> {
        if !bits.read || (flags.write && !bits.write) {
            Some(Follow::Fault)
        } else if !bits.write && self.gup_must_unshare(judge, flags, Some(vma)) {
            Some(Follow::Unshare)
        } else {
            None
        }
    }

    /// `try_grab_folio` of what is wanted of a leaf of `whole` pages. Linux grabs one page and then
    /// the others, which fail differently; here it is one addition.
    fn grab_leaf(
        &self,
        cx: &Cx,
        page: Pfn,
        whole: u32,
        bits: Bits,
        place: Place<'_>,
        flags: GupFlags,
    ) -> Follow {
        let grabs = flags.foll.is_some();
        let clamped = !(grabs && self.has(Defect::BatchNotClamped));
        let nr = if clamped { whole.min(place.limit) } else { whole };
        if grabs {
            if self.refused(cx, Site::Grab) {
                return Follow::Refused(Errno::ENOMEM);
            }
            self.hit(if whole == 1 { Path::GupPte } else { Path::GupPmd });
            if nr > 1 {
                self.hit(Path::GupPageMask);
                if self.refused(cx, Site::Grab) {
                    self.hit(Path::GupSecondGrabRefused);
                    if self.has(Defect::GrabNotGivenBack) {
                        self.grab(page, 1, flags.foll);
                    }
                    return Follow::Refused(Errno::EFAULT);
                }
            }
            let mask = nr > 1 && self.has(Defect::BatchCountsMask);
            if self.has(Defect::BatchForgotten) {
                (0..nr).for_each(|i| self.grab(nth_page(page, i), 1, flags.foll));
                return Follow::Pages { page, nr, writable: bits.write, refused: false };
            }
            self.grab(page, if mask { u32::from(self.shape.ptes) } else { nr }, flags.foll);
        }
        Follow::Pages { page, nr, writable: bits.write, refused: false }
    }

    /// `gup_must_unshare`; GUP-fast knows no VMA.
    pub(crate) fn gup_must_unshare(&self, page: Pfn, flags: GupFlags, vma: Option<&Vma>) -> bool {
        if flags.write || flags.foll != Some(FollKind::Pin) || self.has(Defect::UnshareSkipped) {
            return false;
        }
        if page == ZERO_PFN || !self.frames.anon(self.frames.head(page)) {
            return flags.longterm && vma.is_none_or(Vma::cow);
        }
        let forgotten = flags.again && self.has(Defect::WindowForgotten);
        !self.frames.exclusive(page) && !forgotten
    }
}

/// `nth_page`; the zero page has no neighbours.
pub(crate) fn nth_page(page: Pfn, n: u32) -> Pfn {
    if page == ZERO_PFN { page } else { Pfn(page.0 + n) }
}
