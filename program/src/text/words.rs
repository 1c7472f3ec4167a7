//! The words for values, shared by parser and printer.

use crate::op::{Advice, Device, Direction, Prot, Select, Site, Uffdio};
use crate::outcome::Errno;
use crate::shape::{Faults, Place, Preempt, Thp};

/// Values and their words, in the order in which a hint lists them.
pub type Words<T> = [(&'static str, T)];

/// The word for a value of the table.
pub fn word<T: PartialEq>(words: &Words<T>, value: T) -> &'static str {
    words.iter().find(|(_, other)| *other == value).map_or("?", |(word, _)| word)
}

/// The value of a word.
pub fn lookup<T: Copy>(words: &Words<T>, word: &str) -> Option<T> {
    words.iter().find(|(other, _)| *other == word).map(|&(_, value)| value)
}

/// The words alone.
pub fn list<T>(words: &Words<T>) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}

pub const PROTS: &Words<Prot> = &[("none", Prot::None), ("r", Prot::Read), ("rw", Prot::ReadWrite)];

pub const PLACES: &Words<Place> =
    &[("normal", Place::Normal), ("movable", Place::Movable), ("cma", Place::Cma)];

/// [`PLACES`], and those of devices.
pub const ZONES: &Words<Place> = &[
    ("normal", Place::Normal),
    ("movable", Place::Movable),
    ("cma", Place::Cma),
    ("device", Place::Device),
    ("coherent", Place::Coherent),
];

pub const DEVICES: &Words<Device> = &[("private", Device::Private), ("coherent", Device::Coherent)];

pub const DIRECTIONS: &Words<Direction> =
    &[("to_device", Direction::ToDevice), ("to_system", Direction::ToSystem)];

pub const SELECTS: &Words<Select> = &[
    ("system", Select::SYSTEM),
    ("device_private", Select::DEVICE_PRIVATE),
    ("device_coherent", Select::DEVICE_COHERENT),
];

/// `Field::Entry`, by number.
pub const ENTRIES: &Words<u64> = &[
    ("none", 0),
    ("present", 1),
    ("migration", 2),
    ("migration_exclusive", 3),
    ("private", 4),
    ("exclusive", 5),
];

pub const PREEMPTS: &Words<Preempt> =
    &[("none", Preempt::None), ("voluntary", Preempt::Voluntary), ("full", Preempt::Full)];

pub const THPS: &Words<Thp> =
    &[("always", Thp::Always), ("madvise", Thp::Madvise), ("never", Thp::Never)];

pub const FAULTS: &Words<Faults> = &[
    ("classic", Faults::Classic),
    ("vma", Faults::VmaLock),
    ("spf", Faults::Speculative),
    ("spf_bounded", Faults::SpeculativeBounded),
];

pub const ADVICE: &Words<Advice> = &[
    ("dontneed", Advice::DontNeed),
    ("dontfork", Advice::DontFork),
    ("dofork", Advice::DoFork),
    ("hugepage", Advice::HugePage),
    ("nohugepage", Advice::NoHugePage),
    ("collapse", Advice::Collapse),
    ("populate_read", Advice::PopulateRead),
    ("populate_write", Advice::PopulateWrite),
];

pub const UFFDIOS: &Words<Uffdio> = &[
    ("register", Uffdio::Register),
    ("register_sigbus", Uffdio::RegisterSigbus),
    ("unregister", Uffdio::Unregister),
    ("copy", Uffdio::Copy),
    ("zeropage", Uffdio::ZeroPage),
    ("wake", Uffdio::Wake),
];

pub const SITES: &Words<Site> = &[
    ("table", Site::Table),
    ("page", Site::Page),
    ("huge", Site::Huge),
    ("cache", Site::Cache),
    ("dst", Site::Dst),
    ("grab", Site::Grab),
    ("grab_fast", Site::GrabFast),
    ("device", Site::Device),
    ("driver", Site::Driver),
];

pub const ERRNOS: &Words<Errno> = &[
    ("EFAULT", Errno::EFAULT),
    ("ENOMEM", Errno::ENOMEM),
    ("EAGAIN", Errno::EAGAIN),
    ("EBUSY", Errno::EBUSY),
    ("EINTR", Errno::EINTR),
    ("EINVAL", Errno::EINVAL),
    ("ENOENT", Errno::ENOENT),
    ("EEXIST", Errno::EEXIST),
    ("EPERM", Errno::EPERM),
    ("SIGSEGV", Errno::SIGSEGV),
    ("SIGBUS", Errno::SIGBUS),
];
