//! The guest's driver (`live/guest/mmoracle.c`): exact counts, raw entries, GUP with any flags,
//! folio locks. Where its device is missing, all of that is "not observable".
#![allow(unsafe_code, reason = "ioctls of a driver of our own; every block says why")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use program::{Entry, EntryKind, Foll, Layout, Place};

use crate::witness::{EntrySight, Frame, MmSight, Observation, PageSight};

use super::observe::{address, page_at};

const DEVICE: &str = "/dev/mmoracle";

/// `struct mmo_page`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
struct Page {
    at: u64,
    pfn: u64,
    word: u64,
    refs: i32,
    maps: i32,
    pins: i32,
    flags: u32,
    zone: u32,
    cma: u32,
}

/// `struct mmo_look`.
#[repr(C)]
struct Look {
    pid: u32,
    count: u32,
    pages: u64,
    spans: u64,
    nr_spans: u64,
}

/// `struct mmo_gup`, where a worker's mailbox has room for it.
pub const GUP: u64 = 0x4010_4D02;
/// As `GUP`; the count says whether to wait for locks.
pub const MIGRATE: u64 = 0x4010_4D06;
/// Argument: address.
pub const SPLIT: u64 = 0x4D05;
/// Argument: address.
pub const LOCK: u64 = 0x4D07;
/// Argument: whether in ZONE_NORMAL outside CMA, whatever is asked for.
pub const PLACE: u64 = 0x4D0A;
/// Gives the free pages that lie ready for a CPU back to the zone.
const DRAIN_FREE: u64 = 0x4D0B;
const PFNS: libc::Ioctl = 0xC010_4D04;
const LOOK: libc::Ioctl = 0xC020_4D01;
const DROP: libc::Ioctl = 0x4D03;
const UNLOCK: libc::Ioctl = 0x4D08;

const PRESENT: u32 = 1 << 0;
const WRITE: u32 = 1 << 1;
const DIRTY: u32 = 1 << 2;
const HUGE: u32 = 1 << 3;
const ZERO: u32 = 1 << 4;
const MIGRATION: u32 = 1 << 5;
const MIGRATION_AE: u32 = 1 << 6;
const PRIVATE: u32 = 1 << 7;
const PG_ANON: u32 = 1 << 8;
const PG_AE: u32 = 1 << 9;
const PG_LOCKED: u32 = 1 << 10;
const PG_LRU: u32 = 1 << 11;
const PG_DIRTY: u32 = 1 << 12;
const PG_LARGE: u32 = 1 << 13;

/// The flags of an `mmo_gup`.
pub fn gup_flags(entry: Entry, foll: Foll, write: bool, longterm: bool) -> u32 {
    let bit = |set: bool, bit: u32| u32::from(set) << bit;
    bit(write, 0)
        | bit(foll == Foll::Pin, 1)
        | bit(longterm, 2)
        | bit(entry == Entry::Fast, 3)
        | bit(entry == Entry::FastOnly, 4)
}

/// One open file of the device: it holds the pages of a handle, a folio lock, an open migration.
#[derive(Debug)]
pub struct Driver {
    file: File,
    buffer: Vec<Page>,
}

impl Driver {
    /// None if this kernel has no such device.
    pub fn open() -> Option<Driver> {
        let file = File::options().read(true).write(true).open(DEVICE).ok()?;
        Some(Driver { file, buffer: Vec::new() })
    }

    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// The same for the process that calls as for a worker ([`PLACE`]).
    pub fn place(&self, normal: bool) -> io::Result<u32> {
        // SAFETY: the argument is a number.
        done(unsafe { libc::ioctl(self.fd(), PLACE as libc::Ioctl, u64::from(normal)) })
    }

    /// Leaves no free page ready for the CPU: the zone decides whether the next comes from CMA.
    pub fn drain_free(&self) -> io::Result<u32> {
        // SAFETY: there is no argument.
        done(unsafe { libc::ioctl(self.fd(), DRAIN_FREE as libc::Ioctl, 0) })
    }

    /// Drops what a GUP through this file took: the number of pages.
    pub fn release(&self, dirty: bool) -> io::Result<u32> {
        // SAFETY: the argument is a number.
        done(unsafe { libc::ioctl(self.fd(), DROP, u64::from(dirty)) })
    }

    /// Releases the folio lock taken through this file.
    pub fn unlock(&self) -> io::Result<u32> {
        // SAFETY: there is no argument.
        done(unsafe { libc::ioctl(self.fd(), UNLOCK, 0) })
    }

