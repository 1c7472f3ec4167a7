//! The reference's state against what was seen of the kernel's.

use std::collections::BTreeSet;

use lockstep::{FieldDiff, FolioField, MmField, Value, What};
use program::{
    EntryKind, EntryView, Errno, FolioView, HandleId, MmId, MmView, Name, ObjectId, Op, Outcome,
    PageRef, Ret, Snapshot, Step, Uffd, VmaFlags, VmaView,
};

use crate::frames::Frames;
use crate::witness::{EntrySight, Frame, MmSight, Observation, PageSight, Reply};

/// Differences, and how much was compared.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What differs; the kernel's value is in the place of the optimised side's.
    pub fields: Vec<FieldDiff>,
    /// Entries and pages that both sides were asked about.
    pub compared: u64,
    /// Folios of regular files, whose dirtiness is tracked.
    regular: BTreeSet<Name>,
}

impl Comparison {
    fn check<T: PartialEq>(
        &mut self,
        what: What,
        reference: T,
        kernel: Option<T>,
        value: impl Fn(T) -> Value,
    ) {
        let Some(kernel) = kernel else { return };
        if reference != kernel {
            self.push(what, value(reference), value(kernel));
        }
    }

    /// Whether locks differ, and nothing else.
    pub fn is_of_locks(&self) -> bool {
        let of_lock = |field: &FieldDiff| matches!(field.what, What::Folio(_, FolioField::Locked));
        !self.fields.is_empty() && self.fields.iter().all(of_lock)
    }

    fn push(&mut self, what: What, reference: Value, optimized: Value) {
        self.fields.push(FieldDiff { what, reference, optimized });
    }

    /// What the step returned. `before`: the reference's state before it.
    pub fn reply(&mut self, step: &Step, outcome: &Outcome, reply: &Reply, before: &Snapshot) {
        match (&reply.ret, step.op) {
            (Some(ret), _) => {
                let same = match (outcome.ret, ret) {
                    (Ret::Ok(mine), Ok(theirs)) => mine == *theirs,
                    (Ret::Err(mine), Err(theirs)) => number(mine) == *theirs,
                    _ => false,
                };
                if !same {
                    let theirs = match ret {
                        Ok(count) => Value::Ret(Ret::Ok(*count)),
                        Err(error) => Value::Text(error_name(*error)),
                    };
                    self.push(What::Return, Value::Ret(outcome.ret), theirs);
                }
            }
            // All or nothing: the kernel gave back what it had.
            (None, Op::Gup { range, .. }) if outcome.ret == Ret::Ok(range.len.into()) => {
                let theirs = Value::Text("not all of it".to_owned());
                self.push(What::Return, Value::Ret(outcome.ret), theirs);
            }
            (None, _) => {}
        }
        let data = reply.data.as_deref().unwrap_or(&outcome.data);
        for at in 0..outcome.data.len().max(data.len()) {
            let value = |data: &[u64]| data.get(at).map_or(Value::Absent, |&v| Value::Data(v));
            if outcome.data.get(at) != data.get(at) {
                self.push(What::Data(at), value(&outcome.data), value(data));
            }
        }
        self.faults(step, outcome, reply, before);
    }

    /// An access faults if and only if the entry did not permit it: this shows the write bit.
    fn faults(&mut self, step: &Step, outcome: &Outcome, reply: &Reply, before: &Snapshot) {
        let (Some(faults), Ret::Ok(_)) = (reply.faults, outcome.ret) else { return };
        let (mm, range, write) = match step.op {
            Op::Read { mm, range } => (mm, range, false),
            Op::Write { mm, range } => (mm, range, true),
            _ => return,
        };
        let Some(view) = before.mms.get(&mm) else { return };
        let span = reply.span.unwrap_or_default();
        let permits = |vpn: u32| {
            let entry = entry_at(view, vpn, reply.ptes);
            entry.is_some_and(|entry| entry.read && (entry.write || !write))
        };
        let denied = (span.start..span.end).filter(|&vpn| !permits(vpn)).count();
        // What comes back from a device may have to be copied then.
        let away = |vpn| {
            entry_at(view, vpn, reply.ptes).is_some_and(|entry| entry.kind != EntryKind::Present)
        };
        let many = range.len == 1 && faults > 1 && !away(span.start);
        if (denied > 0) != (faults > 0) || many {
            let text = |count: u64| Value::Text(format!("{count} page faults"));
            self.push(What::Mm(mm, MmField::Entry(span.start)), text(denied as u64), text(faults));
        }
    }

