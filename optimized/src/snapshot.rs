//! The canonical state, read off page tables and frames.

use std::collections::BTreeMap;

use program::{FolioView, HandleId, MmView, Place, Snapshot, VmaView};

use crate::frame::Pfn;
use crate::pgtable::Pmd;
use crate::world::{Mm, World, task_id};

impl World {
    pub(crate) fn build_snapshot(&self) -> Snapshot {
        let name = |pfn: Pfn| self.frames.name(pfn);
        let batch = |pfns: &Vec<Pfn>| {
            let mut names: Vec<_> = pfns.iter().map(|&pfn| name(pfn)).collect();
            names.sort_unstable();
            names
        };
        let cpus = usize::from(self.shape.cpus);
        Snapshot {
            folios: self.folios().map(|pfn| (name(pfn), self.folio_view(pfn))).collect(),
            mms: self.live_mms().map(|mm| (mm, self.mm_view(self.mm(mm)))).collect(),
            handles: (0..=u8::MAX)
                .map(HandleId)
                .zip(self.handles.borrow().iter())
                .filter(|(_, held)| !held.pages.is_empty())
                .map(|(id, h)| (id, h.pages.iter().map(|&pfn| self.page_ref(pfn)).collect()))
                .collect(),
            locks: self.held_locks().map(|(id, pfn)| (id, name(pfn))).collect(),
            migrations: self.migrations_view(),
            cache: self.cache.borrow().iter().map(|&(o, i, pfn)| ((o, i), name(pfn))).collect(),
            batches: self.batches[..cpus].iter().map(|b| batch(&b.borrow())).collect(),
            used: Place::ALL.map(|place| self.zones.used(place)),
            zero_refs: self.zero_refs.get() as u32,
        }
    }

    fn folio_view(&self, head: Pfn) -> FolioView {
        let frames = &self.frames;
        let pages = || (0..frames.nr_pages(head)).map(move |i| Pfn(head.0 + i));
        FolioView {
            order: frames.order(head),
            place: frames.place(head),
            anon: frames.anon(head),
            refcount: frames.refcount(head),
            entire_mapcount: frames.entire_mapcount(head) as u32,
            mapcount: pages().map(|pfn| frames.page_mapcount(pfn) as u32).collect(),
            pincount: frames.pincount(head) as u32,
            exclusive: pages().map(|pfn| frames.exclusive(pfn)).collect(),
            locked: frames.lock(head).owner().map(task_id),
            lru: frames.lru(head),
            dirty: frames.shown_dirty(head),
            data: pages().map(|pfn| frames.data(pfn)).collect(),
        }
    }

    fn mm_view(&self, mm: &Mm) -> MmView {
        let mut view = MmView { has_pinned: mm.has_pinned.get(), ..MmView::default() };
        for vma in mm.vmas.borrow().iter() {
            match view.vmas.last_mut() {
                Some(last) if last.end == vma.start && last.flags == vma.flags => {
                    last.end = vma.end;
                }
                _ => view.vmas.push(VmaView { start: vma.start, end: vma.end, flags: vma.flags }),
            }
        }
        let mut entries = BTreeMap::new();
        for (number, pmd) in (0..).zip(mm.pmds.borrow().iter()) {
            match *pmd {
                Pmd::Table(table) => {
                    view.tables.insert(number);
                    for vpn in self.pmd_start(number)..self.pmd_start(number + 1) {
                        if let Some(entry) = self.pte_view(self.pte(table, vpn)) {
                            entries.insert(vpn, entry);
                        }
                    }
                }
                Pmd::Huge { pfn, bits, .. } => {
                    view.huge.insert(number, self.entry_view(pfn, bits));
                }
                Pmd::None | Pmd::Migration { .. } => {}
            }
        }
        view.entries = entries;
        view
    }
}
