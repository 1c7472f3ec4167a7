//! Under libFuzzer.

use libfuzzer_sys::Corpus;

use crate::target::Target;

/// Runs one input; a finding ends the process.
pub fn run(target: &Target, bytes: &[u8]) -> Corpus {
    if let Some(alarm) = target.run(bytes) {
        alarm.raise();
    }
    Corpus::Keep
}
