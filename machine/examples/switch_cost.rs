//! What a switch costs, beside shuttle's random scheduler, in the same process.
//!
//! Prints nanoseconds a bare switch (the slope between short and long tasks) and executions a
//! second of 3 tasks of 10 points. With an argument (`ours`) it runs our executions only, for a
//! count of instructions under callgrind.

use std::time::Instant;

use machine::{Executor, Machine, Preempt, RandomWalk, Slice, Slices, Strategy, Task, Verdict};

const TASKS: u8 = 3;
const ROUNDS: u32 = 5;

/// One execution of tasks with so many points each.
fn ours<'w, S: Strategy>(
    machine: &'w Machine,
    executor: &mut Executor<'w>,
    points: u32,
    strategy: &mut S,
) {
    for cpu in 0..TASKS {
        executor.spawn(cpu, Task(cpu), async move {
            for _ in 0..points {
                machine.point().await;
            }
        });
    }
    assert_eq!(executor.run(strategy), Verdict::Done);
}

/// Nanoseconds an execution.
fn time_ours<S: Strategy>(points: u32, runs: u32, mut strategy: impl FnMut() -> S) -> f64 {
    let machine = Machine::default();
    let mut executor = Executor::new(&machine, TASKS, Preempt::None);
    let start = Instant::now();
    let mut strategy_of_all = strategy();
    for _ in 0..runs {
        if !strategy_of_all.new_execution() {
            strategy_of_all = strategy();
        }
        ours(&machine, &mut executor, points, &mut strategy_of_all);
    }
    start.elapsed().as_nanos() as f64 / f64::from(runs)
}

fn time_shuttle(points: u32, runs: u32) -> f64 {
    let scheduler = shuttle::scheduler::RandomScheduler::new_from_seed(1, runs as usize);
    let runner = shuttle::Runner::new(scheduler, shuttle::Config::new());
    let start = Instant::now();
    runner.run(move || {
        let body = move || {
            for _ in 0..points {
                shuttle::thread::yield_now();
            }
        };
        let tasks: Vec<_> = (1..TASKS).map(|_| shuttle::thread::spawn(body)).collect();
        body();
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
    start.elapsed().as_nanos() as f64 / f64::from(runs)
}

/// Slices that alternate, 1 to 3 points each; long enough for `points`.
fn tape() -> Slices {
    let slice = |i: u8| Slice { cpu: i % TASKS, run: 1 + i % 3 };
    Slices::new(TASKS, Vec::new(), (0..32).map(slice).collect())
}

fn best(mut time: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| time()).fold(f64::INFINITY, f64::min)
}

fn report(name: &str, short: f64, long: f64) {
    let slope = (long - short) / (f64::from(TASKS) * 990.0);
    println!("| {name} | {short:.0} | {:.0} | {slope:.1} |", 1e9 / short);
}

fn main() {
    if std::env::args().nth(1).is_some() {
        println!("{}", time_ours(10, 10_000, || RandomWalk::new(1)));
        return;
    }
    println!("| | ns an execution of 3 x 10 | executions/s | ns a switch |");
    println!("|---|---|---|---|");
    let walk = || RandomWalk::new(1);
    report(
        "machine, random walk",
        best(|| time_ours(10, 200_000, walk)),
        best(|| time_ours(1000, 2000, walk)),
    );
    report(
        "machine, slices",
        best(|| time_ours(10, 200_000, tape)),
        best(|| time_ours(1000, 2000, tape)),
    );
    report(
        "shuttle 0.9, random",
        best(|| time_shuttle(10, 10_000)),
        best(|| time_shuttle(1000, 200)),
    );
}
