//! What an operation returned.

/// Error numbers and signals that operations return.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of errno(3) and signal(7)")]
pub enum Errno {
    EFAULT,
    ENOMEM,
    EAGAIN,
    EBUSY,
    EINVAL,
    ENOENT,
    EEXIST,
    EPERM,
    /// The task was killed.
    EINTR,
    /// The access raised SIGSEGV.
    SIGSEGV,
    /// The access raised SIGBUS.
    SIGBUS,
}

/// An operation's return value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Ret {
    /// The operation's object does not exist (an earlier op failed to make it): nothing was done.
    #[default]
    Void,
    /// Success; a count of pages where the operation counts, else 0.
    Ok(u32),
    /// Failure.
    Err(Errno),
    /// The operation would sleep on a lock that the program itself holds: nothing was done.
    WouldBlock,
}

/// Everything an operation tells its caller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// The return value.
    pub ret: Ret,
    /// Values read, in order (`read`, `peek`).
    pub data: Vec<u64>,
}
