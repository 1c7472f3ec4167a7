//! The operations of the text form: their names and which arguments they take.

use crate::text::names::Sort;
use crate::text::words::{ADVICE, DIRECTIONS, PLACES, PROTS, UFFDIOS, list};

/// Which operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    Nop,
    Mmap,
    Munmap,
    Mprotect,
    Mremap,
    Madvise,
    Uffd,
    Read,
    Write,
    Fork,
    Exit,
    Get,
    Pin,
    Walk,
    Put,
    Unpin,
    Peek,
    LruAddDrain,
    LruAddDrainAll,
    SplitFolio,
    Migrate,
    Offline,
    LockPage,
    UnlockPage,
    MigrateVmaSetup,
    MigrateDeviceRange,
    MigrateVmaPages,
    MigrateVmaFinalize,
    MigrateToDevice,
    MigrateToSystem,
    DeviceEvict,
    DeviceRemove,
    DeviceRead,
    DeviceWrite,
    HmmRangeFault,
    MakeDeviceExclusive,
}

/// What an operation looks like.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub verb: Verb,
    pub name: &'static str,
    /// What it creates, to the left of `=`.
    pub creates: Option<Sort>,
    /// Whether it works in an mm, and whether that must be named.
    pub mm: Need,
    pub area: Need,
    pub lock: Need,
    pub migration: Need,
    pub file: Need,
    /// Fewest and most handles.
    pub handles: (usize, usize),
    /// `key=value` arguments, apart from `place` and `fail`; the first `keys_needed` must be there.
    pub keys: &'static [&'static str],
    pub keys_needed: usize,
    /// At most one word of each set.
    pub choices: &'static [Choice],
    pub usage: &'static str,
}

/// Whether an argument is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    Never,
    May,
    Must,
}

/// A set of words that exclude each other.
#[derive(Clone, Copy, Debug)]
pub enum Choice {
    /// One may be there.
    May(&'static [&'static str]),
    /// One of the protections must be there.
    Prot,
    /// One of the advices must be there.
    Advice,
    /// One of the userfaultfd requests must be there.
    Uffdio,
    /// One of the places must be there.
    Place,
    /// Sharing must be stated.
    Sharing,
    /// The direction of a migration must be stated.
    Direction,
}

impl Choice {
    pub fn words(self) -> Vec<&'static str> {
        match self {
            Choice::May(words) => words.to_vec(),
            Choice::Prot => list(PROTS),
            Choice::Advice => list(ADVICE),
            Choice::Uffdio => list(UFFDIOS),
            Choice::Place => list(PLACES),
            Choice::Sharing => vec!["private", "shared"],
            Choice::Direction => list(DIRECTIONS),
        }
    }

    /// What is missing without it.
    pub fn needed(self) -> Option<&'static str> {
        match self {
            Choice::May(_) => None,
            Choice::Prot => Some("a protection"),
            Choice::Advice => Some("an advice"),
            Choice::Uffdio => Some("a request"),
            Choice::Place => Some("a place"),
            Choice::Sharing => Some("`private` or `shared`"),
            Choice::Direction => Some("`to_device` or `to_system`"),
        }
    }
}

const BARE: Spec = Spec {
    verb: Verb::Nop,
    name: "nop",
    creates: None,
    mm: Need::Never,
    area: Need::Never,
    lock: Need::Never,
    migration: Need::Never,
    file: Need::Never,
    handles: (0, 0),
    keys: &[],
    keys_needed: 0,
    choices: &[],
    usage: "nop",
};
const RANGE: Spec = Spec { mm: Need::May, area: Need::Must, keys: &["len"], ..BARE };
const DEVICE: Spec = Spec { keys: &["len", "device"], ..RANGE };
const GUP: Spec = Spec { creates: Some(Sort::Handle), ..RANGE };

