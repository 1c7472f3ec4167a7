//! The quality of the strategies, on small programs, with a baseline that must fail.

mod micro;

use std::cell::RefCell;
use std::collections::BTreeSet;

use machine::{
    Atomic, Executor, Exhaustive, Machine, Pct, Pos, Preempt, RandomWalk, ReadsFrom, RoundRobin,
    Strategy, Task, Verdict,
};
use micro::Model;

fn median(mut counts: Vec<u32>) -> u32 {
    counts.sort_unstable();
    counts[counts.len() / 2]
}

/// The median of the executions that a strategy needs, over 21 seeds.
fn needs<S: Strategy>(model: Model, most: u32, strategy: impl Fn(u64) -> S) -> u32 {
    let first = |seed| model.first_bug(&mut strategy(seed), most).unwrap_or(u32::MAX);
    median((0..21).map(first).collect())
}

#[test]
fn reads_from_finds_reorder_of_any_width() {
    for n in [3, 4, 5, 10, 20, 50, 100] {
        let median = needs(Model::Reorder(n), 200, ReadsFrom::new);
        assert!(median <= 20, "reorder_{n}: {median}");
    }
}

#[test]
fn a_random_walk_does_not_find_what_reads_from_does() {
    let model = Model::Reorder(20);
    assert_eq!(model.first_bug(&mut RandomWalk::new(1), 5000), None);
    assert!(model.first_bug(&mut ReadsFrom::new(1), 200).is_some());
}

#[test]
fn every_strategy_finds_the_small_bugs() {
    let small = [
        Model::Reorder(3),
        Model::TwoStage(3),
        Model::WrongLock(8),
        Model::Account,
        Model::Bluetooth,
        Model::StringBuffer,
        Model::Deadlock01,
        Model::WorkSteal,
    ];
    for model in small {
        let medians = [
            needs(model, 10_000, RandomWalk::new),
            needs(model, 10_000, |seed| Pct::new(seed, 3)),
            needs(model, 10_000, Pos::new),
            needs(model, 10_000, ReadsFrom::new),
        ];
        assert!(medians.iter().all(|&median| median <= 1000), "{}: {medians:?}", model.name());
    }
}

#[test]
fn pct_keeps_its_promise() {
    // (model, CPUs, depth of the bug)
    let cases = [
        (Model::Deadlock01, 2, 2),
        (Model::Bluetooth, 2, 2),
        (Model::Account, 2, 2),
        (Model::StringBuffer, 2, 3),
    ];
    for (model, cpus, depth) in cases {
        let mut walk = RandomWalk::new(1);
        let steps = (0..200).map(|_| model.run(&mut walk).1).max().unwrap_or(1);
        let mut pct = Pct::with_steps(9, depth, steps);
        let runs = 20_000;
        let hits = (0..runs).filter(|_| pct.new_execution() && model.run(&mut pct).0).count();
        let bound = 1.0 / (f64::from(cpus) * (steps as f64).powi(depth as i32 - 1));
        let rate = hits as f64 / f64::from(runs);
        assert!(rate >= bound, "{}: {rate} below {bound}", model.name());
        assert!(hits < runs as usize, "found by every schedule: says nothing");
    }
}

#[test]
fn pct_of_depth_one_never_preempts() {
    let mut pct = Pct::new(4, 1);
    for _ in 0..200 {
        pct.new_execution();
        let machine = Machine::default();
        let log = RefCell::new(Vec::new());
        let mut executor = Executor::new(&machine, 3, Preempt::None);
        for cpu in 0..3 {
            let (machine, log) = (&machine, &log);
            executor.spawn(cpu, Task(cpu), async move {
                for _ in 0..5 {
                    machine.point().await;
                    log.borrow_mut().push(cpu);
                }
            });
        }
        assert_eq!(executor.run(&mut pct), Verdict::Done);
        assert_eq!(log.borrow().chunk_by(|a, b| a == b).count(), 3);
    }
}

