//! The system calls that the witness needs and no safe crate has in the form needed here: memory
//! that several processes share at one address, fork with a chosen parent, waiting on a futex in
//! shared memory. Each wrapper is safe to call; the unsafe parts and their reasons are inside.
#![allow(unsafe_code, reason = "system calls; every block says why it is sound")]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Bytes of a page.
pub const PAGE: usize = 4096;

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn done(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Memory that this process and all its descendants share.
#[derive(Debug)]
pub struct Shared<T: 'static> {
    at: NonNull<T>,
    bytes: usize,
}

impl<T> Shared<T> {
    /// Zeroed memory for one `T`, for which zero bytes must be a valid value: it is bound to types
    /// of atomics by the one caller.
    pub fn zeroed() -> io::Result<Shared<T>> {
        let bytes = size_of::<T>().next_multiple_of(PAGE);
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, prot, flags | libc::MAP_POPULATE, -1, 0)
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(at.cast())
            .map(|at| Shared { at, bytes })
            .ok_or_else(|| io::ErrorKind::Other.into())
    }

    /// The value. Processes that share it change it only through atomics.
    pub fn get(&self) -> &T {
        // SAFETY: mapped as long as `self` lives, large enough and aligned to a page.
        unsafe { self.at.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the very mapping that `zeroed` made, to which no reference is left.
        unsafe { libc::munmap(self.at.as_ptr().cast::<c_void>(), self.bytes) };
    }
}

/// Sleeps while `word` is `value`, at most so long. False: it timed out.
pub fn futex_wait(word: &AtomicU32, value: u32, most: Option<Duration>) -> bool {
    let time = most.map(|most| libc::timespec {
        tv_sec: most.as_secs() as libc::time_t,
        tv_nsec: most.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `word` and `time` outlive the call; the kernel only reads them.
    let result =
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, time) };
    result == 0 || errno() != libc::ETIMEDOUT
}

/// Wakes whoever waits on `word`.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: the address is only a name here.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// `lru_add_drain` on this CPU: MADV_COLD begins with it, whatever memory it is about.
pub fn drain(page: &Shared<[u8; PAGE]>) {
    // SAFETY: advice about memory of our own that changes none of it.
    unsafe { libc::madvise(page.at.as_ptr().cast(), PAGE, libc::MADV_COLD) };
}

/// fork. The child runs `body` and ends with it.
pub fn fork(body: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: `body` is the worker's loop, which allocates nothing, takes no lock and returns to
    // nothing: all that is sound in the child of a process with threads.
    match done(unsafe { libc::fork() })? {
        0 => {
            body();
            // SAFETY: ends the process at once, without the parent's exit handlers.
            unsafe { libc::_exit(0) }
        }
        pid => Ok(pid),
    }
}

/// Kills a child of ours and waits until its memory is gone.
pub fn kill(pid: i32) {
    // SAFETY: no memory is involved; `pid` is a child that was not waited for yet.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
}

/// The CPUs that this thread may run on.
pub fn affinity() -> io::Result<libc::cpu_set_t> {
    // SAFETY: a plain bit array, for which zero is a valid value and which the call fills.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        done(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set))?;
        Ok(set)
    }
}

/// Binds this thread, and what it forks, to these CPUs.
pub fn set_affinity(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the kernel reads `set` only.
    done(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) }).map(drop)
}

/// The first CPU of a set, alone.
pub fn first_of(set: &libc::cpu_set_t) -> Option<libc::cpu_set_t> {
    // SAFETY: the macros' functions index into the bit array within CPU_SETSIZE.
    unsafe {
        let first = (0..libc::CPU_SETSIZE as usize).find(|&cpu| libc::CPU_ISSET(cpu, set))?;
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut one);
        Some(one)
    }
}

/// A pipe with room for `pages` pages, read end first; neither end blocks.
pub fn pipe(pages: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the call fills the array with two descriptors that nobody else owns.
    unsafe {
        done(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK))?;
        let pipe = (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]));
        done(libc::fcntl(ends[1], libc::F_SETPIPE_SZ, (pages * PAGE) as c_int))?;
        Ok(pipe)
    }
}

/// Duplicates what one pipe holds into another, without using it up: bytes.
pub fn tee(from: &OwnedFd, to: &OwnedFd, bytes: usize) -> io::Result<usize> {
    // SAFETY: no memory is involved.
    let moved =
        unsafe { libc::tee(from.as_raw_fd(), to.as_raw_fd(), bytes, libc::SPLICE_F_NONBLOCK) };
    if moved < 0 { Err(io::Error::last_os_error()) } else { Ok(moved as usize) }
}

/// Tells the kernel that the cached pages of a file are not needed (they must be clean).
pub fn forget_cache(file: &File) -> io::Result<()> {
    // SAFETY: no memory is involved.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// `process_vm_readv` of whole pages at `from` in `pid`: R/O FOLL_PIN for the time of the call.
pub fn read_remote(pid: i32, from: u64, into: &mut [u8]) -> Result<usize, i32> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: from as *mut c_void, iov_len: into.len() };
    // SAFETY: writes into `into` only, within its length; `from` is checked by the kernel.
    let read = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    if read < 0 { Err(errno()) } else { Ok(read as usize) }
}

/// Argument of the PAGEMAP_SCAN ioctl (`struct pm_scan_arg`, Linux 6.7).
#[repr(C)]
#[derive(Default, Debug)]
pub struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// A result of PAGEMAP_SCAN (`struct page_region`).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Region {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    categories: u64,
}

const PAGEMAP_SCAN: libc::Ioctl = 0xC060_6610;
const PAGE_IS_HUGE: u64 = 1 << 6;

/// The parts of `start..end` that huge PMDs map: fills `found`, returns how many.
pub fn scan_huge(pagemap: &File, start: u64, end: u64, found: &mut [Region]) -> io::Result<usize> {
    let mut arg = ScanArg {
        size: size_of::<ScanArg>() as u64,
        start,
        end,
        vec: found.as_mut_ptr() as u64,
        vec_len: found.len() as u64,
        category_mask: PAGE_IS_HUGE,
        return_mask: PAGE_IS_HUGE,
        ..ScanArg::default()
    };
    // SAFETY: the kernel writes at most `vec_len` regions to `vec`, and into `arg`.
    let count = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &mut arg) };
    done(count).map(|count| count as usize)
}
