//! Huge folios, LRU state and migration (B7, B9, K1, K5, K6, K11).

mod common;

use common::{M0, Machine, err, nothing, range};
use program::{
    Advice, Backing, Entry, Errno, Foll, Mode, Model, Op, PageRef, Place, Prot, Ret, Shape, Site,
    TaskId, Thp, written,
};

#[test]
fn a_huge_fault_maps_one_reference_and_flushes_the_batch() {
    let mut m = Machine::new(Shape::default());
    let (a, b) = (m.anon(2), m.anon(4));
    m.write(M0, range(a, 0, 1));
    assert_eq!(m.folio(M0, a, 0).refcount, 2);
    m.write(M0, range(b, 1, 1));
    let huge = m.folio(M0, b, 1);
    assert_eq!((huge.refcount, huge.entire_mapcount, huge.lru), (1, 1, true));
    assert_eq!(huge.exclusive, [true, false, false, false]);
    assert_eq!(huge.data, [0, written(m.last(), 0), 0, 0]);
    assert_eq!(m.folio(M0, a, 0).refcount, 1);
}

#[test]
fn a_huge_fault_falls_back_without_folio_and_fails_without_table() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(4);
    assert_eq!(m.failing(Site::Table, 1).write(M0, range(a, 0, 1)), err(Errno::ENOMEM));
    assert_eq!(m.snapshot().used, [0; 5]);
    assert_eq!(m.failing(Site::Huge, 1).write(M0, range(a, 0, 1)), Ret::Ok(1));
    assert_eq!(m.folio(M0, a, 0).order, 0);
}

#[test]
fn cutting_a_vma_splits_the_pmd_around_the_cut() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(8);
    m.write(M0, range(a, 0, 8));
    m.advise(range(a, 0, 1), Advice::DontFork);
    assert!(m.pmd(M0, a, 0).is_none() && m.pmd(M0, a, 4).is_some());
    // R + N - 1, every page mapped and exclusive (B2).
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.refcount, folio.entire_mapcount), (4, 0));
    assert_eq!((folio.mapcount, folio.exclusive), (vec![1; 4], vec![true; 4]));
}

#[test]
fn splitting_the_folio_gives_zero_pages_to_what_was_never_written() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(4);
    m.write(M0, range(a, 2, 1));
    assert_eq!(m.op(Op::SplitFolio { mm: M0, range: range(a, 0, 1) }), Ret::Ok(0));
    let page = m.folio(M0, a, 2);
    assert_eq!((page.order, page.refcount, page.lru, page.exclusive[0]), (0, 1, true, true));
    for off in [0, 1, 3] {
        let entry = m.pte(M0, a, off).unwrap();
        assert_eq!((entry.page, entry.write), (PageRef::Zero, false));
    }
    assert_eq!(m.snapshot().used, [1, 0, 0, 0, 0]);
    let again = m.op(Op::SplitFolio { mm: M0, range: range(a, 2, 1) });
    assert_eq!(again, err(Errno::EINVAL));
    assert_eq!(m.op(Op::SplitFolio { mm: M0, range: range(a, 0, 1) }), err(Errno::ENOENT));
}

#[test]
fn a_held_huge_folio_is_not_split() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(4);
    m.write(M0, range(a, 0, 1));
    m.get(range(a, 0, 1), false);
    assert_eq!(m.op(Op::SplitFolio { mm: M0, range: range(a, 0, 1) }), err(Errno::EAGAIN));
    assert!(m.pmd(M0, a, 0).is_some());
}

#[test]
fn a_forked_huge_page_is_split_by_the_writer_and_copied() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(4);
    m.write(M0, range(a, 0, 4));
    let (_, child) = m.fork();
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.refcount, folio.entire_mapcount, folio.exclusive[0]), (2, 2, false));
    m.write(M0, range(a, 1, 1));
    assert_eq!(m.folio(M0, a, 1).order, 0);
    let folio = m.folio(child, a, 0);
    assert_eq!((folio.refcount, folio.entire_mapcount), (1 + 3, 1));
    assert_eq!(folio.mapcount, [1, 0, 1, 1]);
    // Alone again, the child makes its PMD exclusive, and never copies; the parent does, as a
    // PTE-mapped large folio is not reused (B4).
    m.op(Op::Exit { mm: child });
    m.write(M0, range(a, 0, 1));
    assert_eq!(m.folio(M0, a, 0).order, 0);
}

