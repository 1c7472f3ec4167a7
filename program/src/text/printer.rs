//! Program to text: the canonical form.

use std::fmt::{self, Display, Formatter};

use crate::expect::{Expect, Field, Target};
use crate::hmm;
use crate::op::{
    Backing, Device, Entry, Fail, Foll, Form, MmId, Mode, Op, Prot, Range, Report, Request, Step,
};
use crate::outcome::Ret;
use crate::program::Program;
use crate::schedule::{Schedule, Slice};
use crate::shape::{Faults, Place, Shape};
use crate::text::words::{
    ADVICE, DEVICES, DIRECTIONS, ENTRIES, ERRNOS, FAULTS, PLACES, PREEMPTS, PROTS, SELECTS, SITES,
    THPS, UFFDIOS, ZONES, word,
};

/// Schedules are broken into lines of at most so many columns.
const COLUMNS: usize = 100;

impl Display for Program {
    /// Sequential programs are a plain list of operations; others have sections.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.shape)?;
        let sections = self.phases.iter().any(|phase| phase.steps.len() > 1);
        let indent = if sections { "  " } else { "" };
        let (mut number, mut in_list) = (0, false);
        self.write_expects(f, number, indent)?;
        for (position, phase) in self.phases.iter().enumerate() {
            let concurrent = phase.steps.len() > 1;
            if concurrent {
                writeln!(f, "phase:")?;
            } else if sections && !in_list {
                writeln!(f, "{}", if position == 0 { "setup:" } else { "then:" })?;
            }
            in_list = !concurrent;
            for step in &phase.steps {
                writeln!(f, "{indent}{}", StepLine(step, concurrent))?;
            }
            number += phase.steps.len();
            self.write_expects(f, number, indent)?;
        }
        for line in schedule_lines(&self.schedule) {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl Program {
    fn write_expects(&self, f: &mut Formatter<'_>, after: usize, indent: &str) -> fmt::Result {
        for expect in self.expects.iter().filter(|expect| expect.after == after) {
            writeln!(f, "{indent}{expect}")?;
        }
        Ok(())
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [normal, movable, cma, device, coherent] = self.pages;
        write!(f, "machine cpus={} preempt={}", self.cpus, word(PREEMPTS, self.preempt))?;
        write!(f, " ptes={} normal={normal} movable={movable} cma={cma}", self.ptes)?;
        if self.has_device() {
            write!(f, " device={device} coherent={coherent}")?;
        }
        write!(f, " batch={} thp={}", self.batch, word(THPS, self.thp))?;
        match self.faults {
            Faults::Classic => Ok(()),
            faults => write!(f, " faults={}", word(FAULTS, faults)),
        }
    }
}

impl Display for Step {
    /// As on a line of its own: the CPU is omitted when it is CPU 0.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        StepLine(self, false).fmt(f)
    }
}

/// A step, and whether its CPU is stated even when it is CPU 0.
pub struct StepLine<'a>(pub &'a Step, pub bool);

impl Display for StepLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let StepLine(&Step { cpu, op, place, fail }, with_cpu) = *self;
        if with_cpu || cpu != 0 {
            write!(f, "cpu{cpu}: ")?;
        }
        write!(f, "{op}")?;
        if place != Place::Normal {
            write!(f, " place={}", word(PLACES, place))?;
        }
        match fail {
            Some(Fail { site, nth }) => write!(f, " fail={}#{nth}", word(SITES, site)),
            None => Ok(()),
        }
    }
}

/// ` mm1`, or nothing for the usual `mm0`.
struct InMm(MmId);

