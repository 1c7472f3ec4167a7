//! Sequence counters.

use std::cell::Cell;

use crate::event::{Access, Event, address};
use crate::machine::Machine;

/// A sequence counter (kernel: `seqcount_t`): odd while a writer is inside.
#[derive(Debug, Default)]
pub struct SeqCount {
    sequence: Cell<u32>,
}

#[twice]
impl SeqCount {
    /// `raw_write_seqcount_begin` / `_end`, in one step with what came before.
    pub fn bump(&self) {
        self.sequence.set(self.sequence.get().wrapping_add(1));
    }

    /// `raw_write_seqcount_begin` / `_end` as a scheduling point.
    #[inline]
    pub async fn write(&self, machine: &Machine) {
        machine.point_at(Event::on(self, Access::Update)).await;
        machine.touch(address(self), true);
        self.bump();
    }

    /// `raw_read_seqcount`, in one step with what came before.
    pub fn read(&self) -> u32 {
        self.sequence.get()
    }

    /// `raw_read_seqcount` as a scheduling point.
    ///
    /// A sequence never repeats, so the search for a lasso is told its parity only; that it moved
    /// shows in [`SeqCount::retry`].
    #[inline]
    pub async fn begin(&self, machine: &Machine) -> u32 {
        machine.point_at(Event::on(self, Access::Read)).await;
        machine.touch(address(self), false);
        let sequence = self.sequence.get();
        machine.seen(u64::from(sequence & 1));
        sequence
    }

    /// `read_seqcount_retry`: whether a writer was inside since `begin` returned `sequence`.
    #[inline]
    pub async fn retry(&self, machine: &Machine, sequence: u32) -> bool {
        machine.point_at(Event::on(self, Access::Read)).await;
        machine.touch(address(self), false);
        let retry = self.sequence.get() != sequence;
        machine.seen(u64::from(retry));
        retry
    }
}
