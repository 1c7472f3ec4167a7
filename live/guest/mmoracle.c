// SPDX-License-Identifier: GPL-2.0
/*
 * mmoracle - shows what user space cannot see of pages and page tables, and does what it cannot
 * ask for: the eyes and hands of mm-lockstep's guest witness. A misc device, built into a kernel
 * that is made for this purpose alone and holds nothing worth protecting; never load it elsewhere.
 *
 * This file is part of mm-lockstep and, unlike the rest of it, licensed under the GPL-2.0, because
 * it becomes part of a kernel. Nothing of it is linked into the other programs.
 */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/huge_mm.h>
#include <linux/migrate.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>

#include "internal.h"

/* Bits of mmo_page.flags: of the entry, then of the page. */
#define MMO_PRESENT	(1u << 0)
#define MMO_WRITE	(1u << 1)
#define MMO_DIRTY	(1u << 2)
#define MMO_HUGE	(1u << 3)
#define MMO_ZERO	(1u << 4)
#define MMO_DEVICE	(1u << 5)
#define MMO_PG_ANON	(1u << 8)
#define MMO_PG_AE	(1u << 9)
#define MMO_PG_LOCKED	(1u << 10)
#define MMO_PG_LRU	(1u << 11)
#define MMO_PG_DIRTY	(1u << 12)
#define MMO_PG_LARGE	(1u << 13)

struct mmo_page {
	__u64 at;		/* in: address in pid; with pid 0 a pfn */
	__u64 pfn;
	__u64 word;		/* the first of the page */
	__s32 refs;
	__s32 maps;		/* of this page, PMD mappings included */
	__s32 pins;		/* _pincount; 0 for order 0 */
	__u32 flags;
	__u32 zone;		/* 1 ZONE_MOVABLE, 2 ZONE_DEVICE, else 0 */
	__u32 cma;
};

