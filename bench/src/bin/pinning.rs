//! Pinning and unpinning 1 GiB, way beside way in one run: pages a second, ratios, and the ledger;
//! the floors with real atomics; cost a page by folio order. Repeats are interleaved; the median
//! and the range are printed.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bench::pinning::{Memory, WAYS, Way};

const AREAS: u8 = 64;
const PAGES: usize = 64 * 4096;
const REPEATS: usize = 7;

/// Nanoseconds a page of each piece of work: lowest, median, highest.
fn interleaved(work: &mut [Box<dyn FnMut() + '_>], pages: usize) -> Vec<[f64; 3]> {
    let mut times = vec![Vec::new(); work.len()];
    for _ in 0..REPEATS {
        for (work, times) in work.iter_mut().zip(&mut times) {
            let start = Instant::now();
            work();
            times.push(start.elapsed().as_nanos() as f64 / pages as f64);
        }
    }
    let stats = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        [times[0], times[times.len() / 2], times[times.len() - 1]]
    };
    times.iter_mut().map(stats).collect()
}

fn rows<'a>(names: impl Iterator<Item = &'a str>, times: &[[f64; 3]], notes: &[String]) {
    let base = times[0][1];
    for ((name, [low, median, high]), note) in names.zip(times).zip(notes) {
        let ratio = base / median;
        println!("  {name:42} {median:8.3} [{low:.3} .. {high:.3}]  x{ratio:<7.1} {note}");
    }
}

fn simulated(ptes: u16, title: &str) {
    println!("{title}: ns a page, pinned and unpinned; ledger of one pass");
    let mut memories: Vec<(Memory, &Way)> =
        WAYS.iter().map(|way| (Memory::new(AREAS, ptes, way), way)).collect();
    let ledger = |(memory, way): &mut (Memory, &Way)| {
        let before = memory.cost();
        assert_eq!(memory.pin_and_unpin(way) as usize, PAGES);
        let cost = memory.cost() - before;
        let visits = cost.pmd_visits + cost.pte_visits;
        format!("visits {visits}, atomics {}, locks {}", cost.atomics, cost.locks)
    };
    let notes: Vec<String> = memories.iter_mut().map(ledger).collect();
    let mut work: Vec<Box<dyn FnMut() + '_>> = Vec::new();
    for (memory, way) in &mut memories {
        work.push(Box::new(|| {
            black_box(memory.pin_and_unpin(way));
        }));
    }
    let times = interleaved(&mut work, PAGES);
    rows(WAYS.iter().map(|way| way.name), &times, &notes);
}

/// A page's counter on a cache line of its own, as `struct page` is.
#[repr(align(64))]
struct Line(AtomicU64);

/// Passes that are measured together: a caller that pins again and again, with what a pass touches in
/// its caches if there is room.
const PASSES: usize = 16;

/// The same additions with real atomics and nothing else: what no walk can be faster than.
fn native() {
    println!("\nreal atomics, no walk: ns a page, pinned only, {PASSES} passes");
    let lines: Vec<Line> = (0..PAGES).map(|_| Line(AtomicU64::new(1))).collect();
    let mut array = vec![0u32; PAGES];
    let mut ranges = vec![(0u32, 0u32); PAGES / 512];
    let add = |at: usize, n: u64| lines[at].0.fetch_add(n, Ordering::SeqCst);
    let mut list = Vec::with_capacity(PAGES);
    let mut pages = || {
        list.clear();
        for page in 0..PAGES {
            add(page, 1024);
            list.push(page as u32);
        }
        black_box(&list);
    };
    let mut folios = || {
        for head in (0..PAGES).step_by(512) {
            add(head, 512);
            let first = head as u32;
            (first..).zip(&mut array[head..head + 512]).for_each(|(pfn, slot)| *slot = pfn);
        }
        black_box(&array);
    };
    let mut runs = || {
        for (head, range) in (0..PAGES).step_by(512).zip(&mut ranges) {
            add(head, 512);
            *range = (head as u32, 512);
        }
        black_box(&ranges);
    };
    let mut work: Vec<Box<dyn FnMut() + '_>> = vec![
        Box::new(|| (0..PASSES).for_each(|_| pages())),
        Box::new(|| (0..PASSES).for_each(|_| folios())),
        Box::new(|| (0..PASSES).for_each(|_| runs())),
    ];
    let times = interleaved(&mut work, PASSES * PAGES);
    let names = ["4 KiB pages, an addition each", "2 MiB folios, array", "2 MiB folios, ranges"];
    rows(names.into_iter(), &times, &[const { String::new() }; 3]);
}

fn orders() {
    println!("\nby folio order, batched array: ns a page and atomics a page, pinned and unpinned");
    let way = &WAYS[2];
    let areas = 4;
    let pages = usize::from(areas) * 4096;
    for order in 0..=9 {
        let mut memory = Memory::new(areas, 1 << order, way);
        let before = memory.cost();
        assert_eq!(memory.pin_and_unpin(way) as usize, pages);
        let cost = memory.cost() - before;
        let mut work: Vec<Box<dyn FnMut() + '_>> = vec![Box::new(|| {
            for _ in 0..16 {
                black_box(memory.pin_and_unpin(way));
            }
        })];
        let [low, median, high] = interleaved(&mut work, 16 * pages)[0];
        let atomics = cost.atomics as f64 / pages as f64;
        println!("  order {order}  {median:8.3} [{low:.3} .. {high:.3}]   atomics {atomics:.4}");
    }
}

fn main() {
    simulated(1, "1 GiB in 4 KiB pages");
    simulated(512, "\n1 GiB in 2 MiB folios");
    native();
    orders();
}
