//! One record of a step: what its bytes say by themselves.

use crate::kind::Kind;
use crate::op::{AreaId, Fail, Prot, Range, Site};
use crate::shape::Place;

use super::{FAIL_FROM, RECORD_BYTES};

/// One record of a step, read where it lies.
#[derive(Clone, Copy)]
pub(super) struct Record<'a>(&'a [u8; RECORD_BYTES]);

/// What place bytes mean to kinds that allocate nothing, and to others.
const PLACES: [[Place; 256]; 2] = {
    let mut places = [[Place::Normal; 256]; 2];
    let mut byte = 0;
    while byte < 256 {
        let exact = Place::SYSTEM[(byte & 15) % 3];
        places[0][byte] = if byte >= 0xE0 { exact } else { Place::Normal };
        places[1][byte] = match byte & 15 {
            _ if byte >= 0xE0 => exact,
            12 | 13 => Place::Movable,
            14 | 15 => Place::Cma,
            _ => Place::Normal,
        };
        byte += 1;
    }
    places
};

impl<'a> Record<'a> {
    pub fn new(bytes: &'a [u8; RECORD_BYTES]) -> Record<'a> {
        Record(bytes)
    }

    pub fn kind(self) -> u8 {
        self.0[0]
    }

    /// Reduced to the CPUs that there are.
    pub fn cpu(self, cpus: u8) -> u8 {
        (self.0[1] & 7) % cpus
    }

    pub fn mm(self) -> u8 {
        self.0[2]
    }

    pub fn area(self) -> u8 {
        self.0[3]
    }

    pub fn off(self) -> u16 {
        u16::from_le_bytes([self.0[4], self.0[5]])
    }

    pub fn len(self) -> u16 {
        u16::from_le_bytes([self.0[6], self.0[7]])
    }

    pub fn flags(self) -> u8 {
        self.0[8]
    }

    /// Four bits that say how to aim: 0 and 1 not at all.
    pub fn aim(self) -> u8 {
        self.0[1] >> 3 & 15
    }

    /// In a concurrent program: about pages that others use too.
    pub fn meets(self) -> bool {
        self.aim() & 8 != 0
    }

    /// Kind bytes to try, one after the other, until one suits.
    pub fn kinds(self) -> [u8; 6] {
        [0, 8, 3, 2, 9, 11].map(|at| self.0[at])
    }

    /// Aims at any area that exists, mapped or not.
    pub fn any_area(self) -> bool {
        self.0[9] >= 0xF0
    }

    /// 16 bits all set: length, shift, file page and protection are taken literally.
    pub fn is_exact_mmap(self) -> bool {
        self.flags() >= 0xF8 && self.len() >= 0xF000 && self.off() >= 0xFE00
    }

    /// Literally below 3; else `r` for the low `read` values in 16, and `rw` for the others.
    pub fn prot(self, read: u8) -> Prot {
        match self.flags() & 15 {
            0 => Prot::None,
            1 => Prot::Read,
            2 => Prot::ReadWrite,
            other if other < 3 + read => Prot::Read,
            _ => Prot::ReadWrite,
        }
    }

    pub fn range(self, area: AreaId, area_len: u16, kind: Kind) -> Range {
        // Products, because a processor could not predict branches.
        let off = (self.off() & 0x0FFF) % area_len * u16::from(self.off() < 0xC000);
        let rest = area_len - off;
        let more = (self.len() & 0x0FFF) % rest;
        let to_end = u16::from(self.len() >= 0xC000);
        let len = 1 + more + (rest - 1 - more) * to_end;
        // Half of the others are one page; mremap has another use for that bit.
        let short = kind.is_single() && self.len() >= 0x1000
            || kind != Kind::Mremap && self.len() & 0x1000 != 0 && to_end == 0;
        let len = if short { 1 } else { len };
        Range { area, off, len }
    }

    /// Literal when 3 spare bits are all set; else mostly 0.
    pub fn mremap_shift(self) -> u16 {
        let high = self.off() >> 12 & 3 | (self.len() >> 12 & 3) << 2;
        match high & 7 {
            7 => u16::from(self.flags()) | high >> 3 << 8,
            _ if self.flags() & 3 == 3 => u16::from(self.flags() >> 2),
            _ => 0,
        }
    }

    pub fn place(self, kind: Kind) -> Place {
        PLACES[usize::from(kind.allocates())][usize::from(self.0[9])]
    }

    pub fn fail(self, kind: Kind) -> Option<Fail> {
        if self.0[10] < FAIL_FROM || kind == Kind::Offline {
            return None;
        }
        let choice = usize::from(self.0[10] - FAIL_FROM);
        if let Some(&site) = Site::ALL.get(choice) {
            return Some(Fail { site, nth: self.0[11].max(1) });
        }
        let sites = kind.sites();
        if sites.is_empty() {
            return None;
        }
        let site = sites[choice % sites.len()];
        let nth = match self.0[11] {
            // The later of the two grabs of a huge page is a path of its own.
            nth if site == Site::Grab => 1 + nth % 3,
            0..160 => 1,
            nth => 1 + nth % 4,
        };
        Some(Fail { site, nth })
    }
}
