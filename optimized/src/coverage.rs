//! Domain coverage: fault paths and bail-out reasons, counted.

/// Declares `Path` with a printable name for each variant.
macro_rules! paths {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A fault path or a reason to back off, as the kernel's tracepoints would name it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        pub enum Path { $($(#[$doc])* $variant,)* }

        impl Path {
            /// Every path, in the order of the counters.
            pub const ALL: &'static [Path] = &[$(Path::$variant,)*];

            /// Stable name: lower case and dashes.
            pub fn name(self) -> &'static str {
                match self { $(Path::$variant => $name,)* }
            }
        }
    };
}

paths! {
    /// handle_speculative_fault did it (SPECULATIVE_PGFAULT).
    Speculative = "spf",
    /// A writer was or came inside the VMA (spf_vma_changed).
    SpfVmaChanged = "spf-vma-changed",
    /// No anon_vma yet (spf_vma_noanon).
    SpfNoAnon = "spf-vma-noanon",
    /// A VMA that is never faulted in speculatively (spf_vma_notsup).
    SpfNotSup = "spf-vma-notsup",
    /// The VMA forbids the access (spf_vma_access).
    SpfAccess = "spf-vma-access",
    /// The page table went away (spf_pmd_changed).
    SpfPmdChanged = "spf-pmd-changed",
    /// No page table.
    SpfNoTable = "spf-no-table",
    /// An entry that is neither present nor none.
    SpfSpecial = "spf-special-entry",
    /// Too many tries for the page table's lock.
    SpfLocked = "spf-ptl-locked",
    /// A fault was handled under the VMA's lock (VMA_LOCK_SUCCESS).
    VmaLockFault = "vma-lock",
    /// The VMA's lock was not to be had (VMA_LOCK_ABORT).
    VmaLockAbort = "vma-lock-abort",
    /// The VMA was detached meanwhile (VMA_LOCK_MISS).
    VmaLockMiss = "vma-lock-miss",
    /// A fault under the VMA's lock was made again (VMA_LOCK_RETRY).
    VmaLockRetry = "vma-lock-retry",
    /// handle_userfault: the fault waits for user space.
    UffdWait = "uffd-wait",
    /// handle_userfault: SIGBUS.
    UffdSigbus = "uffd-sigbus",
    /// UFFDIO_COPY mapped a page.
    UffdCopy = "uffd-copy",
    /// UFFDIO_ZEROPAGE mapped the zero page.
    UffdZeroPage = "uffd-zeropage",
    /// A page was there already.
    UffdExists = "uffd-exists",
    /// A registered VMA has pages missing.
    CollapseUffd = "collapse-uffd",
    /// do_anonymous_page, read.
    AnonZeroPage = "anon-zero-page",
    /// do_anonymous_page, write.
    AnonPage = "anon-page",
    /// do_huge_pmd_anonymous_page.
    ThpFault = "thp-fault",
    /// No huge folio: VM_FAULT_FALLBACK.
    ThpFallback = "thp-fallback",
    /// do_read_fault.
    FileRead = "file-read",
    /// do_cow_fault.
    FileCow = "file-cow",
    /// do_shared_fault.
    FileShared = "file-shared",
    /// filemap_fault beyond the end of file.
    BeyondEof = "file-beyond-eof",
    /// do_wp_page on the shared zero page.
    WpZeroPage = "wp-zero-page",
    /// wp_page_reuse.
    WpReuse = "wp-reuse",
    /// wp_page_copy of an order-0 folio.
    WpCopy = "wp-copy",
    /// wp_page_copy of a page of a large folio.
    WpCopyLarge = "wp-copy-large",
    /// wp_page_shared.
    WpShared = "wp-shared",
    /// The entry changed under a fault (pte_same, pmd_same).
    FaultRaced = "fault-raced",
    /// do_huge_pmd_wp_page, head exclusive.
    HugeWpReuse = "huge-wp-reuse",
    /// do_huge_pmd_wp_page, last reference.
    HugeWpLast = "huge-wp-last-ref",
    /// do_huge_pmd_wp_page, VM_FAULT_FALLBACK.
    HugeWpSplit = "huge-wp-split",
    /// FAULT_FLAG_UNSHARE made the page exclusive.
    UnshareReuse = "unshare-reuse",
    /// FAULT_FLAG_UNSHARE copied it.
    UnshareCopy = "unshare-copy",
    /// Slow GUP took a page at PTE level.
    GupPte = "gup-pte",
    /// Slow GUP took pages at PMD level.
    GupPmd = "gup-pmd",
    /// Slow GUP took a run of PTEs of a large folio.
    GupPteRun = "gup-pte-run",
    /// Slow GUP batched by page_mask.
    GupPageMask = "gup-page-mask",
    /// The grab of the rest of a batch was refused.
    GupSecondGrabRefused = "gup-second-grab-refused",
    /// Slow GUP faulted a page in.
    GupFault = "gup-fault",
    /// Slow GUP unshared a page.
    GupUnshare = "gup-unshare",
    /// GUP-fast took a PTE.
    FastPte = "fast-pte",
    /// GUP-fast took (part of) a huge PMD.
    FastPmd = "fast-pmd",
    /// GUP-fast took a run of PTEs of a large folio.
    FastPteRun = "fast-pte-run",
    /// GUP-fast: no table.
    FastNoTable = "fast-no-table",
    /// GUP-fast: entry not present.
    FastNotPresent = "fast-not-present",
    /// GUP-fast: PROT_NONE, or read-only for a write.
    FastNotPermitted = "fast-not-permitted",
    /// GUP-fast: the zero page.
    FastSpecial = "fast-special",
    /// GUP-fast: the page must be unshared.
    FastUnshare = "fast-must-unshare",
    /// GUP-fast: try_grab_folio_fast refused.
    FastGrabRefused = "fast-grab-refused",
    /// GUP-fast: not longterm pinnable.
    FastUnpinnable = "fast-unpinnable",
    /// GUP-fast: a longterm write to a dirty-tracked file.
    FastNotAllowed = "fast-not-allowed",
    /// A longterm pin moved folios and starts anew.
    LongtermMigrate = "longterm-migrate",
    /// A longterm pin could not move a folio.
    LongtermMigrateFailed = "longterm-migrate-failed",
    /// A page that may not stay behind others.
    LongtermMixed = "longterm-mixed",
    /// A longterm pin drained this CPU's batch.
    LongtermDrain = "longterm-drain",
    /// A longterm pin drained every batch.
    LongtermDrainAll = "longterm-drain-all",
    /// GUP-fast: the entry changed under the grab.
    FastChanged = "fast-changed",
    /// GUP-fast: a fork runs, or ran meanwhile.
    FastForked = "fast-forked",
    /// Unpin of several pages of one folio at once.
    UnpinBatch = "unpin-batch",
    /// Unpin by the ranges that GUP handed over.
    UnpinRanges = "unpin-ranges",
    /// Unpin by range.
    UnpinRange = "unpin-range",
    /// fork shared an anonymous page.
    ForkAnon = "fork-anon",
    /// fork copied a file PTE.
    ForkFile = "fork-file",
    /// fork copied a pinned page.
    ForkCopyPinned = "fork-copy-pinned",
    /// fork shared a huge PMD.
    ForkHuge = "fork-huge",
    /// fork split a pinned huge PMD.
    ForkHugePinned = "fork-huge-pinned",
    /// fork failed and tore the child down.
    ForkFailed = "fork-failed",
    /// __split_huge_pmd.
    SplitPmd = "split-pmd",
    /// split_huge_page.
    SplitFolio = "split-folio",
    /// A split found references that it did not expect.
    SplitBusy = "split-busy",
    /// A split mapped the zero page instead of an untouched one.
    SplitZeroPage = "split-zero-page",
    /// zap_huge_pmd.
    ZapHuge = "zap-huge",
    /// zap_pte_range.
    ZapPte = "zap-pte",
    /// A page left the page cache.
    Truncate = "truncate",
    /// can_change_pte_writable said yes.
    ProtUpgrade = "prot-upgrade",
    /// can_change_pmd_writable said yes.
    ProtUpgradeHuge = "prot-upgrade-huge",
    /// move_huge_pmd.
    MoveHuge = "move-huge",
    /// move_normal_pmd.
    MoveTable = "move-table",
    /// move_ptes.
    MovePtes = "move-ptes",
    /// move_vma went back.
    MoveUndone = "move-undone",
    /// collapse_huge_page.
    Collapse = "collapse",
    /// SCAN_PMD_NONE.
    CollapseNoTable = "collapse-no-table",
    /// SCAN_PAGE_LOCK.
    CollapseLock = "collapse-locked",
    /// SCAN_PAGE_COUNT.
    CollapseRefs = "collapse-refs",
    /// SCAN_PAGE_RO.
    CollapseReadOnly = "collapse-read-only",
    /// A batch was flushed because it was full.
    BatchFlushFull = "batch-flush-full",
    /// A batch was flushed because of a large folio.
    BatchFlushLarge = "batch-flush-large",
    /// folio_batch_move_lru: a batch's folios went to the LRU.
    BatchMove = "batch-move",
    /// An order-0 folio migrated.
    Migrated = "migrated",
    /// A large folio migrated whole.
    MigratedHuge = "migrated-huge",
    /// A large folio was split to migrate it.
    MigrateSplit = "migrate-split",
    /// Could not be isolated.
    MigrateNotLru = "migrate-not-lru",
    /// Locked by somebody else.
    MigrateLocked = "migrate-locked",
    /// An exclusive page is pinned.
    MigratePinned = "migrate-pinned",
    /// Unexpected references.
    MigrateRefs = "migrate-refs",
    /// No destination.
    MigrateNoDst = "migrate-no-dst",
    /// A page of ZONE_NORMAL may not be pinned for good: its block is being offlined.
    LongtermIsolate = "longterm-isolate",
    /// A memory block was emptied.
    OfflineDone = "offline-done",
    /// A memory block could not be emptied.
    OfflineBusy = "offline-busy",
    /// migrate_vma_collect: nothing mapped yet.
    CollectHole = "collect-hole",
    /// migrate_vma_collect took a page.
    CollectPage = "collect-page",
    /// migrate_vma_collect: locked by somebody else.
    CollectLocked = "collect-locked",
    /// migrate_vma_collect: an exclusive page is pinned.
    CollectPinned = "collect-pinned",
    /// migrate_vma_collect split a huge page.
    CollectSplit = "collect-split",
    /// migrate_vma_collect: the huge page is locked.
    CollectHugeLocked = "collect-huge-locked",
    /// migrate_vma_collect: the huge page cannot be split.
    CollectHugeBusy = "collect-huge-busy",
    /// migrate_device_unmap: lru_add_drain_all.
    UnmapDrainAll = "unmap-drain-all",
    /// migrate_device_unmap put a page back.
    UnmapRestored = "unmap-restored",
    /// migrate_vma_pages: a page moved.
    DeviceMigrated = "device-migrated",
    /// migrate_vma_pages: references that nobody expects.
    DeviceMigrateRefs = "device-migrate-refs",
    /// migrate_vma_pages filled a hole.
    InsertPage = "insert-page",
    /// migrate_vma_pages could not fill a hole.
    InsertAborted = "insert-aborted",
    /// migrate_device_finalize put a page back.
    FinalizeRestored = "finalize-restored",
    /// migrate_to_ram.
    MigrateToRam = "migrate-to-ram",
    /// migrate_to_ram found no memory.
    MigrateToRamFailed = "migrate-to-ram-failed",
    /// A device-private PTE was zapped.
    ZapDevicePrivate = "zap-device-private",
    /// A device-exclusive PTE was zapped.
    ZapDeviceExclusive = "zap-device-exclusive",
    /// fork shared a device-private page.
    ForkDevicePrivate = "fork-device-private",
    /// fork could not lock a device-exclusive page.
    ForkExclusiveLocked = "fork-exclusive-locked",
    /// SCAN_PAGE_NULL: device memory.
    CollapseDevice = "collapse-device",
    /// make_device_exclusive replaced a PTE.
    MadeExclusive = "made-exclusive",
    /// A page could not be made exclusive.
    ExclusiveFailed = "exclusive-failed",
    /// restore_exclusive_pte.
    ExclusiveRestored = "exclusive-restored",
    /// hmm_vma_fault.
    HmmFault = "hmm-fault",
    /// hmm_range_fault reported a huge PMD.
    HmmHuge = "hmm-huge",
    /// hmm_range_fault reported the caller's own device-private page.
    HmmPrivate = "hmm-private",
    /// A device access hit its own page table.
    MirrorHit = "mirror-hit",
    /// `hmm_range_fault` is made again: the notifier sequence moved.
    HmmRetry = "hmm-retry",
    /// A fault waits for the lock of a device-private page.
    DeviceFaultWaits = "device-fault-waits",
}
