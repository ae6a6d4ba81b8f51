/* What the benchmarks of switch and netem measure with, and the bare loop that they are held against.
 *
 *   tools wire NETNS NETNS...        makes a TAP e0 in each, and passes super-packets between those of a pair
 *   tools split NETNS NETNS          the same with a thread that reads and one that writes each way
 *   tools send ADDRESS RATE SECONDS  datagrams of 64 bytes, RATE a second (0: as many as go)
 *   tools recv IDLE_MS               counts them until none came for so long: received, seconds
 *   tools late ADDRESS COUNT GAP_US  datagrams of 200 bytes with the time at which they were sent
 *   tools delays COUNT               prints how long each of those took, in nanoseconds
 *   tools times IDLE_MS              prints when each datagram came, in nanoseconds, as recv
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define PORT 7001
#define HOSTS 256
#define SLOTS 64
#define BATCH 16
#define SMALL 64
#define ROOM 69632 /* a super-packet with its headers */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int tap(const char *netns)
{
	int header = 12, own = open("/proc/self/ns/net", O_RDONLY), ns = open(netns, O_RDONLY);
	unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6;
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd;

	if (own < 0 || ns < 0 || setns(ns, CLONE_NEWNET))
		die(netns);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	strcpy(request.ifr_name, "e0");
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) || ioctl(fd, TUNSETVNETHDRSZ, &header) ||
	    ioctl(fd, TUNSETOFFLOAD, offloads))
		die("TAP");
	if (setns(own, CLONE_NEWNET))
		die("setns");
	return fd;
}

/* As many pairs as there are: what comes from one of a pair goes to the other. */
static void wire(char **netns, int count)
{
	static char room[ROOM];
	static int ports[HOSTS];
	int epoll = epoll_create1(0);

	for (int port = 0; port < count; port++) {
		struct epoll_event wanted = { EPOLLIN, { .fd = port } };

		ports[port] = tap(netns[port]);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, ports[port], &wanted))
			die("epoll");
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct epoll_event ready[64];
		int events = epoll_wait(epoll, ready, 64, -1);

		for (int at = 0; at < events; at++) {
			int from = ready[at].data.fd;

			for (int turn = 0; turn < 64; turn++) {
				ssize_t len = read(ports[from], room, sizeof room);
				if (len <= 0)
					break;
				(void)!write(ports[from ^ 1], room, (size_t)len);
			}
		}
	}
}

/* One way of a split wire: packets that were read and are not yet written. */
struct way {
	int from, to;
	_Atomic unsigned read, written;
	_Atomic int sleeping; /* the writer, which a futex wakes */
	ssize_t lens[SLOTS];
	char rooms[SLOTS][ROOM];
};

static void *reader(void *argument)
{
	struct way *way = argument;

	for (;;) {
		struct pollfd ready = { way->from, POLLIN, 0 };
		poll(&ready, 1, -1);
		for (;;) {
			unsigned at = way->read;
			/* A full ring is the writer's turn. */
			while (at - way->written == SLOTS)
				sched_yield();
			way->lens[at % SLOTS] = read(way->from, way->rooms[at % SLOTS], ROOM);
			if (way->lens[at % SLOTS] <= 0)
				break;
			way->read = at + 1;
			if (atomic_exchange(&way->sleeping, 0))
				syscall(SYS_futex, &way->sleeping, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
		}
	}
	return NULL;
}

static void *writer(void *argument)
{
	struct way *way = argument;

	for (;;) {
		unsigned at = way->written;
		if (at == way->read) {
			way->sleeping = 1;
			if (at == way->read)
				syscall(SYS_futex, &way->sleeping, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
			way->sleeping = 0;
			continue;
		}
		(void)!write(way->to, way->rooms[at % SLOTS], (size_t)way->lens[at % SLOTS]);
		way->written = at + 1;
	}
	return NULL;
}

static void split(char **netns)
{
	static struct way ways[2];
	int ports[2] = { tap(netns[0]), tap(netns[1]) };

	for (int from = 0; from < 2; from++) {
		pthread_t thread;

		ways[from].from = ports[from];
		ways[from].to = ports[1 - from];
		if (pthread_create(&thread, NULL, reader, &ways[from]) ||
		    pthread_create(&thread, NULL, writer, &ways[from]))
			die("thread");
	}
	puts("ready");
	fflush(stdout);
	pause();
}

static int connected(const char *address)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int size = 4 << 20, fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, address, &to.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
		die(address);
	return fd;
}

static int bound(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int size = 4 << 20, fd = socket(AF_INET, SOCK_DGRAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at))
		die("bind");
	puts("ready");
	fflush(stdout);
	return fd;
}

