//! Scenes: concurrent programs whose operations meet.
//!
//! Random records in random phases seldom touch the same page at the same time, and races need just
//! that. A scene is cut to it: an area, a few steps that leave something there (on several CPUs, whose
//! TLBs keep it), then one phase in which each CPU does one or two things to the same few pages; and
//! again, until the bytes are full. Which kinds, pages and points is left to chance; nothing here
//! knows of any defect. A scene is bytes as any other: whoever mutates it gets what it looks like.

use crate::codec::{HEADER_BYTES, RECORD_BYTES, SCHEDULE_KIND, SLICES_A_RECORD, with_devices};
use crate::generate::PHASE_KINDS;
use crate::kind::Kind;
use crate::rng::SplitMix64;
use crate::scene_kinds::{
    AGAINST, ARMED, BEFORE, CHANGE, CROSSING, DRIVER, FAULTING, MOVE, NEEDS, OPENINGS, UNDER, USE,
};

/// What a phase is made of.
#[derive(Clone, Copy)]
enum Theme {
    /// Uses and changes.
    Any,
    /// Everybody does the same.
    Same(Kind),
    /// A driver moves pages, others need them.
    Crossing,
    /// Two drivers do the same to a page, and a third CPU needs it.
    Against(Kind),
    /// Faults at pages that are not there, while somebody changes the area.
    Faulting,
    /// The same where somebody else is to fill them in.
    Armed,
    /// Everybody moves pages, to where they may be pinned for good or out of a block.
    Moving,
}

/// Literal lengths of areas, as the low bits of a record's length say them: 1, 2, 3, 4, 8 pages.
const LENS: [u8; 8] = [14, 13, 13, 12, 12, 0, 0, 3];

/// Points in which most operations are over, and not much more: the next phase gets what is left.
const DONE: u8 = 48;

struct Scene<'a> {
    rng: &'a mut SplitMix64,
    /// The kinds that it is made of.
    mask: u64,
    /// A driver is in it, and mostly this device, as the low bit of a record's flags names it.
    driver: bool,
    device: u8,
    /// Areas so far.
    areas: u8,
    /// The page that all is about, and the area, beside which there may be another.
    page: u8,
    area: u8,
    beside: bool,
    /// Huge pages are off; no huge page fits into the area.
    never: bool,
    small: bool,
    /// This CPU is on the way when two others begin something.
    third: Option<u8>,
    /// It is about faults beside changes of their area, which this CPU makes.
    changer: Option<u8>,
}

/// Replaces what follows the header by a scene.
pub(crate) fn scene(rng: &mut SplitMix64, bytes: &mut [u8]) {
    let driver = rng.next_u64() & 7 < 3;
    let mask = if driver { PHASE_KINDS } else { PHASE_KINDS & !Kind::DEVICE };
    bytes[8..HEADER_BYTES].copy_from_slice(&mask.to_le_bytes());
    if driver {
        bytes[7] = with_devices(bytes[7]);
    }
    let device = u8::from(rng.next_u64() & 3 == 0);
    let (areas, page, area, third, beside, never, small) = (0, 0, 0, None, false, false, false);
    let changer = None;
    let mut scene = Scene {
        rng,
        mask,
        driver,
        device,
        areas,
        page,
        area,
        beside,
        never,
        small,
        third,
        changer,
    };
    if !driver && scene.chance(3) {
        scene.changer = Some(scene.below(2));
    }
    if scene.changer.is_some() && scene.chance(2) {
        // Mostly on machines that fault without mmap_lock.
        bytes[6] = bytes[6] & 0x0F | (3 + scene.below(9)) << 4;
    }
    scene.never = scene.chance(2);
    if scene.never {
        // Small pages only, and small machines have two or three CPUs.
        bytes[6] = bytes[6] & 0xF0 | 2;
    }
    bytes[3] |= 0xC0 | 0x3E;
    bytes[3] = bytes[3] & !1 | scene.below(2);
    if driver && scene.chance(3) {
        scene.third = Some(scene.below(3));
        bytes[3] |= 1;
    }
    let mut records = bytes[HEADER_BYTES..].chunks_exact_mut(RECORD_BYTES);
    for record in records.by_ref().take(2) {
        scene.schedule(record);
    }
    let mut left = records.len();
    while left > 0 {
        left -= scene.act(&mut records);
    }
}

