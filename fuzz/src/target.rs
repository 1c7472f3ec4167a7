//! The targets.

use program::Family;

use crate::alarm::Alarm;
use crate::{differential, text};

/// What is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name; its binary, its corpus and its artifacts are called the same.
    pub name: &'static str,
    /// What its bytes mean: a program of a family in byte form, or text.
    pub family: Option<Family>,
}

impl Target {
    /// Both sides in lockstep, one operation after the other.
    pub const SEQUENTIAL: Target = Target::of(Family::SEQUENTIAL);
    /// Both sides in lockstep, several CPUs at once.
    pub const CONCURRENT: Target = Target::of(Family::CONCURRENT);
    /// Both sides in lockstep, a driver and its memory.
    pub const DEVICE: Target = Target::of(Family::DEVICE);
    /// Both sides in lockstep, longterm pins and what gets into their way.
    pub const LONGTERM: Target = Target::of(Family::LONGTERM);
    /// Both sides in lockstep, every program.
    pub const DIFFERENTIAL: Target = Target::of(Family::DIFFERENTIAL);
    /// The parser of the text form.
    pub const TEXT: Target = Target { name: "text", family: None };
    /// Decoding alone, under the same instrumentation and mutations: what the others are compared
    /// with.
    #[doc(hidden)]
    pub const DECODE: Target = Target { name: "decode", family: Some(Family::DIFFERENTIAL) };

    const fn of(family: Family) -> Target {
        Target { name: family.name, family: Some(family) }
    }

    /// Before the first input: lets buffers grow to their usual size, so that what the first inputs
    /// do is what later ones do.
    pub fn warm_up() {
        differential::warm_up();
    }

    /// After an input, as part of its run: clears away what it left in buffers. Without it the
    /// next run would do that work, and its trace would depend on the input before.
    pub fn settle() {
        differential::settle();
    }

    /// Runs it on one input. The alarm says what was found.
    pub fn run(&self, bytes: &[u8]) -> Option<Alarm> {
        match self.name {
            "text" => text::run(bytes),
            "decode" => differential::decode(bytes),
            _ => differential::run(bytes),
        }
    }
}