static void send_many(const char *address, double rate, double seconds)
{
	static char data[SMALL];
	struct iovec iov = { data, sizeof data };
	struct mmsghdr messages[BATCH] = { 0 };
	uint64_t start = now(), end = start + (uint64_t)(seconds * 1e9), sent = 0;
	int fd = connected(address);

	for (int i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	for (uint64_t t = start; t < end; t = now()) {
		uint64_t due = rate > 0 ? start + (uint64_t)(sent / rate * 1e9) : t;
		if (due > t + 60000) {
			struct timespec nap = { 0, (long)(due - t - 50000) };
			nanosleep(&nap, NULL);
		}
		if (due > t)
			continue;
		int count = sendmmsg(fd, messages, BATCH, 0);
		sent += count > 0 ? (uint64_t)count : 0;
	}
	printf("%lu\n", sent);
}

static void recv_many(int idle)
{
	static char data[BATCH][2048];
	struct iovec iov[BATCH];
	struct mmsghdr messages[BATCH] = { 0 };
	uint64_t received = 0, first = 0, last = 0;
	int fd = bound();

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ data[i], sizeof data[i] };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	for (;;) {
		struct pollfd ready = { fd, POLLIN, 0 };
		if (poll(&ready, 1, received ? idle : 10000) <= 0)
			break;
		int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
		if (count <= 0)
			continue;
		last = now();
		first = first ? first : last;
		received += (uint64_t)count;
	}
	printf("%lu %f\n", received, (double)(last - first) / 1e9);
}

static void late(const char *address, long count, uint64_t gap)
{
	char data[200] = { 0 };
	int fd = connected(address);
	uint64_t due = now();

	prctl(PR_SET_TIMERSLACK, 1);
	while (count-- > 0) {
		due += gap * 1000;
		struct timespec at = { (time_t)(due / 1000000000), (long)(due % 1000000000) };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		uint64_t time = now();
		memcpy(data, &time, sizeof time);
		(void)!send(fd, data, sizeof data, 0);
	}
}

static void delays(long count)
{
	char data[2048];
	int fd = bound();

	while (count-- > 0) {
		struct pollfd ready = { fd, POLLIN, 0 };
		uint64_t sent;
		if (poll(&ready, 1, 5000) <= 0)
			break;
		if (recv(fd, data, sizeof data, 0) < (ssize_t)sizeof sent)
			continue;
		memcpy(&sent, data, sizeof sent);
		printf("%lu\n", now() - sent);
	}
}

static void times(int idle)
{
	static char data[2048];
	/* Printing meanwhile would be late for the next. */
	static uint64_t at[2000000];
	size_t count = 0;
	int fd = bound();

	while (count < sizeof at / sizeof *at) {
		struct pollfd ready = { fd, POLLIN, 0 };
		if (poll(&ready, 1, count ? idle : 10000) <= 0)
			break;
		if (recv(fd, data, sizeof data, 0) > 0)
			at[count++] = now();
	}
	for (size_t i = 0; i < count; i++)
		printf("%lu\n", at[i]);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "wire") && argc >= 4 && argc % 2 == 0 && argc - 2 <= HOSTS)
		wire(argv + 2, argc - 2);
	else if (!strcmp(what, "split") && argc == 4)
		split(argv + 2);
	else if (!strcmp(what, "send") && argc == 5)
		send_many(argv[2], atof(argv[3]), atof(argv[4]));
	else if (!strcmp(what, "recv") && argc == 3)
		recv_many(atoi(argv[2]));
	else if (!strcmp(what, "late") && argc == 5)
		late(argv[2], atol(argv[3]), (uint64_t)atol(argv[4]));
	else if (!strcmp(what, "delays") && argc == 3)
		delays(atol(argv[2]));
	else if (!strcmp(what, "times") && argc == 3)
		times(atoi(argv[2]));
	else
		return 2;
	return 0;
}
