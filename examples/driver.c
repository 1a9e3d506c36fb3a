/* A driver for punchd in C. It needs only libc.
 *
 *     cc -Wall -Wextra -Werror -o driver driver.c
 *     ./driver /run/punchd/driver.sock
 *
 * It registers, records a punch for every PIN that it reads from stdin (put your sensor there), and answers requests of
 * the server: enrol a finger, open the door. One JSON object per line in both directions (docs/drivers.md).
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LONGEST 65536

/* Bytes from a descriptor, until they make a line. */
struct input {
    int fd;
    size_t length;
    char bytes[LONGEST];
};

static int punchd; /* the socket */

static void die(const char *why)
{
    perror(why);
    exit(1);
}

/* A part of a JSON text. */
struct part {
    const char *begin;
    size_t length;
};

/* The end of the JSON value that begins at `at`, nested values included. */
static const char *end_of(const char *at)
{
    int depth = 0, quoted = 0;

    for (; *at; at++) {
        if (quoted) {
            if (*at == '\\' && at[1])
                at++;
            else if (*at == '"')
                quoted = 0;
        } else if (*at == '"') {
            quoted = 1;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            if (--depth < 0)
                break;
        } else if (*at == ',' && depth == 0) {
            break;
        }
    }
    return at;
}

/* The value of a member of the object in `text`, as JSON text; of length 0 if there is none. */
static struct part member(struct part text, const char *name)
{
    struct part none = {"", 0};
    const char *at = text.begin, *end = text.begin + text.length;

    if (text.length == 0 || *at != '{')
        return none;
    for (at++; at < end && *at != '}'; at += *at == ',') {
        const char *key, *colon, *value;

        key = at + strspn(at, " \t");
        if (*key != '"')
            return none;
        colon = key + 1;
        while (*colon && *colon != '"')
            colon += *colon == '\\' && colon[1] ? 2 : 1;
        if (*colon != '"')
            return none;
        value = colon + 1 + strspn(colon + 1, " \t:");
        at = end_of(value);
        if (strlen(name) == (size_t)(colon - key - 1) && !strncmp(key + 1, name, strlen(name)))
            return (struct part){value, (size_t)(at - value)};
    }
    return none;
}

static int is(struct part value, const char *json)
{
    return value.length == strlen(json) && !memcmp(value.begin, json, value.length);
}

/* Sends one line. */
static void send_line(const char *format, ...)
{
    char line[LONGEST];
    va_list values;
    int length, sent = 0;

    va_start(values, format);
    length = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (length < 0 || (size_t)length >= sizeof line)
        return;
    while (sent < length) {
        ssize_t done = send(punchd, line + sent, (size_t)(length - sent), MSG_NOSIGNAL);
        if (done <= 0)
            die("punchd is gone");
        sent += (int)done;
    }
}

/* Enrols a finger. A real sensor takes some time: read the socket meanwhile, because the daemon may send "cancel". */
static void enroll(struct part id, struct part params)
{
    struct part pin = member(params, "pin"), finger = member(params, "no");

    if (!is(member(params, "kind"), "\"fingerprint\"")) {
        send_line("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"error\":{\"code\":-32602,\"message\":\"fingers only\"}}\n", (int)id.length,
            id.begin);
        return;
    }
    printf("enrolled a finger of %.*s\n", (int)pin.length, pin.begin);
    /* "data" is the template in base64. */
    send_line("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{\"outcome\":\"done\",\"templates\":[{\"kind\":\"fingerprint\","
        "\"number\":%.*s,\"majorver\":10,\"data\":\"YSBmaW5nZXIgb2YgdGhlIGV4YW1wbGU=\"}]}}\n",
        (int)id.length, id.begin, finger.length ? (int)finger.length : 1, finger.length ? finger.begin : "0");
}

/* A line from punchd: an answer, or a request. */
static void on_line(char *line)
{
    struct part message = {line, strlen(line)};
    struct part method = member(message, "method"), id = member(message, "id");
    struct part result = member(message, "result"), error = member(message, "error");

    if (is(method, "\"enroll\"")) {
        enroll(id, member(message, "params"));
    } else if (is(method, "\"unlock\"")) {
        printf("the door is open\n");
        send_line("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":true}\n", (int)id.length, id.begin);
    } else if (method.length && id.length) {
        send_line("{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"error\":{\"code\":-32601,\"message\":\"not here\"}}\n", (int)id.length,
            id.begin);
    } else if (error.length) {
        /* Nothing was recorded: show the red light. */
        printf("refused: %.*s\n", (int)error.length, error.begin);
    } else if (result.length) {
        /* It is on the terminal's disk: show the green light. */
        printf("done: %.*s\n", (int)result.length, result.begin);
    }
    fflush(stdout);
}

/* The sensor recognised a person. */
static void on_person(char *pin)
{
    if (*pin && strspn(pin, "0123456789") == strlen(pin))
        send_line("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"punch\",\"params\":{\"pin\":\"%s\",\"verify\":1}}\n", pin);
}

/* Reads what is available and passes on complete lines. Returns 0 at the end of the input. */
static int read_lines(struct input *input, void (*each)(char *line))
{
    ssize_t amount = read(input->fd, input->bytes + input->length, LONGEST - 1 - input->length);
    char *line = input->bytes, *end;

    if (amount <= 0)
        return 0;
    input->length += (size_t)amount;
    input->bytes[input->length] = 0;
    while ((end = memchr(line, '\n', input->length - (size_t)(line - input->bytes)))) {
        *end = 0;
        each(line);
        line = end + 1;
    }
    input->length -= (size_t)(line - input->bytes);
    memmove(input->bytes, line, input->length);
    return input->length < LONGEST - 1;
}

int main(int count, char **arguments)
{
    static struct input sensor = {.fd = 0}, daemon;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct pollfd ready[2] = {{.fd = 0, .events = POLLIN}, {.events = POLLIN}};

    snprintf(address.sun_path, sizeof address.sun_path, "%s", count > 1 ? arguments[1] : "/run/punchd/driver.sock");
    punchd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (punchd < 0 || connect(punchd, (struct sockaddr *)&address, sizeof address))
        die(address.sun_path);
    daemon.fd = ready[1].fd = punchd;
    send_line("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"register\","
        "\"params\":{\"name\":\"driver.c\",\"provides\":[\"fingerprint\",\"unlock\"]}}\n");
    while (poll(ready, 2, -1) > 0) {
        if (ready[1].revents && !read_lines(&daemon, on_line))
            break;
        if (ready[0].revents && !read_lines(&sensor, on_person))
            ready[0].fd = -1; /* no more PINs; requests for the door are still answered */
    }
    fprintf(stderr, "punchd is gone\n");
    return 1;
}
