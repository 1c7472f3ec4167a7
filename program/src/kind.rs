//! Kinds of operation, at the grain at which random programs choose between them.

use crate::op::{Advice, Backing, Direction, Entry, Foll, Op, Site, Uffdio};

macro_rules! kinds {
    ($($kind:ident $name:literal $weight:literal)*) => {
        /// A kind of operation: an [`Op`] without its arguments. Finer than the variants of `Op`
        /// where the paths taken differ, because a swarm switches kinds on and off.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "named for the operations in `Op`")]
        pub enum Kind { $($kind),* }

        impl Kind {
            /// Every kind, in the order of the swarm mask's bits.
            pub const ALL: [Kind; kinds!(@count $($kind)*)] = [$(Kind::$kind),*];
            /// How often each kind is drawn, of [`Kind::TOTAL_WEIGHT`].
            pub(crate) const WEIGHTS: [u8; Kind::ALL.len()] = [$($weight),*];
            /// Sum of all weights.
            pub const TOTAL_WEIGHT: usize = 0 $(+ $weight)*;

            /// A short name, e.g. for statistics.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name),* }
            }
        }
    };
    (@count $($kind:ident)*) => { 0 $(+ { let _ = Kind::$kind; 1 })* };
}

kinds! {
    Nop "nop" 1
    MmapAnon "mmap-private" 8
    MmapShmem "mmap-shared" 3
    MmapFilePrivate "mmap-file-private" 3
    MmapFileShared "mmap-file-shared" 3
    Munmap "munmap" 4
    Mprotect "mprotect" 6
    Mremap "mremap" 5
    DontNeed "dontneed" 4
    DontFork "dontfork" 2
    DoFork "dofork" 1
    HugePage "hugepage" 2
    NoHugePage "nohugepage" 2
    Collapse "collapse" 5
    PopulateRead "populate-read" 2
    PopulateWrite "populate-write" 3
    Read "read" 8
    Write "write" 15
    Fork "fork" 7
    Exit "exit" 5
    Get "get" 4
    GetFast "get-fast" 4
    GetFastOnly "get-fast-only" 3
    Pin "pin" 5
    PinFast "pin-fast" 4
    PinLongterm "pin-longterm" 3
    PinLongtermFast "pin-longterm-fast" 2
    Walk "walk" 1
    Put "put" 4
    Unpin "unpin" 10
    Peek "peek" 3
    LruAddDrain "lru-add-drain" 3
    LruAddDrainAll "lru-add-drain-all" 2
    SplitFolio "split-folio" 5
    Migrate "migrate" 7
    Offline "offline" 4
    LockPage "lock-page" 1
    UnlockPage "unlock-page" 3
    UffdRegister "uffd-register" 2
    UffdRegisterSigbus "uffd-register-sigbus" 2
    UffdUnregister "uffd-unregister" 2
    UffdCopy "uffd-copy" 3
    UffdZeroPage "uffd-zeropage" 2
    UffdWake "uffd-wake" 1
    MigrateVmaSetup "migrate-vma-setup" 2
    MigrateDeviceRange "migrate-device-range" 1
    MigrateVmaPages "migrate-vma-pages" 3
    MigrateVmaFinalize "migrate-vma-finalize" 3
    ToDevice "migrate-to-device" 4
    ToSystem "migrate-to-system" 2
    DeviceEvict "device-evict" 1
    DeviceRead "device-read" 2
    DeviceWrite "device-write" 2
    HmmRangeFault "hmm-range-fault" 2
    MakeDeviceExclusive "make-device-exclusive" 2
}

