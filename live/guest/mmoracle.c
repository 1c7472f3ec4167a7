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
#include "mmoracle.h"

static void look_at_page(struct page *page, struct mmo_page *out)
{
	struct folio *folio = page_folio(page);

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
	out->zone = is_zone_movable_page(page) ? MMO_ZONE_MOVABLE :
		    is_device_private_page(page) ? MMO_ZONE_PRIVATE :
		    is_device_coherent_page(page) ? MMO_ZONE_COHERENT : 0;
	out->cma = !is_zone_device_page(page) && is_migrate_cma_page(page);
	out->word = mmo_word(page);
}

static void look_at_swap_entry(swp_entry_t entry, struct mmo_page *out)
{
	if (is_migration_entry(entry)) {
		out->flags |= MMO_MIGRATION;
		if (is_writable_migration_entry(entry))
			out->flags |= MMO_WRITE;
		if (is_readable_exclusive_migration_entry(entry))
			out->flags |= MMO_MIGRATION_AE;
		if (is_migration_entry_dirty(entry))
			out->flags |= MMO_DIRTY;
	} else if (is_device_private_entry(entry)) {
		out->flags |= MMO_PRIVATE;
		if (is_writable_device_private_entry(entry))
			out->flags |= MMO_WRITE;
	} else if (is_device_exclusive_entry(entry)) {
		out->flags |= MMO_EXCLUSIVE;
		if (is_writable_device_exclusive_entry(entry))
			out->flags |= MMO_WRITE;
	} else {
		return;
	}
	look_at_page(pfn_swap_entry_to_page(entry), out);
}

static void look_at_pte(pte_t pte, struct mmo_page *out)
{
	if (pte_none(pte))
		return;
	if (!pte_present(pte)) {
		look_at_swap_entry(pte_to_swp_entry(pte), out);
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

static void look_at_pmd(pmd_t val, unsigned long addr, struct mmo_page *out)
{
	out->flags |= MMO_PRESENT | MMO_HUGE;
	if (pmd_write(val))
		out->flags |= MMO_WRITE;
	if (pmd_dirty(val))
		out->flags |= MMO_DIRTY;
	look_at_page(pmd_page(val) + ((addr & ~HPAGE_PMD_MASK) >> PAGE_SHIFT), out);
}

/* What is not none from addr to end, which one PMD covers; at most so many as fit in it. */
static int look_at_table(struct mm_struct *mm, unsigned long addr, unsigned long end,
			 struct mmo_page *out)
{
	pmd_t *pmd = pmd_at(mm, addr), val;
	pte_t *start, *pte;
	spinlock_t *ptl;
	int n = 0;

	if (!pmd)
		return 0;
	val = pmdp_get(pmd);
	if (pmd_none(val) || !pmd_present(val))
		return 0;
	if (pmd_trans_huge(val)) {
		for (; addr < end; addr += PAGE_SIZE, n++) {
			out[n] = (struct mmo_page) { .at = addr };
			look_at_pmd(val, addr, &out[n]);
		}
		return n;
	}
	start = pte = pte_offset_map_lock(mm, pmd, addr, &ptl);
	if (!pte)
		return 0;
	for (; addr < end; addr += PAGE_SIZE, pte++) {
		if (pte_none(ptep_get(pte)))
			continue;
		out[n] = (struct mmo_page) { .at = addr };
		look_at_pte(ptep_get(pte), &out[n++]);
	}
	pte_unmap_unlock(start, ptl);
	return n;
}

static long look_at_spans(struct mm_struct *mm, struct mmo_look *look, struct mmo_page *buffer)
{
	struct mmo_page __user *out = u64_to_user_ptr(look->pages);
	struct mmo_span __user *spans = u64_to_user_ptr(look->spans);
	struct mmo_span span;
	u32 done = 0;
	u64 i;
	int n;

	for (i = 0; i < look->nr_spans; i++) {
		unsigned long addr, next;

		if (copy_from_user(&span, spans + i, sizeof(span)))
			return -EFAULT;
		for (addr = span.start; addr < span.end; addr = next) {
			next = min((addr + PMD_SIZE) & PMD_MASK, (unsigned long)span.end);
			mmap_read_lock(mm);
			n = look_at_table(mm, addr, next, buffer);
			mmap_read_unlock(mm);
			if (done + n > look->count)
				return -E2BIG;
			if (copy_to_user(out + done, buffer, n * sizeof(*buffer)))
				return -EFAULT;
			done += n;
		}
	}
	return done;
}

static long look_at_pfns(struct mmo_look *look)
{
	struct mmo_page __user *pages = u64_to_user_ptr(look->pages);
	u32 i;

	for (i = 0; i < look->count; i++) {
		struct mmo_page page = {};

		if (get_user(page.at, &pages[i].at))
			return -EFAULT;
		if (pfn_valid(page.at))
			look_at_page(pfn_to_page(page.at), &page);
		if (copy_to_user(&pages[i], &page, sizeof(page)))
			return -EFAULT;
	}
	return look->count;
}

static long mmo_look(struct held *held, unsigned long arg)
{
	struct task_struct *task;
	struct mm_struct *mm;
	struct mmo_look look;
	long result;

	if (copy_from_user(&look, (void __user *)arg, sizeof(look)))
		return -EFAULT;
	if (!look.pid)
		return look_at_pfns(&look);
	if (!held->buffer)
		held->buffer = kvcalloc(PTRS_PER_PTE, sizeof(*held->buffer), GFP_KERNEL);
	if (!held->buffer)
		return -ENOMEM;
	task = find_get_task_by_vpid(look.pid);
	mm = task ? get_task_mm(task) : NULL;
	if (task)
		put_task_struct(task);
	if (!mm)
		return -ESRCH;
	result = look_at_spans(mm, &look, held->buffer);
	mmput(mm);
	return result;
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
	look_at_table(current->mm, addr, addr + PAGE_SIZE, &look);
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
		return mmo_look(held, arg);
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
	case MMO_DRAIN_FREE:
		/* Of a per-CPU list nobody asks whether CMA should come first. */
		drain_all_pages(NULL);
		return 0;
	case MMO_PLACE:
		/* As memalloc_pin_save(), until told otherwise; children inherit it. */
		if (arg)
			current->flags |= PF_MEMALLOC_PIN;
		else
			current->flags &= ~PF_MEMALLOC_PIN;
		return 0;
	}
	return mmo_device_ioctl(held, cmd, arg);
}

static int mmo_open(struct inode *inode, struct file *file)
{
	file->private_data = kzalloc(sizeof(struct held), GFP_KERNEL);
	return file->private_data ? 0 : -ENOMEM;
}

static int mmo_release(struct inode *inode, struct file *file)
{
	struct held *held = file->private_data;

	mmo_unlock(held);
	mmo_drop(held, false);
	mmo_device_close(held);
	kvfree(held->buffer);
	kfree(held);
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
