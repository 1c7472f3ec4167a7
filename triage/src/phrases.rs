//! A concurrent phase in sentences: who did what to the folio at fault, in the order of time.

use lockstep::{Divergence, Frame, Names, View, folio_of, mark_text};
use program::{DeviceMark, Layout, Mark, Marked, MmId, Name, Program, Seen};

/// What one step did, until another one had to do with the folio.
struct Scene {
    number: Option<usize>,
    cpu: u8,
    deeds: Vec<String>,
}

/// The phase in which the two sides part, a line a scene. Without a folio at fault: what was refused,
/// and where it went wrong.
pub fn phase(
    program: &Program,
    found: &Divergence,
    folio: Option<Name>,
    names: &Names,
) -> Vec<String> {
    let layout = Layout::of(program);
    let mut scenes: Vec<Scene> = Vec::new();
    let mut say = |number: Option<usize>, cpu: u8, deed: String| match scenes.last_mut() {
        Some(scene) if (scene.number, scene.cpu) == (number, cpu) => {
            if scene.deeds.last() != Some(&deed) {
                scene.deeds.push(deed);
            }
        }
        _ => scenes.push(Scene { number, cpu, deeds: vec![deed] }),
    };
    let mut last = None;
    for frame in View::of(found).frames {
        match frame {
            Frame::Mark(at) => {
                let marked = &found.trace[at];
                let about = folio.is_some() && folio_of(marked) == folio;
                if about || found.at == Some(at) || marked.seen == Seen::Flag(false) {
                    last = Some((marked.number, marked.cpu));
                    say(marked.number, marked.cpu, phrase(marked, &layout, names));
                }
            }
            Frame::Remark(at) => {
                let remark = &found.remarks[at];
                let mut marks = found.trace[..remark.at].iter().rev();
                let own = marks.find(|marked| marked.cpu == remark.cpu);
                let number = own.and_then(|marked| marked.number);
                say(number, remark.cpu, remark.text.clone());
            }
            Frame::Gap { rounds, .. } if rounds > 0 => {
                if let Some((number, cpu)) = last {
                    say(number, cpu, format!("so {rounds} times more"));
                }
            }
            Frame::Gap { .. } => {}
        }
    }
    let tell = |scene: Scene| {
        let step = scene.number.and_then(|number| {
            Some(format!("{}. {} on", number + 1, program.steps().nth(number)?.op))
        });
        let who = step.unwrap_or_else(|| "The kworker of".to_owned());
        format!("{who} cpu{}: {}.", scene.cpu, scene.deeds.join("; "))
    };
    scenes.into_iter().map(tell).collect()
}

