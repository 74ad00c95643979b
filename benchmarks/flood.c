/* Senders that log as fast as a sink takes it: flood PATH SENDERS SECONDS.

   Each is a process that sends what syslog(3) would, 120 octets, on a blocking datagram socket. Prints how many messages
   were sent, and in how many seconds. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 120, LOOK = 64 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static long flood(const char *path, int sender, double end) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int sock = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (connect(sock, (struct sockaddr *)&address, sizeof address)) {
        perror(path);
        exit(1);
    }
    char date[32] = "", message[SIZE + 64];
    long sent = 0;
    for (;; sent++) {
        if (sent % LOOK == 0) {
            if (now() >= end)
                return sent;
            time_t seconds = time(NULL);
            strftime(date, sizeof date, "%b %e %H:%M:%S", gmtime(&seconds));
        }
        int length = snprintf(message, sizeof message, "<13>%s flood[%d]: %d %ld ", date, getpid(), sender, sent);
        memset(message + length, 'x', SIZE > length ? SIZE - length : 0);
        if (send(sock, message, SIZE, 0) < 0) {
            perror("send");
            exit(1);
        }
    }
}

int main(int count, char **arguments) {
    if (count != 4)
        return 2;
    int senders = atoi(arguments[2]), pipes[2];
    double start = now(), end = start + atof(arguments[3]);
    if (pipe(pipes))
        return 1;
    for (int sender = 0; sender < senders; sender++)
        if (fork() == 0) {
            long sent = flood(arguments[1], sender, end);
            return write(pipes[1], &sent, sizeof sent) != sizeof sent;
        }
    close(pipes[1]);
    long total = 0, sent;
    while (read(pipes[0], &sent, sizeof sent) == sizeof sent)
        total += sent;
    int failed = 0, status;
    while (wait(&status) > 0)
        failed |= status;
    printf("%ld %.6f\n", total, now() - start);
    return failed != 0;
}
