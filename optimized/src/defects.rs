//! The catalogue of switchable defects: historic bugs, and classics of single-threaded mm.
//!
//! The code asks `self.has(Defect::…)` at the one place where history differed.

pub use crate::defect_info::{DefectInfo, Kind};
pub use crate::defect_set::Defects;

macro_rules! defects {
    ($($variant:ident {
        id: $id:literal, name: $name:literal, thread: $thread:literal,
        mechanism: $mechanism:literal, expected: $expected:literal $(,)?
    })*) => {
        /// A switchable defect.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        pub enum Defect { $(#[doc = $mechanism] $variant,)* }

        impl Defect {
            /// Every defect, in the order of the catalogue.
            pub const ALL: &'static [Defect] = &[$(Defect::$variant,)*];

            /// What is known about it.
            pub fn info(self) -> &'static DefectInfo {
                match self { $(Defect::$variant => &DefectInfo {
                    id: $id,
                    name: $name,
                    kind: Kind::Defect,
                    thread: $thread,
                    mechanism: $mechanism,
                    expected: $expected,
                    corpus: concat!("defects/", $id, "-", $name, ".txt"),
                },)* }
            }
        }
    };
}

defects! {
    ReferenceBeforeLock {
        id: "A01", name: "reference-before-lock", thread: "S0 (before the patch)",
        mechanism: "do_swap_page takes a reference on the device page without its lock: faults keep each other's migration from its expected count, and spin.",
        expected: "starvation",
    }
    PutBeforeUnlock {
        id: "A02", name: "put-before-unlock", thread: "S0 v2 (Popple)",
        mechanism: "do_swap_page drops its reference on the device page before it unlocks it: the page is freed locked.",
        expected: "conduct-free-of-locked-folio",
    }
    TrylockFailureIsSuccess {
        id: "A03", name: "trylock-failure-is-success", thread: "S0 v2 to v7, 6.15 to 6.19",
        mechanism: "A fault that does not get the lock of a device-private page returns as if it were done: whoever faults in the kernel spins.",
        expected: "starvation",
    }
    FaultFolioSelfTrylock {
        id: "A04", name: "fault-folio-self-trylock", thread: "S0",
        mechanism: "migrate_vma_collect_pmd tries to lock the page that its own fault has locked: nothing is ever collected.",
        expected: "livelock",
    }
    FaultFolioUnlockedByRestore {
        id: "A05c", name: "fault-folio-unlocked-by-restore", thread: "S0",
        mechanism: "migrate_device_unmap unlocks the page of the fault when it puts it back, which do_swap_page then unlocks again.",
        expected: "conduct-unlock-by-non-owner",
    }
    FaultFolioUnlockedByFinalize {
        id: "A05d", name: "fault-folio-unlocked-by-finalize", thread: "S0",
        mechanism: "migrate_device_finalize unlocks the page of the fault, which do_swap_page then unlocks again.",
        expected: "conduct-unlock-by-non-owner",
    }
    ThpCollectRefLeak {
        id: "A07", name: "thp-collect-ref-leak", thread: "S0, in released kernels",
        mechanism: "migrate_vma_collect_pmd keeps its reference on a huge page whose lock it does not get.",
        expected: "refcount-leak",
    }
    OrphanMigrationEntry {
        id: "A08", name: "orphan-migration-entry", thread: "S0 (Popple's alternative, Brost's objection)",
        mechanism: "do_swap_page installs the migration entry itself; a driver that fails before setup leaves it behind for ever.",
        expected: "mapping",
    }
    PreinstalledEntrySkipped {
        id: "A09", name: "preinstalled-entry-skipped", thread: "S0 (Popple's alternative)",
        mechanism: "do_swap_page installs the migration entry itself, and collect takes it for another's and skips it.",
        expected: "livelock",
    }
    EntryHandOffUnlocksTwice {
        id: "A10", name: "entry-hand-off-unlocks-twice", thread: "S0 (Brost's list)",
        mechanism: "do_swap_page installs the migration entry itself; both finalize and the fault unlock the page.",
        expected: "conduct-unlock-by-non-owner",
    }
    FailedMigrateToRamLosesPage {
        id: "A11", name: "failed-migrate-to-ram-loses-page", thread: "S0 (Popple)",
        mechanism: "A driver that finds no memory in migrate_to_ram returns without migrate_vma_finalize: the page stays unmapped.",
        expected: "mapping or lock or result or livelock",
    }
    DriverMapsWithoutRecheck {
        id: "A13", name: "driver-maps-without-recheck", thread: "S0, migrate_vma_check_page",
        mechanism: "The driver maps every destination, also where migrate_vma_pages cleared MIGRATE: its device reads a freed page.",
        expected: "content or result",
    }
    FaultPageNotValidated {
        id: "A14b", name: "fault-page-not-validated", thread: "S0 v3",
        mechanism: "migrate_vma_setup takes a fault_page that nobody has locked, and treats it as locked.",
        expected: "result",
    }
    SpinStarvesDrain {
        id: "A15", name: "spin-starves-drain", thread: "S2 (6.15 to 6.19)",
        mechanism: "hmm_range_fault faults again and again on a page that a migration has locked, and never gives its CPU to the drain work that the migration waits for.",
        expected: "starvation",
    }
    DrainMovedUp {
        id: "A17", name: "drain-moved-up", thread: "S2 (future improvement)",
        mechanism: "The drain moves in front of the loop that unmaps, but what else maps the pages is still unmapped after it; faults there spin.",
        expected: "starvation",
    }
    WaitAfterUnlock {
        id: "A18a", name: "wait-after-unlock", thread: "S2",
        mechanism: "The wait for a device-private page begins after the PTL is dropped: by then the page may be another's.",
        expected: "conduct-use-after-free",
    }
    WaitWithReference {
        id: "A18b", name: "wait-with-reference", thread: "S2 (lock_page, folio_wait_locked)",
        mechanism: "A fault waits for the device-private page with a reference, which fails the migration that it waits for.",
        expected: "livelock",
    }
    WaitThenUnlock {
        id: "A18c", name: "wait-then-unlock", thread: "S2 v4 (Bueso)",
        mechanism: "The PTL, which the wait has dropped, is dropped again after it.",
        expected: "conduct-unlock-by-non-owner",
    }
    WaitKeepsPtl {
        id: "A18d", name: "wait-keeps-ptl", thread: "S2 v3 (Add a stub)",
        mechanism: "The wait is a stub that does nothing, and does not drop the PTL either.",
        expected: "conduct-sleep-in-atomic or conduct-lock-recursion",
    }
    WaitWithoutRecheck {
        id: "A18e", name: "wait-without-recheck", thread: "migration_entry_wait_on_locked",
        mechanism: "The waiter looks at PG_locked before it queues and not after: the unlock in between wakes nobody.",
        expected: "deadlock",
    }
    WaitIsLock {
        id: "A18f", name: "wait-is-lock", thread: "S2",
        mechanism: "The return from the wait is taken for the lock: the fault goes on as the page's owner.",
        expected: "conduct-unlock-by-non-owner",
    }
    NullDestination {
        id: "A20", name: "null-destination", thread: "S3 v1",
        mechanism: "migrate_device_coherent_folio copies to its destination although none could be allocated.",
        expected: "conduct-null-page",
    }
    UnwindStopsAtNull {
        id: "A21", name: "unwind-stops-at-null", thread: "S3 v2",
        mechanism: "A coherent page that cannot move leaves a NULL in pages[]; the unwind stops there, and the other pages stay pinned.",
        expected: "refcount-leak",
    }
    SetupFailureIgnored {
        id: "A22", name: "setup-failure-ignored", thread: "S3 v2",
        mechanism: "migrate_vma_setup refuses a migration without a VMA, nobody looks, and the coherent page, which is still mapped, never moves.",
        expected: "result or refcount-leak",
    }
    OwnPinBlocksMigration {
        id: "A23", name: "own-pin-blocks-migration", thread: "S3 (the comment)",
        mechanism: "The pin of the caller is not converted to a reference before the coherent page is migrated: it never can be.",
        expected: "result or mapping",
    }
    WindowForgotten {
        id: "A24", name: "window-forgotten", thread: "S3, Linux 6.12",
        mechanism: "The walk after a longterm pin has moved pages takes those that it finds for as exclusive as they were when it let go of their pins: fork may have shared them.",
        expected: "handle",
    }
    ReplacedInPlace {
        id: "A25", name: "replaced-in-place", thread: "S3 v2 (Hildenbrand)",
        mechanism: "The page that a coherent page was moved to is pinned in its place, without walking again: whether the process still sees it, exclusive, nobody asks.",
        expected: "handle",
    }
    BatchSleepsForLocks {
        id: "A30", name: "batch-sleeps-for-locks", thread: "S3 v2 (lock_page), made a bulk (Hildenbrand)",
        mechanism: "A longterm pin, and who takes pages of a device together, wait for the lock of each with those before it locked: two of them, in each other's way.",
        expected: "deadlock",
    }
    ZoneDeviceOnLruList {
        id: "A26", name: "zone-device-on-lru-list", thread: "S3 (Popple on Hildenbrand's second idea)",
        mechanism: "Coherent pages are to be isolated from the LRU like others, where they never are: the longterm loop never ends.",
        expected: "livelock",
    }
    MixedBatchNotPutBack {
        id: "A27", name: "mixed-batch-not-put-back", thread: "S3 (Popple)",
        mechanism: "A coherent page fails to migrate, and what was isolated beside it is not put back.",
        expected: "lru or livelock or refcount-leak",
    }
    GupSeesDevicePrivate {
        id: "A29", name: "gup-sees-device-private", thread: "S3 (the WARN)",
        mechanism: "GUP takes a device-private entry for a present one and returns its page.",
        expected: "mapping or handle",
    }
    BatchBelowPmd {
        id: "A47", name: "batch-below-pmd", thread: "S4 (Gunthorpe)",
        mechanism: "GUP takes a PTE of a compound page as leave to take the following subpages without looking at their PTEs.",
        expected: "handle or mapping",
    }
    PinForgetsPincount {
        id: "A48a", name: "pin-forgets-pincount", thread: "S4",
        mechanism: "A pin of a large folio adds to its refcount but not to its pincount, so it no longer counts as pinned.",
        expected: "pincount",
    }
    PinBiasOnLarge {
        id: "A48b", name: "pin-bias-on-large", thread: "S4",
        mechanism: "A pin of a large folio adds GUP_PIN_COUNTING_BIAS a page, as for order 0, and no pincount.",
        expected: "refcount-leak",
    }
    BatchCountsMask {
        id: "A48c", name: "batch-counts-whole-mask", thread: "S4",
        mechanism: "The grab of the rest of a huge leaf counts page_mask pages, not those inside the range.",
        expected: "refcount-leak",
    }
    BatchNotClamped {
        id: "A48d", name: "batch-not-clamped", thread: "S4",
        mechanism: "page_increm is not clamped to the pages still wanted: GUP returns more than was asked for.",
        expected: "result",
    }
    GrabNotGivenBack {
        id: "A48e", name: "grab-not-given-back", thread: "S4",
        mechanism: "When the grab of the rest of a batch is refused, the first page's reference is kept.",
        expected: "refcount-leak or mapping",
    }
    MigratetypeIsNotZone {
        id: "A31", name: "migratetype-is-not-zone", thread: "S4 (Kim)",
        mechanism: "A longterm pin takes MIGRATE_MOVABLE, which most pageblocks of ZONE_NORMAL are, for ZONE_MOVABLE: no target is ever good enough.",
        expected: "conduct-out-of-fuel or undecided or result",
    }
    AndInsteadOfOr {
        id: "A32", name: "and-instead-of-or", thread: "S4 (Kim, Tatashin)",
        mechanism: "A page is longterm unpinnable if it is CMA and in ZONE_MOVABLE, instead of or.",
        expected: "mapping or excused",
    }
    IsolateHidesCma {
        id: "C21", name: "isolate-hides-cma", thread: "is_pinnable_page (Kim, 2022)",
        mechanism: "A pageblock that is being offlined is MIGRATE_ISOLATE and no longer CMA, and a longterm pin asks for CMA alone: it lets such pages stay.",
        expected: "mapping or excused",
    }
    FastNotCovered {
        id: "A33", name: "gup-fast-not-covered", thread: "S4 (Gunthorpe)",
        mechanism: "GUP-fast refuses only CMA pages to a longterm pin: pages of ZONE_MOVABLE get one.",
        expected: "mapping or handle or result",
    }
    EmptyListIsSuccess {
        id: "A35", name: "empty-list-is-success", thread: "S4 (Gunthorpe)",
        mechanism: "The longterm loop takes an empty list for success, also when it is empty because another CPU has isolated the folios.",
        expected: "result or mapping",
    }
    RetryKeepsIsolated {
        id: "A37", name: "retry-keeps-isolated", thread: "S4 (Gunthorpe)",
        mechanism: "When one folio cannot be isolated, the longterm loop pins again but does not put back those that it has isolated: from then on it waits for itself.",
        expected: "livelock or teardown",
    }
    RepinAfterFailure {
        id: "A36", name: "repin-after-failed-migration", thread: "S4 (as posted)",
        mechanism: "When a page could not be migrated, the longterm pin pins the range again where it is and returns success.",
        expected: "result",
    }
    DrainOnce {
        id: "A38", name: "drain-once", thread: "S4 (drain_allow)",
        mechanism: "The longterm loop drains this CPU's batch and no other: a page in another CPU's batch can never be isolated.",
        expected: "livelock or refcount-leak",
    }
    CompoundStepSkip {
        id: "A39", name: "compound-step-skip", thread: "S4 (Gunthorpe)",
        mechanism: "The longterm check skips the entries after a page of a compound page as its tails, without looking at them.",
        expected: "mapping or cost or result",
    }
    OldCountAfterRepin {
        id: "A40", name: "old-count-after-repin", thread: "S4",
        mechanism: "After migrating, the longterm pin returns what the walk before it got, whatever the walk after it did.",
        expected: "result",
    }
    PutInLongtermLoop {
        id: "A41", name: "put-in-longterm-loop", thread: "S4",
        mechanism: "The longterm loop drops its FOLL_PIN references with put_page before it migrates.",
        expected: "result or mapping or refcount-leak",
    }
    IsolateInTwoSteps {
        id: "A34", name: "isolate-in-two-steps", thread: "S4",
        mechanism: "PG_lru is tested and then cleared: two isolate one folio, and both put it back.",
        expected: "lru or excused",
    }
    TargetInMovableZone {
        id: "A42", name: "target-in-movable-zone", thread: "S4 (PF_MEMALLOC_NOMOVABLE)",
        mechanism: "The longterm loop allocates its migration targets as movable: they may lie where they may not be pinned.",
        expected: "conduct-out-of-fuel or undecided",
    }
    RangesMergeFolios {
        id: "A50", name: "ranges-merge-folios", thread: "S4 (Gunthorpe)",
        mechanism: "GUP's range output merges contiguous pages of different folios; the first folio is given back all references.",
        expected: "conduct-counter-underflow or refcount-leak or conduct-free-of-mapped-folio",
    }
    FaultedPagesUnchecked {
        id: "A43", name: "faulted-pages-unchecked", thread: "S4 (Tatashin)",
        mechanism: "The check inside the walk passes over pages that the walk has just faulted in, as if they were always new.",
        expected: "mapping or result",
    }
    MigrateUnderOwnPin {
        id: "A44", name: "migrate-under-own-pin", thread: "S4 (Gunthorpe)",
        mechanism: "The check inside the walk migrates a folio of which the same call has already pinned other pages: it can never move.",
        expected: "result",
    }
    TailSkip {
        id: "A46", name: "tail-skip", thread: "S4 (Jordan; Gunthorpe: please don't)",
        mechanism: "A driver that pins page at a time skips the calls for what it takes for the tails of a compound page: pages without a pin, and not those that are mapped.",
        expected: "handle or refcount-underflow or mapping or cost",
    }
    PfnsTakeReferences {
        id: "A51a", name: "pfns-take-references", thread: "S4 (Gunthorpe)",
        mechanism: "The walk that only reports pfns takes references, as for a page array: nobody drops them.",
        expected: "refcount-leak or handle",
    }
    RangesTakeNoReference {
        id: "A51b", name: "ranges-take-no-reference", thread: "S4 (Gunthorpe)",
        mechanism: "The walk that hands over ranges takes no references, as if it reported pfns: the pages are used as if they were held.",
        expected: "refcount-underflow or mm-flags or result",
    }
    BatchForgotten {
        id: "C20", name: "batch-forgotten", thread: "follow_huge_pmd, S4 (Gunthorpe: gup slow needs it too)",
        mechanism: "GUP grabs what a huge PMD maps page by page: right, and 512 times the additions.",
        expected: "cost",
    }
    RescanForCma {
        id: "A55", name: "rescan-for-cma", thread: "S4 (Gunthorpe)",
        mechanism: "The longterm check goes over the whole output twice, once for ZONE_MOVABLE and once for CMA: nothing but a waste.",
        expected: "cost",
    }
    UnpinStopsAtNull {
        id: "A49a", name: "unpin-stops-at-null", thread: "S4",
        mechanism: "A NULL entry in the array ends the unpin: the pages behind it stay pinned.",
        expected: "refcount-leak",
    }
    UnpinIgnoresDuplicates {
        id: "A49b", name: "unpin-ignores-duplicates", thread: "S4",
        mechanism: "A page that stands in a group twice is unpinned once.",
        expected: "refcount-leak",
    }
    UnpinRangePastFolio {
        id: "A49c", name: "unpin-range-past-folio", thread: "S4",
        mechanism: "Unpin by range takes all pages up to the end of the range for the first folio's, not up to its end.",
        expected: "refcount-leak or conduct-counter-underflow",
    }
    SpfSpinsOnPtl {
        id: "A60", name: "spf-spins-on-ptl", thread: "S1",
        mechanism: "A speculative fault spins for the PTL with interrupts off: its holder waits for this CPU to flush its TLB.",
        expected: "deadlock",
    }
    SpfIrqWindow {
        id: "A62", name: "spf-irq-window", thread: "S1",
        mechanism: "Between two tries for the PTL interrupts are enabled and at once disabled again: none is ever taken.",
        expected: "livelock",
    }
    SpfStalePtl {
        id: "A65", name: "spf-stale-ptl", thread: "S1",
        mechanism: "vmf->ptl is set although pte_map_lock failed: the caller unlocks a lock that it does not hold.",
        expected: "conduct-unlock-by-non-owner",
    }
    SpfLooksOnce {
        id: "A66", name: "spf-looks-once", thread: "S1",
        mechanism: "The VMA is not looked at again under the PTL: a writer may have come and gone before that was free.",
        expected: "mapping or excused",
    }
    UffdAbortKeepsPage {
        id: "A64", name: "uffd-abort-keeps-page", thread: "S1 (Glisse on the second site)",
        mechanism: "A speculative fault that gives up because userfaultfd was registered meanwhile (variant uffd-abort) keeps the page that it had allocated.",
        expected: "memory",
    }
    CollapseUnseen {
        id: "A67", name: "spf-trusts-pmd", thread: "S1",
        mechanism: "A collapse does not change vm_sequence, and a speculative fault does not compare the PMD again: it sets an entry in a table that is being collapsed.",
        expected: "mapping or digest or refcount-leak or conduct-free-of-mapped-folio",
    }
    SpfFetchesPte {
        id: "A68", name: "spf-fetches-pte", thread: "S1",
        mechanism: "handle_pte_fault reads the PTE again, with interrupts on: the table may be freed.",
        expected: "conduct-page-table-use-after-free",
    }
    SpfEntersWriter {
        id: "A69", name: "spf-enters-writer", thread: "S1",
        mechanism: "An odd sequence is accepted: a whole fault runs inside a writer, and finds nothing changed.",
        expected: "mapping or excused",
    }
    SpfSamplesLate {
        id: "A70", name: "spf-samples-late", thread: "S1",
        mechanism: "The sequence is sampled after bounds and flags of the VMA were read.",
        expected: "mapping or excused",
    }
    SpfMakesAnonVma {
        id: "A73", name: "spf-makes-anon-vma", thread: "S1",
        mechanism: "A speculative fault gives its VMA an anon_vma: it looks at the neighbours, and nobody keeps them.",
        expected: "conduct-lock-not-held",
    }
    SpfKillsUnchecked {
        id: "A76", name: "spf-kills-unchecked", thread: "S1",
        mechanism: "SIGSEGV is raised from bounds and flags of different versions of the VMA.",
        expected: "vma or excused",
    }
    SpfMayRetry {
        id: "A71", name: "spf-may-retry", thread: "S1",
        mechanism: "->fault is called speculatively with FAULT_FLAG_ALLOW_RETRY: it releases mmap_lock, which nobody holds.",
        expected: "conduct-unlock-by-non-owner or conduct-lock-not-held",
    }
    SpfMakesTables {
        id: "A74", name: "spf-makes-tables", thread: "S1",
        mechanism: "A speculative fault makes a page table, perhaps after free_pgtables().",
        expected: "mapping",
    }
    SpfIgnoresUffd {
        id: "A63", name: "spf-ignores-uffd", thread: "S1",
        mechanism: "A speculative fault does not look whether the VMA is registered with userfaultfd: the event is lost.",
        expected: "return or result or mapping",
    }
    MremapOpensDestination {
        id: "A80a", name: "mremap-opens-destination", thread: "S1",
        mechanism: "mremap does not keep speculative faults out of the new VMA before its entries are there: what they map is overwritten.",
        expected: "mapping",
    }
    ForkFlushesLate {
        id: "A80b", name: "fork-flushes-late", thread: "S1",
        mechanism: "fork lets speculative faults in before it flushes TLBs: one copies a page while another CPU still writes to it.",
        expected: "mapping or excused",
    }
    SpfKeepsVma {
        id: "A75", name: "spf-keeps-vma", thread: "S1",
        mechanism: "A speculative fault that gives up keeps its reference on the VMA.",
        expected: "conduct-vma-leak",
    }
    ReuseByMapcount {
        id: "C01", name: "reuse-by-mapcount", thread: "do_wp_page before 5.19 (CVE-2020-29374)",
        mechanism: "A write fault reuses a page that is mapped once although others hold references on it.",
        expected: "mapping or refcount-leak or refcount-underflow or excused",
    }
    ForkSharesPinned {
        id: "C02", name: "fork-shares-pinned", thread: "copy_present_page, 5.9",
        mechanism: "fork shares a page that may be pinned instead of copying it for the child.",
        expected: "mapping",
    }
    ForkCopiesForParent {
        id: "C03", name: "fork-copies-for-parent", thread: "copy_present_page",
        mechanism: "fork gives the parent the copy and the child the pinned page.",
        expected: "mapping",
    }
    UpgradeIgnoresExclusive {
        id: "C04", name: "upgrade-ignores-exclusive", thread: "can_change_pte_writable",
        mechanism: "mprotect makes PTEs of shared anonymous pages writable again.",
        expected: "mapping",
    }
    UnshareSkipped {
        id: "C05", name: "unshare-skipped", thread: "gup_must_unshare, 5.19",
        mechanism: "A read-only pin takes a shared anonymous page without unsharing it first.",
        expected: "mapping or handle",
    }
    MprotectLosesExclusive {
        id: "C06", name: "mprotect-loses-exclusive", thread: "change_pte_range",
        mechanism: "mprotect clears PageAnonExclusive.",
        expected: "exclusive",
    }
    ForkKeepsExclusive {
        id: "C07", name: "fork-keeps-exclusive", thread: "folio_try_dup_anon_rmap_pte",
        mechanism: "fork shares a page and leaves it AnonExclusive.",
        expected: "exclusive",
    }
    SplitPmdLosesExclusive {
        id: "C08", name: "split-pmd-loses-exclusive", thread: "__split_huge_pmd_locked",
        mechanism: "Splitting a huge PMD does not make the tail pages exclusive.",
        expected: "exclusive",
    }
    SplitPmdMiscounts {
        id: "C09", name: "split-pmd-miscounts", thread: "__split_huge_pmd_locked",
        mechanism: "Splitting a huge PMD adds N references: the PMD's own is forgotten.",
        expected: "refcount-leak",
    }
    SplitKeepsZeroPages {
        id: "C10", name: "split-keeps-zero-pages", thread: "try_to_map_unused_to_zeropage, 6.12",
        mechanism: "Splitting a folio keeps its zero-filled pages mapped instead of mapping the shared zero page.",
        expected: "mapping",
    }
    BatchPutForgotten {
        id: "C11", name: "batch-put-forgotten", thread: "folio_batch_move_lru",
        mechanism: "Draining an LRU batch does not drop the batch's reference.",
        expected: "refcount-leak or result",
    }
    BatchPutTwice {
        id: "C12", name: "batch-put-twice", thread: "folio_batch_move_lru",
        mechanism: "Draining an LRU batch drops the batch's reference twice.",
        expected: "refcount-underflow or conduct-free-of-mapped-folio or conduct-free-of-locked-folio",
    }
    FailedMigrationNotPutBack {
        id: "C13", name: "failed-migration-not-put-back", thread: "putback_movable_pages",
        mechanism: "A folio that could not be migrated stays isolated.",
        expected: "lru or result or livelock or refcount-leak",
    }
    PutForPin {
        id: "C14", name: "put-for-pin", thread: "unpin_user_page",
        mechanism: "Pages that were pinned are released with put_page: 1 instead of 1024, and no pincount.",
        expected: "refcount-leak or pincount",
    }
    MremapLosesMapcount {
        id: "C15", name: "mremap-loses-mapcount", thread: "move_ptes",
        mechanism: "mremap drops a mapping count of a shared page that it moves.",
        expected: "mapcount or conduct-counter-underflow",
    }
    CowForgetsCopy {
        id: "C16", name: "cow-forgets-copy", thread: "wp_page_copy",
        mechanism: "Breaking COW maps a zero-filled page: the content is not copied.",
        expected: "content-in-memory",
    }
    ForkLeavesParentWritable {
        id: "C17", name: "fork-leaves-parent-writable", thread: "copy_present_ptes",
        mechanism: "fork write-protects the child's entry but not the parent's.",
        expected: "mapping",
    }
    ZapWholeHuge {
        id: "C18", name: "zap-whole-huge", thread: "zap_pmd_range",
        mechanism: "Zapping part of a huge PMD zaps all of it.",
        expected: "mapping",
    }
    MigrationLosesDirty {
        id: "C19", name: "migration-loses-dirty", thread: "folio_migrate_flags",
        mechanism: "Migration does not carry PG_dirty over to the destination.",
        expected: "dirty or mapping",
    }
    ForkWithoutSequence {
        id: "R01", name: "fork-without-write-protect-seq", thread: "copy_page_range, 5.11 (57efa1fe5957)",
        mechanism: "fork does not bump write_protect_seq: a pin that GUP-fast takes between fork's look at the pins and its clearing of PageAnonExclusive goes unnoticed.",
        expected: "exclusive or mapping",
    }
    ExclusiveClearedFirst {
        id: "R02", name: "exclusive-cleared-first", thread: "folio_try_share_anon_rmap_pte",
        mechanism: "A migration clears PageAnonExclusive before the entries: GUP-fast pins the page in between.",
        expected: "excused or mapping",
    }
    FreedBeforeFlush {
        id: "R03", name: "freed-before-flush", thread: "mmu_gather",
        mechanism: "A page that is unmapped is freed before other CPUs have flushed their TLBs: they still use it.",
        expected: "conduct-use-after-free",
    }
    TableFreedUnderWalker {
        id: "R04", name: "table-freed-under-walker", thread: "tlb_remove_table_sync_one",
        mechanism: "A page table is freed without waiting for CPUs that walk it with interrupts off.",
        expected: "conduct-page-table-use-after-free",
    }
    GupFastNoRecheck {
        id: "R05", name: "gup-fast-no-recheck", thread: "gup_fast_pte_range",
        mechanism: "GUP-fast does not read the entry again after it has grabbed the page.",
        expected: "excused",
    }
    PinAfterRecheck {
        id: "R06", name: "pin-after-recheck", thread: "gup_fast_pte_range, try_grab_folio_fast",
        mechanism: "GUP-fast reads the entry again before it grabs the page, not after.",
        expected: "excused",
    }
    LostWakeup {
        id: "R07", name: "lost-wakeup", thread: "folio_unlock, folio_wake_bit",
        mechanism: "Unlocking a folio clears PG_locked and wakes nobody.",
        expected: "deadlock",
    }
    NestedMmapRead {
        id: "R08", name: "nested-mmap-read", thread: "down_read of mmap_lock in a fault of GUP",
        mechanism: "A fault inside GUP takes mmap_lock for reading once more; a writer that queues in between waits for the first, and the second for the writer.",
        expected: "deadlock or cost",
    }
    Canary {
        id: "canary", name: "canary", thread: "none",
        mechanism: "Every mmap leaves MMF_HAS_PINNED set: always found, proves that the pipe works.",
        expected: "mm-flags",
    }
}

impl Defect {
    /// The defect with this id or name.
    pub fn find(name: &str) -> Option<Defect> {
        let matches = |defect: &&Defect| {
            let info = defect.info();
            info.name == name || info.id.eq_ignore_ascii_case(name)
        };
        Defect::ALL.iter().find(matches).copied()
    }
}
