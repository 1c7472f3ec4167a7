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

/// A longterm pin that has to move what it pinned first gives that back by folio too: an array costs
/// what ranges cost.
#[test]
fn what_is_moved_is_unpinned_by_folio() {
    let pin = |form: &str| {
        let source = format!(
            "machine cpus=1 preempt=none ptes=512 normal=4096 movable=2048 cma=0 batch=3 thp=always\n\
             m0 = mmap len=1024 rw private\nwrite m0 len=1024 place=movable\n\
             h0 = pin m0 len=1024 write longterm{form}\n"
        );
        let program = text::parse(&source).expect("a program").program;
        let steps = ledger(&program, &[Variant::Batched]);
        steps.last().expect("a step").costs[0].1.atomics
    };
    assert_eq!(pin(""), pin(" ranges"));
    assert!(pin("") < HUGE, "{}", pin(""));
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

/// The costs of the last step, on a machine of two CPUs.
fn last(source: &str) -> Cost {
    let machine = "machine cpus=2 preempt=none ptes=4 normal=64 movable=0 cma=0 batch=3 thp=never";
    let program = text::parse(&format!("{machine}\n{source}\n")).expect("a program").program;
    let steps = ledger(&program, &[Variant::Batched]);
    steps.last().expect("a step").costs[0].1
}

/// A line is handed over when the CPU that touches it is not the one that had it.
#[test]
fn lines_are_handed_over_between_cpus() {
    let made = "m0 = mmap len=1 rw private\nwrite m0\nlru_add_drain\n";
    let get = |cpu: &str| last(&format!("{made}{cpu}h0 = get m0"));
    assert_eq!(get("").hand_overs, 0);
    assert_eq!(get("cpu1: ").hand_overs, 3, "mmap_lock, PTL, refcount");
    let fast = |cpu: &str| last(&format!("{made}{cpu}h0 = get m0 fast"));
    assert_eq!(fast("cpu1: ").hand_overs, 1, "refcount");
    assert_eq!(last(&format!("{made}h0 = get m0\ncpu1: put h0")).hand_overs, 1);
    assert_eq!(last(&format!("{made}h0 = get m0\nput h0")).hand_overs, 0);
}

/// A flush interrupts the CPUs that ran so far, and only if there was something to flush.
#[test]
fn flushes_interrupt_the_other_cpus() {
    let made = "m0 = mmap len=1 rw private\nwrite m0\n";
    let alone = last(&format!("{made}munmap m0"));
    assert_eq!((alone.flushes, alone.ipis), (1, 0));
    let beside = last(&format!("{made}cpu1: read m0\nmunmap m0"));
    assert_eq!((beside.flushes, beside.ipis), (1, 1));
    let nothing = last("m0 = mmap len=1 rw private\ncpu1: read m0\nm1 = mmap len=1 r private");
    assert_eq!((nothing.flushes, nothing.ipis), (0, 0));
}

/// munmap comes while a fault has mmap_lock, and has to wait.
#[test]
fn a_wait_for_a_lock_counts() {
    let phase = |schedule: &str| {
        last(&format!(
            "setup:\nm0 = mmap len=1 rw private\nm1 = mmap len=1 rw private\nwrite m1\nphase:\n\
             cpu0: write m0\ncpu1: munmap m1\nschedule: {schedule}"
        ))
    };
    assert_eq!(phase("0*255").waits, 0);
    assert_eq!(phase("0*4 1*255").waits, 1);
}

/// What came out of the walk of a longterm pin is looked at once, a folio at a time or not.
#[test]
fn the_output_is_looked_at_once() {
    assert_eq!(
        last("m0 = mmap len=3 rw private\nwrite m0 len=3\nh0 = pin m0 len=3 longterm").rescans,
        3
    );
    assert_eq!(last("m0 = mmap len=3 rw private\nwrite m0 len=3\nh0 = pin m0 len=3").rescans, 0);
    let movable =
        "m0 = mmap len=3 rw private\nwrite m0 len=3 place=movable\nh0 = pin m0 len=3 longterm";
    let machine =
        "machine cpus=1 preempt=none ptes=4 normal=64 movable=64 cma=0 batch=3 thp=never\n";
    let program = text::parse(&format!("{machine}{movable}\n")).expect("a program").program;
    let cost = ledger(&program, &[Variant::Batched])[2].costs[0].1;
    assert_eq!(cost.rescans, 6, "once more after they have moved");
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
