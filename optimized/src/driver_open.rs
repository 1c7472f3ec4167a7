//! A driver's migrations that stay open between their operations: `migrate_vma_setup`,
//! `migrate_vma_pages` and `migrate_vma_finalize` as operations of their own.

use std::collections::BTreeMap;

use program::{
    Device, DeviceMark, Errno, MigratePfn, MigrationId, MmId, Seen, Select, Span, digest,
};

use crate::driver::Open;
use crate::frame::Pfn;
use crate::migrate_device::{MigrateVma, Pfns};
use crate::pgtable::Pte;
use crate::world::{Cx, World};

#[twice]
impl World {
    #[expect(clippy::too_many_arguments, reason = "they are those of struct migrate_vma")]
    pub(crate) async fn op_migrate_setup(
        &self,
        cx: &Cx,
        mm: MmId,
        span: Span,
        migration: MigrationId,
        device: Device,
        select: Select,
        fault: bool,
    ) -> Result<u32, Errno> {
        let mut args = self.migration(Some(mm), device, select, migration.task());
        self.mmap_read_lock(mm).await;
        let ready = match self.fault_page(mm, span.start, fault) {
            Ok(page) => {
                args.fault_page = page;
                self.migrate_vma_setup(cx, &mut args, span).await
            }
            Err(errno) => Err(errno),
        };
        match ready {
            // The driver keeps mmap_lock until it has finalized.
            Ok(_) => self.migration_keep(migration, Open { args, paged: false }),
            Err(_) => {
                let mark = DeviceMark::Invalid { mm, span, fault };
                self.device_mark(cx, mark, || Seen::Flag(true));
                self.mmap_read_unlock(mm);
            }
        }
        ready
    }

    /// The page that a driver names as `fault_page`: whatever there is.
    fn fault_page(&self, mm: MmId, vpn: u32, fault: bool) -> Result<Option<Pfn>, Errno> {
        match self.lookup_pte(mm, vpn) {
            _ if !fault => Ok(None),
            Pte::DevicePrivate { pfn, .. } => Ok(Some(pfn)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The migration stays open after the operation, with its locks.
    pub(crate) fn migration_keep(&self, id: MigrationId, open: Open) {
        let locked = |pfns: &Pfns| [pfns.src, pfns.dst].into_iter().flatten();
        for page in open.args.pfns.iter().flat_map(locked) {
            if self.frames.lock(page).owner().is_some() {
                self.frames.lock(page).keep(&self.machine);
            }
        }
        if open.args.mm.is_some() {
            self.machine.released(); // mmap_lock
        }
        self.migration_terms(id, &open.args, true);
        let at = usize::from(id.0);
        let mut list = self.drivers.open.borrow_mut();
        if list.len() <= at {
            list.resize(at + 1, None);
        }
        list[at] = Some(open);
    }

    /// The next operation of a migration takes it over.
    pub(crate) fn migration_take(&self, id: MigrationId) -> Option<Open> {
        let open = self.drivers.open.borrow_mut().get_mut(usize::from(id.0))?.take()?;
        self.migration_terms(id, &open.args, false);
        let locked = |pfns: &Pfns| [pfns.src, pfns.dst].into_iter().flatten();
        for page in open.args.pfns.iter().flat_map(locked) {
            if self.frames.lock(page).owner().is_some() {
                self.machine.acquired();
            }
        }
        if open.args.mm.is_some() {
            self.machine.acquired();
        }
        Some(open)
    }

    fn migration_terms(&self, id: MigrationId, args: &MigrateVma, add: bool) {
        for (index, pfns) in (0..).zip(&args.pfns) {
            let term = digest::migration(id, index, self.migrate_pfn(pfns));
            if add { self.frames.add(term) } else { self.frames.sub(term) }
        }
    }

    fn migrate_pfn(&self, pfns: &Pfns) -> MigratePfn {
        let name = |page: Option<Pfn>| page.map(|page| self.frames.name(page));
        MigratePfn { src: name(pfns.src), migrate: pfns.migrate, dst: name(pfns.dst) }
    }

    /// Every open migration, for the snapshot.
    pub(crate) fn migrations_view(&self) -> BTreeMap<MigrationId, Vec<MigratePfn>> {
        let open = self.drivers.open.borrow();
        let view = |open: &Open| open.args.pfns.iter().map(|pfns| self.migrate_pfn(pfns)).collect();
        let listed = (0..).map(MigrationId).zip(open.iter());
        listed.filter_map(|(id, open)| Some((id, view(open.as_ref()?)))).collect()
    }
}
