//! Locks, interrupts, work and grace periods, each on a machine with several CPUs.

use std::cell::{Cell, RefCell};

use machine::{
    Atomic, BitLock, Bounds, Executor, Holding, Machine, Pos, Preempt, RandomWalk, Replay, RwSem,
    SeqCount, Slice, Slices, SpinLock, Strategy, Task, Verdict, slices_of,
};

/// Runs tasks, each on its own CPU, under `count` random schedules.
fn walks(count: u64, mut run: impl FnMut(&mut RandomWalk)) {
    let mut walk = RandomWalk::new(7);
    for _ in 0..count {
        assert!(walk.new_execution());
        run(&mut walk);
    }
}

fn slices(cpus: u8, list: &[(u8, u8)]) -> Slices {
    Slices::new(cpus, list.iter().map(|&(cpu, run)| Slice { cpu, run }).collect(), Vec::new())
}

async fn add_one(machine: &Machine, word: &Atomic) {
    let value = word.load(machine).await;
    word.store(machine, value + 1).await;
}

#[test]
fn a_spinlock_excludes_and_without_it_updates_are_lost() {
    for locked in [true, false] {
        let mut lost = 0;
        walks(200, |walk| {
            let (machine, lock, word) = (Machine::default(), SpinLock::default(), Atomic::new(0));
            let mut executor = Executor::new(&machine, 3, Preempt::None);
            for cpu in 0..3 {
                executor.spawn(cpu, Task(cpu), async {
                    if locked {
                        lock.lock(&machine, machine.name(), "lock").await;
                    }
                    add_one(&machine, &word).await;
                    if locked {
                        lock.release(&machine, machine.name(), "lock").await;
                    }
                });
            }
            assert_eq!(executor.run(walk), Verdict::Done);
            lost += u32::from(word.get() != 3);
        });
        assert_eq!(lost == 0, locked, "{lost} of 200 lost an update");
    }
}

#[test]
fn spinlocks_go_to_who_waited_first() {
    let (machine, lock, order) = (Machine::default(), SpinLock::default(), RefCell::new(vec![]));
    let mut executor = Executor::new(&machine, 3, Preempt::None);
    for cpu in 0..3 {
        let (machine, lock, order) = (&machine, &lock, &order);
        executor.spawn(cpu, Task(cpu), async move {
            lock.lock(machine, Task(cpu), "lock").await;
            order.borrow_mut().push(cpu);
            machine.point().await;
            lock.unlock(machine, Task(cpu), "lock");
            if cpu == 0 {
                assert!(!lock.try_lock(machine, Task(cpu), "lock").await, "stolen");
            }
        });
    }
    // 0 takes it, 2 waits, 1 waits, 0 lets go and tries again.
    let verdict = executor.run(&mut slices(3, &[(0, 2), (2, 2), (1, 2), (0, 9)]));
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(*order.borrow(), [0, 2, 1]);
}

#[test]
fn a_queued_writer_holds_back_new_readers_but_not_old_ones() {
    let (machine, sem, order) = (Machine::default(), RwSem::default(), RefCell::new(vec![]));
    let mut executor = Executor::new(&machine, 4, Preempt::None);
    for cpu in [0, 2, 3] {
        let (machine, sem, order) = (&machine, &sem, &order);
        executor.spawn(cpu, Task(cpu), async move {
            sem.read(machine, "sem").await;
            order.borrow_mut().push(cpu);
            machine.point().await;
            machine.point().await;
            sem.read_unlock(machine, "sem");
        });
    }
    executor.spawn(1, Task(1), async {
        sem.write(&machine, Task(1), "sem").await;
        order.borrow_mut().push(1);
        sem.write_unlock(&machine, Task(1), "sem");
    });
    // 0 and 2 read, 1 wants to write, 3 to read.
    let verdict = executor.run(&mut slices(4, &[(0, 2), (2, 2), (1, 2), (3, 2)]));
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(*order.borrow(), [0, 2, 1, 3]);
}

