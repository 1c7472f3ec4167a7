//! The interleaving of a phase as text: a line a mark, a lane a CPU.

use std::collections::BTreeMap;
use std::fmt::Write;

use program::{CollapseMark, DeviceMark, Layout, Mark, Marked, MmId, Seen, text};

use crate::held::{Gutters, Held, held};
use crate::names::{self, Names};
use crate::render::entry_text;
use crate::verdict::{Divergence, Remark};
use crate::view::{Frame, View};

/// The phase in which the two sides part, with given names: a line a mark, a lane a CPU, and the locks
/// that were held meanwhile as bars of letters.
pub fn lanes(found: &Divergence, layout: &Layout, names: &Names) -> String {
    let trace = &found.trace;
    if trace.is_empty() {
        return String::new();
    }
    let view = View::of(found);
    let cell = |frame: &Frame| match frame {
        Frame::Mark(at) => Some((trace[*at].cpu, mark_text(&trace[*at], layout, names))),
        Frame::Remark(at) => {
            let Remark { cpu, text, .. } = &found.remarks[*at];
            Some((*cpu, text.clone()))
        }
        Frame::Gap { .. } => None,
    };
    let cells: Vec<Option<(u8, String)>> = view.frames.iter().map(cell).collect();
    let mut locks = held(found, names);
    let shown =
        |frame: &Frame, held: &Held| matches!(frame, Frame::Mark(at) if held.marks.contains(at));
    locks.retain(|held| view.frames.iter().any(|frame| shown(frame, held)));
    let gutters = Gutters::new(locks);
    let mut widths: BTreeMap<u8, usize> = BTreeMap::new();
    for (cpu, text) in cells.iter().flatten() {
        let width = widths.entry(*cpu).or_insert("cpu0".len());
        *width = text.chars().count().max(*width);
    }
    let row = |start: &str, at: usize, text: &dyn Fn(u8) -> String| {
        let mut row = start.to_owned();
        for (&cpu, width) in &widths {
            let _ = write!(row, "| {}{:width$} ", gutters.at(cpu, at), text(cpu));
        }
        row.truncate(row.trim_end_matches([' ', '|']).len());
        row + "\n"
    };
    let mut out = row("     ", trace.len(), &|cpu| format!("cpu{cpu}"));
    let mut now = 0;
    for (frame, cell) in view.frames.iter().zip(&cells) {
        let text = |cpu| match cell {
            Some((own, text)) if *own == cpu => text.clone(),
            _ => String::new(),
        };
        out.push_str(&match frame {
            Frame::Mark(at) => {
                now = *at;
                row(if found.at == Some(now) { "  >> " } else { "     " }, now, &text)
            }
            Frame::Remark(_) => row("  >> ", now, &text),
            Frame::Gap { marks, rounds: 0 } => format!("     … {} marks …\n", marks.len()),
            Frame::Gap { marks, rounds } => {
                let round = marks.len() / rounds;
                format!("     … the {round} marks above {rounds} times more …\n")
            }
        });
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
        Mark::Collapse {
            mm,
            mark: CollapseMark::Copy { vpn } | CollapseMark::Clear { vpn },
            ..
        }
        | Mark::Collapse { mm, mark: CollapseMark::Unfit { vpn }, .. } => page(mm, vpn),
        Mark::Collapse { mm, pmd, .. } => format!("mm{} pmd {pmd}", mm.0),
        Mark::Userfault { mm, vpn, .. } | Mark::UffdFill { mm, vpn, .. } => page(mm, vpn),
        Mark::UffdRefused { mm } => format!("mm{}", mm.0),
        Mark::MovePte { mm, from, to } | Mark::MovePmd { mm, from, to } => {
            format!("{} to {}", page(mm, from), names::page(layout, to))
        }
        Mark::HasPinned { mm } | Mark::MmGone { mm } | Mark::Child { child: mm } => {
            format!("mm{}", mm.0)
        }
        Mark::Vmas { mm, span } | Mark::Flush { mm, span } | Mark::Invalidate { mm, span } => {
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
        | Mark::Unreached { folio }
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
            (.., DeviceMark::CollectDevice { folio, .. } | DeviceMark::BeginCoherent { folio }) => {
                names.folio(folio)
            }
            _ => String::new(),
        },
        Mark::Drain { cpu } => format!("cpu{cpu}"),
        Mark::LruCacheDisable { on } => if on { "" } else { "over" }.to_owned(),
        Mark::StartIsolate { place } => format!("{place:?}").to_lowercase(),
        Mark::Begin | Mark::Return | Mark::Kept | Mark::Killed | Mark::UndoIsolate => String::new(),
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
