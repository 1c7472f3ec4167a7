//! MADV_COLLAPSE (ops 2, B7, decision 16), and its marks.

use program::{Birth, Call, CollapseMark, EntryKind, Errno, MmId, Ret, Seen, Site, Span, Uffd};

use crate::flight::{Flight, span};
use crate::ledger::FolioId;
use crate::mm::{Entry, Page, Pmd};
use crate::state::{Done, State, Stop, fail};
use crate::vma::Vma;

/// How a scan went that found nothing in the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scanned {
    Present,
    /// Some entries are not present: those are faulted in later.
    NotPresent,
    /// It came to the folio at which it was to stop.
    Until,
}

impl State {
    /// `madvise_collapse` on a piece of a VMA (B7, decision 16).
    pub fn madvise_collapse(&mut self, mm: MmId, vma: &Vma, start: u32, end: u32) -> Done {
        if !self.is_collapsible(vma) {
            return fail(Errno::EINVAL);
        }
        self.lru_add_drain_all();
        let (start, end) = (start.div_ceil(self.ptes), end / self.ptes);
        if start > end {
            return fail(Errno::EINVAL);
        }
        let mut result = Ok(());
        for pmd in start..end {
            match self.pmd(mm, pmd) {
                Pmd::Huge(_) => {}
                Pmd::None => return fail(Errno::EINVAL),
                Pmd::Table => match self.collapse_scan(mm, pmd, vma, None) {
                    Err(Stop::Fail(Errno::EBUSY)) => return fail(Errno::EBUSY),
                    Ok(scanned) => match self.collapse_huge_page(
                        mm,
                        pmd,
                        vma,
                        scanned == Scanned::NotPresent,
                    )? {
                        Ok(()) => {}
                        Err(stop) => result = Err(stop),
                    },
                    Err(stop) => result = Err(stop),
                },
            }
        }
        result
    }

    /// Whether the VMA is one for `madvise_collapse`.
    pub fn is_collapsible(&self, vma: &Vma) -> bool {
        let contains_huge = vma.start.next_multiple_of(self.ptes) + self.ptes <= vma.end;
        let anonymous = vma.is_anonymous() && vma.anon_vma.is_some();
        anonymous && contains_huge && !vma.flags.nohugepage
    }

    /// `hpage_collapse_scan_pmd`: the first PTE in the way; read-only last. It ends at the
    /// folio `until`, if it comes to that.
    pub fn collapse_scan(
        &self,
        mm: MmId,
        pmd: u32,
        vma: &Vma,
        until: Option<FolioId>,
    ) -> Done<Scanned> {
        let registered = vma.flags.uffd != Uffd::None;
        let (mut writable, mut not_present) = (false, false);
        for vpn in pmd * self.ptes..(pmd + 1) * self.ptes {
            let found = self.entry(mm, vpn).filter(|entry| entry.page != Page::Zero);
            let Some(entry) = found else {
                // Decision 13: who registered wants to hear of what is missing.
                if registered {
                    return fail(Errno::EBUSY);
                }
                continue;
            };
            if !entry.is_present() {
                not_present = true;
                continue;
            }
            let Page::Of(id, _) = entry.page else { continue };
            writable |= entry.write;
            let folio = self.ledger.folio(id);
            if folio.place.is_zone_device() {
                return fail(Errno::EINVAL);
            }
            if until == Some(id) && folio.lru {
                return Ok(Scanned::Until);
            }
            if !folio.lru || folio.locked().is_some() || folio.refcount() != folio.mapcount() {
                return fail(Errno::EAGAIN);
            }
        }
        let allowed = writable || self.kernel.collapses_read_only();
        match not_present {
            _ if !allowed => fail(Errno::EINVAL),
            true => Ok(Scanned::NotPresent),
            false => Ok(Scanned::Present),
        }
    }

    /// `collapse_huge_page`: copies into a new huge folio. The old pages lose this mapping; the
    /// table is deposited. The outer error ends the
    /// whole call, the inner one this PMD alone.
    fn collapse_huge_page(
        &mut self,
        mm: MmId,
        pmd: u32,
        vma: &Vma,
        not_present: bool,
    ) -> Done<Done> {
        let birth = Birth::Huge(mm, pmd);
        let huge = self.alloc(Site::Huge, self.huge_order(), birth, true)?;
        if not_present {
            let faulted = self.collapse_swapin(mm, pmd);
            let checked = faulted.map(|()| self.collapse_isolate(mm, pmd, vma));
            if !matches!(checked, Ok(Ok(()))) {
                self.unborn(huge, birth);
                return checked;
            }
        }
        for sub in 0..self.ptes {
            let vpn = pmd * self.ptes + sub;
            if let Some(entry) = self.entry(mm, vpn) {
                self.ledger.set_data(huge, sub, self.ledger.data(entry.page));
                self.zap_entry(mm, vpn);
            }
        }
        self.map_new_huge(mm, pmd, huge, vma.is_writable());
        Ok(Ok(()))
    }

