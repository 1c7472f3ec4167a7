//! Which steps a running kernel can carry out. The others are left out on both sides.

use program::{Advice, Entry, Foll, MmView, ObjectId, Op, Shape, Snapshot, Span, Step, Thp};

use crate::witness::Abilities;

/// The machine that a kernel on x86-64 is, as far as a program can tell.
pub fn shape(thp: Thp) -> Shape {
    Shape {
        cpus: 1,
        ptes: 512,
        pages: [1 << 16, 1 << 16, 1 << 16, 0, 0],
        batch: 31,
        thp,
        ..Shape::default()
    }
}

/// Most handles of a program: rings and pipes are made beforehand.
const HANDLES: u8 = 24;
/// Most pages of a `get`: slots of a pipe.
const GET_PAGES: u16 = 256;

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
            if can.driver {
                return if write { None } else { huge_read(within(), shape) };
            }
            match (foll, write) {
                _ if entry == Entry::FastOnly => Some("no system call walks without faults"),
                _ if handle.0 >= HANDLES => Some("too many handles"),
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
        _ => Some("no system call does this"),
    }
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
