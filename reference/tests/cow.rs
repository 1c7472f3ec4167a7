//! Faults, fork and COW, with the counts that B2 to B4 give.

mod common;

use common::{M0, Machine, err, range};
use program::{Advice, AreaId, Backing, Errno, MmId, PageRef, Prot, Ret, Site, on_disk, written};

fn refs(machine: &Machine, mm: MmId, area: AreaId, off: u16) -> (i64, u32) {
    let (folio, sub) = machine.page(mm, area, off);
    (folio.refcount, folio.mapcount[sub])
}

#[test]
fn a_new_page_is_held_by_its_pte_and_the_batch() {
    let mut m = Machine::small();
    let a = m.anon(2);
    assert_eq!(m.write(M0, range(a, 0, 1)), Ret::Ok(1));
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.refcount, folio.lru, folio.exclusive[0]), (2, false, true));
    m.drain();
    let folio = m.folio(M0, a, 0);
    assert_eq!((folio.refcount, folio.lru), (1, true));
}

#[test]
fn the_batch_is_flushed_when_its_last_slot_fills() {
    let mut m = Machine::small();
    let a = m.anon(4);
    m.write(M0, range(a, 0, 2));
    assert_eq!(m.snapshot().batches[0].len(), 2);
    m.write(M0, range(a, 2, 1));
    assert_eq!(m.snapshot().batches[0].len(), 0);
    assert_eq!(refs(&m, M0, a, 0), (1, 1));
}

#[test]
fn a_read_maps_the_zero_page_which_nobody_counts() {
    let mut m = Machine::small();
    let a = m.anon(1);
    assert_eq!(m.read(M0, range(a, 0, 1)), Ret::Ok(1));
    assert_eq!(m.data, [0]);
    let entry = m.pte(M0, a, 0).unwrap();
    assert_eq!((entry.page, entry.write), (PageRef::Zero, false));
    assert!(m.snapshot().folios.is_empty());
}

#[test]
fn fork_shares_and_the_first_writer_copies() {
    let mut m = Machine::small();
    let a = m.anon(1);
    m.write(M0, range(a, 0, 1));
    let value = written(m.last(), 0);
    let (ret, child) = m.fork();
    assert_eq!(ret, Ret::Ok(0));
    // Two PTEs and the batch.
    assert_eq!(refs(&m, M0, a, 0), (3, 2));
    assert!(!m.folio(M0, a, 0).exclusive[0]);
    assert!(!m.pte(M0, a, 0).unwrap().write && !m.pte(child, a, 0).unwrap().write);
    m.write(M0, range(a, 0, 1));
    assert_eq!(refs(&m, M0, a, 0), (2, 1));
    m.read(child, range(a, 0, 1));
    assert_eq!(m.data, [value]);
}

#[test]
fn the_last_owner_reuses_after_a_local_drain_only() {
    for (writer, reuses) in [(0, true), (1, false)] {
        let mut m = Machine::small();
        let a = m.anon(1);
        m.write(M0, range(a, 0, 1));
        let (_, child) = m.fork();
        let page = m.pte(M0, a, 0).unwrap().page;
        // K9: the other CPU's batch is not drained, and its reference forces a copy.
        m.cpu = writer;
        m.write(child, range(a, 0, 1));
        m.write(M0, range(a, 0, 1));
        assert_eq!(m.pte(M0, a, 0).unwrap().page == page, reuses, "writer on CPU {writer}");
    }
}

#[test]
fn fork_copies_nothing_of_a_vma_without_anon_vma() {
    let mut m = Machine::small();
    let a = m.map(Backing::FilePrivate { file: 0, pgoff: 0 }, Prot::ReadWrite, 2);
    m.read(M0, range(a, 0, 2));
    let (_, child) = m.fork();
    assert!(m.pte(child, a, 0).is_none());
    // With one, file pages are copied too (decision 10).
    m.write(M0, range(a, 0, 1));
    let (_, child) = m.fork();
    assert!(m.pte(child, a, 1).is_some());
    // The cache, the parent and this child.
    m.drain();
    assert_eq!(refs(&m, M0, a, 1), (3, 2));
}