    /// The state after the step. `before`: the reference's before it. `moved`: whether the step
    /// gives folios new names and leaves them where they are.
    pub fn state(
        &mut self,
        before: &Snapshot,
        after: &Snapshot,
        seen: &Observation,
        frames: &mut Frames,
        renames: bool,
        ptes: u32,
    ) {
        frames.begin();
        self.regular = after
            .cache
            .iter()
            .filter(|((object, _), _)| matches!(object, ObjectId::File(_)))
            .map(|(_, name)| *name)
            .collect();
        let ids: BTreeSet<MmId> = after.mms.keys().chain(seen.mms.keys()).copied().collect();
        for id in ids {
            let (Some(mine), Some(theirs)) = (after.mms.get(&id), seen.mms.get(&id)) else {
                let exists = |side: bool| Value::Flag(side);
                let (mine, theirs) = (after.mms.contains_key(&id), seen.mms.contains_key(&id));
                self.push(What::Mm(id, MmField::Exists), exists(mine), exists(theirs));
                continue;
            };
            let old = before.mms.get(&id).filter(|_| !renames);
            self.mm(id, old, mine, theirs, frames, ptes);
        }
        for (id, pages) in &seen.handles {
            self.handle(*id, after, pages, frames);
        }
        for (&name, folio) in &after.folios {
            for sub in 0..1 << folio.order {
                let Some(frame) = frames.of(name, sub) else { continue };
                let Some(page) = seen.pages.get(&Frame::Page(frame)) else { continue };
                self.page(name, sub, folio, page);
            }
        }
        frames.end(after);
        self.fields.sort_by_key(FieldDiff::class);
    }

    fn mm(
        &mut self,
        id: MmId,
        old: Option<&MmView>,
        mine: &MmView,
        theirs: &MmSight,
        frames: &mut Frames,
        ptes: u32,
    ) {
        let expected = entries(mine, ptes);
        let mut seen = theirs.entries.iter().peekable();
        let absent = |sight: &EntrySight| Value::Text(sight_text(sight));
        for (vpn, entry, huge) in expected {
            while let Some((&extra, sight)) = seen.next_if(|(at, _)| **at < vpn) {
                self.push(What::Mm(id, MmField::Entry(extra)), Value::Absent, absent(sight));
            }
            let what = What::Mm(id, MmField::Entry(vpn));
            let Some((_, sight)) = seen.next_if(|(at, _)| **at == vpn) else {
                self.push(what, Value::Entry(entry), Value::Absent);
                continue;
            };
            self.compared += 1;
            let gone = old.and_then(|old| entry_at(old, vpn, ptes)).and_then(|old| {
                let PageRef::Of(name, sub) = old.page else { return None };
                if old.page == entry.page { None } else { frames.of(name, sub) }
            });
            let same_page = match (entry.page, sight.frame) {
                (PageRef::Zero, Frame::Zero) => true,
                (PageRef::Of(name, sub), Frame::Page(frame)) => {
                    frames.agree(name, sub, frame) && gone != Some(frame)
                }
                _ => false,
            };
            // Dirtiness is tracked for regular files only (decision 9).
            let tracked =
                matches!(entry.page, PageRef::Of(name, _) if self.regular.contains(&name));
            let bits = sight.write.is_none_or(|write| write == entry.write)
                && sight.dirty.is_none_or(|dirty| !tracked || dirty == entry.dirty);
            if !same_page || !bits || huge != sight.huge || entry.kind != sight.kind {
                self.push(what, Value::Entry(entry), absent(sight));
            }
        }
        for (&extra, sight) in seen {
            self.push(What::Mm(id, MmField::Entry(extra)), Value::Absent, absent(sight));
        }
        if let Some(theirs) = &theirs.vmas {
            self.vmas(id, mine, theirs);
        }
    }

    /// The pages of a handle.
    fn handle(&mut self, id: HandleId, after: &Snapshot, theirs: &[Frame], frames: &mut Frames) {
        let none = Vec::new();
        let mine = after.handles.get(&id).unwrap_or(&none);
        let same = |(page, frame): (&PageRef, &Frame)| match (*page, *frame) {
            (PageRef::Zero, Frame::Zero) => true,
            (PageRef::Of(name, sub), Frame::Page(frame)) => frames.agree(name, sub, frame),
            _ => false,
        };
        if mine.len() != theirs.len() || !mine.iter().zip(theirs).all(same) {
            let list: Vec<String> = theirs.iter().map(|frame| frame_text(*frame)).collect();
            let theirs = Value::Text(list.join(" "));
            self.push(What::Handle(id), Value::Pages(mine.clone()), theirs);
        }
        self.compared += mine.len() as u64;
    }

    /// Ranges and flags of VMAs. The kernel's text does not tell which object is which.
    fn vmas(&mut self, id: MmId, mine: &MmView, theirs: &[VmaView]) {
        let mut merged: Vec<VmaView> = Vec::new();
        for vma in &mine.vmas {
            let vma =
                VmaView { flags: VmaFlags { object: None, uffd: Uffd::None, ..vma.flags }, ..*vma };
            match merged.last_mut() {
                Some(last) if last.end == vma.start && last.flags == vma.flags => {
                    last.end = vma.end;
                }
                _ => merged.push(vma),
            }
        }
        for at in 0..merged.len().max(theirs.len()) {
            let (mine, theirs) = (merged.get(at), theirs.get(at));
            if mine != theirs {
                let start = mine.or(theirs).map_or(0, |vma| vma.start);
                let value = |vma: Option<&VmaView>| vma.map_or(Value::Absent, |v| Value::Vma(*v));
                self.push(What::Mm(id, MmField::Vma(start)), value(mine), value(theirs));
                return;
            }
        }
        self.compared += merged.len() as u64;
    }

