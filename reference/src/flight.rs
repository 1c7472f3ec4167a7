//! An operation of a concurrent phase between its first mark and its last: how far it is, and what
//! it must return (`docs/steps.md`).

use program::{Advice, Call, Entry, Errno, HandleId, MmId, Op, Range, Ret, Span, Uffdio};

use crate::device::{Migration, count};
use crate::mm::Page;
use crate::page_alloc::Now;
use crate::state::{State, reuse_clone};

/// See the module.
#[derive(Default, Debug)]
pub(crate) struct Flight {
    pub number: usize,
    /// Its circumstances while another operation has a mark.
    pub now: Now,
    /// Its objects did not exist.
    pub void: bool,
    /// Pages done, from the start of its range or its handles.
    pub done: u32,
    /// What it fails with, unless it gets further.
    pub error: Option<Errno>,
    /// A migration: why a folio may be left where it is.
    pub missed: bool,
    /// One was left.
    pub left: bool,
    /// The device migration that it has in hand.
    pub open: Option<Migration>,
    /// Pages that its device migrations moved.
    pub moved: u32,
    /// A collapse: why the last PMD that failed did, and what it has copied.
    pub last_fail: Option<Errno>,
    pub copied: Vec<u64>,
}
reuse_clone!(Flight {
    number,
    now,
    void,
    done,
    error,
    missed,
    left,
    open,
    moved,
    last_fail,
    copied
});

impl State {
    /// The operation begins.
    pub fn take_off(&mut self, call: Call<'_>) {
        let mut flight = Box::new(Flight { number: call.number, ..Flight::default() });
        flight.now.begin(call.number, call.step);
        flight.now.marked = true;
        flight.void = !self.has_objects(&call.step.op) || matches!(call.step.op, Op::Nop);
        flight.open = self.take_migration(&call.step.op);
        if let (Op::Gup { handle, foll, .. }, false) = (call.step.op, flight.void) {
            self.create_handle(handle, foll == program::Foll::Pin);
        }
        self.flights.push(flight);
    }

