//! What is believed about run time while a program is decoded.
//!
//! All of it is guessed from the steps so far, as if each did what it usually does. Only aimed
//! records ([`super::aim`]) look at it; no rule depends on its being right.

use super::cells::{Cells, Contents, Pages, Slots, each};
use super::op::Target;
use super::view::{Area, View};
use crate::arena::{Arena, MAX_AREAS, MAX_CPUS, MAX_MMS, Set};
use crate::kind::Kind;
use crate::op::{AreaId, Backing, Device, Fail, MmId, Op, Range, Site};
use crate::shape::{Shape, Thp};

/// What goes with an operation.
#[derive(Clone, Copy)]
pub(super) struct Now<'a> {
    op: &'a Op,
    cpu: u8,
    /// What fails at its first attempt; later attempts seldom happen.
    fails: Option<Site>,
    /// As it is before the step.
    arena: &'a Arena,
    shape: &'a Shape,
}

impl<'a> Now<'a> {
    pub fn new(
        op: &'a Op,
        cpu: u8,
        fail: Option<Fail>,
        arena: &'a Arena,
        shape: &'a Shape,
    ) -> Now<'a> {
        let fails = fail.filter(|fail| fail.nth == 1).map(|fail| fail.site);
        Now { op, cpu, fails, arena, shape }
    }

    fn is_all(&self, range: Range) -> bool {
        range.len == self.arena.area_len(range.area)
    }
}

/// What is believed about the machine.
#[derive(Clone, Debug)]
pub(super) struct Hints {
    pub cells: Cells,
    views: [View; MAX_MMS],
    /// Private anonymous areas.
    pub anon: Set,
    /// Of those, the ones with room for a huge page.
    pub roomy: Set,
    shifts: [u16; MAX_AREAS],
    /// Handles and locks, dead or alive, that were made of each area.
    holders: [(Set, Set); MAX_AREAS],
    /// Mms whose fork failed.
    pub ghosts: Set,
    /// Each CPU's batch: how many pages, and the cells whose first page is among them.
    batches: [(u8, Slots); MAX_CPUS],
}

impl Default for Hints {
    fn default() -> Self {
        Hints {
            cells: Cells::default(),
            views: [View::default(); MAX_MMS],
            anon: Set::default(),
            roomy: Set::default(),
            shifts: [0; MAX_AREAS],
            holders: [Default::default(); MAX_AREAS],
            ghosts: Set::default(),
            batches: [(0, 0); MAX_CPUS],
        }
    }
}

impl Hints {
    /// Back to the start of a program.
    pub fn reset(&mut self) {
        self.cells.clear();
        self.views[0] = View::default();
        (self.anon, self.roomy, self.ghosts) = Default::default();
        self.batches = [(0, 0); MAX_CPUS];
    }

    pub fn view(&self, mm: MmId) -> &View {
        &self.views[usize::from(mm.0) % MAX_MMS]
    }

    /// Whether a live handle or lock may hold a page of the area.
    pub fn is_held(&self, area: u8, arena: &Arena) -> bool {
        let (handles, locks) = self.holders[usize::from(area) % MAX_AREAS];
        arena.any_live(handles, locks)
    }

    /// Whether some batch may hold a page.
    pub fn is_batched(&self) -> bool {
        self.batches.iter().any(|batch| batch.0 != 0)
    }

    /// Cells whose first page is in a batch.
    pub fn batched(&self) -> Slots {
        self.batches.iter().fold(0, |slots, batch| slots | batch.1)
    }

    /// Of these cells, the ones that nothing holds.
    pub fn free(&self, slots: Slots, arena: &Arena) -> Slots {
        let held = |&slot: &usize| self.is_held(self.cells.area(slot), arena);
        each(slots).filter(held).fold(slots, |free, slot| free & !(1 << slot))
    }

