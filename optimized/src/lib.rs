//! The near-kernel side: folios with counters, page tables, locks, and the paths under test.
//!
//! A kernel developer finds each function in the file that has its name in Linux. With no
//! [`Defect`] switched on this is the best correct version; [`defects`] is the catalogue.

#[macro_use]
extern crate twice;

mod cost;
mod coverage;
mod defect_info;
mod defect_set;
pub mod defects;
mod driver;
mod driver_mirror;
mod driver_open;
mod fault;
mod filemap;
mod folio;
mod fork;
mod frame;
mod gup;
mod gup_fast;
mod gup_in_walk;
mod gup_longterm;
mod gup_sink;
mod handle;
mod hmm;
mod huge_memory;
mod khugepaged;
mod madvise;
mod memory;
mod memory_hotplug;
mod migrate;
mod migrate_coherent;
mod migrate_device;
mod mmap;
mod mprotect;
mod mremap;
mod nonpresent;
mod page_alloc;
mod pgtable;
mod phase;
pub mod pinning;
mod rmap;
mod snapshot;
mod speculative;
mod step;
mod swap_lru;
mod tlb;
mod trace;
mod unpin;
mod userfaultfd;
pub mod variants;
mod vfio;
mod vma;
mod vma_lock;
mod vma_table;
mod world;
mod wp_page;

pub use cost::Cost;
pub use coverage::Path;
pub use defects::{Defect, DefectInfo, Defects, Kind};
pub use phase::{KWORKERS, Ran, WORK};
pub use variants::{Variant, VariantInfo};
pub use world::{Conduct, World};
