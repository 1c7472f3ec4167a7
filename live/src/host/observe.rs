//! Looking at page tables and pages from outside: /proc/PID/pagemap, /proc/kpagecount,
//! /proc/kpageflags, /proc/PID/smaps. Reading them changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use program::{Layout, ObjectId, Prot, Uffd, VmaFlags, VmaView};

use super::sys::{self, PAGE, Region};
use crate::witness::{EntrySight, Frame, MmSight, PageSight};

/// Where page 0 of the model lies: a multiple of 1 GiB, below everything that Linux maps.
pub const BASE: u64 = 0x10_0000_0000;

/// Address of a page of the model.
pub fn address(vpn: u32) -> u64 {
    BASE + u64::from(vpn) * PAGE as u64
}

/// Page of the model at an address.
pub fn page_at(at: u64) -> u32 {
    ((at - BASE) / PAGE as u64) as u32
}

const PM_PRESENT: u64 = 1 << 63;
const PM_PFN: u64 = (1 << 55) - 1;

const KPF_LOCKED: u64 = 1 << 0;
const KPF_DIRTY: u64 = 1 << 4;
const KPF_LRU: u64 = 1 << 5;
const KPF_ANON: u64 = 1 << 12;
const KPF_HEAD: u64 = 1 << 15;
const KPF_TAIL: u64 = 1 << 16;
const KPF_ZERO_PAGE: u64 = 1 << 24;
/// PG_owner_2, which is PG_anon_exclusive of anonymous pages: as `tools/mm/page-types` reads it.
const KPF_OWNER_2: u64 = 1 << 34;

/// The files of all pages.
#[derive(Debug)]
pub struct Pages {
    counts: File,
    flags: File,
    words: Vec<u64>,
}

impl Pages {
    pub fn open() -> io::Result<Pages> {
        let open = |path| File::open(path);
        Ok(Pages {
            counts: open("/proc/kpagecount")?,
            flags: open("/proc/kpageflags")?,
            words: Vec::new(),
        })
    }

    /// Reads `count` words from a file of one word a page, from page `first` on.
    fn words(&mut self, flags: bool, first: u64, count: usize) -> io::Result<&[u64]> {
        let file = if flags { &self.flags } else { &self.counts };
        read_words(file, first, count, &mut self.words)?;
        Ok(&self.words)
    }

    /// Fills in what these frames look like.
    pub fn look(&mut self, pages: &mut BTreeMap<Frame, PageSight>) -> io::Result<()> {
        let frames: Vec<u64> = pages
            .keys()
            .filter_map(|frame| match frame {
                Frame::Page(pfn) => Some(*pfn),
                Frame::Zero => None,
            })
            .collect();
        for run in frames.chunk_by(|a, b| a + 1 == *b) {
            for flags in [false, true] {
                let words = self.words(flags, run[0], run.len())?;
                for (pfn, &word) in run.iter().zip(words) {
                    let Some(page) = pages.get_mut(&Frame::Page(*pfn)) else { continue };
                    if flags { decode(page, word) } else { page.mapcount = Some(word as u32) }
                }
            }
        }
        Ok(())
    }

    /// Which of these frames is the zero page.
    pub fn is_zero(&mut self, pfn: u64) -> io::Result<bool> {
        Ok(self.words(true, pfn, 1)?[0] & KPF_ZERO_PAGE != 0)
    }
}

fn decode(page: &mut PageSight, flags: u64) {
    let bit = |bit: u64| flags & bit != 0;
    let anon = bit(KPF_ANON);
    page.anon = Some(anon);
    page.locked = Some(bit(KPF_LOCKED));
    page.lru = Some(bit(KPF_LRU));
    page.dirty = Some(bit(KPF_DIRTY));
    page.large = Some(bit(KPF_HEAD | KPF_TAIL));
    page.exclusive = anon.then(|| bit(KPF_OWNER_2));
}

fn read_words(file: &File, first: u64, count: usize, words: &mut Vec<u64>) -> io::Result<()> {
    let mut bytes = [0; 8 * 512];
    words.clear();
    while words.len() < count {
        let want = (count - words.len()).min(512) * 8;
        let at = (first + words.len() as u64) * 8;
        file.read_exact_at(&mut bytes[..want], at)?;
        words.extend(
            bytes[..want]
                .chunks_exact(8)
                .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default())),
        );
    }
    Ok(())
}

/// The page tables of one process.
#[derive(Debug)]
pub struct Tables {
    pagemap: File,
    pid: i32,
    words: Vec<u64>,
}

