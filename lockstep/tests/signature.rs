//! Signatures tell bugs apart: 31 defects, several findings of each.

use std::collections::{BTreeMap, BTreeSet};

use lockstep::{Identity, Lockstep, Options};
use optimized::{Defect, Defects};
use program::{Campaign, Decoder};

const OPTIONS: Options = Options { paranoid: false };
/// Findings of each defect.
const FINDINGS: usize = 5;
/// Programs enough for them.
const PROGRAMS: u64 = 40_000;
/// Defects that show themselves in several ways, which one verdict cannot know to be one bug, and in
/// how many. All others have one.
const SPREAD: [(&str, usize); 7] = [
    // Copies where it should reuse, and the other way round, for a write and for unsharing.
    ("reuse-by-mapcount", 4),
    // A split by itself, and that of a migration.
    ("split-keeps-zero-pages", 2),
    // The folio is freed while mapped, or used when it is free: whatever comes first.
    ("batch-put-twice", 2),
    // Two ways to copy.
    ("cow-forgets-copy", 2),
    // Migrations, and those of a longterm pin.
    ("migration-loses-dirty", 2),
    // Whoever goes round, and whoever sleeps, is in the name.
    ("spf-irq-window", 2),
    ("lost-wakeup", 4),
];

/// One of each family of bugs of one step after the other. Left out are those that one verdict cannot tell from another here:
/// the leak of a put that is forgotten is the leak of a put that goes elsewhere.
const DEFECTS: [&str; 20] = [
    "pin-forgets-pincount",
    "pin-bias-on-large",
    "batch-counts-whole-mask",
    "batch-not-clamped",
    "grab-not-given-back",
    "unpin-stops-at-null",
    "unpin-range-past-folio",
    "reuse-by-mapcount",
    "fork-shares-pinned",
    "fork-copies-for-parent",
    "upgrade-ignores-exclusive",
    "mprotect-loses-exclusive",
    "fork-keeps-exclusive",
    "split-pmd-loses-exclusive",
    "split-keeps-zero-pages",
    "batch-put-twice",
    "mremap-loses-mapcount",
    "cow-forgets-copy",
    "fork-leaves-parent-writable",
    "migration-loses-dirty",
];

/// Of a driver and its memory.
const DEVICE: [&str; 3] =
    ["put-before-unlock", "preinstalled-entry-skipped", "gup-sees-device-private"];

/// Seen in phases.
const CONCURRENT: [&str; 8] = [
    "spf-spins-on-ptl",
    "spf-irq-window",
    "spf-stale-ptl",
    "spf-makes-anon-vma",
    "freed-before-flush",
    "gup-fast-no-recheck",
    "lost-wakeup",
    "nested-mmap-read",
];

/// Programs that show a defect only because of what happens besides, and its name without that.
const GUISES: [(&str, &str, &str); 6] = [
    // Beside whoever holds the folio's lock.
    (
        "thp-collect-ref-leak",
        "machine cpus=2 device=64\nsetup:\nm0 = mmap len=4 rw private\nwrite m0\nphase:\n\
         cpu0: split_folio m0\ncpu1: migrate_to_device m0\nschedule: 0*3 1\n",
        "refcount-leak--collect-huge-locked",
    ),
    // On the zero page, which keeps no count, so that only the marks of a phase tell.
    (
        "unpin-stops-at-null",
        "setup:\nm0 = mmap len=1 rw private\nh0 = pin m0\nh1 = pin m0\nphase:\n\
         cpu0: unpin h0 h1 hole\ncpu1: read m0\n",
        "refcount-leak--unpin",
    ),
    // By a refusal that comes to fewer attempts than there should be.
    (
        "batch-below-pmd",
        "m0 = mmap len=4 rw private\nwrite m0\nmadvise m0 dontneed\nh0 = get m0+1 len=3 fail=grab#3\n",
        "wrong-page--gup-page-mask",
    ),
    // Within an operation that takes pages by GUP itself.
    (
        "batch-below-pmd",
        "machine coherent=64\nm0 = mmap len=4 rw private\nwrite m0\nmadvise m0+1 dontneed\n\
         make_device_exclusive m0 len=2 device=coherent\n",
        "wrong-page--gup-page-mask",
    ),
    (
        "batch-below-pmd",
        "machine coherent=64\nsetup:\nm0 = mmap len=4 rw private\n\
         make_device_exclusive m0 device=coherent\nphase:\ncpu1: read m0\n\
         cpu0: make_device_exclusive m0 len=2 device=coherent\n",
        "wrong-page--gup-page-mask",
    ),
    // When memory runs out.
    (
        "failed-migrate-to-ram-loses-page",
        "machine normal=16 movable=8 cma=8 device=8 coherent=4\nm0 = mmap len=8 rw private f0\n\
         write m0 len=8\nmigrate_to_device m0 len=2\nmm1 = fork\nwrite m0 len=2\n",
        "wrong-page--collect-page-migrate-to-ram-migrate-to-ram-failed",
    ),
];

