//! One mark carried out: the same small functions as in a sequential step, one at a time
//! (`docs/steps.md` is the table).

use program::{
    Access, Advice, Birth, Call, Entry as EntryPoint, EntryKind, Errno, FILE_PAGES, Foll, HandleId,
    Mark, MmId, ObjectId, Op, PageRef, Place, Ret, Seen, Site, Span, Uffd, Uffdio, VmaFlags,
    on_disk, written,
};

use crate::flight::{Flight, span};
use crate::folio::Owner;
use crate::gup::Want;
use crate::ledger::FolioId;
use crate::madvise::advised;
use crate::mm::{Entry, Mapped, Page, Pmd};
use crate::state::State;
use crate::userfaultfd::registers;

impl State {
    /// Carries out one mark; what it saw.
    pub fn mark(&mut self, call: Option<Call<'_>>, mark: Mark) -> Seen {
        let seen = match call {
            // Work of a kworker.
            None => self.shared_mark(mark),
            Some(call) => self.mark_of(call, mark),
        };
        seen.unwrap_or(Seen::Impossible)
    }

    fn mark_of(&mut self, call: Call<'_>, mark: Mark) -> Option<Seen> {
        if mark == Mark::Begin {
            self.take_off(call);
            return Some(Seen::Nothing);
        }
        let at = self.flights.iter().position(|flight| flight.number == call.number)?;
        let mut flight = self.flights.swap_remove(at);
        if mark == Mark::Return {
            self.stale.retain(|stale| stale.number != call.number);
            let ret = self.landed(call, &flight);
            self.keep_migration(&call.step.op, flight.open);
            return ret.map(Seen::Ret);
        }
        std::mem::swap(&mut self.now, &mut flight.now);
        let seen = if flight.void { None } else { self.own_mark(call, &mut flight, mark) };
        (self.now.placed, self.now.copied) = (None, false);
        std::mem::swap(&mut self.now, &mut flight.now);
        self.flights.push(flight);
        seen
    }

