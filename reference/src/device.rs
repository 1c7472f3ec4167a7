//! Device migrations, open from setup to finalize (B10).
//!
//! A migration relates to each of its pages by `Owner::Migration`: one reference, and PG_locked.
//! Where they were mapped there are migration entries.

use program::{
    Birth, Device, Direction, EntryKind, Errno, MigratePfn, MigrationId, MmId, ObjectId, Place,
    Ret, Select, Site, Span, TaskId, Uffd,
};

use crate::folio::Owner;
use crate::ledger::FolioId;
use crate::mm::{Entry, Page, Pmd, pmds};
use crate::state::{Done, State, Stop, fail, reuse_clone};
use crate::vma::Vma;

/// What a migration holds of one page of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Slot {
    pub source: Option<FolioId>,
    /// It is to move, or has moved.
    pub migrate: bool,
    pub destination: Option<FolioId>,
}

const HOLE: Slot = Slot { source: None, migrate: true, destination: None };

#[derive(Debug)]
pub(crate) struct Migration {
    /// None: of device pages, wherever they are mapped. Else its mmap_lock is held for reading.
    pub mm: Option<MmId>,
    /// Page of the first slot.
    pub start: u32,
    pub slots: Vec<Slot>,
    pub device: Device,
    pub select: Select,
    /// The page that the fault holds for which this is (`fault_page`).
    pub fault: Option<FolioId>,
    pub task: TaskId,
    /// Destinations were allocated, and the pages moved.
    pub paged: bool,
}
reuse_clone!(Migration { mm, start, slots, device, select, fault, task, paged });

impl Migration {
    /// Of device-coherent pages that a longterm pin may not stay on.
    pub fn of_coherent(task: TaskId) -> Migration {
        let (slots, device, select) = (Vec::new(), Device::Coherent, Select(0));
        Migration { mm: None, start: 0, slots, device, select, fault: None, task, paged: false }
    }
}

/// What a migration can do with a page.
pub(crate) enum Collected {
    Page(FolioId),
    /// Fill it in.
    Hole,
    /// Leave it alone.
    Nothing,
}

impl State {
    /// `migrate_vma_setup`: the pages ready to move, holes among them.
    pub fn migrate_setup(
        &mut self,
        mm: MmId,
        span: Span,
        id: MigrationId,
        device: Device,
        select: Select,
        fault: bool,
    ) -> Done<u32> {
        // A14b: a `fault_page` must be locked by the fault, and nothing here faults.
        if fault {
            return fail(Errno::EINVAL);
        }
        let open = self.setup(mm, span, device, select, id.task())?;
        let ready = count(&open);
        self.keep(id, open);
        Ok(ready)
    }

    pub fn keep(&mut self, id: MigrationId, open: Migration) {
        let at = usize::from(id.0);
        while self.migrations.len() <= at {
            self.migrations.push(None);
        }
        self.migration_terms(id, &open, true);
        self.migrations[at] = Some(open);
    }

    pub fn take(&mut self, id: MigrationId) -> Option<Migration> {
        let open = self.migrations.get_mut(usize::from(id.0))?.take()?;
        self.migration_terms(id, &open, false);
        Some(open)
    }

    fn migration_terms(&mut self, id: MigrationId, open: &Migration, begins: bool) {
        for (index, slot) in (0..).zip(&open.slots) {
            let term = program::digest::migration(id, index, self.migrate_pfn(slot));
            if begins { self.ledger.add(term) } else { self.ledger.sub(term) }
        }
    }

    pub fn migrate_pfn(&self, slot: &Slot) -> MigratePfn {
        let name = |folio: Option<FolioId>| folio.map(|folio| self.ledger.folio(folio).name);
        MigratePfn { src: name(slot.source), migrate: slot.migrate, dst: name(slot.destination) }
    }

    /// Whoever changes the VMAs of an mm waits until no migration of it is open.
    pub fn mmap_write_lock(&self, mm: MmId) -> Done {
        if self.is_mmap_locked(mm) { Err(Stop::AtOnce) } else { Ok(()) }
    }

    /// Whether a migration of the mm is open: it keeps mmap_lock for reading.
    pub fn is_mmap_locked(&self, mm: MmId) -> bool {
        self.migrations.iter().flatten().any(|open| open.mm == Some(mm))
    }

