//! The story of a finding: who held the folio at fault, who let go of it when, and what the
//! reference expected.
//!
//! The reference is a ledger of relations, so that each step's part of the story is what it added
//! to the ledger of that folio and what it took away.

use std::collections::{BTreeMap, BTreeSet};

use lockstep::{
    Divergence, FolioField, Lockstep, Names, Options, Value, Verdict, What, When, render,
};
use optimized::Defects;
use program::{Foll, HandleId, Layout, Model, Name, Op, PageRef, Program, Snapshot, text};

use crate::finding;
use crate::guard;
use crate::judge::Trouble;
use crate::phrases;
use crate::weave::{self, Weave};

/// What one step did.
pub struct Tale {
    /// Its number, from 1.
    pub number: usize,
    /// Its CPU.
    pub cpu: u8,
    /// The phase it belongs to, if that is concurrent, from 1.
    pub phase: Option<usize>,
    /// The operation as text.
    pub operation: String,
    /// What it returned on each side.
    pub results: [String; 2],
    /// Holders that the folio at fault gained.
    pub gained: Vec<String>,
    /// Holders that it lost.
    pub lost: Vec<String>,
    /// The folio's refcount on each side, while it exists.
    pub counts: [Option<i64>; 2],
    /// Both states in the same words.
    pub states: [String; 2],
    /// Whether the two sides differ from here on.
    pub divergent: bool,
}

/// A lock held across steps.
pub struct Held {
    /// Its name.
    pub name: String,
    /// The steps that take and release it, from 1; the latter is beyond the last if nobody does.
    pub steps: [usize; 2],
}

/// The whole story.
pub struct Story {
    /// Class of the finding, or `clean`.
    pub class: String,
    /// The short name of the folio at fault, if there is one.
    pub folio: Option<String>,
    /// Step by step.
    pub tales: Vec<Tale>,
    /// Locks held across steps.
    pub locks: Vec<Held>,
    /// When it was noticed.
    pub when: String,
    /// The path that the optimised side took last.
    pub path: Option<&'static str>,
    /// The concurrent phase in which they differ, in sentences.
    pub scenes: Vec<String>,
    /// The same, mark by mark in lanes; else empty.
    pub lanes: String,
    /// The same to be drawn.
    pub weave: Option<Weave>,
    /// What differs: the field, and the label and value of each side.
    pub fields: Vec<[String; 5]>,
}

