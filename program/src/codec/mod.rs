//! The byte form: what fuzzing engines mutate.
//!
//! ```text
//! header, 16 bytes              records, 12 bytes each, to the end
//!  0..2  "ml"                    0     kind; in a concurrent program 0xD0.. is a schedule record
//!  2     version                 1     bit 7: same phase as the step before; bits 3..7: aim;
//!                                      bits 0..3: CPU
//!  3     CPUs, concurrent        2     mm            (unpin: second handle)
//!  4     entries a table         3     area or handle or lock
//!  5     batch                   4..6  offset        (little-endian; mmap: shift)
//!  6     THP, preemption, faults 6..8  length
//!  7     pages of each place     8     flags
//!  8..16 swarm mask              9     place
//!                               10     fail site
//!                               11     fail nth
//! ```
//!
//! A schedule record holds 1 to 5 slices: byte 1 has their number (bits 0..3), whether they belong
//! to the loop (bit 3) and whether they are exact (bits 4..8 all set); then CPU and run of each (if
//! exact, the task times the number of CPUs is added to the CPU). When byte 7 says so, the page
//! counts of the places follow the header as a record of five numbers of 19 bits.
//!
//! **Decoding is total.** [`Decoder::decode`] makes a valid program of any bytes: the magic and the
//! version take up their place whatever they hold, missing bytes are zero, every argument resolves
//! to one of the objects statically live at its step, and a step that finds none becomes the
//! step that would make one (no handle: `get` or `pin`; no area: `mmap`; no lock: `lock_page`; no
//! second mm: `fork`), or `nop` where a cap is reached. Most values of most fields are
//! spent on what makes programs dense; the rest reach everything else, so that [`Program::encode`]
//! loses nothing: `decode(encode(p)) == p` for every valid program without expectations.
//!
//! **Aim.** With the two lowest of its 16 values a record is taken literally. With the others it
//! is aimed: the decoder guesses from the steps so far which areas may be read and written and
//! where pages are, and the record goes where it probably has an effect (a split to a huge folio, a
//! migration to a page that is on the LRU and free, an `mprotect` to the other protection); where
//! there is no such place it becomes the step that prepares one (a write, a drain, an `unpin`).
//!
//! [`decode_strict`] is for files: it accepts only what has this version's header and shape.

mod aim;
mod cells;
mod decode;
mod encode;
mod hints;
mod op;
mod record;
mod shape;
mod upgrade;
mod view;

use std::fmt;

use arbitrary::{Arbitrary, Unstructured};

pub use decode::Decoder;
pub use shape::MAX_PLACE_PAGES;
pub(crate) use shape::{has_devices, with_devices};
pub use upgrade::upgrade;

use crate::program::Program;

/// First bytes of the byte form.
pub const MAGIC: [u8; 2] = *b"ml";
/// Version of the byte form. Any change to what existing bytes decode to is a new version.
pub const VERSION: u8 = 3;
/// Bytes before the first record.
pub const HEADER_BYTES: usize = 16;
/// Bytes a record.
pub const RECORD_BYTES: usize = 12;
/// Steps a program may have.
pub const MAX_STEPS: usize = 4096;

/// Kind bytes from here on are schedule records, in a concurrent program.
pub(crate) const SCHEDULE_KIND: u8 = 0xD0;
pub(crate) const SLICES_A_RECORD: usize = 5;
/// Fail-site bytes from here on are failures: first one value a site, the rest a relevant site.
const FAIL_FROM: u8 = 216;

/// Why [`decode_strict`] refuses bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// Shorter than a header.
    TooShort,
    /// Does not begin with [`MAGIC`].
    BadMagic,
    /// Written by an earlier version; [`upgrade`] reads it.
    OldVersion(u8),
    /// Written by another version.
    UnknownVersion(u8),
    /// Ends inside a record.
    Truncated,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::TooShort => write!(f, "shorter than a header of {HEADER_BYTES} bytes"),
            DecodeError::BadMagic => write!(f, "not a program in byte form (no `ml` at the start)"),
            DecodeError::OldVersion(version) => {
                write!(f, "byte form of version {version}; `corpus upgrade` makes it {VERSION}")
            }
            DecodeError::UnknownVersion(version) => {
                write!(f, "byte form of version {version}; this build reads version {VERSION}")
            }
            DecodeError::Truncated => write!(f, "ends inside a record of {RECORD_BYTES} bytes"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Decodes bytes that claim to be a program: header, version and length must be right.
pub fn decode_strict(bytes: &[u8]) -> Result<Program, DecodeError> {
    let header = bytes.get(..HEADER_BYTES).ok_or(DecodeError::TooShort)?;
    if header[..2] != MAGIC {
        return Err(DecodeError::BadMagic);
    }
    match header[2] {
        VERSION => {}
        old @ 1..VERSION => return Err(DecodeError::OldVersion(old)),
        unknown => return Err(DecodeError::UnknownVersion(unknown)),
    }
    if !(bytes.len() - HEADER_BYTES).is_multiple_of(RECORD_BYTES) {
        return Err(DecodeError::Truncated);
    }
    Ok(Program::decode(bytes))
}

impl Program {
    /// The program that these bytes mean; total.
    pub fn decode(bytes: &[u8]) -> Program {
        let mut program = Program::default();
        program.decode_into(bytes);
        program
    }

    /// As [`Program::decode`], reusing allocations. A loop should keep a [`Decoder`] instead, which
    /// reuses those of longer programs too.
    pub fn decode_into(&mut self, bytes: &[u8]) {
        Decoder::default().decode(bytes, self);
    }

    /// The byte form. The program must be valid; expectations are not carried.
    pub fn encode(&self) -> Vec<u8> {
        encode::encode(self)
    }
}

/// Takes all the bytes that are left.
impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let len = u.len();
        Ok(Program::decode(u.bytes(len)?))
    }

    fn arbitrary_take_rest(u: Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Program::decode(u.take_rest()))
    }
}