    /// A mark of an operation, whose circumstances are `self.now`.
    fn own_mark(&mut self, call: Call<'_>, flight: &mut Flight, mark: Mark) -> Option<Seen> {
        let op = &call.step.op;
        match mark {
            Mark::Load { mm, vpn, stale } => {
                let page = self.accessible(mm, vpn, Access::Read, stale)?;
                self.advance(call, flight, vpn, 1)?;
                Some(self.seen_data(page))
            }
            Mark::Store { mm, vpn, index, stale } => {
                let page = self.accessible(mm, vpn, Access::Write, stale)?;
                self.advance(call, flight, vpn, 1)?;
                if let Page::Of(folio, sub) = page {
                    self.ledger.set_data(folio, sub, written(call.number, index));
                }
                Some(self.seen_page(page))
            }
            Mark::Forbidden { mm, vpn, access } => {
                flight.error = Some(self.forbidden(op, mm, vpn));
                // A longterm pin does not write to dirty-tracked file mappings.
                let longterm = matches!(op, Op::Gup { longterm: true, .. });
                let allowed = self.vma(mm, vpn).is_some_and(|vma| match access {
                    Access::Write => vma.is_writable() && !(longterm && vma.wants_writenotify()),
                    // The range must lie in one VMA.
                    _ if matches!(op, Op::Mremap { .. }) => {
                        span(call).is_some_and(|old| vma.contains(old.start, old.end))
                    }
                    Access::Read | Access::Unshare => vma.is_readable(),
                });
                Some(Seen::Flag(allowed))
            }
            Mark::BeyondEof { mm, vpn } => {
                let signal = matches!(op, Op::Read { .. } | Op::Write { .. });
                flight.error = Some(if signal { Errno::SIGBUS } else { Errno::EFAULT });
                Some(Seen::Flag(self.vma(mm, vpn)?.index(vpn) >= FILE_PAGES))
            }
            Mark::Hole { mm, vpn } => {
                flight.error = Some(Errno::ENOMEM);
                flight.last_fail = flight.error;
                Some(Seen::Flag(self.vma(mm, vpn).is_none()))
            }
            // The parts of a split folio are migrated with minimal effort.
            Mark::Refused { site: Site::Dst, second: true } => {
                flight.missed = true;
                Some(Seen::Nothing)
            }
            // What a driver makes of it has a mark of its own.
            Mark::Refused { .. } if flight.open.is_some() => Some(Seen::Nothing),
            Mark::Refused { site: Site::Huge, .. } if is_collapse(op) => {
                flight.last_fail = Some(Errno::ENOMEM);
                Some(Seen::Nothing)
            }
            Mark::Refused { site, second } => {
                // A huge page has small ones in its place, GUP-fast has the slow walk.
                if !matches!(site, Site::Huge | Site::GrabFast) {
                    flight.error = Some(if second { Errno::EFAULT } else { Errno::ENOMEM });
                }
                Some(Seen::Nothing)
            }
            Mark::Fault { mm, vpn, access, copied, placed } => {
                (self.now.copied, self.now.placed) = (copied, placed);
                if copied {
                    if !self.copy_is_current(mm, vpn) {
                        return None;
                    }
                    self.leave_stale(mm, vpn);
                }
                self.fault(mm, vpn, access).ok()?;
                self.now.carried = None;
                flight.error = None;
                Some(self.seen_entry(mm, vpn))
            }
            Mark::CopyFrom { page } => {
                let page = self.page(page)?;
                self.now.carried = Some(self.ledger.data(page));
                Some(self.seen_data(page))
            }
            Mark::HasPinned { mm } => {
                self.set_has_pinned(mm);
                Some(Seen::Nothing)
            }
            Mark::Follow { mm, vpn, pages, write } => {
                let want = Want { write, ..Want::default() };
                let mapped = |vpn| self.follow_page(mm, vpn, want).is_ok();
                let all = (vpn..vpn + pages).all(mapped);
                self.advance(call, flight, vpn, pages)?;
                Some(Seen::Flag(all))
            }
            Mark::Release { page, pages } => {
                let page = self.page(page)?;
                if let Op::Gup { handle, .. } = *op {
                    flight.done = flight.done.checked_sub(pages)?;
                    (0..pages).try_for_each(|_| self.ungrab(handle, page))?;
                    return Some(Seen::Flag(true));
                }
                let (first, also) = match *op {
                    Op::Put { handle } => (handle, None),
                    Op::Unpin { handle, also, .. } => (handle, also),
                    _ => return None,
                };
                for _ in 0..pages {
                    let released = self.release_like(first, page);
                    released.or_else(|| self.release_like(also?, page))?;
                    flight.done += 1;
                }
                Some(Seen::Flag(true))
            }
            Mark::Peek { index } => {
                let Op::Peek { handle } = *op else { return None };
                let page = *self.handles[usize::from(handle.0)].pages.get(index as usize)?;
                flight.done += 1;
                Some(self.seen_data(page))
            }
            Mark::Device(mark) => self.device_mark(call, flight, mark),
            Mark::Vmas { mm, span } => self.change_vmas(op, call, mm, span),
            Mark::Invalidate { mm, span } => {
                let Op::Mremap { range, .. } = *op else { return None };
                let own = span == call.layout.span(range);
                self.devices_unmap(mm, span);
                own.then_some(Seen::Nothing)
            }
            Mark::Userfault { .. } | Mark::Killed => self.userfault_mark(op, flight, mark),
            Mark::UffdRefused { mm } => {
                let Op::Uffd { range, uffdio, .. } = *op else { return None };
                let refused = self.uffd_check(mm, call.layout.span(range), uffdio).err()?;
                flight.error = Some(refused);
                Some(Seen::Ret(Ret::Err(refused)))
            }
            Mark::UffdFill { mm, vpn, index, placed } => {
                let Op::Uffd { uffdio, .. } = *op else { return None };
                let copy = uffdio == Uffdio::Copy;
                if self.entry(mm, vpn).is_some() || self.pmd(mm, vpn / self.ptes) != Pmd::Table {
                    flight.error = Some(Errno::EEXIST);
                    return Some(Seen::Flag(false));
                }
                self.advance(call, flight, vpn, 1)?;
                self.uffd_map(
                    mm,
                    vpn,
                    if copy { Some((placed?, written(call.number, index))) } else { None },
                )?;
                Some(self.seen_entry(mm, vpn))
            }
            Mark::Collapse { mm, pmd, mark } => self.collapse_mark(call, flight, mm, pmd, mark),
            _ => match *op {
                Op::Gup { handle, entry, foll, write, longterm, .. } => {
                    let unlockable = entry != EntryPoint::Slow;
                    let want = Want { pin: foll == Foll::Pin, write, longterm, unlockable };
                    let walk = Walk { handle, want, fast: entry != EntryPoint::Slow };
                    let seen = self.gup_mark(call, flight, walk, mark);
                    let seen = seen.or_else(|| self.migrate_mark(op, flight, mark));
                    seen.or_else(|| self.shared_mark(mark))
                }
                Op::MakeDeviceExclusive { .. } if matches!(mark, Mark::Grab { .. }) => {
                    self.exclusive_grab(mark)
                }
                _ => match self.migrate_mark(op, flight, mark) {
                    Some(seen) => Some(seen),
                    None => self.shared_mark(mark),
                },
            },
        }
    }