#[test]
fn a_bit_lock_can_be_stolen_five_times_and_is_then_handed_over() {
    let (machine, lock, taken) = (Machine::default(), BitLock::default(), Cell::new(0));
    let (late, done) = (Cell::new(0), Cell::new(false));
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.spawn(0, Task(0), async {
        while !done.get() && taken.get() < 20 {
            lock.lock(&machine, Task(0), "bit").await;
            taken.set(taken.get() + 1);
            machine.point().await;
            lock.unlock(&machine, Task(0), "bit");
        }
    });
    executor.spawn(1, Task(1), async {
        lock.lock(&machine, Task(1), "bit").await;
        late.set(taken.get());
        done.set(true);
        lock.unlock(&machine, Task(1), "bit");
    });
    // 1 waits; each time it wakes, 0 has been there before.
    let mut schedule = vec![(0, 2), (1, 2)];
    // (Nobody is asked while 0 alone can run: it lets go and wants the bit again.)
    schedule.extend([(0, 1), (1, 1)].repeat(20));
    assert_eq!(executor.run(&mut slices(2, &schedule)), Verdict::Done);
    assert_eq!(late.get(), 6);
}

#[test]
fn who_waits_for_a_bit_without_wanting_it_goes_on_after_one_release() {
    let (machine, lock, seen) = (Machine::default(), BitLock::default(), Cell::new(None));
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.spawn(0, Task(0), async {
        lock.lock(&machine, Task(0), "bit").await;
        machine.point().await;
        lock.unlock(&machine, Task(0), "bit");
        lock.lock(&machine, Task(0), "bit").await;
        machine.point().await;
        lock.unlock(&machine, Task(0), "bit");
    });
    executor.spawn(1, Task(1), async {
        lock.wait(&machine, "bit").await;
        seen.set(Some(lock.owner()));
    });
    let verdict = executor.run(&mut slices(2, &[(0, 2), (1, 2), (0, 1), (1, 9)]));
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(seen.get(), Some(Some(Task(0))), "the hint came while the bit was taken again");
}

#[test]
fn a_sequence_tells_a_reader_that_a_writer_was_inside() {
    let mut torn = 0;
    let mut retried = 0;
    walks(300, |walk| {
        let machine = Machine::default();
        let (sequence, a, b) = (SeqCount::default(), Atomic::new(0), Atomic::new(0));
        let mut executor = Executor::new(&machine, 2, Preempt::None);
        executor.spawn(0, Task(0), async {
            sequence.write(&machine).await;
            a.store(&machine, 1).await;
            b.store(&machine, 1).await;
            sequence.write(&machine).await;
        });
        executor.spawn(1, Task(1), async {
            let before = sequence.begin(&machine).await;
            let pair = (a.load(&machine).await, b.load(&machine).await);
            let retry = before & 1 == 1 || sequence.retry(&machine, before).await;
            torn += u32::from(pair.0 != pair.1);
            retried += u32::from(retry);
            assert!(retry || pair.0 == pair.1, "a torn pair passed");
        });
        assert_eq!(executor.run(walk), Verdict::Done);
    });
    assert!(torn > 10 && retried > torn, "{torn} torn, {retried} retried");
}

#[test]
fn a_call_is_answered_when_interrupts_are_on_and_the_sender_waits() {
    walks(100, |walk| {
        let (machine, answered, open) = (Machine::default(), Cell::new(0u128), Cell::new(false));
        let mut executor = Executor::new(&machine, 4, Preempt::None);
        executor.spawn(0, Task(0), async {
            machine.smp_call(!0, |cpu| answered.set(answered.get() | 1 << cpu)).await;
            assert_eq!(answered.get(), 0b1110, "three others answered, two of them idle");
        });
        executor.spawn(2, Task(2), async {
            machine.local_irq_disable().await;
            let before = answered.get() >> 2 & 1;
            for _ in 0..5 {
                machine.point().await;
                assert_eq!(answered.get() >> 2 & 1, before, "interrupted with interrupts off");
            }
            machine.local_irq_enable().await;
            open.set(true);
        });
        assert_eq!(executor.run(walk), Verdict::Done);
        assert!(open.get());
        assert_eq!(answered.get(), 0b1110);
    });
}