/// Runs the program and listens.
pub fn tell(program: &Program, defects: Defects) -> Story {
    let (mut moments, mut traces) = (Vec::new(), Vec::new());
    let mut lockstep = Lockstep::new(defects);
    let run = || {
        lockstep.observe(program, &Options { paranoid: true }, |moment| {
            let results = [moment.expected.ret, moment.found.ret].map(|ret| ret.to_string());
            if !moment.trace.is_empty() {
                traces.push((moment.number, moment.trace.to_vec()));
            }
            moments.push((results, [moment.reference.snapshot(), moment.optimized.snapshot()]));
        })
    };
    let trouble = match guard::catch(run) {
        Ok(Verdict::Clean) => None,
        Ok(Verdict::Diverged(found)) => Some(Trouble::Diverged(found)),
        Err(panic) => Some(Trouble::Panicked(panic)),
    };
    let layout = Layout::of(program);
    let divergence = match &trouble {
        Some(Trouble::Diverged(found)) => Some(&**found),
        _ => None,
    };
    // As `replay` names them, then the others.
    let mut names = divergence.map_or_else(Names::default, Names::at);
    moments.iter().flat_map(|(_, states)| states).for_each(|state| names.learn(state));
    let at = divergence.and_then(|found| match found.when {
        When::Step(number, _) => Some(number),
        _ => None,
    });
    let folio = divergence
        .and_then(|found| at_fault(found).or_else(|| found.touched()))
        .or_else(|| last_touched(&moments));
    let foll = handles(program);
    let mut before = BTreeSet::new();
    let mut tales = Vec::new();
    let phases = phases(program);
    for (number, (step, (results, states))) in program.steps().zip(moments).enumerate() {
        let [mine, theirs] = &states;
        let now = folio.map_or_else(BTreeSet::new, |name| holders(mine, name, &layout, &foll));
        let count = |state: &Snapshot| Some(state.folios.get(&folio?)?.refcount);
        tales.push(Tale {
            number: number + 1,
            cpu: step.cpu,
            phase: phases[number],
            operation: step.op.to_string(),
            results,
            gained: now.difference(&before).cloned().collect(),
            lost: before.difference(&now).cloned().collect(),
            counts: [count(mine), count(theirs)],
            states: [mine, theirs].map(|state| render::dump(state, &layout, &names)),
            divergent: at == Some(number),
        });
        before = now;
    }
    let fields = divergence.map(|found| {
        found.fields.iter().map(|diff| {
            let [what, mine, theirs] = render::field(diff, &layout, &names);
            let [a, b] = render::labels(diff.what).map(str::to_owned);
            [what, a, mine, b, theirs]
        })
    });
    Story {
        class: trouble.as_ref().map_or("clean".to_owned(), |seen| seen.symptom().class),
        folio: folio.map(|name| names.folio(name)),
        locks: locks(program),
        when: match (&trouble, divergence.map(|found| found.when)) {
            (None, _) => "both sides agree after every step".to_owned(),
            (_, Some(When::Start)) => "before the first step".to_owned(),
            (_, Some(When::Step(number, step))) => format!("step {}, {}", number + 1, step.op),
            (_, Some(When::Ending(step))) => format!("when all is given back, {}", step.op),
            (_, Some(When::End)) => "when all has been given back".to_owned(),
            (Some(Trouble::Panicked(panic)), _) => format!("{}: {}", panic.place, panic.message),
            (_, Some(When::Phase(phase))) => finding::together(program, phase),
            _ => format!("step {}", tales.len() + 1),
        },
        path: divergence.and_then(|found| found.path),
        scenes: divergence
            .filter(|found| !found.trace.is_empty())
            .map_or_else(Vec::new, |found| phrases::phase(program, found, folio, &names)),
        lanes: divergence.map_or_else(String::new, |found| lockstep::lanes(found, &layout, &names)),
        weave: divergence
            .and_then(|found| weave::weave(program, defects, found, &traces, folio, &names)),
        fields: fields.map_or_else(Vec::new, Iterator::collect),
        tales,
    }
}

/// The number of the concurrent phase of each step.
fn phases(program: &Program) -> Vec<Option<usize>> {
    let phases = program.phases.iter().enumerate();
    let of = |(at, phase): (usize, &program::Phase)| {
        let number = Some(at + 1).filter(|_| phase.steps.len() > 1);
        std::iter::repeat_n(number, phase.steps.len())
    };
    phases.flat_map(of).collect()
}

/// The folio that the most telling field is about.
fn at_fault(found: &Divergence) -> Option<Name> {
    let of_page = |page: PageRef| match page {
        PageRef::Of(name, _) => Some(name),
        PageRef::Zero => None,
    };
    let of_value = |value: &Value| match value {
        Value::Entry(entry) => of_page(entry.page),
        Value::Pages(pages) => pages.iter().copied().find_map(of_page),
        Value::Names(names) => names.first().copied(),
        _ => None,
    };
    // Whose references are miscounted; a folio that one side alone has is rather the consequence.
    let counted =
        found.fields.iter().find_map(|diff| match (diff.what, &diff.reference, &diff.optimized) {
            (What::Folio(name, FolioField::Refcount), Value::Count(_), Value::Count(_)) => {
                Some(name)
            }
            _ => None,
        });
    counted.or_else(|| {
        found.fields.iter().find_map(|diff| match diff.what {
            What::Folio(name, _) => Some(name),
            _ => of_value(&diff.reference).or_else(|| of_value(&diff.optimized)),
        })
    })
}

