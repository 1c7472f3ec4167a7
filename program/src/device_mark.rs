//! The marked steps of drivers: device migrations, `hmm_range_fault`, exclusive pages
//! (`docs/steps.md`).

use crate::digest::Name;
use crate::op::{Device, MmId, Select};
use crate::program::Span;
use crate::shape::Place;

/// One step of a driver's operation, or of a fault that a driver handles. `index`: of the page in
/// the migration that the operation has open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[expect(missing_docs, reason = "fields are named for what they hold; the table is docs/steps.md")]
pub enum DeviceMark {
    /// A migration begins: of the pages from `start` on or, without an mm, of a device's own.
    /// `fault`: for a fault, which holds and has locked this page. Sees nothing.
    Begin { mm: Option<MmId>, start: u32, device: Device, select: Select, fault: Option<Name> },
    /// A longterm pin's migration of one device-coherent page, which it holds, begins. Sees whether
    /// the page is there to be locked.
    BeginCoherent { folio: Name },
    /// Its next page is collected, or left alone (`contended`: because somebody uses this folio).
    /// Sees the page, or whether it is a hole to fill.
    Collect { mm: MmId, vpn: u32, contended: Option<Name> },
    /// Likewise, of a page of the device wherever it is mapped (`contended`: it is locked).
    CollectDevice { folio: Name, contended: bool },
    /// A page is taken off the LRU. Sees whether it was there.
    Isolate { index: u32 },
    /// What mapped it is gone; it can move unless somebody else uses it. Sees whether it can.
    Check { index: u32 },
    /// The driver's destination for it, from this place. Sees the new page.
    Destination { index: u32, placed: Option<Place> },
    /// `migrate_vma_pages`. Sees whether it moves.
    Move { index: u32 },
    /// Finalize puts the page that stays on the LRU. Sees nothing.
    PutBack { index: u32 },
    /// Finalize is done with all pages. Sees nothing.
    End,
    /// `migrate_vma_setup` refuses its arguments. Sees whether they are wrong.
    Invalid { mm: MmId, span: Span, fault: bool },
    /// The page is unlocked, and the migration's references are dropped. Sees nothing.
    LetGo { index: u32 },
    /// `migrate_to_ram` fails. Sees nothing.
    DriverFailed,
    /// `hmm_range_fault` looks at a page. Sees its flags.
    Flags { mm: MmId, vpn: u32, device: Device },
    /// A driver uses what it was told of a page, which is still true where it was `valid`. Sees
    /// flags and data.
    Use { mm: MmId, vpn: u32, device: Device, valid: bool },
    /// A load through a device's page table. Sees the data.
    Load { mm: MmId, vpn: u32, device: Device },
    /// A store through it, the `at`-th of the operation. Sees the page.
    Store { mm: MmId, vpn: u32, device: Device, at: u32 },
    /// A PTE becomes a device-exclusive entry. Sees the entry.
    Exclusive { mm: MmId, vpn: u32 },
    /// A device maps what is exclusive to it, if it still is (`kept`). Sees the data.
    Map { mm: MmId, vpn: u32, device: Device, kept: bool },
    /// A device-exclusive entry becomes a mapping again. Sees the entry.
    Restore { mm: MmId, vpn: u32 },
}

impl DeviceMark {
    /// A stable name, lower case and dashes.
    pub fn name(&self) -> &'static str {
        match self {
            DeviceMark::Begin { .. } | DeviceMark::BeginCoherent { .. } => "migrate-begin",
            DeviceMark::Collect { .. } | DeviceMark::CollectDevice { .. } => "migrate-collect",
            DeviceMark::Isolate { .. } => "migrate-isolate",
            DeviceMark::Check { .. } => "migrate-check",
            DeviceMark::Destination { .. } => "migrate-destination",
            DeviceMark::Move { .. } => "migrate-move",
            DeviceMark::PutBack { .. } => "migrate-put-back",
            DeviceMark::End => "migrate-end",
            DeviceMark::Invalid { .. } => "migrate-invalid",
            DeviceMark::LetGo { .. } => "migrate-let-go",
            DeviceMark::DriverFailed => "driver-failed",
            DeviceMark::Flags { .. } => "hmm-flags",
            DeviceMark::Use { .. } => "hmm-use",
            DeviceMark::Load { .. } => "device-load",
            DeviceMark::Store { .. } => "device-store",
            DeviceMark::Exclusive { .. } => "exclusive",
            DeviceMark::Map { .. } => "exclusive-map",
            DeviceMark::Restore { .. } => "exclusive-restore",
        }
    }

    /// The address that it is about.
    pub fn address(&self) -> Option<(MmId, u32)> {
        match *self {
            DeviceMark::Collect { mm, vpn, .. }
            | DeviceMark::Flags { mm, vpn, .. }
            | DeviceMark::Use { mm, vpn, .. }
            | DeviceMark::Load { mm, vpn, .. }
            | DeviceMark::Store { mm, vpn, .. }
            | DeviceMark::Exclusive { mm, vpn }
            | DeviceMark::Map { mm, vpn, .. }
            | DeviceMark::Restore { mm, vpn } => Some((mm, vpn)),
            DeviceMark::Invalid { mm, span, .. } => Some((mm, span.start)),
            DeviceMark::Begin { mm, start, .. } => mm.map(|mm| (mm, start)),
            _ => None,
        }
    }

    /// The page of the open migration that it is about.
    pub fn index(&self) -> Option<u32> {
        match *self {
            DeviceMark::Isolate { index }
            | DeviceMark::Check { index }
            | DeviceMark::Destination { index, .. }
            | DeviceMark::Move { index }
            | DeviceMark::PutBack { index }
            | DeviceMark::LetGo { index } => Some(index),
            _ => None,
        }
    }
}
