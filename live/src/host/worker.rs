//! The process behind an mm: waits for commands in shared memory and carries them out. It touches
//! no memory of the arena unless told to, allocates nothing and takes no lock, so that it is the
//! same process after any number of forks.
#![allow(unsafe_code, reason = "raw system calls and deliberate faults; every block says why")]

use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64};

use super::sys::{PAGE, futex_wait, futex_wake};

/// Address spaces at a time, and the one that they all stem from.
pub const SLOTS: usize = 9;
/// The process that never runs an operation and is forked for each program's first mm.
pub const ZYGOTE: usize = SLOTS - 1;
/// Pages that one command reads.
pub const VALUES: usize = 4096;

/// What a worker is to do.
pub const SYSCALL: u32 = 0;
/// Read `args[1]` pages at `args[0]`.
pub const READ: u32 = 1;
/// Write `args[1]` pages at `args[0]`, value `args[2]` + index of the page.
pub const WRITE: u32 = 2;
/// Fork; the child serves slot `args[0]`.
pub const FORK: u32 = 3;

/// The mailbox of one worker. Zero bytes are a valid, idle one.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Slot {
    /// Counts commands; the worker waits on it.
    pub asked: AtomicU32,
    /// Counts answers; the controller waits on it.
    pub answered: AtomicU32,
    /// What to do.
    pub command: AtomicU32,
    /// With what.
    pub args: [AtomicU64; 7],
    /// The system call's result; pages done; pid of the child.
    pub result: AtomicI64,
    /// errno, or the signal that an access raised.
    pub error: AtomicI32,
    /// Minor and major faults of the command.
    pub faults: AtomicU64,
    /// An iovec or another structure for system calls that want one.
    pub words: [AtomicU64; 5],
    /// What was read.
    pub values: [AtomicU64; VALUES],
}

/// All mailboxes.
#[derive(Debug)]
pub struct Board {
    /// By mm; then that of the zygote.
    pub slots: [Slot; SLOTS],
    /// Forks that the controller allows, one at a time: no mistake here can become many processes.
    pub forks: AtomicU32,
}

/// Where a fault in `touch` continues, and the signal it raised. Per process, as each has its own
/// copy of the static.
static RESUME: AtomicU64 = AtomicU64::new(0);
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Serves slot `at`, of which nothing was asked yet, until killed.
pub fn serve(board: &Board, mut at: usize, controller: i32) {
    catch_faults();
    die_with(controller);
    let mut seen = 0;
    loop {
        let slot = &board.slots[at];
        while slot.asked.load(Acquire) == seen {
            futex_wait(&slot.asked, seen, None);
        }
        seen = seen.wrapping_add(1);
        if slot.command.load(Relaxed) == FORK {
            // Read before: when the child comes to run, the mailbox may hold the next command.
            let child = slot.args[0].load(Relaxed) as usize;
            let asked = slot.args[1].load(Relaxed) as u32;
            let allowed = board.forks.compare_exchange(1, 0, Relaxed, Relaxed).is_ok();
            match if allowed { fork_sibling() } else { -1 } {
                0 => {
                    (at, seen) = (child, asked);
                    die_with(controller);
                    continue;
                }
                result => report(slot, result),
            }
        } else {
            carry_out(slot);
        }
        slot.answered.store(seen, Release);
        futex_wake(&slot.answered);
    }
}

/// libc's convention: -1 and errno.
fn report(slot: &Slot, result: i64) {
    // SAFETY: errno of this thread.
    let errno = if result == -1 { unsafe { *libc::__errno_location() } } else { 0 };
    slot.result.store(result, Relaxed);
    slot.error.store(errno, Relaxed);
}

