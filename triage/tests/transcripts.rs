//! The transcripts in the documentation are what the program prints.

use std::path::Path;

#[test]
fn what_the_documentation_shows_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::set_current_dir(root).expect("the repository");
    trycmd::TestCases::new().env("COLUMNS", "100").case("docs/triage.md");
}
