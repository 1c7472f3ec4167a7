//! The running kernel of this machine, through documented interfaces only.
//!
//! One process an mm, all children of the controller and bound to one CPU; the controller drains
//! the CPU's LRU batch (MADV_COLD of a page of its own) before and after each step, which makes
//! every observable exact. Nothing system-wide is changed; the processes die with the controller.

mod driver;
mod files;
mod observe;
mod pins;
mod sys;
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use program::{
    Advice, Backing, Call, Foll, HandleId, Layout, MmId, Mode, Op, Place, Prot, Shape, Span, Thp,
    written,
};
use reference::Kernel;

use crate::witness::{
    Abilities, Broken, Context, Frame, Observation, PageSight, Reply, Vmas, Witness,
};
use driver::Driver;
use files::Files;
use observe::{Pages, Tables, address};
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
    /// In the guest: one for looking; one a handle; one a lock.
    driver: Option<Driver>,
    grips: Vec<Driver>,
    locks: Vec<Driver>,
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
            driver: Driver::open(),
            grips: (0..HANDLES).filter_map(|_| Driver::open()).collect(),
            locks: (0..LOCKS).filter_map(|_| Driver::open()).collect(),
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
        let page = Span { start: 0, end: 1 };
        let mut layout = Layout::default();
        layout.push(&Shape::default(), 1, 0);
        let page = Span { start: page.start + 4, end: page.end + 4 };
        self.reset(&Shape::default(), &layout)?;
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        self.map(MmId(0), page, prot, flags, -1, 0)?;
        self.touch(MmId(0), worker::WRITE, page, 1)?;
        let seen = self.look(Vmas::No)?;
        Ok(seen.pages.values().find_map(|page| page.place).unwrap_or_default())
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

    /// A new process from `parent` in `slot`.
    fn fork(&mut self, parent: usize, slot: usize) -> Result<Result<(), i32>, Broken> {
        let seen = self.board.get().slots[slot].asked.load(Relaxed);
        self.board.get().forks.store(1, Relaxed);
        match self.ask(parent, worker::FORK, &[slot as u64, u64::from(seen)])? {
            Ok(pid) => {
                let tables = Tables::open(pid as i32).during("pagemap")?;
                self.workers[slot] = Some(Worker { pid: pid as i32, tables });
                Ok(Ok(()))
            }
            Err(errno) => Ok(Err(errno)),
        }
    }

    fn map(
        &self,
        mm: MmId,
        span: Span,
        prot: i32,
        flags: i32,
        fd: i32,
        offset: u64,
    ) -> Result<(), Broken> {
        let (at, bytes) = bytes(span);
        // No accounting: with it VMAs that were writable once would not merge with others.
        let flags = flags | libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE;
        let args = [at, bytes, prot as u64, flags as u64, fd as u64, offset];
        must("mmap", self.syscall(mm, libc::SYS_mmap, &args)?).map(drop)
    }

    fn touch(&self, mm: MmId, command: u32, span: Span, value: u64) -> Result<(u32, i32), Broken> {
        let (at, _) = bytes(span);
        let pages = u64::from(span.end - span.start);
        let done = self.ask(usize::from(mm.0), command, &[at, pages, value])?.unwrap_or(0);
        let error = self.board.get().slots[usize::from(mm.0)].error.load(Relaxed);
        Ok((done as u32, error))
    }

    fn madvise(&self, mm: MmId, span: Span, advice: i32) -> Result<Result<u64, i32>, Broken> {
        let (at, bytes) = bytes(span);
        self.syscall(mm, libc::SYS_madvise, &[at, bytes, advice as u64])
    }

    /// Writes two words into the mailbox: their address, the same in the worker.
    fn mailbox(&self, mm: MmId, words: [u64; 2]) -> u64 {
        let slot = &self.board.get().slots[usize::from(mm.0)];
        slot.iovec.iter().zip(words).for_each(|(place, word)| place.store(word, Relaxed));
        slot.iovec.as_ptr() as u64
    }

    fn iovec(&self, mm: MmId, span: Span) -> u64 {
        let (at, bytes) = bytes(span);
        self.mailbox(mm, [at, bytes])
    }

    fn driver_fd(&self) -> u64 {
        self.driver.as_ref().map_or(u64::MAX, |driver| driver.fd() as u64)
    }

    /// GUP of any kind, by the driver in the worker's name.
    fn gup(&mut self, mm: MmId, span: Span, handle: HandleId, flags: u32) -> Result<Reply, Broken> {
        let at = usize::from(handle.0) % HANDLES;
        let count = u64::from(span.end - span.start);
        let ask = self.mailbox(mm, [bytes(span).0, count | u64::from(flags) << 32]);
        let fd = self.grips[at].fd() as u64;
        let result = self.syscall(mm, libc::SYS_ioctl, &[fd, driver::GUP, ask])?;
        if result.is_ok_and(|pages| pages > 0) {
            self.handles.insert(handle, Held::Driver(at));
        }
        Ok(Reply { ret: Some(result.map(|pages| pages as u32)), ..Reply::default() })
    }

    fn run(&mut self, call: Call<'_>) -> Result<Reply, Broken> {
        let Call { number, step, layout } = call;
        let span = |range| layout.span(range);
        let plain =
            |result: Result<u64, i32>| Reply { ret: Some(result.map(|_| 0)), ..Reply::default() };
        match step.op {
            Op::Mmap { mm, area, backing, prot, .. } => {
                self.mmap(mm, layout.area(area), backing, prot)?;
                Ok(plain(Ok(0)))
            }
            Op::Munmap { mm, range } => {
                let (at, bytes) = bytes(span(range));
                Ok(plain(self.syscall(mm, libc::SYS_munmap, &[at, bytes])?))
            }
            Op::Mprotect { mm, range, prot } => {
                let (at, bytes) = bytes(span(range));
                let args = [at, bytes, protection(prot) as u64];
                Ok(plain(self.syscall(mm, libc::SYS_mprotect, &args)?))
            }
            Op::Mremap { mm, range, area, .. } => {
                let ((at, bytes), (to, _)) = (bytes(span(range)), bytes(layout.area(area)));
                let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
                let args = [at, bytes, bytes, flags, to];
                Ok(plain(self.syscall(mm, libc::SYS_mremap, &args)?))
            }
            Op::Madvise { mm, range, advice } => {
                Ok(plain(self.madvise(mm, span(range), advice_number(advice))?))
            }
            Op::Read { mm, range } => self.access(mm, worker::READ, span(range), 0),
            Op::Write { mm, range } => {
                self.access(mm, worker::WRITE, span(range), written(number, 0))
            }
            Op::Fork { mm, child } => {
                let result = self.fork(usize::from(mm.0), usize::from(child.0))?;
                Ok(plain(result.map(|()| 0)))
            }
            Op::Exit { mm } => {
                if let Some(worker) = self.workers[usize::from(mm.0)].take() {
                    sys::kill(worker.pid);
                }
                Ok(plain(Ok(0)))
            }
            Op::Gup { mm, range, handle, entry, foll, write, longterm, .. }
                if self.driver.is_some() =>
            {
                let flags = driver::gup_flags(entry, foll, write, longterm);
                self.gup(mm, span(range), handle, flags)
            }
            Op::Gup { mm, range, handle, foll, write, .. } => match (foll, write) {
                (Foll::Get, _) => self.vmsplice(mm, span(range), handle),
                (Foll::Pin, true) => self.register(mm, span(range), handle),
                (Foll::Pin, false) => self.read_remote(mm, span(range), handle),
            },
            Op::Put { handle } => self.release(&[Some(handle)], false),
            Op::Unpin { handle, also, dirty, .. } => self.release(&[Some(handle), also], dirty),
            Op::SplitFolio { mm, range } => {
                let fd = self.driver_fd();
                let args = [fd, driver::SPLIT, bytes(span(range)).0];
                Ok(plain(self.syscall(mm, libc::SYS_ioctl, &args)?))
            }
            Op::Migrate { mm, range, mode } => {
                let (at, fd) = (bytes(span(range)).0, self.driver_fd());
                let ask = self.mailbox(mm, [at, u64::from(mode == Mode::Sync)]);
                Ok(plain(self.syscall(mm, libc::SYS_ioctl, &[fd, driver::MIGRATE, ask])?))
            }
            Op::LockPage { mm, range, lock, .. } => {
                let fd = self.locks[usize::from(lock.0)].fd() as u64;
                let args = [fd, driver::LOCK, bytes(span(range)).0];
                Ok(plain(self.syscall(mm, libc::SYS_ioctl, &args)?))
            }
            Op::UnlockPage { lock } => {
                let unlocked = self.locks[usize::from(lock.0)].unlock();
                unlocked.during("unlock").map(|_| plain(Ok(0)))
            }
            Op::Peek { handle } => self.peek(handle),
            _ => Ok(Reply::default()),
        }
    }

    fn mmap(&mut self, mm: MmId, span: Span, backing: Backing, prot: Prot) -> Result<(), Broken> {
        let prot = protection(prot);
        let (private, shared) = (libc::MAP_PRIVATE, libc::MAP_SHARED);
        let (flags, file, pgoff) = match backing {
            Backing::AnonPrivate => (private | libc::MAP_ANONYMOUS, None, 0),
            Backing::AnonShared => (shared | libc::MAP_ANONYMOUS, None, 0),
            Backing::FilePrivate { file, pgoff } => (private, Some(file), pgoff),
            Backing::FileShared { file, pgoff } => (shared, Some(file), pgoff),
        };
        let Some(file) = file else { return self.map(mm, span, prot, flags, -1, 0) };
        self.files.mapped(file, flags == shared);
        let offset = u64::from(pgoff) * PAGE as u64;
        self.map(mm, span, prot, flags, self.files.fd(file), offset)?;
        // No readahead: a decision of the model.
        must("madvise", self.madvise(mm, span, libc::MADV_RANDOM)?).map(drop)
    }

    fn access(&mut self, mm: MmId, command: u32, span: Span, value: u64) -> Result<Reply, Broken> {
        let (done, signal) = self.touch(mm, command, span, value)?;
        let slot = &self.board.get().slots[usize::from(mm.0)];
        let values = slot.values[..done as usize].iter().map(|value| value.load(Relaxed));
        let read = command == worker::READ;
        Ok(Reply {
            ret: Some(if signal == 0 { Ok(done) } else { Err(-signal) }),
            data: Some(if read { values.collect() } else { Vec::new() }),
            faults: Some(slot.faults.load(Relaxed)),
            ..Reply::default()
        })
    }

    /// `get`: vmsplice takes FOLL_GET references, page by page, until something is in the way.
    fn vmsplice(&mut self, mm: MmId, span: Span, handle: HandleId) -> Result<Reply, Broken> {
        let at = usize::from(handle.0) % HANDLES;
        let (fd, iovec) = (self.pipes[at].fd(), self.iovec(mm, span));
        let result = self.syscall(mm, libc::SYS_vmsplice, &[fd as u64, iovec, 1, 0])?;
        let pages = result.map(|bytes| (bytes / PAGE as u64) as u32);
        if let Ok(pages) = pages {
            self.pipes[at].filled(pages);
            self.handles.insert(handle, Held::Pipe(at));
        }
        Ok(Reply { ret: Some(pages), ..Reply::default() })
    }

    /// `pin` to write: a registered buffer, all or nothing.
    fn register(&mut self, mm: MmId, span: Span, handle: HandleId) -> Result<Reply, Broken> {
        const REGISTER_BUFFERS: u64 = 0;
        let at = usize::from(handle.0) % HANDLES;
        let (fd, iovec) = (self.rings[at].fd(), self.iovec(mm, span));
        let args = [fd as u64, REGISTER_BUFFERS, iovec, 1];
        match self.syscall(mm, libc::SYS_io_uring_register, &args)? {
            Ok(_) => {
                let pages = span.end - span.start;
                self.rings[at].registered(bytes(span).0, pages);
                self.handles.insert(handle, Held::Ring(at));
                Ok(Reply { ret: Some(Ok(pages)), ..Reply::default() })
            }
            // What was pinned was unpinned again: how much is not said.
            Err(libc::EFAULT) => Ok(Reply { released: Some(handle), ..Reply::default() }),
            Err(errno) => Ok(Reply { ret: Some(Err(errno)), ..Reply::default() }),
        }
    }

    /// `pin` to read: process_vm_readv pins while it copies.
    fn read_remote(&mut self, mm: MmId, span: Span, handle: HandleId) -> Result<Reply, Broken> {
        let (at, bytes) = bytes(span);
        self.buffer.resize(bytes as usize, 0);
        let result = sys::read_remote(self.pid(mm), at, &mut self.buffer);
        let pages = result.map(|bytes| (bytes / PAGE) as u32);
        Ok(Reply { ret: Some(pages), released: Some(handle), ..Reply::default() })
    }

    fn release(&mut self, handles: &[Option<HandleId>], dirty: bool) -> Result<Reply, Broken> {
        let mut pages = 0;
        for handle in handles.iter().flatten() {
            pages += match self.handles.remove(handle) {
                Some(Held::Ring(at)) => self.rings[at].release().during("unpin")?,
                Some(Held::Pipe(at)) => self.pipes[at].release().during("put")?,
                Some(Held::Driver(at)) => self.grips[at].release(dirty).during("unpin")?,
                None => 0,
            };
        }
        Ok(Reply { ret: Some(Ok(pages)), ..Reply::default() })
    }

    fn peek(&mut self, handle: HandleId) -> Result<Reply, Broken> {
        let data = match self.handles.get(&handle) {
            Some(Held::Ring(at)) => self.rings[*at].peek(&mut self.spare).during("peek")?,
            Some(Held::Pipe(at)) => self.pipes[*at].peek(&mut self.spare).during("peek")?,
            Some(Held::Driver(at)) => {
                let grip = &self.grips[*at];
                let look = |frames: Vec<u64>| grip.pages(&frames, &mut Observation::default());
                grip.frames(worker::VALUES).and_then(look).during("peek")?
            }
            None => Vec::new(),
        };
        let ret = Some(Ok(data.len() as u32));
        Ok(Reply { ret, data: Some(data), ..Reply::default() })
    }

    /// What the driver sees beyond: entries, counts, the pages of handles.
    fn look_deeper(&self, seen: &mut Observation) -> std::io::Result<()> {
        let Some(driver) = &self.driver else { return Ok(()) };
        for (id, mut sight) in std::mem::take(&mut seen.mms) {
            driver.complete(self.pid(id), &mut sight, seen)?;
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

    fn reset(&mut self, _shape: &Shape, layout: &Layout) -> Result<(), Broken> {
        self.unlock_all();
        self.end_all();
        let handles: Vec<_> = self.handles.keys().copied().map(Some).collect();
        self.release(&handles, false)?;
        self.files.reset().during("regular files")?;
        self.layout.clone_from(layout);
        let forked = self.fork(ZYGOTE, 0)?;
        must("fork", forked.map(|()| 0)).map(drop)
    }

    fn step(&mut self, call: Call<'_>) -> Result<Reply, Broken> {
        sys::drain(&self.own);
        let reply = self.run(call);
        sys::drain(&self.own);
        reply
    }

    fn disturbances(&self) -> u64 {
        observe::disturbances()
    }

    fn look(&mut self, vmas: Vmas) -> Result<Observation, Broken> {
        let mut seen = Observation::default();
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
        if self.driver.is_none() {
            self.pages.look(&mut seen.pages).during("kpageflags")?;
            return Ok(seen);
        }
        self.look_deeper(&mut seen).during("mmoracle")?;
        Ok(seen)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.unlock_all();
        self.end_all();
        if self.zygote > 0 {
            sys::kill(self.zygote);
        }
        let _ = sys::set_affinity(&self.cpus);
    }
}

/// Address and bytes of a range.
fn bytes(span: Span) -> (u64, u64) {
    (address(span.start), u64::from(span.end - span.start) * PAGE as u64)
}

/// What cannot fail.
fn must(what: &'static str, result: Result<u64, i32>) -> Result<u64, Broken> {
    result.map_err(|errno| Broken::Io(what, std::io::Error::from_raw_os_error(errno)))
}

fn protection(prot: Prot) -> i32 {
    match prot {
        Prot::None => libc::PROT_NONE,
        Prot::Read => libc::PROT_READ,
        Prot::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
    }
}

fn advice_number(advice: Advice) -> i32 {
    const MADV_POPULATE_READ: i32 = 22;
    const MADV_POPULATE_WRITE: i32 = 23;
    const MADV_COLLAPSE: i32 = 25;
    match advice {
        Advice::DontNeed => libc::MADV_DONTNEED,
        Advice::DontFork => libc::MADV_DONTFORK,
        Advice::DoFork => libc::MADV_DOFORK,
        Advice::HugePage => libc::MADV_HUGEPAGE,
        Advice::NoHugePage => libc::MADV_NOHUGEPAGE,
        Advice::Collapse => MADV_COLLAPSE,
        Advice::PopulateRead => MADV_POPULATE_READ,
        Advice::PopulateWrite => MADV_POPULATE_WRITE,
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