    /// The next pages of its range are done, from `vpn` on.
    pub fn advance(&self, call: Call<'_>, flight: &mut Flight, vpn: u32, pages: u32) -> Option<()> {
        let in_order = span(call)?.start + flight.done == vpn;
        flight.done += pages;
        flight.error = None;
        in_order.then_some(())
    }

    fn gup_mark(
        &mut self,
        call: Call<'_>,
        flight: &mut Flight,
        walk: Walk,
        mark: Mark,
    ) -> Option<Seen> {
        let Walk { handle, want, fast } = walk;
        let pin = want.pin;
        match mark {
            Mark::Grab { mm, vpn, pages, held } => {
                let mapped = self.follow_page(mm, vpn, want).ok()?;
                let first = mapped.entry.page;
                if held && !(fast && self.fast_allows(mapped, want)) {
                    return None;
                }
                self.advance(call, flight, vpn, pages)?;
                for i in 0..pages {
                    let page = self.follow_page(mm, vpn + i, want).ok()?.entry.page;
                    if let (Page::Of(folio, sub), Page::Of(head, first)) = (page, first)
                        && (folio != head || sub != first + i)
                    {
                        return None; // not one run of one folio
                    }
                    self.grab(handle, page);
                }
                self.handle_mut(handle).tentative = held;
                if let (Page::Of(folio, _), true) = (first, held) {
                    (0..pages).try_for_each(|_| self.unhold(folio, pin))?;
                }
                Some(self.seen_page(first))
            }
            Mark::BackOff { mm, vpn } => {
                let fits = |mapped| self.fast_allows(mapped, want) && self.pinnable(mapped, want);
                Some(Seen::Flag(!self.follow_page(mm, vpn, want).is_ok_and(fits)))
            }
            Mark::Pinnable { folio } => {
                Some(Seen::Flag(self.is_longterm_pinnable(self.ledger.find(folio)?)))
            }
            Mark::Undo { pages } => {
                flight.done = flight.done.checked_sub(pages)?;
                self.release_from(handle, flight.done as usize);
                self.handle_mut(handle).tentative = false;
                Some(Seen::Nothing)
            }
            Mark::Kept => {
                self.handle_mut(handle).tentative = false;
                Some(Seen::Flag(!pin || self.pins_are_reliable(handle)))
            }
            _ => None,
        }
    }

    /// Whether GUP-fast takes a page that the slow walk would find here; that its block is not
    /// isolated it has asked before.
    fn fast_allows(&self, mapped: Mapped, want: Want) -> bool {
        let Page::Of(folio, _) = mapped.entry.page else { return false };
        !want.longterm || self.longterm_fast(mapped, folio, want.write)
    }

    fn pinnable(&self, mapped: Mapped, want: Want) -> bool {
        let Page::Of(folio, _) = mapped.entry.page else { return true };
        !want.longterm || self.is_longterm_pinnable(folio)
    }

