//! The marks of drivers: a device migration page by page, what `hmm_range_fault` says of a page,
//! exclusive pages.

use program::{
    Call, Device, DeviceMark, EntryKind, Errno, Mark, MigrationId, Op, PageRef, Seen, TaskId, hmm,
};

use crate::device::{Collected, Migration, Slot};
use crate::flight::Flight;
use crate::folio::Owner;
use crate::gup::Want;
use crate::mm::{Entry, Page, Pmd};
use crate::state::State;

/// The migration that the operation goes on with.
fn continued(op: &Op) -> Option<MigrationId> {
    match *op {
        Op::MigrateVmaPages { migration, .. } | Op::MigrateVmaFinalize { migration } => {
            Some(migration)
        }
        _ => None,
    }
}

impl State {
    /// The operation begins; it may go on with a migration.
    pub fn take_migration(&mut self, op: &Op) -> Option<Migration> {
        self.take(continued(op)?)
    }

    /// The operation returns; its migration may stay open.
    pub fn keep_migration(&mut self, op: &Op, open: Option<Migration>) {
        let Some(open) = open else { return };
        match *op {
            Op::MigrateVmaSetup { migration, .. } | Op::MigrateDeviceRange { migration, .. } => {
                self.keep(migration, open);
            }
            Op::MigrateVmaPages { migration, .. } => {
                self.keep(migration, Migration { paged: true, ..open });
            }
            _ => {}
        }
    }

    /// Carries out a mark of a driver.
    pub fn device_mark(
        &mut self,
        call: Call<'_>,
        flight: &mut Flight,
        mark: DeviceMark,
    ) -> Option<Seen> {
        let op = &call.step.op;
        match mark {
            DeviceMark::Begin { mm, start, device, select, fault } => {
                let task = match *op {
                    Op::MigrateVmaSetup { migration, .. }
                    | Op::MigrateDeviceRange { migration, .. } => migration.task(),
                    _ => TaskId(self.now.cpu),
                };
                let slots = Vec::new();
                let fault = fault.and_then(|name| self.ledger.find(name));
                let open =
                    Migration { mm, start, slots, device, select, fault, task, paged: false };
                flight.open = Some(open);
                Some(Seen::Nothing)
            }
            DeviceMark::BeginCoherent { folio } => {
                let (page, task) = (self.ledger.find(folio)?, TaskId(self.now.cpu));
                if self.is_locked(page) {
                    return Some(Seen::Flag(false));
                }
                self.ledger.relate(page, Owner::Migration { task });
                if flight.open.is_none() {
                    (flight.open, flight.moved) = (Some(Migration::of_coherent(task)), 0);
                }
                let slot = Slot { source: Some(page), migrate: true, destination: None };
                flight.open.as_mut()?.slots.push(slot); // more than one: moved together
                Some(Seen::Flag(self.ledger.unrelate(page, Owner::Operation)))
            }
            DeviceMark::Invalid { mm, span, fault } => {
                flight.error = Some(Errno::EINVAL);
                let vma = self.vma(mm, span.start).filter(|vma| span.end <= vma.end);
                Some(Seen::Flag(fault || vma.is_none()))
            }
            DeviceMark::End => {
                let open = flight.open.take()?;
                if matches!(op, Op::Gup { longterm: true, .. }) && open.mm.is_none() {
                    let moved = std::mem::take(&mut flight.moved) as usize;
                    flight.error = (moved < open.slots.len()).then_some(Errno::EBUSY);
                }
                open.slots.iter().all(|slot| *slot == Slot::default()).then_some(Seen::Nothing)
            }
            DeviceMark::DriverFailed => {
                let signal = matches!(op, Op::Read { .. } | Op::Write { .. });
                flight.error = Some(if signal { Errno::SIGBUS } else { Errno::EFAULT });
                flight.last_fail = Some(Errno::EINVAL); // SCAN_FAIL
                Some(Seen::Nothing)
            }
            DeviceMark::Flags { .. }
            | DeviceMark::Use { .. }
            | DeviceMark::Load { .. }
            | DeviceMark::Store { .. } => self.access_mark(call, flight, mark),
            DeviceMark::Exclusive { .. } | DeviceMark::Map { .. } | DeviceMark::Restore { .. } => {
                self.exclusive_mark(flight, mark)
            }
            _ => {
                let mut open = flight.open.take()?;
                let seen = self.migration_mark(&mut open, flight, mark);
                flight.open = Some(open);
                seen
            }
        }
    }

