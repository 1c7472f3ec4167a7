//! Short names for printing: F0, F1… by order of first appearance.

use std::collections::BTreeMap;

use program::{Layout, Name, PageRef, Snapshot, TaskId};

use crate::overlap;
use crate::verdict::Divergence;

/// Names of the folios of one or more states, for printing only.
#[derive(Clone, Debug, Default)]
pub struct Names {
    folios: BTreeMap<Name, usize>,
}

impl Names {
    /// Names every folio of these states: in address order of what maps it, then of handles,
    /// locks, the page cache and batches, then the rest; the first state before the next.
    pub fn of<'a>(states: impl IntoIterator<Item = &'a Snapshot>) -> Names {
        let mut names = Names::default();
        for state in states {
            names.learn(state);
        }
        names
    }

    /// Names the folios of a divergence: of the two states, then of the marks before them.
    pub fn at(found: &Divergence) -> Names {
        let mut names = Names::of([&found.reference, &found.optimized]);
        found.trace.iter().filter_map(overlap::folio).for_each(|name| names.add(name));
        let locked = found.holdings.iter().map(|held| held.label).filter(|&label| label != 0);
        locked.for_each(|label| names.add(Name(label)));
        names
    }

    /// Adds the folios of another state that are not named yet.
    pub fn learn(&mut self, state: &Snapshot) {
        for mm in state.mms.values() {
            let mut pages: Vec<(u64, PageRef)> = Vec::new();
            // A huge PMD sorts with the first page that it maps: pages a table is at most 512.
            let ptes = state.folios.values().map(|f| 1u64 << f.order).max().unwrap_or(1);
            pages.extend(mm.huge.iter().map(|(&pmd, view)| (u64::from(pmd) * ptes, view.page)));
            pages.extend(mm.entries.iter().map(|(&vpn, view)| (u64::from(vpn), view.page)));
            pages.sort_by_key(|&(at, _)| at);
            pages.into_iter().for_each(|(_, page)| self.page(page));
        }
        state.handles.values().flatten().for_each(|&page| self.page(page));
        state.locks.values().for_each(|&name| self.add(name));
        let pfns = state.migrations.values().flatten();
        pfns.flat_map(|pfn| [pfn.src, pfn.dst]).flatten().for_each(|name| self.add(name));
        state.cache.values().for_each(|&name| self.add(name));
        state.batches.iter().flatten().for_each(|&name| self.add(name));
        state.folios.keys().for_each(|&name| self.add(name));
    }

    fn page(&mut self, page: PageRef) {
        if let PageRef::Of(name, _) = page {
            self.add(name);
        }
    }

    fn add(&mut self, name: Name) {
        let next = self.folios.len();
        self.folios.entry(name).or_insert(next);
    }

    /// `F3`.
    pub fn folio(&self, name: Name) -> String {
        match self.folios.get(&name) {
            Some(number) => format!("F{number}"),
            None => format!("F?{:04x}", name.0 & 0xffff),
        }
    }

    /// `F3`, `F3.1` for a further page of a large folio, or `zero`.
    pub fn page_ref(&self, page: PageRef) -> String {
        match page {
            PageRef::Zero => "zero".to_owned(),
            PageRef::Of(name, 0) => self.folio(name),
            PageRef::Of(name, sub) => format!("{}.{sub}", self.folio(name)),
        }
    }

    /// Every folio in the order of its short name.
    pub fn in_order(&self) -> Vec<Name> {
        let mut list: Vec<_> = self.folios.iter().map(|(&name, &at)| (at, name)).collect();
        list.sort_unstable();
        list.into_iter().map(|(_, name)| name).collect()
    }
}

/// A virtual page as `m0+2`, or by its number outside every area.
pub(crate) fn page(layout: &Layout, vpn: u32) -> String {
    match layout.locate(vpn) {
        Some((area, off)) => format!("m{}+{off}", area.0),
        None => format!("page {vpn}"),
    }
}

pub(crate) fn task(task: Option<TaskId>) -> String {
    task.map_or("no".to_owned(), |task| format!("t{}", task.0))
}