#[test]
fn a_private_file_write_copies_what_the_cache_holds() {
    let mut m = Machine::small();
    let a = m.map(Backing::FilePrivate { file: 1, pgoff: 2 }, Prot::ReadWrite, 2);
    m.read(M0, range(a, 0, 1));
    assert_eq!(m.data, [on_disk(1, 2)]);
    m.write(M0, range(a, 0, 1));
    let snapshot = m.snapshot();
    let cached = &snapshot.folios[snapshot.cache.values().next().unwrap()];
    // Only cache and batch hold the file page now.
    assert_eq!((cached.refcount, cached.mapcount[0], cached.dirty), (2, 0, false));
    assert!(m.folio(M0, a, 0).exclusive[0]);
}

#[test]
fn a_shared_file_page_is_dirtied_by_the_write_fault() {
    let mut m = Machine::small();
    let a = m.map(Backing::FileShared { file: 0, pgoff: 0 }, Prot::ReadWrite, 1);
    m.read(M0, range(a, 0, 1));
    let entry = m.pte(M0, a, 0).unwrap();
    assert_eq!((entry.write, entry.dirty), (false, false));
    m.write(M0, range(a, 0, 1));
    let entry = m.pte(M0, a, 0).unwrap();
    assert_eq!((entry.write, entry.dirty), (true, true));
    assert!(m.folio(M0, a, 0).dirty);
    // K8: a dirty PTE regains write with mprotect, a clean one does not.
    m.protect(range(a, 0, 1), Prot::Read);
    assert!(!m.pte(M0, a, 0).unwrap().write);
    m.protect(range(a, 0, 1), Prot::ReadWrite);
    assert!(m.pte(M0, a, 0).unwrap().write);
}

#[test]
fn a_page_beyond_the_file_raises_sigbus_and_keeps_no_table() {
    let mut m = Machine::small();
    let a = m.map(Backing::FileShared { file: 0, pgoff: 8 }, Prot::ReadWrite, 1);
    assert_eq!(m.read(M0, range(a, 0, 1)), err(Errno::SIGBUS));
    assert!(m.snapshot().mms[&M0].tables.is_empty());
}

#[test]
fn mprotect_gives_write_back_to_exclusive_pages_only() {
    let mut m = Machine::small();
    let a = m.anon(2);
    m.write(M0, range(a, 0, 1));
    m.fork();
    m.write(M0, range(a, 1, 1));
    m.protect(range(a, 0, 2), Prot::Read);
    m.protect(range(a, 0, 2), Prot::ReadWrite);
    assert!(!m.pte(M0, a, 0).unwrap().write);
    assert!(m.pte(M0, a, 1).unwrap().write);
}

#[test]
fn a_failed_table_and_a_failed_page_differ_in_what_stays() {
    let mut m = Machine::small();
    let a = m.anon(1);
    assert_eq!(m.failing(Site::Table, 1).write(M0, range(a, 0, 1)), err(Errno::ENOMEM));
    assert!(m.snapshot().mms[&M0].tables.is_empty());
    assert_eq!(m.failing(Site::Page, 1).write(M0, range(a, 0, 1)), err(Errno::ENOMEM));
    assert_eq!(m.snapshot().mms[&M0].tables.len(), 1);
    assert_eq!(m.snapshot().used, [0; 5]);
}

#[test]
fn a_failed_fork_leaves_no_child_but_a_read_only_parent() {
    let mut m = Machine::small();
    let a = m.anon(8);
    m.write(M0, range(a, 0, 8));
    // The first PMD's table is granted, the second one's is not.
    let (ret, child) = m.failing(Site::Table, 2).fork();
    assert_eq!(ret, err(Errno::ENOMEM));
    assert!(!m.snapshot().mms.contains_key(&child));
    assert!(!m.pte(M0, a, 0).unwrap().write && m.pte(M0, a, 4).unwrap().write);
    assert!(!m.folio(M0, a, 0).exclusive[0] && m.folio(M0, a, 4).exclusive[0]);
    assert_eq!(m.read(child, range(a, 0, 1)), Ret::Void);
}

#[test]
fn dontneed_drops_the_content_and_keeps_the_table() {
    let mut m = Machine::small();
    let a = m.anon(2);
    m.write(M0, range(a, 0, 2));
    assert_eq!(m.advise(range(a, 0, 1), Advice::DontNeed), Ret::Ok(0));
    assert_eq!(m.snapshot().used, [1, 0, 0, 0, 0]);
    assert_eq!(m.snapshot().mms[&M0].tables.len(), 1);
    m.read(M0, range(a, 0, 1));
    assert_eq!(m.data, [0]);
}
