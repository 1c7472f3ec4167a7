//! A machine driven step by step by hand-written tests.
#![allow(dead_code, reason = "each test file uses some of it")]

use program::{
    Advice, AreaId, Backing, Call, Entry, EntryView, Errno, Fail, FolioView, Foll, Form, HandleId,
    Layout, LockId, MmId, Mode, Model, Op, Outcome, PageRef, Place, Prot, Range, Ret, Shape, Site,
    Snapshot, Step, TaskId,
};
use reference::Reference;

pub const M0: MmId = MmId(0);

/// A reference and the ids that its program has used up.
pub struct Machine {
    pub reference: Reference,
    pub shape: Shape,
    pub data: Vec<u64>,
    layout: Layout,
    number: usize,
    next: [u8; 3],
    pub cpu: u8,
    pub place: Place,
    pub fail: Option<Fail>,
}

pub fn range(area: AreaId, off: u16, len: u16) -> Range {
    Range { area, off, len }
}

impl Machine {
    pub fn new(shape: Shape) -> Machine {
        let mut reference = Reference::new();
        reference.reset(&shape);
        let mut layout = Layout::default();
        layout.reset(&shape);
        let (data, next) = (Vec::new(), [1, 0, 0]);
        let (cpu, place, fail) = (0, Place::Normal, None);
        Machine { reference, shape, data, layout, number: 0, next, cpu, place, fail }
    }

    /// No huge pages, batches of 3.
    pub fn small() -> Machine {
        Machine::new(Shape { thp: program::Thp::Never, ..Shape::default() })
    }

    /// Carries out one step; a `fail` set before is used up.
    pub fn op(&mut self, op: Op) -> Ret {
        let step = Step { cpu: self.cpu, op, place: self.place, fail: self.fail.take() };
        let mut out = Outcome::default();
        let call = Call { number: self.number, step: &step, layout: &self.layout };
        self.reference.step(call, &mut out);
        self.number += 1;
        self.data = out.data;
        out.ret
    }

    pub fn failing(&mut self, site: Site, nth: u8) -> &mut Machine {
        self.fail = Some(Fail { site, nth });
        self
    }

    /// Number of the step done last.
    pub fn last(&self) -> usize {
        self.number - 1
    }

    pub fn map(&mut self, backing: Backing, prot: Prot, len: u16) -> AreaId {
        let area = AreaId(self.layout.len() as u8);
        self.layout.push(&self.shape, len, 0);
        let ret = self.op(Op::Mmap { mm: M0, area, backing, prot, len, shift: 0 });
        assert_eq!(ret, Ret::Ok(0));
        area
    }

    /// Private anonymous, read-write.
    pub fn anon(&mut self, len: u16) -> AreaId {
        self.map(Backing::AnonPrivate, Prot::ReadWrite, len)
    }

    pub fn mremap(&mut self, range: Range, shift: u16) -> (Ret, AreaId) {
        let area = AreaId(self.layout.len() as u8);
        self.layout.push(&self.shape, range.len, shift);
        (self.op(Op::Mremap { mm: M0, range, area, shift }), area)
    }

    pub fn write(&mut self, mm: MmId, range: Range) -> Ret {
        self.op(Op::Write { mm, range })
    }

    pub fn read(&mut self, mm: MmId, range: Range) -> Ret {
        self.op(Op::Read { mm, range })
    }

    pub fn advise(&mut self, range: Range, advice: Advice) -> Ret {
        self.op(Op::Madvise { mm: M0, range, advice })
    }

    pub fn protect(&mut self, range: Range, prot: Prot) -> Ret {
        self.op(Op::Mprotect { mm: M0, range, prot })
    }

    pub fn drain(&mut self) {
        self.op(Op::LruAddDrainAll);
    }

    pub fn fork(&mut self) -> (Ret, MmId) {
        let child = MmId(self.next[0]);
        self.next[0] += 1;
        (self.op(Op::Fork { mm: M0, child }), child)
    }

    pub fn gup(&mut self, range: Range, entry: Entry, foll: Foll, write: bool) -> (Ret, HandleId) {
        let handle = HandleId(self.next[1]);
        self.next[1] += 1;
        (
            self.op(Op::Gup {
                mm: M0,
                range,
                handle,
                entry,
                foll,
                write,
                longterm: false,
                form: Form::Pages,
            }),
            handle,
        )
    }

    pub fn pin(&mut self, range: Range, write: bool) -> HandleId {
        let (ret, handle) = self.gup(range, Entry::Slow, Foll::Pin, write);
        assert_eq!(ret, Ret::Ok(u32::from(range.len)));
        handle
    }

    pub fn get(&mut self, range: Range, write: bool) -> HandleId {
        let (ret, handle) = self.gup(range, Entry::Slow, Foll::Get, write);
        assert_eq!(ret, Ret::Ok(u32::from(range.len)));
        handle
    }

    pub fn put(&mut self, handle: HandleId) -> Ret {
        self.op(Op::Put { handle })
    }

    pub fn unpin(&mut self, handle: HandleId) -> Ret {
        let (also, form) = (None, Form::Pages);
        self.op(Op::Unpin { handle, also, form, dirty: false, hole: false })
    }

    pub fn lock(&mut self, range: Range) -> (Ret, LockId) {
        let lock = LockId(self.next[2]);
        self.next[2] += 1;
        (self.op(Op::LockPage { mm: M0, range, lock, task: TaskId(9) }), lock)
    }

    pub fn migrate(&mut self, range: Range, mode: Mode) -> Ret {
        self.op(Op::Migrate { mm: M0, range, mode })
    }

    pub fn snapshot(&self) -> Snapshot {
        self.reference.snapshot()
    }

    fn vpn(&self, area: AreaId, off: u16) -> u32 {
        self.layout.area(area).start + u32::from(off)
    }

    /// The PTE of a page.
    pub fn pte(&self, mm: MmId, area: AreaId, off: u16) -> Option<EntryView> {
        self.snapshot().mms[&mm].entries.get(&self.vpn(area, off)).copied()
    }

    /// The huge PMD over a page.
    pub fn pmd(&self, mm: MmId, area: AreaId, off: u16) -> Option<EntryView> {
        let pmd = self.vpn(area, off) / u32::from(self.shape.ptes);
        self.snapshot().mms[&mm].huge.get(&pmd).copied()
    }

    /// The folio mapped at a page, and which page of it.
    pub fn page(&self, mm: MmId, area: AreaId, off: u16) -> (FolioView, usize) {
        let entry = self.pte(mm, area, off).or(self.pmd(mm, area, off)).expect("mapped");
        let PageRef::Of(name, sub) = entry.page else { panic!("the zero page") };
        (self.snapshot().folios[&name].clone(), sub as usize)
    }

    pub fn folio(&self, mm: MmId, area: AreaId, off: u16) -> FolioView {
        self.page(mm, area, off).0
    }

    /// Releases everything that the program may have created and ends the machine.
    pub fn end(mut self) -> Snapshot {
        for handle in (0..self.next[1]).map(HandleId) {
            self.put(handle);
        }
        for lock in (0..self.next[2]).map(LockId) {
            self.op(Op::UnlockPage { lock });
        }
        for mm in (0..self.next[0]).rev().map(MmId) {
            self.op(Op::Exit { mm });
        }
        self.reference.teardown();
        self.snapshot()
    }
}

/// A snapshot with nothing in it.
pub fn nothing(shape: &Shape) -> Snapshot {
    Snapshot { batches: vec![Vec::new(); usize::from(shape.cpus)], ..Snapshot::default() }
}

pub fn err(errno: Errno) -> Ret {
    Ret::Err(errno)
}
