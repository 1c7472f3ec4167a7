//! Where aimed records go: to places where, as far as the hints tell, they find what they need.
//! A record that nothing suits becomes one that prepares it.

use super::cells::{Pages, Slots, each};
use super::op::{Focus, Meaning};
use super::view::{Area, View};
use crate::arena::Set;
use crate::kind::Kind;
use crate::op::{AreaId, Foll, MmId, Prot, Range};

/// What an aimed record does.
pub(super) enum Goal {
    /// This, there.
    At(Kind, MmId, Range),
    /// This, as if the record were literal.
    Make(Kind),
}

/// How a kind is aimed.
#[derive(Clone, Copy)]
enum Plan {
    /// Not at all.
    Literal,
    /// At areas with a property.
    In(Area),
    /// At writable areas, at times where it makes a huge folio.
    Write,
    /// At readable or, to write, at writable areas.
    Gup,
    /// In a way of its own.
    Own,
}

/// By kind. A table and not a `match`, because most kinds then take the same way.
const PLANS: [Plan; Kind::ALL.len()] = {
    let mut plans = [Plan::Literal; Kind::ALL.len()];
    let mut index = 0;
    while index < plans.len() {
        plans[index] = plan(Kind::ALL[index]);
        index += 1;
    }
    plans
};

const fn plan(kind: Kind) -> Plan {
    match kind {
        Kind::Munmap | Kind::DontNeed | Kind::DontFork | Kind::NoHugePage => Plan::In(Area::Whole),
        Kind::Mremap => Plan::In(Area::Solid),
        Kind::Read | Kind::PopulateRead => Plan::In(Area::Readable),
        Kind::Write => Plan::Write,
        Kind::PopulateWrite => Plan::In(Area::Writable),
        Kind::Get | Kind::GetFast | Kind::Pin | Kind::PinFast => Plan::Gup,
        Kind::Walk => Plan::Gup,
        Kind::MigrateVmaSetup => Plan::In(Area::Solid),
        Kind::PinLongterm | Kind::PinLongtermFast => Plan::Own,
        Kind::ToDevice | Kind::ToSystem => Plan::Own,
        Kind::DeviceRead | Kind::HmmRangeFault => Plan::In(Area::Readable),
        Kind::DeviceWrite | Kind::MakeDeviceExclusive => Plan::In(Area::Writable),
        Kind::Mprotect | Kind::HugePage | Kind::DoFork | Kind::Collapse => Plan::Own,
        Kind::GetFastOnly | Kind::LockPage | Kind::SplitFolio | Kind::Migrate => Plan::Own,
        Kind::LruAddDrain | Kind::LruAddDrainAll => Plan::Own,
        Kind::UffdRegister | Kind::UffdRegisterSigbus | Kind::UffdUnregister => Plan::Own,
        Kind::UffdCopy | Kind::UffdZeroPage => Plan::Own,
        _ => Plan::Literal,
    }
}

/// An aimed record.
struct Aim<'a> {
    meaning: &'a Meaning<'a>,
    mm: MmId,
    view: &'a View,
    /// Areas that may be named now.
    areas: Set,
}

