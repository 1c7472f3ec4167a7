//! Under AFL++, in persistent mode.

use crate::target::Target;

/// Runs one input after the other; a finding ends the process.
pub fn main(target: &Target) {
    Target::warm_up();
    let run = |bytes: &[u8]| {
        if let Some(alarm) = target.run(bytes) {
            alarm.raise();
        }
    };
    afl::fuzz_with_reset(true, run, Target::settle);
}
