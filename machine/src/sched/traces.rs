//! Which executions were the same but for the order of points that do not touch each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Strategy, View};
use crate::event::{Access, Event};
use crate::rng::mix;

/// Watches another strategy and counts the executions that are equal as Mazurkiewicz traces
/// (Trace theory, 1977): same moves on each CPU, and the same order of any two moves that
/// conflict. Such an execution is *redundant*: what it can show, an earlier one showed.
///
/// Each move is hashed with what it follows, on its CPU and on its object, which gives every
/// linearisation of one trace the same sum. The choice of a task is a move of its CPU; points that
/// name no object (interrupts, work) conflict with each other. Nothing is cut off: the executions
/// still run.
#[derive(Clone, Debug)]
pub struct Traces<S> {
    inner: S,
    seen: BTreeSet<u64>,
    redundant: u64,
    /// By CPU: the hash of its last move.
    last: Vec<u64>,
    objects: BTreeMap<usize, Object>,
    trace: u64,
    begun: bool,
    /// The CPU that moves now.
    moved: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Object {
    /// The hash of the last move that was not a read.
    written: u64,
    /// The sum of the reads since.
    reads: u64,
}

impl<S: Strategy> Traces<S> {
    /// Watches `inner`.
    pub fn new(inner: S) -> Traces<S> {
        Traces {
            inner,
            seen: BTreeSet::new(),
            redundant: 0,
            last: Vec::new(),
            objects: BTreeMap::new(),
            trace: 0,
            begun: false,
            moved: 0,
        }
    }

    /// The strategy that is watched.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Executions that have ended and were the same as an earlier one. An execution is known to
    /// have ended when the next one begins.
    pub fn redundant(&self) -> u64 {
        self.redundant
    }

    fn end(&mut self) {
        if self.begun && !self.seen.insert(self.trace) {
            self.redundant += 1;
        }
        self.trace = 0;
        self.last.clear();
        self.objects.clear();
    }

    fn moves(&mut self, cpu: u8, event: Event) {
        let at = usize::from(cpu);
        if self.last.len() <= at {
            self.last.resize(at + 1, 0);
        }
        let mut hash = mix(self.last[at] ^ mix(u64::from(cpu) << 8 | event.access() as u64));
        let shared = match event.access() {
            Access::Read | Access::Write | Access::Update | Access::Lock | Access::Irq => true,
            Access::None | Access::Pause | Access::MightSleep => false,
            Access::Resched | Access::Block => event.object() != 0,
        };
        if shared {
            let object = self.objects.entry(event.object()).or_default();
            if event.access() == Access::Read {
                hash = mix(hash ^ object.written.rotate_left(17));
                object.reads = object.reads.wrapping_add(hash);
            } else {
                hash = mix(hash ^ object.written.rotate_left(17) ^ mix(object.reads));
                *object = Object { written: hash, reads: 0 };
            }
        }
        self.last[at] = hash;
        self.trace = self.trace.wrapping_add(hash);
    }
}

impl<S: Strategy> Strategy for Traces<S> {
    const OBSERVES: bool = true;

    fn new_execution(&mut self) -> bool {
        self.end();
        self.begun = self.inner.new_execution();
        self.begun
    }

    fn next_cpu(&mut self, view: &View<'_>) -> Option<u8> {
        let cpu = self.inner.next_cpu(view)?;
        self.moved = cpu;
        self.moves(cpu, view.events[usize::from(cpu)]);
        Some(cpu)
    }

    fn next_value(&mut self, bound: u32) -> u32 {
        let value = self.inner.next_value(bound);
        if let Some(last) = self.last.get_mut(usize::from(self.moved)) {
            *last = mix(*last ^ !u64::from(value));
            self.trace = self.trace.wrapping_add(*last);
        }
        value
    }
}