    /// Takes note of a step, before the arena does.
    pub fn apply(&mut self, target: Target, now: Now) {
        let Target { kind, mm, range } = target;
        if kind.populates() {
            self.access(now, kind, mm, range);
            return;
        }
        match kind {
            Kind::MmapAnon | Kind::MmapShmem | Kind::MmapFilePrivate | Kind::MmapFileShared => {
                self.mmap(now, mm);
            }
            Kind::Munmap => {
                self.drain(now.cpu);
                self.zap(mm, range);
                self.view_mut(mm).unmap(range.area.0, now.is_all(range));
            }
            Kind::Mprotect => self.mprotect(now, mm, range),
            Kind::Mremap => {
                self.drain(now.cpu);
                self.mremap(now, mm, range);
            }
            Kind::DontNeed => {
                self.drain(now.cpu);
                self.zap(mm, range);
            }
            Kind::DontFork | Kind::DoFork => {
                let view = self.view_mut(mm);
                view.cut(range.area.0, now.is_all(range));
                view.set(Area::DontFork, range.area.0, kind == Kind::DontFork);
            }
            Kind::HugePage | Kind::NoHugePage => {
                let on = kind == Kind::HugePage && self.roomy.contains(range.area.0);
                let view = self.view_mut(mm);
                view.cut(range.area.0, now.is_all(range));
                view.set(Area::Thp, range.area.0, on && now.shape.thp != Thp::Never);
                view.set(Area::Collapsible, range.area.0, on);
            }
            Kind::Collapse => {
                self.drain_all();
                let may = self.view(mm).get(Area::Collapsible).contains(range.area.0);
                if may && now.fails.is_none() && !self.is_held(range.area.0, now.arena) {
                    let view = &mut self.views[usize::from(mm.0) % MAX_MMS];
                    self.cells.collapse(&mut view.contents, range);
                }
            }
            Kind::UffdRegister | Kind::UffdRegisterSigbus => {
                let view = self.view_mut(mm);
                view.cut(range.area.0, now.is_all(range));
                view.set(Area::Armed, range.area.0, true);
            }
            Kind::UffdUnregister => {
                let view = self.view_mut(mm);
                view.cut(range.area.0, now.is_all(range));
                view.set(Area::Armed, range.area.0, !now.is_all(range));
            }
            Kind::UffdCopy => self.populate(now, mm, range, true),
            Kind::UffdZeroPage => self.populate(now, mm, range, false),
            Kind::Fork => self.fork(now, mm),
            Kind::Exit => {
                self.drain(now.cpu);
                self.view_mut(mm).contents = Contents::default();
            }
            Kind::LruAddDrain => self.drain(now.cpu),
            Kind::LruAddDrainAll | Kind::Offline => self.drain_all(),
            Kind::SplitFolio => self.split(now, mm, range),
            Kind::Migrate => self.migrate(now, mm, range),
            Kind::ToDevice | Kind::ToSystem => self.device_migrate(now, kind, mm, range),
            Kind::DeviceEvict => {
                let Op::DeviceEvict { device, .. } = *now.op else { return };
                self.leave(Slots::MAX, device);
            }
            Kind::LockPage => {
                let Op::LockPage { lock, .. } = *now.op else { return };
                self.holders[usize::from(range.area.0) % MAX_AREAS].1.insert(lock.0);
            }
            _ => {}
        }
    }

    fn access(&mut self, now: Now, kind: Kind, mm: MmId, range: Range) {
        let mut write = matches!(kind, Kind::Write | Kind::PopulateWrite);
        if let Op::Gup { handle, write: gup, .. } = *now.op {
            write = gup;
            self.holders[usize::from(range.area.0) % MAX_AREAS].0.insert(handle.0);
        }
        if let Op::Walk { write: walk, .. } = *now.op {
            write = walk;
        }
        if !self.view(mm).get(Area::Armed).contains(range.area.0) {
            self.populate(now, mm, range, write);
        }
        if matches!(kind, Kind::PopulateRead | Kind::PopulateWrite) {
            self.drain(now.cpu);
        }
    }

    fn mmap(&mut self, now: Now, mm: MmId) {
        let Op::Mmap { area, backing, prot, len, shift, .. } = *now.op else { return };
        self.create(area, backing == Backing::AnonPrivate, len, shift, now.shape);
        let roomy = self.roomy.contains(area.0);
        let thp = roomy && now.shape.thp == Thp::Always;
        self.view_mut(mm).map(area.0, prot, thp, roomy);
    }

    fn mprotect(&mut self, now: Now, mm: MmId, range: Range) {
        let Op::Mprotect { prot, .. } = *now.op else { return };
        let view = &mut self.views[usize::from(mm.0) % MAX_MMS];
        if now.is_all(range) {
            view.protect(range.area.0, prot);
        } else {
            view.protect_part(range.area.0, prot);
            self.cells.cut(&mut view.contents, range);
        }
    }

