//! On the simulated machine.

use std::cell::Cell;

use machine::{Atomic, BitLock, Executor, Machine, Preempt, SeqCount, Strategy, Task, Verdict};

use super::{AROUND, Race};

/// Executions until the defect shows, at most `most`.
pub fn first(race: Race, planted: bool, strategy: &mut impl Strategy, most: u32) -> Option<u32> {
    (1..=most).find(|_| {
        strategy.new_execution()
            && match race {
                Race::Recheck => recheck(planted, strategy),
                Race::Sequence => sequence(planted, strategy),
                Race::Wakeup => wakeup(planted, strategy),
            }
    })
}

async fn around(machine: &Machine) {
    let own = Atomic::new(0);
    for _ in 0..AROUND {
        own.fetch_add(machine, 1).await;
    }
}

/// Who has the page.
const FREE: u64 = 0;
const MM: u64 = 1;
const OTHER: u64 = 2;

fn recheck(planted: bool, strategy: &mut impl Strategy) -> bool {
    let (machine, bug) = (Machine::default(), Cell::new(false));
    let (pte, refs, owner) = (Atomic::new(1), Atomic::new(1), Atomic::new(MM));
    let put = async || {
        if refs.fetch_add(&machine, u64::MAX).await == 1 {
            owner.store(&machine, FREE).await;
        }
    };
    let mut executor = Executor::new(&machine, 3, Preempt::None);
    executor.spawn(0, Task(0), async {
        around(&machine).await;
        let entry = pte.load(&machine).await;
        let count = refs.load(&machine).await;
        if entry == 0 || count == 0 {
            return;
        }
        if refs.compare_exchange(&machine, count, count + 1).await != count {
            return;
        }
        if !planted && pte.load(&machine).await != entry {
            return put().await;
        }
        bug.set(owner.load(&machine).await != MM);
    });
    executor.spawn(1, Task(1), async {
        around(&machine).await;
        pte.store(&machine, 0).await;
        put().await;
    });
    executor.spawn(2, Task(2), async {
        around(&machine).await;
        if owner.load(&machine).await == FREE {
            owner.store(&machine, OTHER).await;
            refs.store(&machine, 1).await;
        }
    });
    let verdict = executor.run(strategy);
    assert_eq!(verdict, Verdict::Done);
    bug.get()
}

fn sequence(planted: bool, strategy: &mut impl Strategy) -> bool {
    let (machine, seq) = (Machine::default(), SeqCount::default());
    let (writable, pins, shared) = (Atomic::new(1), Atomic::new(0), Cell::new(false));
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.spawn(0, Task(0), async {
        around(&machine).await;
        if !planted {
            seq.write(&machine).await;
        }
        if pins.load(&machine).await == 0 {
            writable.store(&machine, 0).await;
            shared.set(true);
        }
        if !planted {
            seq.write(&machine).await;
        }
    });
    executor.spawn(1, Task(1), async {
        around(&machine).await;
        let before = seq.begin(&machine).await;
        if before & 1 != 0 || writable.load(&machine).await == 0 {
            return;
        }
        pins.fetch_add(&machine, 1).await;
        if writable.load(&machine).await == 0 || seq.retry(&machine, before).await {
            pins.fetch_add(&machine, u64::MAX).await;
        }
    });
    let verdict = executor.run(strategy);
    assert_eq!(verdict, Verdict::Done);
    shared.get() && pins.get() > 0
}

fn wakeup(planted: bool, strategy: &mut impl Strategy) -> bool {
    let (machine, lock) = (Machine::default(), BitLock::default());
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.spawn(0, Task(0), async {
        lock.lock(&machine, Task(0), "PG_locked").await;
        around(&machine).await;
        lock.release(&machine, Task(0), "PG_locked").await;
    });
    executor.spawn(1, Task(1), async {
        around(&machine).await;
        machine.point().await;
        if lock.owner().is_none() {
            return;
        }
        machine.point().await;
        if planted {
            lock.wait_unseen(&machine, "PG_locked").await;
        } else {
            lock.wait(&machine, "PG_locked").await;
        }
    });
    let verdict = executor.run(strategy);
    assert!(matches!(verdict, Verdict::Done | Verdict::Deadlock(_)), "{verdict:?}");
    verdict != Verdict::Done
}
