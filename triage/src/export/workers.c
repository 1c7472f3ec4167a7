
static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % CPUS, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* A process of its own makes the steps it is told, until the pipe says -1. */
static void work(int mm)
{
	int order[2], result;

	while (read(to[mm][0], order, sizeof(order)) == sizeof(order) && order[1] >= 0) {
		on_cpu(order[0]);
		result = step(order[1]);
		if (write(from[mm][1], &result, sizeof(result)) != sizeof(result))
			return;
	}
}

static void do_step(int mm, int cpu, int n)
{
	int order[2] = { cpu, n }, result = -1;

	if (mm == 0) {
		on_cpu(cpu);
		result = step(n);
	} else if (write(to[mm][1], order, sizeof(order)) == sizeof(order)) {
		if (read(from[mm][0], &result, sizeof(result)) != sizeof(result))
			result = -1;
	}
	printf("step %d: %s\n", n + 1, result ? "failed" : "ok");
	fflush(stdout);
}

static __attribute__((unused)) void end(int mm)
{
	int order[2] = { 0, -1 };

	if (write(to[mm][1], order, sizeof(order)) == sizeof(order))
		printf("mm%d exits\n", mm);
}

static void start(void)
{
	struct sigaction action = { .sa_handler = on_fault };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	for (int i = 0; i < 2; i++) {
		char name[] = "/tmp/mm-lockstep-XXXXXX";

		file[i] = mkstemp(name);
		unlink(name);
		if (file[i] < 0 || ftruncate(file[i], 8 * PSZ))
			exit(1);
	}
	for (int mm = 0; mm < MMS; mm++)
		if (pipe(to[mm]) || pipe(from[mm]))
			exit(1);
}
