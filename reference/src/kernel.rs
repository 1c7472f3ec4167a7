//! Which Linux the reference is: rules that changed between versions, each asked for in one place.
//! Everything else is 6.12.

/// A kernel's version, and the settings of a machine that sequential programs notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel {
    version: (u16, u16),
    fault_around: u32,
}

impl Default for Kernel {
    fn default() -> Self {
        Kernel::version(6, 12)
    }
}

impl Kernel {
    /// A version, `fault_around_bytes` being one page (decision 4).
    pub const fn version(major: u16, minor: u16) -> Kernel {
        Kernel { version: (major, minor), fault_around: 1 }
    }

    /// Read faults of object-backed memory map up to so many pages that are cached already.
    pub fn with_fault_around(self, pages: u32) -> Kernel {
        Kernel { fault_around: pages.max(1), ..self }
    }

    /// The kernel that a release string such as `6.18.44-cloud` names.
    pub fn parse(release: &str) -> Option<Kernel> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let mut number = || numbers.next()?.parse().ok();
        Some(Kernel::version(number()?, number()?))
    }

    /// This version, on a machine with the settings of `other`.
    pub fn as_set_by(self, other: Kernel) -> Kernel {
        Kernel { version: self.version, ..other }
    }

    /// Major and minor.
    pub fn release(self) -> (u16, u16) {
        self.version
    }

    /// `fault_around_pages`.
    pub(crate) fn fault_around(self) -> u32 {
        self.fault_around
    }

    /// 6.14: MADV_DONTNEED of all that a table maps frees the table (CONFIG_PT_RECLAIM).
    pub(crate) fn dontneed_frees_tables(self) -> bool {
        self.version >= (6, 14)
    }

    /// 6.16: a VMA that has an anon_vma merges with a neighbour that has none
    /// (`is_mergeable_anon_vma`); before, only the other way round.
    pub(crate) fn merges_into_unfaulted(self) -> bool {
        self.version >= (6, 16)
    }

    /// 6.17: `remap_move` moves every VMA of the range, gaps included; before, a range that is not
    /// in one VMA is EFAULT (`vma_to_resize`).
    pub(crate) fn mremap_moves_many(self) -> bool {
        self.version >= (6, 17)
    }

    /// 6.18: a collapse asks no longer for a writable PTE (SCAN_PAGE_RO went).
    pub(crate) fn collapses_read_only(self) -> bool {
        self.version >= (6, 18)
    }

    /// 6.18: `filemap_map_pages` installs a missing page table only if the first cached folio ends
    /// before the file does (`can_map_large`); else it maps nothing.
    pub(crate) fn last_page_makes_no_table(self) -> bool {
        self.version >= (6, 18)
    }

    /// 6.15: `__wp_can_reuse_large_anon_folio` (CONFIG_MM_ID): a write to a PTE-mapped page of a
    /// large folio that one mm alone maps, and nothing else holds, reuses it.
    pub(crate) fn reuses_large_folios(self) -> bool {
        self.version >= (6, 15)
    }
}