    fn fork(&mut self, now: Now, mm: MmId) {
        let Op::Fork { child, .. } = *now.op else { return };
        self.ghosts = self.ghosts.with(child.0, now.fails == Some(Site::Table));
        let view = &mut self.views[usize::from(mm.0) % MAX_MMS];
        let left = self.cells.in_areas(view.contents.some, view.get(Area::DontFork));
        let forked = view.fork(left);
        *self.view_mut(child) = forked;
    }

    fn split(&mut self, now: Now, mm: MmId, range: Range) {
        let Some(slot) = self.cells.find(range.area.0, range.off) else { return };
        if self.is_held(range.area.0, now.arena) {
            return;
        }
        let was = self.view(mm).contents.huge >> slot & 1;
        for view in &mut self.views {
            view.contents.huge &= !(1 << slot);
        }
        self.view_mut(mm).contents.table |= was << slot;
    }

    fn migrate(&mut self, now: Now, mm: MmId, range: Range) {
        let Some(slot) = self.cells.find(range.area.0, range.off) else { return };
        let contents = self.view(mm).contents;
        if (contents.real & !contents.huge) >> slot & 1 != 0 {
            self.batch(now, slot, 1);
        }
    }

    /// Whoever maps a page maps it where it goes.
    fn device_migrate(&mut self, now: Now, kind: Kind, mm: MmId, range: Range) {
        let Op::DeviceMigrate { device, .. } = *now.op else { return };
        let some = self.cells.of_area(range.area.0) & self.view(mm).contents.some;
        let common = |&slot: &usize| self.cells.whole(slot).common(Pages::of(range)).len != 0;
        let moved = each(some).filter(common).fold(0, |moved, slot| moved | 1 << slot);
        self.drain(now.cpu);
        if kind == Kind::ToSystem {
            self.leave(moved, device);
        } else if now.fails.is_none() && now.shape.pages[device.place() as usize] != 0 {
            for view in &mut self.views {
                let there = view.contents.device_mut(device);
                *there |= moved;
            }
        }
    }

    /// Nothing in these cells is in the device any more.
    fn leave(&mut self, slots: Slots, device: Device) {
        for view in &mut self.views {
            *view.contents.device_mut(device) &= !slots;
        }
    }

    fn view_mut(&mut self, mm: MmId) -> &mut View {
        &mut self.views[usize::from(mm.0) % MAX_MMS]
    }

    fn create(&mut self, area: AreaId, anon: bool, len: u16, shift: u16, shape: &Shape) {
        let before = shift.wrapping_neg() & (shape.ptes - 1);
        self.anon = self.anon.with(area.0, anon);
        self.roomy = self.roomy.with(area.0, anon && before + shape.ptes <= len);
        self.shifts[usize::from(area.0)] = shift;
        self.holders[usize::from(area.0)] = Default::default();
    }

    fn mremap(&mut self, now: Now, mm: MmId, range: Range) {
        let Op::Mremap { area, shift, .. } = *now.op else { return };
        let from = range.area.0;
        self.create(area, self.anon.contains(from), range.len, shift, now.shape);
        if now.fails == Some(Site::Table) {
            return;
        }
        self.holders[usize::from(area.0)] = self.holders[usize::from(from)];
        self.move_cell(mm, range, area, shift, now.shape.ptes);
        let roomy = self.roomy.contains(area.0);
        let view = self.view_mut(mm);
        let had = |property| roomy && view.get(property).contains(from);
        let (thp, collapsible) = (had(Area::Thp), had(Area::Collapsible));
        view.map(area.0, view.prot(from), thp, collapsible);
        view.unmap(from, now.is_all(range));
    }

    /// The first two cells of the range; longer ranges are rare.
    fn populate(&mut self, now: Now, mm: MmId, range: Range, write: bool) {
        let area = range.area.0;
        let allowed = self.view(mm).either(Area::Readable, write);
        let refused = !matches!(now.fails, None | Some(Site::Huge | Site::GrabFast));
        if refused || !allowed.contains(area) {
            return;
        }
        let area_len = now.arena.area_len(range.area);
        let (shift, ptes) = (self.shifts[usize::from(area) % MAX_AREAS], now.shape.ptes);
        let (mut page, mut left) = (range.off, 2);
        while page < range.off + range.len && left > 0 {
            let cell = Pages::around(page, shift, area_len, ptes);
            self.touch(now, mm, cell, range, write);
            (page, left) = (cell.end(), left - 1);
        }
    }