    fn page(&mut self, name: Name, sub: u32, folio: &FolioView, page: &PageSight) {
        self.compared += 1;
        let what = |field| What::Folio(name, field);
        let count = |n: u32| Value::Count(i64::from(n));
        let at = sub as usize;
        let mapcount = folio.entire_mapcount + folio.mapcount.get(at).copied().unwrap_or(0);
        self.check(what(FolioField::Mapcount(sub)), mapcount, page.mapcount, count);
        self.check(what(FolioField::Anon), folio.anon, page.anon, Value::Flag);
        // Under a huge PMD only the first page's bit means anything.
        let meant = sub == 0 || (page.exact && folio.entire_mapcount == 0);
        if meant && folio.anon {
            let exclusive = what(FolioField::Exclusive(sub));
            self.check(exclusive, folio.exclusive[at], page.exclusive, Value::Flag);
        }
        let large = page.large.map(u32::from);
        self.check(what(FolioField::Order), u32::from(folio.order > 0), large, count);
        let locked = folio.locked.is_some();
        self.check(what(FolioField::Locked), locked, page.locked, Value::Flag);
        self.check(what(FolioField::Lru), folio.lru, page.lru, Value::Flag);
        if self.regular.contains(&name) {
            self.check(what(FolioField::Dirty), folio.dirty, page.dirty, Value::Flag);
        }
        self.check(what(FolioField::Refcount), folio.refcount, page.refcount, Value::Count);
        self.check(what(FolioField::Pincount), folio.pincount, page.pincount, count);
        self.check(what(FolioField::Place), folio.place, page.place, Value::Place);
        self.check(what(FolioField::Data(sub)), folio.data[at], page.data, Value::Data);
    }
}

/// Every page that is mapped, in order, and whether by a huge PMD.
fn entries(mm: &MmView, ptes: u32) -> Vec<(u32, EntryView, bool)> {
    let mut all: Vec<_> = mm.entries.iter().map(|(&vpn, &entry)| (vpn, entry, false)).collect();
    for (&pmd, &entry) in &mm.huge {
        all.extend((0..ptes).map(|sub| (pmd * ptes + sub, of_huge(entry, sub), true)));
    }
    all.sort_unstable_by_key(|(vpn, ..)| *vpn);
    all
}

fn of_huge(entry: EntryView, sub: u32) -> EntryView {
    match entry.page {
        PageRef::Of(name, _) => EntryView { page: PageRef::Of(name, sub), ..entry },
        PageRef::Zero => entry,
    }
}

/// What maps a page.
pub fn entry_at(mm: &MmView, vpn: u32, ptes: u32) -> Option<EntryView> {
    let huge = mm.huge.get(&(vpn / ptes)).map(|&entry| of_huge(entry, vpn % ptes));
    huge.or_else(|| mm.entries.get(&vpn).copied())
}

fn sight_text(sight: &EntrySight) -> String {
    let frame = frame_text(sight.frame);
    let bit = |bit: Option<bool>, name: &'static str| if bit == Some(true) { name } else { "" };
    let (write, dirty) = (bit(sight.write, " w"), bit(sight.dirty, " dirty"));
    let kind = match sight.kind {
        EntryKind::Present => "",
        EntryKind::Migration { exclusive: false } => " migration",
        EntryKind::Migration { exclusive: true } => " migration, exclusive",
        EntryKind::DevicePrivate => " device-private",
        EntryKind::DeviceExclusive => " device-exclusive",
    };
    format!("{frame}{}{kind}{write}{dirty}", if sight.huge { " huge" } else { "" })
}

fn frame_text(frame: Frame) -> String {
    match frame {
        Frame::Zero => "zero".to_owned(),
        Frame::Page(frame) => format!("frame {frame:x}"),
    }
}

/// errno(3) on x86; signals are negative.
fn number(errno: Errno) -> i32 {
    match errno {
        Errno::EPERM => 1,
        Errno::ENOENT => 2,
        Errno::EAGAIN => 11,
        Errno::ENOMEM => 12,
        Errno::EFAULT => 14,
        Errno::EBUSY => 16,
        Errno::EINTR => 4,
        Errno::EEXIST => 17,
        Errno::EINVAL => 22,
        Errno::SIGBUS => -7,
        Errno::SIGSEGV => -11,
    }
}

fn error_name(error: i32) -> String {
    match error {
        -7 => "SIGBUS".to_owned(),
        -11 => "SIGSEGV".to_owned(),
        _ => std::io::Error::from_raw_os_error(error).to_string(),
    }
}