#[test]
fn work_needs_its_cpu() {
    let (machine, log) = (Machine::default(), RefCell::new(vec![]));
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.kworker(1, Task(9), machine.kworker(1, async |item| log.borrow_mut().push(item)));
    executor.spawn(0, Task(0), async {
        assert!(machine.queue_work_on(1, 7));
        assert!(!machine.queue_work_on(1, 7), "queued twice");
        machine.flush_work(7).await;
        log.borrow_mut().push(0);
    });
    executor.spawn(1, Task(1), async {
        for i in 100..104 {
            machine.point().await;
            log.borrow_mut().push(i);
        }
    });
    // CPU 1 begins first, and without preemption it goes on to its end before the kworker runs.
    let verdict = executor.run(&mut slices(2, &[(1, 2), (0, 5)]));
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(*log.borrow(), [100, 101, 102, 103, 7, 0]);
}

/// When the kworker gets its CPU from a task that passes `points`, under each model.
fn preempted_after(preempt: Preempt) -> Vec<u32> {
    let (machine, log) = (Machine::default(), RefCell::new(vec![]));
    let mut executor = Executor::new(&machine, 1, preempt);
    executor.kworker(0, Task(9), machine.kworker(0, async |item| log.borrow_mut().push(item)));
    executor.spawn(0, Task(0), async {
        machine.queue_work_on(0, 7);
        machine.preempt_disable();
        machine.point().await;
        log.borrow_mut().push(1);
        machine.preempt_enable();
        machine.point().await;
        log.borrow_mut().push(2);
        machine.might_sleep().await;
        log.borrow_mut().push(3);
        machine.cond_resched().await;
        log.borrow_mut().push(4);
    });
    // CPU 0, and where it may: the first task that waits for it.
    let verdict = executor.run(&mut slices(1, &[(1, 1); 9]));
    assert_eq!(verdict, Verdict::Done);
    drop(executor);
    log.into_inner()
}

#[test]
fn the_preemption_model_says_where_a_task_loses_its_cpu() {
    assert_eq!(preempted_after(Preempt::Full), [1, 7, 2, 3, 4]);
    assert_eq!(preempted_after(Preempt::Voluntary), [1, 2, 7, 3, 4]);
    assert_eq!(preempted_after(Preempt::None), [1, 2, 3, 7, 4]);
}

#[test]
fn grace_periods_wait_for_readers_and_for_atomic_sections() {
    for sched in [false, true] {
        let mut overlapped = 0;
        walks(200, |walk| {
            let machine = Machine::default();
            let (inside, unlinked, freed) = (Cell::new(false), Cell::new(false), Cell::new(false));
            let mut executor = Executor::new(&machine, 2, Preempt::Full);
            executor.spawn(0, Task(0), async {
                machine.point().await;
                if sched {
                    machine.preempt_disable()
                } else {
                    machine.rcu_read_lock()
                }
                let found = !unlinked.get();
                inside.set(true);
                for _ in 0..4 {
                    machine.point().await;
                    assert!(!found || !freed.get(), "freed under a reader");
                }
                inside.set(false);
                if sched {
                    machine.preempt_enable()
                } else {
                    machine.rcu_read_unlock()
                }
                machine.point().await;
            });
            executor.spawn(1, Task(1), async {
                unlinked.set(true);
                overlapped += u32::from(inside.get());
                if sched {
                    machine.synchronize_sched().await;
                } else {
                    machine.synchronize_rcu().await;
                }
                freed.set(true);
            });
            assert_eq!(executor.run(walk), Verdict::Done);
        });
        assert!(overlapped > 5, "{overlapped}");
    }
}

/// Four tasks on two CPUs that use most primitives and log what they do.
fn busy<S: Strategy>(strategy: &mut S) -> (Verdict, Vec<(u8, u64)>, Vec<u8>, u64) {
    let (machine, log) = (Machine::default(), RefCell::new(vec![]));
    let (lock, bit, word) = (SpinLock::default(), BitLock::default(), Atomic::new(0));
    let mut executor = Executor::new(&machine, 2, Preempt::Full);
    executor.set_bounds(Bounds { soft: 60, ..Bounds::default() });
    executor.kworker(
        1,
        Task(9),
        machine.kworker(1, async |item| log.borrow_mut().push((9, item.into()))),
    );
    for task in 0..4 {
        let (machine, log, lock, bit, word) = (&machine, &log, &lock, &bit, &word);
        executor.spawn(task % 2, Task(task), async move {
            for _ in 0..3 {
                bit.lock(machine, Task(task), "bit").await;
                lock.lock(machine, Task(task), "lock").await;
                let value = word.fetch_add(machine, 1).await;
                log.borrow_mut().push((task, value));
                lock.unlock(machine, Task(task), "lock");
                bit.unlock(machine, Task(task), "bit");
                machine.queue_work_on(1, task.into());
            }
            machine.smp_call(3, |cpu| log.borrow_mut().push((100, cpu.into()))).await;
        });
    }
    let verdict = executor.run(strategy);
    let (decisions, points) = (executor.decisions().to_vec(), executor.points());
    drop(executor);
    (verdict, log.into_inner(), decisions, points)
}

