/* Keeps a server busy, and tells how fast it answers.
 *
 *   load WORK ADDRESS CONNECTIONS DEPTH EVERY WARM-UP SECONDS
 *
 * ADDRESS is a port of 127.0.0.1 or the path of a Unix socket, WORK one of
 *   lines    exchange lines on connections that stay open, DEPTH of them under way on each
 *   connect  connect, exchange a line, read to the end; CONNECTIONS at a time
 *   packets  exchange datagrams, DEPTH of them under way
 *   flood    send datagrams as fast as they are taken
 * Every EVERYth line begins with a z, which asks the handler for a nap; 0: none.
 *
 * Writes "begin" when the warm-up is over and, at the end, one line of numbers: operations, seconds, CPU seconds of
 * this program, operations that failed, and the 50th, 99th and 99.9th percentile of the time to an answer in seconds. */

#define _GNU_SOURCE
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LENGTH = 32, EVENTS = 1024, BATCH = 64, DEEPEST = 1024, STEPS = 32, BUCKETS = 60 * STEPS };
static const char text[LENGTH] = "0123456789abcdef0123456789abcde\n";
static char input[DEEPEST * LENGTH];
static int connections, depth, every;
static double warm_up, duration;

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* ---- what is measured ---------------------------------------------------------------------------------------- */

static uint64_t begin, end, cpu, operations, failures, histogram[BUCKETS];

/* Tells whether to go on; begins the warm-up when it is first asked, and the measurement when that is over. */
static int go_on(void) {
    uint64_t time = now(CLOCK_MONOTONIC);
    if (end) return time < end;
    if (!begin) begin = time + (uint64_t)(warm_up * 1e9);
    if (time < begin) return 1;
    dprintf(1, "begin\n");
    memset(histogram, 0, sizeof histogram);
    operations = failures = 0;
    cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    begin = now(CLOCK_MONOTONIC);
    end = begin + (uint64_t)(duration * 1e9);
    return 1;
}

/* Counts an operation of that many nanoseconds. Buckets are 3 % wide: STEPS of them for each power of two. */
static void count(uint64_t time) {
    int shift = time < 2 * STEPS ? 0 : 58 - __builtin_clzll(time);
    histogram[shift * STEPS + (time >> shift)]++;
    operations++;
}

static double percentile(double share) {
    uint64_t left = operations * share, bucket = 0;
    while (bucket < BUCKETS - 1 && left >= histogram[bucket]) left -= histogram[bucket++];
    int shift = bucket < 2 * STEPS ? 0 : bucket / STEPS - 1;
    return ((bucket - shift * STEPS) << shift) / 1e9;
}

static void report(void) {
    double seconds = (now(CLOCK_MONOTONIC) - begin) / 1e9, used = (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9;
    printf("%ju %.6f %.6f %ju %.9f %.9f %.9f\n", (uintmax_t)operations, seconds, used, (uintmax_t)failures,
           percentile(0.5), percentile(0.99), percentile(0.999));
}

/* ---- connections --------------------------------------------------------------------------------------------- */

struct client {
    int fd, have, oldest;
    uint64_t sent[]; /* a ring: when each of the lines under way left */
};

static int open_socket(const char *address, int type) {
    int one = 1, is_path = *address == '/';
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct sockaddr_in port = {AF_INET, htons(atoi(address)), {htonl(INADDR_LOOPBACK)}, {0}};
    snprintf(path.sun_path, sizeof path.sun_path, "%s", address);
    int fd = socket(is_path ? AF_UNIX : AF_INET, type, 0);
    if (fd < 0) err(1, "socket");
    if (!is_path && type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (is_path ? connect(fd, (struct sockaddr *)&path, sizeof path)
                : connect(fd, (struct sockaddr *)&port, sizeof port))
        err(1, "connect to %s", address);
    return fd;
}

static void send_lines(struct client *client, int lines) {
    static char output[DEEPEST * LENGTH];
    static unsigned sent;
    for (int i = 0; i < lines; i++) {
        memcpy(output + i * LENGTH, text, LENGTH);
        if (every && ++sent % every == 0) output[i * LENGTH] = 'z';
    }
    if (send(client->fd, output, lines * LENGTH, MSG_NOSIGNAL) != lines * LENGTH) err(1, "send");
}

static void start(struct client *client, const char *address, int epoll) {
    struct epoll_event event = {EPOLLIN, {.ptr = client}};
    client->have = client->oldest = 0;
    for (int i = 0; i < depth; i++) client->sent[i] = now(CLOCK_MONOTONIC);
    client->fd = open_socket(address, SOCK_STREAM);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event)) err(1, "epoll_ctl");
    send_lines(client, depth);
}