/// A mark as a deed.
fn phrase(marked: &Marked, layout: &Layout, names: &Names) -> String {
    let place = |mm: MmId, vpn: u32| match layout.locate(vpn) {
        Some((area, 0)) => format!("mm{} m{}", mm.0, area.0),
        Some((area, off)) => format!("mm{} m{}+{off}", mm.0, area.0),
        None => format!("mm{} page {vpn}", mm.0),
    };
    let it = folio_of(marked).map_or_else(|| "it".to_owned(), |name| names.folio(name));
    let no = marked.seen == Seen::Flag(false);
    let write = matches!(marked.seen, Seen::Entry(entry) if entry.write);
    let how = if write { "writable" } else { "read-only" };
    match marked.mark {
        Mark::Hold { refs, pin: false, .. } if refs > 1 => {
            format!("takes {refs} references on {it}")
        }
        Mark::Hold { pin: false, .. } | Mark::Get { .. } => format!("takes a reference on {it}"),
        Mark::Hold { .. } => format!("pins {it}"),
        Mark::Drop { refs, pin: false, .. } if refs > 1 => {
            format!("drops {refs} references on {it}")
        }
        Mark::Drop { pin: false, .. } | Mark::Put { .. } => format!("drops its reference on {it}"),
        Mark::Drop { .. } => format!("drops its pin on {it}"),
        Mark::Grab { mm, vpn, .. } => format!("grabs {it} through {}", place(mm, vpn)),
        Mark::Release { .. } => format!("releases {it}"),
        Mark::Load { mm, vpn, .. } => format!("reads {it} at {}", place(mm, vpn)),
        Mark::Store { mm, vpn, .. } => format!("writes {it} at {}", place(mm, vpn)),
        Mark::Fault { mm, vpn, .. } => format!("maps {it} at {}, {how}", place(mm, vpn)),
        Mark::CopyFrom { .. } => format!("copies {it}"),
        Mark::CacheAdd { .. } => format!("adds {it} to the page cache"),
        Mark::Zap { mm, vpn } => format!("unmaps {it} at {}", place(mm, vpn)),
        Mark::ZapHuge { mm, pmd } => format!("unmaps {it} from mm{} pmd {pmd}", mm.0),
        Mark::Find { mm, vpn } => format!("finds {it} mapped at {}", place(mm, vpn)),
        Mark::MustCopy { mm, vpn } if no => format!("need not copy {}", place(mm, vpn)),
        Mark::MustCopy { mm, vpn } => format!("has to copy {}", place(mm, vpn)),
        Mark::Reusable { mm, vpn } => format!("may not reuse the page at {}", place(mm, vpn)),
        Mark::Forbidden { mm, vpn, .. } => format!("has no right to {}", place(mm, vpn)),
        Mark::BackOff { mm, vpn } => format!("gives up at {}", place(mm, vpn)),
        Mark::Pinnable { .. } if no => format!("may not leave {it} where it is"),
        Mark::Pinnable { .. } => format!("may leave {it} where it is"),
        Mark::CanSplit { .. } if no => format!("cannot split {it}, somebody else refers to it"),
        Mark::CanSplit { .. } => format!("may split {it}"),
        Mark::UndoIsolate if no => "finds pages left in the block".to_owned(),
        Mark::Protect { mm, vpn } => format!("maps {it} {how} at {}", place(mm, vpn)),
        Mark::CopyPte { child, vpn, .. } => format!("maps {it} at {}, {how}", place(child, vpn)),
        Mark::Busy { .. } if no => format!("finds {it} locked"),
        Mark::Busy { .. } => format!("locks {it}"),
        Mark::Isolate { .. } if no => format!("finds {it} not on the LRU"),
        Mark::Isolate { .. } => format!("takes {it} off the LRU"),
        Mark::Putback { .. } => format!("puts {it} back on the LRU"),
        Mark::Unmap { mm, vpn } if no => format!("may not unmap {}", place(mm, vpn)),
        Mark::Unmap { mm, vpn } => format!("puts a migration entry for {it} at {}", place(mm, vpn)),
        Mark::Restore { mm, vpn, .. } => format!("maps {it} again at {}, {how}", place(mm, vpn)),
        Mark::Move { .. } if no => format!("cannot move {it}, somebody else refers to it"),
        Mark::Split { .. } if no => format!("cannot split {it}, somebody else refers to it"),
        Mark::Split { .. } => format!("splits {it}"),
        Mark::Device(DeviceMark::Collect { mm, vpn, .. }) if no => {
            format!("leaves {} where it is", place(mm, vpn))
        }
        Mark::Device(DeviceMark::Collect { mm, vpn, .. }) => {
            format!("collects {it} at {}", place(mm, vpn))
        }
        Mark::Device(DeviceMark::Check { index }) if no => {
            format!("finds page {index} in use by somebody else")
        }
        Mark::Device(DeviceMark::Move { index }) if no => format!("does not move page {index}"),
        Mark::Device(DeviceMark::Destination { .. }) => format!("allocates {it}"),
        _ => {
            let text = mark_text(marked, layout, names);
            text.split_once(". ").map_or(text.clone(), |(_, mark)| mark.to_owned())
        }
    }
}
