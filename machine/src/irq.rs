//! Interrupts: switching them off, and calls to other CPUs.

use std::future::poll_fn;
use std::task::Poll;

use crate::board::Wait;
use crate::conduct::Conduct;
use crate::event::{Access, Event};
use crate::machine::{ATOMIC, INTERRUPTS, Machine};

const IRQ: Event = Event::new(0, Access::Irq);

#[twice]
impl Machine {
    /// `local_irq_disable` (nests), in one step with what came before.
    pub fn irq_disable(&self) {
        self.irq_off.set(self.irq_off.get() + 1);
        if self.count_in(ATOMIC) {
            self.attend(INTERRUPTS);
        }
    }

    /// `local_irq_enable`, in one step with what came before. Calls that came meanwhile are
    /// delivered at the next point.
    pub fn irq_enable(&self) {
        if self.irq_off.get() == 0 {
            return self.report(Conduct::Unbalanced("irq_disable"));
        }
        self.irq_off.set(self.irq_off.get() - 1);
        if self.count_out(ATOMIC) {
            self.attend(INTERRUPTS);
        }
    }

    /// `local_irq_disable` as a scheduling point.
    #[inline]
    pub async fn local_irq_disable(&self) {
        self.point_at(IRQ).await;
        self.irq_disable();
    }

    /// `local_irq_enable` as scheduling points before and after: what was sent meanwhile is
    /// delivered before the task goes on.
    #[inline]
    pub async fn local_irq_enable(&self) {
        self.point_at(IRQ).await;
        self.irq_enable();
        self.point_at(IRQ).await;
    }

    /// `smp_call_function_many(…, wait = true)`: runs `call` on each CPU of the mask but this one,
    /// in interrupt context, and spins until all have answered. Interrupts must be on.
    pub async fn smp_call(&self, cpus: u128, mut call: impl FnMut(u8)) {
        self.point_at(IRQ).await;
        if self.irq_off.get() != 0 {
            self.report(Conduct::IpiWithIrqsOff);
        }
        let cpus = cpus & !(1 << self.cpu.get());
        if !self.multi() {
            // The others are idle and answer at once.
            return (0..128).filter(|cpu| cpus >> cpu & 1 == 1).for_each(call);
        }
        if !self.send(cpus) {
            return;
        }
        // While it waits, this future also lends its closure to the CPUs that take the call.
        poll_fn(|_| {
            if let Some(cpu) = self.delivering.take() {
                call(cpu);
                return Poll::Pending;
            }
            if self.resumed.replace(false) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn send(&self, cpus: u128) -> bool {
        let mut sent = 0;
        for (cpu, calls) in self.board.borrow_mut().calls.iter_mut().enumerate() {
            if cpus >> cpu & 1 == 1 {
                calls.push_back(self.current.get());
                sent |= 1 << cpu;
            }
        }
        if sent != 0 {
            self.attend(INTERRUPTS);
            self.enlist(self.name.get(), Wait::Acks, 0, "IPI", None, sent);
        }
        sent != 0
    }
}
