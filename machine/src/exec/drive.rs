//! The loop: ask who moves, move it.

use std::task::{Context, Waker};

use super::cpu::switch;
use super::{Executor, NOBODY, State, Verdict};
use crate::board::{Wait, Waiter};
use crate::event::Event;
use crate::sched::{Strategy, View};

/// Points that a task may pass without asking while it is the only one that can run.
const LONE_FUEL: u64 = 1 << 16;

/// Why a sprint ended.
enum Sprint {
    /// A limit was reached.
    Limit,
    /// The schedule ended.
    End,
    /// A move did more than stop: its CPU, its task, whether that ended.
    More(u8, u8, bool),
}

impl Executor<'_> {
    /// Runs all tasks to the end, or to a verdict. Asks the strategy while it answers, then goes
    /// on fairly. The caller has called [`Strategy::new_execution`].
    ///
    /// A run that ends before its tasks do drops them where they are: locks that live outside
    /// stay as they were, and are to be reset with the rest of the world.
    pub fn run<S: Strategy>(&mut self, strategy: &mut S) -> Verdict {
        self.start();
        let verdict = self.drive(strategy);
        self.machine.leave();
        self.slots.clear();
        verdict
    }

    fn start(&mut self) {
        self.machine.enter();
        self.machine.current.set(NOBODY);
        self.machine.board.borrow_mut().reset(self.cpus.len());
        self.record.clear();
        (self.runnable, self.count, self.crowded) = (0, 0, 0);
        (self.interrupted, self.grace) = (0, 0);
        (self.last, self.points, self.limit) = (NOBODY, 0, self.bounds.soft);
        (self.fair, self.turn, self.search) = (false, 0, None);
        self.completed = 0;
        self.events.fill(Event::NONE);
        for cpu in &mut self.cpus {
            cpu.current = NOBODY;
            cpu.queue.clear();
            cpu.resched = false;
        }
        let mut board = self.machine.board.borrow_mut();
        for (task, slot) in (0..).zip(&mut self.slots) {
            let at = usize::from(slot.cpu);
            let cpu = &mut self.cpus[at];
            let begins_on = if slot.kworker {
                // As it goes on: asleep until there is work.
                board.work[at].kworker = Some(task);
                Some((Wait::Idle, at + 1))
            } else {
                slot.asleep.map(|queue| (Wait::Queue, queue))
            };
            if let Some((wait, object)) = begins_on {
                slot.state = State::Blocked;
                board.waiters.push(Waiter {
                    task,
                    name: slot.name,
                    wait,
                    object,
                    lock: "begin",
                    owner: None,
                    cpus: 0,
                });
                continue;
            }
            if cpu.current == NOBODY {
                cpu.current = task;
                self.runnable |= 1 << slot.cpu;
                self.count += 1;
            } else {
                cpu.queue.push_back(task);
                self.crowded |= 1 << slot.cpu;
            }
        }
    }

    fn drive<S: Strategy>(&mut self, strategy: &mut S) -> Verdict {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if self.points >= self.limit
                && let Some(verdict) = self.at_limit()
            {
                return verdict;
            }
            let plain = self.crowded | self.interrupted == 0 && self.grace == 0 && !self.fair;
            let moved = if self.count == 0 {
                if self.relief.is_some_and(|relief| relief()) {
                    self.woken();
                    continue;
                }
                return self.at_rest();
            } else if plain && (self.count > 1 || S::OBSERVES) {
                self.sprint(strategy)
            } else {
                match self.step(strategy, &mut context) {
                    Ok(moved) => moved,
                    Err(verdict) => return verdict,
                }
            };
            if let Some((cpu, task, ended)) = moved
                && let Some(verdict) = self.settle(cpu, task, ended)
            {
                return verdict;
            }
        }
    }

    /// Moves while there is nothing to do but to ask and to move, which is most of the time. The
    /// move after which there is more: its CPU, its task, whether that ended.
    fn sprint<S: Strategy>(&mut self, strategy: &mut S) -> Option<(u8, u8, bool)> {
        let Executor { machine, slots, cpus, events, record, runnable, count, .. } = self;
        let (machine, runnable, count) = (*machine, *runnable, *count);
        let (mut points, mut last) = (self.points, self.last);
        let mut context = Context::from_waker(Waker::noop());
        let moved = loop {
            if points >= self.limit {
                break Sprint::Limit;
            }
            let view = View { runnable, count, current: last, events };
            let Some(cpu) = strategy.next_cpu(&view) else { break Sprint::End };
            debug_assert!(view.can_move(cpu), "CPU {cpu} cannot move");
            if count > 1 {
                record.push(cpu);
            }
            last = cpu;
            let task = cpus[usize::from(cpu)].current;
            if machine.current.get() != task {
                switch(machine, slots, task);
            }
            let slot = &mut slots[usize::from(task)];
            machine.resumed.set(std::mem::replace(&mut slot.started, true));
            let Some(future) = &mut slot.future else { unreachable!("an ended task moved") };
            let ended = future.as_mut().poll(&mut context).is_ready();
            points += 1;
            events[usize::from(cpu)] = machine.event.get();
            if ended || machine.attention.get() != 0 {
                break Sprint::More(cpu, task, ended);
            }
        };
        (self.points, self.last) = (points, last);
        match moved {
            Sprint::Limit => None,
            Sprint::End => {
                self.go_fair();
                None
            }
            Sprint::More(cpu, task, ended) => Some((cpu, task, ended)),
        }
    }

    #[inline]
    fn view(&self) -> View<'_> {
        let Executor { runnable, count, last, events, .. } = self;
        View { runnable: *runnable, count: *count, current: *last, events }
    }

    /// Lets a task go on to its next stop; whether it ended.
    #[inline]
    fn poll(&mut self, task: u8, context: &mut Context<'_>) -> bool {
        let slot = &mut self.slots[usize::from(task)];
        self.machine.resumed.set(std::mem::replace(&mut slot.started, true));
        let Some(future) = &mut slot.future else { unreachable!("an ended task moved") };
        future.as_mut().poll(context).is_ready()
    }

    /// One move, whatever is going on.
    fn step<S: Strategy>(
        &mut self,
        strategy: &mut S,
        context: &mut Context<'_>,
    ) -> Result<Option<(u8, u8, bool)>, Verdict> {
        let machine = self.machine;
        // The only task that can run passes points without asking. Strategies that observe are
        // asked, but nothing is decided: decisions are the same list for all.
        let alone =
            self.count == 1 && self.crowded == 0 && self.grace == 0 && self.search.is_none();
        let lone = alone && !S::OBSERVES;
        let cpu = if self.fair {
            self.fair_cpu()?
        } else if lone {
            self.runnable.trailing_zeros() as u8
        } else {
            let Some(cpu) = strategy.next_cpu(&self.view()) else {
                self.go_fair();
                return Ok(None);
            };
            debug_assert!(self.view().can_move(cpu), "CPU {cpu} cannot move");
            if !alone {
                self.record.push(cpu);
            }
            cpu
        };
        self.last = cpu;
        if (self.crowded | self.interrupted) >> cpu & 1 == 1 && self.special(cpu, strategy) {
            return Ok(Some((cpu, NOBODY, false)));
        }
        let task = self.cpus[usize::from(cpu)].current;
        if machine.current.get() != task {
            switch(machine, &mut self.slots, task);
        }
        let fuel = if lone { LONE_FUEL.min(self.limit - self.points) as u32 } else { 0 };
        machine.fuel.set(fuel);
        if self.search.is_some() {
            self.watch_move(task);
        }
        let ended = self.poll(task, context);
        let left = machine.fuel.replace(0) + machine.spare.replace(0);
        self.points += 1 + u64::from(fuel - left);
        self.events[usize::from(cpu)] = machine.event.get();
        let more = ended || machine.attention.get() != 0 || self.grace != 0;
        Ok(more.then_some((cpu, task, ended)))
    }

    /// Nobody can move.
    #[cold]
    fn at_rest(&self) -> Verdict {
        let idle = |slot: &super::Slot<'_>, task: u8| {
            slot.state == State::Done || slot.kworker && self.is_idle(task)
        };
        let stuck: Vec<u8> =
            (0..).zip(&self.slots).filter(|&(task, slot)| !idle(slot, task)).map(|s| s.0).collect();
        if stuck.is_empty() {
            return Verdict::Done;
        }
        match self.lost(&stuck) {
            Some(edge) => Verdict::Deadlock(vec![edge]),
            None => Verdict::Pending(
                stuck.iter().map(|&task| self.slots[usize::from(task)].name).collect(),
            ),
        }
    }
}
