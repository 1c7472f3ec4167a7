//! Five loops of correct kernels that look like livelocks and are none: they must stay silent.

use std::hash::{DefaultHasher, Hash, Hasher};

use machine::{
    Atomic, BitLock, Bounds, Executor, Machine, Preempt, RandomWalk, SeqCount, Slices, SpinLock,
    Task, Verdict,
};

const SHORT: Bounds = Bounds { turn: 16, soft: 400, hard: 200_000 };

fn hash(words: &[u64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

/// Runs a legal loop under many schedules: it must always end.
fn silent(run: impl Fn(&mut RandomWalk) -> Verdict) {
    let mut walk = RandomWalk::new(5);
    for _ in 0..50 {
        assert_eq!(run(&mut walk), Verdict::Done);
    }
}

#[test]
fn legal_a_bounded_trylock_that_gives_up() {
    silent(|walk| {
        let (machine, lock) = (Machine::default(), SpinLock::default());
        let state = || u64::from(lock.owner().is_some());
        let mut executor = Executor::new(&machine, 2, Preempt::None);
        executor.set_bounds(SHORT);
        executor.set_state(&state);
        executor.spawn(0, Task(0), async {
            lock.lock(&machine, Task(0), "lock").await;
            for _ in 0..900 {
                machine.point().await;
            }
            lock.unlock(&machine, Task(0), "lock");
        });
        executor.spawn(1, Task(1), async {
            for tries in 0..600 {
                machine.lap(&tries);
                if lock.try_lock(&machine, Task(1), "lock").await {
                    return lock.unlock(&machine, Task(1), "lock");
                }
            }
        });
        executor.run(walk)
    });
}

/// A holder that needs `slow` points, far beyond the soft bound, and a loop that tries for ever.
fn slow_holder(slow: u64, try_bit: bool, walk: &mut RandomWalk) -> Verdict {
    let (machine, lock, bit) = (Machine::default(), SpinLock::default(), BitLock::default());
    let progress = Atomic::new(0);
    let state =
        || hash(&[progress.get(), lock.owner().is_some().into(), bit.owner().is_some().into()]);
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.set_bounds(SHORT);
    executor.set_state(&state);
    executor.spawn(0, Task(0), async {
        if try_bit {
            bit.lock(&machine, Task(0), "bit").await;
        } else {
            lock.lock(&machine, Task(0), "lock").await;
        }
        while progress.fetch_add(&machine, 1).await < slow {}
        if try_bit {
            bit.unlock(&machine, Task(0), "bit");
        } else {
            lock.unlock(&machine, Task(0), "lock");
        }
    });
    executor.spawn(1, Task(1), async {
        loop {
            machine.lap(&());
            let free = if try_bit {
                bit.try_acquire(&machine, Task(1)).await
            } else {
                lock.try_lock(&machine, Task(1), "lock").await
            };
            if free {
                break;
            }
            machine.cpu_relax().await;
        }
        if try_bit {
            bit.unlock(&machine, Task(1), "bit");
        } else {
            lock.unlock(&machine, Task(1), "lock");
        }
    });
    executor.run(walk)
}

#[test]
fn legal_an_unbounded_trylock_while_the_holder_makes_progress() {
    silent(|walk| slow_holder(3000, false, walk));
}

#[test]
fn legal_a_retry_while_another_holds_the_bit_lock() {
    silent(|walk| slow_holder(3000, true, walk));
}

#[test]
fn a_retry_while_the_program_keeps_the_bit_lock_is_pending() {
    let (machine, bit) = (Machine::default(), BitLock::default());
    assert!(bit.try_lock(&machine, Task(7)));
    let state = || 0;
    let mut executor = Executor::new(&machine, 1, Preempt::None);
    executor.set_bounds(SHORT);
    executor.set_state(&state);
    executor.spawn(0, Task(0), async {
        while !bit.try_acquire(&machine, Task(0)).await {
            machine.lap(&());
            machine.cond_resched().await;
        }
    });
    assert_eq!(executor.run(&mut Slices::default()), Verdict::Pending(vec![Task(0)]));
}

#[test]
fn legal_bounded_retries_of_a_pass() {
    // A migration's passes: each tries the bit lock, the last one sleeps for it.
    silent(|walk| {
        let (machine, bit) = (Machine::default(), BitLock::default());
        let state = || bit.owner().map_or(0, |owner| u64::from(owner.0) + 1);
        let mut executor = Executor::new(&machine, 3, Preempt::None);
        executor.set_bounds(Bounds { soft: 20, ..SHORT });
        executor.set_state(&state);
        for cpu in 0..3 {
            let (machine, bit) = (&machine, &bit);
            executor.spawn(cpu, Task(cpu), async move {
                for _ in 0..5 {
                    let mut pass = 0;
                    while pass < 10 && !bit.try_acquire(machine, Task(cpu)).await {
                        pass += 1;
                        machine.lap(&pass);
                    }
                    if pass == 10 {
                        bit.lock(machine, Task(cpu), "bit").await;
                    }
                    machine.point().await;
                    bit.unlock(machine, Task(cpu), "bit");
                }
            });
        }
        executor.run(walk)
    });
}

#[test]
fn legal_retries_while_a_sequence_moves() {
    // Readers that start over when an invalidation came in between, as hmm_range_fault does on
    // -EBUSY; the invalidations end some time after the soft bound.
    silent(|walk| {
        let (machine, sequence, left) =
            (Machine::default(), SeqCount::default(), Atomic::new(2000));
        let state = || hash(&[u64::from(sequence.read() & 1), left.get()]);
        let mut executor = Executor::new(&machine, 2, Preempt::None);
        executor.set_bounds(SHORT);
        executor.set_state(&state);
        executor.spawn(0, Task(0), async {
            while left.fetch_add(&machine, u64::MAX).await > 1 {
                sequence.write(&machine).await;
                sequence.write(&machine).await;
            }
        });
        executor.spawn(1, Task(1), async {
            loop {
                machine.lap(&());
                let before = sequence.begin(&machine).await;
                for _ in 0..20 {
                    machine.point().await;
                }
                if before & 1 == 0 && !sequence.retry(&machine, before).await {
                    return;
                }
            }
        });
        executor.run(walk)
    });
}