impl Kind {
    /// The kind of an operation.
    pub fn of(op: &Op) -> Kind {
        match *op {
            Op::Nop => Kind::Nop,
            Op::Mmap { backing, .. } => match backing {
                Backing::AnonPrivate => Kind::MmapAnon,
                Backing::AnonShared => Kind::MmapShmem,
                Backing::FilePrivate { .. } => Kind::MmapFilePrivate,
                Backing::FileShared { .. } => Kind::MmapFileShared,
            },
            Op::Munmap { .. } => Kind::Munmap,
            Op::Mprotect { .. } => Kind::Mprotect,
            Op::Mremap { .. } => Kind::Mremap,
            Op::Madvise { advice, .. } => match advice {
                Advice::DontNeed => Kind::DontNeed,
                Advice::DontFork => Kind::DontFork,
                Advice::DoFork => Kind::DoFork,
                Advice::HugePage => Kind::HugePage,
                Advice::NoHugePage => Kind::NoHugePage,
                Advice::Collapse => Kind::Collapse,
                Advice::PopulateRead => Kind::PopulateRead,
                Advice::PopulateWrite => Kind::PopulateWrite,
            },
            Op::Uffd { uffdio, .. } => match uffdio {
                Uffdio::Register => Kind::UffdRegister,
                Uffdio::RegisterSigbus => Kind::UffdRegisterSigbus,
                Uffdio::Unregister => Kind::UffdUnregister,
                Uffdio::Copy => Kind::UffdCopy,
                Uffdio::ZeroPage => Kind::UffdZeroPage,
                Uffdio::Wake => Kind::UffdWake,
            },
            Op::Read { .. } => Kind::Read,
            Op::Write { .. } => Kind::Write,
            Op::Fork { .. } => Kind::Fork,
            Op::Exit { .. } => Kind::Exit,
            Op::Gup { foll: Foll::Get, entry, .. } => match entry {
                Entry::Slow => Kind::Get,
                Entry::Fast => Kind::GetFast,
                Entry::FastOnly => Kind::GetFastOnly,
            },
            Op::Gup { foll: Foll::Pin, entry, longterm, .. } => match (entry, longterm) {
                (Entry::Slow, false) => Kind::Pin,
                (_, false) => Kind::PinFast,
                (Entry::Slow, true) => Kind::PinLongterm,
                (_, true) => Kind::PinLongtermFast,
            },
            Op::Walk { .. } => Kind::Walk,
            Op::Put { .. } => Kind::Put,
            Op::Unpin { .. } => Kind::Unpin,
            Op::Peek { .. } => Kind::Peek,
            Op::LruAddDrain => Kind::LruAddDrain,
            Op::LruAddDrainAll => Kind::LruAddDrainAll,
            Op::SplitFolio { .. } => Kind::SplitFolio,
            Op::Migrate { .. } => Kind::Migrate,
            Op::Offline { .. } => Kind::Offline,
            Op::LockPage { .. } => Kind::LockPage,
            Op::UnlockPage { .. } => Kind::UnlockPage,
            Op::MigrateVmaSetup { .. } => Kind::MigrateVmaSetup,
            Op::MigrateDeviceRange { .. } => Kind::MigrateDeviceRange,
            Op::MigrateVmaPages { .. } => Kind::MigrateVmaPages,
            Op::MigrateVmaFinalize { .. } => Kind::MigrateVmaFinalize,
            Op::DeviceMigrate { to: Direction::ToDevice, .. } => Kind::ToDevice,
            Op::DeviceMigrate { to: Direction::ToSystem, .. } => Kind::ToSystem,
            Op::DeviceEvict { .. } => Kind::DeviceEvict,
            Op::DeviceRead { .. } => Kind::DeviceRead,
            Op::DeviceWrite { .. } => Kind::DeviceWrite,
            Op::HmmRangeFault { .. } => Kind::HmmRangeFault,
            Op::MakeDeviceExclusive { .. } => Kind::MakeDeviceExclusive,
        }
    }

    /// Whether its steps are marked (`docs/steps.md`), so that it can run beside others.
    pub const fn has_marks(self) -> bool {
        !matches!(self, Kind::LockPage | Kind::UnlockPage)
    }

    /// Whether later steps meet what it leaves behind (a folio lock, a device's entry) in ways that have
    /// no marks yet.
    pub const fn outlasts_marks(self) -> bool {
        matches!(self, Kind::MigrateVmaSetup | Kind::MigrateDeviceRange | Kind::LockPage)
    }

    /// How often random bytes draw this kind, of [`Kind::TOTAL_WEIGHT`].
    pub fn weight(self) -> u8 {
        Kind::WEIGHTS[self as usize]
    }

    /// This kind's bit in a swarm mask.
    pub fn bit(self) -> u64 {
        1 << self as u32
    }

    /// The kinds of a driver: only on a machine with device memory.
    pub const DEVICE: u64 = bits(&[
        Kind::MigrateVmaSetup,
        Kind::MigrateDeviceRange,
        Kind::MigrateVmaPages,
        Kind::MigrateVmaFinalize,
        Kind::ToDevice,
        Kind::ToSystem,
        Kind::DeviceEvict,
        Kind::DeviceRead,
        Kind::DeviceWrite,
        Kind::HmmRangeFault,
        Kind::MakeDeviceExclusive,
    ]);