#[test]
fn round_robin_alternates() {
    let (machine, log) = (Machine::default(), RefCell::new(Vec::new()));
    let mut executor = Executor::new(&machine, 3, Preempt::None);
    for cpu in 0..3 {
        let (machine, log) = (&machine, &log);
        executor.spawn(cpu, Task(cpu), async move {
            for _ in 0..3 {
                machine.point().await;
                log.borrow_mut().push(cpu);
            }
        });
    }
    let mut strategy = RoundRobin::new();
    assert!(strategy.new_execution());
    assert_eq!(executor.run(&mut strategy), Verdict::Done);
    assert!(!strategy.new_execution(), "one execution is all it has");
    assert_eq!(*log.borrow(), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

/// All schedules of so many tasks with so many points each; the orders seen.
fn explore(tasks: u8, points: u32, bound: u32) -> (u64, usize) {
    let mut exhaustive = Exhaustive::new(bound);
    let mut orders = BTreeSet::new();
    while exhaustive.new_execution() {
        let (machine, log) = (Machine::default(), RefCell::new(Vec::new()));
        let mut executor = Executor::new(&machine, tasks, Preempt::None);
        for cpu in 0..tasks {
            let (machine, log) = (&machine, &log);
            executor.spawn(cpu, Task(cpu), async move {
                log.borrow_mut().push(cpu);
                for _ in 0..points {
                    machine.point().await;
                    log.borrow_mut().push(cpu);
                }
            });
        }
        assert_eq!(executor.run(&mut exhaustive), Verdict::Done);
        drop(executor);
        orders.insert(log.into_inner());
    }
    (exhaustive.schedules(), orders.len())
}

#[test]
fn exhaustive_counts_the_multinomial() {
    assert_eq!(explore(2, 3, u32::MAX), (70, 70), "8! / (4! 4!)");
    assert_eq!(explore(3, 1, u32::MAX), (90, 90), "6! / (2! 2! 2!)");
    assert_eq!(explore(3, 2, u32::MAX), (1680, 1680), "9! / (3! 3! 3!)");
    assert_eq!(explore(3, 2, 0), (6, 6), "who comes first, second, third");
    // One preemption of two tasks of 4 moves: either first, cut at one of 3 places, or not cut.
    assert_eq!(explore(2, 3, 1), (8, 8));
}

/// The word gets to 4 only if the tasks take turns three times before the first one ends.
fn three_preemptions(bound: u32) -> (bool, u64) {
    let mut exhaustive = Exhaustive::new(bound);
    let mut found = false;
    while exhaustive.new_execution() {
        let (machine, word) = (Machine::default(), Atomic::new(0));
        let mut executor = Executor::new(&machine, 2, Preempt::None);
        executor.spawn(0, Task(0), async {
            word.compare_exchange(&machine, 0, 1).await;
            word.compare_exchange(&machine, 2, 3).await;
            machine.point().await;
            word.compare_exchange(&machine, 3, 9).await;
        });
        executor.spawn(1, Task(1), async {
            word.compare_exchange(&machine, 1, 2).await;
            word.compare_exchange(&machine, 3, 4).await;
        });
        assert_eq!(executor.run(&mut exhaustive), Verdict::Done);
        found |= word.get() == 4;
    }
    (found, exhaustive.schedules())
}

#[test]
fn exhaustive_finds_a_bug_of_three_preemptions_within_three_and_not_within_two() {
    let (two, three) = (three_preemptions(2), three_preemptions(3));
    assert!(!two.0 && three.0, "{two:?} {three:?}");
    assert!(two.1 < three.1);
}

#[test]
fn exhaustive_covers_the_choice_among_tasks_of_one_cpu() {
    let mut exhaustive = Exhaustive::new(u32::MAX);
    let mut orders = BTreeSet::new();
    while exhaustive.new_execution() {
        let (machine, log) = (Machine::default(), RefCell::new(Vec::new()));
        let mut executor = Executor::new(&machine, 1, Preempt::Full);
        for task in 0..2 {
            let (machine, log) = (&machine, &log);
            executor.spawn(0, Task(task), async move {
                log.borrow_mut().push(task);
                machine.point().await;
                log.borrow_mut().push(task);
            });
        }
        assert_eq!(executor.run(&mut exhaustive), Verdict::Done);
        drop(executor);
        orders.insert(log.into_inner());
    }
    assert_eq!(orders.len(), 6, "4! / (2! 2!)");
}
