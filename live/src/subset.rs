//! Which steps a running kernel can carry out. The others are left out on both sides.

use program::{
    Advice, Device, Entry, EntryKind, EntryView, FolioView, Foll, Kind, MmView, ObjectId, Op,
    PageRef, Program, Shape, Snapshot, Span, Step, Thp,
};

use crate::witness::Abilities;

/// Pages of each device of the guest (`live/guest/mmoracle_device.c`).
const DEVICE_PAGES: u32 = 8192;

/// The machine that a kernel on x86-64 is, as far as this program can tell. It has devices where
/// the program uses one.
pub fn shape(thp: Thp, program: &Program, can: Abilities) -> Shape {
    let uses = program.steps().any(|step| Kind::of(&step.op).bit() & Kind::DEVICE != 0);
    let [private, coherent] = can.devices.map(|there| if there && uses { DEVICE_PAGES } else { 0 });
    Shape {
        cpus: 1,
        ptes: 512,
        pages: [1 << 16, 1 << 16, 1 << 16, private, coherent],
        batch: 31,
        thp,
        ..Shape::default()
    }
}

/// Most handles of a program: rings and pipes are made beforehand.
const HANDLES: u8 = 24;
/// Most pages of a `get`: slots of a pipe.
const GET_PAGES: u16 = 256;

/// Why a second migration is left out.
pub const MIXED: &str = "a migration before it met a folio mapped by PTEs and by a PMD";

/// Whether the step may migrate a large folio that PTEs and PMDs map. Whether that leaves it partially
/// mapped, so that the next migration splits it, depends on where `rmap_walk` comes to the PMD; among
/// VMAs of equal first index Linux goes by which came into the tree last, the model by the age of mms.
pub fn meets_mixed(step: &Step, state: &Snapshot) -> bool {
    let by_pte = |folio: &FolioView| folio.mapcount.iter().any(|&n| n > 0);
    let mixed = |folio: &FolioView| folio.entire_mapcount > 0 && by_pte(folio);
    migrates_large(step, state) && state.folios.values().any(mixed)
}

/// Whether the step may migrate a large folio.
pub fn migrates_large(step: &Step, state: &Snapshot) -> bool {
    let migrates = matches!(step.op, Op::Migrate { .. } | Op::Gup { longterm: true, .. });
    migrates && state.folios.values().any(|folio| folio.order > 0)
}

/// Why this step is not for this witness, in this state of the reference.
pub fn refuses(
    step: &Step,
    span: Option<Span>,
    state: &Snapshot,
    shape: &Shape,
    can: Abilities,
) -> Option<&'static str> {
    if step.fail.is_some() {
        return Some("failures cannot be asked for");
    }
    let within = || Some((state.mms.get(&step.op.mm()?)?, span?));
    if can.driver && loses_exclusive(&step.op, state) {
        return Some("Linux takes device-exclusive entries for migration entries");
    }
    let regular = |shared: bool| within().is_some_and(|(mm, span)| maps_file(mm, span, shared));
    match step.op {
        Op::Mmap { .. } | Op::Munmap { .. } | Op::Mprotect { .. } | Op::Mremap { .. } => None,
        Op::Write { .. } | Op::Fork { .. } | Op::Exit { .. } => None,
        Op::Put { .. } | Op::Unpin { .. } | Op::Peek { .. } => None,
        Op::Nop | Op::LruAddDrain | Op::LruAddDrainAll => None,
        Op::Madvise { advice: Advice::HugePage, .. } if regular(false) => {
            Some("readahead of huge folios is not in the model")
        }
        Op::Madvise { advice: Advice::Collapse, .. } if within().is_some_and(maps_shmem) => {
            Some("huge folios of shmem are not in the model")
        }
        Op::Read { .. } | Op::Madvise { advice: Advice::PopulateRead, .. } => {
            huge_read(within(), shape)
        }
        Op::Madvise { .. } => None,
        Op::Gup { entry, foll, write, longterm, handle, range, .. } => {
            if handle.0 >= HANDLES {
                return Some("too many handles");
            }
            if can.driver {
                return if write { None } else { huge_read(within(), shape) };
            }
            match (foll, write) {
                _ if entry == Entry::FastOnly => Some("no system call walks without faults"),
                (Foll::Get, true) => Some("no system call keeps FOLL_GET | FOLL_WRITE"),
                (Foll::Get, false) if range.len > GET_PAGES => Some("more than a pipe holds"),
                (Foll::Pin, true) if !longterm && regular(true) => {
                    Some("a longterm pin refuses shared files")
                }
                (Foll::Pin, false) if longterm => {
                    Some("no system call keeps a longterm pin to read")
                }
                (Foll::Pin, true) => None,
                (_, false) => huge_read(within(), shape),
            }
        }
        Op::SplitFolio { .. } | Op::Migrate { .. } if can.driver => None,
        Op::LockPage { .. } | Op::UnlockPage { .. } if can.driver => None,
        Op::MigrateVmaSetup { fault: true, .. } => Some("nothing faults there"),
        Op::DeviceEvict { remove: true, .. } => Some("the devices of the guest stay"),
        Op::MigrateVmaSetup { .. } | Op::DeviceMigrate { .. } if leaks(within(), state, shape) => {
            Some("Linux leaks a reference of a locked huge folio")
        }
        Op::MigrateVmaPages { .. } | Op::MigrateVmaFinalize { .. } => device(can, None),
        Op::MigrateVmaSetup { device: of, .. }
        | Op::MigrateDeviceRange { device: of, .. }
        | Op::DeviceMigrate { device: of, .. }
        | Op::DeviceEvict { device: of, .. }
        | Op::DeviceWrite { device: of, .. }
        | Op::MakeDeviceExclusive { device: of, .. } => device(can, Some(of)),
        Op::DeviceRead { device: of, .. } | Op::HmmRangeFault { device: of, .. } => {
            device(can, Some(of)).or_else(|| huge_read(within(), shape))
        }
        _ => Some("no system call does this"),
    }
}

