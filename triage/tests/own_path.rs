//! The patch of the guide `docs/your-own-path.md` fits the sources.

use std::path::Path;

/// Where a hunk of a unified diff belongs, and the lines that must be there.
fn hunks(patch: &str) -> Vec<(&str, String)> {
    let (mut file, mut hunks): (_, Vec<(&str, String)>) = ("", Vec::new());
    for line in patch.lines() {
        if let Some(name) = line.strip_prefix("+++ b/") {
            file = name;
        } else if line.starts_with("@@") {
            hunks.push((file, String::new()));
        } else if let Some(hunk) = hunks.last_mut()
            && let Some(there) = line.strip_prefix([' ', '-']).filter(|_| !line.starts_with("---"))
        {
            hunk.1 += there;
            hunk.1.push('\n');
        }
    }
    hunks
}

#[test]
fn the_patch_of_the_guide_fits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let hunks = hunks(include_str!("../../docs/your-own-path.patch"));
    // Whoever follows the guide has it applied, and mended.
    if optimized::Variant::find("zap-runs").is_some() {
        return;
    }
    assert!(hunks.len() > 5, "{}", hunks.len());
    for (file, there) in hunks {
        let source = std::fs::read_to_string(root.join(file)).expect(file);
        assert_eq!(source.matches(&there).count(), 1, "{file}:\n{there}");
    }
}