struct mmo_look {
	__u32 pid;
	__u32 count;
	__u64 pages;
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

#define MMO_LOOK	_IOWR('M', 1, struct mmo_look)
#define MMO_GUP		_IOW('M', 2, struct mmo_gup)	/* the caller's mm; pages stay with the fd */
#define MMO_DROP	_IO('M', 3)			/* arg: dirty */
#define MMO_PFNS	_IOWR('M', 4, struct mmo_pfns)
#define MMO_SPLIT	_IO('M', 5)			/* arg: address in the caller's mm */
#define MMO_MIGRATE	_IOW('M', 6, struct mmo_gup)	/* count: sync */
#define MMO_LOCK	_IO('M', 7)			/* arg: address; the lock stays with the fd */
#define MMO_UNLOCK	_IO('M', 8)
#define MMO_DRAIN_ALL	_IO('M', 9)

struct held {
	struct page **pages;
	long count;
	bool pinned;
	struct folio *locked;
};

static void look_at_page(struct page *page, struct mmo_page *out)
{
	struct folio *folio = page_folio(page);
	void *at;

	out->pfn = page_to_pfn(page);
	/* Buffers of a file system hold one more, which is not what this is about. */
	out->refs = folio_ref_count(folio) - folio_test_private(folio);
	out->maps = atomic_read(&page->_mapcount) + 1;
	if (folio_test_large(folio)) {
		out->maps += folio_entire_mapcount(folio);
		out->pins = atomic_read(&folio->_pincount);
		out->flags |= MMO_PG_LARGE;
	}
	if (folio_test_anon(folio)) {
		out->flags |= MMO_PG_ANON;
		if (PageAnonExclusive(page))
			out->flags |= MMO_PG_AE;
	}
	if (folio_test_locked(folio))
		out->flags |= MMO_PG_LOCKED;
	if (folio_test_lru(folio))
		out->flags |= MMO_PG_LRU;
	if (folio_test_dirty(folio))
		out->flags |= MMO_PG_DIRTY;
	if (is_zone_movable_page(page))
		out->zone = 1;
	else if (is_zone_device_page(page))
		out->zone = 2;
	if (is_device_private_page(page)) {
		out->flags |= MMO_DEVICE;
		return;
	}
	out->cma = is_migrate_cma_page(page);
	at = kmap_local_page(page);
	out->word = *(u64 *)at;
	kunmap_local(at);
}

static void look_at_pte(pte_t pte, struct mmo_page *out)
{
	if (pte_none(pte))
		return;
	if (!pte_present(pte)) {
		swp_entry_t entry = pte_to_swp_entry(pte);

		if (is_device_private_entry(entry)) {
			out->flags |= MMO_DEVICE;
			if (is_writable_device_private_entry(entry))
				out->flags |= MMO_WRITE;
			look_at_page(pfn_swap_entry_to_page(entry), out);
		}
		return;
	}
	out->flags |= MMO_PRESENT;
	if (pte_write(pte))
		out->flags |= MMO_WRITE;
	if (pte_dirty(pte))
		out->flags |= MMO_DIRTY;
	if (is_zero_pfn(pte_pfn(pte)))
		out->flags |= MMO_ZERO;
	else
		look_at_page(pte_page(pte), out);
}

static pmd_t *pmd_at(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	if (pgd_none_or_clear_bad(pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none_or_clear_bad(p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	if (pud_none_or_clear_bad(pud))
		return NULL;
	return pmd_offset(pud, addr);
}

static void look_at_address(struct mm_struct *mm, unsigned long addr, struct mmo_page *out)
{
	pmd_t *pmd = pmd_at(mm, addr), val;
	spinlock_t *ptl;
	pte_t *pte;

	if (!pmd)
		return;
	val = pmdp_get(pmd);
	if (pmd_trans_huge(val)) {
		out->flags |= MMO_PRESENT | MMO_HUGE;
		if (pmd_write(val))
			out->flags |= MMO_WRITE;
		if (pmd_dirty(val))
			out->flags |= MMO_DIRTY;
		look_at_page(pmd_page(val) + ((addr & ~HPAGE_PMD_MASK) >> PAGE_SHIFT), out);
		return;
	}
	if (pmd_none(val) || !pmd_present(val))
		return;
	pte = pte_offset_map_lock(mm, pmd, addr, &ptl);
	if (!pte)
		return;
	look_at_pte(ptep_get(pte), out);
	pte_unmap_unlock(pte, ptl);
}

static long mmo_look(unsigned long arg)
{
	struct mm_struct *mm = NULL;
	struct mmo_page *pages;
	struct mmo_look look;
	long err = 0;
	u32 i;

	if (copy_from_user(&look, (void __user *)arg, sizeof(look)))
		return -EFAULT;
	if (look.count > 65536)
		return -E2BIG;
	pages = vmemdup_user(u64_to_user_ptr(look.pages), look.count * sizeof(*pages));
	if (IS_ERR(pages))
		return PTR_ERR(pages);
	if (look.pid) {
		struct task_struct *task = find_get_task_by_vpid(look.pid);

		mm = task ? get_task_mm(task) : NULL;
		if (task)
			put_task_struct(task);
		if (!mm) {
			err = -ESRCH;
			goto out;
		}
		mmap_read_lock(mm);
	}
	for (i = 0; i < look.count; i++) {
		pages[i].flags = 0;
		if (mm)
			look_at_address(mm, pages[i].at, &pages[i]);
		else if (pfn_valid(pages[i].at))
			look_at_page(pfn_to_page(pages[i].at), &pages[i]);
	}
	if (mm) {
		mmap_read_unlock(mm);
		mmput(mm);
	}
	if (copy_to_user(u64_to_user_ptr(look.pages), pages, look.count * sizeof(*pages)))
		err = -EFAULT;
out:
	kvfree(pages);
	return err;
}

static long mmo_gup(struct held *held, unsigned long arg)
{
	unsigned int flags = 0;
	struct mmo_gup gup;
	bool fast, pin;
	long got;

	if (copy_from_user(&gup, (void __user *)arg, sizeof(gup)))
		return -EFAULT;
	if (held->pages)
		return -EBUSY;
	held->pages = kvcalloc(gup.count, sizeof(*held->pages), GFP_KERNEL);
	if (!held->pages)
		return -ENOMEM;
	pin = gup.flags & MMO_GUP_PIN;
	fast = gup.flags & MMO_GUP_FAST;
	if (gup.flags & MMO_GUP_WRITE)
		flags |= FOLL_WRITE;
	if (gup.flags & MMO_GUP_LONGTERM)
		flags |= FOLL_LONGTERM;
	if (gup.flags & MMO_GUP_FAST_ONLY) {
		got = get_user_pages_fast_only(gup.at, gup.count, flags, held->pages);
	} else if (fast) {
		got = pin ? pin_user_pages_fast(gup.at, gup.count, flags, held->pages) :
			    get_user_pages_fast(gup.at, gup.count, flags, held->pages);
	} else {
		mmap_read_lock(current->mm);
		got = pin ? pin_user_pages(gup.at, gup.count, flags, held->pages) :
			    get_user_pages(gup.at, gup.count, flags, held->pages);
		mmap_read_unlock(current->mm);
	}
	held->count = max(got, 0L);
	held->pinned = pin;
	if (held->count == 0) {
		kvfree(held->pages);
		held->pages = NULL;
	}
	return got;
}

static long mmo_drop(struct held *held, bool dirty)
{
	long count = held->count, i;

	if (!held->pages)
		return 0;
	if (held->pinned)
		unpin_user_pages_dirty_lock(held->pages, count, dirty);
	else
		for (i = 0; i < count; i++)
			put_page(held->pages[i]);
	kvfree(held->pages);
	held->pages = NULL;
	held->count = 0;
	return count;
}

static long mmo_pfns(struct held *held, unsigned long arg)
{
	struct mmo_pfns pfns;
	u64 pfn;
	u32 i;

	if (copy_from_user(&pfns, (void __user *)arg, sizeof(pfns)))
		return -EFAULT;
	for (i = 0; i < min_t(long, pfns.count, held->count); i++) {
		pfn = page_to_pfn(held->pages[i]);
		if (put_user(pfn, (u64 __user *)u64_to_user_ptr(pfns.pfns) + i))
			return -EFAULT;
	}
	return held->count;
}

/* The folio that the caller's page tables map there, with a reference; nothing is faulted in. */
static struct folio *folio_at(unsigned long addr)
{
	struct mmo_page look = {};
	struct folio *folio = NULL;

	mmap_read_lock(current->mm);
	look_at_address(current->mm, addr, &look);
	if ((look.flags & MMO_PRESENT) && !(look.flags & MMO_ZERO)) {
		folio = page_folio(pfn_to_page(look.pfn));
		folio_get(folio);
	}
	mmap_read_unlock(current->mm);
	return folio;
}

static long mmo_split(unsigned long addr)
{
	struct folio *folio = folio_at(addr);
	long err;

	if (!folio)
		return -ENOENT;
	if (!folio_test_large(folio))
		err = -EINVAL;
	else if (!can_split_folio(folio, 1, NULL))
		err = -EAGAIN;
	else if (!folio_trylock(folio))
		err = -EBUSY;
	else {
		err = split_folio(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return err;
}

static struct folio *destination(struct folio *src, unsigned long private)
{
	return folio_alloc(GFP_HIGHUSER_MOVABLE, folio_order(src));
}

static long mmo_migrate(unsigned long arg)
{
	struct folio *folio;
	struct mmo_gup ask;
	LIST_HEAD(list);
	bool isolated;
	int left;

	if (copy_from_user(&ask, (void __user *)arg, sizeof(ask)))
		return -EFAULT;
	folio = folio_at(ask.at);
	if (!folio)
		return -ENOENT;
	isolated = folio_isolate_lru(folio);
	folio_put(folio);
	if (!isolated)
		return -EBUSY;
	node_stat_mod_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio),
			    folio_nr_pages(folio));
	list_add(&folio->lru, &list);
	left = migrate_pages(&list, destination, NULL, 0,
			     ask.count ? MIGRATE_SYNC : MIGRATE_ASYNC, MR_SYSCALL, NULL);
	if (!list_empty(&list))
		putback_movable_pages(&list);
	if (left < 0)
		return left;
	return left ? -EAGAIN : 0;
}

static long mmo_lock(struct held *held, unsigned long addr)
{
	struct folio *folio;

	if (held->locked)
		return -EBUSY;
	folio = folio_at(addr);
	if (!folio)
		return -ENOENT;
	if (!folio_trylock(folio)) {
		folio_put(folio);
		return -EBUSY;
	}
	held->locked = folio;
	return 0;
}

static long mmo_unlock(struct held *held)
{
	if (!held->locked)
		return -ENOENT;
	folio_unlock(held->locked);
	folio_put(held->locked);
	held->locked = NULL;
	return 0;
}

static long mmo_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct held *held = file->private_data;

	switch (cmd) {
	case MMO_LOOK:
		return mmo_look(arg);
	case MMO_GUP:
		return mmo_gup(held, arg);
	case MMO_DROP:
		return mmo_drop(held, arg);
	case MMO_PFNS:
		return mmo_pfns(held, arg);
	case MMO_SPLIT:
		return mmo_split(arg);
	case MMO_MIGRATE:
		return mmo_migrate(arg);
	case MMO_LOCK:
		return mmo_lock(held, arg);
	case MMO_UNLOCK:
		return mmo_unlock(held);
	case MMO_DRAIN_ALL:
		lru_add_drain_all();
		return 0;
	}
	return -ENOTTY;
}

static int mmo_open(struct inode *inode, struct file *file)
{
	file->private_data = kzalloc(sizeof(struct held), GFP_KERNEL);
	return file->private_data ? 0 : -ENOMEM;
}

static int mmo_release(struct inode *inode, struct file *file)
{
	mmo_unlock(file->private_data);
	mmo_drop(file->private_data, false);
	kfree(file->private_data);
	return 0;
}

static const struct file_operations mmo_fops = {
	.owner = THIS_MODULE,
	.open = mmo_open,
	.release = mmo_release,
	.unlocked_ioctl = mmo_ioctl,
};

static struct miscdevice mmo_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mmoracle",
	.fops = &mmo_fops,
	.mode = 0600,
};

builtin_misc_device(mmo_device);
