//! Pages that a device has to itself (B13, K12).

use program::{Device, EntryKind, Errno, MmId, Ret, Site, Span};

use crate::folio::Owner;
use crate::gup::Want;
use crate::ledger::FolioId;
use crate::mm::{Entry, Page, Pmd};
use crate::state::{Done, State, Stop, fail};
use crate::vma::Vma;

impl State {
    /// `dmirror_exclusive`: EBUSY at the first chunk of which not every page became exclusive.
    pub fn device_exclusive(
        &mut self,
        mm: MmId,
        span: Span,
        device: Device,
        values: &mut Vec<u64>,
    ) -> Done<Ret> {
        let mut start = span.start;
        while start < span.end {
            let chunk = Span { start, end: span.end.min(start + self.driver_chunk()) };
            let found = self.make_device_exclusive_range(mm, chunk)?;
            let all_found = found.len() as u32 == chunk.end - chunk.start;
            for (vpn, folio) in (chunk.start..).zip(&found) {
                let Some(folio) = *folio else { continue };
                if let Some(entry) = self.entry(mm, vpn).filter(|_| all_found) {
                    self.set_entry(mm, vpn, Some(Entry { device: Some(device), ..entry }));
                }
                values.push(self.ledger.data(Page::Of(folio, 0)));
                self.ledger.unrelate(folio, Owner::Operation);
            }
            if !all_found || found.contains(&None) {
                values.clear();
                return fail(Errno::EBUSY);
            }
            start = chunk.end;
        }
        Ok(Ret::Ok(span.end - span.start))
    }

    /// The pages that GUP found; none where one did not become exclusive. The operation holds the
    /// others.
    fn make_device_exclusive_range(&mut self, mm: MmId, span: Span) -> Done<Vec<Option<FolioId>>> {
        let mut pages = Vec::new();
        for vpn in span.start..span.end {
            match self.get_for_device(mm, vpn) {
                Ok(page) => pages.push(page),
                Err(Stop::Fail(_)) => break,
                Err(sleep) => return Err(sleep),
            }
        }
        let mut found = Vec::new();
        for (vpn, (folio, sub)) in (span.start..).zip(pages) {
            let head = sub == 0 && !self.is_locked(folio);
            let exclusive = head && self.make_exclusive(folio, mm, vpn);
            if !exclusive {
                self.ledger.unrelate(folio, Owner::Operation);
            }
            found.push(exclusive.then_some(folio));
        }
        Ok(found)
    }

    /// FOLL_GET | FOLL_WRITE | FOLL_SPLIT_PMD of one page.
    fn get_for_device(&mut self, mm: MmId, vpn: u32) -> Done<(FolioId, u32)> {
        let want = Want { write: true, ..Want::default() };
        loop {
            if !self.vma(mm, vpn).is_some_and(|vma| vma.is_writable()) {
                return fail(Errno::EFAULT);
            }
            if let Pmd::Huge(_) = self.pmd(mm, vpn / self.ptes) {
                self.split_huge_pmd(mm, vpn / self.ptes);
            }
            match self.follow_page(mm, vpn, want) {
                Err(access) => self.faultin_page(mm, vpn, access, want)?,
                Ok(mapped) => {
                    self.attempt(Site::Grab)?;
                    let Page::Of(folio, sub) = mapped.entry.page else { continue };
                    self.ledger.relate(folio, Owner::Operation);
                    return Ok((folio, sub));
                }
            }
        }
    }

    /// Every PTE of the folio becomes a device-exclusive entry, in the order of `rmap_walk`, up to
    /// one that is no mapping. Whether it was writable at the address, and nothing maps it any more.
    fn make_exclusive(&mut self, folio: FolioId, mm: MmId, vpn: u32) -> bool {
        if !self.ledger.folio(folio).anon {
            return false;
        }
        let mut places: Vec<(MmId, u32)> = Vec::new();
        for owner in &self.ledger.folio(folio).owners {
            if let Owner::Pte { mm, vpn, .. } | Owner::ExclusivePte { mm, vpn } = *owner {
                places.push((mm, vpn));
            }
        }
        places.sort_unstable_by_key(|&(mm, vpn)| self.rmap_order(mm, vpn));
        let mut valid = false;
        for (of, at) in places {
            let Some(entry) = self.entry(of, at).filter(Entry::is_present) else { break };
            valid |= (of, at) == (mm, vpn) && entry.write;
            self.set_exclusive_entry(of, at, entry);
        }
        valid && self.ledger.folio(folio).mapcount() == 0
    }

    /// Where `rmap_walk` comes to an entry, the interval tree of an anon_vma: by the first index of
    /// each VMA.
    pub fn rmap_order(&self, mm: MmId, vpn: u32) -> (Option<u32>, MmId, u32) {
        (self.vma(mm, vpn).map(|vma| vma.pgoff), mm, vpn)
    }

    /// A mapping becomes a device-exclusive entry.
    pub fn set_exclusive_entry(&mut self, mm: MmId, vpn: u32, entry: Entry) {
        let kind = EntryKind::DeviceExclusive;
        self.set_entry(mm, vpn, Some(Entry { kind, read: false, dirty: false, ..entry }));
        self.removed_mapping(entry.page);
    }

    /// `restore_exclusive_pte`: a mapping again, writable if it was.
    pub fn restore_exclusive(&mut self, mm: MmId, vpn: u32, vma: &Vma, entry: Entry) {
        let write = entry.write && vma.is_writable();
        self.set_entry(mm, vpn, Some(Entry::present(entry.page, vma.is_readable(), write)));
    }

    /// `mmu_notifier_invalidate_range_start`: the drivers lose what they map of the range.
    pub fn devices_unmap(&mut self, mm: MmId, span: Span) {
        for vpn in span.start..span.end {
            if let Some(entry) = self.entry(mm, vpn).filter(|entry| entry.device.is_some()) {
                self.set_entry(mm, vpn, Some(Entry { device: None, ..entry }));
            }
        }
    }

    /// mprotect of an entry that is not present (B8): write is gone until a fault.
    pub fn without_write(&self, entry: Entry) -> Entry {
        let anon = matches!(entry.page, Page::Of(folio, _) if self.ledger.folio(folio).anon);
        let kind = match entry.kind {
            EntryKind::Migration { exclusive } => {
                EntryKind::Migration { exclusive: exclusive || (anon && entry.write) }
            }
            other => other,
        };
        Entry { kind, write: false, device: None, ..entry }
    }
}