impl Display for InMm {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.0 == 0 { Ok(()) } else { write!(f, " mm{}", self.0.0) }
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.area.0)?;
        if self.off != 0 {
            write!(f, "+{}", self.off)?;
        }
        if self.len != 1 { write!(f, " len={}", self.len) } else { Ok(()) }
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Op::Nop => write!(f, "nop"),
            Op::Mmap { mm, area, backing, prot, len, shift } => {
                write!(f, "m{} = mmap{} len={len}", area.0, InMm(mm))?;
                write_backing(f, prot, backing)?;
                write_shift(f, shift)
            }
            Op::Munmap { mm, range } => write!(f, "munmap{} {range}", InMm(mm)),
            Op::Mprotect { mm, range, prot } => {
                write!(f, "mprotect{} {range} {}", InMm(mm), word(PROTS, prot))
            }
            Op::Mremap { mm, range, area, shift } => {
                write!(f, "m{} = mremap{} {range}", area.0, InMm(mm))?;
                write_shift(f, shift)
            }
            Op::Madvise { mm, range, advice } => {
                write!(f, "madvise{} {range} {}", InMm(mm), word(ADVICE, advice))
            }
            Op::Uffd { mm, range, uffdio } => {
                write!(f, "uffd{} {range} {}", InMm(mm), word(UFFDIOS, uffdio))
            }
            Op::Read { mm, range } => write!(f, "read{} {range}", InMm(mm)),
            Op::Write { mm, range } => write!(f, "write{} {range}", InMm(mm)),
            Op::Fork { mm, child } => write!(f, "mm{} = fork{}", child.0, InMm(mm)),
            Op::Exit { mm } => write!(f, "exit mm{}", mm.0),
            Op::Gup { mm, range, handle, entry, foll, write, longterm, form } => {
                let name = if foll == Foll::Get { "get" } else { "pin" };
                write!(f, "h{} = {name}{} {range}", handle.0, InMm(mm))?;
                flag(f, write, "write")?;
                flag(f, entry == Entry::Fast, "fast")?;
                flag(f, entry == Entry::FastOnly, "fast_only")?;
                flag(f, longterm, "longterm")?;
                flag(f, form == Form::Range, "ranges")
            }
            Op::Walk { mm, range, write, report } => {
                write!(f, "walk{} {range}", InMm(mm))?;
                flag(f, write, "write")?;
                flag(f, report == Report::Pfns, "pfns")
            }
            Op::Put { handle } => write!(f, "put h{}", handle.0),
            Op::Unpin { handle, also, form, dirty, hole } => {
                write!(f, "unpin h{}", handle.0)?;
                if let Some(also) = also {
                    write!(f, " h{}", also.0)?;
                }
                flag(f, form == Form::Range, "range")?;
                flag(f, dirty, "dirty")?;
                flag(f, hole, "hole")
            }
            Op::Peek { handle } => write!(f, "peek h{}", handle.0),
            Op::LruAddDrain => write!(f, "lru_add_drain"),
            Op::LruAddDrainAll => write!(f, "lru_add_drain_all"),
            Op::SplitFolio { mm, range } => write!(f, "split_folio{} {range}", InMm(mm)),
            Op::Migrate { mm, range, mode } => {
                write!(f, "migrate{} {range}", InMm(mm))?;
                flag(f, mode == Mode::Sync, "sync")
            }
            Op::Offline { place } => write!(f, "offline {}", word(PLACES, place)),
            Op::LockPage { mm, range, lock, task } => {
                write!(f, "l{} = lock_page{} {range} task=t{}", lock.0, InMm(mm), task.0)
            }
            Op::UnlockPage { lock } => write!(f, "unlock_page l{}", lock.0),
            Op::MigrateVmaSetup { mm, range, migration, device, select, fault } => {
                write!(f, "v{} = migrate_vma_setup{} {range}", migration.0, InMm(mm))?;
                write_device(f, device)?;
                for &(name, bit) in SELECTS {
                    flag(f, select.has(bit), name)?;
                }
                flag(f, fault, "fault")
            }
            Op::MigrateDeviceRange { migration, device } => {
                write!(f, "v{} = migrate_device_range", migration.0)?;
                write_device(f, device)
            }
            Op::MigrateVmaPages { migration, to } => {
                write!(f, "migrate_vma_pages v{} {}", migration.0, word(DIRECTIONS, to))
            }
            Op::MigrateVmaFinalize { migration } => {
                write!(f, "migrate_vma_finalize v{}", migration.0)
            }
            Op::DeviceMigrate { mm, range, device, to } => {
                write!(f, "migrate_{}{} {range}", word(DIRECTIONS, to), InMm(mm))?;
                write_device(f, device)
            }
            Op::DeviceEvict { device, remove } => {
                write!(f, "{}", if remove { "device_remove" } else { "device_evict" })?;
                write_device(f, device)
            }
            Op::DeviceRead { mm, range, device } => {
                write!(f, "device_read{} {range}", InMm(mm))?;
                write_device(f, device)
            }
            Op::DeviceWrite { mm, range, device } => {
                write!(f, "device_write{} {range}", InMm(mm))?;
                write_device(f, device)
            }
            Op::HmmRangeFault { mm, range, device, request, odd } => {
                write!(f, "hmm_range_fault{} {range}", InMm(mm))?;
                write_device(f, device)?;
                flag(f, request == Request::Fault, "fault")?;
                flag(f, request == Request::Write, "write")?;
                flag(f, odd, "odd")
            }
            Op::MakeDeviceExclusive { mm, range, device } => {
                write!(f, "make_device_exclusive{} {range}", InMm(mm))?;
                write_device(f, device)
            }
        }
    }
}

