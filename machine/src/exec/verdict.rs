//! How a run ended.

use crate::conduct::Conduct;
use crate::machine::Task;

/// Why a task cannot go on before another one does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It wants a lock that the other holds, or queues behind it.
    Lock,
    /// It waits for the other's CPU, which has interrupts off, to answer a call.
    Ack,
    /// It waits for a work item that the other, a kworker, is to do.
    Work,
    /// It waits for the CPU that the other keeps while it spins.
    Cpu,
    /// It waits for a grace period that the other holds up.
    Grace,
}

/// One edge of the wait-for graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// Who waits.
    pub from: Task,
    /// Why.
    pub why: Why,
    /// For what.
    pub on: &'static str,
    /// What [`Machine::label`](crate::Machine::label) called it; 0 if nobody did.
    pub label: u64,
    /// For whom; nobody if a wake-up was lost.
    pub to: Option<Task>,
}

/// A lock and its holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owned {
    /// The holder.
    pub by: Task,
    /// The class of the lock.
    pub lock: &'static str,
    /// What [`Machine::label`](crate::Machine::label) called it; 0 if nobody did.
    pub label: u64,
}

/// How a run ended. In order of precedence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A rule was broken by this task; the run was stopped.
    Conduct(Conduct, Task),
    /// These tasks wait for each other, or the last one for nobody; the others may be fine.
    Deadlock(Vec<Edge>),
    /// Tasks are ready and never get their CPU, and others wait for them, while `spinning` go round
    /// in the same states for ever.
    Starvation {
        /// Who never ran, and on which CPU.
        denied: Vec<(Task, u8)>,
        /// Who waits for them, and why.
        waits: Vec<Edge>,
        /// What those who wait hold.
        held: Vec<Owned>,
        /// Who ran.
        spinning: Vec<Task>,
        /// Who tried a lock in vain in each round, and which.
        tried: Vec<(Task, Owned)>,
    },
    /// These tasks go round in the same states for ever although each CPU gets its turns.
    Livelock {
        /// Who ran.
        spinning: Vec<Task>,
        /// Who tried a lock in vain in each round, and which.
        tried: Vec<(Task, Owned)>,
        /// Turns of the fair continuation that one round takes.
        period: u64,
    },
    /// The hard bound was reached and nothing proven.
    Undecided,
    /// These tasks wait for something that only the program can do. Everybody else is done.
    Pending(Vec<Task>),
    /// Every task ended.
    Done,
}

impl Verdict {
    /// A stable class name, letters and dashes only.
    pub fn class(&self) -> &'static str {
        match self {
            Verdict::Conduct(conduct, _) => conduct.class(),
            Verdict::Deadlock(_) => "deadlock",
            Verdict::Starvation { .. } => "starvation",
            Verdict::Livelock { .. } => "livelock",
            Verdict::Undecided => "undecided",
            Verdict::Pending(_) => "pending",
            Verdict::Done => "done",
        }
    }
}
