//! The kinds of operation that scenes choose from.

use crate::kind::Kind;

/// Kinds that prepare, as often as they are listed.
pub(crate) const BEFORE: [Kind; 16] = [
    Kind::Write,
    Kind::Write,
    Kind::Write,
    Kind::Write,
    Kind::Write,
    Kind::PopulateWrite,
    Kind::Read,
    Kind::Read,
    Kind::LruAddDrainAll,
    Kind::LruAddDrainAll,
    Kind::Fork,
    Kind::Fork,
    Kind::Mprotect,
    Kind::Mprotect,
    Kind::Pin,
    Kind::Get,
];

/// Kinds that use pages, as often as they are listed.
pub(crate) const USE: [Kind; 24] = {
    use Kind::*;
    [
        Write,
        Write,
        Write,
        Write,
        Write,
        Write,
        Write,
        Write,
        Write,
        Read,
        Read,
        Read,
        PinFast,
        PinFast,
        PinFast,
        PinFast,
        PinFast,
        GetFast,
        GetFast,
        Pin,
        Get,
        Unpin,
        Put,
        PopulateWrite,
    ]
};

/// Kinds that take pages away or change what they are, as often as they are listed.
pub(crate) const CHANGE: [Kind; 24] = {
    use Kind::*;
    [
        Munmap,
        Munmap,
        Munmap,
        DontNeed,
        DontNeed,
        DontNeed,
        Mprotect,
        Mprotect,
        Mprotect,
        Mprotect,
        Mprotect,
        Fork,
        Fork,
        Fork,
        Fork,
        Migrate,
        Migrate,
        Migrate,
        SplitFolio,
        Collapse,
        Mremap,
        HugePage,
        PinLongterm,
        LruAddDrainAll,
    ]
};

/// Who changes an area while others fault in it, and who they are, as often as they are listed.
pub(crate) const UNDER: [Kind; 16] = {
    use Kind::*;
    [
        Munmap,
        Munmap,
        Munmap,
        Munmap,
        Mprotect,
        Mprotect,
        Mremap,
        Mremap,
        Collapse,
        Collapse,
        UffdRegister,
        UffdRegisterSigbus,
        UffdRegisterSigbus,
        UffdRegisterSigbus,
        UffdRegisterSigbus,
        Fork,
    ]
};
pub(crate) const FAULTING: [Kind; 8] = {
    use Kind::*;
    [Write, Write, Write, Write, Write, Read, Read, PopulateWrite]
};

/// Where userfaultfd is registered already: who fills pages in or stops it, and who faults.
pub(crate) const ARMED: [[Kind; 8]; 2] = {
    use Kind::*;
    [
        [Write, Write, Read, PopulateWrite, Pin, UffdCopy, UffdCopy, UffdZeroPage],
        [
            UffdCopy,
            UffdCopy,
            UffdCopy,
            UffdZeroPage,
            UffdZeroPage,
            UffdWake,
            UffdUnregister,
            Munmap,
        ],
    ]
};

/// What a driver does, as often as it is listed: before, with pages, and to them.
pub(crate) const DRIVER: [[Kind; 6]; 3] = {
    use Kind::*;
    [
        [ToDevice, ToDevice, ToDevice, ToDevice, Fork, MakeDeviceExclusive],
        [HmmRangeFault, HmmRangeFault, DeviceRead, DeviceWrite, Read, Write],
        [ToDevice, ToDevice, ToDevice, ToSystem, DeviceEvict, MakeDeviceExclusive],
    ]
};

/// Beginnings that chance seldom makes: pages that a child has too, on the LRU or in a device; and then
/// another one, in somebody's batch.
pub(crate) const OPENINGS: [[Kind; 4]; 2] = {
    use Kind::*;
    [[Write, LruAddDrainAll, Fork, Write], [Write, ToDevice, Fork, Write]]
};

/// Where there is a driver: who uses the page, and who moves it.
pub(crate) const CROSSING: [[Kind; 8]; 2] = {
    use Kind::*;
    [
        [HmmRangeFault, HmmRangeFault, HmmRangeFault, DeviceRead, DeviceWrite, Read, Read, Write],
        [ToDevice, ToDevice, ToDevice, ToDevice, ToDevice, DeviceEvict, DeviceEvict, ToSystem],
    ]
};

/// What two do to the page that a third needs.
pub(crate) const AGAINST: [Kind; 4] =
    [Kind::ToDevice, Kind::DeviceEvict, Kind::DeviceEvict, Kind::DeviceEvict];
/// Who that is.
pub(crate) const NEEDS: [Kind; 4] = [Kind::Read, Kind::Write, Kind::Write, Kind::DeviceWrite];

/// Who takes pages off the LRU to move them elsewhere, as often as they are listed; and where there is a
/// driver, whose pages are on none.
pub(crate) const MOVE: [[Kind; 8]; 2] = {
    use Kind::*;
    [
        [
            PinLongterm,
            PinLongterm,
            PinLongterm,
            PinLongtermFast,
            Migrate,
            Migrate,
            Migrate,
            Offline,
        ],
        [
            PinLongterm,
            PinLongterm,
            PinLongterm,
            PinLongtermFast,
            Fork,
            DeviceEvict,
            DeviceEvict,
            Offline,
        ],
    ]
};
