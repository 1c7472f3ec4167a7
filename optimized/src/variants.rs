//! Other ways of doing it that were in use or proposed: right, wasteful or wrong, as the harness
//! says. Unlike a defect a variant is meant to work.

macro_rules! variants {
    ($($variant:ident {
        name: $name:literal, thread: $thread:literal, what: $what:literal, judged: $judged:literal $(,)?
    })*) => {
        /// A way of pinning pages.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub enum Variant {
            #[default]
            #[doc = "What this project takes for the best correct version."]
            Batched,
            $(#[doc = $what] $variant,)*
        }

        impl Variant {
            /// Every variant but the usual one.
            pub const ALL: &'static [Variant] = &[$(Variant::$variant,)*];

            /// Name, thread, what it does, how it is judged.
            pub fn info(self) -> VariantInfo {
                match self {
                    Variant::Batched => VariantInfo {
                        name: "batched",
                        thread: "6.12, S4 (Gunthorpe)",
                        what: "One grab a leaf or run of PTEs, checked after the walk.",
                        judged: "right",
                    },
                    $(Variant::$variant => VariantInfo {
                        name: $name, thread: $thread, what: $what, judged: $judged,
                    },)*
                }
            }
        }
    };
}

/// What is known about a variant.
#[derive(Clone, Copy, Debug)]
pub struct VariantInfo {
    /// Lower case and dashes.
    pub name: &'static str,
    /// Where it comes from.
    pub thread: &'static str,
    /// What it does.
    pub what: &'static str,
    /// `right`, `wasteful` or `wrong`, and why.
    pub judged: &'static str,
}

variants! {
    PageAtATime {
        name: "page-at-a-time", thread: "S4 (as posted)",
        what: "The walk without batches, its output scanned afterwards: each page has its own visit, lock and grab, and is unpinned by itself.",
        judged: "right; wasteful: the yardstick of the cost rule",
    }
    Vfio {
        name: "vfio", thread: "S4 (vfio_pin_pages_remote, 2020)",
        what: "The caller pins one page a call.",
        judged: "right while nothing fails, but for the moment at which LRU batches are drained; then it keeps a prefix where one call would keep nothing; wasteful",
    }
    VfioTailSkip {
        name: "vfio-tail-skip", thread: "S4 (Jordan; Gunthorpe: please don't)",
        what: "The caller pins one page a call and takes what follows a page of a compound page for its tails, without a call and without a pin.",
        judged: "wrong: pages without a pin, and not those that are mapped",
    }
    InWalkCheck {
        name: "in-walk-check", thread: "S4 (Tatashin)",
        what: "The walk looks at each page that it has pinned; one that may not stay is unpinned and its folio migrated, and the walk goes back to there. Nothing is looked at twice.",
        judged: "right, against a reference that does it page by page too; no rescans; no batches; after a failure other pages have moved than with the loop",
    }
    InLoopMigration {
        name: "in-loop-migration", thread: "S4 (Gunthorpe)",
        what: "As in-walk-check, but page at a time: pinned, looked at and, if its folio may not stay, unpinned and migrated, before the next.",
        judged: "right, as in-walk-check; wasteful: no batches at all",
    }
    DevicePrePass {
        name: "device-pre-pass", thread: "S3 (check_and_migrate_device_pages)",
        what: "Device-coherent pages are looked for and moved in a pass of their own, before that for MOVABLE and CMA.",
        judged: "right, against a reference that does it in that order too, because the walk is done again; wasteful: every entry is looked at twice",
    }
    DeviceBulkList {
        name: "device-bulk-list", thread: "S3 (Hildenbrand: a second list and a bulk function)",
        what: "Device-coherent pages are put on a list of their own and moved together; one whose lock is not free is moved by itself after that.",
        judged: "right, against a reference that moves them together too; where one cannot move, others have moved that 6.12 does not come to; to wait for each lock with the others locked is A30, a deadlock",
    }
    UffdAbort {
        name: "uffd-abort", thread: "S1 (Glisse)",
        what: "A speculative fault looks under the page table's lock whether userfaultfd is registered by now, and then gives up.",
        judged: "right; the window is narrower, not closed: who registers does not take that lock",
    }
    CondResched {
        name: "cond-resched", thread: "S2 (v1)",
        what: "A fault of the kernel's own does not wait for a locked device-private page but comes again and again; hmm_range_fault gives the CPU away in between.",
        judged: "right where tasks take turns; every round of the loop is paid for",
    }
}

impl Variant {
    /// The variant with this name.
    pub fn find(name: &str) -> Option<Variant> {
        let all = Variant::ALL.iter().copied();
        all.chain([Variant::Batched]).find(|variant| variant.info().name == name)
    }

    /// Whether leaves are taken whole and unpinned by folio.
    pub(crate) fn batches(self) -> bool {
        !matches!(self, Variant::PageAtATime | Variant::InLoopMigration)
    }
}
