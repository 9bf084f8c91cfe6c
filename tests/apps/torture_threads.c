/* Several threads on one connection. */
#include "common.h"

#define LARGE (4u << 20)
#define RECORDS 3000
#define RECORD 64

static int connection;

static void *write_large(void *unused)
{
	static char block[30000];
	for (size_t sent = 0, length; sent < LARGE; sent += length) {
		/* Lengths of all kinds, small ones among them. */
		length = (sent * 7 + 1) % sizeof block + 1;
		length = length < LARGE - sent ? length : LARGE - sent;
		fill(block, length, sent);
		write_full(connection, block, length);
	}
	return unused;
}

static void *read_large(void *unused)
{
	static char block[30000];
	size_t got = 0;
	while (got < LARGE) {
		ssize_t n = must(read(connection, block, (got * 5 + 3) % sizeof block + 1), "read");
		if (n == 0 || strcmp(check(block, n, got), "right") != 0) {
			say("wrong at %zu", got);
			break;
		}
		got += n;
	}
	return unused;
}

static void both_ways(int listener)
{
	pthread_t reader, writer;
	connection = next_client(listener);
	ask("0 duplex %u", LARGE);
	pthread_create(&reader, NULL, read_large, NULL);
	pthread_create(&writer, NULL, write_large, NULL);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	close(connection);
	ask("0 end");
}

/* Each record goes out in one write: it arrives whole, and in its writer's order. */
static void *write_records(void *argument)
{
	unsigned char record[RECORD];
	int writer = (int)(intptr_t)argument;
	for (int number = 0; number < RECORDS; number++) {
		memset(record, writer * 16 + number % 16, sizeof record);
		record[0] = (unsigned char)writer;
		record[1] = (unsigned char)(number >> 8);
		record[2] = (unsigned char)number;
		write_full(connection, (char *)record, sizeof record);
	}
	return NULL;
}

static void writers(int listener)
{
	pthread_t threads[3];
	connection = next_client(listener);
	ask("0 records %zu %d %d", COUNT(threads), RECORDS, RECORD);
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_create(&threads[i], NULL, write_records, (void *)(intptr_t)i);
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	close(connection);
	ask("0 end");
}

static void *read_one(void *unused)
{
	char byte;
	report("reader", read(connection, &byte, 1));
	return unused;
}

/* A reader that waits holds nothing that a writer needs. */
static void blocked_reader(int listener)
{
	pthread_t reader;
	static char block[1 << 20];
	connection = next_client(listener);
	pthread_create(&reader, NULL, read_one, NULL);
	fill(block, sizeof block, 0);
	ask("0 ping");
	ask("0 expect %zu", sizeof block);
	write_full(connection, block, sizeof block);
	ask("0 tease 1");
	pthread_join(reader, NULL);
	/* And shutdown ends its wait. */
	pthread_create(&reader, NULL, read_one, NULL);
	ask("0 noise");
	await_client();
	int result = shutdown(connection, SHUT_RDWR);
	pthread_join(reader, NULL);
	report("shutdown", result);
}

/* A writer that waits for room holds nothing that a reader needs. */
static void blocked_writer(int listener)
{
	pthread_t writer;
	char buffer[20000];
	connection = next_client(listener);
	pthread_create(&writer, NULL, write_large, NULL);
	ask("0 send %zu", sizeof buffer);
	say_read("read", connection, buffer, sizeof buffer, 0);
	ask("0 expect %u", LARGE);
	pthread_join(writer, NULL);
	close(connection);
	ask("0 end");
}

int main(int argc, char **argv)
{
	static const struct scenario TABLE[] = {
		{"both-ways", both_ways}, {"writers", writers}, {"blocked-reader", blocked_reader},
		{"blocked-writer", blocked_writer},
	};
	return argc == 3 ? play(argv, TABLE, COUNT(TABLE)) : 2;
}
