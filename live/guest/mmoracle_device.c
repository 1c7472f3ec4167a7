// SPDX-License-Identifier: GPL-2.0
/*
 * The two devices of mmoracle: one with memory that the CPU cannot access (MEMORY_DEVICE_PRIVATE),
 * one with coherent memory, if the command line says where (mmoracle_device.coherent=ADDRESS of
 * memory that the kernel was not given). Of a private page only the first word exists; it is kept
 * in zone_device_data.
 *
 * This file is part of mm-lockstep; see mmoracle.c for its licence and why.
 */
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/init.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "mmoracle.h"

#define DEVICE_PAGES	8192UL
/* Pages that a driver handles at once. */
#define CHUNK		1024UL

static unsigned long coherent;
module_param(coherent, ulong, 0400);

struct device_memory {
	struct dev_pagemap pgmap;
	struct page *free;
	bool there;
};

static struct device_memory devices[2];
static DEFINE_SPINLOCK(free_lock);

/* A device's page tables of one mm: only what is exclusive to it. */
struct mirror {
	struct list_head node;
	struct mmu_interval_notifier notifier;
	struct device_memory *device;
	struct xarray pages;
};

static LIST_HEAD(mirrors);
static DEFINE_MUTEX(mirrors_lock);

/* Between setup and finalize. mm: its mmap_lock is held for reading. */
struct migration {
	struct migrate_vma args;
	struct device_memory *device;
	struct mm_struct *mm;
	unsigned long *src, *dst;
	unsigned long pages;
};

/* --- Contents ---------------------------------------------------------------------------- */

u64 mmo_word(struct page *page)
{
	u64 *at, word;

	if (is_device_private_page(page))
		return (u64)page->zone_device_data;
	at = kmap_local_page(page);
	word = *at;
	kunmap_local(at);
	return word;
}

static void set_word(struct page *page, u64 word)
{
	u64 *at;

	if (is_device_private_page(page)) {
		page->zone_device_data = (void *)word;
		return;
	}
	at = kmap_local_page(page);
	*at = word;
	kunmap_local(at);
}

/* from NULL: zeroes. */
static void fill(struct page *to, struct page *from)
{
	if (from && !is_device_private_page(to) && !is_device_private_page(from)) {
		copy_highpage(to, from);
		return;
	}
	if (!is_device_private_page(to))
		clear_highpage(to);
	set_word(to, from ? mmo_word(from) : 0);
}

/* --- Memory ------------------------------------------------------------------------------ */

static struct page *device_page(struct device_memory *device)
{
	struct page *page;

	spin_lock(&free_lock);
	page = device->free;
	if (page)
		device->free = page->zone_device_data;
	spin_unlock(&free_lock);
	if (page) {
		page->zone_device_data = NULL;
		zone_device_page_init(page);
	}
	return page;
}

static void device_page_free(struct page *page)
{
	struct device_memory *device = page->pgmap->owner;

	spin_lock(&free_lock);
	page->zone_device_data = device->free;
	device->free = page;
	spin_unlock(&free_lock);
}

