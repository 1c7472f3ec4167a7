//! What a twin does beside what its original does, on code that stops, fails and waits.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use twice::twice;

/// A gate that somebody else opens.
#[derive(Default)]
struct Gate {
    open: Cell<bool>,
    trace: RefCell<Vec<u32>>,
}

/// As those of `machine`, known by the name of its type.
struct Point<'a>(&'a Gate);

impl Future for Point<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.open.get() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Point<'_> {
    fn alone(self) -> Option<()> {
        self.0.open.get().then_some(())
    }
}

#[twice]
impl Gate {
    fn pass(&self) -> Point<'_> {
        Point(self)
    }

    fn note(&self, what: u32) {
        self.trace.borrow_mut().push(what);
    }

    /// `?` and `return`, also inside a closure, where they mean the closure.
    async fn checked(&self, value: u32) -> Result<u32, String> {
        let double = |n: u32| -> Result<u32, u8> {
            if n == 1 {
                return Ok(0);
            }
            let double = n.checked_mul(2).ok_or(1u8)?;
            Ok(double)
        };
        self.pass().await;
        self.note(value);
        if value == 0 {
            return Err("zero".into());
        }
        let double = double(value).map_err(|code| code.to_string())?;
        Ok(double)
    }

    async fn found(&self, values: &[u32]) -> Option<u32> {
        let first = values.first()?;
        let mut sum = 0;
        for value in values {
            sum += self.checked(*value).await.ok()?;
        }
        Some(sum + first)
    }

    async fn until(&self, end: u32) -> u32 {
        let mut at = 0;
        loop {
            if let Ok(value) = self.checked(at).await
                && value >= end
            {
                return value;
            }
            at += 1;
        }
    }

    fn note_mark(&self, what: u32) -> u32 {
        self.note(what);
        what
    }

    async fn marked(&self) -> u32 {
        self.pass().await;
        self.note_mark(1);
        let used = self.note_mark(2);
        if used == 2 {
            self.note_mark(3);
        }
        used
    }

    /// Futures that are no call of a method.
    async fn other(&self) -> u32 {
        std::future::ready(7).await
    }
}

/// One poll of the original.
fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Both, on gates of their own: what they return and what they did.
fn both<T: PartialEq + std::fmt::Debug>(
    open: bool,
    original: impl FnOnce(&Gate) -> Option<T>,
    twin: impl FnOnce(&Gate) -> Option<T>,
) -> Option<T> {
    let gates = [Gate::default(), Gate::default()];
    gates.iter().for_each(|gate| gate.open.set(open));
    let (a, b) = (original(&gates[0]), twin(&gates[1]));
    assert_eq!(a, b);
    assert_eq!(gates[0].trace, gates[1].trace);
    a
}

#[test]
fn twins_return_what_their_originals_do() {
    let checked = |value| both(true, |g| once(g.checked(value)), |g| g.checked_alone(value));
    assert_eq!(checked(21), Some(Ok(42)));
    assert_eq!(checked(0), Some(Err("zero".into())));
    assert_eq!(checked(u32::MAX), Some(Err("1".into())));
    let found = |list: &[u32]| both(true, |g| once(g.found(list)), |g| g.found_alone(list));
    assert_eq!(checked(1), Some(Ok(0)));
    assert_eq!(found(&[4, 2, 3]), Some(Some(22)));
    assert_eq!(found(&[1, 0, 3]), Some(None));
    assert_eq!(found(&[]), Some(None));
    assert_eq!(both(true, |g| once(g.until(9)), |g| g.until_alone(9)), Some(10));
    assert_eq!(both(true, |g| once(g.other()), Gate::other_alone), Some(7));
}

#[test]
fn who_would_wait_ends() {
    assert_eq!(both(false, |g| once(g.pass()), Gate::pass_alone), None);
    assert_eq!(both(false, |g| once(g.found(&[1, 2])), |g| g.found_alone(&[1, 2])), None);
    assert_eq!(both(false, |g| once(g.found(&[])), |g| g.found_alone(&[])), Some(None));
}

#[test]
fn twins_record_no_marks() {
    let gate = Gate { open: Cell::new(true), ..Gate::default() };
    assert_eq!(once(gate.marked()), Some(2));
    assert_eq!(gate.trace.take(), [1, 2, 3]);
    assert_eq!(gate.marked_alone(), Some(2));
    assert_eq!(gate.trace.take(), [2], "a value that is used is no statement");
}
