//! Makes a pile of artifacts: `cargo run -p triage --example pile -- DIR [DEFECTS [EACH [SEED]]]`.
//! Prints a line for each, its defect and its file; `triage` is to get them apart again.

#[path = "../tests/common/pile.rs"]
#[expect(dead_code, reason = "the tests use it all")]
mod pile;

use std::path::PathBuf;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().expect("usage: pile DIR [DEFECTS [EACH [SEED]]]"));
    let mut number = |usual: u64| args.next().map_or(usual, |text| text.parse().expect("a number"));
    let (count, each, seed) = (number(20), number(10), number(11));
    for made in pile::make_of_many(&dir, count as usize, each as usize, seed) {
        println!("{} {}", made.defect.info().name, made.path.display());
    }
}