    /// A step of the open migration.
    fn migration_mark(
        &mut self,
        open: &mut Migration,
        flight: &mut Flight,
        mark: DeviceMark,
    ) -> Option<Seen> {
        match mark {
            DeviceMark::Collect { mm, vpn, contended } => {
                let vma = self.vma(mm, vpn)?;
                let found = self.collectable(open, mm, vpn, &vma);
                let contended = contended.is_some();
                let would = !matches!(found, Collected::Nothing);
                if let Collected::Page(_) = found {
                    self.leave_stale(mm, vpn);
                }
                let slot = match contended {
                    true => Slot::default(),
                    false => self.collect(open, mm, vpn, &vma),
                };
                open.slots.push(slot);
                Some(self.seen_slot(slot, contended && would))
            }
            DeviceMark::CollectDevice { folio, contended } => {
                let folio = self.ledger.find(folio)?;
                let own = Device::owner(self.ledger.folio(folio).place) == Some(open.device);
                let would = own && !self.is_locked(folio);
                let slot = if contended {
                    Slot::default()
                } else if would {
                    self.ledger.relate(folio, Owner::Migration { task: open.task });
                    Slot { source: Some(folio), migrate: true, destination: None }
                } else {
                    return None;
                };
                open.slots.push(slot);
                Some(self.seen_slot(slot, contended && would))
            }
            DeviceMark::Isolate { index } => {
                let slot = open.slots.get_mut(index as usize)?;
                let folio = slot.source?;
                slot.migrate = self.ledger.folio(folio).lru;
                self.ledger.set_lru(folio, false);
                Some(Seen::Flag(slot.migrate))
            }
            DeviceMark::Check { index } => {
                let folio = open.slots.get(index as usize)?.source?;
                let ready =
                    self.ledger.folio(folio).mapcount() == 0 && self.checked(open.fault, folio);
                open.slots[index as usize].migrate = ready;
                if !ready && !self.is_zone_device(folio) {
                    self.lru_add(folio);
                }
                Some(Seen::Flag(ready))
            }
            DeviceMark::Destination { index, placed } => {
                let Some(place) = placed else { return Some(Seen::Nothing) };
                self.now.placed = placed;
                let to = match place.is_zone_device() {
                    true => program::Direction::ToDevice,
                    false => program::Direction::ToSystem,
                };
                let new = self.destination(open, index as usize, to)?;
                open.slots.get_mut(index as usize)?.destination = Some(new);
                Some(self.seen_page(Page::Of(new, 0)))
            }
            DeviceMark::Move { index } => {
                let Slot { source, destination, .. } = *open.slots.get(index as usize)?;
                let vpn = open.start + index;
                let table = |mm| self.pmd(mm, vpn / self.ptes) == Pmd::Table;
                let possible = source.is_some() || open.mm.is_some_and(table);
                if let (None, Some(mm)) = (source, open.mm) {
                    self.leave_stale(mm, vpn); // the zero page
                }
                let moves = possible && self.may_move(open, index as usize);
                open.slots[index as usize].migrate = moves;
                flight.moved += u32::from(moves);
                if let (Some(source), Some(new), true) = (source, destination, moves) {
                    self.moves.push((source, new));
                }
                Some(Seen::Flag(moves))
            }
            DeviceMark::PutBack { index } => {
                let owner = Owner::Migration { task: open.task };
                let slot = open.slots.get_mut(index as usize)?;
                let source = slot.source?;
                if let Some(unused) = slot.destination.filter(|_| !slot.migrate) {
                    self.ledger.unrelate(unused, owner);
                    slot.destination = None;
                }
                slot.migrate &= slot.destination.is_some();
                let to = slot.destination.unwrap_or(source);
                if !self.is_zone_device(to) {
                    self.lru_add(to);
                }
                Some(Seen::Nothing)
            }
            DeviceMark::LetGo { index } => {
                let slot = std::mem::take(open.slots.get_mut(index as usize)?);
                let owner = Owner::Migration { task: open.task };
                for folio in [slot.source, slot.destination].into_iter().flatten() {
                    let waits = |owner: &Owner| matches!(owner, Owner::MigrationPte { .. });
                    if self.ledger.folio(folio).owners.iter().any(waits) {
                        return None; // an entry that nobody will restore
                    }
                    self.ledger.unrelate(folio, owner);
                }
                if let Some(source) = slot.source {
                    self.moves.retain(|(from, _)| *from != source);
                }
                Some(Seen::Nothing)
            }
            _ => None,
        }
    }

