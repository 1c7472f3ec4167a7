//! States and differences as text.

use std::fmt::Write;

use program::{
    EntryKind, EntryView, FolioView, Layout, MigratePfn, MmId, MmView, Name, ObjectId, Place, Prot,
    Snapshot, Uffd, VmaView, text,
};

use crate::compare::{FieldDiff, FolioField, MmField, Value, What};
use crate::lanes::seen_text;
use crate::names::{self, Names};
use crate::stuck;

/// A state, one fact a line, with names of its own.
pub fn state(state: &Snapshot, layout: &Layout) -> String {
    dump(state, layout, &Names::of([state]))
}

/// Two states in the same words and names, so that a text diff of them is a diff of the states.
pub fn pair(reference: &Snapshot, optimized: &Snapshot, layout: &Layout) -> (String, String) {
    let names = Names::of([reference, optimized]);
    (dump(reference, layout, &names), dump(optimized, layout, &names))
}

/// A state, one fact a line, with given names.
pub fn dump(state: &Snapshot, layout: &Layout, names: &Names) -> String {
    let mut out = String::new();
    for (&id, view) in &state.mms {
        mm(&mut out, id, view, layout, names);
    }
    for name in names.in_order() {
        if let Some(view) = state.folios.get(&name) {
            folio(&mut out, name, view, names);
        }
    }
    for (id, pages) in &state.handles {
        let pages: Vec<String> = pages.iter().map(|&page| names.page_ref(page)).collect();
        line(&mut out, format_args!("handle h{} = {}", id.0, pages.join(" ")));
    }
    for (id, &name) in &state.locks {
        line(&mut out, format_args!("lock l{} = {}", id.0, names.folio(name)));
    }
    for (id, pfns) in &state.migrations {
        let pfns: Vec<String> = pfns.iter().map(|pfn| migrate_text(pfn, names)).collect();
        line(&mut out, format_args!("migration v{} = {}", id.0, pfns.join(" ")));
    }
    for (&(object, index), &name) in &state.cache {
        let object = object_name(object);
        line(&mut out, format_args!("cache {object} page {index} = {}", names.folio(name)));
    }
    for (cpu, batch) in state.batches.iter().enumerate().filter(|(_, batch)| !batch.is_empty()) {
        let mut list: Vec<String> = batch.iter().map(|&name| names.folio(name)).collect();
        list.sort();
        line(&mut out, format_args!("lru batch of cpu{cpu} = {}", list.join(" ")));
    }
    let used = state.used;
    let mut text = format!("used normal={} movable={} cma={}", used[0], used[1], used[2]);
    if used[3] | used[4] != 0 {
        let _ = write!(text, " device={} coherent={}", used[3], used[4]);
    }
    line(&mut out, format_args!("{text}"));
    if state.zero_refs != 0 {
        line(&mut out, format_args!("zero page references={}", state.zero_refs));
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}");
}

fn mm(out: &mut String, id: MmId, view: &MmView, layout: &Layout, names: &Names) {
    let pinned = if view.has_pinned { " has_pinned" } else { "" };
    line(out, format_args!("mm{}{pinned}", id.0));
    for vma in &view.vmas {
        line(out, format_args!("mm{} vma {}", id.0, vma_text(vma, layout)));
    }
    for pmd in &view.tables {
        line(out, format_args!("mm{} table of pmd {pmd}", id.0));
    }
    for (pmd, entry) in &view.huge {
        line(out, format_args!("mm{} huge pmd {pmd} -> {}", id.0, entry_text(entry, names)));
    }
    for (&vpn, entry) in &view.entries {
        let at = names::page(layout, vpn);
        line(out, format_args!("mm{} {at} -> {}", id.0, entry_text(entry, names)));
    }
}

