//! Per-CPU workqueues. A CPU's kworker is a task of that CPU and needs it to get anything done.

use crate::board::Wait;
use crate::event::{Access, Event};
use crate::machine::Machine;

#[twice]
impl Machine {
    /// `queue_work_on`, in one step with what came before; false if the item is queued already.
    /// An item that runs may be queued again.
    pub fn queue_work_on(&self, cpu: u8, item: u32) -> bool {
        let mut board = self.board.borrow_mut();
        if board.work.iter().any(|work| work.queue.contains(&item)) {
            return false;
        }
        let Some(work) = board.work.get_mut(usize::from(cpu)) else { return false };
        work.queue.push_back(item);
        drop(board);
        self.wake_kworker(cpu);
        true
    }

    fn wake_kworker(&self, cpu: u8) {
        if self.multi() {
            self.wake_where(usize::from(cpu) + 1, |wait| wait == Wait::Idle);
        }
    }

    /// `flush_work`: sleeps until the item is neither queued nor running.
    pub async fn flush_work(&self, item: u32) {
        self.may_sleep("flush_work");
        self.point_at(Event::new(0, Access::Lock)).await;
        while self.board.borrow().cpu_of(item).is_some() {
            self.wait(Wait::Work(item), 0, "flush_work").await;
        }
    }

    /// The body of a CPU's kworker: runs item after item, and never ends. Give it to
    /// [`Executor::kworker`](crate::Executor::kworker).
    pub async fn kworker(&self, cpu: u8, mut run: impl AsyncFnMut(u32)) {
        loop {
            let next = self.board.borrow_mut().work[usize::from(cpu)].queue.pop_front();
            let Some(item) = next else {
                // The lasso: an idle kworker is in one state only.
                self.lap(&());
                self.wait(Wait::Idle, usize::from(cpu) + 1, "work").await;
                continue;
            };
            self.board.borrow_mut().work[usize::from(cpu)].running = Some(item);
            self.lap(&item);
            run(item).await;
            self.point().await;
            self.board.borrow_mut().work[usize::from(cpu)].running = None;
            self.wake_where(0, |wait| wait == Wait::Work(item));
        }
    }
}
