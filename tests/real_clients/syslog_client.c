/* A program that logs by syslog(3), as the C library sends it. */
#include <syslog.h>

int main(void) {
    openlog("cprogram", LOG_PID, LOG_DAEMON);
    syslog(LOG_WARNING, "disk %s is %d%% full", "sda", 93);
    closelog();
    openlog("plain", 0, LOG_USER);
    syslog(LOG_AUTHPRIV | LOG_INFO, "two\nlines");
    closelog();
    return 0;
}