fn folio(out: &mut String, name: Name, view: &FolioView, names: &Names) {
    let kind = if view.anon { "anon" } else { "cache" };
    let place = place_text(view.place);
    let mut text = format!("{} order={} {kind} {place}", names.folio(name), view.order);
    let _ = write!(text, " ref={}", view.refcount);
    if view.order > 0 {
        let _ = write!(text, " entire={} pin={}", view.entire_mapcount, view.pincount);
    }
    let _ = write!(text, " map={}", list(&view.mapcount, u32::to_string));
    let _ = write!(text, " ae={}", list(&view.exclusive, |&bit| u8::from(bit).to_string()));
    let _ = write!(text, " lru={} locked={}", u8::from(view.lru), names::task(view.locked));
    if view.dirty {
        text.push_str(" dirty");
    }
    let _ = write!(text, " data={}", list(&view.data, |&value| text::value(value).to_string()));
    line(out, format_args!("{text}"));
}

fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(",")
}

fn place_text(place: Place) -> &'static str {
    match place {
        Place::Normal => "normal",
        Place::Movable => "movable",
        Place::Cma => "cma",
        Place::Device => "device",
        Place::Coherent => "coherent",
    }
}

fn object_name(object: ObjectId) -> String {
    match object {
        ObjectId::File(file) => format!("f{file}"),
        ObjectId::Shmem(area) => format!("shmem of m{area}"),
    }
}

pub(crate) fn entry_text(entry: &EntryView, names: &Names) -> String {
    let read = if entry.read { "r" } else { "-" };
    let write = if entry.write { "w" } else { "-" };
    let dirty = if entry.dirty { " dirty" } else { "" };
    let kind = match entry.kind {
        EntryKind::Present => "",
        EntryKind::Migration { exclusive: false } => " migration",
        EntryKind::Migration { exclusive: true } => " migration, exclusive",
        EntryKind::DevicePrivate => " device-private",
        EntryKind::DeviceExclusive => " device-exclusive",
    };
    format!("{} {read}{write}{dirty}{kind}", names.page_ref(entry.page))
}

/// `F0`, `F0->F1` with a destination, `-` for nothing, `*` before what moves.
fn migrate_text(pfn: &MigratePfn, names: &Names) -> String {
    let name = |name: Option<Name>| name.map_or("-".to_owned(), |name| names.folio(name));
    let to = pfn.dst.map_or(String::new(), |dst| format!("->{}", names.folio(dst)));
    format!("{}{}{to}", if pfn.migrate { "*" } else { "" }, name(pfn.src))
}

fn vma_text(vma: &VmaView, layout: &Layout) -> String {
    let flags = vma.flags;
    let prot = match flags.prot {
        Prot::None => "none",
        Prot::Read => "r",
        Prot::ReadWrite => "rw",
    };
    let sharing = if flags.shared { "shared" } else { "private" };
    let object = flags.object.map_or("anon".to_owned(), object_name);
    let mut text = format!("{} len={}", names::page(layout, vma.start), vma.end - vma.start);
    let _ = write!(text, " {prot} {sharing} {object}");
    let extra = [
        (flags.dontfork, " dontfork"),
        (flags.hugepage, " hugepage"),
        (flags.nohugepage, " nohugepage"),
        (flags.uffd == Uffd::Missing, " uffd"),
        (flags.uffd == Uffd::Sigbus, " uffd_sigbus"),
    ];
    extra.iter().filter(|(set, _)| *set).for_each(|(_, name)| text.push_str(name));
    text
}

/// What the two values of a field are values of.
pub fn labels(what: What) -> [&'static str; 2] {
    match what {
        What::Expect(_) => ["stated", "but"],
        What::Cost(_) => ["page at a time", "here"],
        What::Invariant(_) => ["rule", "found"],
        What::Conduct(_) => ["expected", "found"],
        _ => ["reference", "optimised"],
    }
}

/// What differs in one field: its name and both values.
pub fn field(diff: &FieldDiff, layout: &Layout, names: &Names) -> [String; 3] {
    let value = |value: &Value| value_text(value, layout, names);
    [what(diff.what, layout, names), value(&diff.reference), value(&diff.optimized)]
}

