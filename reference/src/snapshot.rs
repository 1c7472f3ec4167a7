//! The canonical state, derived from the ledger (B1, B2).

use program::{FolioView, HandleId, MigrationId, MmId, MmView, Place, Snapshot, VmaView};

use crate::folio::{Folio, Owner};
use crate::mm::{Mm, Page, Pmd};
use crate::state::State;

impl State {
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            used: Place::ALL.map(|place| self.ledger.used(place)),
            batches: vec![Vec::new(); usize::from(self.shape.cpus)],
            ..Snapshot::default()
        };
        for (_, folio) in self.ledger.live() {
            snapshot.folios.insert(folio.name, view_folio(folio));
            for owner in &folio.owners {
                match *owner {
                    Owner::Batch { cpu } => snapshot.batches[usize::from(cpu)].push(folio.name),
                    Owner::Cache { object, index } => {
                        snapshot.cache.insert((object, index), folio.name);
                    }
                    Owner::Lock { lock, .. } => {
                        snapshot.locks.insert(lock, folio.name);
                    }
                    _ => {}
                }
            }
        }
        snapshot.batches.iter_mut().for_each(|names| names.sort());
        for (id, mm) in (0..).map(MmId).zip(&self.mms).filter(|(_, mm)| mm.live) {
            snapshot.mms.insert(id, self.view_mm(mm));
        }
        for (id, open) in (0..).map(MigrationId).zip(&self.migrations) {
            if let Some(open) = open {
                let pfns = open.slots.iter().map(|slot| self.migrate_pfn(slot)).collect();
                snapshot.migrations.insert(id, pfns);
            }
        }
        for (id, handle) in (0..).map(HandleId).zip(&self.handles) {
            if !handle.pages.is_empty() {
                let pages = handle.pages.iter().map(|page| self.ledger.page_ref(*page)).collect();
                snapshot.handles.insert(id, pages);
            }
            if !handle.pinned {
                let zeroes = handle.pages.iter().filter(|page| **page == Page::Zero).count();
                snapshot.zero_refs += zeroes as u32;
            }
        }
        snapshot
    }

    fn view_mm(&self, mm: &Mm) -> MmView {
        let mut view = MmView { has_pinned: mm.has_pinned, ..MmView::default() };
        for vma in &mm.vmas {
            match view.vmas.last_mut() {
                Some(last) if last.end == vma.start && last.flags == vma.flags => {
                    last.end = vma.end;
                }
                _ => view.vmas.push(VmaView { start: vma.start, end: vma.end, flags: vma.flags }),
            }
        }
        for (number, pmd) in (0..).zip(&mm.pmds) {
            match *pmd {
                Pmd::None => {}
                Pmd::Table => {
                    view.tables.insert(number);
                }
                Pmd::Huge(entry) => {
                    view.huge.insert(number, self.ledger.view(entry));
                }
            }
        }
        let present = (0..).zip(&mm.entries).filter_map(|(vpn, entry)| Some((vpn, (*entry)?)));
        view.entries = present.map(|(vpn, entry)| (vpn, self.ledger.view(entry))).collect();
        view
    }
}

fn view_folio(folio: &Folio) -> FolioView {
    let pages = &folio.pages;
    FolioView {
        order: folio.order,
        place: folio.place,
        anon: folio.anon,
        refcount: folio.refcount() as i64,
        entire_mapcount: folio.entire_mapcount(),
        mapcount: (0..pages.len() as u32).map(|sub| folio.page_mapcount(sub)).collect(),
        pincount: folio.pincount(),
        exclusive: pages.iter().map(|page| page.exclusive).collect(),
        locked: folio.locked(),
        lru: folio.lru,
        dirty: folio.dirty,
        data: pages.iter().map(|page| page.data).collect(),
    }
}
