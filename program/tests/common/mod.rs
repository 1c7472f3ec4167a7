//! Valid programs for properties, made without the byte decoder: proposals from the whole value
//! space, of which the validator lets the valid ones through.

use program::arena::Arena;
use program::validate::check_step;
use program::{
    Advice, AreaId, Backing, Device, Direction, Entry, Errno, Expect, Fail, Faults, Field, Foll,
    Form, HandleId, LockId, MigrationId, MmId, Mode, Op, Phase, Place, Preempt, Program, Prot,
    Range, Report, Request, Ret, Schedule, Select, Shape, Site, Slice, SplitMix64, Step, Target,
    TaskId, Thp, Uffdio, on_disk, written,
};
use proptest::prelude::*;

#[allow(dead_code, reason = "not every test file wants properties")]
/// Any valid program without expectations.
pub fn programs() -> impl Strategy<Value = Program> {
    (any::<u64>(), 0usize..60).prop_map(|(seed, proposals)| program(seed, proposals))
}

/// The program that a seed makes.
pub fn program(seed: u64, proposals: usize) -> Program {
    let mut rng = Rng(SplitMix64::new(seed));
    let shape = rng.shape();
    let concurrent = rng.below(2) == 0;
    let mut program = Program { shape, ..Program::default() };
    let mut arena = Arena::default();
    for _ in 0..proposals {
        let step = rng.step(&arena);
        let same = concurrent && !program.phases.is_empty() && rng.below(2) == 0;
        let mut trial = arena.clone();
        if !same {
            trial.begin_phase();
        }
        if check_step(&step, &trial, &program.shape).is_err() {
            continue;
        }
        trial.apply(step.cpu, &step.op);
        arena = trial;
        match program.phases.last_mut().filter(|_| same) {
            Some(phase) => phase.steps.push(step),
            None => program.phases.push(Phase { steps: vec![step] }),
        }
    }
    if rng.below(2) == 0 {
        let cpus = program.shape.cpus;
        program.schedule = Schedule { slices: rng.slices(cpus), cycle: rng.slices(cpus) };
    }
    assert_eq!(program.validate(), Ok(()));
    program
}

/// The program with valid expectations proposed at random.
#[allow(dead_code, reason = "not every test file wants expectations")]
pub fn with_expects(mut program: Program, seed: u64) -> Program {
    let mut rng = Rng(SplitMix64::new(seed));
    let steps = program.steps().count() as u64;
    let mut proposals: Vec<_> = (0..60).map(|_| rng.expect(steps)).collect();
    proposals.sort_by_key(|expect| expect.after);
    for expect in proposals {
        program.expects.push(expect);
        if program.validate().is_err() {
            program.expects.pop();
        }
    }
    program
}

