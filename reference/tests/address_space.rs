//! VMAs and page tables: mprotect, mremap, madvise, munmap (ops 2).

mod common;

use common::{M0, Machine, err, range};
use program::{Advice, Errno, Op, Prot, Ret, Shape, Site, written};

#[test]
fn munmap_frees_a_table_when_no_vma_is_left_over_it() {
    let mut m = Machine::small();
    let a = m.anon(6);
    m.write(M0, range(a, 0, 6));
    m.op(Op::Munmap { mm: M0, range: range(a, 0, 2) });
    assert_eq!(m.snapshot().mms[&M0].tables.len(), 2);
    m.op(Op::Munmap { mm: M0, range: range(a, 2, 2) });
    assert_eq!(m.snapshot().mms[&M0].tables.len(), 1);
    assert_eq!(m.snapshot().used, [2, 0, 0, 0, 0]);
    // A hole: nothing, not even the drain.
    m.write(M0, range(a, 4, 1));
    assert_eq!(m.op(Op::Munmap { mm: M0, range: range(a, 0, 4) }), Ret::Ok(0));
    assert_eq!(m.read(M0, range(a, 0, 1)), err(Errno::SIGSEGV));
}

#[test]
fn mprotect_stops_at_a_hole_and_madvise_passes_over_it() {
    let mut m = Machine::small();
    let a = m.anon(6);
    m.op(Op::Munmap { mm: M0, range: range(a, 2, 1) });
    assert_eq!(m.protect(range(a, 0, 6), Prot::Read), err(Errno::ENOMEM));
    assert_eq!(m.advise(range(a, 0, 6), Advice::DontFork), err(Errno::ENOMEM));
    let vmas = m.snapshot().mms[&M0].vmas.clone();
    let seen: Vec<_> = vmas.iter().map(|vma| (vma.flags.prot, vma.flags.dontfork)).collect();
    assert_eq!(seen, [(Prot::Read, true), (Prot::ReadWrite, true)]);
    assert_eq!(m.protect(range(a, 2, 4), Prot::Read), err(Errno::ENOMEM));
}

#[test]
fn vmas_merge_again_unless_their_anon_vmas_differ() {
    // Two neighbours whose flags differ do not share an anon_vma; equal ones merge only if at
    // most one has any. mremap takes a range of one VMA and tells.
    for (written, one_vma) in [(1, true), (2, false)] {
        let mut m = Machine::small();
        let a = m.anon(4);
        m.advise(range(a, 2, 2), Advice::DontFork);
        m.write(M0, range(a, 0, 1));
        if written == 2 {
            m.write(M0, range(a, 2, 1));
        }
        m.advise(range(a, 2, 2), Advice::DoFork);
        assert_eq!(m.snapshot().mms[&M0].vmas.len(), 1);
        let (ret, _) = m.mremap(range(a, 0, 4), 0);
        assert_eq!(ret == Ret::Ok(0), one_vma);
    }
}

#[test]
fn mremap_moves_tables_whole_where_it_can() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(8);
    m.write(M0, range(a, 0, 8));
    let value = written(m.last(), 5);
    m.advise(range(a, 4, 1), Advice::DontNeed);
    // Aligned alike: one huge entry and one table, no allocation.
    let (ret, b) = m.failing(Site::Table, 1).mremap(range(a, 0, 8), 0);
    assert_eq!(ret, Ret::Ok(0));
    assert!(m.pmd(M0, b, 0).is_some() && m.pte(M0, b, 5).is_some());
    m.read(M0, range(b, 5, 1));
    assert_eq!(m.data, [value]);
    assert_eq!(m.read(M0, range(a, 5, 1)), err(Errno::SIGSEGV));
}

#[test]
fn a_failed_mremap_moves_everything_back() {
    let mut m = Machine::new(Shape::default());
    let a = m.anon(8);
    m.write(M0, range(a, 0, 8));
    let before: Vec<_> = (0..8).map(|off| m.folio(M0, a, off).data).collect();
    // Shifted by one: the third new table is refused.
    let (ret, b) = m.failing(Site::Table, 3).mremap(range(a, 0, 8), 1);
    assert_eq!(ret, err(Errno::ENOMEM));
    assert_eq!(m.read(M0, range(b, 0, 1)), err(Errno::SIGSEGV));
    // The PMDs stay split.
    assert!(m.pmd(M0, a, 0).is_none());
    let after: Vec<_> = (0..8).map(|off| m.folio(M0, a, off).data).collect();
    assert_eq!(before, after);
    assert_eq!(m.snapshot().mms[&M0].tables.len(), 2);
}

#[test]
fn populate_faults_everything_in_and_drains() {
    let mut m = Machine::small();
    let a = m.anon(2);
    assert_eq!(m.advise(range(a, 0, 2), Advice::PopulateWrite), Ret::Ok(0));
    assert_eq!(m.folio(M0, a, 1).refcount, 1);
    m.protect(range(a, 1, 1), Prot::Read);
    assert_eq!(m.advise(range(a, 0, 2), Advice::PopulateWrite), err(Errno::EINVAL));
    m.op(Op::Munmap { mm: M0, range: range(a, 0, 1) });
    assert_eq!(m.advise(range(a, 0, 2), Advice::PopulateRead), err(Errno::ENOMEM));
}
