//! Marks of migration and of splits: a folio is found, isolated, unmapped, moved, mapped again.

use program::{Birth, Errno, Mark, MmId, Name, Op, Seen};

use crate::flight::Flight;
use crate::folio::Owner;
use crate::ledger::FolioId;
use crate::mark::is_collapse;
use crate::mm::{Entry, Page, Pmd};
use crate::state::State;

impl State {
    /// Carries out a mark of an operation that migrates or splits, if it is one.
    pub fn migrate_mark(&mut self, op: &Op, flight: &mut Flight, mark: Mark) -> Option<Seen> {
        match mark {
            Mark::Find { mm, vpn } => Some(self.find(op, flight, mm, vpn)),
            Mark::Get { folio } => {
                self.ledger.relate(self.ledger.find(folio)?, Owner::Operation);
                Some(Seen::Nothing)
            }
            Mark::Put { folio } => {
                let id = self.ledger.find(folio)?;
                self.moves.retain(|(from, _)| *from != id);
                Some(Seen::Flag(self.ledger.unrelate(id, Owner::Operation)))
            }
            Mark::Busy { folio } => {
                flight.missed = true;
                match op {
                    Op::SplitFolio { .. } => flight.error = Some(Errno::EBUSY),
                    Op::Fork { .. } => flight.error = Some(Errno::ENOMEM),
                    op if is_collapse(op) => flight.last_fail = Some(Errno::EAGAIN),
                    _ => {}
                }
                Some(Seen::Flag(self.is_locked(self.ledger.find(folio)?)))
            }
            Mark::Isolate { folio } => {
                let id = self.ledger.find(folio)?;
                let lru = self.ledger.folio(id).lru;
                if lru {
                    self.isolate(id);
                } else if matches!(op, Op::Migrate { .. }) {
                    flight.error = Some(Errno::EBUSY);
                } else if is_collapse(op) {
                    flight.last_fail = Some(Errno::EAGAIN);
                }
                Some(Seen::Flag(lru))
            }
            Mark::Putback { folio } => {
                let id = self.held(folio)?;
                self.putback(id);
                // Beside it a device-coherent page did not move, and that is the error.
                let beside = flight.error == Some(Errno::EBUSY);
                let cause = flight.missed || beside || flight.error == Some(Errno::ENOMEM);
                // A collapse puts back what it has copied, too.
                let cause = cause || is_collapse(op);
                flight.left = true;
                if matches!(op, Op::Gup { .. }) && !beside {
                    flight.error = Some(Errno::ENOMEM);
                }
                cause.then_some(Seen::Flag(true))
            }
            Mark::LruCacheDisable { on } => {
                self.lru_disabled = on;
                Some(Seen::Nothing)
            }
            Mark::StartIsolate { place } => {
                self.start_isolate(place);
                Some(Seen::Nothing)
            }
            Mark::UndoIsolate => {
                let empty = self.undo_isolate();
                (flight.done, flight.error) = (1, (!empty).then_some(Errno::EBUSY));
                Some(Seen::Flag(empty))
            }
            Mark::Unwanted { folio } => {
                let id = self.held(folio)?;
                let unwanted = self.ledger.folio(id).refcount() == 1;
                self.ledger.unrelate(id, Owner::Operation);
                Some(Seen::Flag(unwanted))
            }
            Mark::Unreached { folio } => {
                flight.missed = true;
                Some(Seen::Flag(self.is_beyond_reach(self.held(folio)?)))
            }
            Mark::Unmap { mm, vpn } => self.unmap_entry(flight, mm, vpn),
            Mark::Restore { mm, vpn, split } => self.restore_entry(mm, vpn, split),
            Mark::Move { folio, placed } => {
                let id = self.held(folio)?;
                if !self.is_free_to_move(id) || self.ledger.folio(id).mapcount() > 0 {
                    flight.missed = true;
                    return Some(Seen::Flag(false));
                }
                let (order, anon) = (self.ledger.folio(id).order, self.ledger.folio(id).anon);
                let to = self.born(Birth::Migrate(folio), order, placed?, anon);
                self.ledger.relate(to, Owner::Operation);
                self.copy_folio(id, to);
                if let Some((object, index)) = self.ledger.folio(id).cached() {
                    self.set_resident(object, index, Some(to));
                }
                self.moves.push((id, to));
                self.lru_add(to);
                Some(self.seen_page(Page::Of(to, 0)))
            }
            Mark::CanSplit { folio, callers } => {
                let folio = self.ledger.folio(self.ledger.find(folio)?);
                let can = folio.refcount() == folio.mapcount() + u64::from(callers);
                if !can && matches!(op, Op::SplitFolio { .. }) {
                    flight.error = Some(Errno::EAGAIN);
                }
                if !can && is_collapse(op) {
                    flight.last_fail = Some(Errno::EAGAIN);
                }
                Some(Seen::Flag(can))
            }
            Mark::Split { folio, isolated } => {
                let id = self.held(folio)?;
                let frozen = self.ledger.folio(id).refcount() == 1;
                if frozen {
                    flight.error = None;
                    self.split_frozen(id, isolated)?;
                } else if matches!(op, Op::SplitFolio { .. }) {
                    flight.error = Some(Errno::EAGAIN);
                }
                Some(Seen::Flag(frozen))
            }
            _ => None,
        }
    }

