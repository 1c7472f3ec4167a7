//! Under AFL++, in persistent mode.

use crate::differential;
use crate::target::Target;

/// Runs one input after the other; a finding ends the process.
pub fn main(target: &Target) {
    differential::warm_up();
    let run = |bytes: &[u8]| {
        if let Some(alarm) = target.run(bytes) {
            alarm.raise();
        }
    };
    // Within the same trace: else a trace would depend on the input before.
    afl::fuzz_with_reset(true, run, differential::settle);
}