/// The folio that the last step that changed one changed.
fn last_touched(moments: &[([String; 2], [Snapshot; 2])]) -> Option<Name> {
    moments.windows(2).rev().find_map(|pair| {
        let ([a, _], [b, _]) = (&pair[0].1, &pair[1].1);
        b.folios.iter().find(|(name, view)| a.folios.get(name) != Some(view)).map(|(&name, _)| name)
    })
}

fn handles(program: &Program) -> BTreeMap<HandleId, Foll> {
    let made = program.steps().filter_map(|step| match step.op {
        Op::Gup { handle, foll, .. } => Some((handle, foll)),
        _ => None,
    });
    made.collect()
}

fn locks(program: &Program) -> Vec<Held> {
    let end = program.steps().count() + 1;
    let mut list: Vec<(u8, Held)> = Vec::new();
    for (at, step) in program.steps().enumerate() {
        match step.op {
            Op::LockPage { lock, task, .. } => {
                let name = format!("l{} (t{})", lock.0, task.0);
                list.push((lock.0, Held { name, steps: [at + 1, end] }));
            }
            Op::UnlockPage { lock } => {
                for (_, held) in list.iter_mut().filter(|(id, _)| *id == lock.0) {
                    held.steps[1] = at + 1;
                }
            }
            _ => {}
        }
    }
    list.into_iter().map(|(_, held)| held).collect()
}

/// Everyone who holds a reference on a folio, by the ledger, in words.
fn holders(
    state: &Snapshot,
    folio: Name,
    layout: &Layout,
    foll: &BTreeMap<HandleId, Foll>,
) -> BTreeSet<String> {
    let is = |page: PageRef| matches!(page, PageRef::Of(name, _) if name == folio);
    let mut list = BTreeSet::new();
    for (id, mm) in &state.mms {
        let at = |vpn: u32| match layout.locate(vpn) {
            Some((area, 0)) => format!("m{}", area.0),
            Some((area, off)) => format!("m{}+{off}", area.0),
            None => format!("page {vpn}"),
        };
        let how = |write: bool| if write { "writable" } else { "read-only" };
        for (&vpn, entry) in mm.entries.iter().filter(|(_, entry)| is(entry.page)) {
            list.insert(format!("mm{} maps it at {}, {}", id.0, at(vpn), how(entry.write)));
        }
        for (pmd, entry) in mm.huge.iter().filter(|(_, entry)| is(entry.page)) {
            list.insert(format!("mm{} maps it by huge PMD {pmd}, {}", id.0, how(entry.write)));
        }
    }
    for (id, pages) in &state.handles {
        let verb = if foll.get(id) == Some(&Foll::Pin) { "pins" } else { "holds" };
        match pages.iter().filter(|page| is(**page)).count() {
            0 => {}
            1 => drop(list.insert(format!("h{} {verb} it", id.0))),
            times => drop(list.insert(format!("h{} {verb} {times} pages of it", id.0))),
        }
    }
    for (id, _) in state.locks.iter().filter(|(_, name)| **name == folio) {
        list.insert(format!("l{} locks it", id.0));
    }
    if state.cache.values().any(|&name| name == folio) {
        list.insert("the page cache holds it".to_owned());
    }
    for (cpu, batch) in state.batches.iter().enumerate() {
        if batch.contains(&folio) {
            list.insert(format!("the LRU batch of cpu{cpu} holds it"));
        }
    }
    if let Some(view) = state.folios.get(&folio) {
        for (sub, &value) in view.data.iter().enumerate().filter(|(_, value)| **value != 0) {
            let page =
                if view.data.len() > 1 { format!("its page {sub}") } else { "it".to_owned() };
            list.insert(format!("{page} contains {}", text::value(value)));
        }
    }
    list
}
