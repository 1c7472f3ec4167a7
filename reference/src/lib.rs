//! The reference memory manager: relations, no counts.
//!
//! It keeps a ledger of who holds what: this entry maps that page, this handle pins it, this
//! CPU's LRU batch holds it. Refcount, mapcount, pincount and pages in use are questions put to
//! the ledger (`ledger.rs`), so no slip of arithmetic can hide here. There are no locks, no
//! page-table machinery and no clever paths; work is done a page at a time. What each operation
//! means is `docs/operations.md`; comments name the rule they carry out by its section there
//! (`ops 1.4`) or by its letter in the list of kernel facts (`B4`, `K9`).

mod address_space;
mod collapse;
mod cow;
mod device;
mod driver;
mod exclusive;
mod fault;
mod filemap;
mod flight;
mod folio;
mod fork;
mod gup;
mod hmm;
mod kernel;
mod ledger;
mod longterm;
mod lru;
mod madvise;
mod mark;
mod mark_device;
mod mark_migrate;
mod migrate;
mod mm;
mod mm_ids;
mod mremap;
mod offline;
mod page_alloc;
mod snapshot;
mod state;
mod thp;
mod tlb;
mod userfaultfd;
mod vma;

pub use kernel::Kernel;
pub use longterm::Checks;

use program::{Call, Mark, Model, Outcome, Replay, Ret, Seen, Shape, Snapshot};

use state::{State, Stop};

/// The reference side.
#[derive(Debug)]
pub struct Reference {
    state: State,
    /// The state before the running step, kept while something could make it sleep.
    before: State,
}

impl Clone for Reference {
    fn clone(&self) -> Self {
        Reference { state: self.state.clone(), before: State::default() }
    }

    /// Reuses the allocations of `self`.
    fn clone_from(&mut self, other: &Self) {
        self.state.clone_from(&other.state);
    }
}

impl Reference {
    /// When longterm pins are looked at.
    pub fn check_longterm(&mut self, checks: Checks) {
        self.state.checks = checks;
    }

    /// A machine of the default shape.
    pub fn new() -> Reference {
        Reference::of(Kernel::default())
    }

    /// As another kernel does it.
    pub fn of(kernel: Kernel) -> Reference {
        let state = State { kernel, ..State::default() };
        let mut reference = Reference { state, before: State::default() };
        reference.reset(&Shape::default());
        reference
    }
}

impl Default for Reference {
    fn default() -> Self {
        Reference::new()
    }
}

impl Model for Reference {
    fn reset(&mut self, shape: &Shape) {
        self.state.reset(shape);
    }

    fn step(&mut self, call: Call<'_>, out: &mut Outcome) {
        // Decision 18: a step that would sleep has no effect.
        let kept = self.state.may_sleep(&call.step.op);
        if kept {
            self.before.clone_from(&self.state);
        }
        out.ret = match self.state.run(call, out) {
            Ok(ret) => ret,
            Err(Stop::Fail(errno)) => Ret::Err(errno),
            Err(Stop::AtOnce) => Ret::WouldBlock,
            Err(Stop::Sleep | Stop::Userfault) => {
                assert!(kept, "nobody expected {:?} to sleep", call.step.op);
                std::mem::swap(&mut self.state, &mut self.before);
                out.data.clear();
                Ret::WouldBlock
            }
        };
    }

    fn digest(&self) -> u64 {
        self.state.ledger.sum()
    }

    fn snapshot(&self) -> Snapshot {
        self.state.snapshot()
    }

    fn teardown(&mut self) {
        self.state.lru_add_drain_all();
        self.state.evict_files();
    }
}

impl Replay for Reference {
    fn begin_phase(&mut self) {
        self.state.flights.clear();
        self.state.moves.clear();
        self.state.holds = 0;
        self.state.stale.clear();
    }

    fn mark(&mut self, call: Option<Call<'_>>, mark: Mark) -> Seen {
        self.state.mark(call, mark)
    }

    fn copy(&self) -> Option<Reference> {
        Some(self.clone())
    }

    fn end_phase(&mut self) -> bool {
        self.state.holds == 0
    }
}
