/* A Modbus server on libmodbus: an independent implementation to read from.
 * usage: libmodbus-server PORT [moving] | rtu SERIAL_PORT
 * Every register is a function of its address, or with "moving" another every
 * second: 50 blocks of 20 registers, each four words, three floats, a word and
 * one that stays, and a coil. Lines on standard input change
 * the image while it runs: "holding ADDRESS VALUE" and "coil ADDRESS VALUE". */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 1000 };

/* Debian's libmodbus 3.1.6 swaps bytes in modbus_set_float_*: write the wire
 * order by hand. order names the bytes of the big-endian value. */
static void put_float(uint16_t *at, float f, const char *order) {
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	uint8_t sent[4];
	for (int i = 0; i < 4; i++)
		sent[i] = (uint8_t)(bits >> (8 * (3 - (order[i] - 'A'))));
	at[0] = (uint16_t)(sent[0] << 8 | sent[1]);
	at[1] = (uint16_t)(sent[2] << 8 | sent[3]);
}

static void fill(modbus_mapping_t *m) {
	for (int i = 0; i < SIZE; i++) {
		m->tab_registers[i] = (uint16_t)(i * 7 + 1);
		m->tab_input_registers[i] = (uint16_t)(i * 13 + 5);
		m->tab_bits[i] = i % 3 == 0;
		m->tab_input_bits[i] = i % 5 == 0;
	}
	put_float(m->tab_registers + 100, 12.5f, "ABCD");
	put_float(m->tab_registers + 102, -3.25f, "CDAB");
	put_float(m->tab_registers + 104, 1e6f, "BADC");
	put_float(m->tab_registers + 106, 0.001f, "DCBA");
	/* A word of 32 alarm bits, most and least significant register first. */
	int32_t word = (int32_t)0x80010004;
	MODBUS_SET_INT32_TO_INT16(m->tab_registers, 110, word);
	m->tab_registers[112] = m->tab_registers[111];
	m->tab_registers[113] = m->tab_registers[110];
	m->tab_registers[500] = 0;
}

static void move(modbus_mapping_t *m) {
	static time_t moved;
	time_t now = time(NULL);
	if (now == moved)
		return;
	moved = now;
	for (int block = 0; block < SIZE / 20; block++) {
		uint16_t *at = m->tab_registers + 20 * block;
		for (int i = 0; i < 4; i++)
			at[i] = (uint16_t)rand();
		for (int i = 4; i < 10; i += 2)
			put_float(at + i, (float)rand() / 1e7f, "ABCD");
		at[10] = (uint16_t)rand();
		at[11] = 7;
		m->tab_bits[block] = rand() % 2 == 0;
	}
}

static int moving;

static int command(modbus_mapping_t *m) {
	char area[16];
	unsigned address, value;
	if (scanf("%15s %u %u", area, &address, &value) != 3)
		return -1;
	if (address >= SIZE)
		return 0;
	if (strcmp(area, "holding") == 0)
		m->tab_registers[address] = (uint16_t)value;
	else if (strcmp(area, "coil") == 0)
		m->tab_bits[address] = value != 0;
	printf("ok\n");
	fflush(stdout);
	return 0;
}

static void serve(modbus_t *ctx, modbus_mapping_t *m, int fd, fd_set *all) {
	uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
	modbus_set_socket(ctx, fd);
	int rc = modbus_receive(ctx, query);
	if (moving)
		move(m);
	if (rc > 0)
		modbus_reply(ctx, query, rc, m);
	else if (rc == -1) {
		close(fd);
		FD_CLR(fd, all);
	}
}

/* One line, no connections to accept: the descriptor is there from the start. */
static int serial(const char *path, modbus_mapping_t *m) {
	uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
	modbus_t *ctx = modbus_new_rtu(path, 115200, 'N', 8, 1);
	if (ctx == NULL || modbus_set_slave(ctx, 1) == -1 || modbus_connect(ctx) == -1) {
		fprintf(stderr, "open %s: %s\n", path, modbus_strerror(errno));
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		fd_set ready;
		FD_ZERO(&ready);
		FD_SET(0, &ready);
		FD_SET(modbus_get_socket(ctx), &ready);
		if (select(modbus_get_socket(ctx) + 1, &ready, NULL, NULL, NULL) == -1)
			return 1;
		if (FD_ISSET(0, &ready) && command(m) == -1)
			return 0;
		if (!FD_ISSET(modbus_get_socket(ctx), &ready))
			continue;
		int rc = modbus_receive(ctx, query);
		if (rc > 0)
			modbus_reply(ctx, query, rc, m);
	}
}

int main(int argc, char **argv) {
	setvbuf(stdin, NULL, _IONBF, 0);
	modbus_mapping_t *m = modbus_mapping_new(SIZE, SIZE, SIZE, SIZE);
	if (m == NULL)
		return 1;
	fill(m);
	if (argc == 3 && strcmp(argv[1], "rtu") == 0)
		return serial(argv[2], m);
	moving = argc == 3 && strcmp(argv[2], "moving") == 0;
	if (argc != 2 && !moving)
		return 2;
	modbus_t *ctx = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
	if (ctx == NULL)
		return 1;
	int listener = modbus_tcp_listen(ctx, 8);
	if (listener == -1) {
		fprintf(stderr, "listen: %s\n", modbus_strerror(errno));
		return 1;
	}
	fd_set all;
	FD_ZERO(&all);
	FD_SET(0, &all);
	FD_SET(listener, &all);
	int top = listener;
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		fd_set ready = all;
		if (select(top + 1, &ready, NULL, NULL, NULL) == -1)
			return 1;
		if (FD_ISSET(0, &ready) && command(m) == -1)
			return 0;
		if (FD_ISSET(listener, &ready)) {
			int fd = listener;
			modbus_tcp_accept(ctx, &fd);
			fd = modbus_get_socket(ctx);
			FD_SET(fd, &all);
			top = fd > top ? fd : top;
		}
		for (int fd = 3; fd <= top; fd++)
			if (fd != listener && FD_ISSET(fd, &ready) && FD_ISSET(fd, &all))
				serve(ctx, m, fd, &all);
	}
}
