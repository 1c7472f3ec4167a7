//! What the machine says of a phase that does not end, in words.

use machine::{Edge, Task, Verdict, Why};
use optimized::KWORKERS;

use crate::verdict::Class;

/// The class and the words, unless every task ended.
pub(crate) fn told(verdict: &Verdict) -> Option<(Class, String)> {
    Some(match verdict {
        Verdict::Done | Verdict::Conduct(..) => return None,
        Verdict::Deadlock(edges) => (Class::Deadlock, list(edges.iter().map(edge), "; ")),
        Verdict::Starvation { denied, waits, held, spinning } => {
            let never = denied.iter().map(|&(task, cpu)| {
                format!("{} never gets cpu {cpu}, where {} goes round", who(task), all(spinning))
            });
            let waits = waits.iter().map(|wait| match holdings(held, wait.from) {
                none if none.is_empty() => edge(wait),
                locks => format!("{} and holds {locks}", edge(wait)),
            });
            (Class::Starvation, list(never.chain(waits), "; "))
        }
        Verdict::Livelock { spinning, period } => {
            (Class::Livelock, format!("{} goes round in {period} turns", all(spinning)))
        }
        Verdict::Undecided => (Class::Undecided, "no end in sight".to_owned()),
        Verdict::Pending(tasks) => {
            (Class::Pending, format!("{} waits for what the program holds", all(tasks)))
        }
    })
}

/// What a task is called.
pub(crate) fn who(Task(task): Task) -> String {
    match task.checked_sub(KWORKERS) {
        Some(cpu) => format!("the kworker of cpu {cpu}"),
        None => format!("task {task}"),
    }
}

fn edge(edge: &Edge) -> String {
    let Edge { from, why, on, to } = *edge;
    let from = who(from);
    let Some(to) = to.map(who) else { return format!("{from} waits for {on}, which nobody holds") };
    match why {
        Why::Lock => format!("{from} waits for {on} of {to}"),
        Why::Ack => format!("{from} waits for an IPI's answer; {to} has interrupts off"),
        Why::Work => format!("{from} waits in {on} for the work of {to}"),
        Why::Cpu => format!("{from} needs the CPU of {to}"),
        Why::Grace => format!("{from} waits in {on} for {to}"),
    }
}

/// The locks of a task, each name once.
fn holdings(held: &[(Task, &str)], task: Task) -> String {
    let mut locks: Vec<(&str, u32)> = Vec::new();
    for (_, lock) in held.iter().filter(|(holder, _)| *holder == task) {
        match locks.iter_mut().find(|(known, _)| known == lock) {
            Some((_, count)) => *count += 1,
            None => locks.push((lock, 1)),
        }
    }
    let lock = |&(lock, count): &(&str, u32)| match count {
        1 => lock.to_owned(),
        _ => format!("{count} of {lock}"),
    };
    list(locks.iter().map(lock), ", ")
}

fn all(tasks: &[Task]) -> String {
    list(tasks.iter().copied().map(who), ", ")
}

fn list(words: impl Iterator<Item = String>, between: &str) -> String {
    words.collect::<Vec<_>>().join(between)
}
