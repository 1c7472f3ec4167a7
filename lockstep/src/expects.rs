//! Expectations that a program states by hand.

use program::{
    EntryKind, EntryView, Expect, Field, FolioView, Layout, Outcome, PageRef, Place, Program, Ret,
    Snapshot, Target, hmm, text,
};

/// A statement that does not hold on one side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Index of the expectation in [`Program::expects`].
    pub expect: usize,
    /// The line.
    pub line: String,
    /// Which side.
    pub side: &'static str,
    /// What is looked at, and its field.
    pub what: String,
    /// What the program states.
    pub stated: String,
    /// What the side has.
    pub found: String,
}

/// One side: what to call it, its state, and what the step before returned on it.
pub(crate) type Side<'a> = (&'static str, &'a Snapshot, &'a Outcome);

/// Every statement about the state after `done` steps that does not hold.
pub(crate) fn failures(
    program: &Program,
    layout: &Layout,
    done: usize,
    sides: [Side<'_>; 2],
) -> Vec<Failure> {
    let mut list = Vec::new();
    let due = program.expects.iter().enumerate().filter(|(_, expect)| expect.after == done);
    for (index, expect) in due {
        for (side, state, outcome) in sides {
            let mut fail = |what: String, stated: String, found: String| {
                let line = expect.to_string();
                list.push(Failure { expect: index, line, side, what, stated, found });
            };
            if let Some(stated) = expect.ret.filter(|&stated| stated != outcome.ret) {
                let stated: Ret = stated;
                fail("result".to_owned(), stated.to_string(), outcome.ret.to_string());
            }
            if let Target::Out(index) = expect.target {
                let word = outcome.data.get(usize::from(index)).copied();
                for &(field, stated) in &expect.fields {
                    let found = word.and_then(|word| match field {
                        Field::Hmm => hmm::flags(word).map(u64::from),
                        _ => Some(hmm::content(word)),
                    });
                    if found != Some(stated) {
                        let found = found.map_or("nothing".to_owned(), |n| show(field, n));
                        fail(field.word().to_owned(), show(field, stated), found);
                    }
                }
                continue;
            }
            let sight = Sight::of(expect, program, layout, state);
            for &(field, stated) in &expect.fields {
                let found = sight.field(field, state);
                if found != Some(stated) {
                    let found = found.map_or("nothing mapped".to_owned(), |n| show(field, n));
                    let what = field.word().to_owned();
                    fail(what, show(field, stated), found);
                }
            }
        }
    }
    list
}

/// What an expectation looks at.
#[derive(Default)]
struct Sight<'a> {
    entry: Option<EntryView>,
    huge: bool,
    page: Option<PageRef>,
    folio: Option<&'a FolioView>,
}

impl<'a> Sight<'a> {
    fn of(expect: &Expect, program: &Program, layout: &Layout, state: &'a Snapshot) -> Sight<'a> {
        let mut sight = Sight::default();
        match expect.target {
            Target::Result | Target::Out(_) | Target::Machine => {}
            Target::Page(mm, range) => {
                let vpn = layout.span(range).start;
                let ptes = u32::from(program.shape.ptes);
                if let Some(mm) = state.mms.get(&mm) {
                    sight.entry = mm.entries.get(&vpn).copied();
                    sight.page = sight.entry.map(|entry| entry.page);
                    if let Some(&entry) = mm.huge.get(&(vpn / ptes)) {
                        sight.huge = true;
                        sight.entry = Some(entry);
                        sight.page = Some(match entry.page {
                            PageRef::Of(name, _) => PageRef::Of(name, vpn % ptes),
                            zero => zero,
                        });
                    }
                }
            }
            Target::Handle(handle, index) => {
                let pages = state.handles.get(&handle);
                sight.page = pages.and_then(|pages| pages.get(usize::from(index))).copied();
            }
        }
        if let Some(PageRef::Of(name, _)) = sight.page {
            sight.folio = state.folios.get(&name);
        }
        sight
    }

    fn field(&self, field: Field, state: &Snapshot) -> Option<u64> {
        match field {
            Field::Used(place) => return state.used.get(usize::from(place)).map(|&n| n.into()),
            Field::Present => {
                let absent = |entry: EntryView| entry.kind != EntryKind::Present;
                let present = self.page.is_some() && !self.entry.is_some_and(absent);
                return Some(present.into());
            }
            Field::Entry => return Some(self.entry.map_or(0, |entry| entry.kind.code() + 1)),
            Field::Huge => return Some(self.huge.into()),
            _ => {}
        }
        let page = self.page?;
        let sub = match page {
            PageRef::Zero => 0,
            PageRef::Of(_, sub) => sub as usize,
        };
        // The shared zero page: never counted, never written, of order 0.
        let of = |get: &dyn Fn(&FolioView) -> u64| Some(self.folio.map_or(0, get));
        match field {
            Field::Used(_) | Field::Present | Field::Huge | Field::Entry | Field::Hmm => None,
            Field::Ref => of(&|folio| folio.refcount as u64),
            Field::Map => {
                of(&|folio| u64::from(folio.entire_mapcount + folio.mapcount.iter().sum::<u32>()))
            }
            Field::PageMap => of(&|folio| u64::from(folio.entire_mapcount + folio.mapcount[sub])),
            Field::Pin => of(&|folio| match folio.order {
                0 => folio.refcount as u64 / 1024,
                _ => u64::from(folio.pincount),
            }),
            Field::Ae => of(&|folio| {
                let at = if folio.entire_mapcount > 0 { 0 } else { sub };
                u64::from(folio.exclusive[at])
            }),
            Field::Write => Some(u64::from(self.entry?.write)),
            Field::Dirty => Some(u64::from(self.entry?.dirty)),
            Field::Order => of(&|folio| u64::from(folio.order)),
            Field::Lru => of(&|folio| u64::from(folio.lru)),
            Field::Locked => of(&|folio| u64::from(folio.locked.is_some())),
            Field::Zero => Some(u64::from(page == PageRef::Zero)),
            Field::Zone => self.folio.map(|folio| folio.place as u64),
            Field::Data => of(&|folio| folio.data[sub]),
        }
    }
}

fn zone(number: u64) -> String {
    let place = Place::ALL.get(number as usize);
    place.map_or(number.to_string(), |place| format!("{place:?}").to_lowercase())
}

fn show(field: Field, value: u64) -> String {
    match field {
        Field::Zone => zone(value),
        Field::Data => text::value(value).to_string(),
        Field::Hmm => hmm::text(value as u8).to_string(),
        Field::Entry => text::entry(value).to_owned(),
        _ => value.to_string(),
    }
}
