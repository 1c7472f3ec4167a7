//! The interleaving of a phase as text: a line a mark, a lane a CPU.

use std::collections::BTreeSet;
use std::fmt::Write;

use program::{DeviceMark, Layout, Mark, Marked, MmId, Seen, text};

use crate::held::{Gutters, held};
use crate::names::{self, Names};
use crate::render::entry_text;
use crate::verdict::Divergence;

/// Marks at either end, and around the one that differs, that are shown of a long trace.
const ENDS: usize = 60;

/// The marks of the phase of a divergence, with given names, and the locks that were held meanwhile
/// as bars of letters. Of a long trace, as an operation that loops leaves it, the middle is left
/// out.
pub fn lanes(found: &Divergence, layout: &Layout, names: &Names) -> String {
    let Divergence { ref trace, at, .. } = *found;
    let cpus: BTreeSet<u8> = trace.iter().map(|marked| marked.cpu).collect();
    let near = |index: usize, other: usize| index.abs_diff(other) <= ENDS / 2;
    let shown = |&index: &usize| {
        index < ENDS || trace.len() - index <= ENDS || at.is_some_and(|at| near(index, at))
    };
    let rows: Vec<(usize, String)> = (0..trace.len())
        .filter(shown)
        .map(|index| (index, mark_text(&trace[index], layout, names)))
        .collect();
    let mut locks = held(found, names);
    locks.retain(|held| rows.iter().any(|(index, _)| held.marks.contains(index)));
    let gutters = Gutters::new(locks);
    let width = |cpu: u8| {
        let own = rows.iter().filter(|(index, _)| trace[*index].cpu == cpu);
        own.map(|(_, text)| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<(u8, usize)> = cpus.into_iter().map(|cpu| (cpu, width(cpu))).collect();
    let (mut out, mut next) = (String::new(), 0);
    for (index, text) in &rows {
        if *index > next {
            let _ = writeln!(out, "     … {} marks …", index - next);
        }
        next = index + 1;
        let mut line = if at == Some(*index) { "  >> " } else { "     " }.to_owned();
        for &(cpu, width) in &widths {
            let cell = if cpu == trace[*index].cpu { text.as_str() } else { "" };
            let _ = write!(line, "| {}{cell:width$} ", gutters.at(cpu, *index));
        }
        out.push_str(line.trim_end_matches([' ', '|']));
        out.push('\n');
    }
    out.extend(gutters.legend());
    out
}

/// A mark and what it saw, in a few words.
pub fn mark_text(marked: &Marked, layout: &Layout, names: &Names) -> String {
    let page = |mm: MmId, vpn: u32| format!("mm{} {}", mm.0, names::page(layout, vpn));
    let what = match marked.mark {
        Mark::Load { mm, vpn, .. }
        | Mark::Store { mm, vpn, .. }
        | Mark::Forbidden { mm, vpn, .. }
        | Mark::Hole { mm, vpn }
        | Mark::AnonVma { mm, vpn }
        | Mark::BeyondEof { mm, vpn }
        | Mark::Fault { mm, vpn, .. }
        | Mark::Reusable { mm, vpn, .. }
        | Mark::Follow { mm, vpn, .. }
        | Mark::BackOff { mm, vpn }
        | Mark::Zap { mm, vpn }
        | Mark::Protect { mm, vpn }
        | Mark::MustCopy { mm, vpn }
        | Mark::CopyPte { mm, vpn, .. }
        | Mark::Find { mm, vpn }
        | Mark::Unmap { mm, vpn }
        | Mark::Restore { mm, vpn, .. } => page(mm, vpn),
        Mark::Grab { mm, vpn, pages, .. } => format!("{} x{pages}", page(mm, vpn)),
        Mark::Table { mm, pmd }
        | Mark::FreeTable { mm, pmd }
        | Mark::SplitPmd { mm, pmd }
        | Mark::ZapHuge { mm, pmd }
        | Mark::CopyPmd { mm, pmd, .. } => format!("mm{} pmd {pmd}", mm.0),
        Mark::HasPinned { mm } | Mark::MmGone { mm } | Mark::Child { child: mm } => {
            format!("mm{}", mm.0)
        }
        Mark::Vmas { mm, span } | Mark::Flush { mm, span } => {
            format!("{}..{}", page(mm, span.start), names::page(layout, span.end - 1))
        }
        Mark::CopyFrom { page } => names.page_ref(page),
        Mark::Hold { folio, refs, pin } | Mark::Drop { folio, refs, pin } => {
            format!("{} x{refs}{}", names.folio(folio), if pin { " pin" } else { "" })
        }
        Mark::Dirty { folio }
        | Mark::Get { folio }
        | Mark::Put { folio }
        | Mark::Busy { folio }
        | Mark::Isolate { folio }
        | Mark::Putback { folio }
        | Mark::Unwanted { folio }
        | Mark::Pinnable { folio }
        | Mark::Move { folio, .. }
        | Mark::CanSplit { folio, .. }
        | Mark::Split { folio, .. } => names.folio(folio),
        Mark::Undo { pages } => format!("x{pages}"),
        Mark::Release { page, pages } => format!("{} x{pages}", names.page_ref(page)),
        Mark::Refused { site, .. } => format!("{site:?}").to_lowercase(),
        Mark::Peek { index } => index.to_string(),
        Mark::CacheAdd { index, .. } | Mark::Evict { index, .. } => format!("page {index}"),
        Mark::Device(mark) => match (mark.address(), mark.index(), mark) {
            (Some((mm, vpn)), _, _) => page(mm, vpn),
            (_, Some(index), _) => format!("#{index}"),
            (.., DeviceMark::CollectDevice { folio, .. }) => names.folio(folio),
            _ => String::new(),
        },
        Mark::Drain { cpu } => format!("cpu{cpu}"),
        Mark::LruCacheDisable { on } => if on { "" } else { "over" }.to_owned(),
        Mark::StartIsolate { place } => format!("{place:?}").to_lowercase(),
        Mark::Begin | Mark::Return | Mark::Kept | Mark::UndoIsolate => String::new(),
    };
    let what = match marked.mark {
        Mark::Load { stale: Some(old), .. } | Mark::Store { stale: Some(old), .. } => {
            format!("{what} by TLB {}", names.page_ref(old))
        }
        _ => what,
    };
    let number = marked.number.map_or_else(String::new, |number| format!("{}. ", number + 1));
    let mut text = format!("{number}{} {what}", marked.mark.name());
    match marked.seen {
        Seen::Nothing | Seen::Flag(true) => {}
        seen => {
            let _ = write!(text, " -> {}", seen_text(seen, names));
        }
    }
    text
}

/// What a mark saw.
pub(crate) fn seen_text(seen: Seen, names: &Names) -> String {
    match seen {
        Seen::Nothing => "nothing".to_owned(),
        Seen::Flag(flag) => if flag { "yes" } else { "no" }.to_owned(),
        Seen::Data(page, value) => {
            format!("{} {}", names.page_ref(page), text::value(value))
        }
        Seen::Page(page) => names.page_ref(page),
        Seen::Entry(view) => entry_text(&view, names),
        Seen::Ret(ret) => ret.to_string(),
        Seen::Impossible => "impossible".to_owned(),
    }
}