/// Every field that differs, with the states' own names for folios.
pub fn fields(divergence: &crate::Divergence, layout: &Layout) -> Vec<[String; 3]> {
    let names = Names::at(divergence);
    divergence.fields.iter().map(|diff| field(diff, layout, &names)).collect()
}

fn what(what: What, layout: &Layout, names: &Names) -> String {
    match what {
        What::Return => "returned".to_owned(),
        What::Data(at) => format!("page {at} read"),
        What::Conduct(class) => format!("conduct: {class}"),
        What::Folio(name, field) => {
            let folio = names.folio(name);
            match field {
                FolioField::Exists => format!("{folio} exists, ref"),
                FolioField::Order => format!("{folio} order"),
                FolioField::Place => format!("{folio} zone"),
                FolioField::Anon => format!("{folio} anon"),
                FolioField::Refcount => format!("{folio} ref"),
                FolioField::Entire => format!("{folio} entire mapcount"),
                FolioField::Mapcount(sub) => format!("{folio}.{sub} mapcount"),
                FolioField::Pincount => format!("{folio} pincount"),
                FolioField::Exclusive(sub) => format!("{folio}.{sub} AnonExclusive"),
                FolioField::Locked => format!("{folio} locked by"),
                FolioField::Lru => format!("{folio} PG_lru"),
                FolioField::Dirty => format!("{folio} dirty"),
                FolioField::Data(sub) => format!("{folio}.{sub} data"),
            }
        }
        What::Mm(id, field) => match field {
            MmField::Exists => format!("mm{} exists", id.0),
            MmField::HasPinned => format!("mm{} has_pinned", id.0),
            MmField::Vma(start) => format!("mm{} vma at {}", id.0, names::page(layout, start)),
            MmField::Table(pmd) => format!("mm{} table of pmd {pmd}", id.0),
            MmField::Huge(pmd) => format!("mm{} huge pmd {pmd}", id.0),
            MmField::Entry(vpn) => format!("mm{} entry {}", id.0, names::page(layout, vpn)),
        },
        What::Handle(id) => format!("handle h{}", id.0),
        What::Lock(id) => format!("lock l{}", id.0),
        What::Migration(id, at) => format!("migration v{} page {at}", id.0),
        What::Cache(object, index) => format!("cache {} page {index}", object_name(object)),
        What::Batch(cpu) => format!("lru batch of cpu{cpu}"),
        What::Used(place) => format!("used {}", place_text(place)),
        What::ZeroRefs => "zero page references".to_owned(),
        What::Kept => "pages kept by what failed".to_owned(),
        What::Expect(index) => format!("expectation {}", index + 1),
        What::Cost(item) => item.to_owned(),
        What::Invariant(number) => format!("invariant I{number}"),
        What::Digest => "digest".to_owned(),
        What::Left => "left at the end".to_owned(),
        What::Machine(class) => class.family().to_owned(),
        What::Mark(mark) => format!("step {}", mark.name()),
    }
}

fn value_text(value: &Value, layout: &Layout, names: &Names) -> String {
    match value {
        Value::Absent => "-".to_owned(),
        Value::Count(count) => count.to_string(),
        Value::Flag(flag) => u8::from(*flag).to_string(),
        Value::Place(place) => place_text(*place).to_owned(),
        Value::Task(task) => names::task(*task),
        Value::Pages(pages) => {
            pages.iter().map(|&page| names.page_ref(page)).collect::<Vec<_>>().join(" ")
        }
        Value::Names(list) if list.is_empty() => "-".to_owned(),
        Value::Names(list) => {
            list.iter().map(|&name| names.folio(name)).collect::<Vec<_>>().join(" ")
        }
        Value::Entry(entry) => entry_text(entry, names),
        Value::Vma(vma) => vma_text(vma, layout),
        Value::Migrate(pfn) => migrate_text(pfn, names),
        Value::Ret(value) => value.to_string(),
        Value::Data(value) => text::value(*value).to_string(),
        Value::Text(text) => text.clone(),
        Value::Stuck(verdict) => stuck::words(verdict, names),
        Value::Seen(seen) => seen_text(*seen, names),
    }
}
