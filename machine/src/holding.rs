//! Which locks were held when: what pictures of a run are drawn from.

use crate::event::address;
use crate::machine::Machine;

/// A lock held for a while, during a run of an [`Executor`](crate::Executor).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Its name.
    pub lock: &'static str,
    /// Which of the locks of that name, from 0, in the order in which they were first taken.
    pub which: usize,
    /// What [`Machine::label`] called it; 0 if nobody did.
    pub label: u64,
    /// The CPU whose task took it.
    pub cpu: u8,
    /// Others could hold it too (a read lock).
    pub shared: bool,
    /// The time when it was taken; see [`Machine::set_time`].
    pub from: usize,
    /// The time when it was released; `None` if it was not.
    pub until: Option<usize>,
}

/// The same as the run notes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub object: usize,
    pub class: u8,
    pub label: u64,
    pub cpu: u8,
    pub shared: bool,
    pub from: u32,
    pub until: Option<u32>,
}

impl Machine {
    /// What time it is, by the clock of whoever wants to know when locks were held.
    #[inline]
    pub fn set_time(&self, time: usize) {
        self.time.set(time as u32);
    }

    /// Gives a lock that is held a name for [`Machine::holdings`], unless it has one.
    #[cold]
    pub fn label<T>(&self, lock: &T, label: u64) {
        let (object, mut board) = (address(lock), self.board.borrow_mut());
        let span = board.spans.iter_mut().rfind(|span| span.object == object);
        if let Some(span) = span.filter(|span| span.label == 0) {
            span.label = label;
        }
    }

    /// The locks that were held during the last run, in the order in which they were taken.
    pub fn holdings(&self) -> Vec<Holding> {
        let board = self.board.borrow();
        let mut known: Vec<(u8, usize)> = Vec::new();
        let holding = |span: &Span| {
            let Span { object, class, label, cpu, shared, from, until } = *span;
            if !known.contains(&(class, object)) {
                known.push((class, object));
            }
            let of_class = known.iter().filter(|(other, _)| *other == class);
            let which = of_class.take_while(|(_, other)| *other != object).count();
            let lock = board.lockdep.name(class);
            let (from, until) = (from as usize, until.map(|time| time as usize));
            Holding { lock, which, label, cpu, shared, from, until }
        };
        board.spans.iter().map(holding).collect()
    }
}
