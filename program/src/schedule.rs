//! Scheduling decisions as data.

/// CPU `cpu` (modulo the machine's CPUs, or the next runnable one cyclically) runs for `run`
/// scheduling points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// The CPU.
    pub cpu: u8,
    /// For how many points, at least 1.
    pub run: u8,
    /// Which of the tasks that wait for the CPU gets it when the slice begins, if the CPU may
    /// switch there: 0 for none, n for the n-th; at most [`MAX_TASK`].
    pub task: u8,
}

/// Tasks that a slice can choose among.
pub const MAX_TASK: u8 = 15;

/// A list of slices, then optionally a loop. Empty means: no preemption at all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schedule {
    /// Taken once, in order.
    pub slices: Vec<Slice>,
    /// Taken for ever after `slices`; empty for none.
    pub cycle: Vec<Slice>,
}