    /// I4: pinned anonymous pages are exclusive.
    fn pins_are_reliable(&self, handle: HandleId) -> bool {
        self.handles[usize::from(handle.0)].pages.iter().all(|page| {
            let Page::Of(folio, sub) = *page else { return true };
            let folio = self.ledger.folio(folio);
            // Under a huge PMD the head's bit is what counts (K15).
            !folio.anon || folio.pages[sub as usize].exclusive || folio.pages[0].exclusive
        })
    }

    /// A mark that any operation, or none, can have.
    fn shared_mark(&mut self, mark: Mark) -> Option<Seen> {
        match mark {
            Mark::AnonVma { mm, vpn } => {
                self.anon_vma_prepare(mm, vpn);
                Some(Seen::Nothing)
            }
            Mark::Table { mm, pmd } => {
                let none = self.pmd(mm, pmd) == Pmd::None;
                self.install_table(mm, pmd * self.ptes);
                Some(Seen::Flag(none))
            }
            Mark::Reusable { mm, vpn, .. } => {
                let mapped = self.translate(mm, vpn)?;
                let Page::Of(folio, _) = mapped.entry.page else { return Some(Seen::Flag(false)) };
                Some(Seen::Flag(match self.anon_exclusive(mapped) {
                    Some(false) if mapped.huge => self.ledger.folio(folio).refcount() == 1,
                    Some(false) => self.can_reuse_anon(folio),
                    exclusive => exclusive == Some(true),
                }))
            }
            Mark::CacheAdd { object, index, placed } => self.cache_add(object, index, placed),
            Mark::Hold { folio, refs, pin } => {
                let folio = self.ledger.find(folio)?;
                (0..refs).for_each(|_| self.ledger.relate(folio, Owner::Hold { pin }));
                self.holds += refs;
                Some(Seen::Nothing)
            }
            Mark::Drop { folio, refs, pin } => {
                let folio = self.ledger.find(folio)?;
                (0..refs).try_for_each(|_| self.unhold(folio, pin))?;
                Some(Seen::Flag(true))
            }
            Mark::Dirty { folio } => {
                let id = self.ledger.find(folio)?;
                if let Some((ObjectId::File(_), _)) = self.ledger.folio(id).cached() {
                    self.ledger.set_dirty(id, true);
                }
                Some(Seen::Nothing)
            }
            Mark::SplitPmd { mm, pmd } => {
                let huge = matches!(self.pmd(mm, pmd), Pmd::Huge(_));
                self.split_huge_pmd(mm, pmd);
                Some(Seen::Flag(huge))
            }
            Mark::Drain { cpu } => {
                self.lru_add_drain(cpu);
                Some(Seen::Nothing)
            }
            Mark::Zap { mm, vpn } => {
                let seen = self.seen_page(self.entry(mm, vpn)?.page);
                self.leave_stale(mm, vpn);
                self.zap_entry(mm, vpn);
                Some(seen)
            }
            Mark::ZapHuge { mm, pmd } => {
                let Pmd::Huge(Entry { page, .. }) = self.pmd(mm, pmd) else { return None };
                let seen = self.seen_page(page);
                self.leave_stale_pmd(mm, pmd);
                self.zap(mm, pmd * self.ptes, (pmd + 1) * self.ptes);
                Some(seen)
            }
            Mark::Flush { mm, span } => {
                self.flush(mm, span);
                Some(Seen::Nothing)
            }
            Mark::FreeTable { mm, pmd } => {
                let pages = pmd * self.ptes..(pmd + 1) * self.ptes;
                let empty = pages.clone().all(|vpn| self.entry(mm, vpn).is_none());
                self.free_table(mm, pmd);
                Some(Seen::Flag(empty))
            }
            Mark::Protect { mm, vpn } => {
                let vma = self.vma(mm, vpn)?;
                match self.pmd(mm, vpn / self.ptes) {
                    Pmd::Huge(_) => self.leave_stale_pmd(mm, vpn / self.ptes),
                    _ => self.leave_stale(mm, vpn),
                }
                self.protect(mm, vpn, &vma);
                Some(self.seen_entry(mm, vpn))
            }
            Mark::MovePte { mm, from, to } => self.move_entry(mm, from, to),
            Mark::MovePmd { mm, from, to } => self.move_whole_pmd(mm, from, to),
            Mark::Child { child } => {
                self.create_mm(child);
                Some(Seen::Nothing)
            }
            Mark::MustCopy { mm, vpn } => {
                let mapped = self.translate(mm, vpn)?;
                Some(Seen::Flag(self.must_copy(mm, mapped)))
            }
            Mark::CopyPte { mm, child, vpn, placed } => self.copy_pte(mm, child, vpn, placed),
            Mark::CopyPmd { mm, child, pmd } => {
                let Pmd::Huge(entry) = self.pmd(mm, pmd) else { return None };
                let mapped = Mapped { entry, huge: true };
                if entry.is_present() && self.is_reliably_pinned(mapped) {
                    return None;
                }
                self.leave_stale_pmd(mm, pmd);
                let shared = match entry.kind {
                    EntryKind::Migration { .. } => {
                        let kind = EntryKind::Migration { exclusive: false };
                        Entry { kind, write: false, ..entry }
                    }
                    _ => self.share(mapped),
                };
                self.set_pmd(mm, pmd, Pmd::Huge(shared));
                self.set_pmd(child, pmd, Pmd::Huge(shared));
                Some(self.seen_entry(child, pmd * self.ptes))
            }
            Mark::MmGone { mm } => {
                let mapped = self.mm(mm).entries.iter().any(Option::is_some);
                let tables = self.mm(mm).pmds.iter().any(|pmd| *pmd != Pmd::None);
                let end = self.mm(mm).vmas.last().map_or(0, |vma| vma.end);
                self.remove_vmas(mm, 0, end);
                self.end_mm(mm);
                Some(Seen::Flag(!mapped && !tables))
            }
            Mark::Evict { object, index } => {
                let cached = self.resident(object, index).is_some();
                self.set_resident(object, index, None);
                Some(Seen::Flag(cached))
            }
            _ => None,
        }
    }