fn signatures(defect: Defect, concurrent: u16) -> BTreeSet<String> {
    let mut defects = Defects::NONE;
    defects.insert(defect);
    let (mut decoder, mut program, mut bytes) = Default::default();
    let mut lockstep = Lockstep::new(defects);
    let (mut found, mut signatures) = (0, BTreeSet::new());
    for index in 0..PROGRAMS {
        Campaign { concurrent, ..Campaign::new(1) }.generate(index, &mut bytes);
        Decoder::decode(&mut decoder, &bytes, &mut program);
        let Some(first) = lockstep.run(&program, &OPTIONS).class() else { continue };
        lockstep = Lockstep::new(defects);
        let identity = Identity::of(defects, &program, &OPTIONS).expect("the program shows it");
        assert_eq!(identity.divergence.class, first);
        signatures.insert(identity.signature.to_string());
        found += 1;
        if found == FINDINGS {
            break;
        }
    }
    assert_eq!(found, FINDINGS, "{} found too seldom", defect.info().name);
    signatures
}

#[test]
fn no_bucket_holds_two_defects_and_most_defects_have_one() {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let sequential = DEFECTS.iter().chain(&DEVICE).map(|&name| (name, 0));
    for (name, concurrent) in sequential.chain(CONCURRENT.map(|name| (name, 256))) {
        let signatures = signatures(Defect::find(name).expect(name), concurrent);
        let ways = SPREAD.iter().find(|spread| spread.0 == name).map_or(1, |spread| spread.1);
        assert!(signatures.len() <= ways, "{name} spreads over {signatures:?}");
        for signature in signatures {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(signature.chars().all(plain), "{signature}");
            if let Some(other) = owners.insert(signature.clone(), name) {
                panic!("{signature}: {other} and {name}");
            }
        }
    }
}

#[test]
fn a_signature_forgets_what_changes_around_a_finding() {
    let mut defects = Defects::NONE;
    defects.insert(Defect::find("fork-shares-pinned").expect("in the catalogue"));
    let signature = |text: &str| {
        let program = program::text::parse(text).expect("a program").program;
        Identity::of(defects, &program, &OPTIONS).expect("a finding").signature
    };
    let short = signature("m0 = mmap len=1 rw private\nwrite m0\nh0 = pin m0\nmm1 = fork\n");
    let long = signature(
        "m0 = mmap len=3 rw private\nm1 = mmap len=2 rw private\nwrite m1+1\nread m0\nread m1\n\
         write m1\nh0 = get m1+1\nh1 = pin m1+1\nread m1\nmm1 = fork\n",
    );
    assert_eq!(short, long);
    assert_eq!(short.to_string(), "wrong-page--fork-pin");
}

#[test]
fn a_bug_has_one_name_whatever_it_needed_to_be_met() {
    for (name, text, signature) in GUISES {
        let defects = Defects::only(Defect::find(name).expect("in the catalogue"));
        let program = program::text::parse(text).expect("a program").program;
        let found = Identity::of(defects, &program, &OPTIONS).expect("a finding").signature;
        assert_eq!(found.to_string(), signature, "{text}");
    }
}
