/* A Modbus client on libmodbus: what reading costs without any of our care.
 * usage: libmodbus-client PORT
 * It reads ROUNDS times the first 1,000 registers, 125 a request, for every
 * line "ROUNDS" on standard input, and answers with the CPU time that took, in
 * nanoseconds, in user and kernel mode together. */
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { REGISTERS = 1000, REQUEST = 125 };

static long long cpu(void) {
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000LL +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000LL;
}

/* The server's registers are a function of their address. */
static int read_all(modbus_t *ctx) {
	uint16_t got[REQUEST];
	for (int at = 0; at < REGISTERS; at += REQUEST)
		if (modbus_read_registers(ctx, at, REQUEST, got) != REQUEST || got[1] != (uint16_t)((at + 1) * 7 + 1))
			return -1;
	return 0;
}

int main(int argc, char **argv) {
	if (argc != 2)
		return 2;
	modbus_t *ctx = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
	if (ctx == NULL || modbus_connect(ctx) == -1 || read_all(ctx) == -1)
		return 1;
	int rounds;
	while (scanf("%d", &rounds) == 1) {
		long long begin = cpu();
		for (int i = 0; i < rounds; i++)
			if (read_all(ctx) == -1)
				return 1;
		printf("%lld\n", cpu() - begin);
		fflush(stdout);
	}
	return 0;
}
