//! Small buggy programs of the kind that concurrency testers are compared on (after SCTBench,
//! CHESS and the RFF suite), written anew for this machine.

use std::cell::Cell;

use machine::{Atomic, Conduct, Executor, Machine, Preempt, SpinLock, Strategy, Task, Verdict};

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// n - 1 tasks set a, then b; one checks that it sees both or none. The bug needs it to look
    /// after the first a and before all of the b.
    Reorder(u8),
    /// n - 1 tasks fill two cells under two locks; a reader finds the first full, the second not.
    TwoStage(u8),
    /// One task changes a word under one lock, n - 1 under another.
    WrongLock(u8),
    /// Two deposits that read the balance under the lock and write it under the lock, but not
    /// under the same.
    Account,
    /// The driver that is stopped between a request's check of the flag and its count.
    Bluetooth,
    /// Append: the length of the other buffer is taken, the buffer is truncated, its characters
    /// are copied.
    StringBuffer,
    /// Two locks in both orders.
    Deadlock01,
    /// The owner and a thief take the last item of a work-stealing queue.
    WorkSteal,
}

impl Model {
    pub fn name(self) -> String {
        match self {
            Model::Reorder(n) => format!("reorder_{n}"),
            Model::TwoStage(n) => format!("twostage_{n}"),
            Model::WrongLock(n) => format!("wronglock_{n}"),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    /// Runs the program once; whether the bug showed, and the points.
    pub fn run<S: Strategy>(self, strategy: &mut S) -> (bool, u64) {
        match self {
            Model::Reorder(n) => reorder(n, strategy),
            Model::TwoStage(n) => two_stage(n, strategy),
            Model::WrongLock(n) => wrong_lock(n, strategy),
            Model::Account => account(strategy),
            Model::Bluetooth => bluetooth(strategy),
            Model::StringBuffer => string_buffer(strategy),
            Model::Deadlock01 => deadlock01(strategy),
            Model::WorkSteal => work_steal(strategy),
        }
    }

    /// Executions until the bug shows, at most `most`.
    pub fn first_bug<S: Strategy>(self, strategy: &mut S, most: u32) -> Option<u32> {
        (1..=most).find(|_| strategy.new_execution() && self.run(strategy).0)
    }
}

/// Ends a run: only deadlocks and what the model itself found count.
fn judge<S: Strategy>(
    mut executor: Executor<'_>,
    strategy: &mut S,
    bug: &Cell<bool>,
) -> (bool, u64) {
    let verdict = executor.run(strategy);
    let order = matches!(verdict, Verdict::Conduct(Conduct::LockOrder(..), _));
    let deadlock = matches!(verdict, Verdict::Deadlock(_));
    assert!(order || deadlock || verdict == Verdict::Done, "{verdict:?}");
    (deadlock || bug.get(), executor.points())
}

/// A task that creates the others, one a point, in order: they sleep on `gates`.
async fn create(machine: &Machine, gates: &[Cell<bool>]) {
    for gate in gates {
        machine.point().await;
        machine.wake_up(gate);
    }
}

fn reorder<S: Strategy>(n: u8, strategy: &mut S) -> (bool, u64) {
    let (machine, a, b) = (Machine::default(), Atomic::new(0), Atomic::new(0));
    let (bug, gates) = (Cell::new(false), vec![Cell::new(false); n.into()]);
    let mut executor = Executor::new(&machine, n + 1, Preempt::None);
    executor.spawn(n, Task(n), create(&machine, &gates));
    for cpu in 0..n - 1 {
        executor.spawn_asleep(cpu, Task(cpu), &gates[usize::from(cpu)], async {
            a.store(&machine, 1).await;
            b.store(&machine, 2).await;
        });
    }
    executor.spawn_asleep(n - 1, Task(n - 1), &gates[usize::from(n - 1)], async {
        if a.load(&machine).await == 0 && b.load(&machine).await == 0 {
            return;
        }
        bug.set(a.load(&machine).await != 1 || b.load(&machine).await != 2);
    });
    judge(executor, strategy, &bug)
}

fn two_stage<S: Strategy>(n: u8, strategy: &mut S) -> (bool, u64) {
    let (machine, first, second) = (Machine::default(), Atomic::new(0), Atomic::new(0));
    let (lock1, lock2) = (SpinLock::default(), SpinLock::default());
    let (bug, gates) = (Cell::new(false), vec![Cell::new(false); n.into()]);
    let mut executor = Executor::new(&machine, n + 1, Preempt::None);
    executor.spawn(n, Task(n), create(&machine, &gates));
    for cpu in 0..n - 1 {
        let (m, first, second, lock1, lock2) = (&machine, &first, &second, &lock1, &lock2);
        executor.spawn_asleep(cpu, Task(cpu), &gates[usize::from(cpu)], async move {
            lock1.lock(m, Task(cpu), "first").await;
            first.store(m, 1).await;
            lock1.unlock(m, Task(cpu), "first");
            lock2.lock(m, Task(cpu), "second").await;
            let value = first.load(m).await;
            second.store(m, value + 1).await;
            lock2.unlock(m, Task(cpu), "second");
        });
    }
    let reader = Task(n - 1);
    executor.spawn_asleep(n - 1, reader, &gates[usize::from(n - 1)], async {
        lock1.lock(&machine, reader, "first").await;
        let one = first.load(&machine).await;
        lock1.unlock(&machine, reader, "first");
        if one == 0 {
            return;
        }
        lock2.lock(&machine, reader, "second").await;
        bug.set(second.load(&machine).await != one + 1);
        lock2.unlock(&machine, reader, "second");
    });
    judge(executor, strategy, &bug)
}

fn wrong_lock<S: Strategy>(n: u8, strategy: &mut S) -> (bool, u64) {
    let (machine, value, bug) = (Machine::default(), Atomic::new(0), Cell::new(false));
    let (right, wrong) = (SpinLock::default(), SpinLock::default());
    let mut executor = Executor::new(&machine, n, Preempt::None);
    executor.spawn(0, Task(0), async {
        right.lock(&machine, Task(0), "right").await;
        let before = value.load(&machine).await;
        value.fetch_add(&machine, 1).await;
        bug.set(value.load(&machine).await != before + 1);
        right.unlock(&machine, Task(0), "right");
    });
    for cpu in 1..n {
        let (machine, wrong, value) = (&machine, &wrong, &value);
        executor.spawn(cpu, Task(cpu), async move {
            wrong.lock(machine, Task(cpu), "wrong").await;
            value.fetch_add(machine, 1).await;
            wrong.unlock(machine, Task(cpu), "wrong");
        });
    }
    judge(executor, strategy, &bug)
}

fn account<S: Strategy>(strategy: &mut S) -> (bool, u64) {
    let (machine, lock, balance) = (Machine::default(), SpinLock::default(), Atomic::new(0));
    let (bug, done) = (Cell::new(false), Cell::new(0));
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    for cpu in 0..2 {
        let (machine, lock, balance, bug, done) = (&machine, &lock, &balance, &bug, &done);
        executor.spawn(cpu, Task(cpu), async move {
            lock.lock(machine, Task(cpu), "account").await;
            let before = balance.load(machine).await;
            lock.unlock(machine, Task(cpu), "account");
            lock.lock(machine, Task(cpu), "account").await;
            balance.store(machine, before + 100).await;
            lock.unlock(machine, Task(cpu), "account");
            done.set(done.get() + 1);
            bug.set(done.get() == 2 && balance.get() != 200);
        });
    }
    judge(executor, strategy, &bug)
}

fn bluetooth<S: Strategy>(strategy: &mut S) -> (bool, u64) {
    let (machine, pending, stopping) = (Machine::default(), Atomic::new(1), Atomic::new(0));
    let (idle, stopped, bug) = (Cell::new(false), Atomic::new(0), Cell::new(false));
    let decrement = async || {
        if pending.fetch_add(&machine, u64::MAX).await == 1 {
            idle.set(true);
            machine.wake_up(&idle);
        }
    };
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.spawn(0, Task(0), async {
        if stopping.load(&machine).await == 0 {
            pending.fetch_add(&machine, 1).await;
            bug.set(stopped.load(&machine).await == 1);
            decrement().await;
        }
    });
    executor.spawn(1, Task(1), async {
        stopping.store(&machine, 1).await;
        decrement().await;
        while !idle.get() {
            machine.cpu_relax().await;
        }
        stopped.store(&machine, 1).await;
    });
    judge(executor, strategy, &bug)
}

fn string_buffer<S: Strategy>(strategy: &mut S) -> (bool, u64) {
    let (machine, lock, bug) = (Machine::default(), SpinLock::default(), Cell::new(false));
    let length = Atomic::new(3);
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.spawn(0, Task(0), async {
        lock.lock(&machine, Task(0), "buffer").await;
        let taken = length.load(&machine).await;
        lock.unlock(&machine, Task(0), "buffer");
        machine.point().await; // makes room in its own buffer
        lock.lock(&machine, Task(0), "buffer").await;
        bug.set(length.load(&machine).await < taken);
        lock.unlock(&machine, Task(0), "buffer");
    });
    executor.spawn(1, Task(1), async {
        lock.lock(&machine, Task(1), "buffer").await;
        length.store(&machine, 0).await;
        lock.unlock(&machine, Task(1), "buffer");
        lock.lock(&machine, Task(1), "buffer").await;
        length.store(&machine, 3).await;
        lock.unlock(&machine, Task(1), "buffer");
    });
    judge(executor, strategy, &bug)
}

fn deadlock01<S: Strategy>(strategy: &mut S) -> (bool, u64) {
    let (machine, a, b) = (Machine::default(), SpinLock::default(), SpinLock::default());
    let (value, bug) = (Atomic::new(0), Cell::new(false));
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    for (cpu, first, second, on) in [(0, &a, &b, ["a", "b"]), (1, &b, &a, ["b", "a"])] {
        let (machine, value) = (&machine, &value);
        executor.spawn(cpu, Task(cpu), async move {
            first.lock(machine, Task(cpu), on[0]).await;
            second.lock(machine, Task(cpu), on[1]).await;
            value.fetch_add(machine, 1).await;
            second.unlock(machine, Task(cpu), on[1]);
            first.unlock(machine, Task(cpu), on[0]);
        });
    }
    judge(executor, strategy, &bug)
}

fn work_steal<S: Strategy>(strategy: &mut S) -> (bool, u64) {
    const ITEMS: u64 = 3;
    let (machine, lock, bug) = (Machine::default(), SpinLock::default(), Cell::new(false));
    let (head, tail) = (Atomic::new(0), Atomic::new(0));
    let taken = [const { Cell::new(0) }; ITEMS as usize];
    let take = |item: u64| {
        let count = &taken[item as usize];
        count.set(count.get() + 1);
        bug.set(bug.get() || count.get() > 1);
    };
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.spawn(0, Task(0), async {
        for item in 0..ITEMS {
            tail.store(&machine, item + 1).await;
        }
        loop {
            // The bug: the last item is taken without the lock.
            let last = tail.load(&machine).await;
            if head.load(&machine).await >= last {
                return;
            }
            tail.store(&machine, last - 1).await;
            take(last - 1);
        }
    });
    executor.spawn(1, Task(1), async {
        for _ in 0..2 {
            lock.lock(&machine, Task(1), "queue").await;
            let first = head.load(&machine).await;
            if first < tail.load(&machine).await {
                head.store(&machine, first + 1).await;
                take(first);
            }
            lock.unlock(&machine, Task(1), "queue");
        }
    });
    judge(executor, strategy, &bug)
}
