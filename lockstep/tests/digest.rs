//! The digest sees every field, and digest and comparison always agree.

mod common;

use common::{ERRORS, full};
use lockstep::{FieldDiff, differences};

#[test]
fn a_planted_error_in_any_field_changes_the_digest_and_is_found_as_its_class() {
    let state = full();
    assert_eq!(differences(&state, &state.clone()), []);
    for (name, plant, class) in ERRORS {
        let mut wrong = state.clone();
        assert!(plant(&mut wrong), "{name}: cannot be planted");
        assert_ne!(wrong, state, "{name}: changes nothing");
        assert_ne!(wrong.digest(), state.digest(), "{name}: the digest does not see it");
        let found = differences(&state, &wrong);
        assert_eq!(found.first().map(FieldDiff::class), Some(*class), "{name}: {found:?}");
    }
}

#[test]
fn no_two_errors_have_the_same_digest() {
    let digests = ERRORS.iter().map(|(_, plant, _)| {
        let mut wrong = full();
        plant(&mut wrong);
        wrong.digest()
    });
    let mut digests: Vec<u64> = digests.collect();
    digests.sort_unstable();
    digests.dedup();
    // "huge lost" and the like differ from one another even where they are of one class.
    assert_eq!(digests.len(), ERRORS.len());
}

#[test]
fn two_errors_that_cancel_in_one_sum_do_not_cancel_in_the_digest() {
    // One reference moved from a folio to another: the total is the same.
    let state = full();
    let mut wrong = state.clone();
    let mut folios = wrong.folios.values_mut();
    folios.next().expect("first").refcount -= 1;
    folios.next().expect("second").refcount += 1;
    assert_ne!(wrong.digest(), state.digest());
    assert_eq!(differences(&state, &wrong).len(), 2);
}
