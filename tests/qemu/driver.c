// A driver for the emulated terminal: records punches, and reports which of them punchd has answered.
//
//   driver COUNT GROUP PAUSE FIRST [ADDRESS PORT]
//
// COUNT punches of the people FIRST, FIRST + 1, …, GROUP of them in one write, with a pause of so many milliseconds after each group. Each
// that was answered with a number is reported: by a line with the PIN, on standard output or to ADDRESS. If punchd begins anew (an upgrade), it
// goes on with the next group: of the rest of this one nobody knows whether it was taken.
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    exit(1);
}

// punchd may not be there yet, or just now begin anew.
static FILE *connect_punchd(void) {
    struct sockaddr_un place = {.sun_family = AF_UNIX, .sun_path = "/run/punchd/driver.sock"};
    for (int tenths = 0; tenths < 600; tenths++) {
        int sock = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(sock, (struct sockaddr *)&place, sizeof place) == 0) {
            FILE *punchd = fdopen(sock, "r+");
            setvbuf(punchd, NULL, _IOFBF, 65536);
            return punchd;
        }
        close(sock);
        usleep(100000);
    }
    die("driver.sock");
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 5 && argc != 7) return 64;
    long count = atol(argv[1]), group = atol(argv[2]), pause = atol(argv[3]), first = atol(argv[4]);
    int report = 1;
    if (argc == 7) {
        struct sockaddr_in host = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[6]))};
        inet_aton(argv[5], &host.sin_addr);
        report = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(report, (struct sockaddr *)&host, sizeof host) != 0) die("report");
    }
    signal(SIGPIPE, SIG_IGN);
    FILE *punchd = connect_punchd();
    char line[4096];
    for (long done = 0; done < count; done += group) {
        for (long nth = done; nth < done + group; nth++)
            fprintf(punchd, "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"method\":\"punch\",\"params\":{\"pin\":\"%ld\"}}\n", first + nth, first + nth);
        fflush(punchd);
        for (long nth = 0; nth < group; nth++) {
            if (fgets(line, sizeof line, punchd) == NULL) {
                fclose(punchd);
                punchd = connect_punchd();
                break;
            }
            const char *id = strstr(line, "\"id\":");
            if (id != NULL && strstr(line, "\"seq\":") != NULL) dprintf(report, "%ld\n", atol(id + 5));
            else dprintf(2, "refused: %s", line);
        }
        usleep(pause * 1000);
    }
    return 0;
}