    /// Collects and unmaps.
    pub fn setup(
        &mut self,
        mm: MmId,
        span: Span,
        device: Device,
        select: Select,
        task: TaskId,
    ) -> Done<Migration> {
        let Some(vma) = self.vma(mm, span.start).filter(|vma| span.end <= vma.end) else {
            return fail(Errno::EINVAL);
        };
        let slots = Vec::new();
        let (of, start) = (Some(mm), span.start);
        let mut open =
            Migration { mm: of, start, slots, device, select, fault: None, task, paged: false };
        for (pmd, first, last) in pmds(span.start, span.end, self.ptes) {
            if let Pmd::Huge(entry) = self.pmd(mm, pmd)
                && !self.split_for_migration(entry)
            {
                open.slots.extend((first..last).map(|_| Slot::default()));
                continue;
            }
            for vpn in first..last {
                let slot = self.collect(&open, mm, vpn, &vma);
                open.slots.push(slot);
            }
        }
        if count(&open) > 0 {
            self.unmap(&mut open);
        }
        Ok(open)
    }

    /// A huge page is split first, or left alone.
    fn split_for_migration(&mut self, entry: Entry) -> bool {
        let Page::Of(folio, _) = entry.page else { return false };
        self.ledger.relate(folio, Owner::Operation);
        if !self.can_split(folio) {
            self.ledger.unrelate(folio, Owner::Operation);
            return false;
        }
        for page in self.split(folio) {
            self.ledger.set_lru(page, true);
            self.ledger.unrelate(page, Owner::Operation);
        }
        true
    }

    /// One page: taken, a hole to be filled, or left alone.
    pub fn collect(&mut self, open: &Migration, mm: MmId, vpn: u32, vma: &Vma) -> Slot {
        match self.collectable(open, mm, vpn, vma) {
            Collected::Hole => HOLE,
            Collected::Nothing => Slot::default(),
            Collected::Page(folio) => {
                self.ledger.relate(folio, Owner::Migration { task: open.task });
                self.set_migration_entry(mm, vpn);
                Slot { source: Some(folio), ..HOLE }
            }
        }
    }

    /// What a migration can do with a page.
    pub fn collectable(&self, open: &Migration, mm: MmId, vpn: u32, vma: &Vma) -> Collected {
        if let Pmd::Huge(_) = self.pmd(mm, vpn / self.ptes) {
            return Collected::Nothing;
        }
        let Some(entry) = self.entry(mm, vpn) else {
            return if vma.is_anonymous() { Collected::Hole } else { Collected::Nothing };
        };
        let Page::Of(id, sub) = entry.page else {
            let select = open.select.has(Select::SYSTEM);
            return if select { Collected::Hole } else { Collected::Nothing };
        };
        let folio = self.ledger.folio(id);
        let selected = match Device::owner(folio.place) {
            None => open.select.has(Select::SYSTEM),
            Some(owner) => owner == open.device && open.select.has(Select::of(owner)),
        };
        let exclusive = entry.is_present() && folio.pages[sub as usize].exclusive;
        let pinned = exclusive && folio.maybe_pinned();
        if !entry.kind.maps() || !selected || folio.order > 0 || self.is_locked(id) || pinned {
            return Collected::Nothing;
        }
        Collected::Page(id)
    }

    /// Nobody else refers to a page whose mappings are gone; one more than expected may hold a page
    /// of a device (A13).
    pub fn checked(&self, fault: Option<FolioId>, id: FolioId) -> bool {
        let (folio, fault) = (self.ledger.folio(id), fault == Some(id));
        let (cached, slack) = (folio.cached().is_some(), folio.place.is_zone_device());
        folio.refcount() <= 1 + u64::from(fault) + u64::from(cached) + u64::from(slack)
    }

    /// A mapping becomes a migration entry, which remembers write, AE and dirty.
    pub fn set_migration_entry(&mut self, mm: MmId, vpn: u32) {
        let Some(entry) = self.entry(mm, vpn) else { return };
        let Some(entry) = self.unmapped(entry) else { return };
        self.set_entry(mm, vpn, Some(entry));
    }

    /// The migration entry in the place of a mapping.
    pub fn unmapped(&mut self, entry: Entry) -> Option<Entry> {
        let Page::Of(folio, sub) = entry.page else { return None };
        let exclusive = self.ledger.folio(folio).pages[sub as usize].exclusive;
        let kind = EntryKind::Migration { exclusive: exclusive && !entry.write };
        self.ledger.set_exclusive(folio, sub, false);
        Some(Entry { kind, read: false, ..entry })
    }