fn flag(f: &mut Formatter<'_>, set: bool, name: &str) -> fmt::Result {
    if set { write!(f, " {name}") } else { Ok(()) }
}

fn write_device(f: &mut Formatter<'_>, device: Device) -> fmt::Result {
    if device == Device::Private { Ok(()) } else { write!(f, " device={}", word(DEVICES, device)) }
}

fn write_shift(f: &mut Formatter<'_>, shift: u16) -> fmt::Result {
    if shift != 0 { write!(f, " shift={shift}") } else { Ok(()) }
}

fn write_backing(f: &mut Formatter<'_>, prot: Prot, backing: Backing) -> fmt::Result {
    let (sharing, file) = match backing {
        Backing::AnonPrivate => ("private", None),
        Backing::AnonShared => ("shared", None),
        Backing::FilePrivate { file, pgoff } => ("private", Some((file, pgoff))),
        Backing::FileShared { file, pgoff } => ("shared", Some((file, pgoff))),
    };
    write!(f, " {} {sharing}", word(PROTS, prot))?;
    match file {
        None => Ok(()),
        Some((file, 0)) => write!(f, " f{file}"),
        Some((file, pgoff)) => write!(f, " f{file}+{pgoff}"),
    }
}

impl Display for Expect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "expect")?;
        match self.target {
            Target::Result => {}
            Target::Page(mm, range) => write!(f, "{} {range}", InMm(mm))?,
            Target::Handle(handle, index) => write!(f, " h{}[{index}]", handle.0)?,
            Target::Out(index) => write!(f, " out[{index}]")?,
            Target::Machine => write!(f, " machine")?,
        }
        if let Some(ret) = self.ret {
            write!(f, " result={ret}")?;
        }
        for &(field, value) in &self.fields {
            write!(f, " {}=", field.word())?;
            match field {
                Field::Data => write!(f, "{}", self::value(value))?,
                Field::Entry => write!(f, "{}", word(ENTRIES, value))?,
                Field::Hmm => write!(f, "{}", hmm::text(value as u8))?,
                Field::Zone => match ZONES.get(value as usize) {
                    Some((name, _)) => write!(f, "{name}")?,
                    None => write!(f, "{value}")?,
                },
                _ => write!(f, "{value}")?,
            }
        }
        write!(f, " by {}", self.cite)
    }
}

impl Display for Ret {
    /// As after `result=`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Ret::Void => write!(f, "void"),
            Ret::Ok(count) => write!(f, "{count}"),
            Ret::Err(errno) => write!(f, "{}", word(ERRNOS, errno)),
            Ret::WouldBlock => write!(f, "would_block"),
        }
    }
}

/// A page's content as text: `0`, `STEP.PAGE` (steps from 1), `fFILE.INDEX`.
pub fn value(value: u64) -> impl Display {
    std::fmt::from_fn(move |f| match value >> 48 {
        _ if value == 0 => write!(f, "0"),
        _ if let Some(flags) = hmm::flags(value) => {
            write!(f, "{}:{}", hmm::text(flags), self::value(hmm::content(value)))
        }
        0 => write!(f, "{}.{}", value >> 16, value & 0xFFFF),
        1 => write!(f, "f{}.{}", value >> 32 & 0xFFFF, value & 0xFFFF_FFFF),
        _ => write!(f, "{value:#x}"),
    })
}

impl Display for Slice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cpu)?;
        if self.task != 0 {
            write!(f, "+{}", self.task)?;
        }
        if self.run != 1 { write!(f, "*{}", self.run) } else { Ok(()) }
    }
}

/// The word for a value of [`Field::Entry`].
pub fn entry(value: u64) -> &'static str {
    word(ENTRIES, value)
}

/// The `schedule:` lines, none for an empty schedule.
pub fn schedule_lines(schedule: &Schedule) -> Vec<String> {
    let mut words: Vec<String> = schedule.slices.iter().map(Slice::to_string).collect();
    let looped = schedule.cycle.len();
    for (position, slice) in schedule.cycle.iter().enumerate() {
        let open = if position == 0 { "(" } else { "" };
        let close = if position + 1 == looped { ")*" } else { "" };
        words.push(format!("{open}{slice}{close}"));
    }
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= COLUMNS) {
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(format!("schedule: {word}")),
        }
    }
    lines
}
