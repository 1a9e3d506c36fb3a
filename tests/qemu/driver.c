// A driver for the emulated terminal: records punches, and reports which of them punchd has answered.
//
//   driver COUNT GROUP PAUSE FIRST [ADDRESS PORT]
//   driver join ADDRESS PORT
//
// COUNT punches of the people FIRST, FIRST + 1, …, GROUP of them in one write, with a pause of so many milliseconds after each group. Each
// that was answered with a number is reported: by a line with the PIN, on standard output or to ADDRESS. If punchd begins anew (an upgrade), it
// goes on with the next group: of the rest of this one nobody knows whether it was taken.
// join: carries bytes between ADDRESS and punchd's socket; the driver is a program at ADDRESS.
#include <arpa/inet.h>
#include <poll.h>
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

static int connect_host(const char *address, const char *port) {
    struct sockaddr_in host = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    inet_aton(address, &host.sin_addr);
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(sock, (struct sockaddr *)&host, sizeof host) != 0) die("host");
    return sock;
}

// Until one of them closes.
static int join(int punchd, int host) {
    struct pollfd ends[2] = {{.fd = punchd, .events = POLLIN}, {.fd = host, .events = POLLIN}};
    static char bytes[65536];
    while (poll(ends, 2, -1) > 0)
        for (int from = 0; from < 2; from++) {
            if (ends[from].revents == 0) continue;
            ssize_t length = read(ends[from].fd, bytes, sizeof bytes);
            if (length <= 0) return 0;
            for (ssize_t done = 0, more; done < length; done += more)
                if ((more = write(ends[1 - from].fd, bytes + done, length - done)) <= 0) return 0;
        }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "join") == 0) return join(fileno(connect_punchd()), connect_host(argv[2], argv[3]));
    if (argc != 5 && argc != 7) return 64;
    long count = atol(argv[1]), group = atol(argv[2]), pause = atol(argv[3]), first = atol(argv[4]);
    int report = argc == 7 ? connect_host(argv[5], argv[6]) : 1;
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