impl Scene<'_> {
    fn below(&mut self, n: u8) -> u8 {
        (self.rng.next_u64() >> 32) as u8 % n
    }

    /// One time in `n`.
    fn chance(&mut self, n: u8) -> bool {
        self.below(n) == 0
    }

    /// A CPU goes some way, then another one goes as far, or until it is done, and so on.
    fn schedule(&mut self, record: &mut [u8]) {
        record.fill(0);
        record[0] = SCHEDULE_KIND;
        record[1] = 0xF0 | (SLICES_A_RECORD as u8 - 1);
        let mut cpu = self.below(3);
        let style = self.below(4);
        if let Some(changer) = self.changer {
            // Mostly a fault is on its way when the change comes, or the other way round.
            cpu = if self.chance(3) { changer } else { 1 - changer };
        }
        if let Some(third) = self.third {
            cpu = third;
        }
        for (nth, pair) in record[2..].chunks_exact_mut(2).enumerate() {
            let far = match style {
                // One is on the way when two others begin, and then goes on.
                _ if self.third.is_some() => match nth {
                    0 => 5 + self.below(10),
                    1 | 2 => 1 + self.below(3),
                    _ => DONE,
                },
                _ if self.changer.is_some() && nth % 2 == 1 => DONE,
                _ if self.changer.is_some() => 4 + self.below(11),
                // One goes some way, another one all of it.
                0 | 1 if nth % 2 == 1 => DONE,
                0 | 1 => 1 + self.below(20),
                // Two are on the way when the third goes.
                2 if nth % 3 == 2 => DONE,
                2 => 1 + self.below(6),
                _ => {
                    let most = 4 << self.below(3);
                    1 + self.below(most)
                }
            };
            (pair[0], pair[1]) = (cpu, far);
            if self.changer.is_some() {
                cpu = 1 - cpu.min(1);
                continue;
            }
            let more = if self.third.is_some() { 0 } else { self.below(2) };
            cpu = (cpu + 1 + more) % 3;
        }
    }

    /// One area, what comes before, and the phase; how many records that took.
    fn act<'a>(&mut self, records: &mut impl ExactSizeIterator<Item = &'a mut [u8]>) -> usize {
        let before = records.len();
        if self.areas == 0 || self.chance(2) {
            self.area = self.areas;
            self.beside = self.chance(3);
            let made = 1 + u8::from(self.beside);
            for record in records.by_ref().take(made.into()) {
                self.mmap(record);
            }
        }
        self.page = if self.driver { 1 + self.below(2) } else { self.below(3) };
        let theme = self.theme();
        match theme {
            Theme::Moving => self.spread(records),
            Theme::Faulting => self.partly(records),
            Theme::Armed => {
                self.arm(records);
            }
            _ => self.begin(records),
        }
        let device = self.device;
        if let Theme::Moving = theme {
            self.device = 1; // coherent
        }
        self.meet(theme, records);
        self.device = device;
        before - records.len()
    }

    /// What comes before the phase.
    fn begin<'a>(&mut self, records: &mut impl ExactSizeIterator<Item = &'a mut [u8]>) {
        let opening = if self.driver { !self.chance(3) } else { self.chance(4) };
        let opening = opening || self.third.is_some();
        let steps = match opening {
            // A page that nobody else has as often as one that a child has, too.
            _ if self.third.is_some() => 2 + 2 * self.below(2),
            true => 4 - self.below(4) * self.below(2),
            false => 1 + self.below(4),
        };
        for (nth, record) in records.by_ref().take(steps.into()).enumerate() {
            if opening {
                let kind = OPENINGS[usize::from(self.driver)][nth];
                let cpu = self.below(3);
                self.step(record, kind, cpu);
                record[2] = 0;
                record[4] = if nth == 3 { self.other() } else { self.page };
                record[7] = 0x10;
                continue;
            }
            let any = BEFORE[usize::from(self.below(BEFORE.len() as u8))];
            let any = self.driven(0, any);
            let kind = if nth == 0 && !self.chance(4) { Kind::Write } else { any };
            let cpu = self.below(3);
            self.step(record, kind, cpu);
            match self.below(8) {
                0..2 => (record[4], record[7]) = (0, 0xFF), // all of it
                2..5 => record[4] = (self.page + 1) % 3,    // the same table, another page
                5 if self.beside => record[3] += 1,
                _ => {}
            }
        }
    }

    /// Another page of the same table, more often one that comes before.
    fn other(&mut self) -> u8 {
        if self.page > 0 && self.chance(2) { self.page - 1 } else { self.below(3) }
    }

    fn theme(&mut self) -> Theme {
        if self.third.is_some() {
            return Theme::Against(AGAINST[usize::from(self.below(4))]);
        }
        if self.changer.is_some() && (self.area == 0 || !self.chance(4)) {
            return if self.chance(6) { Theme::Armed } else { Theme::Faulting };
        }
        match self.below(8) {
            0 => Theme::Same(self.of(&CHANGE)),
            1 => Theme::Moving,
            2 if !self.driver => Theme::Moving,
            2..6 if self.driver => Theme::Crossing,
            _ => Theme::Any,
        }
    }

    /// A page of the area, or two, and with them its table and its anon_vma.
    fn partly<'a>(&mut self, records: &mut impl ExactSizeIterator<Item = &'a mut [u8]>) {
        let steps = 1 + self.below(2);
        for (nth, record) in (0..steps).zip(records.by_ref()) {
            let last = nth > 0 && self.chance(2);
            let cpu = self.below(3);
            self.step(record, if last { Kind::LruAddDrainAll } else { Kind::Write }, cpu);
            (record[2], record[4], record[7]) = (0, self.page, 0x10);
            if nth > 0 {
                record[4] = (self.page + 1) % 3;
            }
        }
    }

    /// All of the area is registered with userfaultfd, and empty.
    fn arm<'a>(&mut self, records: &mut impl ExactSizeIterator<Item = &'a mut [u8]>) {
        let sigbus = self.chance(4);
        let kind = if sigbus { Kind::UffdRegisterSigbus } else { Kind::UffdRegister };
        for record in records.by_ref().take(1) {
            self.step(record, kind, 0);
            (record[2], record[4], record[7]) = (0, 0, 0xFF);
        }
    }

    /// Pages of every kind of memory in one range.
    fn spread<'a>(&mut self, records: &mut impl ExactSizeIterator<Item = &'a mut [u8]>) {
        let pages = 1 + self.below(3);
        let first = self.below(3);
        for (page, record) in (0..pages).zip(records.by_ref()) {
            self.step(record, Kind::Write, page);
            (record[2], record[4], record[7]) = (0, page, 0x10);
            record[9] = 0xE0 + (first + page) % 3;
            record[10] = 0;
        }
        let moved = if self.driver { 1 + self.below(2) } else { 0 };
        for (nth, record) in (0..moved).zip(records.by_ref()) {
            self.step(record, Kind::ToDevice, 0);
            let page = if self.chance(3) { nth } else { pages - 1 - nth % pages };
            (record[2], record[4], record[7]) = (0, page, 0x10);
            record[8] = 1; // coherent
        }
        if !self.chance(4) {
            for record in records.by_ref().take(1) {
                self.step(record, Kind::LruAddDrainAll, 0);
            }
        }
    }

    /// The phase.
    fn meet<'a>(
        &mut self,
        theme: Theme,
        records: &mut impl ExactSizeIterator<Item = &'a mut [u8]>,
    ) {
        let against = self.third.is_some();
        let faulting = matches!(theme, Theme::Faulting);
        let few = faulting && !self.chance(4);
        let cpus = 2 + u8::from(!few && (against || self.chance(2)));
        let more = if against || few { 0 } else { self.below(5).saturating_sub(2) };
        let under = UNDER[usize::from(self.below(16))];
        // An area that is made in the phase is named by those who come later in the text, one that is
        // unmapped by those who come earlier.
        let changer = match under {
            _ if !faulting => self.below(cpus),
            Kind::Mremap if !self.chance(4) => 0,
            _ => cpus - 1,
        };
        let first = match self.changer {
            Some(cpu) if faulting => cpu + cpus - changer,
            _ => 0,
        };
        for (nth, record) in (0..).zip(records.by_ref().take((cpus + more).into())) {
            let changes = nth == changer || !few && self.chance(3);
            let kind = match theme {
                Theme::Faulting if nth == changer => under,
                Theme::Faulting if changes => UNDER[usize::from(self.below(16))],
                Theme::Faulting => FAULTING[usize::from(self.below(8))],
                Theme::Armed => ARMED[usize::from(changes)][usize::from(self.below(8))],
                Theme::Same(kind) => kind,
                Theme::Against(_) if Some(nth) == self.third => NEEDS[usize::from(self.below(4))],
                Theme::Against(kind) => kind,
                Theme::Crossing => CROSSING[usize::from(changes)][usize::from(self.below(8))],
                Theme::Moving => MOVE[usize::from(self.driver)][usize::from(self.below(8))],
                Theme::Any => {
                    let kind = self.of(if changes { &CHANGE } else { &USE });
                    self.driven(1 + usize::from(changes), kind)
                }
            };
            self.step(record, kind, (first + nth) % cpus);
            let (all, mm) = match theme {
                Theme::Faulting => (changes && !self.chance(4), 0),
                Theme::Armed => (self.chance(4), 0),
                Theme::Any => (changes && (kind == Kind::Munmap || self.chance(8)), record[2]),
                Theme::Same(_) => (self.chance(4), self.below(2)),
                // A child faults, its parent's pages move.
                Theme::Crossing if changes => (!self.chance(3), u8::from(self.chance(3))),
                Theme::Crossing => (false, self.below(2)),
                Theme::Against(_) => (false, self.below(2)),
                Theme::Moving => (kind != Kind::Migrate && !self.chance(4), 0),
            };
            record[2] = mm;
            if against && !self.chance(4) {
                (record[4], record[7]) = (self.page, 0x10);
            }
            if matches!(theme, Theme::Armed) {
                (record[4], record[7]) = (self.page + self.below(2), 0x10);
            }
            if faulting && !changes {
                // At its page, or another one of the table.
                let page = if self.chance(4) { self.page } else { self.page + 1 };
                (record[4], record[7]) = (page, 0x10);
                let moved = self.areas - 1;
                if moved > self.area + u8::from(self.beside) {
                    (record[3], record[4]) = (moved, self.page);
                }
            }
            if all {
                (record[4], record[7]) = (0, 0xFF);
            }
            if kind == Kind::Mremap {
                self.areas += 1;
            }
            record[1] |= u8::from(nth > 0) << 7;
        }
    }

    /// One of these.
    fn of(&mut self, kinds: &[Kind; 24]) -> Kind {
        loop {
            let kind = kinds[usize::from(self.below(24))];
            if !(kind == Kind::SplitFolio && self.small) {
                return kind;
            }
        }
    }

    /// Where there is a driver, mostly what it does.
    fn driven(&mut self, when: usize, otherwise: Kind) -> Kind {
        let other = !self.driver || self.chance(3);
        if other { otherwise } else { DRIVER[when][usize::from(self.below(6))] }
    }

    fn mmap(&mut self, record: &mut [u8]) {
        let kinds = [Kind::MmapShmem, Kind::MmapFilePrivate, Kind::MmapFileShared];
        let other = usize::from(self.below(12));
        let kind = kinds.get(other).copied().unwrap_or(Kind::MmapAnon);
        self.step(record, kind, 0);
        (record[2], record[4], record[5]) = (0, 0, 0);
        let longer = u8::from(self.changer.is_some());
        let len = LENS[usize::from(longer + self.below(LENS.len() as u8 - longer))];
        self.small = self.never || len > 3;
        (record[6], record[7]) = (len, 0);
        record[8] = if self.chance(16) { 1 } else { 2 };
        self.areas += 1;
    }

    /// A literal record about the page, or all of the area, or another page of it.
    fn step(&mut self, record: &mut [u8], kind: Kind, cpu: u8) {
        let random = self.rng.next_u64().to_le_bytes();
        record.fill(0);
        record[0] = self.byte_of(kind);
        record[1] = cpu;
        record[2] = u8::from(random[0] & 3 == 0);
        record[3] = self.area;
        let (off, len) = match random[1] & 15 {
            0..9 => (self.page, 0x10),
            9..13 => (0, 0xFF),
            13 => (self.page, 0xFF),
            _ => (random[2] & 3, 0x10),
        };
        (record[4], record[7]) = (off, len);
        record[8] = match kind {
            Kind::Mprotect => [1, 1, 1, 1, 1, 2, 2, 0][usize::from(random[3] & 7)],
            // Its own pages a driver finds without a fault.
            Kind::HmmRangeFault | Kind::DeviceRead | Kind::DeviceWrite => {
                let request = [2, 2, 2, 4, 4, 4, 4, 0][usize::from(random[3] & 7)];
                request | self.device ^ u8::from(random[3] & 0x18 != 0)
            }
            _ if Kind::DEVICE & kind.bit() != 0 => self.device ^ u8::from(random[3] & 7 == 0),
            Kind::Offline => random[3] % 3,
            _ => random[3] & 1,
        };
        if random[4] < 8 {
            // Now and then it fails, or is placed elsewhere.
            (record[9], record[10]) = (random[5] & 15, 0xD8 | random[6]);
        }
    }

    /// What a record of this kind begins with, under the mask.
    fn byte_of(&self, kind: Kind) -> u8 {
        let all = Kind::ALL[..kind as usize].iter();
        all.filter(|kind| self.mask & kind.bit() != 0).map(|kind| kind.weight()).sum()
    }
}
