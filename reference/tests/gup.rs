//! Handles: pins, gets, and what they keep from happening (B4 to B6, K10).

mod common;

use common::{M0, Machine, err, range};
use program::{Backing, Entry, Errno, Foll, Form, Op, Prot, Ret, Shape, Site, written};

#[test]
fn a_small_pin_weighs_1024_and_a_get_one() {
    let mut m = Machine::small();
    let a = m.anon(1);
    m.write(M0, range(a, 0, 1));
    m.drain();
    let pin = m.pin(range(a, 0, 1), true);
    let get = m.get(range(a, 0, 1), false);
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.refcount, folio.pincount), (1 + 1024 + 1, 0));
    assert!(m.snapshot().mms[&M0].has_pinned);
    assert_eq!((m.put(get), m.unpin(pin)), (Ret::Ok(1), Ret::Ok(1)));
    assert_eq!(m.folio(M0, a, 0).refcount, 1);
    assert_eq!(m.put(get), Ret::Void);
}

#[test]
fn a_large_pin_counts_each_page_once() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(4);
    m.write(M0, range(a, 0, 1));
    m.pin(range(a, 1, 3), false);
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.order, folio.refcount, folio.pincount), (2, 1 + 3, 3));
}

#[test]
fn fork_copies_a_pinned_page_at_once() {
    let mut m = Machine::small();
    let a = m.anon(2);
    m.write(M0, range(a, 0, 2));
    let value = written(m.last(), 0);
    m.drain();
    m.pin(range(a, 0, 1), true);
    let (_, child) = m.fork();
    // The parent's page is untouched, the child's a new one in the batch (K7).
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.refcount, folio.exclusive[0]), (1 + 1024, true));
    assert!(m.pte(M0, a, 0).unwrap().write);
    let copy = m.folio(child, a, 0);
    assert_eq!((copy.refcount, copy.exclusive[0], copy.data[0]), (2, true, value));
    assert!(m.pte(child, a, 0).unwrap().write);
    // The neighbour is shared, and MMF_HAS_PINNED is not inherited.
    assert_eq!(m.folio(child, a, 1).mapcount, [2]);
    assert!(!m.snapshot().mms[&child].has_pinned);
}

#[test]
fn fork_splits_the_pmd_of_a_pinned_huge_folio_and_copies_every_page() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(4);
    m.write(M0, range(a, 0, 1));
    m.pin(range(a, 0, 1), true);
    let (_, child) = m.fork();
    assert!(m.pmd(M0, a, 0).is_none());
    // Ref 2 (PMD, pin) became 4 PTEs and the pin.
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.refcount, folio.mapcount, folio.exclusive), (5, vec![1; 4], vec![true; 4]));
    assert_eq!(m.folio(child, a, 3).order, 0);
}

#[test]
fn a_read_only_pin_of_a_shared_page_unshares_it_and_a_get_does_not() {
    let mut m = Machine::small();
    let a = m.anon(1);
    m.write(M0, range(a, 0, 1));
    let (_, child) = m.fork();
    m.get(range(a, 0, 1), false);
    assert_eq!(m.pte(M0, a, 0).unwrap().page, m.pte(child, a, 0).unwrap().page);
    let (fast_only, _) = m.gup(range(a, 0, 1), Entry::FastOnly, Foll::Pin, false);
    assert_eq!(fast_only, Ret::Ok(0));
    m.pin(range(a, 0, 1), false);
    assert_ne!(m.pte(M0, a, 0).unwrap().page, m.pte(child, a, 0).unwrap().page);
    // Copied, exclusive, but still read-only: PTE, batch, pin.
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.refcount, folio.exclusive[0]), (2 + 1024, true));
    assert!(!m.pte(M0, a, 0).unwrap().write);
}

#[test]
fn the_zero_page_counts_gets_and_ignores_pins() {
    let mut m = Machine::small();
    let a = m.anon(2);
    let pin = m.pin(range(a, 0, 2), false);
    assert_eq!(m.snapshot().zero_refs, 0);
    let get = m.get(range(a, 0, 2), false);
    assert_eq!(m.snapshot().zero_refs, 2);
    assert_eq!((m.unpin(pin), m.put(get)), (Ret::Ok(2), Ret::Ok(2)));
    assert_eq!(m.snapshot().zero_refs, 0);
}

#[test]
fn an_error_after_a_page_only_shortens_the_result() {
    let mut m = Machine::small();
    let a = m.anon(4);
    m.op(Op::Munmap { mm: M0, range: range(a, 2, 1) });
    let (ret, handle) = m.gup(range(a, 0, 4), Entry::Fast, Foll::Pin, true);
    assert_eq!(ret, Ret::Ok(2));
    assert_eq!(m.op(Op::Peek { handle }), Ret::Ok(2));
    let (ret, handle) = m.gup(range(a, 2, 2), Entry::Fast, Foll::Pin, true);
    assert_eq!(ret, err(Errno::EFAULT));
    assert_eq!(m.op(Op::Peek { handle }), Ret::Void);
}

#[test]
fn the_second_grab_of_a_huge_run_fails_differently() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(4);
    m.write(M0, range(a, 0, 1));
    let whole = range(a, 0, 4);
    for (nth, errno) in [(1, Errno::ENOMEM), (2, Errno::EFAULT)] {
        let (ret, _) = m.failing(Site::Grab, nth).gup(whole, Entry::Slow, Foll::Pin, true);
        assert_eq!(ret, err(errno));
        assert_eq!(m.folio(M0, a, 0).refcount, 1);
    }
    // One page needs one grab.
    let (ret, _) = m.failing(Site::Grab, 2).gup(range(a, 3, 1), Entry::Slow, Foll::Pin, true);
    assert_eq!(ret, Ret::Ok(1));
}

#[test]
fn unpin_takes_two_handles_and_dirties_file_pages() {
    let mut m = Machine::small();
    let a = m.map(Backing::FileShared { file: 0, pgoff: 0 }, Prot::ReadWrite, 2);
    let first = m.pin(range(a, 0, 2), false);
    let second = m.pin(range(a, 1, 1), false);
    assert!(!m.folio(M0, a, 0).dirty);
    let (also, form) = (Some(second), Form::Range);
    let ret = m.op(Op::Unpin { handle: first, also, form, dirty: true, hole: true });
    assert_eq!(ret, Ret::Ok(3));
    let folio = m.folio(M0, a, 1);
    assert!(folio.dirty && folio.refcount < 1024);
}

#[test]
fn a_pinned_page_outlives_its_mapping() {
    let mut m = Machine::small();
    let a = m.anon(1);
    m.write(M0, range(a, 0, 1));
    let value = written(m.last(), 0);
    let pin = m.pin(range(a, 0, 1), true);
    m.op(Op::Munmap { mm: M0, range: range(a, 0, 1) });
    let folio = m.snapshot().folios.into_values().next().unwrap();
    assert_eq!((folio.refcount, folio.mapcount[0], folio.exclusive[0]), (1024, 0, true));
    m.op(Op::Peek { handle: pin });
    assert_eq!(m.data, [value]);
    m.unpin(pin);
    assert!(m.snapshot().folios.is_empty());
}