/* Takes answers and sends as many lines anew. */
static int exchange(struct client *client) {
    int size = read(client->fd, input, sizeof input), whole = 0;
    if (size <= 0) return 0;
    uint64_t time = now(CLOCK_MONOTONIC);
    for (client->have += size; client->have >= LENGTH; client->have -= LENGTH, whole++) {
        count(time - client->sent[client->oldest]);
        client->sent[client->oldest] = time;
        client->oldest = (client->oldest + 1) % depth;
    }
    if (whole > depth) errx(1, "the server answers what was not asked");
    if (whole) send_lines(client, whole);
    return 1;
}

/* Reads on to the end; then the operation is over. Tells whether it is. */
static int finish(struct client *client) {
    static const struct linger reset = {.l_onoff = 1}; /* leaves no TIME_WAIT behind, and no port taken */
    int size = read(client->fd, input, sizeof input);
    if (size > 0) return client->have += size, 0;
    if (size == 0 && client->have == LENGTH) count(now(CLOCK_MONOTONIC) - *client->sent);
    else failures++;
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(client->fd);
    return 1;
}

static void streams(const char *address, int kept) {
    struct epoll_event events[EVENTS];
    int epoll = epoll_create1(0);
    for (int i = 0; i < connections; i++)
        start(malloc(sizeof(struct client) + depth * sizeof(uint64_t)), address, epoll);
    while (go_on()) {
        int ready = epoll_wait(epoll, events, EVENTS, 100);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (kept && !exchange(client)) errx(1, "the server closed a connection");
            if (!kept && finish(client)) start(client, address, epoll);
        }
    }
}

/* ---- datagrams ----------------------------------------------------------------------------------------------- */

static void datagrams(const char *address, int answered) {
    static uint64_t data[BATCH][LENGTH / sizeof(uint64_t)]; /* begins with when it was sent */
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH] = {0};
    int fd = open_socket(address, SOCK_DGRAM), room = answered ? depth : BATCH;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 1}, sizeof(struct timeval));
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){data[i], LENGTH};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    while (go_on()) {
        int number = room < BATCH ? room : BATCH;
        for (int i = 0; i < number; i++) data[i][0] = now(CLOCK_MONOTONIC);
        number = sendmmsg(fd, messages, number, 0);
        if (number < 0) err(1, "sendmmsg");
        if (!answered) operations += number;
        else if ((room -= number) == 0) {
            number = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
            uint64_t time = now(CLOCK_MONOTONIC);
            for (int i = 0; i < number; i++) count(time - data[i][0]);
            if (number < 0) failures += number = depth; /* lost: nothing has come for as long as we have patience */
            room = number < depth ? number : depth;
        }
    }
}

int main(int count, char **arguments) {
    if (count != 8) errx(2, "usage: load WORK ADDRESS CONNECTIONS DEPTH EVERY WARM-UP SECONDS");
    const char *work = arguments[1], *address = arguments[2];
    connections = atoi(arguments[3]), depth = atoi(arguments[4]), every = atoi(arguments[5]);
    warm_up = atof(arguments[6]), duration = atof(arguments[7]);
    if (depth < 1 || depth > DEEPEST) errx(2, "DEPTH is from 1 to %d", DEEPEST);
    if (!strcmp(work, "lines") || !strcmp(work, "connect")) streams(address, *work == 'l');
    else if (!strcmp(work, "packets") || !strcmp(work, "flood")) datagrams(address, *work == 'p');
    else errx(2, "no such work: %s", work);
    report();
}
