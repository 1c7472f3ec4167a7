//! AFL++ twin of `sequential`.

fn main() {
    afl::fuzz!(|bytes: &[u8]| fuzz::sequential(bytes));
}
