//! The running kernel of this machine, through documented interfaces only.
//!
//! One process an mm, all children of the controller and bound to one CPU; the controller drains
//! the CPU's LRU batch (MADV_COLD of a page of its own) before and after each step, which makes
//! every observable exact. Nothing system-wide is changed; the processes die with the controller.

mod device;
mod driver;
mod files;
mod observe;
mod ops;
mod pins;
mod sys;
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use program::{AreaId, Call, Device, HandleId, Layout, MmId, Place, Shape, Span, Step, Thp};
use reference::Kernel;

use crate::witness::{
    Abilities, Broken, Context, Frame, Observation, PageSight, Reply, Vmas, Witness,
};
use device::MIGRATIONS;
use driver::Driver;
use files::Files;
use observe::{Pages, Tables, address};
use ops::must;
use pins::{Pipe, Ring};
use sys::{PAGE, Shared};
use worker::{Board, ZYGOTE};

/// Handles of each kind that a program may have.
const HANDLES: usize = 24;
/// Folio locks that a program may hold.
const LOCKS: usize = 16;
/// A worker that does not answer for so long is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process behind an mm.
struct Worker {
    pid: i32,
    tables: Tables,
    /// It allocates in `Place::Normal`, whatever else there is.
    normal: bool,
}

/// What a handle is.
enum Held {
    Ring(usize),
    Pipe(usize),
    Driver(usize),
}

/// The running kernel.
pub struct Host {
    kernel: Kernel,
    abilities: Abilities,
    thp: Thp,
    cpus: libc::cpu_set_t,
    board: Shared<Board>,
    own: Shared<[u8; PAGE]>,
    rings: Vec<Ring>,
    pipes: Vec<Pipe>,
    spare: Pipe,
    /// In the guest: what lay ready for the CPU before, in blocks of other kinds than those that
    /// movable pages come from now (CMA). Kept, or it would come back.
    _taken: Option<Shared<[u8; 32 << 20]>>,
    /// In the guest: one for looking; one a handle; one a lock; one a device migration.
    driver: Option<Driver>,
    grips: Vec<Driver>,
    locks: Vec<Driver>,
    opens: Vec<Driver>,
    /// Which devices the program uses.
    devices: [bool; 2],
    files: Files,
    pages: Pages,
    zero: u64,
    zygote: i32,
    workers: [Option<Worker>; ZYGOTE],
    handles: BTreeMap<HandleId, Held>,
    layout: Layout,
    buffer: Vec<u8>,
}

impl Host {
    /// The running kernel, or why it cannot be a witness here.
    pub fn new() -> Result<Host, String> {
        let pages =
            Pages::open().map_err(|error| format!("/proc/kpagecount: {error} (root sees it)"))?;
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = Kernel::parse(release.trim()).ok_or("the kernel does not say its version")?;
        let io = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        let ring = || Ring::new().map_err(io("io_uring"));
        let pipe = || Pipe::new().map_err(io("pipe of 256 pages"));
        let cpus = sys::affinity().map_err(io("sched_getaffinity"))?;
        let one = sys::first_of(&cpus).ok_or("no CPU")?;
        let thp = thp_policy();
        let driver = Driver::open();
        let taken = || Shared::zeroed().map_err(io("memory"));
        let mut host = Host {
            kernel: kernel.with_fault_around(fault_around()),
            abilities: Abilities::default(),
            thp,
            cpus,
            board: Shared::zeroed().map_err(io("shared memory"))?,
            own: Shared::zeroed().map_err(io("shared memory"))?,
            rings: (0..HANDLES).map(|_| ring()).collect::<Result<_, _>>()?,
            pipes: (0..HANDLES).map(|_| pipe()).collect::<Result<_, _>>()?,
            spare: pipe()?,
            _taken: driver.is_some().then(taken).transpose()?,
            driver,
            grips: (0..HANDLES).filter_map(|_| Driver::open()).collect(),
            locks: (0..LOCKS).filter_map(|_| Driver::open()).collect(),
            opens: (0..MIGRATIONS).filter_map(|_| Driver::open()).collect(),
            devices: [false; 2],
            files: Files::create().map_err(io("regular files"))?,
            pages,
            zero: 0,
            zygote: 0,
            workers: Default::default(),
            handles: BTreeMap::new(),
            layout: Layout::default(),
            buffer: Vec::new(),
        };
        sys::set_affinity(&one).map_err(io("sched_setaffinity"))?;
        let controller = std::process::id() as i32;
        let board = host.board.get();
        host.zygote = sys::fork(|| worker::serve(board, ZYGOTE, controller)).map_err(io("fork"))?;
        host.zero = host.zero_page().map_err(|broken| broken.to_string())?;
        host.abilities = Abilities {
            driver: host.driver.is_some(),
            place: host.usual_place().map_err(|broken| broken.to_string())?,
            devices: host.devices_there(),
        };
        Ok(host)
    }