#[test]
fn collapse_copies_into_a_new_huge_folio() {
    let mut m = Machine::small();
    let a = m.anon(4);
    m.write(M0, range(a, 0, 1));
    m.read(M0, range(a, 1, 1));
    let value = written(1, 0);
    assert_eq!(m.advise(range(a, 0, 4), Advice::Collapse), Ret::Ok(0));
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.refcount, folio.entire_mapcount, folio.lru), (1, 1, true));
    assert_eq!(folio.data, [value, 0, 0, 0]);
    assert_eq!(m.snapshot().folios.len(), 1);
    assert!(m.snapshot().mms[&M0].tables.is_empty());
    assert_eq!(m.advise(range(a, 0, 4), Advice::Collapse), Ret::Ok(0));
}

#[test]
fn collapse_names_the_first_thing_in_its_way() {
    let mut m = Machine::small();
    let (a, b) = (m.anon(4), m.anon(4));
    assert_eq!(m.advise(range(a, 0, 4), Advice::Collapse), err(Errno::EINVAL));
    m.write(M0, range(a, 0, 4));
    m.get(range(a, 3, 1), false);
    assert_eq!(m.advise(range(a, 0, 4), Advice::Collapse), err(Errno::EAGAIN));
    m.write(M0, range(b, 0, 4));
    m.fork();
    assert_eq!(m.advise(range(b, 0, 4), Advice::Collapse), err(Errno::EINVAL));
    m.write(M0, range(b, 0, 1));
    let ret = m.failing(Site::Huge, 1).advise(range(b, 0, 4), Advice::Collapse);
    assert_eq!(ret, err(Errno::ENOMEM));
    assert_eq!(m.advise(range(b, 0, 4), Advice::Collapse), Ret::Ok(0));
}

#[test]
fn migration_moves_the_page_and_puts_the_destination_in_the_batch() {
    let mut m = Machine::small();
    let a = m.anon(1);
    m.write(M0, range(a, 0, 1));
    let value = written(m.last(), 0);
    assert_eq!(m.migrate(range(a, 0, 1), Mode::Sync), err(Errno::EBUSY));
    m.drain();
    let old = m.pte(M0, a, 0).unwrap();
    m.place = Place::Movable;
    assert_eq!(m.migrate(range(a, 0, 1), Mode::Sync), Ret::Ok(0));
    let (new, folio) = (m.pte(M0, a, 0).unwrap(), m.folio(M0, a, 0));
    assert!(old.page != new.page && new.write);
    assert_eq!((folio.refcount, folio.lru, folio.place), (2, false, Place::Movable));
    assert_eq!((folio.exclusive[0], folio.data[0]), (true, value));
    assert_eq!(m.snapshot().used, [0, 1, 0, 0, 0]);
}

#[test]
fn a_failed_migration_leaves_the_page_in_the_batch() {
    let mut m = Machine::small();
    let a = m.anon(1);
    m.write(M0, range(a, 0, 1));
    m.drain();
    m.get(range(a, 0, 1), false);
    let before = m.pte(M0, a, 0);
    assert_eq!(m.migrate(range(a, 0, 1), Mode::Sync), err(Errno::EAGAIN));
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.refcount, folio.lru), (3, false));
    assert_eq!(m.pte(M0, a, 0), before);
    assert_eq!(m.snapshot().used, [1, 0, 0, 0, 0]);
}

#[test]
fn a_partially_mapped_huge_folio_is_split_before_it_migrates() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(4);
    m.write(M0, range(a, 0, 3));
    m.advise(range(a, 0, 1), Advice::DontNeed);
    m.place = Place::Cma;
    assert_eq!(m.migrate(range(a, 1, 1), Mode::Async), Ret::Ok(0));
    // Page 0 was unmapped and is freed, page 3 was never written.
    assert_eq!(m.snapshot().used, [0, 0, 2, 0, 0]);
    assert_eq!(m.folio(M0, a, 2).order, 0);
    assert_eq!(m.pte(M0, a, 3).unwrap().page, PageRef::Zero);
}

