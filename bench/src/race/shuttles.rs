//! Under shuttle.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, Ordering};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::atomic::{AtomicU64, Ordering::SeqCst};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::{Config, FailurePersistence, Runner, thread};

use super::{AROUND, Race};

/// Executions until the defect shows under its random scheduler, at most `most`.
pub fn random(race: Race, planted: bool, seed: u64, most: u32) -> Option<u32> {
    first(race, planted, RandomScheduler::new_from_seed(seed, most as usize))
}

/// The same under its PCT scheduler, with bugs of this depth in mind.
pub fn pct(race: Race, planted: bool, seed: u64, depth: usize, most: u32) -> Option<u32> {
    first(race, planted, PctScheduler::new_from_seed(seed, depth, most as usize))
}

fn first(race: Race, planted: bool, scheduler: impl Scheduler + 'static) -> Option<u32> {
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let executions = std::sync::Arc::new(AtomicU32::new(0));
    let count = std::sync::Arc::clone(&executions);
    let model = move || {
        count.fetch_add(1, Ordering::Relaxed);
        match race {
            Race::Recheck => recheck(planted),
            Race::Sequence => sequence(planted),
            Race::Wakeup => wakeup(planted),
        }
    };
    // A bug is a panic, a deadlock too.
    let usual = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let run = AssertUnwindSafe(|| Runner::new(scheduler, config).run(model));
    let result = panic::catch_unwind(run);
    panic::set_hook(usual);
    result.is_err().then(|| executions.load(Ordering::Relaxed))
}

fn around() {
    let own = AtomicU64::new(0);
    for _ in 0..AROUND {
        own.fetch_add(1, SeqCst);
    }
}

const FREE: u64 = 0;
const MM: u64 = 1;
const OTHER: u64 = 2;

#[derive(Default)]
struct Page {
    pte: AtomicU64,
    refs: AtomicU64,
    owner: AtomicU64,
}

impl Page {
    fn put(&self) {
        if self.refs.fetch_sub(1, SeqCst) == 1 {
            self.owner.store(FREE, SeqCst);
        }
    }
}

fn recheck(planted: bool) {
    let [pte, refs, owner] = [1, 1, MM].map(AtomicU64::new);
    let page = Arc::new(Page { pte, refs, owner });
    let walker = Arc::clone(&page);
    let walker = thread::spawn(move || {
        around();
        let entry = walker.pte.load(SeqCst);
        let count = walker.refs.load(SeqCst);
        if entry == 0 || count == 0 {
            return;
        }
        if walker.refs.compare_exchange(count, count + 1, SeqCst, SeqCst).is_err() {
            return;
        }
        if !planted && walker.pte.load(SeqCst) != entry {
            return walker.put();
        }
        assert_eq!(walker.owner.load(SeqCst), MM);
    });
    let zap = Arc::clone(&page);
    let zap = thread::spawn(move || {
        around();
        zap.pte.store(0, SeqCst);
        zap.put();
    });
    let other = thread::spawn(move || {
        around();
        if page.owner.load(SeqCst) == FREE {
            page.owner.store(OTHER, SeqCst);
            page.refs.store(1, SeqCst);
        }
    });
    for task in [walker, zap, other] {
        task.join().expect("no panic");
    }
}

#[derive(Default)]
struct Forked {
    seq: AtomicU64,
    writable: AtomicU64,
    pins: AtomicU64,
    shared: AtomicU64,
}

fn sequence(planted: bool) {
    let mm = Arc::new(Forked { writable: AtomicU64::new(1), ..Forked::default() });
    let fork = Arc::clone(&mm);
    let fork = thread::spawn(move || {
        around();
        if !planted {
            fork.seq.fetch_add(1, SeqCst);
        }
        if fork.pins.load(SeqCst) == 0 {
            fork.writable.store(0, SeqCst);
            fork.shared.store(1, SeqCst);
        }
        if !planted {
            fork.seq.fetch_add(1, SeqCst);
        }
    });
    let pin = Arc::clone(&mm);
    let pin = thread::spawn(move || {
        around();
        let before = pin.seq.load(SeqCst);
        if before & 1 != 0 || pin.writable.load(SeqCst) == 0 {
            return;
        }
        pin.pins.fetch_add(1, SeqCst);
        if pin.writable.load(SeqCst) == 0 || pin.seq.load(SeqCst) != before {
            pin.pins.fetch_sub(1, SeqCst);
        }
    });
    for task in [fork, pin] {
        task.join().expect("no panic");
    }
    assert!(mm.shared.load(SeqCst) == 0 || mm.pins.load(SeqCst) == 0);
}

#[derive(Default)]
struct Lock {
    locked: AtomicU64,
    queue: Mutex<()>,
    woken: Condvar,
}

fn wakeup(planted: bool) {
    let lock = Arc::new(Lock::default());
    let owner = Arc::clone(&lock);
    let owner = thread::spawn(move || {
        owner.locked.store(1, SeqCst);
        around();
        owner.locked.store(0, SeqCst);
        let _queue = owner.queue.lock().expect("not poisoned");
        owner.woken.notify_all();
    });
    let waiter = thread::spawn(move || {
        around();
        if lock.locked.load(SeqCst) == 0 {
            return;
        }
        let queue = lock.queue.lock().expect("not poisoned");
        if planted || lock.locked.load(SeqCst) != 0 {
            drop(lock.woken.wait(queue));
        }
    });
    for task in [owner, waiter] {
        task.join().expect("no panic");
    }
}