    /// `__collapse_huge_page_swapin`: what is not present is faulted in. A failure ends the call.
    fn collapse_swapin(&mut self, mm: MmId, pmd: u32) -> Done {
        for vpn in pmd * self.ptes..(pmd + 1) * self.ptes {
            let absent = self.entry(mm, vpn).filter(|entry| !entry.is_present());
            let (Some(entry), Some(vma)) = (absent, self.vma(mm, vpn)) else { continue };
            self.do_swap_page(mm, vpn, &vma, entry).map_err(|stop| match stop {
                Stop::Fail(_) => Stop::Fail(Errno::EINVAL),
                sleep => sleep,
            })?;
        }
        self.lru_add_drain(self.now.cpu);
        Ok(())
    }

    /// `__collapse_huge_page_isolate` where it fails: what it had isolated by then is put back, into this
    /// CPU's batch, the last one first and large ones last (`release_pte_pages`).
    fn collapse_isolate(&mut self, mm: MmId, pmd: u32, vma: &Vma) -> Done {
        let pages = pmd * self.ptes..(pmd + 1) * self.ptes;
        let failed = pages.clone().find_map(|vpn| Some((vpn, self.unfit(mm, vpn, vma)?)));
        let read_only = !pages.clone().any(|vpn| self.entry(mm, vpn).is_some_and(|e| e.write));
        let read_only = read_only && !self.kernel.collapses_read_only();
        let (end, errno) = match failed {
            None if read_only => (pages.end, Errno::EINVAL),
            None => return Ok(()),
            Some(failed) => failed,
        };
        let mut isolated: Vec<FolioId> = Vec::new();
        for vpn in (pages.start..end).rev() {
            if let Some(folio) = self.folio_at(mm, vpn)
                && !isolated.contains(&folio)
            {
                isolated.push(folio);
            }
        }
        let (large, small): (Vec<_>, Vec<_>) =
            isolated.into_iter().partition(|&folio| self.ledger.folio(folio).order > 0);
        for folio in small.into_iter().chain(large.into_iter().rev()) {
            self.isolate(folio);
            self.putback(folio);
        }
        fail(errno)
    }

    /// Why an entry cannot be collapsed, if so.
    pub fn unfit(&self, mm: MmId, vpn: u32, vma: &Vma) -> Option<Errno> {
        let Some(Entry { page: Page::Of(id, _), kind, .. }) = self.entry(mm, vpn) else {
            return (vma.flags.uffd != Uffd::None).then_some(Errno::EBUSY);
        };
        let folio = self.ledger.folio(id);
        if kind != EntryKind::Present || folio.place.is_zone_device() {
            return Some(Errno::EINVAL);
        }
        let busy = !folio.lru || folio.locked().is_some() || folio.refcount() != folio.mapcount();
        busy.then_some(Errno::EAGAIN)
    }

