//! The rules of conduct, and the fuel of an operation alone.

use machine::{
    BitLock, Conduct, Executor, Machine, Preempt, RoundRobin, RwSem, SpinLock, Task, Verdict,
};

fn conduct_of(task: impl AsyncFnOnce(&Machine)) -> Verdict {
    let machine = Machine::default();
    let mut executor = Executor::new(&machine, 2, Preempt::None);
    executor.spawn(0, Task(0), async { task(&machine).await });
    executor.spawn(1, Task(1), async { machine.point().await });
    executor.run(&mut RoundRobin::new())
}

#[test]
fn each_rule_of_conduct_is_checked() {
    let (spin, sem, bit) = (SpinLock::default(), RwSem::default(), BitLock::default());
    let check = |verdict: Verdict, expected: Conduct| {
        assert_eq!(verdict, Verdict::Conduct(expected, Task(0)));
    };
    check(conduct_of(async |m| spin.unlock(m, Task(0), "spin")), Conduct::UnlockByNonOwner("spin"));
    check(conduct_of(async |m| sem.read_unlock(m, "sem")), Conduct::UnlockByNonOwner("sem"));
    check(conduct_of(async |m| bit.unlock(m, Task(0), "bit")), Conduct::UnlockByNonOwner("bit"));
    let held = SpinLock::default();
    check(conduct_of(async |m| held.lock(m, Task(0), "held").await), Conduct::HeldAtEnd(1));
    let held = SpinLock::default();
    check(
        conduct_of(async |m| {
            held.lock(m, Task(0), "held").await;
            held.lock(m, Task(0), "held").await;
        }),
        Conduct::Recursion("held"),
    );
    let held = SpinLock::default();
    check(
        conduct_of(async |m| {
            held.lock(m, Task(0), "held").await;
            sem.read(m, "sem").await;
        }),
        Conduct::SleepInAtomic("sem"),
    );
    check(
        conduct_of(async |m| {
            m.irq_disable();
            m.might_sleep().await;
        }),
        Conduct::SleepInAtomic("might_sleep"),
    );
    check(conduct_of(async |m| m.irq_disable()), Conduct::IrqOffAtEnd);
    check(conduct_of(async |m| m.irq_enable()), Conduct::Unbalanced("irq_disable"));
    check(conduct_of(async |m| m.rcu_read_lock()), Conduct::RcuAtEnd);
    check(conduct_of(async |m| m.preempt_disable()), Conduct::PreemptOffAtEnd);
    check(
        conduct_of(async |m| {
            m.irq_disable();
            m.smp_call(2, |_| ()).await;
        }),
        Conduct::IpiWithIrqsOff,
    );
}

#[test]
fn a_lock_order_that_could_deadlock_is_found_in_a_run_that_did_not() {
    let (machine, a, b) = (Machine::default(), SpinLock::default(), SpinLock::default());
    let mut executor = Executor::new(&machine, 1, Preempt::None);
    executor.spawn(0, Task(0), async {
        for (first, second, names) in [(&a, &b, ["a", "b"]), (&b, &a, ["b", "a"])] {
            first.lock(&machine, Task(0), names[0]).await;
            second.lock(&machine, Task(0), names[1]).await;
            second.unlock(&machine, Task(0), names[1]);
            first.unlock(&machine, Task(0), names[0]);
        }
    });
    let verdict = executor.run(&mut RoundRobin::new());
    assert_eq!(verdict, Verdict::Conduct(Conduct::LockOrder("b", "a"), Task(0)));
}

#[test]
fn an_operation_alone_that_never_ends_runs_out_of_fuel() {
    let machine = Machine::default();
    machine.begin();
    let endless = || -> Option<()> {
        loop {
            machine.cpu_relax_alone()?;
        }
    };
    assert_eq!(endless(), None);
    assert_eq!(machine.conduct(), Some(Conduct::OutOfFuel));
    machine.begin();
    let (lock, sem) = (SpinLock::default(), RwSem::default());
    let ends = || {
        lock.lock_alone(&machine, Task(0), "lock")?;
        lock.unlock(&machine, Task(0), "lock");
        sem.write_alone(&machine, Task(0), "sem")?;
        sem.write_unlock(&machine, Task(0), "sem");
        machine.smp_call_alone(0b11, |cpu| assert_eq!(cpu, 1))?;
        machine.synchronize_rcu_alone()
    };
    assert_eq!(ends(), Some(()));
    machine.end();
    assert_eq!(machine.conduct(), None);
}
