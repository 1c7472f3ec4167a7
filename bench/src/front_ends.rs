//! Page faults of one address space on many CPUs, and what the cache lines that they share cost.
//!
//! The clocks of [`Lines`] give each fault a time in nanoseconds of a machine that does not exist:
//! the CPU whose clock is behind all others moves next, as if each ran at its own pace.

use std::rc::Rc;

use machine::{Access, Lines, Prices, Strategy, View};
use optimized::{Cost, World};
use program::{
    AreaId, Backing, Call, Faults, Layout, MmId, Model, Op, Outcome, Place, Prot, Range, Ret,
    Shape, Step, Thp,
};

/// A locked addition to a line at hand, measured (`--bin pinning`), and a line from another core, a
/// round number for a server.
pub const PRICES: Prices = Prices { local: 5, transfer: 100 };

/// From one scheduling point to the next.
pub const POINT: u64 = 5;

/// What every fault does besides: the way into the kernel and back, a page cleared. Round again.
pub const FAULT: u64 = 500;

/// Pages of an area, all of one table, and so one table and one page table lock a CPU.
const PAGES: u16 = 64;

/// Which VMAs the CPUs fault in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vmas {
    /// Each has one of its own.
    Own,
    /// All have one.
    Shared,
}

/// What the faults of a run cost.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Faults of all CPUs.
    pub faults: u64,
    /// Nanoseconds until the last CPU was done.
    pub time: u64,
    /// The ledger of all.
    pub cost: Cost,
}

/// The CPU that is behind moves.
struct InTime(Rc<Lines>);

impl Strategy for InTime {
    const OBSERVES: bool = true;

    fn new_execution(&mut self) -> bool {
        true
    }

    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8> {
        let cpu = view.cpus().min_by_key(|&cpu| self.0.clock(cpu))?;
        // Back in user space after each operation, which is one fault.
        let returns = view.events[usize::from(cpu)].access() == Access::Resched;
        self.0.work(cpu, if returns { FAULT } else { POINT });
        Some(cpu)
    }

    fn next_value(&mut self, _bound: u32) -> u32 {
        0
    }
}

/// Each of `cpus` CPUs (at most 64) writes the pages of its 256 KiB for the first time, but one that
/// has made the table.
///
/// # Panics
///
/// If a fault fails.
pub fn measure(front_end: Faults, cpus: u8, vmas: Vmas) -> Measured {
    let mut scene = Scene::new(front_end, cpus, vmas);
    (0..cpus).for_each(|cpu| scene.run(cpu, write(vmas, cpu, 0)));
    let lines = Rc::new(Lines::new(PRICES));
    scene.world.watch_lines(Rc::clone(&lines));
    let writes = |cpu| (1..PAGES).map(move |page| step(cpu, write(vmas, cpu, page)));
    let steps: Vec<Step> = (0..cpus).flat_map(writes).collect();
    let call = |(number, step)| Call { number, step, layout: &scene.layout };
    let calls: Vec<Call<'_>> = (0..).zip(&steps).map(call).collect();
    let mut outcomes = vec![Outcome::default(); calls.len()];
    let before = scene.world.cost();
    scene.world.run_phase(&calls, &mut outcomes, &mut InTime(Rc::clone(&lines)));
    assert!(outcomes.iter().all(|outcome| outcome.ret == Ret::Ok(1)), "{outcomes:?}");
    Measured {
        faults: steps.len() as u64,
        time: (0..cpus).map(|cpu| lines.clock(cpu)).max().unwrap_or(0),
        cost: scene.world.cost() - before,
    }
}

struct Scene {
    world: World,
    layout: Layout,
}

impl Scene {
    /// The address space, with nothing in it.
    fn new(faults: Faults, cpus: u8, vmas: Vmas) -> Scene {
        let pages = [u32::from(cpus) * u32::from(PAGES) + 1024, 0, 0, 0, 0];
        let (ptes, batch, thp) = (PAGES, 15, Thp::Never);
        let shape = Shape { cpus, ptes, pages, batch, thp, faults, ..Shape::default() };
        let mut scene = Scene { world: World::new(), layout: Layout::default() };
        scene.world.reset(&shape);
        scene.world.split_page_table_lock(MmId(0));
        scene.layout.reset(&shape);
        let (areas, len) = match vmas {
            Vmas::Own => (cpus, PAGES),
            Vmas::Shared => (1, PAGES * u16::from(cpus)),
        };
        for area in (0..areas).map(AreaId) {
            scene.layout.push(&shape, len, 0);
            let (mm, backing, prot) = (MmId(0), Backing::AnonPrivate, Prot::ReadWrite);
            scene.run(0, Op::Mmap { mm, area, backing, prot, len, shift: 0 });
        }
        scene
    }

    fn run(&mut self, cpu: u8, op: Op) {
        let call = Call { number: 0, step: &step(cpu, op), layout: &self.layout };
        self.world.step(call, &mut Outcome::default());
    }
}

fn step(cpu: u8, op: Op) -> Step {
    Step { cpu, op, place: Place::Normal, fail: None }
}

/// The first write to one of the CPU's pages.
fn write(vmas: Vmas, cpu: u8, page: u16) -> Op {
    let (area, first) = match vmas {
        Vmas::Own => (AreaId(cpu), 0),
        Vmas::Shared => (AreaId(0), u16::from(cpu) * PAGES),
    };
    Op::Write { mm: MmId(0), range: Range { area, off: first + page, len: 1 } }
}

#[cfg(test)]
mod tests {
    use super::{Measured, PRICES, Vmas, measure};
    use program::Faults;

    fn run(front_end: Faults, cpus: u8, vmas: Vmas) -> Measured {
        measure(front_end, cpus, vmas)
    }

    /// mmap_lock is fetched to take it and, as others have taken it meanwhile, to give it back.
    #[test]
    fn mmap_lock_is_a_line_that_everybody_wants() {
        let measured = run(Faults::Classic, 16, Vmas::Own);
        let (hand_overs, faults) = (measured.cost.hand_overs, measured.faults);
        assert!(hand_overs <= 2 * faults && hand_overs > 2 * faults - faults / 4, "{hand_overs}");
        assert!(measured.time >= hand_overs * PRICES.transfer, "one after the other");
    }

    /// CPUs in VMAs and tables of their own have nothing in common.
    #[test]
    fn other_front_ends_share_nothing() {
        for front_end in [Faults::VmaLock, Faults::Speculative] {
            let (one, many) = (run(front_end, 1, Vmas::Own), run(front_end, 16, Vmas::Own));
            assert_eq!(many.cost.hand_overs, 0, "{front_end:?}");
            assert_eq!(one.time, many.time, "{front_end:?}");
        }
    }

    /// In one VMA its lock, or its reference count, is what mmap_lock was.
    #[test]
    fn a_vma_in_common_is_shared_by_all() {
        for front_end in [Faults::VmaLock, Faults::Speculative] {
            let measured = run(front_end, 16, Vmas::Shared);
            assert!(measured.cost.hand_overs > measured.faults, "{front_end:?}");
        }
    }
}
