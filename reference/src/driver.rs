//! What the drivers of the two devices do: whole migrations, faults, eviction, access (B10, B11).

use program::{
    Birth, Device, Direction, EntryKind, Errno, MmId, Request, Ret, Select, Site, Span, TaskId,
    hmm, written,
};

use crate::device::count;
use crate::folio::Owner;
use crate::ledger::FolioId;
use crate::mm::{Entry, Page};
use crate::state::{Done, State, Stop, fail};
use crate::vma::Vma;

impl State {
    /// Pages that a driver handles at once: two tables' worth.
    pub fn driver_chunk(&self) -> u32 {
        2 * self.ptes
    }

    fn driver_task(&self) -> TaskId {
        TaskId(self.now.cpu)
    }

    /// The allocated pages of a device, the oldest first.
    pub fn pages_of(&self, device: Device) -> Vec<FolioId> {
        let of_device =
            |(_, folio): &(FolioId, &crate::folio::Folio)| folio.place == device.place();
        let mut pages: Vec<_> =
            self.ledger.live().filter(of_device).map(|(id, folio)| (folio.age, id)).collect();
        pages.sort_by_key(|(age, _)| *age);
        pages.into_iter().map(|(_, id)| id).collect()
    }

    /// A page of the device's memory that nobody holds yet.
    pub fn device_alloc(&mut self, device: Device, birth: Birth) -> Option<FolioId> {
        self.attempt(Site::Device).ok()?;
        let place = device.place();
        let full = self.ledger.used(place) == self.capacity(place);
        if full || self.removed[device as usize] {
            return None;
        }
        Some(self.born(birth, 0, place, true))
    }

    /// A driver's whole migration: VMA by VMA, chunk by chunk.
    pub fn device_migrate(
        &mut self,
        mm: MmId,
        span: Span,
        device: Device,
        to: Direction,
    ) -> Done<u32> {
        let select = match to {
            Direction::ToDevice => Select(Select::SYSTEM.0 | Select::of(device).0),
            Direction::ToSystem => Select::of(device),
        };
        let (mut at, mut moved) = (span.start, 0);
        while at < span.end {
            let Some(vma) = self.vma(mm, at).filter(Vma::is_readable) else {
                return fail(Errno::EINVAL);
            };
            let end = vma.end.min(span.end).min(at + self.driver_chunk());
            let piece = Span { start: at, end };
            let mut open = self.setup(mm, piece, device, select, self.driver_task())?;
            self.move_pages(&mut open, to);
            moved += count(&open);
            self.finalize(open);
            at = end;
        }
        Ok(moved)
    }

    /// Everything on the device moves back; a removal then waits for what could not.
    pub fn device_evict(&mut self, device: Device, remove: bool) -> Done<u32> {
        self.removed[device as usize] |= remove;
        let mut open = self.setup_range(device, self.driver_task());
        self.move_pages(&mut open, Direction::ToSystem);
        let moved = count(&open);
        self.finalize(open);
        if remove && self.ledger.used(device.place()) > 0 {
            return Err(Stop::Sleep);
        }
        Ok(moved)
    }

    /// `do_swap_page`: an entry that is not present.
    pub fn do_swap_page(&mut self, mm: MmId, vpn: u32, vma: &Vma, entry: Entry) -> Done {
        let Page::Of(folio, _) = entry.page else { return Ok(()) };
        match entry.kind {
            EntryKind::Present => {}
            // Its page is locked by the migration.
            EntryKind::Migration { .. } => return Err(Stop::Sleep),
            _ if self.is_locked(folio) => return Err(Stop::Sleep),
            EntryKind::DevicePrivate => self.migrate_to_ram(folio)?,
            EntryKind::DeviceExclusive => self.restore_exclusive(mm, vpn, vma, entry),
        }
        Ok(())
    }

    /// `migrate_to_ram`: the page moves to system memory, in every mm. Only mappings refer to it.
    fn migrate_to_ram(&mut self, page: FolioId) -> Done {
        let no_memory = |_| Stop::Fail(Errno::SIGBUS);
        self.attempt(Site::Driver).map_err(no_memory)?;
        self.lru_add_drain(self.now.cpu);
        let birth = Birth::Migrate(self.ledger.folio(page).name);
        let new = self.alloc(Site::Dst, 0, birth, true).map_err(no_memory)?;
        self.move_device_page(page, new);
        Ok(())
    }

    /// A page of a device moves to a new one of system memory, in every mm.
    pub fn move_device_page(&mut self, page: FolioId, new: FolioId) {
        self.ledger.set_data(new, 0, self.ledger.data(Page::Of(page, 0)));
        self.ledger.set_exclusive(new, 0, self.ledger.folio(page).pages[0].exclusive);
        self.ledger.relate(new, Owner::Operation);
        self.lru_add(new);
        for owner in self.ledger.folio(page).owners.clone() {
            let Owner::Pte { mm, vpn, .. } = owner else { continue };
            let (Some(entry), Some(vma)) = (self.entry(mm, vpn), self.vma(mm, vpn)) else {
                continue;
            };
            let present = Entry::present(Page::Of(new, 0), vma.is_readable(), entry.write);
            self.set_entry(mm, vpn, Some(present));
        }
        self.ledger.unrelate(new, Owner::Operation);
    }

    /// The device reads: through its own page table what is exclusive to it, else what
    /// `hmm_range_fault` finds.
    pub fn device_read(
        &mut self,
        mm: MmId,
        span: Span,
        device: Device,
        values: &mut Vec<u64>,
    ) -> Done<Ret> {
        for vpn in span.start..span.end {
            let own = self.entry(mm, vpn).filter(|entry| entry.device == Some(device));
            let page = match own {
                Some(entry) => entry.page,
                None => self.hmm_page(mm, vpn, device, Request::Fault)?.1,
            };
            values.push(self.ledger.data(page));
        }
        Ok(Ret::Ok(span.end - span.start))
    }

    /// The device writes.
    pub fn device_write(&mut self, mm: MmId, span: Span, device: Device) -> Done<Ret> {
        for (i, vpn) in (0..).zip(span.start..span.end) {
            let (flags, page) = self.hmm_page(mm, vpn, device, Request::Write)?;
            let Page::Of(folio, sub) = page else { return fail(Errno::EFAULT) };
            if flags & hmm::WRITE == 0 {
                return fail(Errno::EFAULT); // its own page, read-only
            }
            self.ledger.set_data(folio, sub, written(self.now.number, i));
        }
        Ok(Ret::Ok(span.end - span.start))
    }
}