fn device(can: Abilities, device: Option<Device>) -> Option<&'static str> {
    let there = device.map_or(can.devices != [false; 2], |device| can.has(device));
    if there { None } else { Some("there is no such device") }
}

/// `remove_migration_ptes` makes device-exclusive entries present, too (`check_pte` lets them pass),
/// and does not put the reference of such an entry.
fn loses_exclusive(op: &Op, state: &Snapshot) -> bool {
    let migrates = match op {
        Op::Migrate { .. } | Op::MigrateVmaSetup { .. } | Op::MigrateDeviceRange { .. } => true,
        Op::DeviceMigrate { .. } | Op::DeviceEvict { .. } => true,
        Op::Gup { longterm, .. } => *longterm,
        _ => false,
    };
    let exclusive = |entry: &EntryView| entry.kind == EntryKind::DeviceExclusive;
    migrates && state.mms.values().any(|mm| mm.entries.values().any(exclusive))
}

/// `migrate_vma_collect_pmd` does not put its reference where it cannot lock a huge folio.
fn leaks(within: Option<(&MmView, Span)>, state: &Snapshot, shape: &Shape) -> bool {
    let Some((mm, span)) = within else { return false };
    let ptes = u32::from(shape.ptes);
    let mut huge = mm.huge.range(span.start / ptes..span.end.div_ceil(ptes));
    let locked = |name| state.folios.get(&name).is_some_and(|folio| folio.locked.is_some());
    huge.any(|(_, entry)| matches!(entry.page, PageRef::Of(name, _) if locked(name)))
}

/// Whether part of the range maps a regular file (if `shared`: shared).
fn maps_file(mm: &MmView, span: Span, shared: bool) -> bool {
    mm.vmas.iter().any(|vma| {
        let meets = vma.start < span.end && span.start < vma.end;
        let regular = matches!(vma.flags.object, Some(ObjectId::File(_)));
        meets && regular && (vma.flags.shared || !shared)
    })
}

fn maps_shmem((mm, span): (&MmView, Span)) -> bool {
    mm.vmas.iter().any(|vma| {
        let meets = vma.start < span.end && span.start < vma.end;
        meets && matches!(vma.flags.object, Some(ObjectId::Shmem(_)))
    })
}

/// A read of an empty PMD where a huge page could be maps the huge zero folio or, where
/// `use_zero_page` is off, a huge folio. The model maps zero PTEs (decision 3), as no kernel does.
fn huge_read(within: Option<(&MmView, Span)>, shape: &Shape) -> Option<&'static str> {
    let (mm, span) = within?;
    let ptes = u32::from(shape.ptes);
    let eligible = |pmd: u32| {
        mm.vmas.iter().any(|vma| {
            let allowed = match shape.thp {
                Thp::Always => !vma.flags.nohugepage,
                Thp::Madvise => vma.flags.hugepage,
                Thp::Never => false,
            };
            let whole = vma.start <= pmd * ptes && (pmd + 1) * ptes <= vma.end;
            allowed && whole && vma.flags.object.is_none()
        })
    };
    let empty = |pmd: &u32| !mm.tables.contains(pmd) && !mm.huge.contains_key(pmd);
    let mut pmds = (span.start / ptes..span.end.div_ceil(ptes)).filter(empty);
    pmds.any(eligible).then_some("read faults of huge pages are not in the model")
}
