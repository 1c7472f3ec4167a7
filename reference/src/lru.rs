//! LRU batches, isolation, and folio locks held across operations (ops 0 and 4, B16, K2, K3).

use program::{Errno, LockId, MmId, TaskId};

use crate::folio::Owner;
use crate::ledger::FolioId;
use crate::state::{Done, State, Stop, fail};

impl State {
    /// *Add to LRU* (`folio_add_lru`) on the step's CPU. A full batch is flushed, and so is the
    /// one that a large folio enters, or any while offline has batches off.
    pub fn lru_add(&mut self, folio: FolioId) {
        let cpu = self.now.cpu;
        self.ledger.relate(folio, Owner::Batch { cpu });
        let batch = &mut self.batches[usize::from(cpu)];
        batch.push(folio);
        let full = batch.len() >= usize::from(self.shape.batch) || self.lru_disabled;
        if full || self.ledger.folio(folio).order > 0 {
            self.lru_add_drain(cpu);
        }
    }

    /// `lru_add_drain` of one CPU.
    pub fn lru_add_drain(&mut self, cpu: u8) {
        if self.batches[usize::from(cpu)].is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batches[usize::from(cpu)]);
        for folio in batch.drain(..) {
            self.ledger.set_lru(folio, true);
            self.ledger.unrelate(folio, Owner::Batch { cpu });
        }
        self.batches[usize::from(cpu)] = batch;
    }

    pub fn lru_add_drain_all(&mut self) {
        for cpu in 0..self.batches.len() as u8 {
            self.lru_add_drain(cpu);
        }
    }

    /// `folio_isolate_lru`.
    pub fn isolate(&mut self, folio: FolioId) {
        self.ledger.set_lru(folio, false);
        self.ledger.relate(folio, Owner::Operation);
    }

    /// `folio_putback_lru` (K5: it lands in this CPU's batch).
    pub fn putback(&mut self, folio: FolioId) {
        self.lru_add(folio);
        self.ledger.unrelate(folio, Owner::Operation);
    }

    pub fn is_locked(&self, folio: FolioId) -> bool {
        self.ledger.folio(folio).locked().is_some()
    }

    pub fn lock_page(&mut self, mm: MmId, vpn: u32, lock: LockId, task: TaskId) -> Done {
        let Some(folio) = self.folio_at(mm, vpn) else { return fail(Errno::ENOENT) };
        if self.is_locked(folio) {
            return Err(Stop::AtOnce);
        }
        let at = usize::from(lock.0);
        if self.locks.len() <= at {
            self.locks.resize(at + 1, None);
        }
        self.locks[at] = Some((folio, task));
        self.ledger.relate(folio, Owner::Lock { lock, task });
        Ok(())
    }

    pub fn unlock_page(&mut self, lock: LockId) {
        if let Some((folio, task)) = self.locks[usize::from(lock.0)].take() {
            self.ledger.unrelate(folio, Owner::Lock { lock, task });
        }
    }
}
