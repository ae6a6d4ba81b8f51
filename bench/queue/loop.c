/*
 * What every library is measured against: loops over read(2) and write(2), and readv(2) and writev(2)
 * of two parts, by the bare system call; and over the C library's functions. On processors that forget where to return to when the kernel was
 * entered (as AMD's with "Safe RET") these are dearer by their `ret`.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __x86_64__
static inline __attribute__((always_inline)) long bare(long number, long fd, long buf, long len)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(fd), "S"(buf), "d"(len)
			 : "rcx", "r11", "memory");
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	return result;
}
#else
#define bare syscall
#endif

/* Moves `count` packets; the number of bytes, or -1 with errno set. */
#define LOOP(name, call)                                                                  \
	long name(int fd, unsigned char *buf, size_t len, size_t count)                   \
	{                                                                                 \
		struct iovec parts[] = { { buf, len / 2 }, { buf + len / 2, len - len / 2 } };    \
		long total = 0;                                                           \
                                                                                          \
		for (size_t i = 0; i < count; i++) {                                      \
			/* The bytes are used, as far as the compiler knows. */           \
			__asm__ volatile("" : : "r"(buf), "r"(parts) : "memory");         \
			long n = call;                                                    \
                                                                                          \
			if (n < 0)                                                        \
				return -1;                                                \
			total += n;                                                       \
		}                                                                         \
		return total;                                                             \
	}

LOOP(bench_c_recv, bare(SYS_read, fd, (long)buf, (long)len))
LOOP(bench_c_send, bare(SYS_write, fd, (long)buf, (long)len))
LOOP(bench_c_vectored_recv, bare(SYS_readv, fd, (long)parts, 2))
LOOP(bench_c_vectored_send, bare(SYS_writev, fd, (long)parts, 2))
LOOP(bench_libc_recv, read(fd, buf, len))
LOOP(bench_libc_send, write(fd, buf, len))
