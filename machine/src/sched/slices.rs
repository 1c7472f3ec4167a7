//! Schedules as data: lists of slices, what fuzzers mutate and people read.

use super::{Strategy, View};

/// CPU `cpu` runs for `run` points.
///
/// `cpu` counts modulo the machine's CPUs; if that one cannot move, the next one that can,
/// cyclically. What is left of `cpu` after division by the number of CPUs says which of the tasks
/// that wait for the CPU gets it at the start of the slice, if it may switch there: 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// The CPU.
    pub cpu: u8,
    /// For how many points; 0 counts as 1.
    pub run: u8,
}

/// A list of slices, then optionally a loop. When a list without loop ends, the machine goes on
/// fairly: an empty one means no preemption at all.
#[derive(Clone, Debug, Default)]
pub struct Slices {
    /// The list, then the loop. Divided by the number of CPUs once, not at every slice.
    turns: Vec<Turn>,
    /// Where the loop begins.
    cycle: usize,
    at: usize,
    left: u8,
    cpu: u8,
    pick: u8,
    ran: bool,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    cpu: u8,
    pick: u8,
    run: u8,
}

impl Slices {
    /// A strategy with one execution to offer, on a machine with so many CPUs. `cycle` is taken
    /// for ever after `slices`; empty for none.
    pub fn new(cpus: u8, slices: Vec<Slice>, cycle: Vec<Slice>) -> Slices {
        let cpus = cpus.max(1);
        let turn = |slice: &Slice| Turn {
            cpu: slice.cpu % cpus,
            pick: slice.cpu / cpus,
            run: slice.run.max(1),
        };
        let turns = slices.iter().chain(&cycle).map(turn).collect();
        Slices { turns, cycle: slices.len(), ..Slices::default() }
    }

    /// The turn to begin now.
    fn next_turn(&mut self) -> Option<Turn> {
        if self.at == self.turns.len() {
            self.at = self.cycle;
        }
        let turn = self.turns.get(self.at).copied();
        self.at += usize::from(turn.is_some());
        turn
    }
}

impl Strategy for Slices {
    fn new_execution(&mut self) -> bool {
        !std::mem::replace(&mut self.ran, true)
    }

    #[inline]
    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8> {
        if self.left == 0 {
            Turn { cpu: self.cpu, pick: self.pick, run: self.left } = self.next_turn()?;
        }
        self.left -= 1;
        Some(view.at_or_after(self.cpu))
    }

    fn next_value(&mut self, bound: u32) -> u32 {
        u32::from(std::mem::take(&mut self.pick)) % bound
    }
}

/// The slices that repeat recorded decisions on a machine with so many CPUs. `None` if a choice
/// among tasks does not fit into a slice.
pub fn slices_of(decisions: &[u8], cpus: u8) -> Option<Vec<Slice>> {
    let mut slices: Vec<Slice> = Vec::new();
    for &decision in decisions {
        if decision < 0x80 {
            match slices.last_mut() {
                Some(last) if last.cpu % cpus == decision && last.run < u8::MAX => last.run += 1,
                _ => slices.push(Slice { cpu: decision, run: 1 }),
            }
        } else if decision > 0x80 {
            let last = slices.pop()?;
            if last.run > 1 {
                slices.push(Slice { run: last.run - 1, ..last });
            }
            let pick = (decision & 0x7f).checked_mul(cpus)?;
            slices.push(Slice { cpu: (last.cpu % cpus).checked_add(pick)?, run: 1 });
        }
    }
    Some(slices)
}
