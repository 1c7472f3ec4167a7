//! A panic inside one run is a finding, not the end of the campaign.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// A panic that was caught.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Panic {
    /// File and line.
    pub place: String,
    /// What it said.
    pub message: String,
}

/// Runs `run`; a panic inside it is returned and prints nothing.
pub fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                return usual(info);
            }
            let place = info.location().map_or_else(String::new, ToString::to_string);
            let message = info.payload_as_str().unwrap_or("no message").to_owned();
            MESSAGE.set(Some(Panic { place, message }));
        }));
    });
    GUARDED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    GUARDED.set(false);
    result.map_err(|_| {
        let unknown = || Panic { place: String::new(), message: String::new() };
        MESSAGE.take().unwrap_or_else(unknown)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_returned_with_its_place() {
        let caught = catch(|| -> u32 { panic!("told you {}", 1 + 1) });
        let caught = caught.expect_err("it panics");
        assert_eq!(caught.message, "told you 2");
        assert!(caught.place.contains("guard.rs:"), "{}", caught.place);
        assert_eq!(catch(|| 3), Ok(3));
    }
}
