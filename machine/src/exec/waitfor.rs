//! The wait-for graph, built when a task blocks.
//!
//! Every edge means "cannot go on before the other does" (a reader-writer semaphore waits for all
//! who are inside, a call for all who have not answered), so any cycle is a deadlock, whatever the
//! rest of the machine does meanwhile.

use super::{Edge, Executor, NOBODY, State, Why};
use crate::board::{Board, Wait, Waiter};

/// An edge to a task, by number.
pub(super) struct Awaited {
    pub to: u8,
    why: Why,
    on: &'static str,
    label: u64,
}

impl Executor<'_> {
    /// The cycle through `task`, which has just blocked, if there is one.
    pub(super) fn cycle(&self, task: u8) -> Option<Vec<Edge>> {
        let mut path = Vec::new();
        self.search(task, &mut path, &mut 0)
    }

    fn search(&self, task: u8, path: &mut Vec<(u8, Edge)>, seen: &mut u128) -> Option<Vec<Edge>> {
        if let Some(start) = path.iter().position(|step| step.0 == task) {
            return Some(path[start..].iter().map(|step| step.1).collect());
        }
        if *seen >> task & 1 == 1 {
            return None;
        }
        *seen |= 1 << task;
        for awaited in self.awaited(task) {
            let to = awaited.to;
            path.push((task, self.edge(task, awaited)));
            let cycle = self.search(to, path, seen);
            if cycle.is_some() {
                return cycle;
            }
            path.pop();
        }
        None
    }

    /// The same with the names of both tasks.
    pub(super) fn edge(&self, from: u8, Awaited { to, why, on, label }: Awaited) -> Edge {
        let name = |task: u8| self.slots[usize::from(task)].name;
        Edge { from: name(from), why, on, label, to: Some(name(to)) }
    }

    /// Whom a task waits for.
    pub(super) fn awaited(&self, task: u8) -> Vec<Awaited> {
        match self.state_of(task) {
            State::Done => Vec::new(),
            State::Ready => {
                let current = self.cpus[usize::from(self.slots[usize::from(task)].cpu)].current;
                let kept = current != task && current != NOBODY;
                let spins = kept && self.state_of(current) == State::Blocked;
                let edge = Awaited { to: current, why: Why::Cpu, on: "CPU", label: 0 };
                if spins { vec![edge] } else { Vec::new() }
            }
            State::Blocked => self.wait_of(task).map_or_else(Vec::new, |wait| self.behind(&wait)),
        }
    }

    fn behind(&self, waiter: &Waiter) -> Vec<Awaited> {
        let board = self.machine.board.borrow();
        let (on, label) = (waiter.lock, board.label_of(waiter.object));
        let current = |cpu: usize| self.cpus[cpu].current;
        let cpus = |mask: u128| (0..self.cpus.len()).filter(move |cpu| mask >> cpu & 1 == 1);
        match waiter.wait {
            Wait::Queue | Wait::Idle => Vec::new(),
            Wait::Spin | Wait::Read | Wait::Write | Wait::Bit(_) | Wait::BitShared => {
                let edge = |to| Awaited { to, why: Why::Lock, on, label };
                self.before(&board, waiter).into_iter().map(edge).collect()
            }
            Wait::Work(item) => {
                let kworker = board.cpu_of(item).and_then(|cpu| board.work[cpu].kworker);
                kworker.map(|to| Awaited { to, why: Why::Work, on, label: 0 }).into_iter().collect()
            }
            Wait::Acks => {
                let deaf = |&cpu: &usize| {
                    current(cpu) != NOBODY && self.account(current(cpu)).irq_off != 0
                };
                let edge = |cpu| Awaited { to: current(cpu), why: Why::Ack, on, label: 0 };
                cpus(waiter.cpus).filter(deaf).map(edge).collect()
            }
            Wait::Readers => {
                let readers =
                    (0..self.slots.len() as u8).filter(|task| waiter.cpus >> task & 1 == 1);
                readers.map(|to| Awaited { to, why: Why::Grace, on, label: 0 }).collect()
            }
            Wait::Quiescent => {
                let busy = cpus(waiter.cpus).filter(|&cpu| current(cpu) != NOBODY);
                busy.map(|cpu| Awaited { to: current(cpu), why: Why::Grace, on, label: 0 })
                    .collect()
            }
        }
    }

    /// Tasks that hold the object of a wait, or came before it to a queue that is in order.
    fn before(&self, board: &Board, waiter: &Waiter) -> Vec<u8> {
        let same = |object: usize| object == waiter.object;
        let writes = waiter.wait == Wait::Write;
        let mut tasks = Vec::new();
        // A reader waits for no reader.
        let blocks = |shared: bool| !shared || waiter.wait != Wait::Read;
        for hold in board.holds.iter().filter(|hold| same(hold.object) && blocks(hold.shared)) {
            let task = self.slots.iter().position(|slot| slot.name == hold.name);
            tasks.extend(task.map(|task| task as u8));
        }
        if matches!(waiter.wait, Wait::Read | Wait::Write) {
            let ahead = board.waiters.iter().take_while(|other| other.task != waiter.task);
            let conflicting = ahead.filter(|w| same(w.object) && (writes || w.wait == Wait::Write));
            tasks.extend(conflicting.map(|other| other.task));
        }
        tasks
    }

    /// A task among `stuck` that waits for a lock which nobody holds: a wake-up was lost.
    pub(super) fn lost(&self, stuck: &[u8]) -> Option<Edge> {
        stuck.iter().find_map(|&task| {
            let waiter = self.wait_of(task)?;
            let lock = matches!(
                waiter.wait,
                Wait::Spin | Wait::Read | Wait::Write | Wait::Bit(_) | Wait::BitShared
            );
            let lost = lock && waiter.owner.is_none() && self.behind(&waiter).is_empty();
            let from = self.slots[usize::from(task)].name;
            let board = self.machine.board.borrow();
            let span = board.spans.iter().rfind(|span| span.object == waiter.object);
            let label = span.map_or(0, |span| span.label);
            lost.then_some(Edge { from, why: Why::Lock, on: waiter.lock, label, to: None })
        })
    }
}