impl Meaning<'_> {
    /// The goal of a record that is aimed.
    pub fn goal(&self, kind: Kind) -> Option<Goal> {
        if let Some(goal) = self.focused(kind) {
            return Some(goal);
        }
        let plan = PLANS[kind as usize];
        if self.record.aim() < 2 || matches!(plan, Plan::Literal) {
            return None;
        }
        let mms = self.arena.mms(self.cpu) & !self.hints.ghosts;
        let mm = MmId(mms.pick(self.record.mm())?);
        let (view, areas) = (self.hints.view(mm), self.arena.areas(self.cpu));
        let aim = Aim { meaning: self, mm, view, areas };
        Some(match plan {
            Plan::Own => aim.own(kind),
            Plan::Write => {
                let huge = if self.record.flags() & 1 != 0 { aim.write_huge() } else { None };
                huge.unwrap_or_else(|| aim.write())
            }
            Plan::In(property) => aim.access(kind, view.get(property)),
            _ => aim.access(kind, aim.allowed()),
        })
    }

    /// The goal of a record that is to meet others.
    fn focused(&self, kind: Kind) -> Option<Goal> {
        let Meaning { record, hints, cpu, .. } = *self;
        let (mms, areas) = (self.arena.mms(cpu) & !hints.ghosts, self.arena.areas(cpu));
        let any = MmId(mms.pick(record.mm())?);
        // These need an area that is registered.
        let armed = matches!(kind, Kind::UffdUnregister | Kind::UffdCopy | Kind::UffdZeroPage);
        if !kind.has_range() || armed {
            return None;
        }
        match self.focus {
            Focus::Nowhere => None,
            Focus::Populated => {
                let aim = Aim { meaning: self, mm: any, view: hints.view(any), areas };
                let real = self.needs(kind, any).unwrap_or(aim.view.contents.real);
                let there = aim.inside(real, aim.writable(), kind);
                Some(there.unwrap_or_else(|| aim.write()))
            }
            Focus::At(mm, range) => {
                // Its child, or parent, has the same pages at the same place.
                let mm = if record.off() & 0x0300 == 0 { any } else { mm };
                let one = kind.is_single() || record.len() & 7 < 3;
                let range = if one { Range { len: 1, ..range } } else { range };
                let there = mms.contains(mm.0) && areas.contains(range.area.0);
                let here = hints.cells.find(range.area.0, range.off).map_or(0, |slot| 1 << slot);
                let suits = self.needs(kind, mm).is_none_or(|slots| slots & here != 0);
                (there && suits).then_some(Goal::At(kind, mm, range))
            }
        }
    }

    /// Cells that have what the kind needs, if it needs more than pages: elsewhere it would only fail.
    fn needs(&self, kind: Kind, mm: MmId) -> Option<Slots> {
        let contents = self.hints.view(mm).contents;
        match kind {
            Kind::SplitFolio => Some(self.hints.free(contents.huge, self.arena)),
            Kind::Migrate => Some(contents.real & !self.hints.batched()),
            Kind::ToSystem => Some(contents.private | contents.coherent),
            _ => None,
        }
    }

    /// The protection that `mprotect` sets: if aimed, mostly not that which there is.
    pub fn prot(&self, mm: MmId, range: Range) -> Prot {
        let record = self.record;
        let writable = self.hints.view(mm).get(Area::Writable).contains(range.area.0);
        match record.flags() & 15 {
            _ if record.aim() < 2 => record.prot(1),
            0 => Prot::None,
            1 => Prot::Read,
            _ if writable => Prot::Read,
            _ => Prot::ReadWrite,
        }
    }
}