    /// Whether it is about a range of an area that exists.
    pub(crate) fn has_range(self) -> bool {
        use Kind::*;
        const NO: u64 = bits(&[
            Nop,
            MmapAnon,
            MmapShmem,
            MmapFilePrivate,
            MmapFileShared,
            Fork,
            Exit,
            Put,
            Unpin,
            Peek,
            LruAddDrain,
            LruAddDrainAll,
            Offline,
            UnlockPage,
            MigrateDeviceRange,
            MigrateVmaPages,
            MigrateVmaFinalize,
            DeviceEvict,
        ]);
        NO & self.bit() == 0
    }

    /// Whether it faults pages in.
    pub(crate) fn populates(self) -> bool {
        use Kind::*;
        const YES: u64 = bits(&[
            PopulateRead,
            PopulateWrite,
            Read,
            Write,
            Get,
            GetFast,
            Pin,
            PinFast,
            PinLongterm,
            PinLongtermFast,
            Walk,
        ]);
        YES & self.bit() != 0
    }

    /// Whether it uses pages that are there, so that it can meet another operation on one.
    pub(crate) fn uses_pages(self) -> bool {
        use Kind::*;
        const NO: u64 = bits(&[
            Nop,
            MmapAnon,
            MmapShmem,
            MmapFilePrivate,
            MmapFileShared,
            DontFork,
            DoFork,
            HugePage,
            NoHugePage,
            LruAddDrain,
            LruAddDrainAll,
            UffdRegister,
            UffdRegisterSigbus,
            UffdUnregister,
            UffdCopy,
            UffdZeroPage,
            UffdWake,
        ]);
        NO & self.bit() == 0
    }

    /// Whether it looks at the first page of its range only.
    pub(crate) fn is_single(self) -> bool {
        matches!(self, Kind::SplitFolio | Kind::Migrate | Kind::LockPage)
    }

    /// Whether it can allocate folios, so that their place matters.
    pub fn allocates(self) -> bool {
        use Kind::*;
        matches!(
            self,
            Read | Write | Fork | Collapse | PopulateRead | PopulateWrite | Get | GetFast | Pin
        ) || matches!(self, PinFast | PinLongterm | PinLongtermFast | Walk | Migrate | UffdCopy)
            || matches!(self, ToSystem | DeviceEvict | MigrateVmaPages)
            || matches!(self, DeviceRead | DeviceWrite | HmmRangeFault | MakeDeviceExclusive)
    }

    /// The sites at which it can fail.
    pub fn sites(self) -> &'static [Site] {
        use Kind::*;
        use Site::*;
        match self {
            Read | PopulateRead => &[Table, Page, Cache],
            Write | PopulateWrite => &[Table, Page, Huge, Cache],
            Fork => &[Table, Page],
            Mremap => &[Table],
            Collapse => &[Site::Huge],
            Get | Pin => &[Grab, Table, Page, Huge, Cache],
            PinLongterm => &[Dst, Grab, Table, Page, Huge, Cache],
            PinLongtermFast => &[Dst, GrabFast, Grab, Table, Page, Huge, Cache],
            Walk => &[Table, Page, Huge, Cache],
            GetFast | PinFast => &[GrabFast, Grab, Table, Page, Huge, Cache],
            GetFastOnly => &[GrabFast],
            Migrate | ToSystem | DeviceEvict => &[Dst],
            UffdCopy => &[Table, Page],
            UffdZeroPage => &[Table],
            ToDevice => &[Device, Table],
            MigrateVmaPages => &[Device, Dst, Table],
            DeviceRead => &[Dst, Driver, Table, Page],
            DeviceWrite | HmmRangeFault => &[Dst, Driver, Table, Page, Huge],
            MakeDeviceExclusive => &[Grab, Dst, Page],
            _ => &[],
        }
    }
}

/// As a mask: faster to look into than a `match` of many arms where kinds come at random.
pub(crate) const fn bits(kinds: &[Kind]) -> u64 {
    let (mut bits, mut at) = (0, 0);
    while at < kinds.len() {
        bits |= 1 << kinds[at] as u32;
        at += 1;
    }
    bits
}