    /// Isolates, unmaps everywhere, and puts back what somebody else uses.
    fn unmap(&mut self, open: &mut Migration) {
        self.lru_add_drain(self.now.cpu);
        let mut may_drain = true;
        for slot in &mut open.slots {
            let Some(folio) = slot.source else { continue };
            let system = !self.is_zone_device(folio);
            if system {
                if !self.ledger.folio(folio).lru && may_drain {
                    self.lru_add_drain_all();
                    may_drain = false;
                }
                self.ledger.set_lru(folio, false);
            }
            for owner in self.ledger.folio(folio).owners.clone() {
                if let Owner::Pte { mm, vpn, .. } = owner {
                    self.set_migration_entry(mm, vpn);
                }
            }
            if !self.checked(None, folio) {
                if system {
                    self.lru_add(folio);
                }
                slot.migrate = false;
            }
        }
        let restored = |slot: &&mut Slot| slot.source.is_some() && !slot.migrate;
        for slot in open.slots.iter_mut().filter(restored) {
            if let Some(folio) = std::mem::take(slot).source {
                self.remove_migration_entries(folio, folio);
                self.ledger.unrelate(folio, Owner::Migration { task: open.task });
            }
        }
    }

    /// Every migration entry of `source` becomes a mapping of `to`.
    fn remove_migration_entries(&mut self, source: FolioId, to: FolioId) {
        for owner in self.ledger.folio(source).owners.clone() {
            let Owner::MigrationPte { mm, vpn } = owner else { continue };
            self.remove_migration_entry(mm, vpn, Page::Of(to, 0));
        }
    }

    /// One migration entry becomes a mapping of this page.
    pub fn remove_migration_entry(&mut self, mm: MmId, vpn: u32, page: Page) {
        let (Some(entry), Some(vma)) = (self.entry(mm, vpn), self.vma(mm, vpn)) else { return };
        let entry = self.restored(entry, &vma, page);
        self.set_entry(mm, vpn, Some(entry));
    }

    /// What a migration entry comes back as.
    pub fn restored(&mut self, entry: Entry, vma: &Vma, page: Page) -> Entry {
        let Page::Of(folio, sub) = page else { return entry };
        let private = self.ledger.folio(folio).place == Place::Device;
        let shmem = vma.flags.shared && matches!(vma.flags.object, Some(ObjectId::Shmem(_)));
        let write = entry.write || (shmem && vma.is_writable());
        let exclusive = entry.write || entry.kind == EntryKind::Migration { exclusive: true };
        if self.ledger.folio(folio).anon && exclusive {
            self.ledger.set_exclusive(folio, sub, true);
        }
        let kind = if private { EntryKind::DevicePrivate } else { EntryKind::Present };
        let read = vma.is_readable() && !private;
        Entry { kind, page, read, write, ..entry }
    }

    /// The driver's part and `migrate_vma_pages` of an open migration; the pages that moved.
    pub fn migrate_pages_of(&mut self, id: MigrationId, to: Direction) -> Ret {
        let Some(mut open) = self.take(id) else { return Ret::Void };
        let again = open.paged;
        if !again {
            self.move_pages(&mut open, to);
        }
        let moved = count(&open);
        self.keep(id, open);
        if again { Ret::Void } else { Ret::Ok(moved) }
    }

    /// Destinations, copies, and whether each page may move.
    pub fn move_pages(&mut self, open: &mut Migration, to: Direction) {
        open.paged = true;
        for index in 0..open.slots.len() {
            open.slots[index].destination = self.destination(open, index, to);
        }
        for index in 0..open.slots.len() {
            open.slots[index].migrate = self.may_move(open, index);
        }
    }