    /// `mm` reads or writes what the range has of one cell.
    fn touch(&mut self, now: Now, mm: MmId, cell: Pages, range: Range, write: bool) {
        let area = range.area.0;
        let used = cell.common(Pages::of(range));
        let real = write || !self.anon.contains(area);
        let slot = match self.cells.find(area, cell.off) {
            Some(slot) => slot,
            None => self.remember(area, cell, used),
        };
        // A fault brings it back.
        self.leave(1 << slot, Device::Private);
        let view = &mut self.views[usize::from(mm.0) % MAX_MMS];
        let eligible = view.get(Area::Thp) & view.get(Area::Solid);
        let fits = cell.len == now.shape.ptes && now.fails != Some(Site::Huge);
        let thp = fits && eligible.contains(area);
        let if_so = |condition: bool| Slots::from(condition) << slot;
        let here = &mut view.contents;
        let bit = if_so(true);
        let new = bit & !here.some;
        let huge = new & if_so(write && thp);
        let copied = here.shared & if_so(write);
        let added = (copied | if_so(real) & !here.real) & !huge;
        here.some |= bit;
        here.real |= if_so(real);
        here.huge = here.huge & !copied | huge;
        here.table |= new & !huge | copied;
        here.shared &= !copied;
        if new | added != 0 {
            self.cells.set_used(slot, if huge != 0 { cell } else { used });
        }
        if huge != 0 {
            self.drain(now.cpu);
        } else if added != 0 {
            self.batch(now, slot, used.len);
        }
    }

    /// `mm` moves the range: what it has in the first cell there it has in the new area.
    fn move_cell(&mut self, mm: MmId, range: Range, area: AreaId, shift: u16, ptes: u16) {
        let contents = self.view(mm).contents;
        let moved = Pages::of(range);
        let used = |slot| self.cells.used(slot).common(moved);
        let slots = self.cells.of_area(range.area.0) & contents.some;
        let from = each(slots).find(|&slot| used(slot).len != 0);
        let from = from.map(|slot| (slot, used(slot), self.cells.whole(slot).len));
        self.zap(mm, range);
        let Some((from, used, len)) = from else { return };
        let used = Pages { off: used.off - range.off, ..used };
        let whole = Pages::around(used.off, shift, range.len, ptes);
        let slot = self.remember(area.0, whole, used.common(whole));
        let had = |set: Slots| (set >> from & 1) << slot;
        let to = &mut self.view_mut(mm).contents;
        to.some |= 1 << slot;
        to.real |= had(contents.real);
        to.huge |= had(contents.huge);
        to.table |= had(contents.table) | Slots::from(whole.len != len) << slot;
        to.shared |= had(contents.shared);
    }

    /// A new cell, in place of the oldest.
    fn remember(&mut self, area: u8, whole: Pages, used: Pages) -> usize {
        let slot = self.cells.push(area, whole, used);
        self.views.iter_mut().for_each(|view| view.contents = view.contents.of(!(1 << slot)));
        self.batches.iter_mut().for_each(|batch| batch.1 &= !(1 << slot));
        slot
    }

    /// Puts pages of the cell into the CPU's batch.
    fn batch(&mut self, now: Now, slot: usize, pages: u16) {
        let most = u16::from(now.shape.batch);
        let (count, slots) = &mut self.batches[usize::from(now.cpu) % MAX_CPUS];
        let full = u16::from(*count) + pages;
        *count = (full % most) as u8;
        // The first page goes with the batch that it fills.
        *slots = if full < most { *slots | 1 << slot } else { 0 };
    }

    fn zap(&mut self, mm: MmId, range: Range) {
        let view = &mut self.views[usize::from(mm.0) % MAX_MMS];
        self.cells.zap(&mut view.contents, range);
    }

    fn drain(&mut self, cpu: u8) {
        self.batches[usize::from(cpu) % MAX_CPUS] = (0, 0);
    }

    fn drain_all(&mut self) {
        self.batches = [(0, 0); MAX_CPUS];
    }
}
