//! Under AFL++, in persistent mode.

use crate::target::Target;

/// Runs one input after the other; a finding ends the process.
pub fn main(target: &Target) {
    afl::fuzz(true, |bytes| {
        if let Some(alarm) = target.run(bytes) {
            alarm.raise();
        }
    });
}
