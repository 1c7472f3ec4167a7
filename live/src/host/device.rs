//! The two devices of the guest's driver (`live/guest/mmoracle_device.c`): what a driver of such a
//! device does to an mm is asked for by the worker of that mm, what it does to its own memory by
//! the controller.
#![allow(unsafe_code, reason = "ioctls of a driver of our own; every block says why")]

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use program::{Call, Device, Direction, MmId, Op, Request, Span, written};

use super::Host;
use super::driver::Driver;
use super::ops::{bytes, must};
use crate::witness::{Broken, Context, Reply};

/// Device migrations that a program may open.
pub const MIGRATIONS: usize = 16;

/// A command of the driver: an ioctl number of `struct mmo_ask`.
const fn command(number: u64) -> u64 {
    0xC028_4D00 | number
}

const SETUP: u64 = command(16);
const RANGE: u64 = command(17);
const PAGES: u64 = command(18);
const FINALIZE: u64 = command(19);
const MIGRATE: u64 = command(20);
const EVICT: u64 = command(21);
const READ: u64 = command(22);
const WRITE: u64 = command(23);
const HMM: u64 = command(24);
const EXCLUSIVE: u64 = command(25);
const MIRROR: u64 = command(26);
const RESET: u64 = command(27);

/// `struct mmo_ask`, for the controller.
#[repr(C)]
#[derive(Default)]
struct Ask {
    at: u64,
    count: u32,
    device: u32,
    flags: u64,
    out: u64,
    done: u64,
}

impl Host {
    pub(super) fn device(&mut self, call: Call<'_>) -> Result<Reply, Broken> {
        let span = |range| call.layout.span(range);
        let to_system = |to| u64::from(to == Direction::ToSystem);
        match call.step.op {
            Op::MigrateVmaSetup { mm, range, migration, device, select, .. } => {
                let fd = self.opens[usize::from(migration.0)].fd() as u64;
                self.ask_worker(mm, SETUP, fd, span(range), device, select.0.into())
            }
            Op::MigrateDeviceRange { migration, device } => {
                let ask = Ask { device: device as u32, ..Ask::default() };
                done(ask_here(&self.opens[usize::from(migration.0)], RANGE, ask))
            }
            Op::MigrateVmaPages { migration, to } => {
                let ask = Ask { flags: to_system(to), ..Ask::default() };
                done(ask_here(&self.opens[usize::from(migration.0)], PAGES, ask))
            }
            Op::MigrateVmaFinalize { migration } => {
                let open = &self.opens[usize::from(migration.0)];
                done(ask_here(open, FINALIZE, Ask::default()))
            }
            Op::DeviceEvict { device, .. } => {
                let Some(driver) = &self.driver else { return Ok(Reply::default()) };
                let ask = Ask { device: device as u32, ..Ask::default() };
                done(ask_here(driver, EVICT, ask))
            }
            Op::DeviceMigrate { mm, range, device, to } => {
                self.ask_driver(mm, MIGRATE, span(range), device, to_system(to))
            }
            Op::DeviceRead { mm, range, device } => {
                self.ask_driver(mm, READ, span(range), device, 0)
            }
            Op::DeviceWrite { mm, range, device } => {
                self.ask_driver(mm, WRITE, span(range), device, written(call.number, 0))
            }
            Op::HmmRangeFault { mm, range, device, request, odd } => {
                let want = match request {
                    Request::Nothing => 0,
                    Request::Fault => 1,
                    Request::Write => 3,
                };
                self.ask_driver(mm, HMM, span(range), device, want | u64::from(odd) << 2)
            }
            Op::MakeDeviceExclusive { mm, range, device } => {
                self.ask_driver(mm, EXCLUSIVE, span(range), device, 0)
            }
            _ => Ok(Reply::default()),
        }
    }

    fn ask_driver(
        &self,
        mm: MmId,
        command: u64,
        span: Span,
        device: Device,
        flags: u64,
    ) -> Result<Reply, Broken> {
        self.ask_worker(mm, command, self.driver_fd(), span, device, flags)
    }

    /// The worker asks; the values that the driver writes lie in its mailbox.
    fn ask_worker(
        &self,
        mm: MmId,
        command: u64,
        fd: u64,
        span: Span,
        device: Device,
        flags: u64,
    ) -> Result<Reply, Broken> {
        let slot = &self.board.get().slots[usize::from(mm.0)];
        let count = u64::from(span.end - span.start);
        let out = slot.values.as_ptr() as u64;
        let ask = self.mailbox(mm, &[bytes(span).0, count | (device as u64) << 32, flags, out, 0]);
        let result = self.syscall(mm, libc::SYS_ioctl, &[fd, command, ask])?;
        let done = slot.words[4].load(Relaxed) as usize;
        let values = slot.values[..done].iter().map(|value| value.load(Relaxed)).collect();
        let ret = Some(result.map(|count| count as u32));
        Ok(Reply { ret, data: Some(values), ..Reply::default() })
    }

    /// Gives the devices page tables for an mm.
    pub(super) fn mirror(&self, mm: MmId) -> Result<(), Broken> {
        for device in Device::ALL.into_iter().filter(|device| self.devices[*device as usize]) {
            let ask = self.mailbox(mm, &[0, (device as u64) << 32, 0, 0, 0]);
            let args = [self.driver_fd(), MIRROR, ask];
            must("mirror", self.syscall(mm, libc::SYS_ioctl, &args)?)?;
        }
        Ok(())
    }

    /// Takes all of them away.
    pub(super) fn forget_mirrors(&self) -> Result<(), Broken> {
        match &self.driver {
            Some(driver) if self.devices != [false; 2] => {
                ask_here(driver, RESET, Ask::default()).during("reset of the devices").map(drop)
            }
            _ => Ok(()),
        }
    }

    /// To be done before an mm ends, whose mmap_lock an open migration holds.
    pub(super) fn finalize_all(&self) {
        if self.devices != [false; 2] {
            self.opens.iter().for_each(|open| drop(ask_here(open, FINALIZE, Ask::default())));
        }
    }

    /// Which devices there are: one that is not says so when it is asked for its pages.
    pub(super) fn devices_there(&self) -> [bool; 2] {
        let Some(driver) = &self.driver else { return [false; 2] };
        let ask = |device| Ask { device: device as u32, ..Ask::default() };
        Device::ALL.map(|device| ask_here(driver, EVICT, ask(device)).is_ok())
    }
}

fn done(result: io::Result<u32>) -> Result<Reply, Broken> {
    let ret = result.map_err(|error| error.raw_os_error().unwrap_or(0));
    Ok(Reply { ret: Some(ret), data: Some(Vec::new()), ..Reply::default() })
}

fn ask_here(driver: &Driver, command: u64, mut ask: Ask) -> io::Result<u32> {
    // SAFETY: `struct mmo_ask` has the same layout there; without `out` nothing but it is written.
    let result = unsafe { libc::ioctl(driver.fd(), command as libc::Ioctl, &mut ask) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as u32) }
}