struct Rng(SplitMix64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn shape(&mut self) -> Shape {
        let pages = [512, 256, 256, 0, 64].map(|usual| self.pages(usual));
        Shape {
            cpus: 1 + self.below(8) as u8,
            preempt: self.of(&[Preempt::None, Preempt::Voluntary, Preempt::Full]),
            ptes: 4 << self.below(8),
            pages,
            batch: 1 + self.below(31) as u8,
            thp: self.of(&[Thp::Always, Thp::Madvise, Thp::Never]),
            faults: self.of(&[
                Faults::Classic,
                Faults::VmaLock,
                Faults::Speculative,
                Faults::SpeculativeBounded,
            ]),
        }
    }

    fn pages(&mut self, usual: u32) -> u32 {
        if self.flip() { usual } else { self.below(65537) as u32 }
    }

    fn slices(&mut self, cpus: u8) -> Vec<Slice> {
        let count = self.below(40);
        (0..count)
            .map(|_| Slice {
                cpu: self.below(u64::from(cpus)) as u8,
                run: if self.flip() { 1 } else { 1 + self.below(255) as u8 },
                task: if self.flip() { 0 } else { self.below(16) as u8 },
            })
            .collect()
    }

    fn expect(&mut self, steps: u64) -> Expect {
        let range = Range {
            area: AreaId(self.below(4) as u8),
            off: self.below(4) as u16,
            len: 1 + self.below(2) as u16,
        };
        let mm = MmId(self.below(2) as u8);
        let handle = HandleId(self.below(3) as u8);
        let targets = [
            Target::Result,
            Target::Page(mm, range),
            Target::Page(mm, range),
            Target::Handle(handle, self.below(2) as u16),
            Target::Out(self.below(3) as u16),
            Target::Machine,
        ];
        let target = self.of(&targets);
        let rets = [Ret::Void, Ret::Ok(3), Ret::Err(Errno::SIGBUS), Ret::WouldBlock];
        let ret = (target == Target::Result).then(|| self.of(&rets));
        let fields = (0..self.below(3)).map(|_| {
            let field = self.of(&Field::ALL);
            let datas = [0, written(self.below(20) as usize, self.below(3) as u32), on_disk(1, 7)];
            let value = if field == Field::Data { self.of(&datas) } else { self.below(3) };
            (field, value)
        });
        let fields = if ret.is_none() { fields.collect() } else { vec![] };
        Expect { after: self.below(steps + 1) as usize, target, ret, fields, cite: "B2".into() }
    }

    fn range(&mut self, arena: &Arena) -> Range {
        let area =
            AreaId(self.below(u64::from(arena.next_area().map_or(64, |area| area.0)).max(1)) as u8);
        let len = u64::from(arena.area_len(area)).max(1);
        let off = self.below(len);
        Range { area, off: off as u16, len: 1 + self.below(len - off) as u16 }
    }

    fn step(&mut self, arena: &Arena) -> Step {
        let fail = Fail { site: self.of(&Site::ALL), nth: 1 + self.below(255) as u8 };
        Step {
            cpu: self.below(3) as u8,
            op: self.op(arena),
            place: self.of(&Place::SYSTEM),
            fail: (self.below(3) == 0).then_some(fail),
        }
    }

    fn op(&mut self, arena: &Arena) -> Op {
        let mm = MmId(self.below(4) as u8);
        let range = self.range(arena);
        let next_area = arena.next_area().unwrap_or(AreaId(64));
        let next_handle = arena.next_handle().unwrap_or(HandleId(64));
        let handle = HandleId(self.below(u64::from(next_handle.0) + 1) as u8);
        let also = HandleId(self.below(u64::from(next_handle.0) + 1) as u8);
        let prot = self.of(&[Prot::None, Prot::Read, Prot::ReadWrite]);
        let lock = arena.next_lock().unwrap_or(LockId(16));
        let (file, pgoff) = (self.below(2) as u8, self.below(256) as u8);
        let advice = self.of(&[
            Advice::DontNeed,
            Advice::DontFork,
            Advice::DoFork,
            Advice::HugePage,
            Advice::NoHugePage,
            Advice::Collapse,
            Advice::PopulateRead,
            Advice::PopulateWrite,
        ]);
        match self.below(33) {
            25.. => self.driver(arena),
            0 => Op::Nop,
            1 | 2 => Op::Mmap {
                mm,
                area: next_area,
                backing: self.of(&[
                    Backing::AnonPrivate,
                    Backing::AnonShared,
                    Backing::FilePrivate { file, pgoff },
                    Backing::FileShared { file, pgoff },
                ]),
                prot,
                len: if self.flip() { 1 + self.below(8) } else { 1 + self.below(4096) } as u16,
                shift: if self.flip() { 0 } else { self.below(512) as u16 },
            },
            3 => Op::Munmap { mm, range },
            4 => Op::Mprotect { mm, range, prot },
            5 => Op::Mremap { mm, range, area: next_area, shift: self.below(512) as u16 },
            6 => Op::Madvise { mm, range, advice },
            7 => Op::Read { mm, range },
            8 => Op::Write { mm, range },
            9 => Op::Fork { mm, child: arena.next_mm().unwrap_or(MmId(8)) },
            10 => Op::Exit { mm },
            11..14 => Op::Gup {
                mm,
                range,
                handle: next_handle,
                entry: self.of(&[Entry::Slow, Entry::Fast, Entry::FastOnly]),
                foll: self.of(&[Foll::Get, Foll::Pin]),
                write: self.flip(),
                longterm: self.flip(),
                form: self.of(&[Form::Pages, Form::Range]),
            },
            14 => Op::Put { handle },
            15 | 16 => Op::Unpin {
                handle,
                also: self.flip().then_some(also),
                form: self.of(&[Form::Pages, Form::Range]),
                dirty: self.flip(),
                hole: self.flip(),
            },
            17 => Op::Peek { handle },
            18 => self.of(&[
                Op::LruAddDrain,
                Op::LruAddDrainAll,
                Op::Walk { mm, range, write: true, report: Report::Count },
                Op::Walk { mm, range, write: false, report: Report::Pfns },
            ]),
            19 => Op::SplitFolio { mm, range },
            20 => Op::Migrate { mm, range, mode: self.of(&[Mode::Async, Mode::Sync]) },
            21 => Op::Offline { place: self.of(&Place::SYSTEM) },
            23 => Op::Uffd {
                mm,
                range,
                uffdio: self.of(&[
                    Uffdio::Register,
                    Uffdio::RegisterSigbus,
                    Uffdio::Unregister,
                    Uffdio::Copy,
                    Uffdio::ZeroPage,
                    Uffdio::Wake,
                ]),
            },
            22 => Op::LockPage { mm, range, lock, task: TaskId(8 + self.below(8) as u8) },
            _ => Op::UnlockPage { lock: LockId(self.below(u64::from(lock.0) + 1) as u8) },
        }
    }

    /// An operation of a driver.
    fn driver(&mut self, arena: &Arena) -> Op {
        let mm = MmId(self.below(4) as u8);
        let range = self.range(arena);
        let device = self.of(&Device::ALL);
        let next = arena.next_migration().unwrap_or(MigrationId(16));
        let migration = MigrationId(self.below(u64::from(next.0) + 1) as u8);
        let to = self.of(&[Direction::ToDevice, Direction::ToSystem]);
        match self.below(12) {
            0 | 1 => Op::MigrateVmaSetup {
                mm,
                range,
                migration: next,
                device,
                select: Select(self.below(8) as u8),
                fault: self.flip(),
            },
            2 => Op::MigrateDeviceRange { migration: next, device },
            3 | 4 => Op::MigrateVmaPages { migration, to },
            5 => Op::MigrateVmaFinalize { migration },
            6 => Op::DeviceMigrate { mm, range, device, to },
            7 => Op::DeviceEvict { device, remove: self.flip() },
            8 => Op::DeviceRead { mm, range, device },
            9 => Op::DeviceWrite { mm, range, device },
            10 => Op::HmmRangeFault {
                mm,
                range,
                device,
                request: self.of(&[Request::Nothing, Request::Fault, Request::Write]),
                odd: self.flip(),
            },
            _ => Op::MakeDeviceExclusive { mm, range, device },
        }
    }
}

