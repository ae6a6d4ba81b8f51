/* The traffic of bench/nat.sh: servers outside, clients inside. IPv4.
 *
 *   load serve ADDRESS            until it is killed: streams on port 7001, an echo on 7002, one byte back and a close on 7003
 *   load up|down ADDRESS SECONDS  one stream; prints bytes and seconds as the receiver saw them; no end is half-closed, which pasta of Debian 12 does not take
 *   load connect ADDRESS SECONDS N   connections one after another (a byte, a byte back, the end), N at a time; prints how many a
 *                                 second, and how many failed
 *   load ask ADDRESS SECONDS      a byte and its echo on one connection; prints p50 and p99 in microseconds
 *   load hold ADDRESS N           N connections with a byte echoed on each; prints how many, stays until its input ends
 *
 * A further word "reno", "cubic" or "bbr" is the congestion control of every socket of a process.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STREAMS = 7001, ECHO = 7002, CLOSER = 7003, BLOCK = 128 * 1024, TIMES_MAX = 1 << 22 };

static const char *congestion;
static char block[BLOCK];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static int tcp(int flags) {
  int fd = socket(AF_INET, SOCK_STREAM | flags, 0), one = 1;
  if (fd < 0) fail("socket");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (congestion && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, strlen(congestion))) fail(congestion);
  return fd;
}

static struct sockaddr_in place(const char *address, int port) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, address, &at.sin_addr) != 1) fail(address);
  return at;
}

static int open_to(const char *address, int port) {
  struct sockaddr_in at = place(address, port);
  struct timeval patience = {10, 0};
  int fd = tcp(0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(fd, (void *)&at, sizeof at)) fail("connect");
  return fd;
}

static int listen_at(const char *address, int port, int flags) {
  struct sockaddr_in at = place(address, port);
  int fd = tcp(flags);
  if (bind(fd, (void *)&at, sizeof at) || listen(fd, 4096)) fail("listen");
  return fd;
}

/* Reads to the end, or for so long; the bytes, and the seconds from the first to the last. */
static void receive(int fd, double most, unsigned long long *bytes, double *seconds) {
  struct timeval patience = {0, 50000};
  double start = now(), first = 0, last = start;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  *bytes = 0;
  while (now() < start + most) {
    ssize_t got = read(fd, block, BLOCK);
    if (got == 0 || (got < 0 && errno != EAGAIN)) break;
    if (got < 0) continue;
    last = now();
    if (!first) first = last;
    *bytes += got;
  }
  *seconds = now() < start + most ? last - first : most;
}

static void emit(int fd, double seconds) {
  for (double end = now() + seconds; now() < end && write(fd, block, BLOCK) > 0;) {}
}

static void serve_streams(const char *address) {
  int listener = listen_at(address, STREAMS, 0);
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    if (fork() == 0) {
      double seconds;
      unsigned long long bytes;
      char text[64];
      if (read(fd, &seconds, sizeof seconds) != sizeof seconds) exit(1);
      if (seconds > 0) {
        emit(fd, seconds);
      } else {
        receive(fd, -seconds, &bytes, &seconds);
        int len = snprintf(text, sizeof text, "%llu %.6f\n", bytes, seconds);
        if (write(fd, text, len) < 0) exit(1);
        for (double end = now() + 5; now() < end && read(fd, block, BLOCK) != 0;) {}
      }
      exit(0);
    }
    close(fd);
  }
}

static void serve_bytes(const char *address) {
  int epoll = epoll_create1(0), echo = listen_at(address, ECHO, SOCK_NONBLOCK);
  int closer = listen_at(address, CLOSER, SOCK_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN}, ready[256];
  event.data.u64 = echo;
  epoll_ctl(epoll, EPOLL_CTL_ADD, echo, &event);
  event.data.u64 = closer;
  epoll_ctl(epoll, EPOLL_CTL_ADD, closer, &event);
  for (;;) {
    int count = epoll_wait(epoll, ready, 256, -1);
    for (int at = 0; at < count; at++) {
      int fd = (int)ready[at].data.u64, closes = ready[at].data.u64 >> 32;
      if (fd == echo || fd == closer) {
        for (int new; (new = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
          event.data.u64 = (uint64_t)(fd == closer) << 32 | (unsigned)new;
          epoll_ctl(epoll, EPOLL_CTL_ADD, new, &event);
        }
        continue;
      }
      char bytes[4096];
      ssize_t got = read(fd, bytes, sizeof bytes);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0 || write(fd, bytes, got) != got || closes) close(fd);
    }
  }
}

