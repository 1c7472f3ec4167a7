//! The universal invariants, checked on the optimised side's canonical state.
//!
//! They hold whatever the program did, so they also catch what both sides get wrong together.
//! I6 speaks of longterm pins, which no operation takes yet.

use std::collections::BTreeMap;

use program::{EntryKind, Foll, HandleId, Name, Op, PageRef, Place, Program, Snapshot};

/// Weight of a pin in the refcount of an order-0 folio (GUP_PIN_COUNTING_BIAS).
const BIAS: i64 = 1024;

/// A broken invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its number.
    pub number: u8,
    /// What it says.
    pub rule: &'static str,
    /// What was found instead.
    pub found: String,
}

/// What the entries, handles, locks, batches and the page cache say about one folio.
#[derive(Default)]
struct Ledger {
    references: i64,
    pins: u32,
    entire: u32,
    mapped: BTreeMap<u32, u32>,
    /// Device-exclusive entries of each page.
    exclusive: BTreeMap<u32, u32>,
    /// Migration entries.
    migrating: u32,
    batches: u32,
    locks: u32,
}

/// Every invariant that the state breaks. `program` tells which handles are pins.
pub fn broken(state: &Snapshot, program: &Program) -> Vec<Violation> {
    let pinned = pins(program);
    let ledgers = ledgers(state, &pinned);
    let mut list = Vec::new();
    let mut report = |number, rule, found| list.push(Violation { number, rule, found });
    for (name, folio) in &state.folios {
        let empty = Ledger::default();
        let ledger = ledgers.get(name).unwrap_or(&empty);
        let who = format!("folio {:016x}", name.0);
        if folio.refcount != ledger.references {
            let (is, sum) = (folio.refcount, ledger.references);
            report(1, "refcount == sum of the ledger", format!("{who}: {is}, ledger {sum}"));
        }
        if folio.pincount != ledger.pins {
            let (is, sum) = (folio.pincount, ledger.pins);
            report(1, "pincount == pins of a large folio", format!("{who}: {is}, ledger {sum}"));
        }
        if folio.entire_mapcount != ledger.entire {
            let (is, sum) = (folio.entire_mapcount, ledger.entire);
            report(11, "mapped pages == entries", format!("{who}: entire {is}, entries {sum}"));
        }
        for (sub, &is) in (0..).zip(&folio.mapcount) {
            let sum = ledger.mapped.get(&sub).copied().unwrap_or(0);
            if is != sum {
                report(11, "mapped pages == entries", format!("{who}.{sub}: {is}, entries {sum}"));
            }
            let exclusive = folio.exclusive.get(sub as usize) == Some(&true);
            let kept = ledger.exclusive.get(&sub).copied().unwrap_or(0);
            if exclusive && is + kept + folio.entire_mapcount > 1 {
                let times = is + kept + folio.entire_mapcount;
                let rule = "AnonExclusive => mapped at most once";
                report(3, rule, format!("{who}.{sub}: mapped {times} times"));
            }
        }
        if folio.lru && ledger.batches > 0 || ledger.batches > 1 {
            let rule = "a folio with PG_lru is in no batch, and none is in two";
            report(8, rule, format!("{who}: lru {}, batches {}", folio.lru, ledger.batches));
        }
        if u32::from(folio.locked.is_some()) != ledger.locks {
            let rule = "locked between operations only by lock_page or an open migration";
            report(9, rule, format!("{who}: {:?}, locks {}", folio.locked, ledger.locks));
        }
        if ledger.migrating > 0 && folio.locked.is_none() {
            report(7, "a migration entry => its folio is locked", who.clone());
        }
        if folio.refcount <= 0 {
            report(10, "refcount 0 => free", format!("{who}: refcount {}", folio.refcount));
        }
    }
    for name in ledgers.keys().filter(|name| !state.folios.contains_key(name)) {
        report(10, "a free folio is used by nobody", format!("folio {:016x}", name.0));
    }
    exclusive(state, &pinned, &mut report);
    for (place, &used) in Place::ALL.into_iter().zip(&state.used) {
        let here = state.folios.values().filter(|folio| folio.place == place);
        let sum: u32 = here.map(|folio| 1u32 << folio.order).sum();
        if used != sum {
            let found = format!("{place:?}: {used} in use, folios have {sum}");
            report(10, "memory in use == pages of folios", found);
        }
    }
    list
}

