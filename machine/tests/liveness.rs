//! Deadlocks, livelocks, starvation.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};

use machine::{
    Atomic, BitLock, Bounds, Edge, Executor, Machine, Owned, Preempt, RandomWalk, Replay, RwSem,
    SeqCount, Slice, Slices, SpinLock, Strategy, Task, Verdict, Why,
};

const SHORT: Bounds = Bounds { turn: 16, soft: 400, hard: 200_000 };

fn slices(cpus: u8, list: &[(u8, u8)]) -> Slices {
    Slices::new(cpus, list.iter().map(|&(cpu, run)| Slice { cpu, run }).collect(), Vec::new())
}

fn hash(words: &[u64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

fn edge(from: u8, why: Why, on: &'static str, to: u8) -> Edge {
    Edge { from: Task(from), why, on, label: 0, to: Some(Task(to)) }
}

#[test]
fn two_locks_in_both_orders_deadlock_beside_a_spinner() {
    let (machine, a, b) = (Machine::default(), SpinLock::default(), SpinLock::default());
    let spins = Cell::new(0);
    let mut executor = Executor::new(&machine, 3, Preempt::None);
    for (cpu, first, second, on) in [(0, &a, &b, ["a", "b"]), (1, &b, &a, ["b", "a"])] {
        let machine = &machine;
        executor.spawn(cpu, Task(cpu), async move {
            first.lock(machine, Task(cpu), on[0]).await;
            second.lock(machine, Task(cpu), on[1]).await;
            second.unlock(machine, Task(cpu), on[1]);
            first.unlock(machine, Task(cpu), on[0]);
        });
    }
    executor.spawn(2, Task(2), async {
        loop {
            machine.cpu_relax().await;
            spins.set(spins.get() + 1);
        }
    });
    let verdict = executor.run(&mut slices(3, &[(2, 3), (0, 2), (1, 9), (0, 9)]));
    let cycle = vec![edge(0, Why::Lock, "b", 1), edge(1, Why::Lock, "a", 0)];
    assert_eq!(verdict, Verdict::Deadlock(cycle));
    assert!(spins.get() < 10, "seen when the second one blocked");
}

#[test]
fn a_reader_behind_a_queued_writer_deadlocks_in_a_nested_read() {
    let (machine, sem) = (Machine::default(), RwSem::default());
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.spawn(0, Task(0), async {
        sem.read(&machine, "sem").await;
        sem.read(&machine, "sem").await;
        sem.read_unlock(&machine, "sem");
        sem.read_unlock(&machine, "sem");
    });
    executor.spawn(1, Task(1), async {
        sem.write(&machine, Task(1), "sem").await;
        sem.write_unlock(&machine, Task(1), "sem");
    });
    let verdict = executor.run(&mut slices(2, &[(0, 2), (1, 2)]));
    let Verdict::Deadlock(cycle) = verdict else { panic!("{verdict:?}") };
    assert!(cycle.contains(&edge(1, Why::Lock, "sem", 0)), "{cycle:?}");
}

#[test]
fn a_call_to_a_cpu_that_spins_with_interrupts_off_on_the_senders_lock() {
    let run = |irqs_off: bool| {
        let (machine, lock) = (Machine::default(), SpinLock::default());
        let mut executor = Executor::new(&machine, 2, Preempt::None);
        executor.spawn(0, Task(0), async {
            lock.lock(&machine, Task(0), "PTL").await;
            machine.smp_call(2, |_| ()).await;
            lock.unlock(&machine, Task(0), "PTL");
        });
        executor.spawn(1, Task(1), async {
            if irqs_off {
                machine.irq_disable();
            }
            lock.lock(&machine, Task(1), "PTL").await;
            lock.unlock(&machine, Task(1), "PTL");
            if irqs_off {
                machine.irq_enable();
            }
        });
        executor.run(&mut slices(2, &[(0, 2), (1, 2), (0, 9)]))
    };
    let Verdict::Deadlock(cycle) = run(true) else { panic!() };
    assert_eq!(cycle.len(), 2, "{cycle:?}");
    assert!(cycle.contains(&edge(0, Why::Ack, "IPI", 1)));
    assert!(cycle.contains(&edge(1, Why::Lock, "PTL", 0)));
    assert_eq!(run(false), Verdict::Done, "a spinner with interrupts on answers");
}

#[test]
fn work_behind_a_loop_that_never_gives_way_starves() {
    let run = |gives_way: bool| {
        let (machine, bit) = (Machine::default(), BitLock::default());
        let state = || u64::from(bit.owner().is_some());
        let mut executor = Executor::new(&machine, 2, Preempt::None);
        executor.set_state(&state);
        executor.set_bounds(SHORT);
        executor.kworker(1, Task(9), machine.kworker(1, async |_| ()));
        executor.spawn(0, Task(0), async {
            bit.lock(&machine, Task(0), "bit").await;
            machine.label(&bit, 7);
            machine.queue_work_on(1, 5);
            machine.flush_work(5).await;
            bit.unlock(&machine, Task(0), "bit");
        });
        executor.spawn(1, Task(1), async {
            while !bit.try_acquire(&machine, Task(1)).await {
                machine.lap(&());
                if gives_way {
                    machine.cond_resched().await;
                }
            }
            bit.unlock(&machine, Task(1), "bit");
        });
        executor.run(&mut slices(2, &[(0, 2), (1, 2), (0, 9)]))
    };
    let bit = Owned { by: Task(0), lock: "folio lock", label: 7 };
    let starved = Verdict::Starvation {
        denied: vec![(Task(9), 1)],
        waits: vec![edge(0, Why::Work, "flush_work", 9)],
        held: vec![bit],
        spinning: vec![Task(1)],
        tried: vec![(Task(1), bit)],
    };
    assert_eq!(run(false), starved);
    assert_eq!(run(true), Verdict::Done);
}

#[test]
fn a_cycle_through_work_and_a_kept_cpu() {
    let (machine, lock) = (Machine::default(), SpinLock::default());
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.kworker(1, Task(9), machine.kworker(1, async |_| ()));
    executor.spawn(0, Task(0), async {
        // The lock is a spinlock to the other side only: its holder sleeps.
        lock.lock(&machine, Task(0), "lock").await;
        machine.preempt_enable();
        machine.queue_work_on(1, 5);
        machine.flush_work(5).await;
    });
    executor.spawn(1, Task(1), async {
        lock.lock(&machine, Task(1), "lock").await;
    });
    let verdict = executor.run(&mut slices(2, &[(0, 2), (1, 2), (0, 9)]));
    let Verdict::Deadlock(cycle) = verdict else { panic!("{verdict:?}") };
    assert!(cycle.contains(&edge(0, Why::Work, "flush_work", 9)), "{cycle:?}");
    assert!(cycle.contains(&edge(9, Why::Cpu, "CPU", 1)), "{cycle:?}");
    assert!(cycle.contains(&edge(1, Why::Lock, "lock", 0)), "{cycle:?}");
}

#[test]
fn a_reader_that_waits_for_its_own_grace_period() {
    let (machine, bit) = (Machine::default(), BitLock::default());
    let mut executor = Executor::new(&machine, 2, Preempt::Full);
    executor.spawn(0, Task(0), async {
        machine.rcu_read_lock();
        bit.lock(&machine, Task(0), "bit").await;
        bit.unlock(&machine, Task(0), "bit");
        machine.rcu_read_unlock();
    });
    executor.spawn(1, Task(1), async {
        bit.lock(&machine, Task(1), "bit").await;
        machine.synchronize_rcu().await;
        bit.unlock(&machine, Task(1), "bit");
    });
    let verdict = executor.run(&mut slices(2, &[(1, 2), (0, 2), (1, 2)]));
    let cycle = vec![edge(1, Why::Grace, "synchronize_rcu", 0), edge(0, Why::Lock, "bit", 1)];
    let turned = cycle.iter().rev().copied().collect();
    assert!(verdict == Verdict::Deadlock(cycle) || verdict == Verdict::Deadlock(turned));
}

#[test]
fn a_lost_wake_up_is_told_from_a_lock_that_the_program_keeps() {
    let run = |lose: bool| {
        let (machine, bit) = (Machine::default(), BitLock::default());
        let mut executor = Executor::new(&machine, 2, Preempt::None);
        executor.spawn(0, Task(0), async {
            bit.lock(&machine, Task(0), "bit").await;
            machine.point().await;
            if lose {
                bit.clear(&machine, Task(0), "bit");
            } else {
                bit.keep(&machine);
            }
        });
        executor.spawn(1, Task(1), async {
            bit.lock(&machine, Task(1), "bit").await;
            bit.unlock(&machine, Task(1), "bit");
        });
        executor.run(&mut slices(2, &[(0, 2), (1, 2)]))
    };
    let lost = Edge { from: Task(1), why: Why::Lock, on: "bit", label: 0, to: None };
    assert_eq!(run(true), Verdict::Deadlock(vec![lost]));
    assert_eq!(run(false), Verdict::Pending(vec![Task(1)]));
}

#[test]
fn whoever_sleeps_on_a_queue_is_pending_until_woken() {
    for wake in [true, false] {
        let (machine, queue) = (Machine::default(), Cell::new(0));
        let mut executor = Executor::new(&machine, 2, Preempt::None);
        executor.spawn(0, Task(0), async { machine.sleep_on(&queue, "event").await });
        executor.spawn(1, Task(1), async {
            machine.point().await;
            if wake {
                machine.wake_up(&queue);
            }
        });
        let verdict = executor.run(&mut slices(2, &[(0, 2)]));
        let expected = if wake { Verdict::Done } else { Verdict::Pending(vec![Task(0)]) };
        assert_eq!(verdict, expected);
    }
}

/// Two tasks that each back off when they see the other's flag (the polite livelock). With
/// `breaks`, one of them gives up after a while: no livelock.
fn polite<S: Strategy>(breaks: Option<u32>, laps: bool, strategy: &mut S) -> Verdict {
    let (machine, flags) = (Machine::default(), [Atomic::new(0), Atomic::new(0)]);
    let state = || hash(&[flags[0].get(), flags[1].get()]);
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    for cpu in 0..2u8 {
        let (machine, mine, other) =
            (&machine, &flags[usize::from(cpu)], &flags[usize::from(1 - cpu)]);
        executor.spawn(cpu, Task(cpu), async move {
            let mut tries = 0;
            loop {
                if laps {
                    let carried = if breaks.is_some() { tries } else { 0 };
                    machine.lap(&carried);
                }
                mine.store(machine, 1).await;
                // Waits until the other one is seen to want it too, so that a fair machine of any
                // turn keeps them in step.
                while other.load(machine).await == 0 {
                    machine.lap(&1u8);
                    machine.cpu_relax().await;
                }
                tries += 1;
                if breaks.is_some_and(|breaks| tries > breaks) {
                    mine.store(machine, 2).await;
                    return;
                }
                if other.load(machine).await == 2 {
                    return;
                }
                mine.store(machine, 1).await;
            }
        });
    }
    executor.set_state(&state);
    executor.set_bounds(SHORT);
    executor.run(strategy)
}

#[test]
fn a_livelock_is_proven_and_one_that_ends_is_not() {
    let mut walk = RandomWalk::new(3);
    for _ in 0..20 {
        let verdict = polite(None, true, &mut walk);
        let Verdict::Livelock { spinning, period, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(spinning, [Task(0), Task(1)]);
        assert!(period < 10, "{period}");
        assert_eq!(polite(Some(500), true, &mut walk), Verdict::Done, "a carried count differs");
    }
    // Without laps nothing is known of the tasks, and nothing is claimed.
    assert_eq!(polite(None, false, &mut walk), Verdict::Undecided);
}

#[test]
fn a_livelock_replays_from_its_decisions() {
    let run = |strategy: &mut dyn FnMut(&mut Executor<'_>) -> Verdict| {
        let (machine, bit) = (Machine::default(), BitLock::default());
        let state = || u64::from(bit.owner().is_some());
        let mut executor = Executor::new(&machine, 2, Preempt::None);
        executor.set_state(&state);
        executor.set_bounds(SHORT);
        for cpu in 0..2 {
            let (machine, bit) = (&machine, &bit);
            executor.spawn(cpu, Task(cpu), async move {
                while !bit.try_acquire(machine, Task(cpu)).await {
                    machine.lap(&());
                }
                loop {
                    machine.point().await;
                    machine.lap(&());
                }
            });
        }
        let verdict = strategy(&mut executor);
        (verdict, executor.decisions().to_vec(), executor.points())
    };
    let mut walk = RandomWalk::new(11);
    let first = run(&mut |executor| executor.run(&mut walk));
    assert!(matches!(first.0, Verdict::Livelock { .. }), "{first:?}");
    let mut replay = Replay::new(&first.1);
    assert_eq!(run(&mut |executor| executor.run(&mut replay)), first);
}

#[test]
fn a_reader_that_an_endless_writer_keeps_out_is_a_livelock() {
    let (machine, sequence) = (Machine::default(), SeqCount::default());
    let state = || u64::from(sequence.read() & 1);
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.set_bounds(SHORT);
    executor.set_state(&state);
    executor.spawn(0, Task(0), async {
        loop {
            machine.lap(&());
            sequence.write(&machine).await;
            sequence.write(&machine).await;
        }
    });
    executor.spawn(1, Task(1), async {
        loop {
            machine.lap(&());
            let before = sequence.begin(&machine).await;
            for _ in 0..40 {
                machine.point().await;
            }
            if before & 1 == 0 && !sequence.retry(&machine, before).await {
                return;
            }
        }
    });
    let verdict = executor.run(&mut slices(2, &[]));
    let Verdict::Livelock { spinning, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(spinning, [Task(0), Task(1)]);
}
