//! The running kernel, where it can be asked, agrees with the reference; and where the reference
//! is made to be wrong, that is noticed. Only where MM_LOCKSTEP_LIVE is set, because the answer is
//! another machine's: `MM_LOCKSTEP_LIVE=1 cargo test -p live`, as root.

use live::{Finding, Host, Live, Mistaken, Planted, Session, Witness};
use reference::{Kernel, Reference};

fn host() -> Result<Host, String> {
    match std::env::var_os("MM_LOCKSTEP_LIVE") {
        Some(_) => Host::new(),
        None => Err("MM_LOCKSTEP_LIVE is not set".to_owned()),
    }
}

/// The first difference in so many programs; `None` too where no kernel can be asked.
fn search(programs: u64, planted: Planted) -> Result<Option<Finding>, String> {
    let host = host()?;
    let live = Live { seed: 1, steps: 16, can: host.abilities() };
    let reference = Reference::of(host.kernel());
    let mut session = Session::new(host, Mistaken::new(reference, planted));
    for index in 0..programs {
        if let Some(finding) = session.run(&live.program(index)).map_err(|e| e.to_string())? {
            return Ok(Some(finding));
        }
    }
    Ok(None)
}

fn is_found(planted: Planted) {
    match search(3000, planted) {
        Ok(found) => assert!(found.is_some(), "not found in 3000 programs"),
        Err(reason) => eprintln!("skipped: {reason}"),
    }
}

#[test]
fn the_reference_agrees_with_the_running_kernel() {
    match search(200, Planted::Nothing) {
        Ok(Some(Finding { step, fields, .. })) => panic!("after {step}: {fields:?}"),
        Ok(None) => {}
        Err(reason) => eprintln!("skipped: {reason}"),
    }
}

#[test]
fn a_reference_that_does_not_know_pins_is_found_out() {
    is_found(Planted::PinsAreGets);
}

#[test]
fn a_reference_that_forks_what_it_should_not_is_found_out() {
    is_found(Planted::ForksAll);
}

#[test]
fn a_reference_that_lets_no_access_pass_for_reading_is_found_out() {
    is_found(Planted::NoneIsRead);
}

#[test]
fn a_reference_of_another_version_is_found_out() {
    let Ok(host) = host() else { return };
    let here = host.kernel();
    let other = if here.release() < (6, 17) { (6, 18) } else { (6, 12) };
    let live = Live { seed: 1, steps: 16, can: host.abilities() };
    let kernel = Kernel::version(other.0, other.1).as_set_by(here);
    let mut session = Session::new(host, Reference::of(kernel));
    let differs = |index| session.run(&live.program(index)).is_ok_and(|found| found.is_some());
    assert!((0..3000).any(differs), "not found in 3000 programs");
}
