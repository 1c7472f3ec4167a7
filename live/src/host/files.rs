//! The two regular files: unnamed ones on a disk, whose pages the page cache forgets between
//! programs.

use std::env;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use program::{FILE_PAGES, FILES, on_disk};

use super::sys::{self, PAGE};

/// Both files.
#[derive(Debug)]
pub struct Files {
    files: Vec<File>,
    /// What was done with each since the last reset.
    uses: Vec<Use>,
}

/// What a mapping can have done to a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
enum Use {
    #[default]
    None,
    Cached,
    Written,
}

impl Files {
    /// In the folder for temporary files; they have no name and go with the process.
    pub fn create() -> io::Result<Files> {
        let mut files = Vec::new();
        for file in 0..FILES {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC);
            let opened = options.open(env::temp_dir())?;
            fill(&opened, file)?;
            files.push(opened);
        }
        Ok(Files { uses: vec![Use::None; files.len()], files })
    }

    /// Descriptor, the same in every worker.
    pub fn fd(&self, file: u8) -> RawFd {
        self.files[usize::from(file)].as_raw_fd()
    }

    /// It is going to be mapped.
    pub fn mapped(&mut self, file: u8, shared: bool) {
        let new = if shared { Use::Written } else { Use::Cached };
        let seen = &mut self.uses[usize::from(file)];
        *seen = new.max(*seen);
    }

    /// As on the first day: contents on disk, nothing cached. No process may map them.
    pub fn reset(&mut self) -> io::Result<()> {
        for (number, (file, seen)) in (0..).zip(self.files.iter().zip(&mut self.uses)) {
            match std::mem::take(seen) {
                Use::None => {}
                Use::Cached => sys::forget_cache(file)?,
                Use::Written => fill(file, number)?,
            }
        }
        Ok(())
    }
}

fn fill(file: &File, number: u8) -> io::Result<()> {
    let mut page = [0; PAGE];
    for index in 0..FILE_PAGES {
        page[..8].copy_from_slice(&on_disk(number, index).to_ne_bytes());
        file.write_all_at(&page, u64::from(index) * PAGE as u64)?;
    }
    file.sync_data()?;
    sys::forget_cache(file)
}
