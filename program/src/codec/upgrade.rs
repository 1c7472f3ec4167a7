//! Byte forms of earlier versions.
//!
//! Text is the archive and bytes are a cache; but an engine's corpus is bytes, and it took days to
//! grow. So each earlier version leaves behind the tables that its bytes were read by.

use super::decode::{Decoder, kind_byte};
use super::shape::{self, MAX_PLACE_PAGES};
use super::{DecodeError, FAIL_FROM, HEADER_BYTES, MAGIC, RECORD_BYTES, SCHEDULE_KIND, VERSION};
use crate::kind::Kind;
use crate::op::Site;
use crate::program::Program;

/// Kinds of version 1 in the order of its swarm mask, and how often its bytes drew each.
const V1_KINDS: [(&str, usize); 35] = [
    ("nop", 1),
    ("mmap-private", 10),
    ("mmap-shared", 3),
    ("mmap-file-private", 3),
    ("mmap-file-shared", 3),
    ("munmap", 5),
    ("mprotect", 8),
    ("mremap", 6),
    ("dontneed", 5),
    ("dontfork", 2),
    ("dofork", 1),
    ("hugepage", 2),
    ("nohugepage", 2),
    ("collapse", 6),
    ("populate-read", 3),
    ("populate-write", 4),
    ("read", 12),
    ("write", 20),
    ("fork", 9),
    ("exit", 5),
    ("get", 5),
    ("get-fast", 4),
    ("get-fast-only", 3),
    ("pin", 8),
    ("pin-fast", 6),
    ("put", 6),
    ("unpin", 14),
    ("peek", 3),
    ("lru-add-drain", 3),
    ("lru-add-drain-all", 2),
    ("split-folio", 6),
    ("migrate", 9),
    ("offline", 4),
    ("lock-page", 1),
    ("unlock-page", 3),
];
/// Where its schedule records began.
const V1_SCHEDULE_KIND: u8 = 0xC0;
/// Failure sites of version 1, in order.
const V1_SITES: [Site; 7] =
    [Site::Table, Site::Page, Site::Huge, Site::Cache, Site::Dst, Site::Grab, Site::GrabFast];

/// The byte form, in this version, of what a file of this version or an earlier one means. Records
/// that are taken literally mean exactly what they meant; others are aimed as this version aims.
pub fn upgrade(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let header = bytes.get(..HEADER_BYTES).ok_or(DecodeError::TooShort)?;
    if header[..2] != MAGIC {
        return Err(DecodeError::BadMagic);
    }
    match header[2] {
        VERSION => Ok(bytes.to_vec()),
        2 => Ok(from_v2(bytes.to_vec())),
        1 => Ok(from_v2(from_v1(bytes))),
        version => Err(DecodeError::UnknownVersion(version)),
    }
}

/// In version 2 a step named, of the areas that its phase made, only those of its own CPU. Where that makes
/// another program the whole of it is written anew.
fn from_v2(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut meant = Program::default();
    Decoder::of_version_2().decode(&bytes, &mut meant);
    bytes[2] = VERSION;
    if Program::decode(&bytes) == meant { bytes } else { meant.encode() }
}

fn from_v1(bytes: &[u8]) -> Vec<u8> {
    let mut new = bytes.to_vec();
    let (header, mut records) = new.split_at_mut(HEADER_BYTES);
    header[2] = 2;
    // Preemption had the high half of byte 6 for itself; from 12 on it said that page counts follow.
    let (front, explicit) = (header[6] >> 4, header[7] == 0xFF && header[6] >> 4 >= 12);
    header[6] = header[6] & 0x0F | (front % 3) << 4;
    if explicit {
        let length = records.len().min(RECORD_BYTES);
        let (pages, rest) = records.split_at_mut(length);
        let mut counts = [0; RECORD_BYTES];
        counts[..length].copy_from_slice(pages);
        pages.copy_from_slice(&shape::pack_pages(v1_pages(&counts))[..length]);
        records = rest;
    } else {
        // Literally: what is left has devices to choose from.
        header[7] = match header[7] {
            exact @ 0..8 => exact,
            0xFF => 7,
            other if other % 4 == 3 => other >> 4 & 7,
            _ => 0,
        };
    }
    let table = v1_table(mask(header));
    header[8..].fill(0xFF);
    let concurrent = header[3] & 0xC0 == 0xC0;
    for record in records.chunks_mut(RECORD_BYTES) {
        if concurrent && record[0] >= V1_SCHEDULE_KIND {
            record[0] = SCHEDULE_KIND;
            continue;
        }
        let kind = table[usize::from(record[0])];
        record[0] = kind_byte(kind, false);
        // Walks of GUP had one flag.
        if matches!(Kind::name(kind), "get" | "get-fast" | "get-fast-only" | "pin" | "pin-fast")
            && let Some(flags) = record.get_mut(8)
        {
            *flags &= 1;
        }
        if let Some([.., site, nth]) = record.first_chunk_mut::<RECORD_BYTES>()
            && *site >= FAIL_FROM
        {
            [*site, *nth] = v1_fail(kind, *site - FAIL_FROM, *nth);
        }
    }
    new
}

/// Page counts of version 1: three `u32`s.
fn v1_pages(record: &[u8; RECORD_BYTES]) -> [u32; 5] {
    let count = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
    let mut pages = [0; 5];
    for (pages, bytes) in pages.iter_mut().zip(record.chunks_exact(4)) {
        *pages = count(bytes) % (MAX_PLACE_PAGES + 1);
    }
    pages
}

fn mask(header: &[u8]) -> u64 {
    let bytes = header[8..HEADER_BYTES].iter().rev();
    bytes.fold(0, |mask, &byte| mask << 8 | u64::from(byte))
}

/// The kind of each kind byte under a swarm mask of version 1.
fn v1_table(mask: u64) -> [Kind; 256] {
    let all = (1 << V1_KINDS.len()) - 1;
    let mask = if mask & all == 0 { all } else { mask & all };
    let chosen = V1_KINDS.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 != 0);
    let once: Vec<Kind> = chosen
        .flat_map(|(_, &(name, weight))| {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
            std::iter::repeat_n(kind.unwrap_or(Kind::Nop), weight)
        })
        .collect();
    std::array::from_fn(|byte| once[byte % once.len()])
}

/// A failure of version 1, literally.
fn v1_fail(kind: Kind, choice: u8, nth: u8) -> [u8; 2] {
    let literal = |site: Site, nth: u8| [FAIL_FROM + site as u8, nth];
    if let Some(&site) = V1_SITES.get(usize::from(choice)) {
        return literal(site, nth);
    }
    match kind.sites() {
        [] => [0, 0],
        sites => {
            let site = sites[usize::from(choice) % sites.len()];
            let nth = match nth {
                nth if site == Site::Grab => 1 + nth % 3,
                0..160 => 1,
                nth => 1 + nth % 4,
            };
            literal(site, nth)
        }
    }
}