/* Destinations, for what can go there. */
static void allocate(struct device_memory *device, unsigned long *src, unsigned long *dst,
		     unsigned long pages, bool to_system)
{
	unsigned long i;

	for (i = 0; i < pages; i++) {
		struct page *from = migrate_pfn_to_page(src[i]), *to;

		dst[i] = 0;
		if (!(src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		if ((from && is_zone_device_page(from)) != to_system)
			continue;
		to = to_system ? alloc_page(GFP_HIGHUSER_MOVABLE) : device_page(device);
		if (!to)
			continue;
		if (to_system)
			lock_page(to);
		fill(to, from);
		dst[i] = migrate_pfn(page_to_pfn(to)) | (src[i] & MIGRATE_PFN_WRITE);
	}
}

static vm_fault_t device_fault(struct vm_fault *vmf)
{
	unsigned long at = vmf->address & PAGE_MASK, src = 0, dst = 0;
	struct migrate_vma args = {
		.vma = vmf->vma,
		.start = at,
		.end = at + PAGE_SIZE,
		.src = &src,
		.dst = &dst,
		.pgmap_owner = vmf->page->pgmap->owner,
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
		.fault_page = vmf->page,
	};

	if (migrate_vma_setup(&args))
		return VM_FAULT_SIGBUS;
	allocate(NULL, &src, &dst, 1, true);
	migrate_vma_pages(&args);
	migrate_vma_finalize(&args);
	return 0;
}

static const struct dev_pagemap_ops device_ops = {
	.page_free = device_page_free,
	.migrate_to_ram = device_fault,
};

/* --- Migrations -------------------------------------------------------------------------- */

static long ready(struct migration *open)
{
	long count = 0;
	unsigned long i;

	for (i = 0; i < open->pages; i++)
		count += !!(open->src[i] & MIGRATE_PFN_MIGRATE);
	return count;
}

static struct migration *begin(struct device_memory *device, unsigned long pages)
{
	struct migration *open = kzalloc(sizeof(*open), GFP_KERNEL);

	if (!open)
		return NULL;
	open->src = kvcalloc(2 * pages, sizeof(*open->src), GFP_KERNEL);
	if (!open->src) {
		kfree(open);
		return NULL;
	}
	open->dst = open->src + pages;
	open->device = device;
	open->pages = pages;
	return open;
}

static void end(struct migration *open)
{
	kvfree(open->src);
	kfree(open);
}

/* The caller holds mmap_lock. */
static int collect(struct migration *open, struct vm_area_struct *vma, unsigned long at,
		   unsigned long select)
{
	open->args = (struct migrate_vma) {
		.vma = vma,
		.start = at,
		.end = at + (open->pages << PAGE_SHIFT),
		.src = open->src,
		.dst = open->dst,
		.pgmap_owner = open->device,
		.flags = select,
	};
	return migrate_vma_setup(&open->args);
}

static void move(struct migration *open, bool to_system)
{
	allocate(open->device, open->src, open->dst, open->pages, to_system);
	if (open->args.vma)
		migrate_vma_pages(&open->args);
	else
		migrate_device_pages(open->src, open->dst, open->pages);
}

static void finalize(struct migration *open)
{
	if (open->args.vma)
		migrate_vma_finalize(&open->args);
	else
		migrate_device_finalize(open->src, open->dst, open->pages);
}

static long dev_setup(struct held *held, struct device_memory *device, struct mmo_ask *ask)
{
	struct mm_struct *mm = current->mm;
	struct migration *open;
	int err;

	if (held->migration || !ask->count)
		return -EINVAL;
	open = begin(device, ask->count);
	if (!open)
		return -ENOMEM;
	mmap_read_lock(mm);
	err = collect(open, vma_lookup(mm, ask->at), ask->at, ask->flags);
	if (err) {
		mmap_read_unlock(mm);
		end(open);
		return err;
	}
	open->mm = mm;
	held->migration = open;
	return ready(open);
}

static struct migration *collect_device(struct device_memory *device)
{
	struct migration *open = begin(device, DEVICE_PAGES);

	if (open)
		migrate_device_range(open->src, PHYS_PFN(device->pgmap.range.start), DEVICE_PAGES);
	return open;
}

static long dev_range(struct held *held, struct device_memory *device)
{
	if (held->migration)
		return -EINVAL;
	held->migration = collect_device(device);
	return held->migration ? ready(held->migration) : -ENOMEM;
}

static long dev_pages(struct held *held, bool to_system)
{
	if (!held->migration)
		return -EINVAL;
	move(held->migration, to_system);
	return ready(held->migration);
}

static long dev_finalize(struct held *held)
{
	struct migration *open = held->migration;

	if (!open)
		return -EINVAL;
	finalize(open);
	if (open->mm)
		mmap_read_unlock_non_owner(open->mm);
	end(open);
	held->migration = NULL;
	return 0;
}

/* VMA by VMA, chunk by chunk. */
static long dev_migrate(struct device_memory *device, struct mmo_ask *ask)
{
	unsigned long own = device == &devices[0] ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE :
						    MIGRATE_VMA_SELECT_DEVICE_COHERENT;
	unsigned long select = ask->flags ? own : own | MIGRATE_VMA_SELECT_SYSTEM;
	unsigned long at = ask->at, last = at + ((unsigned long)ask->count << PAGE_SHIFT), next;
	struct mm_struct *mm = current->mm;
	long moved = 0, err = 0;

	mmap_read_lock(mm);
	for (; at < last; at = next) {
		struct vm_area_struct *vma = vma_lookup(mm, at);
		struct migration *open;

		err = -EINVAL;
		if (!vma || !(vma->vm_flags & VM_READ))
			break;
		next = min3(last, at + (CHUNK << PAGE_SHIFT), vma->vm_end);
		open = begin(device, (next - at) >> PAGE_SHIFT);
		err = open ? collect(open, vma, at, select) : -ENOMEM;
		if (!err) {
			move(open, ask->flags);
			moved += ready(open);
			finalize(open);
		}
		if (open)
			end(open);
		if (err)
			break;
	}
	mmap_read_unlock(mm);
	return err ?: moved;
}

static long dev_evict(struct device_memory *device)
{
	struct migration *open = collect_device(device);
	long moved;

	if (!open)
		return -ENOMEM;
	move(open, true);
	moved = ready(open);
	finalize(open);
	end(open);
	return moved;
}

/* --- The devices' page tables --------------------------------------------------------------- */

static bool mirror_invalidate(struct mmu_interval_notifier *notifier,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *mirror = container_of(notifier, struct mirror, notifier);
	unsigned long index;
	void *entry;

	/* The driver's own migrations know what they do. */
	if (range->event == MMU_NOTIFY_MIGRATE && range->owner == mirror->device)
		return true;
	mmu_interval_set_seq(notifier, seq);
	xa_for_each_range(&mirror->pages, index, entry, range->start >> PAGE_SHIFT,
			  (range->end - 1) >> PAGE_SHIFT)
		xa_erase(&mirror->pages, index);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = {
	.invalidate = mirror_invalidate,
};

static struct mirror *mirror_of(struct device_memory *device)
{
	struct mirror *mirror;

	list_for_each_entry(mirror, &mirrors, node)
		if (mirror->notifier.mm == current->mm && mirror->device == device)
			return mirror;
	return NULL;
}

static long dev_mirror(struct device_memory *device)
{
	struct mirror *mirror = kzalloc(sizeof(*mirror), GFP_KERNEL);
	int err;

	if (!mirror)
		return -ENOMEM;
	xa_init(&mirror->pages);
	mirror->device = device;
	err = mmu_interval_notifier_insert(&mirror->notifier, current->mm, 0,
					   ULONG_MAX & PAGE_MASK, &mirror_ops);
	if (err) {
		kfree(mirror);
		return err;
	}
	list_add(&mirror->node, &mirrors);
	return 0;
}

static long dev_reset(void)
{
	struct mirror *mirror, *next;

	list_for_each_entry_safe(mirror, next, &mirrors, node) {
		mmu_interval_notifier_remove(&mirror->notifier);
		xa_destroy(&mirror->pages);
		list_del(&mirror->node);
		kfree(mirror);
	}
	return 0;
}

#define WANT_FAULT	1
#define WANT_WRITE	2
#define WANT_ODD	4

static int hmm_chunk(struct mirror *mirror, unsigned long at, unsigned long count,
		     unsigned long *pfns, unsigned long want)
{
	unsigned long request = (want & WANT_FAULT ? HMM_PFN_REQ_FAULT : 0) |
				(want & WANT_WRITE ? HMM_PFN_REQ_WRITE : 0);
	struct hmm_range range = {
		.notifier = &mirror->notifier,
		.start = at,
		.end = at + (count << PAGE_SHIFT),
		.hmm_pfns = pfns,
		.default_flags = want & WANT_ODD ? 0 : request,
		.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		.dev_private_owner = mirror->device,
	};
	int err, tries = 100;
	unsigned long i;

	do {
		for (i = 0; i < count; i++)
			pfns[i] = want & WANT_ODD && i & 1 ? request : 0;
		range.notifier_seq = mmu_interval_read_begin(&mirror->notifier);
		mmap_read_lock(current->mm);
		err = hmm_range_fault(&range);
		mmap_read_unlock(current->mm);
	} while (err == -EBUSY && --tries);
	return err;
}

/* Flags and content, as program/src/hmm.rs has them. */
static u64 report(unsigned long pfn)
{
	u64 flags = 0x80, word = 0;
	struct page *page;

	if (pfn & HMM_PFN_ERROR)
		flags |= 4;
	if (pfn & HMM_PFN_VALID) {
		page = hmm_pfn_to_page(pfn);
		flags |= 1 | (pfn & HMM_PFN_WRITE ? 2 : 0);
		if (is_device_private_page(page))
			flags |= 8;
		else if (is_device_coherent_page(page))
			flags |= 16;
		else if (is_zero_pfn(page_to_pfn(page)))
			flags |= 32;
		if (hmm_pfn_to_map_order(pfn))
			flags |= 64;
		word = mmo_word(page);
	}
	return flags << 56 | word;
}

static int say(struct mmo_ask *ask, u64 word)
{
	return put_user(word, (u64 __user *)u64_to_user_ptr(ask->out) + ask->done++);
}

static long dev_hmm(struct mirror *mirror, struct mmo_ask *ask)
{
	unsigned long *pfns, done = 0, count, i;
	int err = 0;

	pfns = kvcalloc(CHUNK, sizeof(*pfns), GFP_KERNEL);
	if (!pfns)
		return -ENOMEM;
	for (; !err && done < ask->count; done += count) {
		count = min(ask->count - done, CHUNK);
		err = hmm_chunk(mirror, ask->at + (done << PAGE_SHIFT), count, pfns, ask->flags);
		for (i = 0; !err && i < count; i++)
			err = say(ask, report(pfns[i]));
	}
	kvfree(pfns);
	return err ?: ask->count;
}

static long dev_access(struct mirror *mirror, struct mmo_ask *ask, bool write)
{
	unsigned long at = ask->at, pfn, i;
	struct page *page;
	int err;

	for (i = 0; i < ask->count; i++, at += PAGE_SIZE) {
		page = write ? NULL : xa_load(&mirror->pages, at >> PAGE_SHIFT);
		if (!page) {
			err = hmm_chunk(mirror, at, 1, &pfn,
					write ? WANT_FAULT | WANT_WRITE : WANT_FAULT);
			if (err)
				return err;
			if (!(pfn & HMM_PFN_VALID) || (write && !(pfn & HMM_PFN_WRITE)))
				return -EFAULT;
			page = hmm_pfn_to_page(pfn);
		}
		if (write)
			set_word(page, ask->flags + i);
		else if (say(ask, mmo_word(page)))
			return -EFAULT;
	}
	return ask->count;
}

static long dev_exclusive(struct mirror *mirror, struct mmo_ask *ask)
{
	unsigned long at = ask->at, last = at + ((unsigned long)ask->count << PAGE_SHIFT), next, i;
	struct page **pages;
	long got, mapped;
	int err = 0;

	pages = kvcalloc(CHUNK, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	mmap_read_lock(current->mm);
	for (; !err && at < last; at = next) {
		next = min(last, at + (CHUNK << PAGE_SHIFT));
		got = make_device_exclusive_range(current->mm, at, next, pages, NULL);
		mapped = 0;
		for (i = 0; got == (next - at) >> PAGE_SHIFT && i < got; i++) {
			if (!pages[i])
				continue;
			xa_store(&mirror->pages, (at >> PAGE_SHIFT) + i, pages[i], GFP_KERNEL);
			mapped++;
		}
		for (i = 0; (long)i < got; i++) {
			if (pages[i]) {
				unlock_page(pages[i]);
				put_page(pages[i]);
			}
		}
		if (mapped < (next - at) >> PAGE_SHIFT)
			err = -EBUSY;
	}
	mmap_read_unlock(current->mm);
	kvfree(pages);
	for (at = ask->at; !err && at < last; at += PAGE_SIZE)
		err = say(ask, mmo_word(xa_load(&mirror->pages, at >> PAGE_SHIFT)));
	return err ?: ask->count;
}

/* --- Requests ---------------------------------------------------------------------------- */

static long dispatch(struct held *held, unsigned int cmd, struct mmo_ask *ask)
{
	struct device_memory *device = &devices[ask->device & 1];
	struct mirror *mirror;

	switch (cmd) {
	case MMO_DEV_PAGES:
		return dev_pages(held, ask->flags);
	case MMO_DEV_FINALIZE:
		return dev_finalize(held);
	case MMO_DEV_RESET:
		return dev_reset();
	}
	if (!device->there)
		return -ENODEV;
	switch (cmd) {
	case MMO_DEV_SETUP:
		return dev_setup(held, device, ask);
	case MMO_DEV_RANGE:
		return dev_range(held, device);
	case MMO_DEV_MIGRATE:
		return dev_migrate(device, ask);
	case MMO_DEV_EVICT:
		return dev_evict(device);
	case MMO_DEV_MIRROR:
		return dev_mirror(device);
	}
	mirror = mirror_of(device);
	if (!mirror)
		return -ENODEV;
	switch (cmd) {
	case MMO_DEV_READ:
		return dev_access(mirror, ask, false);
	case MMO_DEV_WRITE:
		return dev_access(mirror, ask, true);
	case MMO_DEV_HMM:
		return dev_hmm(mirror, ask);
	case MMO_DEV_EXCLUSIVE:
		return dev_exclusive(mirror, ask);
	}
	return -ENOTTY;
}

long mmo_device_ioctl(struct held *held, unsigned int cmd, unsigned long arg)
{
	struct mmo_ask ask;
	long result;

	if (copy_from_user(&ask, (void __user *)arg, sizeof(ask)))
		return -EFAULT;
	ask.done = 0;
	mutex_lock(&mirrors_lock);
	result = dispatch(held, cmd, &ask);
	mutex_unlock(&mirrors_lock);
	if (put_user(ask.done, &((struct mmo_ask __user *)arg)->done))
		return -EFAULT;
	return result;
}

void mmo_device_close(struct held *held)
{
	if (held->migration)
		dev_finalize(held);
}

static void __init add(struct device_memory *device, enum memory_type type, u64 start)
{
	unsigned long pfn;
	void *there;

	device->pgmap.type = type;
	device->pgmap.range.start = start;
	device->pgmap.range.end = start + (DEVICE_PAGES << PAGE_SHIFT) - 1;
	device->pgmap.nr_range = 1;
	device->pgmap.ops = &device_ops;
	device->pgmap.owner = device;
	there = memremap_pages(&device->pgmap, numa_node_id());
	if (IS_ERR(there)) {
		pr_err("mmoracle: no memory for device %td\n", device - devices);
		return;
	}
	for (pfn = PHYS_PFN(start) + DEVICE_PAGES; pfn-- > PHYS_PFN(start);) {
		pfn_to_page(pfn)->zone_device_data = device->free;
		device->free = pfn_to_page(pfn);
	}
	device->there = true;
}

static int __init add_devices(void)
{
	struct resource *region;

	region = request_free_mem_region(&iomem_resource, DEVICE_PAGES << PAGE_SHIFT, "mmoracle");
	if (!IS_ERR(region))
		add(&devices[0], MEMORY_DEVICE_PRIVATE, region->start);
	if (coherent)
		add(&devices[1], MEMORY_DEVICE_COHERENT, coherent);
	return 0;
}
late_initcall(add_devices);