/// Every operation.
pub const SPECS: [Spec; 36] = [
    BARE,
    Spec {
        verb: Verb::Mmap,
        name: "mmap",
        creates: Some(Sort::Area),
        mm: Need::May,
        file: Need::May,
        keys: &["len", "shift"],
        keys_needed: 1,
        choices: &[Choice::Prot, Choice::Sharing],
        usage: "m0 = mmap [mm1] len=4 none|r|rw private|shared [f0+2] [shift=1]",
        ..BARE
    },
    Spec { verb: Verb::Munmap, name: "munmap", usage: "munmap [mm1] m0+1 [len=2]", ..RANGE },
    Spec {
        verb: Verb::Mprotect,
        name: "mprotect",
        choices: &[Choice::Prot],
        usage: "mprotect [mm1] m0+1 [len=2] none|r|rw",
        ..RANGE
    },
    Spec {
        verb: Verb::Mremap,
        name: "mremap",
        creates: Some(Sort::Area),
        keys: &["len", "shift"],
        usage: "m1 = mremap [mm1] m0+1 [len=2] [shift=1]",
        ..RANGE
    },
    Spec {
        verb: Verb::Madvise,
        name: "madvise",
        choices: &[Choice::Advice],
        usage: "madvise [mm1] m0+1 [len=2] dontneed|dontfork|dofork|hugepage|nohugepage|collapse|\
                populate_read|populate_write",
        ..RANGE
    },
    Spec {
        verb: Verb::Uffd,
        name: "uffd",
        choices: &[Choice::Uffdio],
        usage: "uffd [mm1] m0+1 [len=2] register|register_sigbus|unregister|copy|zeropage|wake",
        ..RANGE
    },
    Spec { verb: Verb::Read, name: "read", usage: "read [mm1] m0+1 [len=2]", ..RANGE },
    Spec { verb: Verb::Write, name: "write", usage: "write [mm1] m0+1 [len=2]", ..RANGE },
    Spec {
        verb: Verb::Fork,
        name: "fork",
        creates: Some(Sort::Mm),
        mm: Need::May,
        usage: "mm1 = fork [mm0]",
        ..BARE
    },
    Spec { verb: Verb::Exit, name: "exit", mm: Need::Must, usage: "exit mm1", ..BARE },
    Spec {
        verb: Verb::Get,
        name: "get",
        choices: &[
            Choice::May(&["write"]),
            Choice::May(&["fast", "fast_only"]),
            Choice::May(&["ranges"]),
        ],
        usage: "h0 = get [mm1] m0+1 [len=2] [write] [fast|fast_only] [ranges]",
        ..GUP
    },
    Spec {
        verb: Verb::Pin,
        name: "pin",
        choices: &[
            Choice::May(&["write"]),
            Choice::May(&["fast"]),
            Choice::May(&["longterm"]),
            Choice::May(&["ranges"]),
        ],
        usage: "h0 = pin [mm1] m0+1 [len=2] [write] [fast] [longterm] [ranges]",
        ..GUP
    },
    Spec {
        verb: Verb::Walk,
        name: "walk",
        choices: &[Choice::May(&["write"]), Choice::May(&["pfns"])],
        usage: "walk [mm1] m0+1 [len=2] [write] [pfns]",
        ..RANGE
    },
    Spec { verb: Verb::Put, name: "put", handles: (1, 1), usage: "put h0", ..BARE },
    Spec {
        verb: Verb::Unpin,
        name: "unpin",
        handles: (1, 2),
        choices: &[Choice::May(&["range"]), Choice::May(&["dirty"]), Choice::May(&["hole"])],
        usage: "unpin h0 [h1] [range] [dirty] [hole]",
        ..BARE
    },
    Spec { verb: Verb::Peek, name: "peek", handles: (1, 1), usage: "peek h0", ..BARE },
    Spec { verb: Verb::LruAddDrain, name: "lru_add_drain", usage: "lru_add_drain", ..BARE },
    Spec {
        verb: Verb::LruAddDrainAll,
        name: "lru_add_drain_all",
        usage: "lru_add_drain_all",
        ..BARE
    },
    Spec { verb: Verb::SplitFolio, name: "split_folio", usage: "split_folio [mm1] m0+1", ..RANGE },
    Spec {
        verb: Verb::Migrate,
        name: "migrate",
        choices: &[Choice::May(&["sync"])],
        usage: "migrate [mm1] m0+1 [sync]",
        ..RANGE
    },
    Spec {
        verb: Verb::Offline,
        name: "offline",
        choices: &[Choice::Place],
        usage: "offline normal|movable|cma",
        ..BARE
    },
    Spec {
        verb: Verb::LockPage,
        name: "lock_page",
        creates: Some(Sort::Lock),
        keys: &["task", "len"],
        keys_needed: 1,
        usage: "l0 = lock_page [mm1] m0+1 task=t8",
        ..RANGE
    },
    Spec {
        verb: Verb::UnlockPage,
        name: "unlock_page",
        lock: Need::Must,
        usage: "unlock_page l0",
        ..BARE
    },
    Spec {
        verb: Verb::MigrateVmaSetup,
        name: "migrate_vma_setup",
        creates: Some(Sort::Migration),
        choices: &[
            Choice::May(&["system"]),
            Choice::May(&["device_private"]),
            Choice::May(&["device_coherent"]),
            Choice::May(&["fault"]),
        ],
        usage: "v0 = migrate_vma_setup [mm1] m0+1 [len=2] [device=coherent] [system] \
                [device_private] [device_coherent] [fault]",
        ..DEVICE
    },
    Spec {
        verb: Verb::MigrateDeviceRange,
        name: "migrate_device_range",
        creates: Some(Sort::Migration),
        keys: &["device"],
        usage: "v0 = migrate_device_range [device=coherent]",
        ..BARE
    },
    Spec {
        verb: Verb::MigrateVmaPages,
        name: "migrate_vma_pages",
        migration: Need::Must,
        choices: &[Choice::Direction],
        usage: "migrate_vma_pages v0 to_device|to_system",
        ..BARE
    },
    Spec {
        verb: Verb::MigrateVmaFinalize,
        name: "migrate_vma_finalize",
        migration: Need::Must,
        usage: "migrate_vma_finalize v0",
        ..BARE
    },
    Spec {
        verb: Verb::MigrateToDevice,
        name: "migrate_to_device",
        usage: "migrate_to_device [mm1] m0+1 [len=2] [device=coherent]",
        ..DEVICE
    },
    Spec {
        verb: Verb::MigrateToSystem,
        name: "migrate_to_system",
        usage: "migrate_to_system [mm1] m0+1 [len=2] [device=coherent]",
        ..DEVICE
    },
    Spec {
        verb: Verb::DeviceEvict,
        name: "device_evict",
        keys: &["device"],
        usage: "device_evict [device=coherent]",
        ..BARE
    },
    Spec {
        verb: Verb::DeviceRemove,
        name: "device_remove",
        keys: &["device"],
        usage: "device_remove [device=coherent]",
        ..BARE
    },
    Spec {
        verb: Verb::DeviceRead,
        name: "device_read",
        usage: "device_read [mm1] m0+1 [len=2] [device=coherent]",
        ..DEVICE
    },
    Spec {
        verb: Verb::DeviceWrite,
        name: "device_write",
        usage: "device_write [mm1] m0+1 [len=2] [device=coherent]",
        ..DEVICE
    },
    Spec {
        verb: Verb::HmmRangeFault,
        name: "hmm_range_fault",
        choices: &[Choice::May(&["fault", "write"]), Choice::May(&["odd"])],
        usage: "hmm_range_fault [mm1] m0+1 [len=2] [device=coherent] [fault|write] [odd]",
        ..DEVICE
    },
    Spec {
        verb: Verb::MakeDeviceExclusive,
        name: "make_device_exclusive",
        usage: "make_device_exclusive [mm1] m0+1 [len=2] [device=coherent]",
        ..DEVICE
    },
];

/// The name of every operation of the text form.
pub fn op_names() -> impl Iterator<Item = &'static str> {
    SPECS.iter().map(|spec| spec.name)
}

/// The operation with this name.
pub fn find(name: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.name == name)
}
