//! Lock order between classes of locks, as lockdep learns it.
//!
//! A class is the name of a kind of lock. Taking B while holding A adds A -> B; a path back from B
//! to A is an inversion, found whether or not this run deadlocked on it. Two locks of one class
//! are not ordered (the kernel's subclasses). What was learnt is forgotten with the run: a finding
//! that needed an earlier program could not be replayed.

/// Classes that one run can tell apart; names after that share the last.
const CLASSES: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lockdep {
    names: Vec<&'static str>,
    /// Bit b of `after[a]`: b was taken under a.
    after: [u32; CLASSES],
}

impl Lockdep {
    pub fn reset(&mut self) {
        self.after = [0; CLASSES];
    }

    /// The class of a name. Classes outlive a run: they carry no order.
    pub fn class(&mut self, name: &'static str) -> u8 {
        // Mostly the very same text, which need not be read.
        let same = |&known: &&str| std::ptr::eq(known, name) || known == name;
        let known = self.names.iter().position(same);
        let class = known.unwrap_or_else(|| {
            if self.names.len() < CLASSES {
                self.names.push(name);
            }
            self.names.len() - 1
        });
        class as u8
    }

    /// The name of a class.
    pub fn name(&self, class: u8) -> &'static str {
        self.names[usize::from(class)]
    }

    /// Learns that `to` was taken under `from`; the two names if the order was known inverted.
    pub fn edge(&mut self, from: u8, to: u8) -> Option<(&'static str, &'static str)> {
        let (a, b) = (usize::from(from), usize::from(to));
        if a == b || self.after[a] & 1 << b != 0 {
            return None;
        }
        self.after[a] |= 1 << b;
        let mut reached = 1u32 << b;
        let mut fresh = reached;
        while fresh != 0 {
            let class = fresh.trailing_zeros() as usize;
            fresh &= fresh - 1;
            fresh |= self.after[class] & !reached;
            reached |= self.after[class];
        }
        (reached & 1 << a != 0).then(|| (self.names[a], self.names[b]))
    }
}

#[cfg(test)]
mod tests {
    use super::Lockdep;

    #[test]
    fn an_inversion_over_three_classes_is_seen_and_forgotten() {
        let mut lockdep = Lockdep::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| lockdep.class(name));
        assert_eq!(lockdep.edge(a, b), None);
        assert_eq!(lockdep.edge(b, c), None);
        assert_eq!(lockdep.edge(a, c), None);
        assert_eq!(lockdep.edge(a, a), None);
        assert_eq!(lockdep.edge(c, a), Some(("c", "a")));
        lockdep.reset();
        assert_eq!(lockdep.edge(c, a), None);
    }
}