impl Tables {
    pub fn open(pid: i32) -> io::Result<Tables> {
        let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
        Ok(Tables { pagemap, pid, words: Vec::new() })
    }

    /// Every present entry of the areas. `zero`: the frame of the zero page.
    pub fn look(&mut self, layout: &Layout, zero: u64) -> io::Result<MmSight> {
        let mut sight = MmSight::default();
        for at in 0..layout.len() {
            let span = layout.area(program::AreaId(at as u8));
            let count = (span.end - span.start) as usize;
            read_words(&self.pagemap, address(span.start) / PAGE as u64, count, &mut self.words)?;
            for (vpn, &word) in (span.start..).zip(&self.words) {
                if word & PM_PRESENT != 0 {
                    let pfn = word & PM_PFN;
                    let frame = if pfn == zero { Frame::Zero } else { Frame::Page(pfn) };
                    sight.entries.insert(vpn, EntrySight { frame, ..EntrySight::default() });
                }
            }
        }
        if !sight.entries.is_empty() {
            self.mark_huge(layout, &mut sight)?;
        }
        Ok(sight)
    }

    fn mark_huge(&self, layout: &Layout, sight: &mut MmSight) -> io::Result<()> {
        let mut regions = [Region::default(); 64];
        let found = sys::scan_huge(&self.pagemap, BASE, address(layout.end()), &mut regions)?;
        for region in &regions[..found] {
            let vpn = |at: u64| ((at - BASE) / PAGE as u64) as u32;
            for (_, entry) in sight.entries.range_mut(vpn(region.start)..vpn(region.end)) {
                entry.huge = true;
            }
        }
        Ok(())
    }

    /// Frame of the page at this address of the process.
    pub fn frame(&self, at: u64) -> io::Result<Option<u64>> {
        let mut word = Vec::new();
        read_words(&self.pagemap, at / PAGE as u64, 1, &mut word)?;
        Ok((word[0] & PM_PRESENT != 0).then(|| word[0] & PM_PFN))
    }

    /// The VMAs of the arena, from smaps, adjacent equal ones merged.
    pub fn vmas(&self, layout: &Layout) -> io::Result<Vec<VmaView>> {
        let text = fs::read_to_string(format!("/proc/{}/smaps", self.pid))?;
        let mut vmas: Vec<VmaView> = Vec::new();
        let mut current = None;
        for line in text.lines() {
            if let Some(flags) = line.strip_prefix("VmFlags:") {
                let Some((start, end)) = current.take() else { continue };
                let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
                let prot = match (has("rd"), has("wr")) {
                    (_, true) => Prot::ReadWrite,
                    (true, false) => Prot::Read,
                    (false, false) => Prot::None,
                };
                let flags = VmaFlags {
                    prot,
                    shared: has("sh"),
                    dontfork: has("dc"),
                    hugepage: has("hg"),
                    nohugepage: has("nh"),
                    object: None::<ObjectId>,
                    uffd: Uffd::None,
                };
                match vmas.last_mut() {
                    Some(last) if last.end == start && last.flags == flags => last.end = end,
                    _ => vmas.push(VmaView { start, end, flags }),
                }
            } else if let Some(range) = range(line) {
                let within = |at: u64| (BASE..=address(layout.end())).contains(&at);
                let vpn = |at: u64| ((at - BASE) / PAGE as u64) as u32;
                let (start, end) = range;
                current = (within(start) && within(end)).then(|| (vpn(start), vpn(end)));
            }
        }
        Ok(vmas)
    }
}

/// Counters of all that moves pages without being asked, added up. `own`: migrations and splits
/// are the program's.
pub fn disturbances(own: bool) -> u64 {
    const COUNTERS: [&str; 8] = [
        "nr_written ",
        "pgmigrate_success ",
        "compact_isolated ",
        "thp_fault_fallback ",
        "thp_collapse_alloc_failed ",
        "thp_split_page ",
        "pgsteal_kswapd ",
        "pgsteal_direct ",
    ];
    let value = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let asked = |name: &str| own && matches!(name, "pgmigrate_success " | "thp_split_page ");
    let counters = || COUNTERS.into_iter().filter(|name| !asked(name));
    let counted = vmstat
        .lines()
        .map(|line| counters().find_map(|name| line.strip_prefix(name)).map_or(0, value));
    let khugepaged = "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_collapsed";
    counted.sum::<u64>() + value(&fs::read_to_string(khugepaged).unwrap_or_default())
}

/// `start-end perms …` at the head of a VMA's lines.
fn range(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}