impl Aim<'_> {
    fn own(&self, kind: Kind) -> Goal {
        let Meaning { hints, .. } = *self.meaning;
        let (view, contents) = (self.view, self.view.contents);
        match kind {
            Kind::SplitFolio => self.split(),
            Kind::Migrate => self.migrate(),
            Kind::Collapse => self.collapse(),
            Kind::PinLongterm | Kind::PinLongtermFast => {
                // Mostly what must be migrated first, and what lies beside it.
                let found = self.beside(contents.coherent, self.allowed(), kind);
                found.unwrap_or_else(|| self.access(kind, self.allowed()))
            }
            Kind::ToDevice => {
                let here = contents.real & !(contents.private | contents.coherent);
                let found = self.inside(here, view.get(Area::Solid), kind);
                found.unwrap_or_else(|| self.access(kind, view.get(Area::Solid)))
            }
            Kind::ToSystem => {
                let there = contents.private | contents.coherent;
                let found = self.inside(there, view.get(Area::Solid), kind);
                // What it would find nothing for brings something there, but not always.
                let make = if self.meaning.record.aim() & 2 != 0 { Kind::ToDevice } else { kind };
                found.unwrap_or_else(|| self.access(make, view.get(Area::Solid)))
            }
            Kind::GetFastOnly => {
                let found = self.inside(contents.real, self.allowed(), kind);
                found.unwrap_or_else(|| self.write())
            }
            Kind::LockPage => {
                self.inside(contents.real, self.areas, kind).unwrap_or_else(|| self.write())
            }
            Kind::Mprotect => {
                let back = self.meaning.record.aim() & 2 != 0;
                let lowered = view.get(Area::Whole) & !view.get(Area::Writable);
                let lowered = if back { lowered } else { Set::default() };
                let found = self.all(kind, lowered);
                found.unwrap_or_else(|| self.access(kind, view.get(Area::Whole)))
            }
            Kind::HugePage => {
                let refused = hints.roomy & !view.get(Area::Collapsible);
                let found = self.area(kind, view.get(Area::Whole) & refused);
                found.unwrap_or_else(|| self.access(kind, view.get(Area::Whole)))
            }
            Kind::UffdRegister | Kind::UffdRegisterSigbus => {
                let found = self.all(kind, view.get(Area::Whole) & hints.anon);
                found.unwrap_or(Goal::Make(Kind::MmapAnon))
            }
            Kind::UffdUnregister | Kind::UffdCopy | Kind::UffdZeroPage => {
                let found = self.area(kind, view.get(Area::Armed));
                found.unwrap_or_else(|| self.own(Kind::UffdRegisterSigbus))
            }
            Kind::DoFork => {
                let found = self.area(kind, view.get(Area::DontFork));
                found.unwrap_or(Goal::Make(Kind::Fork))
            }
            _ if hints.is_batched() => Goal::Make(kind),
            _ => self.write(),
        }
    }

    /// In a cell or elsewhere in the areas; else what gives access to one.
    fn access(&self, kind: Kind, areas: Set) -> Goal {
        let record = self.meaning.record;
        if record.aim() & 1 != 0
            && let Some(goal) = self.inside(self.view.contents.some, areas, kind)
        {
            return goal;
        }
        let whole = self.view.get(Area::Whole);
        self.area(kind, areas & whole)
            .or_else(|| self.all(Kind::Mprotect, whole))
            .unwrap_or(Goal::Make(Kind::MmapAnon))
    }

    fn write(&self) -> Goal {
        self.access(Kind::Write, self.view.get(Area::Writable))
    }

    /// A write that makes a huge folio.
    fn write_huge(&self) -> Option<Goal> {
        let thp = self.view.get(Area::Thp) & self.writable();
        self.all(Kind::Write, self.fresh(thp))
    }

    /// Where there is a huge folio; else what makes one.
    fn split(&self) -> Goal {
        let Meaning { hints, arena, .. } = *self.meaning;
        let huge = self.view.contents.huge;
        let free = hints.free(huge, arena);
        self.inside(free, self.areas, Kind::SplitFolio)
            .or_else(|| self.despite(huge, Kind::SplitFolio))
            .or_else(|| self.write_huge())
            .unwrap_or_else(|| self.collapse())
    }

    /// Where there is a page on the LRU that nothing holds; else what brings it there.
    fn migrate(&self) -> Goal {
        let Meaning { hints, arena, .. } = *self.meaning;
        let real = self.view.contents.real;
        let free = hints.free(real, arena);
        if let Some(goal) = self.inside(free & !hints.batched(), self.areas, Kind::Migrate) {
            return goal;
        }
        if free != 0 {
            return Goal::Make(Kind::LruAddDrainAll);
        }
        self.despite(real, Kind::Migrate).unwrap_or_else(|| self.write())
    }

    /// Where something holds every page: what gives it back, or all the same.
    fn despite(&self, held: Slots, kind: Kind) -> Option<Goal> {
        let Meaning { record, arena, cpu, .. } = *self.meaning;
        let goal = self.inside(held, self.areas, kind)?;
        if record.flags() & 6 == 0 {
            return Some(goal);
        }
        let pinned = !arena.droppable(cpu, Foll::Pin).is_empty();
        Some(Goal::Make(if pinned { Kind::Unpin } else { Kind::Put }))
    }

    /// Where there is a table with pages; else what makes them.
    fn collapse(&self) -> Goal {
        let Meaning { hints, arena, .. } = *self.meaning;
        let contents = self.view.contents;
        let may = self.view.get(Area::Collapsible) & self.writable() & self.areas;
        if may.is_empty() {
            return Goal::Make(Kind::MmapAnon);
        }
        let full = hints.cells.full(self.meaning.shape.ptes);
        let table = hints.cells.in_areas(contents.table & full, may);
        let ready = hints.free(table & contents.real, arena);
        if let Some(slot) = hints.cells.pick(ready, self.meaning.record.area()) {
            return self.at(Kind::Collapse, slot, hints.cells.whole(slot));
        }
        // A read makes a table where a write would make a huge page.
        self.inside(table & !contents.real, may, Kind::Write)
            .or_else(|| self.all(Kind::Read, self.fresh(may)))
            .unwrap_or_else(|| self.access(Kind::Collapse, may))
    }

    /// Where the record's GUP is allowed.
    fn allowed(&self) -> Set {
        self.view.either(Area::Readable, self.meaning.record.flags() & 1 != 0)
    }

    fn writable(&self) -> Set {
        self.view.get(Area::Solid) & self.view.get(Area::Writable)
    }

    /// Of the areas, those in which nothing is populated.
    fn fresh(&self, areas: Set) -> Set {
        let known = each(self.view.contents.some).map(|slot| self.meaning.hints.cells.area(slot));
        known.fold(areas, Set::without)
    }

    /// A literal range in one of the areas.
    fn area(&self, kind: Kind, areas: Set) -> Option<Goal> {
        let Meaning { record, arena, .. } = *self.meaning;
        let area = AreaId((areas & self.areas).pick(record.area())?);
        Some(Goal::At(kind, self.mm, record.range(area, arena.area_len(area), kind)))
    }

    /// All of one of the areas.
    fn all(&self, kind: Kind, areas: Set) -> Option<Goal> {
        let area = AreaId((areas & self.areas).pick(self.meaning.record.area())?);
        let len = self.meaning.arena.area_len(area);
        Some(Goal::At(kind, self.mm, Range { area, off: 0, len }))
    }

    /// One of the cells in the areas, mostly what is populated there.
    fn inside(&self, slots: Slots, areas: Set, kind: Kind) -> Option<Goal> {
        let Meaning { record, hints, .. } = *self.meaning;
        let visible = hints.cells.in_areas(slots, areas & self.areas);
        let slot = hints.cells.pick(visible, record.area())?;
        let (whole, used) = (hints.cells.whole(slot), hints.cells.used(slot));
        let some = record.off() % used.len.max(1);
        let pages = match record.len() & 7 {
            _ if kind.is_single() => Pages { len: 1, ..used },
            0 | 1 => used,
            2 => whole,
            3..7 => Pages { off: used.off + some, len: 1 },
            _ => Pages { off: used.off + some, len: used.len - some },
        };
        Some(self.at(kind, slot, pages))
    }

    /// One of the cells in the areas, mostly all that is populated there.
    fn beside(&self, slots: Slots, areas: Set, kind: Kind) -> Option<Goal> {
        let Meaning { record, hints, .. } = *self.meaning;
        if record.len() & 1 != 0 {
            return self.inside(slots, areas, kind);
        }
        let visible = hints.cells.in_areas(slots, areas & self.areas);
        let slot = hints.cells.pick(visible, record.area())?;
        Some(self.at(kind, slot, hints.cells.used(slot)))
    }

    fn at(&self, kind: Kind, slot: usize, pages: Pages) -> Goal {
        let area = AreaId(self.meaning.hints.cells.area(slot));
        Goal::At(kind, self.mm, Range { area, off: pages.off, len: pages.len })
    }
}
