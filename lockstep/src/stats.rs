//! What a campaign counts.

use program::{Kind, Op, Outcome, Ret};

use crate::permission::Permission;

/// How many kinds of operation there are.
const KINDS: usize = Kind::ALL.len();

/// Attempts and successes of one kind of operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KindCount {
    /// How often it was carried out.
    pub attempts: u64,
    /// How often it returned success (GUP: with at least one page).
    pub successes: u64,
}

/// Counters over many programs. Two campaigns' counters add up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Programs run.
    pub programs: u64,
    /// Steps carried out and compared (those that give everything back not included).
    pub steps: u64,
    /// Steps that changed the state, or returned pages or data.
    pub effective: u64,
    /// Programs whose full snapshots were compared at the end; paranoid runs, which compare them
    /// everywhere, count the same programs.
    pub inspected: u64,
    /// All that was seen of every program that ran to its end: the states after every step, of
    /// phases the marks and the decisions too. One number, whatever the order of the programs.
    pub fingerprint: u64,
    /// By kind of operation, in the order of [`Kind::ALL`].
    pub kinds: [KindCount; KINDS],
    /// By path of the optimised side.
    pub paths: Vec<u64>,
    /// Concurrent phases.
    pub phases: u64,
    /// Of these, those in which operations that overlap in time touched one folio.
    pub overlapped: u64,
    /// Concurrent phases that only another order of their steps explains.
    pub excused: u64,
    /// Marks of all phases: what they took.
    pub marks: u64,
    /// Uses of each permission, in the order of [`Permission::ALL`].
    pub permissions: [u64; Permission::ALL.len()],
}

impl Default for Stats {
    fn default() -> Self {
        Stats {
            programs: 0,
            steps: 0,
            effective: 0,
            inspected: 0,
            fingerprint: 0,
            kinds: [KindCount::default(); KINDS],
            paths: Vec::new(),
            phases: 0,
            overlapped: 0,
            excused: 0,
            marks: 0,
            permissions: [0; Permission::ALL.len()],
        }
    }
}

impl Stats {
    #[inline]
    pub(crate) fn count(&mut self, op: &Op, outcome: &Outcome, changed: bool) {
        let kind = Kind::of(op) as usize;
        let pages = matches!(outcome.ret, Ret::Ok(n) if n > 0);
        let gup = matches!(op, Op::Gup { .. });
        let success = if gup { pages } else { matches!(outcome.ret, Ret::Ok(_)) };
        self.steps += 1;
        self.effective += u64::from(changed || pages || !outcome.data.is_empty());
        self.kinds[kind].attempts += 1;
        self.kinds[kind].successes += u64::from(success);
    }

    /// A phase with so many marks was judged.
    pub(crate) fn phase(&mut self, marks: usize, overlapped: bool) {
        self.phases += 1;
        self.marks += marks as u64;
        self.overlapped += u64::from(overlapped);
    }

    pub(crate) fn permit(&mut self, permission: Permission) {
        self.permissions[permission as usize] += 1;
    }

    /// Adds another campaign's counters to these.
    pub fn merge(&mut self, other: &Stats) {
        self.programs += other.programs;
        self.steps += other.steps;
        self.effective += other.effective;
        self.inspected += other.inspected;
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
        self.phases += other.phases;
        self.overlapped += other.overlapped;
        self.excused += other.excused;
        self.marks += other.marks;
        for (mine, theirs) in self.permissions.iter_mut().zip(&other.permissions) {
            *mine += theirs;
        }
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            mine.attempts += theirs.attempts;
            mine.successes += theirs.successes;
        }
        if self.paths.len() < other.paths.len() {
            self.paths.resize(other.paths.len(), 0);
        }
        for (mine, theirs) in self.paths.iter_mut().zip(&other.paths) {
            *mine += theirs;
        }
    }

    /// The counts of one kind.
    pub fn kind(&self, kind: Kind) -> KindCount {
        self.kinds[kind as usize]
    }

    /// Steps a program that changed the state, or returned pages or data.
    pub fn effective_per_program(&self) -> f64 {
        self.effective as f64 / self.programs.max(1) as f64
    }

    /// Share of operations, `nop`s aside, that succeeded.
    pub fn acceptance(&self) -> f64 {
        let all = || Kind::ALL.iter().filter(|&&kind| kind != Kind::Nop);
        let attempts: u64 = all().map(|&kind| self.kind(kind).attempts).sum();
        let successes: u64 = all().map(|&kind| self.kind(kind).successes).sum();
        successes as f64 / attempts.max(1) as f64
    }

    /// How many paths were taken at all.
    pub fn paths_taken(&self) -> usize {
        self.paths.iter().filter(|&&hits| hits > 0).count()
    }
}