    fn cache_add(&mut self, object: ObjectId, index: u32, placed: Place) -> Option<Seen> {
        if self.resident(object, index).is_some() {
            return None;
        }
        let folio = self.born(Birth::Cache(object, index), 0, placed, false);
        if let ObjectId::File(file) = object {
            self.ledger.set_data(folio, 0, on_disk(file, index));
        }
        self.set_resident(object, index, Some(folio));
        self.lru_add(folio);
        Some(self.seen_page(Page::Of(folio, 0)))
    }

    fn copy_pte(&mut self, mm: MmId, child: MmId, vpn: u32, placed: Option<Place>) -> Option<Seen> {
        let entry = self.entry(mm, vpn)?;
        if !entry.is_present() {
            let vma = self.vma(mm, vpn)?;
            let rest = self.copy_nonpresent_pte(mm, child, vpn, entry, &vma).ok()?;
            return rest.is_none().then(|| self.seen_entry(child, vpn));
        }
        let mapped = Mapped { entry, huge: false };
        if placed.is_some() {
            self.now.placed = placed;
            let vma = self.vma(child, vpn)?;
            self.copy_present_page(child, vpn, entry, &vma).ok()?;
        } else if self.is_reliably_pinned(mapped) {
            return None; // I4: it is never shared
        } else {
            self.leave_stale(mm, vpn);
            self.share_pte(mm, child, vpn, mapped);
        }
        Some(self.seen_entry(child, vpn))
    }

    /// Whether the page about to be replaced by its copy still is what was copied, and stays it: an
    /// anonymous page that a write fault copies is read-only to every TLB, or writes are lost.
    fn copy_is_current(&self, mm: MmId, vpn: u32) -> bool {
        let Some(Page::Of(folio, sub)) = self.translate(mm, vpn).map(|mapped| mapped.entry.page)
        else {
            return true;
        };
        let page = Page::Of(folio, sub);
        let same = self.now.carried.is_none_or(|carried| carried == self.ledger.data(page));
        !self.ledger.folio(folio).anon || same && !self.may_be_written(mm, vpn, page)
    }

