//! What findings of one cause have in common, as far as one program tells.

use std::fmt;

use optimized::{Defects, Path};
use program::{Kind, Program};

use crate::compare::{FieldDiff, Value};
use crate::run::{Lockstep, Options};
use crate::verdict::{Class, Divergence, Verdict, When};

/// Names a kind of finding without anything that changes when the program around it does: no
/// step numbers, addresses, folios or counts. Findings of one signature are taken for one bug.
///
/// Take it of a minimised program. A random one says where damage was *noticed*; when nothing
/// more can be left out, that is mostly where it is done.
#[derive(Clone, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub struct Signature {
    /// The class of the finding: `refcount-leak`, `conduct-free-of-mapped-folio`…
    pub class: String,
    /// The most telling differences: `ref-high`, `entry-writable`…
    pub fields: String,
    /// The paths that the optimised side took in the step that showed it; if there are none, the
    /// step's kind of operation; `end` if it showed when all was given back. Of a panic, the place.
    pub place: String,
}

/// Differences that a signature names.
const FIELDS: usize = 2;

/// Paths that say how memory came to be there, not what was done with it.
const SETTING: [&str; 5] = ["anon-", "thp-", "file-", "batch-flush-", "gup-fault"];
/// Paths on which GUP-fast leaves the work to the slow walk.
const FALLBACK: &str = "fast-no";

impl Signature {
    /// What this program shows, if it shows something, and the signature of it. Minimise first.
    pub fn of(
        defects: Defects,
        program: &Program,
        options: &Options,
    ) -> Option<(Signature, Box<Divergence>)> {
        let (mut before, mut paths) = (Vec::new(), Vec::new());
        let verdict = Lockstep::new(defects).observe(program, options, |moment| {
            let hits = moment.optimized.hits();
            let was = |at: usize| before.get(at).copied().unwrap_or(0);
            let taken = |at: &usize| hits[*at] > was(*at);
            paths.clear();
            paths.extend((0..hits.len()).filter(taken).map(|at| Path::ALL[at].name()));
            before = hits;
        });
        match verdict {
            Verdict::Clean => None,
            Verdict::Diverged(divergence) => {
                Some((Signature::new(&divergence, &paths), divergence))
            }
        }
    }

    /// The signature of a divergence in whose step the optimised side took these paths.
    fn new(divergence: &Divergence, paths: &[&'static str]) -> Signature {
        let class = divergence.class;
        // Noticed long after it happened, on any path.
        let late = matches!(class, Class::Invariant(_) | Class::Digest | Class::Expect);
        let place = match divergence.when {
            _ if late => String::new(),
            When::Phase(_) => "phase".to_owned(),
            When::Start | When::Ending(_) | When::End => "end".to_owned(),
            When::Step(_, step) => {
                let telling = |path: &&&str| {
                    !SETTING.iter().any(|setting| path.starts_with(setting))
                        && !path.starts_with(FALLBACK)
                };
                let telling: Vec<&str> = paths.iter().filter(telling).copied().collect();
                match telling.as_slice() {
                    [] => Kind::of(&step.op).name().to_owned(),
                    telling => telling.join("-"),
                }
            }
        };
        Signature { class: class.to_string(), fields: aspects(divergence), place }
    }

    /// The signature of a panic at a place in the source.
    pub fn of_panic(place: &str) -> Signature {
        Signature { class: "panic".to_owned(), fields: String::new(), place: place.to_owned() }
    }
}

/// `class--fields--place`, of lower-case letters, digits and single or double dashes: fit for file
/// names, and for tools that take other signs and long numbers for noise.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.class, &self.fields, &self.place];
        for (at, part) in parts.into_iter().filter(|part| !part.is_empty()).enumerate() {
            if at > 0 {
                f.write_str("--")?;
            }
            for c in part.chars() {
                let plain = if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
                fmt::Write::write_char(f, plain)?;
            }
        }
        Ok(())
    }
}

/// The distinct differences, most telling first.
fn aspects(divergence: &Divergence) -> String {
    let mut list: Vec<String> = Vec::new();
    for diff in &divergence.fields {
        let aspect = aspect(diff);
        if list.len() < FIELDS && !list.contains(&aspect) {
            list.push(aspect);
        }
    }
    list.join("-")
}

/// A field, and which way it differs.
fn aspect(diff: &FieldDiff) -> String {
    let name = diff.what.field_name();
    let how = match (&diff.reference, &diff.optimized) {
        (Value::Text(_), _) | (_, Value::Text(_)) => return name.to_owned(),
        (Value::Count(a), Value::Count(b)) => {
            if b > a {
                "high"
            } else {
                "low"
            }
        }
        (Value::Absent | Value::Flag(false), _) => "extra",
        (_, Value::Absent | Value::Flag(false)) => "missing",
        (Value::Entry(a), Value::Entry(b)) if a.page != b.page => "page",
        (Value::Entry(a), Value::Entry(b)) if a.write != b.write => {
            if b.write {
                "writable"
            } else {
                "protected"
            }
        }
        _ => "other",
    };
    format!("{name}-{how}")
}
