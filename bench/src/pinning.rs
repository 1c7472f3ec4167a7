//! 1 GiB to pin, on the geometry of x86-64.

use optimized::pinning::{Buffers, Pinning};
use optimized::{Cost, Variant, World};
use program::{
    AreaId, Backing, Call, Entry, Form, Layout, MmId, Model, Op, Outcome, Place, Prot, Range,
    Shape, Step, Thp,
};

/// A way of pinning that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Its name in tables.
    pub name: &'static str,
    variant: Variant,
    how: Pinning,
}

const fn slow(form: Form, longterm: bool) -> Pinning {
    Pinning { entry: Entry::Slow, longterm, form }
}

/// Every way, the slowest first.
pub const WAYS: [Way; 6] = [
    Way {
        name: "one call a page (vfio, 2020)",
        variant: Variant::Vfio,
        how: slow(Form::Pages, false),
    },
    Way {
        name: "page at a time, scanned after (as posted)",
        variant: Variant::PageAtATime,
        how: slow(Form::Pages, true),
    },
    Way { name: "batched array", variant: Variant::Batched, how: slow(Form::Pages, false) },
    Way {
        name: "batched array, longterm",
        variant: Variant::Batched,
        how: slow(Form::Pages, true),
    },
    Way {
        name: "batched array, fast",
        variant: Variant::Batched,
        how: Pinning { entry: Entry::Fast, longterm: false, form: Form::Pages },
    },
    Way { name: "ranges", variant: Variant::Batched, how: slow(Form::Range, false) },
];

/// Pages of an area (the most that a program may have), 16 MiB.
const AREA: u16 = 4096;

/// Memory that is all there, in one world.
pub struct Memory {
    world: World,
    layout: Layout,
    areas: u8,
    buffers: Buffers,
}

impl Memory {
    /// `areas` of 16 MiB each, in folios of `ptes` pages or, with 1, in pages; for one way.
    pub fn new(areas: u8, ptes: u16, way: &Way) -> Memory {
        let thp = if ptes == 1 { Thp::Never } else { Thp::Always };
        let ptes = if ptes == 1 { 512 } else { ptes };
        let pages = [u32::from(areas) * u32::from(AREA) + 1024, 0, 0, 0, 0];
        let shape = Shape { cpus: 1, ptes, pages, batch: 15, thp, ..Shape::default() };
        let mut memory = Memory {
            world: World::of(way.variant),
            layout: Layout::default(),
            areas,
            buffers: Buffers::default(),
        };
        memory.world.reset(&shape);
        memory.layout.reset(&shape);
        for area in (0..areas).map(AreaId) {
            memory.layout.push(&shape, AREA, 0);
            let (mm, prot, backing) = (MmId(0), Prot::ReadWrite, Backing::AnonPrivate);
            memory.step(Op::Mmap { mm, area, backing, prot, len: AREA, shift: 0 });
            memory.step(Op::Write { mm, range: Range { area, off: 0, len: AREA } });
        }
        memory
    }

    fn step(&mut self, op: Op) {
        let step = Step { cpu: 0, op, place: Place::Normal, fail: None };
        let call = Call { number: 0, step: &step, layout: &self.layout };
        self.world.step(call, &mut Outcome::default());
    }

    /// Pins and unpins everything. How many pages.
    pub fn pin_and_unpin(&mut self, way: &Way) -> u32 {
        let span = |area| self.layout.area(AreaId(area));
        (0..self.areas)
            .map(|area| self.world.pin_and_unpin(MmId(0), span(area), way.how, &mut self.buffers))
            .sum()
    }

    /// What was counted so far.
    pub fn cost(&self) -> Cost {
        self.world.cost()
    }
}