    /// Whether an exclusive page has a pin that nobody takes back any more. Pins of a large folio
    /// may be on its other pages.
    fn is_reliably_pinned(&self, mapped: Mapped) -> bool {
        let Page::Of(folio, _) = mapped.entry.page else { return false };
        let folio = self.ledger.folio(folio);
        let kept = |owner: &Owner| match *owner {
            Owner::Pin { handle } => !self.handles[usize::from(handle.0)].tentative,
            _ => false,
        };
        let one_page = folio.order == 0 || mapped.huge;
        self.anon_exclusive(mapped) == Some(true) && one_page && folio.owners.iter().any(kept)
    }

    /// What the operation does to VMAs in this range.
    fn change_vmas(&mut self, op: &Op, call: Call<'_>, mm: MmId, span: Span) -> Option<Seen> {
        let Span { start, end } = span;
        match *op {
            Op::Mmap { area, backing, prot, .. } => {
                self.mmap(mm, area, call.layout.area(area), backing, prot).ok()?;
            }
            Op::Mremap { range, area, .. }
                if span == call.layout.area(area) && self.vma(mm, start).is_none() =>
            {
                let old = call.layout.span(range);
                let vma = self.vma(mm, old.start).filter(|vma| vma.contains(old.start, old.end))?;
                self.copy_vma(mm, vma, old, span);
            }
            Op::Munmap { .. } | Op::Mremap { .. } => {
                self.cut(mm, start);
                self.cut(mm, end);
                if (start..end).any(|vpn| self.translate(mm, vpn).is_some()) {
                    return None; // mappings without a VMA
                }
                self.remove_vmas(mm, start, end);
            }
            Op::Mprotect { prot, .. } => {
                let flags = self.vma(mm, start)?.flags;
                self.set_vma_flags(mm, start, end, VmaFlags { prot, ..flags });
            }
            Op::Uffd { uffdio, .. } => {
                let uffd = registers(uffdio)?;
                let flags = self.vma(mm, start)?.flags;
                if uffd != Uffd::None && flags.uffd != Uffd::None {
                    return None;
                }
                self.armed |= uffd == Uffd::Missing;
                self.set_vma_flags(mm, start, end, VmaFlags { uffd, ..flags });
            }
            Op::Madvise { advice, .. } => {
                let flags = advised(self.vma(mm, start)?.flags, advice);
                self.set_vma_flags(mm, start, end, flags);
            }
            Op::Fork { mm: parent, child } => {
                let vma = self.vma(parent, start)?;
                if vma.flags.dontfork || (vma.start, vma.end) != (start, end) {
                    return None;
                }
                self.dup_vma(child, vma);
            }
            _ => return None,
        }
        Some(Seen::Nothing)
    }

    fn unhold(&mut self, folio: FolioId, pin: bool) -> Option<()> {
        self.holds = self.holds.checked_sub(1)?;
        self.ledger.unrelate(folio, Owner::Hold { pin }).then_some(())
    }

    pub fn page(&self, page: PageRef) -> Option<Page> {
        match page {
            PageRef::Zero => Some(Page::Zero),
            PageRef::Of(name, sub) => Some(Page::Of(self.ledger.find(name)?, sub)),
        }
    }

    pub fn seen_page(&self, page: Page) -> Seen {
        Seen::Page(self.ledger.page_ref(page))
    }

    fn seen_data(&self, page: Page) -> Seen {
        Seen::Data(self.ledger.page_ref(page), self.ledger.data(page))
    }

    /// The entry of an address: of a huge PMD the whole.
    pub fn seen_entry(&self, mm: MmId, vpn: u32) -> Seen {
        let entry = match self.pmd(mm, vpn / self.ptes) {
            Pmd::Huge(entry) => Some(entry),
            _ => self.entry(mm, vpn),
        };
        entry.map_or(Seen::Nothing, |entry| Seen::Entry(self.ledger.view(entry)))
    }
}

/// Whether it is `madvise_collapse`.
pub(crate) fn is_collapse(op: &Op) -> bool {
    matches!(op, Op::Madvise { advice: Advice::Collapse, .. })
}

/// What kind of GUP has the mark.
struct Walk {
    handle: HandleId,
    want: Want,
    fast: bool,
}
