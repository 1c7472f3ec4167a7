//! Which of the defects that are on a finding hangs on.

use lockstep::Options;
use optimized::{Defect, Defects};
use program::Program;

use crate::finding;
use crate::judge::{Judge, Sight};

/// The one defect without which the program does not show this, and which shows it alone. `None`
/// if none is on, if it takes several, or if it is there without any.
pub fn cause(program: &Program, sight: &Sight, defects: Defects) -> Option<Defect> {
    let class = |on: Defects| {
        let mut judge = Judge::new(on, Options { paranoid: true });
        judge.judge(program).map(|trouble| trouble.symptom())
    };
    let shown = Some(sight.trouble.symptom());
    let alone =
        |&defect: &Defect| class(Defects::only(defect).in_variant(defects.variant())) == shown;
    let needed = |&defect: &Defect| class(finding::without(defects, defect)) != shown;
    let mut causes = finding::on(defects).filter(alone).filter(needed);
    causes.next().filter(|_| causes.next().is_none())
}
