//! The rules that changed between versions: a program each, which holds on the version in its
//! name and later ones and does not hold on the reference of the version before.

use std::fs;

use lockstep::{Lockstep, Options};
use program::text;
use reference::{Kernel, Reference};

#[test]
fn every_rule_holds_from_its_version_on() {
    let mut seen = 0;
    for entry in fs::read_dir("programs").expect("live/programs") {
        let path = entry.expect("an entry").path();
        let source = fs::read_to_string(&path).expect("a text");
        let program = text::parse(&source).expect("a program").program;
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let kernel = Kernel::parse(name).expect("a version in the name");
        let holds = |kernel: Kernel| {
            let (one, two) = (Reference::of(kernel), Reference::of(kernel));
            let verdict = Lockstep::of(one, two).run(&program, &Options { paranoid: true });
            verdict.divergence().is_none()
        };
        let (major, minor) = kernel.release();
        assert!(holds(kernel), "{name}");
        assert!(holds(Kernel::version(6, 18)), "{name} on 6.18");
        assert!(!holds(Kernel::version(major, minor - 1)), "{name} on the version before");
        seen += 1;
    }
    assert!(seen >= 5, "{seen} programs");
}
