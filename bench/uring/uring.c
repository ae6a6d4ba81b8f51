/* Packets out of a filled TUN queue, and into one that drops them: system calls against io_uring with
 * fixed buffers and so many operations in one call. CPU time of the process, the workers of the ring
 * included; medians of rounds in turns. io_uring is taken by its bare system calls. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DEPTH 64
#define ROOM 69632
#define HEADER 10 /* virtio-net */
#define ROUNDS_MAX 1000

struct ring {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static unsigned char rooms[DEPTH][ROOM];

static void check(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

static struct ring ring_open(void)
{
	struct io_uring_params p = { 0 };
	struct iovec all = { rooms, sizeof rooms };
	struct ring r = { .fd = (int)syscall(SYS_io_uring_setup, DEPTH, &p) };
	int prot = PROT_READ | PROT_WRITE;

	check(r.fd >= 0, "io_uring_setup");
	size_t sq_len = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	size_t cq_len = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	char *sq = mmap(NULL, sq_len, prot, MAP_SHARED, r.fd, IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, cq_len, prot, MAP_SHARED, r.fd, IORING_OFF_CQ_RING);
	r.sqes = mmap(NULL, p.sq_entries * sizeof *r.sqes, prot, MAP_SHARED, r.fd, IORING_OFF_SQES);
	check(sq != MAP_FAILED && cq != MAP_FAILED && r.sqes != MAP_FAILED, "mmap");
	r.sq_tail = (unsigned *)(sq + p.sq_off.tail);
	r.sq_mask = (unsigned *)(sq + p.sq_off.ring_mask);
	r.sq_array = (unsigned *)(sq + p.sq_off.array);
	r.cq_head = (unsigned *)(cq + p.cq_off.head);
	r.cq_tail = (unsigned *)(cq + p.cq_off.tail);
	r.cq_mask = (unsigned *)(cq + p.cq_off.ring_mask);
	r.cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	check(!syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &all, 1), "register");
	return r;
}

/* Moves `count` packets, `depth` in a call. */
static void ring_move(struct ring *r, int op, int tun, unsigned len, unsigned count, unsigned depth)
{
	while (count) {
		unsigned some = count < depth ? count : depth, tail = *r->sq_tail;

		for (unsigned i = 0; i < some; i++, tail++) {
			struct io_uring_sqe *sqe = &r->sqes[tail & *r->sq_mask];

			memset(sqe, 0, sizeof *sqe);
			sqe->opcode = (unsigned char)op;
			sqe->fd = tun;
			sqe->off = (unsigned long long)-1;
			sqe->addr = (unsigned long)rooms[i];
			sqe->len = op == IORING_OP_READ_FIXED ? ROOM : len;
			r->sq_array[tail & *r->sq_mask] = tail & *r->sq_mask;
		}
		__atomic_store_n(r->sq_tail, tail, __ATOMIC_RELEASE);
		long done = syscall(SYS_io_uring_enter, r->fd, some, some, IORING_ENTER_GETEVENTS, 0, 0);
		check(done == (long)some, "io_uring_enter");
		unsigned head = *r->cq_head, end = __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE);
		for (; head != end; head++) {
			int result = r->cqes[head & *r->cq_mask].res;

			if (result != (int)len) {
				fprintf(stderr, "io_uring: %d in place of %u\n", result, len);
				exit(1);
			}
			count--;
		}
		__atomic_store_n(r->cq_head, head, __ATOMIC_RELEASE);
	}
}

static void plain_move(int op, int tun, unsigned len, unsigned count)
{
	for (; count; count--) {
		ssize_t done = op == IORING_OP_READ_FIXED ? read(tun, rooms[0], ROOM)
							  : write(tun, rooms[0], len);
		check(done == (ssize_t)len, "read or write");
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int smaller(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof *values, smaller);
	return values[count / 2];
}

static int open_tun(void)
{
	struct ifreq request = { .ifr_name = "t0" };
	int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	check(tun >= 0, "/dev/net/tun");
	request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
	check(!ioctl(tun, TUNSETIFF, &request), "TUNSETIFF");
	check(!system("sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.t0.disable_ipv6=1;"
		      "ip addr add 198.18.0.1/24 dev t0; ip link set t0 mtu 65535 txqueuelen 2000 up"),
	      "ip");
	return tun;
}

int main(int argc, char **argv)
{
	static const unsigned depths[] = { 0, 1, 8, 32, 64 }; /* 0: a system call a packet */
	enum { WAYS = sizeof depths / sizeof *depths };
	static double times[WAYS][ROUNDS_MAX], ratios[ROUNDS_MAX];
	int rounds = argc > 1 ? atoi(argv[1]) : 31, tun = open_tun();
	int socket_fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct ring ring = ring_open();
	int room = 1 << 27;

	if (rounds < 1 || rounds > ROUNDS_MAX)
		return 2;
	inet_pton(AF_INET, "198.18.0.2", &to.sin_addr);
	setsockopt(socket_fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
	check(!connect(socket_fd, (struct sockaddr *)&to, sizeof to), "connect");
	printf("%-14s %-12s %10s %18s\n", "", "in a call", "ns/packet", "to a system call");
	for (int op = IORING_OP_READ_FIXED; op <= IORING_OP_WRITE_FIXED; op++) {
		for (int large = 0; large < 2; large++) {
			unsigned len = large ? 65535 : 64, count = large ? 128 : 1024;
			const char *name = op == IORING_OP_READ_FIXED ? "read" : "write";

			for (int round = -1; round < rounds; round++) {
				for (int turn = 0; turn < WAYS; turn++) {
					int way = (turn + round + 1) % WAYS;

					for (int i = 0; i < DEPTH; i++) {
						/* Dropped at once: no checksum of a header is 0 here. */
						memset(rooms[i], 0, HEADER + 64);
						rooms[i][HEADER] = 0x45;
						rooms[i][HEADER + 2] = (unsigned char)(len >> 8);
						rooms[i][HEADER + 3] = (unsigned char)len;
					}
					static char payload[65536];
					for (unsigned i = 0; op == IORING_OP_READ_FIXED && i < count; i++)
						check(send(socket_fd, payload, len - 28, 0) > 0, "send");
					double start = now();
					if (depths[way])
						ring_move(&ring, op, tun, len + HEADER, count, depths[way]);
					else
						plain_move(op, tun, len + HEADER, count);
					if (round >= 0)
						times[way][round] = (now() - start) / count;
				}
			}
			for (int way = 0; way < WAYS; way++) {
				char depth[16] = "system call";

				for (int i = 0; i < rounds; i++)
					ratios[i] = times[way][i] / times[0][i];
				if (way)
					snprintf(depth, sizeof depth, "%u", depths[way]);
				/* times[0] stays in the order of the rounds until all ratios are taken. */
				double ratio = median(ratios, rounds);
				static double copy[ROUNDS_MAX];
				memcpy(copy, times[way], sizeof copy);
				printf("%-5s %5u B  %-12s %10.0f %18.2f\n", name, len, depth,
				       median(copy, rounds), ratio);
			}
		}
	}
	return 0;
}
