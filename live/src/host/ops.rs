//! Each operation as system calls.

use std::sync::atomic::Ordering::Relaxed;

use program::{Advice, Backing, Call, Foll, HandleId, MmId, Mode, Op, Prot, Span, written};

use super::driver;
use super::observe::{Tables, address};
use super::sys::{self, PAGE};
use super::worker;
use super::{HANDLES, Held, Host, Worker};
use crate::witness::{Broken, Context, Observation, Reply};

impl Host {
    /// A new process from `parent` in `slot`.
    pub(super) fn fork(&mut self, parent: usize, slot: usize) -> Result<Result<(), i32>, Broken> {
        let seen = self.board.get().slots[slot].asked.load(Relaxed);
        self.board.get().forks.store(1, Relaxed);
        match self.ask(parent, worker::FORK, &[slot as u64, u64::from(seen)])? {
            Ok(pid) => {
                let tables = Tables::open(pid as i32).during("pagemap")?;
                // Where it allocates is inherited.
                let normal = self.workers.get(parent).and_then(Option::as_ref);
                let normal = normal.is_some_and(|worker| worker.normal);
                self.workers[slot] = Some(Worker { pid: pid as i32, tables, normal });
                self.mirror(MmId(slot as u8))?;
                Ok(Ok(()))
            }
            Err(errno) => Ok(Err(errno)),
        }
    }

    pub(super) fn map(
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

    pub(super) fn touch(
        &self,
        mm: MmId,
        command: u32,
        span: Span,
        value: u64,
    ) -> Result<(u32, i32), Broken> {
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

    /// Writes words into the mailbox: their address, the same in the worker.
    pub(super) fn mailbox(&self, mm: MmId, words: &[u64]) -> u64 {
        let slot = &self.board.get().slots[usize::from(mm.0)];
        slot.words.iter().zip(words).for_each(|(place, word)| place.store(*word, Relaxed));
        slot.words.as_ptr() as u64
    }

    fn iovec(&self, mm: MmId, span: Span) -> u64 {
        let (at, bytes) = bytes(span);
        self.mailbox(mm, &[at, bytes])
    }

    pub(super) fn driver_fd(&self) -> u64 {
        self.driver.as_ref().map_or(u64::MAX, |driver| driver.fd() as u64)
    }

    /// GUP of any kind, by the driver in the worker's name.
    fn gup(&mut self, mm: MmId, span: Span, handle: HandleId, flags: u32) -> Result<Reply, Broken> {
        let at = usize::from(handle.0) % HANDLES;
        let count = u64::from(span.end - span.start);
        let ask = self.mailbox(mm, &[bytes(span).0, count | u64::from(flags) << 32]);
        let fd = self.grips[at].fd() as u64;
        let result = self.syscall(mm, libc::SYS_ioctl, &[fd, driver::GUP, ask])?;
        if result.is_ok_and(|pages| pages > 0) {
            self.handles.insert(handle, Held::Driver(at));
        }
        Ok(Reply { ret: Some(result.map(|pages| pages as u32)), ..Reply::default() })
    }

    pub(super) fn run(&mut self, call: Call<'_>) -> Result<Reply, Broken> {
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
                let ask = self.mailbox(mm, &[at, u64::from(mode == Mode::Sync)]);
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
            _ => self.device(call),
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

    pub(super) fn release(
        &mut self,
        handles: &[Option<HandleId>],
        dirty: bool,
    ) -> Result<Reply, Broken> {
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
}

/// Address and bytes of a range.
pub(super) fn bytes(span: Span) -> (u64, u64) {
    (address(span.start), u64::from(span.end - span.start) * PAGE as u64)
}

/// What cannot fail.
pub(super) fn must(what: &'static str, result: Result<u64, i32>) -> Result<u64, Broken> {
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
