//! Programs end on the optimised side alone unless somebody watches: the verdict is the same.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lockstep::{Lockstep, Options, Stats, Verdict, When};
use optimized::{Defect, Defects};
use program::{Campaign, Decoder, Program};

#[test]
fn a_short_ending_finds_what_a_watched_one_finds() {
    let options = Options { paranoid: false };
    let (mut bytes, mut decoder, mut program) =
        (Vec::new(), Decoder::default(), Program::default());
    let mut at_the_end = 0;
    let classics = Defect::ALL.iter().filter(|defect| defect.info().id.starts_with('C'));
    'defects: for defects in classics.map(|&defect| Defects::only(defect)).chain([Defects::NONE]) {
        let (mut short, mut watched) = (Lockstep::new(defects), Lockstep::new(defects));
        for index in 0..1000 {
            Campaign::new(1).generate(index, &mut bytes);
            decoder.decode(&bytes, &mut program);
            let run = AssertUnwindSafe(|| short.run(&program, &options));
            // With some defects the optimised side panics: hunts catch that too.
            let Ok(found) = catch_unwind(run) else { continue 'defects };
            assert_eq!(found, watched.observe(&program, &options, |_| {}), "{program}");
            let when = found.divergence().map(|divergence| divergence.when);
            at_the_end += usize::from(matches!(when, Some(When::Ending(_) | When::End)));
            assert!(defects != Defects::NONE || found == Verdict::Clean, "{program}");
        }
        // What is run again is counted once, but takes its paths twice.
        let counted = |side: &mut Lockstep| Stats { paths: Vec::new(), ..side.take_stats() };
        assert_eq!(counted(&mut short), counted(&mut watched));
    }
    assert!(at_the_end > 10, "{at_the_end}");
}