    pub fn destination(
        &mut self,
        open: &Migration,
        index: usize,
        to: Direction,
    ) -> Option<FolioId> {
        let Slot { source, migrate, .. } = open.slots[index];
        let from_device = source.is_some_and(|folio| self.is_zone_device(folio));
        if !migrate || from_device != (to == Direction::ToSystem) {
            return None;
        }
        let birth = match source {
            Some(folio) => Birth::Migrate(self.ledger.folio(folio).name),
            None => Birth::Anon(open.mm?, open.start + index as u32),
        };
        let new = match to {
            Direction::ToDevice => self.device_alloc(open.device, birth),
            Direction::ToSystem => self.alloc(Site::Dst, 0, birth, true).ok(),
        }?;
        self.ledger.relate(new, Owner::Migration { task: open.task });
        if let Some(folio) = source {
            self.ledger.set_data(new, 0, self.ledger.data(Page::Of(folio, 0)));
        }
        Some(new)
    }

    pub fn may_move(&mut self, open: &Migration, index: usize) -> bool {
        let Slot { source, migrate, destination } = open.slots[index];
        let Some(new) = destination else { return false };
        let Some(folio) = source else {
            return migrate && self.insert(open, open.start + index as u32, new).is_some();
        };
        // Anonymous memory alone goes to a device; references must be exact now.
        let fault = open.fault == Some(folio);
        let folio = self.ledger.folio(folio);
        folio.cached().is_none() && folio.refcount() == 1 + u64::from(fault)
    }

    /// `migrate_vma_insert_page`: fills a hole, if it still is one.
    fn insert(&mut self, open: &Migration, vpn: u32, new: FolioId) -> Option<()> {
        let mm = open.mm?;
        let vma = self.vma(mm, vpn).filter(Vma::is_anonymous)?;
        if matches!(self.pmd(mm, vpn / self.ptes), Pmd::Huge(_)) {
            return None;
        }
        self.table_for(mm, vpn).ok()?;
        self.install_table(mm, vpn);
        self.anon_vma_prepare(mm, vpn);
        let filled = self.entry(mm, vpn).is_some_and(|entry| entry.page != Page::Zero);
        if filled || vma.flags.uffd != Uffd::None {
            return None;
        }
        self.ledger.set_exclusive(new, 0, true);
        let present = Entry::present(Page::Of(new, 0), vma.is_readable(), vma.is_writable());
        let entry = match self.ledger.folio(new).place {
            Place::Device => Entry { kind: EntryKind::DevicePrivate, read: false, ..present },
            _ => present,
        };
        self.set_entry(mm, vpn, Some(entry));
        Some(())
    }

    pub fn migrate_finalize(&mut self, id: MigrationId) {
        if let Some(open) = self.take(id) {
            self.finalize(open);
        }
    }

    /// `migrate_vma_finalize`: every page comes back, moved or not, and is let go.
    pub fn finalize(&mut self, open: Migration) {
        let owner = Owner::Migration { task: open.task };
        for Slot { source, migrate, destination } in open.slots {
            let moved = source.is_some() && migrate && destination.is_some();
            if let Some(unused) = destination.filter(|_| !moved) {
                self.ledger.unrelate(unused, owner);
            }
            let Some(source) = source else { continue };
            let to = destination.filter(|_| moved).unwrap_or(source);
            if !self.is_zone_device(to) {
                self.lru_add(to);
            }
            self.remove_migration_entries(source, to);
            self.ledger.unrelate(source, owner);
            if moved {
                self.ledger.unrelate(to, owner);
            }
        }
    }

    /// `migrate_device_range` over all pages of a device, the oldest first.
    pub fn setup_range(&mut self, device: Device, task: TaskId) -> Migration {
        let slots = Vec::new();
        let select = Select(0);
        let mut open = Migration {
            mm: None,
            start: 0,
            slots,
            device,
            select,
            fault: None,
            task,
            paged: false,
        };
        for folio in self.pages_of(device) {
            if self.is_locked(folio) {
                open.slots.push(Slot::default());
            } else {
                self.ledger.relate(folio, Owner::Migration { task });
                open.slots.push(Slot { source: Some(folio), ..HOLE });
            }
        }
        self.unmap(&mut open);
        open
    }

    pub fn migrate_device_range(&mut self, id: MigrationId, device: Device) -> u32 {
        let open = self.setup_range(device, id.task());
        let ready = count(&open);
        self.keep(id, open);
        ready
    }

    pub fn is_zone_device(&self, folio: FolioId) -> bool {
        self.ledger.folio(folio).place.is_zone_device()
    }
}

/// Pages that are ready to move, or have moved.
pub(crate) fn count(open: &Migration) -> u32 {
    open.slots.iter().filter(|slot| slot.migrate).count() as u32
}
