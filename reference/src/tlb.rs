//! What TLBs may still say (C2): an entry that was taken back, or write-protected, is used by other
//! CPUs until the operation that did so has flushed.
//!
//! Only marks leave something stale, and only those of changes that the kernel flushes afterwards;
//! where it clears an entry, flushes and then sets a new one (`ptep_clear_flush`), the change as
//! a whole is what is marked.

use program::{Access, MmId, PageRef, Span};

use crate::mm::Page;
use crate::state::State;

/// A translation that a TLB may have and the page table has not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stale {
    /// The step that has to flush it before it returns.
    pub number: usize,
    mm: MmId,
    vpn: u32,
    page: PageRef,
    write: bool,
}

impl State {
    /// The running step is about to change the entry of a page.
    pub fn leave_stale(&mut self, mm: MmId, vpn: u32) {
        let Some(entry) = self.translate(mm, vpn).map(|mapped| mapped.entry) else { return };
        if entry.read {
            let (number, page) = (self.now.number, self.ledger.page_ref(entry.page));
            self.stale.push(Stale { number, mm, vpn, page, write: entry.write });
        }
    }

    /// The same, of all pages below a PMD.
    pub fn leave_stale_pmd(&mut self, mm: MmId, pmd: u32) {
        (pmd * self.ptes..(pmd + 1) * self.ptes).for_each(|vpn| self.leave_stale(mm, vpn));
    }

    /// No TLB has what the running step left of these pages. (What others left meanwhile came too
    /// late for a CPU that had answered already.)
    pub fn flush(&mut self, mm: MmId, span: Span) {
        let inside = |vpn: u32| span.start <= vpn && vpn < span.end;
        let own = self.now.number;
        self.stale.retain(|stale| stale.number != own || stale.mm != mm || !inside(stale.vpn));
    }

    /// Whether a TLB may still have the page writable there.
    pub fn may_be_written(&self, mm: MmId, vpn: u32, page: Page) -> bool {
        let page = self.ledger.page_ref(page);
        let known = |stale: &Stale| (stale.mm, stale.vpn, stale.page) == (mm, vpn, page);
        self.stale.iter().any(|stale| known(stale) && stale.write)
    }

    /// The page that an access goes to, if the entry permits it, or the TLB that leads to the `stale`
    /// page may have that.
    pub fn accessible(
        &self,
        mm: MmId,
        vpn: u32,
        access: Access,
        stale: Option<PageRef>,
    ) -> Option<Page> {
        let writes = access == Access::Write;
        let mapped = self.translate(mm, vpn).map(|mapped| mapped.entry);
        let permitted = mapped.filter(|entry| entry.read && (entry.write || !writes));
        let permitted = permitted.map(|entry| entry.page);
        let Some(old) = stale else { return permitted };
        if permitted.map(|page| self.ledger.page_ref(page)) == Some(old) {
            return permitted; // the change is not marked yet
        }
        let known = |stale: &&Stale| (stale.mm, stale.vpn, stale.page) == (mm, vpn, old);
        let mut left = self.stale.iter().filter(known);
        left.any(|stale| stale.write || !writes).then(|| self.page(old)).flatten()
    }
}