    /// The frame of the zero page: what a read of untouched memory maps.
    fn zero_page(&mut self) -> Result<u64, Broken> {
        let at = address(0);
        self.reset(&Shape::default(), &Layout::default())?;
        self.map(
            MmId(0),
            Span { start: 0, end: 1 },
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )?;
        self.touch(MmId(0), worker::READ, Span { start: 0, end: 1 }, 0)?;
        let tables = Tables::open(self.pid(MmId(0))).during("pagemap")?;
        let pfn = tables.frame(at).during("pagemap")?.filter(|&pfn| pfn != 0);
        let missing =
            || Broken::Io("pagemap shows no frames", std::io::ErrorKind::PermissionDenied.into());
        let pfn = pfn.ok_or_else(missing)?;
        if !self.pages.is_zero(pfn).during("kpageflags")? {
            return Err(Broken::Io("no zero page", std::io::ErrorKind::Other.into()));
        }
        Ok(pfn)
    }

    /// Where user pages go: only the driver sees that there is another zone than the normal one.
    fn usual_place(&mut self) -> Result<Place, Broken> {
        let mut layout = Layout::default();
        layout.push(&Shape::default(), 1, 0);
        let page = layout.area(AreaId(0));
        self.reset(&Shape::default(), &layout)?;
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        self.map(MmId(0), page, prot, flags, -1, 0)?;
        self.touch(MmId(0), worker::WRITE, page, 1)?;
        let seen = self.look(Vmas::No)?;
        Ok(seen.pages.values().find_map(|page| page.place).unwrap_or_default())
    }

    /// Has whoever carries the step out allocate where it says.
    fn prefer(&mut self, step: &Step) -> Result<(), Broken> {
        let Some(driver) = &self.driver else { return Ok(()) };
        if self.abilities.place == Place::Cma {
            driver.drain_free().during("drain")?;
        }
        let normal = step.place == Place::Normal && self.abilities.place != Place::Normal;
        let Some(mm) = step.op.mm() else {
            return driver.place(normal).map(drop).during("place");
        };
        let Some(worker) = &mut self.workers[usize::from(mm.0)] else { return Ok(()) };
        if std::mem::replace(&mut worker.normal, normal) == normal {
            return Ok(());
        }
        let args = [self.driver_fd(), driver::PLACE, u64::from(normal)];
        must("place", self.syscall(mm, libc::SYS_ioctl, &args)?).map(drop)
    }

    fn pid(&self, mm: MmId) -> i32 {
        self.workers[usize::from(mm.0)].as_ref().map_or(0, |worker| worker.pid)
    }

    /// Has a worker do something and waits for its answer.
    fn ask(&self, slot: usize, command: u32, args: &[u64]) -> Result<Result<u64, i32>, Broken> {
        let slot_of = &self.board.get().slots[slot];
        slot_of.command.store(command, Relaxed);
        for (place, arg) in slot_of.args.iter().zip(args.iter().chain(std::iter::repeat(&0))) {
            place.store(*arg, Relaxed);
        }
        let number = slot_of.asked.load(Relaxed).wrapping_add(1);
        slot_of.asked.store(number, Release);
        sys::futex_wake(&slot_of.asked);
        loop {
            let answered = slot_of.answered.load(Acquire);
            if answered == number {
                break;
            }
            if !sys::futex_wait(&slot_of.answered, answered, Some(PATIENCE)) {
                return Err(Broken::Silent(MmId(slot as u8)));
            }
        }
        let (result, error) = (slot_of.result.load(Relaxed), slot_of.error.load(Relaxed));
        Ok(if result == -1 { Err(error) } else { Ok(result as u64) })
    }

    fn syscall(&self, mm: MmId, number: i64, args: &[u64]) -> Result<Result<u64, i32>, Broken> {
        let mut all = [0; 7];
        all[0] = number as u64;
        all[1..=args.len()].copy_from_slice(args);
        self.ask(usize::from(mm.0), worker::SYSCALL, &all)
    }

