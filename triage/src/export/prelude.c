#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define PSZ 4096UL
#define PMD (512 * PSZ)
/* Page n past the boundary of the given huge page. */
#define PAGE(pmd, n) ((char *)0x200000000000UL + (pmd) * PMD + (n) * PSZ)
#define CPUS 8
#define MMS 16
#define HANDLES 256

/* Two files of eight pages, as the model has them. */
static int file[2];
static int held[HANDLES][2];
static int to[MMS][2], from[MMS][2];
static sigjmp_buf fault;

static void on_fault(int sig)
{
	siglongjmp(fault, sig);
}

/* Reads or writes one word of each page; an access that faults is the step's result. */
static __attribute__((unused)) int touch(volatile char *at, int pages, int write, int value)
{
	int sig = sigsetjmp(fault, 1);

	if (sig)
		return sig;
	for (int i = 0; i < pages; i++) {
		volatile long *word = (volatile long *)(at + i * PSZ);

		if (write)
			*word = ((long)value << 16) | i;
		else
			(void)*word;
	}
	return 0;
}

/* FOLL_GET: a pipe that holds the pages (vmsplice). */
static __attribute__((unused)) int get(int handle, char *at, int pages)
{
	struct iovec iov = { at, pages * PSZ };

	if (pipe(held[handle]))
		return 1;
	return vmsplice(held[handle][1], &iov, 1, SPLICE_F_NONBLOCK) < 0;
}

static __attribute__((unused)) int put(int handle)
{
	return close(held[handle][0]) | close(held[handle][1]);
}

/* FOLL_PIN: a registered buffer of io_uring. */
static __attribute__((unused)) int pin(int handle, char *at, int pages)
{
	struct iovec iov = { at, pages * PSZ };
	char params[120] = { 0 };
	int ring = syscall(425 /* io_uring_setup */, 1, params);

	held[handle][0] = ring;
	if (ring < 0)
		return 1;
	return syscall(427 /* io_uring_register */, ring, 0 /* IORING_REGISTER_BUFFERS */, &iov, 1) != 0;
}

static __attribute__((unused)) int unpin(int handle)
{
	return close(held[handle][0]);
}

static __attribute__((unused)) int migrate(char *at, int pages)
{
	int failed = 0;

	/* With one node there is nowhere to go: then compaction is the nearest thing. */
	for (int i = 0; i < pages; i++) {
		void *page = at + i * PSZ;
		int node = 1, status = 0;

		if (syscall(SYS_move_pages, 0, 1UL, &page, &node, &status, 2) || status < 0)
			failed = 1;
	}
	if (failed) {
		int fd = open("/proc/sys/vm/compact_memory", O_WRONLY);

		failed = fd < 0 || write(fd, "1", 1) != 1;
		close(fd);
	}
	return failed;
}

static __attribute__((unused)) int split_huge(char *at, int pages)
{
	char text[96];
	int fd = open("/sys/kernel/debug/split_huge_pages", O_WRONLY);
	int len = snprintf(text, sizeof(text), "%d,0x%lx,0x%lx", getpid(), (unsigned long)at,
			   (unsigned long)(at + pages * PSZ));
	int failed = fd < 0 || write(fd, text, len) != len;

	close(fd);
	return failed;
}

/* Every CPU's batches are drained by memory compaction. */
static __attribute__((unused)) int drain(void)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY);
	int failed = fd < 0 || write(fd, "1", 1) != 1;

	close(fd);
	return failed;
}

static void work(int mm);

/* fork: the child waits for its steps, and does not outlive who made it. */
static __attribute__((unused)) int spawn(int child)
{
	pid_t pid = fork();

	if (pid < 0)
		return 1;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work(child);
		_exit(0);
	}
	return 0;
}