static void connect_one_after_another(const char *address, double seconds, int parallel) {
  struct sockaddr_in at = place(address, CLOSER);
  struct timeval patience = {2, 0};
  int results[2];
  long done = 0, failed = 0, pair[2];
  if (pipe(results)) fail("pipe");
  for (int worker = 0; worker < parallel; worker++) {
    if (fork()) continue;
    pair[0] = pair[1] = 0;
    for (double end = now() + seconds; now() < end;) {
      char byte = 'x';
      int fd = tcp(0);
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
      int good = !connect(fd, (void *)&at, sizeof at) && write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1 &&
                 read(fd, &byte, 1) == 0;
      pair[!good]++;
      close(fd);
    }
    if (write(results[1], pair, sizeof pair) < 0) exit(1);
    exit(0);
  }
  for (int worker = 0; worker < parallel && read(results[0], pair, sizeof pair) == sizeof pair; worker++) {
    done += pair[0];
    failed += pair[1];
  }
  while (wait(NULL) > 0) {}
  printf("%.0f %ld\n", done / seconds, failed);
}

static int by_size(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static void ask(const char *address, double seconds) {
  static float times[TIMES_MAX];
  size_t count = 0;
  int fd = open_to(address, ECHO);
  for (double end = now() + seconds, start; count < TIMES_MAX && (start = now()) < end; count++) {
    char byte = 'x';
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) fail("echo");
    times[count] = now() - start;
  }
  qsort(times, count, sizeof *times, by_size);
  printf("%.1f %.1f\n", count ? times[count / 2] * 1e6 : 0, count ? times[count * 99 / 100] * 1e6 : 0);
}

static void hold(const char *address, int wanted) {
  int held = 0;
  char byte = 'x';
  for (; held < wanted; held++) {
    struct sockaddr_in at = place(address, ECHO);
    int fd = tcp(0);
    if (connect(fd, (void *)&at, sizeof at) || write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) break;
  }
  printf("%d\n", held);
  fflush(stdout);
  while (read(0, &byte, 1) > 0) {}
}

int main(int count, char **words) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  signal(SIGPIPE, SIG_IGN);
  if (count < 3) return 2;
  const char *what = words[1], *address = words[2];
  const char *last = words[count - 1];
  if (!strcmp(last, "reno") || !strcmp(last, "cubic") || !strcmp(last, "bbr")) congestion = last, count--;
  double number = count > 3 ? atof(words[3]) : 0;
  if (!strcmp(what, "serve")) {
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      serve_streams(address);
    }
    serve_bytes(address);
  } else if (!strcmp(what, "up")) {
    int fd = open_to(address, STREAMS);
    double seconds = -number;
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    if (write(fd, &seconds, sizeof seconds) != sizeof seconds) fail("write");
    while (poll(&answer, 1, 0) == 0 && write(fd, block, BLOCK) > 0) {}
    ssize_t got = read(fd, block, BLOCK);
    if (got <= 0) fail("read");
    fwrite(block, 1, got, stdout);
  } else if (!strcmp(what, "down")) {
    int fd = open_to(address, STREAMS);
    double seconds;
    unsigned long long bytes;
    if (write(fd, &number, sizeof number) != sizeof number) fail("write");
    receive(fd, number + 5, &bytes, &seconds);
    printf("%llu %.6f\n", bytes, seconds);
  } else if (!strcmp(what, "connect")) {
    connect_one_after_another(address, number, count > 4 ? atoi(words[4]) : 1);
  } else if (!strcmp(what, "ask")) {
    ask(address, number);
  } else if (!strcmp(what, "hold")) {
    hold(address, (int)number);
  } else {
    return 2;
  }
  return 0;
}
