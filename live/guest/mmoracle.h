/* SPDX-License-Identifier: GPL-2.0 */
/* What mmoracle.c and mmoracle_device.c share with each other and with live/src/host/driver.rs. */
#ifndef MMORACLE_H
#define MMORACLE_H

#include <linux/mm.h>
#include <linux/ioctl.h>

/* Bits of mmo_page.flags: of the entry, then of the page. */
#define MMO_PRESENT	(1u << 0)
#define MMO_WRITE	(1u << 1)
#define MMO_DIRTY	(1u << 2)
#define MMO_HUGE	(1u << 3)
#define MMO_ZERO	(1u << 4)
#define MMO_MIGRATION	(1u << 5)	/* a migration entry */
#define MMO_MIGRATION_AE (1u << 6)	/* and it comes back exclusive */
#define MMO_PRIVATE	(1u << 7)	/* a device-private entry */
#define MMO_PG_ANON	(1u << 8)
#define MMO_PG_AE	(1u << 9)
#define MMO_PG_LOCKED	(1u << 10)
#define MMO_PG_LRU	(1u << 11)
#define MMO_PG_DIRTY	(1u << 12)
#define MMO_PG_LARGE	(1u << 13)
#define MMO_EXCLUSIVE	(1u << 14)	/* a device-exclusive entry */

/* Values of mmo_page.zone. */
#define MMO_ZONE_MOVABLE	1
#define MMO_ZONE_PRIVATE	2
#define MMO_ZONE_COHERENT	3

struct mmo_page {
	__u64 at;		/* address; with pid 0, in: a pfn */
	__u64 pfn;
	__u64 word;		/* the first of the page */
	__s32 refs;
	__s32 maps;		/* of this page, PMD mappings included */
	__s32 pins;		/* _pincount; 0 for order 0 */
	__u32 flags;
	__u32 zone;
	__u32 cma;
};

struct mmo_span {
	__u64 start;
	__u64 end;
};

/* pid 0: fills in `count` pages. Else: writes what is not none of `spans` to `pages`, at most
 * `count`; returns how many there are. */
struct mmo_look {
	__u32 pid;
	__u32 count;
	__u64 pages;
	__u64 spans;
	__u64 nr_spans;
};

/* Bits of mmo_gup.flags. */
#define MMO_GUP_WRITE		(1u << 0)
#define MMO_GUP_PIN		(1u << 1)
#define MMO_GUP_LONGTERM	(1u << 2)
#define MMO_GUP_FAST		(1u << 3)
#define MMO_GUP_FAST_ONLY	(1u << 4)

struct mmo_gup {
	__u64 at;
	__u32 count;
	__u32 flags;
};

struct mmo_pfns {
	__u64 pfns;
	__u32 count;
	__u32 unused;
};

/* What a driver is asked; see each command. */
struct mmo_ask {
	__u64 at;
	__u32 count;
	__u32 device;		/* 0 private, 1 coherent */
	__u64 flags;
	__u64 out;		/* words, one a page */
	__u64 done;		/* out: words written */
};

#define MMO_LOOK	_IOWR('M', 1, struct mmo_look)
#define MMO_GUP		_IOW('M', 2, struct mmo_gup)	/* the caller's mm; pages stay with the fd */
#define MMO_DROP	_IO('M', 3)			/* arg: dirty */
#define MMO_PFNS	_IOWR('M', 4, struct mmo_pfns)
#define MMO_SPLIT	_IO('M', 5)			/* arg: address in the caller's mm */
#define MMO_MIGRATE	_IOW('M', 6, struct mmo_gup)	/* count: sync */
#define MMO_LOCK	_IO('M', 7)			/* arg: address; the lock stays with the fd */
#define MMO_UNLOCK	_IO('M', 8)
#define MMO_DRAIN_ALL	_IO('M', 9)
#define MMO_PLACE	_IO('M', 10)			/* arg: allocate in ZONE_NORMAL outside CMA */
#define MMO_DRAIN_FREE	_IO('M', 11)			/* no free page lies ready for a CPU */

#define MMO_DEV_SETUP	_IOWR('M', 16, struct mmo_ask)	/* flags: MIGRATE_VMA_SELECT_* */
#define MMO_DEV_RANGE	_IOWR('M', 17, struct mmo_ask)
#define MMO_DEV_PAGES	_IOWR('M', 18, struct mmo_ask)	/* flags: to system memory */
#define MMO_DEV_FINALIZE _IOWR('M', 19, struct mmo_ask)
#define MMO_DEV_MIGRATE	_IOWR('M', 20, struct mmo_ask)	/* flags: to system memory */
#define MMO_DEV_EVICT	_IOWR('M', 21, struct mmo_ask)
#define MMO_DEV_READ	_IOWR('M', 22, struct mmo_ask)
#define MMO_DEV_WRITE	_IOWR('M', 23, struct mmo_ask)	/* flags: the first value */
#define MMO_DEV_HMM	_IOWR('M', 24, struct mmo_ask)	/* flags: 0, 1 fault, 3 write; 4 odd pages */
#define MMO_DEV_EXCLUSIVE _IOWR('M', 25, struct mmo_ask)
#define MMO_DEV_MIRROR	_IOWR('M', 26, struct mmo_ask)	/* before the others, once an mm */
#define MMO_DEV_RESET	_IOWR('M', 27, struct mmo_ask)	/* every mirror goes */

struct migration;

struct held {
	struct page **pages;
	long count;
	bool pinned;
	struct folio *locked;
	struct migration *migration;
	struct mmo_page *buffer;
};

u64 mmo_word(struct page *page);
long mmo_device_ioctl(struct held *held, unsigned int cmd, unsigned long arg);
void mmo_device_close(struct held *held);

#endif