    /// The frames that this file holds, in order.
    pub fn frames(&self, most: usize) -> io::Result<Vec<u64>> {
        let mut pfns = vec![0u64; most];
        let ask = [pfns.as_mut_ptr() as u64, most as u64];
        // SAFETY: `struct mmo_pfns`; the driver writes at most `most` words to `pfns`.
        let count = done(unsafe { libc::ioctl(self.fd(), PFNS, ask.as_ptr()) })?;
        pfns.truncate(count as usize);
        Ok(pfns)
    }

    /// Pages by frame number: what they look like, the zero page left out.
    pub fn pages(&self, frames: &[u64], seen: &mut Observation) -> io::Result<Vec<u64>> {
        let mut pages: Vec<Page> =
            frames.iter().map(|&at| Page { at, ..Page::default() }).collect();
        look(self.fd(), 0, &mut pages, &[])?;
        let sights = pages.iter().map(|page| (Frame::Page(page.pfn), page_sight(page)));
        seen.pages.extend(sights);
        Ok(pages.iter().map(|page| page.word).collect())
    }

    /// All entries of an mm that are not none, and their pages.
    pub fn entries(
        &mut self,
        pid: i32,
        layout: &Layout,
        seen: &mut Observation,
    ) -> io::Result<MmSight> {
        let areas = (0..layout.len()).map(|at| layout.area(program::AreaId(at as u8)));
        let spans: Vec<[u64; 2]> =
            areas.map(|span| [address(span.start), address(span.end)]).collect();
        let fd = self.fd();
        let found = loop {
            match look(fd, pid as u32, &mut self.buffer, &spans) {
                Err(error) if error.raw_os_error() == Some(libc::E2BIG) => {
                    let more = 2 * self.buffer.len().max(2048);
                    self.buffer.resize(more, Page::default());
                }
                result => break result?,
            }
        };
        let pages = &self.buffer[..found as usize];
        let mut sight = MmSight::default();
        sight.entries.extend(pages.iter().map(|page| (page_at(page.at), entry_sight(page))));
        let real = pages.iter().filter(|page| page.flags & ZERO == 0);
        seen.pages.extend(real.map(|page| (Frame::Page(page.pfn), page_sight(page))));
        Ok(sight)
    }
}

/// What is in `spans` of a process; without one: at the pages themselves.
fn look(fd: RawFd, pid: u32, pages: &mut [Page], spans: &[[u64; 2]]) -> io::Result<u32> {
    let look = Look {
        pid,
        count: pages.len() as u32,
        pages: pages.as_mut_ptr() as u64,
        spans: spans.as_ptr() as u64,
        nr_spans: spans.len() as u64,
    };
    // SAFETY: the driver writes at most `count` records to `pages`, which has the same layout
    // there, and reads `nr_spans` pairs of words.
    done(unsafe { libc::ioctl(fd, LOOK, &look) })
}

fn entry_sight(page: &Page) -> EntrySight {
    let has = |bit: u32| page.flags & bit != 0;
    let kind = match page.flags {
        flags if flags & PRESENT != 0 => EntryKind::Present,
        flags if flags & MIGRATION != 0 => EntryKind::Migration { exclusive: has(MIGRATION_AE) },
        flags if flags & PRIVATE != 0 => EntryKind::DevicePrivate,
        _ => EntryKind::DeviceExclusive,
    };
    EntrySight {
        kind,
        frame: if has(ZERO) { Frame::Zero } else { Frame::Page(page.pfn) },
        huge: has(HUGE),
        write: Some(has(WRITE)),
        dirty: Some(has(DIRTY)),
    }
}

fn page_sight(page: &Page) -> PageSight {
    let bit = |bit: u32| Some(page.flags & bit != 0);
    let place = match (page.zone, page.cma) {
        (1, _) => Place::Movable,
        (2, _) => Place::Device,
        (3, _) => Place::Coherent,
        (_, 1) => Place::Cma,
        _ => Place::Normal,
    };
    let anon = page.flags & PG_ANON != 0;
    PageSight {
        mapcount: Some(page.maps as u32),
        anon: Some(anon),
        exclusive: anon.then_some(page.flags & PG_AE != 0),
        exact: true,
        locked: bit(PG_LOCKED),
        lru: bit(PG_LRU),
        dirty: bit(PG_DIRTY),
        large: bit(PG_LARGE),
        refcount: Some(page.refs.into()),
        pincount: Some(page.pins as u32),
        place: Some(place),
        data: Some(page.word),
    }
}

fn done(result: i32) -> io::Result<u32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as u32) }
}
