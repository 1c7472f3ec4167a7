//! Writes to what is mapped read-only (kernel: `mm/memory.c:do_wp_page`): reuse or copy.

use program::{Foll as FollKind, Mark, MmId, Seen, Site};

use crate::coverage::Path;
use crate::defects::Defect;
use crate::frame::{Pfn, ZERO_PFN};
use crate::memory::{Access, Fault, Vmf, mkwrite};
use crate::pgtable::{Bits, Pmd, Pte};
use crate::world::{Cx, World};

#[twice]
impl World {
    /// `copy_mc_user_highpage`.
    pub(crate) async fn copy_page(&self, cx: &Cx, to: Pfn, from: Pfn) {
        self.machine.point().await;
        let data = self.frames.data(from);
        self.frames.set_data(to, data);
        self.mark(cx, || {
            let page = self.page_ref(from);
            (Mark::CopyFrom { page }, Seen::Data(page, data))
        });
    }

    /// `do_wp_page`: write (or unshare) of a present read-only PTE. Drops the PTL, which the caller
    /// took.
    pub(crate) async fn do_wp_page(
        &self,
        cx: &Cx,
        vmf: &Vmf,
        pfn: Pfn,
        bits: Bits,
    ) -> Result<(), Fault> {
        let unshare = vmf.access == Access::Unshare;
        if vmf.vma.flags.shared {
            return self.wp_page_shared(cx, vmf, pfn, bits).await;
        }
        if pfn == ZERO_PFN {
            self.hit(Path::WpZeroPage);
            self.ptl_unlock(cx, vmf.mm);
            return self.wp_page_copy(cx, vmf, pfn, bits).await;
        }
        let head = self.frames.head(pfn);
        if self.frames.anon(head)
            && (self.frames.exclusive(pfn) || self.wp_can_reuse_anon_folio(cx, vmf, head))
        {
            self.hit(if unshare { Path::UnshareReuse } else { Path::WpReuse });
            self.frames.set_exclusive(pfn, true);
            if !unshare {
                self.set_pte_at(vmf, Pte::Present { pfn, bits: mkwrite(&vmf.vma, bits) });
            }
            self.fault_mark(cx, vmf, false, None);
            self.ptl_unlock(cx, vmf.mm);
            return Ok(());
        }
        self.reusable_mark(cx, vmf);
        self.hit(match (unshare, self.frames.large(head)) {
            (true, _) => Path::UnshareCopy,
            (false, false) => Path::WpCopy,
            (false, true) => Path::WpCopyLarge,
        });
        self.hold(cx, head, 1, FollKind::Get);
        self.ptl_unlock(cx, vmf.mm);
        self.wp_page_copy(cx, vmf, pfn, bits).await
    }

    /// A write fault does not reuse the page that it finds.
    pub(crate) fn reusable_mark(&self, cx: &Cx, vmf: &Vmf) {
        let Vmf { mm, vpn, .. } = *vmf;
        self.mark(cx, || (Mark::Reusable { mm, vpn }, Seen::Flag(false)));
    }

    /// `wp_can_reuse_anon_folio`. Whoever has the folio lock has a reference too, so that it never is
    /// the lock alone that is in the way.
    fn wp_can_reuse_anon_folio(&self, cx: &Cx, vmf: &Vmf, head: Pfn) -> bool {
        if self.frames.large(head) {
            return false;
        }
        if self.has(Defect::ReuseByMapcount) {
            return self.frames.mapcount(head) == 1;
        }
        if self.frames.refcount(head) > 3 {
            return false;
        }
        if !self.frames.lru(head) {
            self.lru_add_drain(cx.cpu);
        }
        if self.frames.refcount(head) > 1 {
            return false;
        }
        if !self.folio_trylock(cx, head) {
            return false;
        }
        self.folio_move_anon_rmap(vmf.mm, vmf.vpn, head, 0);
        self.folio_unlock(cx, head);
        true
    }

    /// `folio_move_anon_rmap`: the folio now belongs to this VMA's anon_vma.
    pub(crate) fn folio_move_anon_rmap(&self, mm: MmId, vpn: u32, head: Pfn, sub: u32) {
        let mapping = self.anon_mapping(mm, vpn, sub);
        self.frames.set_mapping(head, mapping);
    }