    /// What the driver sees: entries, counts, the pages of handles.
    fn look_deeper(&mut self, vmas: Vmas, seen: &mut Observation) -> std::io::Result<()> {
        let Some(driver) = &mut self.driver else { return Ok(()) };
        for (id, worker) in (0..).map(MmId).zip(&self.workers) {
            let Some(worker) = worker else { continue };
            let mut sight = driver.entries(worker.pid, &self.layout, seen)?;
            if vmas == Vmas::All {
                sight.vmas = Some(worker.tables.vmas(&self.layout)?);
            }
            seen.mms.insert(id, sight);
        }
        for (handle, held) in &self.handles {
            let Held::Driver(at) = held else { continue };
            let frames = self.grips[*at].frames(worker::VALUES)?;
            let (real, zero) = (|pfn: &u64| *pfn != self.zero, self.zero);
            let real: Vec<u64> = frames.iter().copied().filter(real).collect();
            driver.pages(&real, seen)?;
            let frame = |pfn: u64| if pfn == zero { Frame::Zero } else { Frame::Page(pfn) };
            seen.handles.insert(*handle, frames.into_iter().map(frame).collect());
        }
        Ok(())
    }

    /// To be done before an mm ends, which may wait for a folio lock.
    fn unlock_all(&self) {
        self.locks.iter().for_each(|lock| drop(lock.unlock()));
    }

    fn end_all(&mut self) {
        for worker in self.workers.iter_mut().filter_map(Option::take) {
            sys::kill(worker.pid);
        }
    }
}

impl Witness for Host {
    fn kernel(&self) -> Kernel {
        self.kernel
    }

    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn thp(&self) -> Thp {
        self.thp
    }

    fn reset(&mut self, shape: &Shape, layout: &Layout) -> Result<(), Broken> {
        self.unlock_all();
        self.finalize_all();
        self.end_all();
        self.forget_mirrors()?;
        self.devices = Device::ALL.map(|device| shape.pages[device.place() as usize] > 0);
        let handles: Vec<_> = self.handles.keys().copied().map(Some).collect();
        self.release(&handles, false)?;
        self.files.reset().during("regular files")?;
        self.layout.clone_from(layout);
        let forked = self.fork(ZYGOTE, 0)?;
        must("fork", forked.map(|()| 0)).map(drop)
    }

    fn step(&mut self, call: Call<'_>) -> Result<Reply, Broken> {
        self.prefer(call.step)?;
        sys::drain(&self.own);
        let reply = self.run(call);
        sys::drain(&self.own);
        reply
    }

    fn disturbances(&self) -> u64 {
        observe::disturbances(self.driver.is_some())
    }

    fn look(&mut self, vmas: Vmas) -> Result<Observation, Broken> {
        let mut seen = Observation::default();
        if self.driver.is_some() {
            self.look_deeper(vmas, &mut seen).during("mmoracle")?;
            return Ok(seen);
        }
        for (id, worker) in (0..).map(MmId).zip(&mut self.workers) {
            let Some(worker) = worker else { continue };
            let look = worker.tables.look(&self.layout, self.zero);
            let mut sight = look.during("pagemap")?;
            if vmas == Vmas::All {
                sight.vmas = Some(worker.tables.vmas(&self.layout).during("smaps")?);
            }
            let frames = sight.entries.values().map(|entry| (entry.frame, PageSight::default()));
            seen.pages.extend(frames);
            seen.mms.insert(id, sight);
        }
        seen.pages.remove(&Frame::Zero);
        self.pages.look(&mut seen.pages).during("kpageflags")?;
        Ok(seen)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.unlock_all();
        self.finalize_all();
        self.end_all();
        if self.zygote > 0 {
            sys::kill(self.zygote);
        }
        let _ = sys::set_affinity(&self.cpus);
    }
}

/// Pages that a read fault of object-backed memory may map; 64 KiB where nothing is said.
fn fault_around() -> u32 {
    let text = std::fs::read_to_string("/sys/kernel/debug/fault_around_bytes").unwrap_or_default();
    text.trim().parse().map_or(16, |bytes: u32| bytes / PAGE as u32)
}

/// A setting of transparent huge pages; of a list, the one in brackets.
fn setting(name: &str) -> Option<String> {
    let path = format!("/sys/kernel/mm/transparent_hugepage/{name}");
    let text = std::fs::read_to_string(path).ok()?;
    let word = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    Some(word.unwrap_or(text.trim()).to_owned())
}

fn thp_policy() -> Thp {
    match setting("enabled").as_deref() {
        Some("always") => Thp::Always,
        Some("madvise") => Thp::Madvise,
        _ => Thp::Never,
    }
}