    /// A folio that an operation holds.
    fn held(&self, name: Name) -> Option<FolioId> {
        let id = self.ledger.find(name)?;
        self.ledger.folio(id).owners.contains(&Owner::Operation).then_some(id)
    }

    /// Whether an entry that maps it is in a table to which no walk comes.
    fn is_beyond_reach(&self, id: FolioId) -> bool {
        self.ledger.folio(id).owners.iter().any(|owner| match *owner {
            Owner::Pte { mm, vpn, .. } => self.pmd(mm, vpn / self.ptes) == Pmd::None,
            _ => false,
        })
    }

    fn find(&self, op: &Op, flight: &mut Flight, mm: MmId, vpn: u32) -> Seen {
        let mapped = self.translate(mm, vpn).filter(|mapped| mapped.entry.page != Page::Zero);
        let Some(mapped) = mapped else {
            flight.error = Some(Errno::ENOENT);
            return Seen::Nothing;
        };
        if let (Page::Of(folio, _), Op::SplitFolio { .. }) = (mapped.entry.page, op)
            && self.ledger.folio(folio).order == 0
        {
            flight.error = Some(Errno::EINVAL);
        }
        self.seen_page(mapped.entry.page)
    }

    /// An exclusive page that may be pinned stays mapped (B4).
    fn unmap_entry(&mut self, flight: &mut Flight, mm: MmId, vpn: u32) -> Option<Seen> {
        let pmd = vpn / self.ptes;
        let huge = matches!(self.pmd(mm, pmd), Pmd::Huge(_));
        let entry = match self.pmd(mm, pmd) {
            Pmd::Huge(entry) => entry,
            _ => self.entry(mm, vpn)?,
        };
        let Page::Of(id, sub) = entry.page else { return None };
        if !entry.kind.maps() {
            return None;
        }
        let folio = self.ledger.folio(id);
        let exclusive = folio.anon && folio.pages[sub as usize].exclusive;
        if exclusive && entry.is_present() && folio.maybe_pinned() {
            flight.missed = true;
            return Some(Seen::Flag(false));
        }
        if huge {
            self.leave_stale_pmd(mm, pmd);
            let entry = self.unmapped(entry)?;
            self.set_pmd(mm, pmd, Pmd::Huge(entry));
            self.ledger.removed_mapping(id, None);
        } else {
            self.leave_stale(mm, vpn);
            self.set_migration_entry(mm, vpn);
            self.ledger.removed_mapping(id, Some(sub));
        }
        Some(self.seen_entry(mm, vpn))
    }

    fn restore_entry(&mut self, mm: MmId, vpn: u32, split: bool) -> Option<Seen> {
        let pmd = vpn / self.ptes;
        if let Pmd::Huge(entry) = self.pmd(mm, pmd) {
            let (page, vma) = (self.moved(entry)?, self.vma(mm, vpn)?);
            let entry = self.restored(entry, &vma, page);
            self.set_pmd(mm, pmd, Pmd::Huge(entry));
            return Some(self.seen_entry(mm, vpn));
        }
        let entry = self.entry(mm, vpn)?;
        let page = self.moved(entry)?;
        if split && self.ledger.data(page) == 0 {
            self.use_zero_page(mm, vpn);
        } else {
            self.remove_migration_entry(mm, vpn, page);
        }
        Some(self.seen_entry(mm, vpn))
    }

    /// Where the page of a migration entry is now.
    fn moved(&self, entry: Entry) -> Option<Page> {
        let Page::Of(folio, sub) = entry.page else { return None };
        let moved = self.moves.iter().find(|(from, _)| *from == folio);
        let migrating = !entry.kind.refers();
        migrating.then_some(Page::Of(moved.map_or(folio, |(_, to)| *to), sub))
    }

    /// A folio that only migration entries point to, and the operation holds, falls to pieces.
    fn split_frozen(&mut self, id: FolioId, isolated: bool) -> Option<()> {
        let parts = self.parts(id);
        for owner in self.ledger.folio(id).owners.clone() {
            match owner {
                Owner::MigrationPte { mm, vpn } => {
                    let entry = self.entry(mm, vpn)?;
                    let Page::Of(_, sub) = entry.page else { return None };
                    let page = Page::Of(parts[sub as usize], 0);
                    self.set_entry(mm, vpn, Some(Entry { page, ..entry }));
                }
                Owner::Operation => {}
                _ => return None,
            }
        }
        if !isolated {
            parts.into_iter().for_each(|part| self.ledger.set_lru(part, true));
        }
        self.ledger.unrelate(id, Owner::Operation).then_some(())
    }
}
