//! Read-copy-update: read sections and grace periods.

use crate::board::Wait;
use crate::conduct::Conduct;
use crate::machine::{Machine, RCU};

#[twice]
impl Machine {
    /// `rcu_read_lock` (nests).
    #[inline]
    pub fn rcu_read_lock(&self) {
        self.rcu.set(self.rcu.get() + 1);
    }

    /// `rcu_read_unlock`.
    #[inline]
    pub fn rcu_read_unlock(&self) {
        let sections = self.rcu.get();
        if sections == 0 {
            return self.report(Conduct::Unbalanced("rcu_read_lock"));
        }
        self.rcu.set(sections - 1);
        if sections == 1 && self.multi() {
            self.attend(RCU);
        }
    }

    /// `synchronize_rcu`: sleeps until every read section that is open now was left.
    pub async fn synchronize_rcu(&self) {
        self.grace_period(Wait::Readers, "synchronize_rcu").await;
    }

    /// The RCU-sched grace period (before their merger `synchronize_sched`; what table freeing
    /// relies on): sleeps until every CPU was seen with preemption and interrupts on. Under the
    /// models `none` and `voluntary` a CPU is seen so only where it could switch tasks.
    pub async fn synchronize_sched(&self) {
        self.grace_period(Wait::Quiescent, "synchronize_sched").await;
    }

    async fn grace_period(&self, wait: Wait, name: &'static str) {
        self.may_sleep(name);
        self.point().await;
        if self.multi() {
            self.wait(wait, 0, name).await;
        }
    }
}
