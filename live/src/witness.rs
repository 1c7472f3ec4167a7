//! What a witness is asked, and the words it answers in: those of [`program::Snapshot`], with
//! `None` for what it cannot see.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use program::{Call, Device, EntryKind, HandleId, Layout, MmId};
use program::{Place, Program, Shape, Span, Thp, VmaView};
use reference::Kernel;

/// A real kernel that carries programs out.
pub trait Witness {
    /// Which kernel it is.
    fn kernel(&self) -> Kernel;

    /// What it can do and see.
    fn abilities(&self) -> Abilities;

    /// The THP policy, which a witness does not change.
    fn thp(&self) -> Thp;

    /// Ends every address space and handle and begins anew with one empty mm.
    fn reset(&mut self, shape: &Shape, layout: &Layout) -> Result<(), Broken>;

    /// Carries out a step of which [`subset`](crate::subset) says that it can.
    fn step(&mut self, call: Call<'_>) -> Result<Reply, Broken>;

    /// A number that changes when something else moves pages on this machine: khugepaged,
    /// compaction, an allocation that failed.
    fn disturbances(&self) -> u64;

    /// What every live mm looks like now.
    fn look(&mut self, vmas: Vmas) -> Result<Observation, Broken>;
}

/// How closely to look at VMAs, which costs more than all the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vmas {
    /// Not at all.
    No,
    /// Ranges, protection, sharing and flags.
    All,
}

/// What depends on where the witness runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Abilities {
    /// Where a new user page goes; with the driver, unless the step asks for `Place::Normal`.
    pub place: Place,
    /// Exact counts, raw entries and GUP with any flags, through the driver of the guest.
    pub driver: bool,
    /// Which devices the driver has, in the order of [`Device::ALL`].
    pub devices: [bool; 2],
}

impl Abilities {
    /// Where the folios of a step that asks for `place` go.
    pub fn placed(&self, place: Place) -> Place {
        if self.driver && place == Place::Normal { place } else { self.place }
    }

    /// Whether there is this device.
    pub fn has(&self, device: Device) -> bool {
        self.devices[device as usize]
    }
}

/// The witness itself failed: not a finding.
#[derive(Debug)]
pub enum Broken {
    /// A system call that must work did not.
    Io(&'static str, io::Error),
    /// A process did not answer.
    Silent(MmId),
    /// One of these in a program: what it says.
    Program(String),
}

impl Broken {
    /// Says in which step of which program.
    pub(crate) fn at(self, number: usize, program: &Program) -> Broken {
        Broken::Program(format!("{self} in step {} of\n{program}", number + 1))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Io(what, error) => write!(f, "{what}: {error}"),
            Broken::Program(text) => f.write_str(text),
            Broken::Silent(mm) => write!(f, "the process of mm{} does not answer", mm.0),
        }
    }
}

impl std::error::Error for Broken {}

/// Says what was being done when a call failed.
pub(crate) trait Context<T> {
    fn during(self, what: &'static str) -> Result<T, Broken>;
}

impl<T> Context<T> for io::Result<T> {
    fn during(self, what: &'static str) -> Result<T, Broken> {
        self.map_err(|error| Broken::Io(what, error))
    }
}

/// What a step told its caller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reply {
    /// The return value; an error by number (`Err` of a signal: negative).
    pub ret: Option<Result<u32, i32>>,
    /// Values read, where it can tell.
    pub data: Option<Vec<u64>>,
    /// Page faults taken by the accesses of `read` and `write`.
    pub faults: Option<u64>,
    /// The pages that the step was about, and entries a table; filled in by the session.
    pub span: Option<Span>,
    /// See `span`.
    pub ptes: u32,
    /// A handle that did not outlive the step: this witness can pin so for a moment only.
    pub released: Option<HandleId>,
}

/// A page frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub enum Frame {
    /// The shared zero page.
    #[default]
    Zero,
    /// A page by number; only equality means anything.
    Page(u64),
}

/// What is known of a mapped page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageSight {
    /// Mappings of this very page, by PTEs and PMDs.
    pub mapcount: Option<u32>,
    /// Anonymous.
    pub anon: Option<bool>,
    /// PageAnonExclusive; of the folio's first page unless `exact`.
    pub exclusive: Option<bool>,
    /// Whether `exclusive` is about this very page.
    pub exact: bool,
    /// PG_locked.
    pub locked: Option<bool>,
    /// PG_lru.
    pub lru: Option<bool>,
    /// PG_dirty.
    pub dirty: Option<bool>,
    /// Part of a large folio.
    pub large: Option<bool>,
    /// `folio_ref_count`.
    pub refcount: Option<i64>,
    /// `_pincount` of a large folio.
    pub pincount: Option<u32>,
    /// Zone and kind of pageblock.
    pub place: Option<Place>,
    /// What the page holds, its first word.
    pub data: Option<u64>,
}

/// An entry that is not none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EntrySight {
    /// What it is; only the driver sees those that are not present.
    pub kind: EntryKind,
    /// What it maps or stands for.
    pub frame: Frame,
    /// Through a huge PMD.
    pub huge: bool,
    /// Writable.
    pub write: Option<bool>,
    /// Dirty.
    pub dirty: Option<bool>,
}

/// An address space.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MmSight {
    /// Entries by page; a huge PMD counts as one a page.
    pub entries: BTreeMap<u32, EntrySight>,
    /// VMAs in address order, merged, if they were asked for. Objects are not told apart.
    pub vmas: Option<Vec<VmaView>>,
}

/// All that was seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observation {
    /// Every live mm.
    pub mms: BTreeMap<MmId, MmSight>,
    /// The pages of handles, where they can be seen.
    pub handles: BTreeMap<HandleId, Vec<Frame>>,
    /// Every page seen through them.
    pub pages: BTreeMap<Frame, PageSight>,
}