#[test]
fn a_huge_folio_without_destination_is_split_and_goes_in_pieces() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(4);
    m.write(M0, range(a, 0, 4));
    let ret = m.failing(Site::Dst, 1).migrate(range(a, 0, 1), Mode::Sync);
    assert_eq!(ret, Ret::Ok(0));
    assert_eq!(m.folio(M0, a, 0).order, 0);
    assert_eq!(m.snapshot().used, [4, 0, 0, 0, 0]);
}

#[test]
fn offline_empties_the_block_or_leaves_it_in_use() {
    let mut m = Machine::new(Shape { thp: Thp::Madvise, ..Shape::default() });
    let a = m.anon(2);
    m.place = Place::Movable;
    m.write(M0, range(a, 0, 2));
    assert_eq!(m.op(Op::Offline { place: Place::Movable }), Ret::Ok(0));
    assert_eq!(m.snapshot().used, [2, 0, 0, 0, 0]);
    assert!(m.folio(M0, a, 0).lru);
    m.place = Place::Cma;
    let b = m.anon(2);
    m.write(M0, range(b, 0, 2));
    m.pin(range(b, 0, 1), true);
    assert_eq!(m.op(Op::Offline { place: Place::Cma }), err(Errno::EBUSY));
    assert_eq!(m.snapshot().used, [3, 0, 1, 0, 0]);
    assert_eq!(m.op(Op::Offline { place: Place::Normal }), Ret::Ok(0), "to blocks beside them");
    assert_eq!(m.snapshot().used, [3, 0, 1, 0, 0]);
}

#[test]
fn a_shmem_object_dies_with_its_last_vma() {
    let mut m = Machine::small();
    let a = m.map(Backing::AnonShared, Prot::ReadWrite, 2);
    m.write(M0, range(a, 0, 2));
    let get = m.get(range(a, 0, 1), false);
    let (_, child) = m.fork();
    m.op(Op::Munmap { mm: M0, range: range(a, 0, 2) });
    assert_eq!(m.snapshot().cache.len(), 2);
    m.op(Op::Exit { mm: child });
    assert!(m.snapshot().cache.is_empty());
    // The handle keeps its page, which is nobody's page-cache page any more.
    assert_eq!(m.snapshot().used, [1, 0, 0, 0, 0]);
    m.put(get);
    assert_eq!(m.snapshot().used, [0; 5]);
}

#[test]
fn a_held_lock_blocks_sleepers_and_nothing_happens() {
    let mut m = Machine::small();
    let a = m.map(Backing::FileShared { file: 0, pgoff: 0 }, Prot::ReadWrite, 3);
    let b = m.anon(1);
    m.read(M0, range(a, 1, 1));
    m.write(M0, range(b, 0, 1));
    m.drain();
    let (ret, lock) = m.lock(range(a, 1, 1));
    assert_eq!(ret, Ret::Ok(0));
    assert_eq!(m.folio(M0, a, 1).locked, Some(TaskId(9)));
    let before = (m.reference.digest(), m.snapshot());
    assert_eq!(m.write(M0, range(a, 0, 3)), Ret::WouldBlock);
    assert_eq!(m.lock(range(a, 1, 1)).0, Ret::WouldBlock);
    assert_eq!(m.gup(range(a, 0, 3), Entry::Slow, Foll::Pin, true).0, Ret::WouldBlock);
    assert_eq!((m.reference.digest(), m.snapshot()), before);
    // A read of the mapped page does not lock; an asynchronous migration does not sleep.
    assert_eq!(m.read(M0, range(a, 1, 1)), Ret::Ok(1));
    assert_eq!(m.migrate(range(a, 1, 1), Mode::Async), err(Errno::EAGAIN));
    m.drain();
    assert_eq!(m.migrate(range(a, 1, 1), Mode::Sync), Ret::WouldBlock);
    assert_eq!(m.op(Op::UnlockPage { lock }), Ret::Ok(0));
    assert_eq!(m.write(M0, range(a, 0, 3)), Ret::Ok(3));
    assert_eq!(m.op(Op::UnlockPage { lock }), Ret::Void);
}

#[test]
fn everything_released_leaves_nothing() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(8);
    m.write(M0, range(a, 0, 8));
    m.fork();
    m.pin(range(a, 2, 4), true);
    m.lock(range(a, 7, 1));
    let shape = m.shape.clone();
    assert_eq!(m.end(), nothing(&shape));
}
