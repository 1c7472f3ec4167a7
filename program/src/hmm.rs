//! What `hmm_range_fault` says of a page, and the page's content, in one word of an outcome.

use std::fmt;

/// HMM_PFN_VALID: readable.
pub const READ: u8 = 1;
/// HMM_PFN_WRITE.
pub const WRITE: u8 = 2;
/// HMM_PFN_ERROR.
pub const ERROR: u8 = 4;
/// Memory of the asking device that the CPU cannot access.
pub const PRIVATE: u8 = 8;
/// Memory of a coherent device.
pub const COHERENT: u8 = 16;
/// The shared zero page.
pub const ZERO: u8 = 32;
/// Mapped by a huge PMD (`hmm_pfn_to_map_order`).
pub const HUGE: u8 = 64;

/// Most content that a word has room for.
const CONTENT: u64 = (1 << 56) - 1;

/// Names of the flags in their order in text.
const NAMES: [(u8, &str); 6] = [
    (ERROR, "error"),
    (READ, "r"),
    (PRIVATE, "private"),
    (COHERENT, "coherent"),
    (ZERO, "zero"),
    (HUGE, "huge"),
];

/// The word for a page with these flags and this content.
pub fn word(flags: u8, content: u64) -> u64 {
    u64::from(0x80 | flags) << 56 | content & CONTENT
}

/// The flags of a word, if it is one.
pub fn flags(word: u64) -> Option<u8> {
    let top = (word >> 56) as u8;
    (top & 0x80 != 0).then_some(top & 0x7F)
}

/// The content of a word.
pub fn content(word: u64) -> u64 {
    if flags(word).is_some() { word & CONTENT } else { word }
}

/// Flags as text: `none`, `error`, `r`, `rw`, `rw+private`, `r+zero`…
pub fn text(flags: u8) -> impl fmt::Display {
    std::fmt::from_fn(move |f| {
        let set = NAMES.iter().filter(|(bit, _)| flags & bit != 0);
        let mut first = true;
        for &(bit, name) in set {
            let name = if bit == READ && flags & WRITE != 0 { "rw" } else { name };
            write!(f, "{}{name}", if first { "" } else { "+" })?;
            first = false;
        }
        if first { write!(f, "none") } else { Ok(()) }
    })
}

/// Reads what [`text`] prints.
pub fn read(text: &str) -> Option<u8> {
    if text == "none" {
        return Some(0);
    }
    text.split('+').try_fold(0, |flags, name| {
        let bit = match name {
            "rw" => READ | WRITE,
            _ => NAMES.iter().find(|(_, other)| *other == name)?.0,
        };
        (flags & bit == 0).then_some(flags | bit)
    })
}