#[test]
fn a_replay_is_exact_from_the_record_and_from_its_slices() {
    let mut different = std::collections::BTreeSet::new();
    walks(300, |walk| {
        let first = busy(walk);
        assert_eq!(first.0, Verdict::Done);
        let mut replay = Replay::new(&first.2);
        assert_eq!(busy(&mut replay), first);
        assert!(replay.fitted());
        let slices = slices_of(&first.2, 2).expect("few tasks");
        let again = busy(&mut Slices::new(2, slices, Vec::new()));
        assert_eq!((&again.0, &again.1, again.3), (&first.0, &first.1, first.3));
        different.insert(first.2);
    });
    assert!(different.len() > 290, "the walks differ");
}

#[test]
fn what_observing_strategies_decide_replays_too() {
    let mut pos = Pos::new(3);
    for _ in 0..300 {
        assert!(pos.new_execution());
        let first = busy(&mut pos);
        assert_eq!(first.0, Verdict::Done);
        let mut replay = Replay::new(&first.2);
        assert_eq!(busy(&mut replay), first);
        assert!(replay.fitted());
        let slices = slices_of(&first.2, 2).expect("few tasks");
        let again = busy(&mut Slices::new(2, slices, Vec::new()));
        assert_eq!((&again.0, &again.1, again.3), (&first.0, &first.1, first.3));
    }
}

#[test]
fn an_empty_schedule_does_not_preempt_and_a_loop_goes_on() {
    let order = |slices: &[(u8, u8)], cycle: &[(u8, u8)]| {
        let (machine, log) = (Machine::default(), RefCell::new(String::new()));
        let mut executor = Executor::new(&machine, 2, Preempt::None);
        for cpu in 0..2 {
            let (machine, log) = (&machine, &log);
            executor.spawn(cpu, Task(cpu), async move {
                for _ in 0..4 {
                    machine.point().await;
                    log.borrow_mut().push(char::from(b'0' + cpu));
                }
            });
        }
        let list = |list: &[(u8, u8)]| list.iter().map(|&(cpu, run)| Slice { cpu, run }).collect();
        assert_eq!(executor.run(&mut Slices::new(2, list(slices), list(cycle))), Verdict::Done);
        drop(executor);
        log.into_inner()
    };
    assert_eq!(order(&[], &[]), "00001111");
    assert_eq!(order(&[(1, 3)], &[]), "11110000", "the one that runs goes on");
    assert_eq!(order(&[], &[(0, 1), (1, 1)]), "01010101");
    assert_eq!(order(&[(0, 2)], &[(1, 2), (0, 1)]), "01011010");
}

#[test]
fn what_was_held_is_told_with_the_time() {
    let (machine, sem, locks) =
        (Machine::default(), RwSem::default(), [(); 2].map(|()| SpinLock::default()));
    let mut executor = Executor::new(&machine, 1, Preempt::None);
    executor.spawn(0, Task(5), async {
        sem.read(&machine, "sem").await;
        machine.set_time(1);
        for lock in &locks {
            lock.lock(&machine, Task(5), "lock").await;
        }
        machine.set_time(3);
        locks[1].unlock(&machine, Task(5), "lock");
        machine.set_time(4);
        locks[0].unlock(&machine, Task(5), "lock");
    });
    executor.run(&mut slices(1, &[]));
    let spin = |which, until| Holding {
        label: 0,
        lock: "lock",
        which,
        cpu: 0,
        shared: false,
        from: 1,
        until: Some(until),
    };
    let read =
        Holding { lock: "sem", which: 0, label: 0, cpu: 0, shared: true, from: 0, until: None };
    assert_eq!(machine.holdings(), [read, spin(0, 4), spin(1, 3)]);
}
