//! Programs end on the optimised side alone unless somebody looks: the verdict is the same.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lockstep::{Class, Divergence, Lockstep, Options, Stats, Verdict, When};
use optimized::{Defect, Defects};
use program::{Campaign, Decoder, Program};

#[test]
fn a_short_ending_finds_what_a_watched_one_finds() {
    let classics = Defect::ALL.iter().filter(|defect| defect.info().id.starts_with('C'));
    let at_the_end = compared(classics, Campaign::new(1), 1000);
    assert!(at_the_end > 10, "{at_the_end}");
}

#[test]
fn so_it_is_after_phases() {
    let of_phases = Defect::ALL.iter().filter(|defect| defect.info().id.starts_with('A'));
    let at_the_end = compared(of_phases, Campaign { concurrent: 256, ..Campaign::new(1) }, 150);
    assert!(at_the_end > 10, "{at_the_end}");
}

/// Both endings of so many programs, with each defect and without; how many findings were at the
/// end.
fn compared<'a>(of: impl Iterator<Item = &'a Defect>, campaign: Campaign, programs: u64) -> usize {
    let options = Options { paranoid: false };
    let (mut bytes, mut decoder, mut program) =
        (Vec::new(), Decoder::default(), Program::default());
    let mut at_the_end = 0;
    'defects: for defects in of.map(|&defect| Defects::only(defect)).chain([Defects::NONE]) {
        let (mut short, mut watched) = (Lockstep::new(defects), Lockstep::new(defects));
        for index in 0..programs {
            campaign.generate(index, &mut bytes);
            decoder.decode(&bytes, &mut program);
            let run = AssertUnwindSafe(|| short.run(&program, &options));
            // With some defects the optimised side panics: hunts catch that too.
            let Ok(found) = catch_unwind(run) else { continue 'defects };
            assert_eq!(found, watched.observe(&program, &options, |_| {}), "{program}");
            let when = found.divergence().map(|divergence| divergence.when);
            let hung = |found: &Divergence| {
                matches!(found.class, Class::Livelock | Class::Starvation | Class::Undecided)
            };
            // Those that go round for ever take long, and never come to an end.
            if found.divergence().is_some_and(hung) {
                continue 'defects;
            }
            at_the_end += usize::from(matches!(when, Some(When::Ending(_) | When::End)));
            assert!(defects != Defects::NONE || found == Verdict::Clean, "{program}");
        }
        // What is run again is counted once, but takes its paths twice.
        let counted = |side: &mut Lockstep| Stats { paths: Vec::new(), ..side.take_stats() };
        assert_eq!(counted(&mut short), counted(&mut watched));
    }
    at_the_end
}