    /// `wp_page_shared`: page_mkwrite of a regular file (shmem entries are never read-only here).
    async fn wp_page_shared(&self, cx: &Cx, vmf: &Vmf, pfn: Pfn, bits: Bits) -> Result<(), Fault> {
        self.hit(Path::WpShared);
        let head = self.frames.head(pfn);
        self.hold(cx, head, 1, FollKind::Get);
        self.ptl_unlock(cx, vmf.mm);
        self.folio_lock(cx, head).await;
        self.set_page_dirty(cx, head);
        let orig = Pte::Present { pfn, bits };
        if let Ok(Some(table)) = self.pte_same_lock(cx, vmf, orig).await {
            let bits = mkwrite(&vmf.vma, bits);
            self.set_pte(vmf.mm, table, vmf.vpn, Pte::Present { pfn, bits });
            self.fault_mark(cx, vmf, false, None);
            self.ptl_unlock(cx, vmf.mm);
        }
        self.folio_unlock(cx, head);
        self.unhold(cx, head, 1, FollKind::Get);
        Ok(())
    }

    /// `set_page_dirty` of a page-cache folio.
    pub(crate) fn set_page_dirty(&self, cx: &Cx, head: Pfn) {
        self.frames.set_dirty(head);
        self.mark(cx, || (Mark::Dirty { folio: self.frames.name(head) }, Seen::Nothing));
    }

    /// `wp_page_copy`. For anything but the zero page the caller got a reference on the old folio.
    async fn wp_page_copy(&self, cx: &Cx, vmf: &Vmf, old: Pfn, bits: Bits) -> Result<(), Fault> {
        let Vmf { mm, ref vma, vpn, .. } = *vmf;
        let held = (old != ZERO_PFN).then(|| self.frames.head(old));
        let put_old = || held.into_iter().for_each(|head| self.unhold(cx, head, 1, FollKind::Get));
        let new = match self.wp_page_prepare(cx, vmf).await {
            Ok(new) => new,
            Err(fault) => {
                put_old();
                return Err(fault);
            }
        };
        if !self.has(Defect::CowForgetsCopy) {
            self.copy_page(cx, new, old).await;
        }
        let orig = Pte::Present { pfn: old, bits };
        let locked = self.pte_same_lock(cx, vmf, orig).await;
        let Ok(Some(table)) = locked else {
            self.folio_put(new);
            put_old();
            return locked.map(|_| ());
        };
        let bits = match vmf.access {
            Access::Unshare => bits.wrprotect(),
            _ => mkwrite(vma, bits),
        };
        // ptep_clear_flush before the new entry is set. What there will be is marked when there is no
        // way back: a speculative fault keeps nobody from changing its VMA during the flush.
        self.set_pte(mm, table, vpn, Pte::None);
        self.add_new_anon_rmap(cx, mm, vpn, new);
        if let Some(head) = held {
            self.folio_remove_rmap_pte(old);
            self.folio_put(head); // the mapping's; the fault's is left
        }
        self.mark(cx, || {
            let placed = Some(self.frames.place(new));
            let mark = Mark::Fault { mm, vpn, access: vmf.access, copied: true, placed };
            (mark, Seen::Entry(self.entry_view(new, bits)))
        });
        self.flush_tlb_page(cx, mm, vpn).await;
        self.set_pte(mm, table, vpn, Pte::Present { pfn: new, bits });
        self.ptl_unlock(cx, mm);
        put_old();
        Ok(())
    }

    /// What `wp_page_copy` needs before it copies: the new page.
    async fn wp_page_prepare(&self, cx: &Cx, vmf: &Vmf) -> Result<Pfn, Fault> {
        self.vmf_anon_prepare(cx, vmf).await?;
        self.folio_alloc(cx, Site::Page, 0, true).ok_or(Fault::Oom)
    }

    /// `set_pte_at` at the faulting address.
    pub(crate) fn set_pte_at(&self, vmf: &Vmf, pte: Pte) {
        if let Pmd::Table(table) = self.pmd(vmf.mm, self.pmd_number(vmf.vpn)) {
            self.set_pte(vmf.mm, table, vmf.vpn, pte);
        }
    }
}
