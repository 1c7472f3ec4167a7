//! How a finding is told, so that each engine's tools tell bugs apart.
//!
//! * `DEDUP_TOKEN:` keeps libFuzzer's `-minimize_crash` with the bug it began with.
//! * `FuzzerHash=` in a panic line of the old form is the one thing that ClusterFuzz compares
//!   exactly; casr reads the line too. It takes long numbers out and lines at 80 characters.
//! * The process dies in a function named for the class: a stack trace says the class.

use std::process::abort;

use program::digest::mix;

/// Something was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alarm {
    /// The family of its class, as `Class::family`.
    pub family: &'static str,
    /// What findings of one cause have in common.
    pub signature: String,
    /// For people.
    pub report: String,
}

/// Characters of a signature that fit into ClusterFuzz's line beside the hash.
const SLUG: usize = 50;

impl Alarm {
    /// A text that is not treated as it should be.
    pub fn text(what: &'static str, source: &str) -> Alarm {
        Alarm { family: "text", signature: format!("text--{what}"), report: format!("{source}\n") }
    }

    /// Everything there is to print.
    pub fn told(&self) -> String {
        format!(
            "{}\nDEDUP_TOKEN: {}\nthread 'mm-lockstep' panicked at 'FuzzerHash={}',\n",
            self.report.trim_end(),
            self.signature,
            self.slug()
        )
    }

    /// The signature in few characters, none of them a digit: its beginning, and a hash of all.
    pub fn slug(&self) -> String {
        let mut hash = self.signature.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        let letters = std::iter::repeat_with(|| {
            let letter = b'a' + (hash % 26) as u8;
            hash /= 26;
            char::from(letter)
        });
        let plain = |c: &char| c.is_ascii_lowercase() || *c == '-';
        let start: String = self.signature.chars().filter(plain).take(SLUG).collect();
        format!("{start}-{}", letters.take(8).collect::<String>())
    }

    /// Tells it and ends the process as a crash.
    pub fn raise(&self) -> ! {
        eprint!("{}", self.told());
        die(self.family)
    }
}

/// One function a family. What they say keeps the compiler from making them one.
macro_rules! frames {
    ($($family:literal $frame:ident)*) => {
        mod mm_lockstep {
            $(#[inline(never)]
            pub fn $frame() -> ! {
                eprintln!(concat!("class: ", $family));
                super::abort()
            })*
        }

        fn die(family: &str) -> ! {
            match family {
                $($family => mm_lockstep::$frame(),)*
                _ => mm_lockstep::other(),
            }
        }

        #[cfg(test)]
        const FAMILIES: &[&str] = &[$($family),*];
    };
}

frames! {
    "conduct" misconduct
    "result" wrong_result
    "content" wrong_content
    "lock" wrong_lock
    "mapping" wrong_mapping
    "vma" wrong_vma
    "mm-flags" wrong_mm_flags
    "handle" wrong_handle
    "refcount" wrong_refcount
    "mapcount" wrong_mapcount
    "pincount" wrong_pincount
    "exclusive" wrong_exclusive
    "lru" wrong_lru
    "dirty" wrong_dirty
    "cache" wrong_cache
    "folio" wrong_folio
    "content-in-memory" wrong_content_in_memory
    "memory" wrong_memory_use
    "expect" failed_expectation
    "invariant" broken_invariant
    "digest" wrong_digest
    "teardown" left_over
    "deadlock" deadlock
    "starvation" starvation
    "livelock" livelock
    "cost" wrong_cost
    "pending" never_done
    "undecided" undecided
    "text" wrong_text
    "other" other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(signature: &str) -> Alarm {
        Alarm { family: "refcount", signature: signature.to_owned(), report: String::new() }
    }

    #[test]
    fn a_slug_is_exact_and_survives_clusterfuzz() {
        let long = "refcount-underflow--ref-low-used-low--gup-pmd-gup-page-mask-gup-second-grab";
        let (a, b) = (alarm(&format!("{long}--1")), alarm(&format!("{long}--2")));
        assert_ne!(a.slug(), b.slug());
        for slug in [a.slug(), b.slug(), alarm("panic--memory-rs-4711").slug()] {
            assert!("FuzzerHash=".len() + slug.len() <= 80, "{slug}");
            assert!(slug.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{slug}");
        }
    }

    #[test]
    fn tools_find_their_lines() {
        let told = alarm("refcount-leak--ref-high--fork-anon").told();
        let line = |start: &str| told.lines().find_map(|line| line.strip_prefix(start));
        assert_eq!(line("DEDUP_TOKEN: "), Some("refcount-leak--ref-high--fork-anon"));
        let panic = line("thread 'mm-lockstep' panicked at '").expect("a panic line");
        assert!(panic.starts_with("FuzzerHash=refcount-leak--ref-high--fork-anon-"));
        assert!(panic.ends_with("',"));
    }

    #[test]
    fn every_class_has_its_frame() {
        use lockstep::{Class, Drift};
        let classes = [
            Class::Conduct("x"),
            Class::Result,
            Class::Content,
            Class::Lock,
            Class::Mapping,
            Class::Vma,
            Class::Mm,
            Class::Handle,
            Class::Refcount(Drift::Leak),
            Class::Mapcount,
            Class::Pincount,
            Class::Exclusive,
            Class::Lru,
            Class::Dirty,
            Class::Cache,
            Class::Folio,
            Class::Stored,
            Class::Memory,
            Class::Expect,
            Class::Invariant(1),
            Class::Digest,
            Class::Teardown,
            Class::Deadlock,
            Class::Starvation,
            Class::Livelock,
            Class::Cost,
            Class::Pending,
            Class::Undecided,
        ];
        for class in classes {
            assert!(FAMILIES.contains(&class.family()), "{class}");
        }
    }
}
