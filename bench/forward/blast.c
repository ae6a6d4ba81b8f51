/* Sends UDP packets of 64 bytes, headers included, to 203.0.113.1 for the seconds of its argument:
 * 64 in one call, which the kernel cuts up, so that the sender is not what is measured. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#define PAYLOAD 36

int main(int argc, char **argv)
{
	static char data[64 * PAYLOAD];
	double seconds = argc > 1 ? atof(argv[1]) : 2;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int size = PAYLOAD, fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct timespec start, now;

	inet_pton(AF_INET, "203.0.113.1", &to.sin_addr);
	if (fd < 0 || setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size) ||
	    connect(fd, (struct sockaddr *)&to, sizeof to))
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		/* A full queue drops, and may say so. */
		(void)!send(fd, data, sizeof data, 0);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) + (now.tv_nsec - start.tv_nsec) / 1e9 < seconds);
	return 0;
}
