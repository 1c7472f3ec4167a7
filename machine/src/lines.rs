//! Cache lines: which CPU has each, what it costs to fetch one, and a clock for every CPU.
//!
//! Only while somebody asks for it ([`Machine::watch_lines`]), and only under an executor. Each
//! lock, each sequence and each counter is taken to be a line of its own. A CPU that has the line
//! pays nothing worth mention; one that has not must fetch it, from whoever changed it last or, to
//! change it, from everybody who read it. A line goes to one CPU at a time: that is what makes a
//! lock for readers a queue.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::machine::Machine;

/// Prices on the clocks, in nanoseconds of a machine that does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prices {
    /// A line that the CPU has.
    pub local: u64,
    /// A line that another CPU has.
    pub transfer: u64,
}

#[derive(Debug, Default)]
struct Line {
    /// CPUs that have it.
    holders: u128,
    /// When the CPU that fetched it last had it.
    free: u64,
}

#[derive(Debug, Default)]
struct State {
    lines: BTreeMap<usize, Line>,
    clocks: Vec<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Lines {
    prices: Prices,
    hand_overs: Cell<u64>,
    waits: Cell<u64>,
    state: RefCell<State>,
}

impl Lines {
    /// Nobody has any line, all clocks are at 0.
    pub fn new(prices: Prices) -> Lines {
        Lines { prices, ..Lines::default() }
    }

    /// How often a CPU touched a line that another one had.
    pub fn hand_overs(&self) -> u64 {
        self.hand_overs.get()
    }

    /// How often a task had to wait for a lock.
    pub fn waits(&self) -> u64 {
        self.waits.get()
    }

    /// The time on the clock of a CPU.
    pub fn clock(&self, cpu: u8) -> u64 {
        self.state.borrow().clocks.get(usize::from(cpu)).copied().unwrap_or(0)
    }

    /// The CPU is busy with something that touches no line.
    pub fn work(&self, cpu: u8, time: u64) {
        *self.state.borrow_mut().clock(cpu) += time;
    }

    fn touch(&self, cpu: u8, object: usize, change: bool) {
        let Prices { local, transfer } = self.prices;
        let mut state = self.state.borrow_mut();
        let now = *state.clock(cpu);
        let line = state.lines.entry(object).or_default();
        let own = 1u128 << cpu;
        let mine = if change { line.holders == own } else { line.holders & own != 0 };
        // A line that nobody has comes from memory.
        let fetched = !mine && line.holders != 0;
        line.holders = if change { own } else { line.holders | own };
        let done = if fetched { now.max(line.free) + transfer } else { now + local };
        if fetched || change {
            line.free = line.free.max(done);
        }
        *state.clock(cpu) = done;
        self.hand_overs.set(self.hand_overs.get() + u64::from(fetched));
    }
}

impl State {
    fn clock(&mut self, cpu: u8) -> &mut u64 {
        let at = usize::from(cpu);
        if self.clocks.len() <= at {
            self.clocks.resize(at + 1, 0);
        }
        &mut self.clocks[at]
    }
}

impl Machine {
    /// From now on cache lines are watched, and these are told; with `None` no more.
    pub fn watch_lines(&self, lines: Option<Rc<Lines>>) {
        self.lined.set(lines.is_some());
        *self.lines.borrow_mut() = lines;
    }

    /// Those that watch.
    pub fn lines(&self) -> Option<Rc<Lines>> {
        self.lines.borrow().clone()
    }

    /// The running CPU reads an object, or changes it. An object is an address or, as in
    /// [`Event`](crate::Event), any other number that stands for it.
    #[inline]
    pub fn touch(&self, object: usize, change: bool) {
        if self.lined.get() {
            self.touch_line(object, change);
        }
    }

    #[cold]
    fn touch_line(&self, object: usize, change: bool) {
        if let Some(lines) = &*self.lines.borrow()
            && self.multi()
        {
            lines.touch(self.cpu.get(), object, change);
        }
    }

    /// The running task begins to wait for a lock.
    #[inline]
    pub(crate) fn waits_for_line(&self, object: usize) {
        if self.lined.get() {
            self.touch_line(object, true);
            if let Some(lines) = &*self.lines.borrow() {
                lines.waits.set(lines.waits.get() + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, Prices};

    const LINE: usize = 1;

    fn lines() -> Lines {
        Lines::new(Prices { local: 1, transfer: 100 })
    }

    #[test]
    fn readers_share_a_line_and_a_writer_takes_it_from_all() {
        let lines = lines();
        lines.touch(0, LINE, true); // from memory
        lines.touch(1, LINE, false);
        lines.touch(2, LINE, false);
        assert_eq!(lines.hand_overs(), 2);
        (0..3).for_each(|cpu| lines.touch(cpu, LINE, false));
        assert_eq!(lines.hand_overs(), 2, "everybody has it");
        lines.touch(2, LINE, true);
        lines.touch(2, LINE, true);
        assert_eq!(lines.hand_overs(), 3);
        lines.touch(0, LINE, false);
        assert_eq!(lines.hand_overs(), 4);
    }

    #[test]
    fn a_line_goes_to_one_cpu_at_a_time() {
        let lines = lines();
        lines.touch(0, LINE, true);
        lines.touch(1, LINE, true);
        lines.touch(2, LINE, true);
        assert_eq!([0, 1, 2].map(|cpu| lines.clock(cpu)), [1, 101, 201]);
        lines.work(1, 1000);
        lines.touch(1, LINE, true);
        assert_eq!(lines.clock(1), 1201, "the line was free long ago");
    }
}
