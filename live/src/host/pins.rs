//! What holds pages beyond an mm's life: io_uring registered buffers (FOLL_PIN | FOLL_LONGTERM)
//! and pipes (FOLL_GET). The controller makes them before any worker, so that every worker
//! inherits them and a reference can outlive the mm it came from.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use io_uring::{IoUring, opcode, types};

use super::sys::{self, PAGE};

/// Most pages of a `get`: slots of a pipe.
pub const GET_PAGES: u16 = 256;

/// One FOLL_PIN handle at a time.
pub struct Ring {
    ring: IoUring,
    /// Address and pages of what is registered.
    held: Option<(u64, u32)>,
}

impl Ring {
    pub fn new() -> io::Result<Ring> {
        Ok(Ring { ring: IoUring::new(4)?, held: None })
    }

    pub fn fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// A worker registered these pages.
    pub fn registered(&mut self, at: u64, pages: u32) {
        self.held = Some((at, pages));
    }

    /// `unpin`: the number of pages.
    pub fn release(&mut self) -> io::Result<u32> {
        let Some((_, pages)) = self.held.take() else { return Ok(0) };
        self.ring.submitter().unregister_buffers()?;
        Ok(pages)
    }

    /// What a device would read: the first word of each page.
    pub fn peek(&mut self, pipe: &mut Pipe) -> io::Result<Vec<u64>> {
        let (at, pages) = self.held.unwrap_or_default();
        let mut values = Vec::with_capacity(pages as usize);
        for page in 0..u64::from(pages) {
            let from = (at + page * PAGE as u64) as *const u8;
            let entry =
                opcode::WriteFixed::new(types::Fd(pipe.write.as_raw_fd()), from, 8, 0).build();
            self.submit(&entry)?;
            self.ring.submit_and_wait(1)?;
            let result = self.ring.completion().next().map_or(-libc::EIO, |entry| entry.result());
            if result != 8 {
                return Err(io::Error::from_raw_os_error(-result.min(-1)));
            }
            let mut word = [0; 8];
            pipe.read.read_exact(&mut word)?;
            values.push(u64::from_ne_bytes(word));
        }
        Ok(values)
    }

    #[allow(unsafe_code, reason = "the crate's way to queue an operation")]
    fn submit(&mut self, entry: &io_uring::squeue::Entry) -> io::Result<()> {
        // SAFETY: the operation reads a buffer that the kernel itself holds pinned.
        unsafe { self.ring.submission().push(entry) }.map_err(io::Error::other)
    }
}

/// One FOLL_GET handle at a time.
pub struct Pipe {
    read: File,
    write: OwnedFd,
    pages: u32,
}

impl Pipe {
    pub fn new() -> io::Result<Pipe> {
        let (read, write) = sys::pipe(usize::from(GET_PAGES))?;
        Ok(Pipe { read: read.into(), write, pages: 0 })
    }

    pub fn fd(&self) -> RawFd {
        self.write.as_raw_fd()
    }

    /// A worker spliced these pages into it.
    pub fn filled(&mut self, pages: u32) {
        self.pages = pages;
    }

    /// `put`: the number of pages.
    pub fn release(&mut self) -> io::Result<u32> {
        let mut page = [0; PAGE];
        for _ in 0..self.pages {
            self.read.read_exact(&mut page)?;
        }
        Ok(std::mem::take(&mut self.pages))
    }

    /// The first word of each page, by way of a second pipe.
    pub fn peek(&mut self, other: &mut Pipe) -> io::Result<Vec<u64>> {
        let bytes = self.pages as usize * PAGE;
        let source = OwnedFd::from(self.read.try_clone()?);
        if bytes > 0 && sys::tee(&source, &other.write, bytes)? != bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut values = Vec::with_capacity(self.pages as usize);
        let mut page = [0; PAGE];
        for _ in 0..self.pages {
            other.read.read_exact(&mut page)?;
            values.push(u64::from_ne_bytes(page[..8].try_into().unwrap_or_default()));
        }
        Ok(values)
    }
}
