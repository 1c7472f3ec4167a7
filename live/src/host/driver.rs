//! The guest's driver (`live/guest/mmoracle.c`): exact counts, raw entries, GUP with any flags,
//! folio locks. Where its device is missing, all of that is "not observable".
#![allow(unsafe_code, reason = "ioctls of a driver of our own; every block says why")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use program::{Entry, Foll, Place};

use crate::witness::{Frame, MmSight, Observation, PageSight};

use super::observe::address;

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
}

/// `struct mmo_gup`, where a worker's mailbox has room for it.
pub const GUP: u64 = 0x4010_4D02;
/// As `GUP`; the count says whether to wait for locks.
pub const MIGRATE: u64 = 0x4010_4D06;
/// Argument: address.
pub const SPLIT: u64 = 0x4D05;
/// Argument: address.
pub const LOCK: u64 = 0x4D07;
const PFNS: libc::Ioctl = 0xC010_4D04;
const LOOK: libc::Ioctl = 0xC010_4D01;
const DROP: libc::Ioctl = 0x4D03;
const UNLOCK: libc::Ioctl = 0x4D08;

const WRITE: u32 = 1 << 1;
const DIRTY: u32 = 1 << 2;
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

/// One open file of the device: it holds the pages of a handle, or a folio lock.
#[derive(Debug)]
pub struct Driver(File);

impl Driver {
    /// None if this kernel has no such device.
    pub fn open() -> Option<Driver> {
        File::options().read(true).write(true).open(DEVICE).ok().map(Driver)
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
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
        self.look(0, &mut pages)?;
        let sights = pages.iter().map(|page| (Frame::Page(page.pfn), page_sight(page)));
        seen.pages.extend(sights);
        Ok(pages.iter().map(|page| page.word).collect())
    }

    fn look(&self, pid: u32, pages: &mut [Page]) -> io::Result<()> {
        let look = Look { pid, count: pages.len() as u32, pages: pages.as_mut_ptr() as u64 };
        // SAFETY: the driver writes `count` records to `pages`, which has the same layout there.
        done(unsafe { libc::ioctl(self.fd(), LOOK, &look) }).map(drop)
    }

    /// Fills in what only the driver sees of an mm's entries and their pages.
    pub fn complete(
        &self,
        pid: i32,
        sight: &mut MmSight,
        seen: &mut Observation,
    ) -> io::Result<()> {
        let mut pages: Vec<Page> =
            sight.entries.keys().map(|&vpn| Page { at: address(vpn), ..Page::default() }).collect();
        self.look(pid as u32, &mut pages)?;
        for (entry, page) in sight.entries.values_mut().zip(&pages) {
            entry.write = Some(page.flags & WRITE != 0);
            entry.dirty = Some(page.flags & DIRTY != 0);
            if entry.frame != Frame::Zero {
                seen.pages.insert(Frame::Page(page.pfn), page_sight(page));
            }
        }
        Ok(())
    }
}

fn page_sight(page: &Page) -> PageSight {
    let bit = |bit: u32| Some(page.flags & bit != 0);
    let place = match (page.zone, page.cma) {
        (1, _) => Place::Movable,
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