    /// What the operation, all of whose marks were carried out, returns; none if it is not done.
    pub fn landed(&self, call: Call<'_>, flight: &Flight) -> Option<Ret> {
        if flight.void {
            return Some(Ret::Void);
        }
        let done = flight.done;
        let failed = flight.error.map(Ret::Err);
        let whole = |range: Range| (done == u32::from(range.len)).then_some(Ret::Ok(done));
        match call.step.op {
            Op::Read { range, .. } | Op::Write { range, .. } => failed.or_else(|| whole(range)),
            Op::Gup { range, handle, entry, longterm, .. } => {
                let pages = &self.handles[usize::from(handle.0)].pages;
                let got = pages.len() as u32;
                let may_stay = |page: &Page| match *page {
                    Page::Of(folio, _) => self.lies_where_pins_may(folio),
                    Page::Zero => true,
                };
                if longterm && !pages.iter().all(may_stay) {
                    return None;
                }
                let short = failed.is_some() || entry == Entry::FastOnly;
                match (got, failed) {
                    _ if got == u32::from(range.len) => Some(Ret::Ok(got)),
                    (0, Some(error)) => Some(error),
                    _ if short => Some(Ret::Ok(got)),
                    _ => None,
                }
            }
            Op::Walk { range, .. } => match failed {
                _ if done > 0 && failed.is_some() => Some(Ret::Ok(done)),
                Some(error) => Some(error),
                None => whole(range),
            },
            Op::Put { handle } => self.all_released(handle).then_some(Ret::Ok(done)),
            Op::Unpin { handle, also, .. } => {
                let all = [Some(handle), also].into_iter().flatten().all(|h| self.all_released(h));
                all.then_some(Ret::Ok(done))
            }
            Op::Peek { handle } => {
                let all = self.handles[usize::from(handle.0)].pages.len() == done as usize;
                all.then_some(Ret::Ok(done))
            }
            Op::Madvise { range, advice: Advice::PopulateRead | Advice::PopulateWrite, .. } => {
                failed.or_else(|| (done == u32::from(range.len)).then_some(Ret::Ok(0)))
            }
            Op::Uffd { range, uffdio: Uffdio::Copy | Uffdio::ZeroPage, .. } => match failed {
                Some(error) if done == 0 => Some(error),
                Some(_) => Some(Ret::Ok(done)),
                None => whole(range),
            },
            Op::Madvise { advice: Advice::Collapse, .. } => {
                Some(flight.last_fail.map_or(Ret::Ok(0), Ret::Err))
            }
            Op::Fork { child, .. } => {
                (self.is_live(child) != failed.is_some()).then(|| failed.unwrap_or(Ret::Ok(0)))
            }
            Op::Migrate { .. } => {
                let left = flight.left.then_some(Ret::Err(Errno::EAGAIN));
                failed.or(left).or(Some(Ret::Ok(0)))
            }
            // Tested in the end, or there was no room.
            Op::Offline { .. } => (done == 1 || failed.is_some())
                .then_some(failed.map_or(Ret::Ok(0), |_| Ret::Err(Errno::EBUSY))),
            Op::Mprotect { mm, .. } => {
                let ret = failed.unwrap_or(Ret::Ok(0));
                self.is_protected(mm, span(call)?).then_some(ret)
            }
            Op::MigrateVmaSetup { .. } | Op::MigrateDeviceRange { .. } => {
                failed.or_else(|| flight.open.as_ref().map(|open| Ret::Ok(count(open))))
            }
            Op::MigrateVmaPages { .. } => flight.open.as_ref().map(|open| match open.paged {
                true => Ret::Void,
                false => Ret::Ok(count(open)),
            }),
            Op::MigrateVmaFinalize { .. } => flight.open.is_none().then_some(Ret::Ok(0)),
            _ if flight.open.is_some() => None, // a migration that was not finalized
            Op::DeviceMigrate { .. } => failed
                .filter(|failed| *failed == Ret::Err(Errno::EINVAL))
                .or(Some(Ret::Ok(flight.moved))),
            Op::DeviceEvict { .. } => Some(Ret::Ok(flight.moved)),
            Op::HmmRangeFault { range, .. }
            | Op::DeviceRead { range, .. }
            | Op::DeviceWrite { range, .. } => match flight.error {
                Some(Errno::EPERM) => Some(Ret::Err(Errno::EPERM)),
                Some(_) => Some(Ret::Err(Errno::EFAULT)),
                None => whole(range),
            },
            Op::MakeDeviceExclusive { range, .. } => whole(range).or(Some(Ret::Err(Errno::EBUSY))),
            Op::Exit { mm } => (!self.is_live(mm)).then_some(Ret::Ok(0)),
            _ => Some(failed.unwrap_or(Ret::Ok(0))),
        }
    }

    /// Whether no entry allows more than its VMA.
    fn is_protected(&self, mm: MmId, span: Span) -> bool {
        (span.start..span.end).all(|vpn| match (self.translate(mm, vpn), self.vma(mm, vpn)) {
            (Some(mapped), Some(vma)) => {
                (!mapped.entry.write || vma.is_writable())
                    && (!mapped.entry.read || vma.is_readable())
            }
            (mapped, _) => mapped.is_none(),
        })
    }

    fn all_released(&self, handle: HandleId) -> bool {
        !self.handle_exists(handle)
    }

    /// Why an access that the VMA forbids fails, to the operation that makes it.
    pub fn forbidden(&self, op: &Op, mm: MmId, vpn: u32) -> Errno {
        match op {
            Op::Gup { .. } | Op::Walk { .. } | Op::Mremap { .. } => Errno::EFAULT,
            Op::DeviceMigrate { .. } => Errno::EINVAL,
            Op::HmmRangeFault { .. } | Op::DeviceRead { .. } | Op::DeviceWrite { .. } => {
                let readable = self.vma(mm, vpn).is_some_and(|vma| vma.is_readable());
                if readable { Errno::EPERM } else { Errno::EFAULT }
            }
            Op::Madvise { .. } if self.vma(mm, vpn).is_none() => Errno::ENOMEM,
            Op::Madvise { .. } => Errno::EINVAL,
            _ => Errno::SIGSEGV,
        }
    }
}

/// The pages that an operation is about.
pub(crate) fn span(call: Call<'_>) -> Option<Span> {
    call.step.op.range().map(|range| call.layout.span(range))
}
