//! What is known about an entry of the catalogue (`defects.rs`).

/// What an entry of the catalogue is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A bug: must be found.
    Defect,
    /// An alternative that was proposed: right, wasteful or wrong as the harness says.
    Variant,
    /// A rule of the checker, shown by a corpus program.
    Contract,
}

impl Kind {
    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Defect => "defect",
            Kind::Variant => "variant",
            Kind::Contract => "contract",
        }
    }
}

/// What is known about an entry.
#[derive(Clone, Copy, Debug)]
pub struct DefectInfo {
    /// Catalogue id: `A…` from the threads (lettered where one entry has several forms), `C…`
    /// classics.
    pub id: &'static str,
    /// Name, lower case and dashes.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// The mailing-list thread it comes from, or the kernel function that gets it right.
    pub thread: &'static str,
    /// What goes wrong, in two lines at most.
    pub mechanism: &'static str,
    /// The classes of verdict that it shows, with `or` in between: first that of its corpus program,
    /// then those of random programs, where something else may notice it first.
    pub expected: &'static str,
    /// The corpus program that shows it.
    pub corpus: &'static str,
}

impl DefectInfo {
    /// The class that its corpus program shows.
    pub fn alone(&self) -> &'static str {
        self.classes().next().unwrap_or_default()
    }

    /// Every class that it is expected to show.
    pub fn classes(&self) -> impl Iterator<Item = &'static str> {
        self.expected.split(" or ")
    }
}