/// I2, I4 and I5: who may be writable or pinned.
fn exclusive(
    state: &Snapshot,
    pinned: &BTreeMap<HandleId, Foll>,
    report: &mut impl FnMut(u8, &'static str, String),
) {
    let is_exclusive = |page: PageRef, huge: bool| match page {
        PageRef::Zero => None,
        PageRef::Of(name, sub) => {
            let folio = state.folios.get(&name).filter(|folio| folio.anon)?;
            let at = if huge { 0 } else { sub as usize };
            folio.exclusive.get(at).copied()
        }
    };
    for (id, mm) in &state.mms {
        let huge = mm.huge.iter().map(|(&at, view)| (at, view, true));
        let migrating = |kind| matches!(kind, EntryKind::Migration { .. });
        let entries = mm.entries.iter().filter(|(_, view)| !migrating(view.kind));
        let entries = entries.map(|(&at, view)| (at, view, false));
        for (at, view, huge) in huge.chain(entries).filter(|(_, view, _)| view.write) {
            if is_exclusive(view.page, huge) == Some(false) {
                let found = format!("mm{} {} {at}", id.0, if huge { "pmd" } else { "page" });
                report(2, "a writable anonymous entry => AnonExclusive", found);
            }
            if view.page == PageRef::Zero {
                report(2, "the zero page is mapped read-only", format!("mm{} page {at}", id.0));
            }
        }
    }
    for (id, pages) in &state.handles {
        for &page in pages {
            let folio = match page {
                PageRef::Of(name, _) => state.folios.get(&name),
                PageRef::Zero => None,
            };
            if folio.is_some_and(|folio| folio.place == Place::Device) {
                let rule = "GUP takes no reference on a device-private page";
                report(5, rule, format!("h{} {page:?}", id.0));
            }
        }
        for &page in pages.iter().filter(|_| pinned.get(id) == Some(&Foll::Pin)) {
            // Under a PMD only the head's bit means anything, and it stays when the PMD goes.
            let head = is_exclusive(page, true) == Some(true);
            let large = matches!(page, PageRef::Of(_, sub) if sub > 0);
            if is_exclusive(page, false) == Some(false) && !(large && head) {
                let rule = "a pinned anonymous page stays AnonExclusive";
                report(4, rule, format!("h{} {page:?}", id.0));
            }
        }
    }
}

fn pins(program: &Program) -> BTreeMap<HandleId, Foll> {
    let made = program.steps().filter_map(|step| match step.op {
        Op::Gup { handle, foll, .. } => Some((handle, foll)),
        _ => None,
    });
    made.collect()
}

fn ledgers(state: &Snapshot, pinned: &BTreeMap<HandleId, Foll>) -> BTreeMap<Name, Ledger> {
    let mut ledgers: BTreeMap<Name, Ledger> = BTreeMap::new();
    for mm in state.mms.values() {
        for view in mm.huge.values() {
            if let PageRef::Of(name, _) = view.page {
                let ledger = ledgers.entry(name).or_default();
                ledger.references += 1;
                ledger.entire += 1;
            }
        }
        for view in mm.entries.values() {
            if let PageRef::Of(name, sub) = view.page {
                let ledger = ledgers.entry(name).or_default();
                ledger.references += i64::from(view.kind.refers());
                match view.kind {
                    EntryKind::Present | EntryKind::DevicePrivate => {
                        *ledger.mapped.entry(sub).or_default() += 1;
                    }
                    EntryKind::DeviceExclusive => *ledger.exclusive.entry(sub).or_default() += 1,
                    EntryKind::Migration { .. } => ledger.migrating += 1,
                }
            }
        }
    }
    for (id, pages) in &state.handles {
        for &page in pages {
            if let PageRef::Of(name, _) = page {
                let large = state.folios.get(&name).is_some_and(|folio| folio.order > 0);
                let pin = pinned.get(id) == Some(&Foll::Pin);
                let ledger = ledgers.entry(name).or_default();
                ledger.references += if pin && !large { BIAS } else { 1 };
                ledger.pins += u32::from(pin && large);
            }
        }
    }
    for &name in state.locks.values() {
        let ledger = ledgers.entry(name).or_default();
        ledger.references += 1;
        ledger.locks += 1;
    }
    let pfns = state.migrations.values().flatten();
    for name in pfns.flat_map(|pfn| [pfn.src, pfn.dst]).flatten() {
        let ledger = ledgers.entry(name).or_default();
        ledger.references += 1;
        ledger.locks += 1;
    }
    for &name in state.cache.values() {
        ledgers.entry(name).or_default().references += 1;
    }
    for &name in state.batches.iter().flatten() {
        let ledger = ledgers.entry(name).or_default();
        ledger.references += 1;
        ledger.batches += 1;
    }
    ledgers
}
