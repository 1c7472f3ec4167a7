//! The page of the threads and the catalogue say the same: nothing is missing silently.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lockstep::{Lockstep, Options, Verdict};
use optimized::{Defect, Defects, Kind};
use program::Seen;

const PAGE: &str = include_str!("../../docs/threads.md");
/// What the page says of an entry that has no switch yet.
const OPEN: &str = "not built yet";
/// Entries that share the switch of another.
const SHARED: [(&str, &str); 1] = [("A72", "A71")];

/// Kind and text of each entry.
fn entries() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let rows = PAGE.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let is_id =
            |id: &str| id.starts_with('A') && id[1..].starts_with(|c: char| c.is_ascii_digit());
        match cells[..] {
            [id, kind, text] if is_id(id) => Some((id, (kind, text))),
            _ => None,
        }
    });
    rows.collect()
}

fn number(id: &str) -> u32 {
    id.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")
}

#[test]
fn every_number_of_the_threads_has_an_entry() {
    let known: BTreeSet<u32> = entries().keys().map(|id| number(id)).collect();
    // S0 to S4 are 1 to 55, speculative faults 60 to 80.
    let all: BTreeSet<u32> = (1..=55).chain(60..=80).collect();
    assert_eq!(known, all);
}

/// What an entry with letters has: each form is one of its own.
const LETTERED: [(&str, &str); 6] = [
    ("A05", "abcde"),
    ("A18", "abcdef"),
    ("A48", "abcde"),
    ("A49", "abc"),
    ("A51", "ab"),
    ("A80", "abcd"),
];

#[test]
fn every_form_of_an_entry_has_one_line_and_a_kind() {
    let entries = entries();
    let rows = PAGE.lines().filter(|line| line.starts_with("| A")).count();
    assert_eq!(rows, entries.len(), "an id stands there twice");
    let kinds = ["defect", "variant", "contract", "unreachable", "note"];
    for (id, (kind, text)) in &entries {
        assert!(kinds.contains(kind) && !text.is_empty(), "{id}: {kind}");
    }
    let forms = LETTERED
        .iter()
        .flat_map(|(id, letters)| letters.chars().map(move |letter| format!("{id}{letter}")));
    // Of A14 the first form has no letter.
    let expected: BTreeSet<String> = forms.chain(["A14b".to_owned()]).collect();
    let lettered = |id: &&&str| id.ends_with(|c: char| c.is_ascii_lowercase());
    let found = entries.keys().filter(lettered).map(|id| (*id).to_owned()).collect();
    assert_eq!(expected, found);
}

/// A contract is shown by a program, or held by a test.
#[test]
fn a_contract_names_what_shows_it() {
    for (id, (kind, text)) in entries() {
        let named = text.split('`').skip(1).step_by(2).find(|name| name.contains('/'));
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let there = |name: &str| {
            ["corpus", "."].iter().any(|at| Path::new(root).join(at).join(name).is_file())
        };
        assert!(kind != "contract" || named.is_some_and(there), "{id}: {named:?}");
    }
}

#[test]
fn a_defect_of_the_page_is_a_switch_and_a_switch_is_on_the_page() {
    let entries = entries();
    let switches: BTreeSet<&str> = Defect::ALL
        .iter()
        .map(|defect| defect.info())
        .filter(|info| info.kind == Kind::Defect && info.id.starts_with('A'))
        .map(|info| info.id)
        .collect();
    for id in &switches {
        let kind = entries.get(id).map(|entry| entry.0);
        assert_eq!(kind, Some("defect"), "{id} is in the catalogue");
    }
    for (id, (kind, text)) in &entries {
        let switch = SHARED.iter().find(|(shared, _)| shared == id).map_or(*id, |(_, with)| with);
        let built = switches.contains(switch);
        let said = !text.contains(OPEN);
        assert!(*kind != "defect" || built == said, "{id}: built {built}, the page says {said}");
    }
}

/// A14: while an eviction has its transient reference a fault's own migration fails; then it succeeds.
#[test]
fn an_eviction_makes_a_migration_fail_for_a_while() {
    let source = include_str!("../../corpus/seeds/phase-evict-x-device-fault.txt");
    let program = program::text::parse(source).expect("a program").program;
    let mut moves = Vec::new();
    let verdict = Lockstep::new(Defects::NONE).follow(&program, &Options::default(), |moment| {
        let of_the_fault = moment.trace.iter().filter(|marked| marked.number == Some(3));
        let own = of_the_fault.filter(|marked| marked.mark.name() == "migrate-move");
        if moves.is_empty() {
            moves.extend(own.map(|marked| marked.seen));
        }
    });
    assert_eq!(verdict, Verdict::Clean);
    let failed = moves.iter().take_while(|&&seen| seen == Seen::Flag(false)).count();
    assert!(failed > 0, "{moves:?}");
    assert_eq!(moves[failed..], [Seen::Flag(true)]);
}