    /// What a collected page is called; `otherwise` where there is none and no hole.
    fn seen_slot(&self, slot: Slot, otherwise: bool) -> Seen {
        match slot.source {
            Some(folio) => self.seen_page(Page::Of(folio, 0)),
            None => Seen::Flag(slot.migrate || otherwise),
        }
    }

    /// What a device sees of a page, and does to it.
    fn access_mark(
        &mut self,
        call: Call<'_>,
        flight: &mut Flight,
        mark: DeviceMark,
    ) -> Option<Seen> {
        let op = &call.step.op;
        match mark {
            DeviceMark::Flags { mm, vpn, device } => {
                Some(Seen::Data(PageRef::Zero, u64::from(self.hmm_flags(mm, vpn, device).0)))
            }
            DeviceMark::Use { mm, vpn, device, valid } => {
                let (flags, page) = self.hmm_flags(mm, vpn, device);
                self.advance(call, flight, vpn, 1)?;
                if matches!(op, Op::DeviceWrite { .. }) {
                    flight.error = Some(Errno::EFAULT);
                }
                let Some(page) = page.filter(|_| valid) else { return Some(Seen::Nothing) };
                let word = hmm::word(flags, self.ledger.data(page));
                Some(Seen::Data(self.ledger.page_ref(page), word))
            }
            DeviceMark::Load { mm, vpn, device } => {
                let page = self.mirrored(mm, vpn, device, false)?;
                self.advance(call, flight, vpn, 1)?;
                Some(Seen::Data(self.ledger.page_ref(page), self.ledger.data(page)))
            }
            DeviceMark::Store { mm, vpn, device, at } => {
                let page = self.mirrored(mm, vpn, device, true)?;
                self.advance(call, flight, vpn, 1)?;
                if let Page::Of(folio, sub) = page {
                    self.ledger.set_data(folio, sub, program::written(call.number, at));
                }
                Some(self.seen_page(page))
            }
            _ => None,
        }
    }

    /// The page that a device's page table may map.
    fn mirrored(&self, mm: program::MmId, vpn: u32, device: Device, write: bool) -> Option<Page> {
        let own = self.entry(mm, vpn).filter(|entry| entry.device == Some(device));
        match own {
            Some(entry) if !write => Some(entry.page),
            _ => {
                let (flags, page) = self.hmm_flags(mm, vpn, device);
                let enough = if write { hmm::WRITE } else { hmm::READ };
                page.filter(|_| flags & enough != 0)
            }
        }
    }

    fn exclusive_mark(&mut self, flight: &mut Flight, mark: DeviceMark) -> Option<Seen> {
        match mark {
            DeviceMark::Exclusive { mm, vpn } => {
                let entry = self.entry(mm, vpn).filter(Entry::is_present)?;
                self.leave_stale(mm, vpn);
                self.set_exclusive_entry(mm, vpn, entry);
                Some(self.seen_entry(mm, vpn))
            }
            DeviceMark::Map { mm, vpn, device, kept } => {
                flight.done += 1;
                if !kept {
                    return Some(Seen::Nothing);
                }
                let exclusive = |entry: &Entry| entry.kind == EntryKind::DeviceExclusive;
                let entry = self.entry(mm, vpn).filter(exclusive)?;
                self.set_entry(mm, vpn, Some(Entry { device: Some(device), ..entry }));
                Some(Seen::Data(self.ledger.page_ref(entry.page), self.ledger.data(entry.page)))
            }
            DeviceMark::Restore { mm, vpn } => {
                let (entry, vma) = (self.entry(mm, vpn)?, self.vma(mm, vpn)?);
                self.restore_exclusive(mm, vpn, &vma, entry);
                Some(self.seen_entry(mm, vpn))
            }
            _ => None,
        }
    }

    /// GUP for `make_device_exclusive`: the operation holds the pages until it is done.
    pub fn exclusive_grab(&mut self, mark: Mark) -> Option<Seen> {
        let Mark::Grab { mm, vpn, pages, .. } = mark else { return None };
        let want = Want { write: true, ..Want::default() };
        let first = self.follow_page(mm, vpn, want).ok()?.entry.page;
        for i in 0..pages {
            let page = self.follow_page(mm, vpn + i, want).ok()?.entry.page;
            if let Page::Of(folio, _) = page {
                self.ledger.relate(folio, Owner::Hold { pin: false });
                self.holds += 1;
            }
        }
        Some(self.seen_page(first))
    }
}
