//! The cost ledger: figures stated by hand, on the geometry of x86-64.

use lockstep::cost::ledger;
use optimized::{Cost, Variant};
use program::{Program, text};

const HUGE: u64 = 512;

fn program(source: &str) -> Program {
    let machine = "machine cpus=1 preempt=none ptes=512 normal=4096 movable=0 cma=0 batch=3 thp=";
    text::parse(&format!("{machine}{source}")).expect("a program").program
}

/// Costs of the last two steps, a pin and its unpin, batched and page at a time.
fn pin_and_unpin(source: &str) -> [[Cost; 2]; 2] {
    let steps = ledger(&program(source), &[Variant::Batched, Variant::PageAtATime]);
    let [.., pin, unpin] = &steps[..] else { panic!("two steps at least") };
    [0, 1].map(|variant| [pin, unpin].map(|step| step.costs[variant].1))
}

/// One visit and one addition a counter for each huge page, 512 times fewer than page at a time.
#[test]
fn a_huge_page_costs_as_much_as_a_page() {
    for fast in ["", " fast"] {
        let [batched, paged] = pin_and_unpin(&format!(
            "always\nm0 = mmap len=1024 rw private\nwrite m0 len=1024\n\
             h0 = pin m0 len=1024 write{fast}\nunpin h0\n"
        ));
        let huge_pages = 2;
        assert_eq!(batched[0].pmd_visits, huge_pages);
        assert_eq!(batched[0].pte_visits, 0);
        assert_eq!(batched[0].atomics, 2 * huge_pages, "refcount and pincount");
        assert_eq!(batched[1].atomics, 2 * huge_pages);
        for (paged, batched) in paged.iter().zip(&batched) {
            assert_eq!(paged.atomics, HUGE * batched.atomics);
        }
        assert_eq!(paged[0].pmd_visits, HUGE * batched[0].pmd_visits);
    }
}

/// The same huge page mapped by PTEs: every entry is looked at, the folio is grabbed once.
#[test]
fn a_run_of_ptes_is_one_grab() {
    let [batched, paged] = pin_and_unpin(
        "always\nm0 = mmap len=512 rw private\nwrite m0\nmprotect m0 r\nmprotect m0 rw\n\
         write m0\nh0 = pin m0 len=512 write\nunpin h0\n",
    );
    assert_eq!(batched[0].pte_visits, HUGE);
    assert_eq!(batched[0].atomics, 2);
    assert_eq!(batched[0].locks, 2, "mmap_lock and one PTL");
    assert_eq!(paged[0].atomics, 2 * HUGE);
    assert_eq!(paged[0].locks, 1 + HUGE);
}

/// Pages of their own cost one each, whatever is done.
#[test]
fn small_pages_gain_nothing() {
    let [batched, paged] = pin_and_unpin(
        "never\nm0 = mmap len=512 rw private\nwrite m0 len=512\n\
         h0 = pin m0 len=512 write\nunpin h0\n",
    );
    assert_eq!(batched, paged);
    assert_eq!(batched[0].atomics, HUGE);
    assert_eq!(batched[1].atomics, HUGE);
}
