/* The ceiling: forwards records between two queues of one layout, standard input and output, a
 * thread a direction, two calls a record, nothing looked at. */
#include <pthread.h>
#include <sys/uio.h>

#define ROOM 69632 /* a super-packet with its headers */

static void *forward(void *arg)
{
	static char rooms[2][ROOM];
	long from = (long)arg, to = 1 - from;
	struct iovec iov[2] = {
		{ rooms[from], 2048 },
		{ rooms[from] + 2048, ROOM - 2048 },
	};
	for (;;) {
		iov[0].iov_len = 2048;
		iov[1].iov_len = ROOM - 2048;
		ssize_t len = readv((int)from, iov, 2);
		if (len < 0)
			return NULL;
		if (len <= 2048) {
			iov[0].iov_len = (size_t)len;
			(void)!writev((int)to, iov, 1);
		} else {
			iov[1].iov_len = (size_t)len - 2048;
			(void)!writev((int)to, iov, 2);
		}
	}
}

int main(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, forward, (void *)1))
		return 1;
	forward((void *)0);
	return 0;
}