#[allow(dead_code, reason = "not every test file writes text")]
/// Words that texts are made of.
pub const WORDS: &[&str] = &[
    "m0",
    "m1",
    "m0+1",
    "m0+9",
    "mm1",
    "mm0",
    "h0",
    "h1",
    "h0[1]",
    "l0",
    "f0",
    "f1+2",
    "=",
    ":",
    "*",
    "(",
    ")",
    "#",
    "cpu0:",
    "cpu1:",
    "cpu9",
    "setup:",
    "then:",
    "phase:",
    "schedule:",
    "machine",
    "expect",
    "by",
    "B2",
    "len=2",
    "len=4",
    "rw",
    "r",
    "none",
    "private",
    "shared",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "dontneed",
    "read",
    "write",
    "fork",
    "exit",
    "get",
    "pin",
    "put",
    "unpin",
    "dirty",
    "hole",
    "range",
    "peek",
    "lru_add_drain",
    "split_folio",
    "migrate",
    "sync",
    "offline",
    "cma",
    "lock_page",
    "task=t8",
    "unlock_page",
    "migrate_vma_setup",
    "migrate_vma_pages",
    "migrate_vma_finalize",
    "device_private",
    "to_system",
    "device=coherent",
    "hmm_range_fault",
    "v0",
    "out[1]",
    "device=8",
    "nop",
    "uffd",
    "register",
    "copy",
    "shift=1",
    "place=cma",
    "fail=page#1",
    "ref=1",
    "data=1.0",
    "result=0",
    "cpus=3",
    "0*3",
    "1",
    "0",
    "é",
    "m0 = mmap len=4 rw private",
    "h0 = pin m0",
    "mm1 = fork",
];