fn carry_out(slot: &Slot) {
    let arg = |n: usize| slot.args[n].load(Relaxed);
    if slot.command.load(Relaxed) == SYSCALL {
        // SAFETY: the controller asks for system calls that change memory of the arena, which no
        // Rust object lies in, or none.
        let result =
            unsafe { libc::syscall(arg(0) as i64, arg(1), arg(2), arg(3), arg(4), arg(5), arg(6)) };
        report(slot, result);
        return;
    }
    let write = slot.command.load(Relaxed) == WRITE;
    // What the worker itself touches, its code included, must not fault while faults are counted:
    // the very same code first, on a page that is its own.
    (0..arg(1)).for_each(|page| slot.values[page as usize % VALUES].store(0, Relaxed));
    let own = slot.values.as_ptr() as u64;
    for write in [false, true] {
        touch_all(slot, own, black_box(1), black_box(write), 0);
    }
    let (done, faults) = touch_all(slot, arg(0), arg(1), write, arg(2));
    slot.faults.store(faults, Relaxed);
    slot.result.store(done as i64, Relaxed);
    slot.error.store(SIGNAL.load(Relaxed), Relaxed);
}

/// Touches pages up to the first that raises a signal: how many, and the faults taken.
#[inline(never)]
fn touch_all(slot: &Slot, at: u64, pages: u64, write: bool, first: u64) -> (u64, u64) {
    SIGNAL.store(0, Relaxed);
    RESUME.store(0, Relaxed);
    let before = faults();
    let mut done = 0;
    while done < pages {
        let mut value = first.wrapping_add(done);
        if !touch(at + done * PAGE as u64, write, &mut value) {
            break;
        }
        if !write {
            slot.values[done as usize % VALUES].store(value, Relaxed);
        }
        done += 1;
    }
    (done, faults().wrapping_sub(before))
}

/// Reads or writes one word at an address that may not be mapped. False: that raised a signal.
fn touch(at: u64, write: bool, value: &mut u64) -> bool {
    let mut ok: u64 = 0;
    // SAFETY: `at` lies in the arena, in which no Rust object lies, or is an atomic of the mailbox. If the access faults, the
    // handler goes on at the last label, where `ok` is still 0.
    unsafe {
        asm!(
            "lea {scratch}, [rip + 4f]",
            "mov qword ptr [{resume}], {scratch}",
            "test {write:l}, {write:l}",
            "jnz 2f",
            "mov {value}, qword ptr [{at}]",
            "jmp 3f",
            "2:",
            "mov qword ptr [{at}], {value}",
            "3:",
            "mov {ok:e}, 1",
            "4:",
            scratch = out(reg) _,
            resume = in(reg) RESUME.as_ptr(),
            write = in(reg) u64::from(write),
            value = inout(reg) *value,
            at = in(reg) at,
            ok = inout(reg) ok,
        );
    }
    ok != 0
}

extern "C" fn on_fault(signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    SIGNAL.store(signal, Relaxed);
    // SAFETY: the kernel passes a ucontext to an SA_SIGINFO handler.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let resume = RESUME.swap(0, Relaxed) as i64;
    if resume == 0 {
        // A fault of the worker itself: nothing to go on with.
        // SAFETY: ends the process.
        unsafe { libc::_exit(99) }
    }
    context.uc_mcontext.gregs[libc::REG_RIP as usize] = resume;
}

fn catch_faults() {
    // SAFETY: a plain struct for which zero is valid, and a handler that does what handlers may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
        libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
    }
}

/// The parent-death signal is not inherited: each worker asks for its own.
fn die_with(controller: i32) {
    // SAFETY: no memory is involved.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != controller {
            libc::_exit(0);
        }
    }
}

/// fork whose child is the controller's, so that the controller can wait for its end: -1, 0 in
/// the child, or its pid.
fn fork_sibling() -> i64 {
    // SAFETY: a fork; the worker has one thread and holds no lock.
    unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) }
}

fn faults() -> u64 {
    // SAFETY: a plain struct that the call fills.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        (usage.ru_minflt + usage.ru_majflt) as u64
    }
}
