//! What the machine says of a phase that does not end, in words.

use std::collections::BTreeSet;

use machine::{Edge, Owned, Task, Verdict, Why};
use optimized::{KWORKERS, WORK};
use program::Name;

use crate::names::Names;
use crate::verdict::{Class, Remark};

/// The class, unless every task ended.
pub(crate) fn class(verdict: &Verdict) -> Option<Class> {
    Some(match verdict {
        Verdict::Done | Verdict::Conduct(..) => return None,
        Verdict::Deadlock(_) => Class::Deadlock,
        Verdict::Starvation { .. } => Class::Starvation,
        Verdict::Livelock { .. } => Class::Livelock,
        Verdict::Undecided => Class::Undecided,
        Verdict::Pending(_) => Class::Pending,
    })
}

/// All there is to say of it.
pub(crate) fn words(verdict: &Verdict, names: &Names) -> String {
    match verdict {
        Verdict::Starvation { denied, waits, held, spinning, tried } => {
            let never = denied.iter().map(|&(task, cpu)| {
                let (who, spinning) = (who(task), rounds(spinning));
                let tried = trying(tried, names);
                format!(
                    "{who}, which is to do {WORK}, never gets cpu {cpu}, where {spinning}{tried}"
                )
            });
            let waits = waits.iter().map(|wait| match holdings(held, wait.from, names) {
                none if none.is_empty() => edge(wait, names),
                locks => format!("{} and holds {locks}", edge(wait, names)),
            });
            list(never.chain(waits), "; ")
        }
        Verdict::Livelock { spinning, tried, period } => {
            let tried = trying(tried, names);
            format!("{} in {period} turns{tried}", rounds(spinning))
        }
        Verdict::Deadlock(edges) => list(edges.iter().map(|at| edge(at, names)), "; "),
        _ => list(clauses(verdict).into_iter(), "; "),
    }
}

/// What its tasks are at, without what is for people alone: who is kept from its CPU, what is held or
/// tried meanwhile, and of which folio the locks are.
pub(crate) fn clauses(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Done | Verdict::Conduct(..) => Vec::new(),
        Verdict::Deadlock(edges) | Verdict::Starvation { waits: edges, .. } => {
            let bare = |at: &Edge| edge(&Edge { label: 0, ..*at }, &Names::default());
            edges.iter().map(bare).collect()
        }
        Verdict::Livelock { .. } => vec!["goes round in turns".to_owned()],
        Verdict::Undecided => vec!["no end in sight".to_owned()],
        Verdict::Pending(tasks) => {
            vec![format!("{} waits for what the program holds", all(tasks))]
        }
    }
}

/// What it says of each task that is stuck, at the end of the trace.
pub(crate) fn remarks(verdict: &Verdict, end: usize) -> Vec<Remark> {
    let names = &Names::default();
    let remark = |Task(task): Task, text: String| {
        let (cpu, text) = match task.checked_sub(KWORKERS) {
            Some(cpu) => (cpu, format!("kworker {text}")),
            None => (task, text),
        };
        Remark { cpu, at: end, text }
    };
    let rounds = |task: &Task| remark(*task, "goes round for ever".to_owned());
    let waits = |edge: &Edge| remark(edge.from, wait(&Edge { label: 0, ..*edge }, names));
    match verdict {
        Verdict::Deadlock(edges) => edges.iter().map(waits).collect(),
        Verdict::Starvation { denied, waits: edges, spinning, .. } => {
            let never = denied.iter().map(|(task, _)| remark(*task, "never runs".to_owned()));
            spinning.iter().map(rounds).chain(never).chain(edges.iter().map(waits)).collect()
        }
        Verdict::Livelock { spinning, .. } => spinning.iter().map(rounds).collect(),
        Verdict::Pending(tasks) => {
            let waits = |task: &Task| remark(*task, "waits for what the program holds".to_owned());
            tasks.iter().map(waits).collect()
        }
        Verdict::Done | Verdict::Conduct(..) | Verdict::Undecided => Vec::new(),
    }
}

/// What a task is called.
pub(crate) fn who(Task(task): Task) -> String {
    match task.checked_sub(KWORKERS) {
        Some(cpu) => format!("the kworker of cpu {cpu}"),
        None => format!("task {task}"),
    }
}

fn edge(edge: &Edge, names: &Names) -> String {
    format!("{} {}", who(edge.from), wait(edge, names))
}

/// What somebody waits for.
fn wait(&Edge { why, on, label, to, .. }: &Edge, names: &Names) -> String {
    let on = called(on, label, names);
    let Some(to) = to.map(who) else { return format!("waits for {on}, which nobody holds") };
    match why {
        Why::Lock if label != 0 => format!("waits for {on}, which {to} holds"),
        Why::Lock => format!("waits for {on} of {to}"),
        Why::Ack => format!("waits for an IPI's answer; {to} has interrupts off"),
        Why::Work => format!("waits in {on} for the work of {to}"),
        Why::Cpu => format!("needs the CPU of {to}"),
        Why::Grace => format!("waits in {on} for {to}"),
    }
}

/// The locks of a task, each name once.
fn holdings(held: &[Owned], task: Task, names: &Names) -> String {
    let own = held.iter().filter(|lock| lock.by == task);
    let locks: BTreeSet<String> = own.map(|own| called(own.lock, own.label, names)).collect();
    list(locks.into_iter(), ", ")
}

/// Who tries for which lock of whom.
fn trying(tried: &[(Task, Owned)], names: &Names) -> String {
    let tried = tried.iter().map(|&(task, Owned { by, lock, label })| {
        let (task, lock, by) = (who(task), called(lock, label, names), who(by));
        format!("; {task} tries for {lock}, which {by} holds")
    });
    list(tried, "")
}

/// A lock, and of which folio it is.
fn called(lock: &str, label: u64, names: &Names) -> String {
    match label {
        0 => lock.to_owned(),
        folio => format!("{lock} {}", names.folio(Name(folio))),
    }
}

fn rounds(tasks: &[Task]) -> String {
    format!("{} {} round", all(tasks), if tasks.len() == 1 { "goes" } else { "go" })
}

fn all(tasks: &[Task]) -> String {
    list(tasks.iter().copied().map(who), ", ")
}

fn list(words: impl Iterator<Item = String>, between: &str) -> String {
    words.collect::<Vec<_>>().join(between)
}
