//! What the machine says of a phase that does not end, in words.

use machine::{Edge, Task, Verdict, Why};
use optimized::KWORKERS;

use crate::verdict::{Class, Remark};

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

/// What it says of each task that is stuck, at the end of the trace.
pub(crate) fn remarks(verdict: &Verdict, end: usize) -> Vec<Remark> {
    let remark = |Task(task): Task, text: String| {
        let (cpu, text) = match task.checked_sub(KWORKERS) {
            Some(cpu) => (cpu, format!("kworker {text}")),
            None => (task, text),
        };
        Remark { cpu, at: end, text }
    };
    let rounds = |task: &Task| remark(*task, "goes round for ever".to_owned());
    let waits = |edge: &Edge| remark(edge.from, wait(edge));
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

fn edge(edge: &Edge) -> String {
    format!("{} {}", who(edge.from), wait(edge))
}

/// What somebody waits for.
fn wait(&Edge { why, on, to, .. }: &Edge) -> String {
    let Some(to) = to.map(who) else { return format!("waits for {on}, which nobody holds") };
    match why {
        Why::Lock => format!("waits for {on} of {to}"),
        Why::Ack => format!("waits for an IPI's answer; {to} has interrupts off"),
        Why::Work => format!("waits in {on} for the work of {to}"),
        Why::Cpu => format!("needs the CPU of {to}"),
        Why::Grace => format!("waits in {on} for {to}"),
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