    /// Carries out a mark of a collapse.
    pub fn collapse_mark(
        &mut self,
        call: Call<'_>,
        flight: &mut Flight,
        mm: MmId,
        pmd: u32,
        mark: CollapseMark,
    ) -> Option<Seen> {
        let start = pmd * self.ptes;
        let pages = start..start + self.ptes;
        match mark {
            CollapseMark::Refused { vpn } => {
                flight.last_fail = Some(Errno::EINVAL);
                let vma = self.vma(mm, vpn)?;
                let end = vma.end.min(span(call)?.end);
                let nothing = vpn.div_ceil(self.ptes) > end / self.ptes;
                Some(Seen::Flag(!self.is_collapsible(&vma) || nothing))
            }
            CollapseMark::Scan { locked } => {
                let found = match self.pmd(mm, pmd) {
                    Pmd::Table => {
                        let vma = self.vma(mm, start)?;
                        let until = locked.map(|name| self.ledger.find(name));
                        let until = until.map_or(Some(None), |id| id.map(Some))?;
                        let scanned = self.collapse_scan(mm, pmd, &vma, until);
                        match (scanned, until) {
                            (Ok(Scanned::Until), Some(id)) => {
                                flight.last_fail = Some(Errno::EAGAIN);
                                return Some(Seen::Flag(self.is_locked(id)));
                            }
                            (Ok(scanned), None) => Ok((scanned == Scanned::NotPresent).into()),
                            (Err(Stop::Fail(errno)), _) => Err(errno),
                            _ => return None,
                        }
                    }
                    _ => self.table_to_collapse(mm, pmd),
                };
                Some(collapsed(flight, found))
            }
            CollapseMark::Revalidate { table } => {
                let vma = self.vma_from(mm, start).filter(|vma| {
                    let suits = vma.is_anonymous() && !vma.flags.nohugepage;
                    suits && vma.contains(pages.start, pages.end)
                });
                let found = match vma {
                    Some(vma) if vma.anon_vma.is_some() && table => self.table_to_collapse(mm, pmd),
                    Some(_) if !table => Ok(0),
                    _ => Err(Errno::EINVAL),
                };
                Some(collapsed(flight, found))
            }
            CollapseMark::Detach => {
                flight.copied.clear();
                let table = self.pmd(mm, pmd) == Pmd::Table;
                // The entries keep their pages, but nothing walks to them.
                self.leave_stale_pmd(mm, pmd);
                self.devices_unmap(mm, Span { start: pages.start, end: pages.end });
                self.set_pmd(mm, pmd, Pmd::None);
                Some(Seen::Flag(table))
            }
            CollapseMark::Unfit { vpn } => {
                let vma = self.vma(mm, start)?;
                let folio = self.entry(mm, vpn).map(|entry| entry.page);
                let unfit = self.unfit(mm, vpn, &vma);
                // Locks and references have marks of their own.
                let errno = unfit.filter(|errno| *errno != Errno::EAGAIN || folio.is_none())?;
                flight.last_fail = Some(errno);
                Some(Seen::Ret(Ret::Err(errno)))
            }
            CollapseMark::ReadOnly => {
                flight.last_fail = Some(Errno::EINVAL);
                let writable = |vpn| self.entry(mm, vpn).is_some_and(|entry| entry.write);
                Some(Seen::Flag(!pages.clone().any(writable)))
            }
            CollapseMark::Copy { vpn } => {
                let page = self.entry(mm, vpn).map(|entry| entry.page);
                let data = page.map_or(0, |page| self.ledger.data(page));
                flight.copied.push(data);
                let seen = page.map(|page| Seen::Data(self.ledger.page_ref(page), data));
                Some(seen.unwrap_or(Seen::Nothing))
            }
            CollapseMark::Clear { vpn } => {
                let page = self.entry(mm, vpn)?.page;
                let seen = self.seen_page(page);
                self.zap_entry(mm, vpn);
                Some(seen)
            }
            CollapseMark::Map { placed } => {
                let empty = pages.clone().all(|vpn| self.entry(mm, vpn).is_none());
                let vma = self.vma(mm, start)?;
                if self.pmd(mm, pmd) != Pmd::None || !empty {
                    return None;
                }
                let birth = Birth::Huge(mm, pmd);
                let huge = self.born(birth, self.huge_order(), placed, true);
                for (sub, &data) in (0..self.ptes).zip(&flight.copied) {
                    self.ledger.set_data(huge, sub, data);
                }
                self.map_new_huge(mm, pmd, huge, vma.is_writable());
                Some(self.seen_entry(mm, start))
            }
            CollapseMark::Restore => {
                let none = self.pmd(mm, pmd) == Pmd::None;
                self.set_pmd(mm, pmd, Pmd::Table);
                Some(Seen::Flag(none))
            }
        }
    }

    /// `find_pmd_or_thp_or_none`: 2 if it is huge already.
    fn table_to_collapse(&self, mm: MmId, pmd: u32) -> Result<u32, Errno> {
        match self.pmd(mm, pmd) {
            Pmd::Table => Ok(0),
            Pmd::Huge(entry) if entry.is_present() => Ok(2),
            Pmd::Huge(_) | Pmd::None => Err(Errno::EINVAL),
        }
    }
}

/// What a step of a collapse found, and why it fails if it does.
fn collapsed(flight: &mut Flight, found: Result<u32, Errno>) -> Seen {
    flight.last_fail = found.err().or(flight.last_fail);
    Seen::Ret(found.map_or_else(Ret::Err, Ret::Ok))
}
