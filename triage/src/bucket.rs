//! Which findings are one bug: titles, as crash collectors give them.
//!
//! A finding has a title and alternative titles; findings that share one are in the same bucket.
//! The title is the [`Signature`] of the root, the alternative is that of the minimal program with
//! its kinds of operations: no numbers, no names of objects, no lines of source. So they stay the
//! same when the program is made smaller or renumbered and when code moves.

use std::collections::BTreeSet;

use lockstep::Signature;
use optimized::Defect;
use program::Program;
use serde::{Deserialize, Serialize};

use crate::judge::Sight;

/// What a finding is called.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Titles {
    /// The name.
    pub title: String,
    /// What it could as well be called; does not hold `title`.
    pub alternatives: BTreeSet<String>,
}

impl Titles {
    /// The titles of a finding. `minimal` and `root`: its programs and what they show. `cause`: the
    /// defect it hangs on, if that is known; then nothing else decides.
    pub fn of(
        minimal: (&Program, &Sight),
        root: (&Program, &Sight),
        cause: Option<Defect>,
    ) -> Titles {
        let signature =
            |(program, sight): (&Program, &Sight)| Signature::new(program, &sight.seen()).title();
        if let Some(defect) = cause {
            let title = format!("{}: {}", defect.info().name, signature(root));
            return Titles { title, alternatives: BTreeSet::from([known(defect)]) };
        }
        // Whose smallest programs look the same is the same, whatever the search made of it next;
        // not if they look so in a guise that the root does without: many bugs share that.
        let shape = format!("{} by {}", signature(minimal), lockstep::kinds(minimal.0));
        let bare = lockstep::guise(minimal.0) <= lockstep::guise(root.0);
        let alternatives = Some(shape).filter(|_| bare).into_iter().collect();
        Titles { title: signature(root), alternatives }
    }

    /// The titles of something that is no finding of the program's.
    pub fn flaky() -> Titles {
        let title = "flaky: not the same twice".to_owned();
        Titles { title, alternatives: BTreeSet::new() }
    }

    /// Whether both are of one bucket.
    pub fn meet(&self, other: &Titles) -> bool {
        self.all().any(|mine| other.all().any(|theirs| mine == theirs))
    }

    /// Takes up another finding's titles.
    pub fn join(&mut self, other: &Titles) {
        let more: Vec<String> =
            other.all().filter(|title| **title != self.title).cloned().collect();
        self.alternatives.extend(more);
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.title).chain(&self.alternatives)
    }

    /// A name for a folder.
    pub fn slug(&self) -> String {
        let mut slug = String::new();
        for c in self.title.chars() {
            if c.is_ascii_alphanumeric() {
                slug.push(c.to_ascii_lowercase());
            } else if !slug.ends_with('-') && !slug.is_empty() {
                slug.push('-');
            }
        }
        slug.trim_end_matches('-').to_owned()
    }
}

/// The title that all findings of a known cause share.
fn known(defect: Defect) -> String {
    format!("known: {}", defect.info().name)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use lockstep::Options;
    use optimized::Defects;

    use super::*;
    use crate::judge::Judge;
    use crate::minimise::Minimiser;

    /// Programs, the defect that they show, and the title by hand.
    const FIXTURES: &[(&str, &str, &str)] = &[
        (
            "m0 = mmap len=1 rw private\nwrite m0\nh0 = pin m0\nmm1 = fork",
            "fork-copies-for-parent",
            "wrong-page in fork-copy-pinned",
        ),
        (
            "m0 = mmap len=2 rw private\nm1 = mmap len=3 rw private\nwrite m1+2\nread m1\ncpu1: h0 = pin m1+2\nmm1 = fork",
            "fork-copies-for-parent",
            "wrong-page in fork-copy-pinned",
        ),
        (
            "m0 = mmap len=1 rw private\nwrite m0\nmprotect m0 r",
            "mprotect-loses-exclusive",
            "exclusive in mprotect",
        ),
        (
            "m0 = mmap len=4 rw private\nh0 = pin m0 write",
            "pin-bias-on-large",
            "refcount-leak in pin",
        ),
        (
            "m0 = mmap len=4 rw private\nwrite m0\nh0 = pin m0 write fast",
            "pin-forgets-pincount",
            "pincount in pin",
        ),
    ];

    fn titles(source: &str, defect: &str, by_cause: bool) -> Titles {
        let program: Program = source.parse().expect("a program");
        let defect = Defect::find(defect).expect("a defect");
        let on = Defects::only(defect);
        let sight = Judge::new(on, Options { paranoid: true }).look(&program).expect("a finding");
        let minimiser = Minimiser { defects: on, stop: &AtomicBool::new(false) };
        let (small, seen, _) = minimiser.smallest(&program, &sight);
        let (root, last) = minimiser.root(&small, &seen);
        Titles::of((&small, &seen), (&root, &last), Some(defect).filter(|_| by_cause))
    }

    #[test]
    fn titles_say_what_and_where() {
        for (source, defect, title) in FIXTURES {
            assert_eq!(titles(source, defect, false).title, *title, "{source}");
        }
    }

    #[test]
    fn findings_with_one_title_meet_and_slugs_are_names_of_folders() {
        let [a, b, c] = [0, 1, 2].map(|at: usize| titles(FIXTURES[at].0, FIXTURES[at].1, false));
        assert!(a.meet(&b) && b.meet(&a));
        assert!(!a.meet(&c));
        assert_eq!(a.slug(), "wrong-page-in-fork-copy-pinned");
        let mut joined = c.clone();
        joined.join(&a);
        assert!(joined.meet(&b));
        assert_eq!(joined.title, c.title);
    }

    #[test]
    fn what_two_bugs_look_like_in_a_phase_does_not_make_them_one() {
        // Either way migration unmaps a page whose pin does not show.
        let source = "setup:\nm0 = mmap len=4 rw private\nwrite m0\nphase:\n\
                      cpu0: h0 = pin m0\ncpu1: migrate m0";
        let [a, b] = ["pin-forgets-pincount", "pin-bias-on-large"]
            .map(|defect| titles(source, defect, false));
        assert_eq!([&*a.title, &*b.title], ["pincount in pin", "refcount-leak in pin"]);
        assert!(!a.meet(&b), "{a:?} {b:?}");
    }

    #[test]
    fn a_known_cause_decides_alone() {
        let [a, b] = [0, 2].map(|at: usize| titles(FIXTURES[at].0, FIXTURES[at].1, true));
        assert_eq!(a.title, "fork-copies-for-parent: wrong-page in fork-copy-pinned");
        assert!(!a.meet(&b));
    }
}
