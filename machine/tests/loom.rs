//! The same small programs here, explored exhaustively, and under loom: the same final states.
//!
//! Loom knows weak memory, this machine is sequentially consistent. So every access is a
//! read-modify-write, which loom too lets see the last value, or happens under a lock.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use machine::{
    Atomic, Executor, Exhaustive, Machine, Preempt, SpinLock, Strategy, Task, Traces, Verdict,
};

/// A step of a task; the result of the last read is kept.
#[derive(Clone, Copy, Debug)]
enum Do {
    Lock(usize),
    Unlock(usize),
    Read(usize),
    /// Writes what was read last plus this.
    Write(usize, u64),
    Add(usize, u64),
    /// Replaces the first number by the second; what was there counts as read.
    Swap(usize, u64, u64),
}
use Do::{Add, Lock, Read, Swap, Unlock, Write};

type Tasks = &'static [&'static [Do]];

/// The three words, then what each task read last.
type Final = Vec<u64>;

const WORDS: usize = 3;
const LOCKS: usize = 2;

/// The balance is read under the lock and written under the lock, but not under the same.
const ACCOUNT: Tasks = &[
    &[Lock(0), Read(0), Unlock(0), Lock(0), Write(0, 100), Unlock(0)],
    &[Lock(0), Read(0), Unlock(0), Lock(0), Write(0, 10), Unlock(0)],
];

/// Three tasks count without a lock, one of them atomically.
const COUNTER: Tasks = &[&[Read(0), Write(0, 1)], &[Read(0), Write(0, 10)], &[Add(0, 100)]];

/// A word is handed round by compare-and-swap; who comes late goes without.
const HANDS: Tasks = &[
    &[Swap(0, 0, 1), Add(1, 1), Swap(0, 2, 3)],
    &[Swap(0, 1, 2), Lock(1), Add(2, 1), Unlock(1), Swap(0, 3, 4)],
    &[Swap(0, 0, 5)],
];

fn here(tasks: Tasks) -> (BTreeSet<Final>, u64, u64) {
    let mut strategy = Traces::new(Exhaustive::new(u32::MAX));
    let mut states = BTreeSet::new();
    while strategy.new_execution() {
        let machine = Machine::default();
        let words: [Atomic; WORDS] = Default::default();
        let locks: [SpinLock; LOCKS] = Default::default();
        let results: Vec<Atomic> = tasks.iter().map(|_| Atomic::new(0)).collect();
        let mut executor = Executor::new(&machine, tasks.len() as u8, Preempt::None);
        for (cpu, steps) in (0..).zip(tasks) {
            let (machine, words, locks) = (&machine, &words, &locks);
            let result = &results[usize::from(cpu)];
            executor.spawn(cpu, Task(cpu), async move {
                let mut read = 0;
                for &step in *steps {
                    match step {
                        Lock(lock) => locks[lock].lock(machine, Task(cpu), "lock").await,
                        Unlock(lock) => locks[lock].unlock(machine, Task(cpu), "lock"),
                        Read(word) => read = words[word].load(machine).await,
                        Write(word, plus) => words[word].store(machine, read + plus).await,
                        Add(word, by) => {
                            words[word].fetch_add(machine, by).await;
                        }
                        Swap(word, old, new) => {
                            read = words[word].compare_exchange(machine, old, new).await;
                        }
                    }
                }
                result.set(read);
            });
        }
        assert_eq!(executor.run(&mut strategy), Verdict::Done);
        drop(executor);
        states.insert(words.iter().chain(&results).map(Atomic::get).collect());
    }
    (states, strategy.inner().schedules(), strategy.redundant())
}

fn under_loom(tasks: Tasks) -> BTreeSet<Final> {
    use loom::sync::atomic::{AtomicU64, Ordering::SeqCst};
    let states = Arc::new(Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&states);
    loom::model(move || {
        let words: Arc<Vec<AtomicU64>> = Arc::new((0..WORDS).map(|_| AtomicU64::new(0)).collect());
        let locks: Arc<Vec<_>> = Arc::new((0..LOCKS).map(|_| loom::sync::Mutex::new(())).collect());
        let run = |steps: &'static [Do]| {
            let (words, locks) = (Arc::clone(&words), Arc::clone(&locks));
            loom::thread::spawn(move || {
                let (mut read, mut guard) = (0, None);
                for &step in steps {
                    match step {
                        Lock(lock) => guard = locks[lock].lock().ok(),
                        Unlock(_) => guard = None,
                        Read(word) => read = words[word].fetch_add(0, SeqCst),
                        Write(word, plus) => {
                            words[word].swap(read + plus, SeqCst);
                        }
                        Add(word, by) => {
                            words[word].fetch_add(by, SeqCst);
                        }
                        Swap(word, old, new) => {
                            let was = words[word].compare_exchange(old, new, SeqCst, SeqCst);
                            read = was.unwrap_or_else(|was| was);
                        }
                    }
                }
                drop(guard);
                read
            })
        };
        let threads: Vec<_> = tasks.iter().copied().map(run).collect();
        let results: Vec<u64> = threads.into_iter().map(|t| t.join().expect("it ends")).collect();
        let words = words.iter().map(|word| word.fetch_add(0, SeqCst));
        let state: Final = words.chain(results).collect();
        all.lock().expect("nobody panics").insert(state);
    });
    let states = states.lock().expect("nobody panics");
    states.clone()
}

#[test]
fn the_final_states_are_those_that_loom_reaches() {
    for (name, tasks) in [("account", ACCOUNT), ("counter", COUNTER), ("hands", HANDS)] {
        let (states, schedules, redundant) = here(tasks);
        assert_eq!(states, under_loom(tasks), "{name}");
        assert!(states.len() > 1, "{name}: one final state says nothing");
        assert!(schedules > redundant, "{name}");
    }
}

/// A lost update, seen because the lock is left between read and write.
#[test]
fn the_lost_update_is_among_them() {
    let (states, ..) = here(ACCOUNT);
    assert!(states.iter().any(|state| state[0] == 10) && states.iter().any(|s| s[0] == 110));
}

/// Tasks that never touch the same word have one trace; every other schedule is redundant.
#[test]
fn schedules_of_independent_tasks_are_redundant() {
    let (states, schedules, redundant) = here(&[&[Add(0, 1), Add(0, 1)], &[Add(1, 1), Add(1, 1)]]);
    assert_eq!(states.len(), 1);
    assert_eq!((schedules, redundant), (20, 19), "6! / (3! 3!)");
}
