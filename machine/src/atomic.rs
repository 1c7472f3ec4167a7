//! A shared word, read and written at scheduling points, sequentially consistent.

use std::cell::Cell;

use crate::event::{Access, Event};
use crate::machine::Machine;

/// A shared word.
#[derive(Debug, Default)]
pub struct Atomic {
    value: Cell<u64>,
}

#[twice]
impl Atomic {
    /// A word that starts as `value`.
    pub const fn new(value: u64) -> Atomic {
        Atomic { value: Cell::new(value) }
    }

    /// The value, outside of any task (to judge the end of a run).
    pub fn get(&self) -> u64 {
        self.value.get()
    }

    /// Sets the value, outside of any task.
    pub fn set(&self, value: u64) {
        self.value.set(value);
    }

    /// `READ_ONCE`.
    #[inline]
    pub async fn load(&self, machine: &Machine) -> u64 {
        machine.point_at(Event::on(self, Access::Read)).await;
        let value = self.value.get();
        machine.seen(value);
        value
    }

    /// `WRITE_ONCE`.
    #[inline]
    pub async fn store(&self, machine: &Machine, value: u64) {
        machine.point_at(Event::on(self, Access::Write)).await;
        self.value.set(value);
    }

    /// Adds (wrapping), and returns the value before.
    #[inline]
    pub async fn fetch_add(&self, machine: &Machine, by: u64) -> u64 {
        machine.point_at(Event::on(self, Access::Update)).await;
        let value = self.value.get();
        self.value.set(value.wrapping_add(by));
        machine.seen(value);
        value
    }

    /// Replaces `old` by `new` if it is there, and returns the value before.
    #[inline]
    pub async fn compare_exchange(&self, machine: &Machine, old: u64, new: u64) -> u64 {
        machine.point_at(Event::on(self, Access::Update)).await;
        let value = self.value.get();
        if value == old {
            self.value.set(new);
        }
        machine.seen(value);
        value
    }
}
