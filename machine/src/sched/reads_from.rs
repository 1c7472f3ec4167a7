//! Schedules biased towards chosen reads-from pairs.

use std::collections::BTreeMap;

use super::{Pos, Strategy, View};

/// The reads-from idea of RFF (Wolff, Shi, Duck, Mathur, Roychoudhury: Greybox fuzzing for
/// concurrency testing, ASPLOS 2024): an abstract schedule is a few pairs "this read takes its
/// value from that write, or from before all writes", drawn from what earlier executions showed
/// to be possible. The scheduler is POS, but holds a constrained read back until its write
/// happened, and holds other writes back from between the two.
///
/// Deviations: no feedback loop, abstract schedules are drawn at random (the paper's own ablation
/// gives the constraints nearly all of the gain); an event is named by its CPU and by how many
/// moves that CPU made before, not by its place in the code; only positive pairs; locks are
/// objects that are read and written.
#[derive(Clone, Debug)]
pub struct ReadsFrom {
    pos: Pos,
    /// For each object (named by its lowest event) and each read of it seen so far the writes to
    /// it by other CPUs, in order.
    known: BTreeMap<u32, BTreeMap<u32, Vec<u32>>>,
    constraints: Vec<Constraint>,
    /// Moves of each CPU in this execution.
    moves: Vec<u16>,
    /// Accesses of this execution: object, event, reads, writes.
    seen: Vec<(usize, u32, bool, bool)>,
}

#[derive(Clone, Debug)]
struct Constraint {
    read: u32,
    /// `None`: the value from before all writes.
    write: Option<u32>,
    others: Vec<u32>,
    read_done: bool,
    write_done: bool,
}

/// Constraints of one abstract schedule.
const MOST: u32 = 3;

impl ReadsFrom {
    /// What one execution shows is used by the later ones.
    pub fn new(seed: u64) -> ReadsFrom {
        ReadsFrom {
            pos: Pos::new(seed),
            known: BTreeMap::new(),
            constraints: Vec::new(),
            moves: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn event(&self, cpu: u8) -> u32 {
        let moves = self.moves.get(usize::from(cpu)).copied().unwrap_or(0);
        u32::from(cpu) << 16 | u32::from(moves)
    }

    /// Adds the pairs that the execution just ended made possible.
    fn learn(&mut self) {
        // Grouped by object; the order of the groups, which addresses give, does not matter.
        self.seen.sort_unstable();
        for group in self.seen.chunk_by(|a, b| a.0 == b.0) {
            let object = self.known.entry(group[0].1).or_default();
            for &(_, read, ..) in group.iter().filter(|access| access.2) {
                let writes = object.entry(read).or_default();
                for &(_, write, ..) in group.iter().filter(|access| access.3) {
                    if write >> 16 != read >> 16
                        && let Err(at) = writes.binary_search(&write)
                    {
                        writes.insert(at, write);
                    }
                }
            }
        }
        self.seen.clear();
        for reads in self.known.values_mut() {
            reads.retain(|_, writes| !writes.is_empty());
        }
        self.known.retain(|_, reads| !reads.is_empty());
    }

    fn draw(&mut self) {
        self.constraints.clear();
        if self.known.is_empty() {
            return;
        }
        let rng = &mut self.pos.rng;
        for _ in 0..=rng.below(MOST) {
            // The object first: one that few tasks read is as likely as one that all do.
            let object = rng.below(self.known.len() as u32) as usize;
            let Some(reads) = self.known.values().nth(object) else { continue };
            let at = rng.below(reads.len() as u32) as usize;
            let Some((&read, writes)) = reads.iter().nth(at) else { continue };
            if self.constraints.iter().any(|constraint| constraint.read == read) {
                continue;
            }
            let initial = rng.below(2) == 0;
            let write = (!initial).then(|| writes[rng.below(writes.len() as u32) as usize]);
            self.constraints.push(Constraint {
                read,
                write,
                others: writes.clone(),
                read_done: false,
                write_done: write.is_none(),
            });
        }
    }

    fn held_back(&self, event: u32) -> bool {
        self.constraints.iter().filter(|constraint| !constraint.read_done).any(|constraint| {
            if constraint.write_done {
                constraint.read != event && constraint.others.binary_search(&event).is_ok()
            } else {
                constraint.read == event
            }
        })
    }
}

impl Strategy for ReadsFrom {
    const OBSERVES: bool = true;

    fn new_execution(&mut self) -> bool {
        self.learn();
        self.draw();
        self.moves.clear();
        self.pos.new_execution()
    }

    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8> {
        self.moves.resize(view.events.len(), 0);
        let mut mask = 0;
        for cpu in view.cpus() {
            if !self.held_back(self.event(cpu)) {
                mask |= 1 << cpu;
            }
        }
        // A schedule that cannot be had is given up here, not deadlocked on.
        let cpu = self.pos.choose(view, if mask == 0 { view.runnable } else { mask });
        self.pos.happens(view, cpu);
        let event = self.event(cpu);
        for constraint in &mut self.constraints {
            constraint.read_done |= constraint.read == event;
            constraint.write_done |= constraint.write == Some(event);
        }
        let pending = view.events[usize::from(cpu)];
        if pending.object() != 0 {
            let access = pending.access();
            self.seen.push((pending.object(), event, access.reads(), access.writes()));
        }
        let moves = &mut self.moves[usize::from(cpu)];
        *moves = moves.saturating_add(1);
        Some(cpu)
    }

    fn next_value(&mut self, bound: u32) -> u32 {
        self.pos.next_value(bound)
    }
}
