/*
 * A model provider for load tests: speaks OpenAI-compatible chat completions, streams thousands of answers at once, and
 * stamps every token with the time at which it is sent (bench/stamp.h).
 *
 *   bench_provider [--port N] [--tokens N] [--bytes N] [--rate N] [--first-ms N]
 *
 *     --port N       on 127.0.0.1; 0 = a free one (0); prints "port N" when it listens
 *     --tokens N     of an answer (500)
 *     --bytes N      of a token, 32 to 4096 (48)
 *     --rate N       tokens a second of one answer; 0 = as fast as the reader takes them (50)
 *     --first-ms N   from the request to the first token (0)
 *
 * A request whose model is COUNT:BYTES:RATE is answered with that instead. Any path, any key. The tokens of one answer are
 * due on a fixed grid of its own; the grids are spread evenly over the interval, so that 1,000 answers at 50/s are one token
 * each 20 us and no bursts. One thread; it sleeps until the next token is due or a socket has something (epoll_pwait2, timer
 * slack 1 us). A token that the socket does not take waits, and the answer's later tokens come as soon as they can.
 * SIGTERM and SIGINT end it; it prints {"answers","tokens","cut","late_p50_ms","late_p99_ms","late_max_ms"}: how many were
 * given and how long after their time tokens were sent, which is the provider's own share of a bad machine.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/span.h"
#include "stamp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_HEAD_MAX (64u << 10)
#define REQUEST_KEPT 1024 /* of the body: the model's name is among its first bytes */
#define OUT_MAX (STAMP_BYTES_MAX + 1024)
#define EVENTS 512
#define GOLDEN 0.6180339887498949 /* multiples modulo 1 are spread evenly, however many there are */

struct options {
    unsigned port;
    uint64_t tokens, bytes, rate, first_ms;
};

enum state { READING_HEAD, READING_BODY, ANSWERING };

struct client {
    int fd;
    enum state state;
    char *head; /* owned: bytes of the request until its head is complete */
    size_t head_len;
    uint64_t body_left;
    char body[REQUEST_KEPT];
    size_t body_len;
    /* the answer */
    uint64_t tokens, bytes, interval_ns, sent, due_ns;
    size_t heap_at; /* place in the heap + 1; 0 = not in it */
    char out[OUT_MAX];
    size_t out_len, out_sent;
    bool is_blocked, is_finished /* last bytes are in `out` */, is_closed;
    struct client *next_dead;
};

static struct options options = {.tokens = 500, .bytes = 48, .rate = 50};
static int epoll_fd;
static struct client **heap; /* by due_ns */
static size_t heap_count, heap_cap;
static struct client *dead;
static uint64_t answers, tokens_sent, cut;
static struct histogram late;
static volatile sig_atomic_t is_over;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

/* ---- heap ---- */

static void heap_place(struct client *c, size_t i)
{
    heap[i] = c;
    c->heap_at = i + 1;
}

static void heap_sift(size_t i)
{
    struct client *c = heap[i];
    while (i && heap[(i - 1) / 2]->due_ns > c->due_ns) {
        heap_place(heap[(i - 1) / 2], i);
        i = (i - 1) / 2;
    }
    for (size_t k; (k = 2 * i + 1) < heap_count; i = k) {
        if (k + 1 < heap_count && heap[k + 1]->due_ns < heap[k]->due_ns)
            k++;
        if (heap[k]->due_ns >= c->due_ns)
            break;
        heap_place(heap[k], i);
    }
    heap_place(c, i);
}

static void heap_add(struct client *c)
{
    if (heap_count == heap_cap) {
        heap_cap = heap_cap ? heap_cap * 2 : 1024;
        heap = mem_try_realloc(heap, heap_cap * sizeof *heap);
        if (!heap)
            die("out of memory");
    }
    heap[heap_count++] = c;
    heap_sift(heap_count - 1);
}

static void heap_remove(struct client *c)
{
    if (!c->heap_at)
        return;
    size_t i = c->heap_at - 1;
    c->heap_at = 0;
    struct client *last = heap[--heap_count];
    if (last == c)
        return;
    heap_place(last, i);
    heap_sift(i);
}

/* ---- answering ---- */

static void client_close(struct client *c)
{
    if (c->is_closed)
        return;
    c->is_closed = true;
    cut += c->state == ANSWERING;
    heap_remove(c);
    close(c->fd);
    mem_free(take_ptr(c->head));
    c->next_dead = dead; /* events of this turn may still name it */
    dead = c;
}

static void watch(struct client *c, uint32_t events, int op)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, op, c->fd, &e) < 0)
        die("epoll_ctl");
}

static void answer_over(struct client *c)
{
    heap_remove(c);
    c->state = READING_HEAD;
    c->head_len = c->body_len = 0;
    c->is_finished = false;
}

/* What is in `out`; false while the socket does not take it all. */
static bool flush(struct client *c)
{
    while (c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            client_close(c);
            return false;
        }
        if (n < 0) {
            if (!c->is_blocked)
                watch(c, EPOLLIN | EPOLLRDHUP | EPOLLOUT, EPOLL_CTL_MOD);
            c->is_blocked = true;
            return false;
        }
        c->out_sent += (size_t)n;
    }
    if (c->is_blocked)
        watch(c, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
    c->is_blocked = false;
    c->out_len = c->out_sent = 0;
    if (c->is_finished)
        answer_over(c);
    return true;
}

static void put_chunk(struct client *c, const char *data)
{
    int n = snprintf(c->out + c->out_len, OUT_MAX - c->out_len, "%zx\r\ndata: %s\n\n\r\n",
                     strlen(data) + 8, data);
    c->out_len += (size_t)n;
}

#define CHUNK_HEAD                                                                        \
    "{\"id\":\"chatcmpl-b\",\"object\":\"chat.completion.chunk\",\"created\":1700000000," \
    "\"model\":"                                                                          \
    "\"bench\",\"choices\":"

static void put_token(struct client *c, uint64_t now)
{
    char text[STAMP_BYTES_MAX + 1], data[OUT_MAX];
    stamp_put(text, (size_t)c->bytes, c->sent, now);
    snprintf(data, sizeof data,
             CHUNK_HEAD "[{\"index\":0,\"delta\":{\"content\":\"%s\"},\"finish_reason\":null}]}",
             text);
    put_chunk(c, data);
    c->sent++;
    tokens_sent++;
}

static void put_end(struct client *c)
{
    char usage[512];
    put_chunk(c, CHUNK_HEAD "[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}");
    snprintf(usage, sizeof usage,
             CHUNK_HEAD
             "[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":%llu,\"total_tokens\":%llu}}",
             (unsigned long long)c->tokens, (unsigned long long)c->tokens + 1);
    put_chunk(c, usage);
    put_chunk(c, "[DONE]");
    memcpy(c->out + c->out_len, "0\r\n\r\n", 5);
    c->out_len += 5;
    c->is_finished = true;
}

/* Sends what is due of one answer, one token a call of send: that is how they leave a model. */
static void answer_step(struct client *c)
{
    uint64_t now = clock_ns();
    heap_remove(c);
    while (!c->is_blocked && !c->is_closed && c->due_ns <= now) {
        if (c->sent == c->tokens) {
            put_end(c);
            flush(c);
            return;
        }
        if (c->interval_ns && c->sent)
            histogram_add(&late, now - c->due_ns);
        put_token(c, now);
        c->due_ns += c->interval_ns;
        flush(c);
        now = clock_ns();
    }
    if (!c->is_blocked && !c->is_closed)
        heap_add(c);
}

static void read_model(struct client *c)
{
    struct span body = span_of(c->body, c->body_len), count, bytes, rate;
    uint64_t n, b, r;
    c->tokens = options.tokens;
    c->bytes = options.bytes;
    r = options.rate;
    ptrdiff_t at = span_find(body, SPAN_LIT("\"model\":"));
    if (at >= 0) {
        struct span rest = span_trim(span_skip(body, (size_t)at + 8)), model;
        rest = span_skip(rest, 1);
        if (span_next(&rest, '"', &model) && span_next(&model, ':', &count) &&
            span_next(&model, ':', &bytes) && span_next(&model, ':', &rate) &&
            parse_u64(count, &n) && parse_u64(bytes, &b) && b >= STAMP_BYTES_MIN &&
            b <= STAMP_BYTES_MAX && parse_u64(rate, &r)) {
            c->tokens = n;
            c->bytes = b;
        }
    }
    c->interval_ns = r ? 1000000000u / r : 0;
}

static void answer_begin(struct client *c)
{
    uint64_t now = clock_ns() + options.first_ms * 1000000;
    read_model(c);
    c->state = ANSWERING;
    c->sent = 0;
    c->due_ns = now;
    if (c->interval_ns) { /* the next place on its grid */
        double part = (double)answers * GOLDEN;
        uint64_t phase = (uint64_t)((part - floor(part)) * (double)c->interval_ns);
        c->due_ns = now - now % c->interval_ns + phase;
        if (c->due_ns < now)
            c->due_ns += c->interval_ns;
    }
    answers++;
    c->out_len = (size_t)snprintf(c->out, OUT_MAX,
                                  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n");
    if (flush(c))
        heap_add(c);
}

/* ---- requests ---- */

static void take_body(struct client *c, const char *p, size_t n)
{
    size_t room = REQUEST_KEPT - c->body_len, kept = n < room ? n : room;
    memcpy(c->body + c->body_len, p, kept);
    c->body_len += kept;
    c->body_left = n >= c->body_left ? 0 : c->body_left - n;
    if (!c->body_left)
        answer_begin(c);
}

static void take_head(struct client *c, const char *p, size_t n)
{
    if (c->head_len + n > REQUEST_HEAD_MAX) {
        client_close(c);
        return;
    }
    char *grown = mem_try_realloc(c->head, c->head_len + n);
    if (!grown)
        die("out of memory");
    c->head = grown;
    memcpy(c->head + c->head_len, p, n);
    c->head_len += n;
    struct span all = span_of(c->head, c->head_len);
    ptrdiff_t end = span_find(all, SPAN_LIT("\r\n\r\n"));
    if (end < 0)
        return;
    struct span head = span_first(all, (size_t)end + 2), rest = span_skip(all, (size_t)end + 4);
    ptrdiff_t at = span_find_nocase(head, SPAN_LIT("\r\ncontent-length:"));
    c->body_left = at < 0 ? 0 : strtoull(head.ptr + at + 17, NULL, 10);
    c->state = READING_BODY;
    take_body(c, rest.ptr, rest.len);
    mem_free(take_ptr(c->head));
    c->head_len = 0;
}

static void read_client(struct client *c)
{
    static char in[256u << 10];
    ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        client_close(c);
    else if (c->state == READING_HEAD)
        take_head(c, in, (size_t)n);
    else if (c->state == READING_BODY)
        take_body(c, in, (size_t)n);
}

static void accept_all(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *c = mem_alloc(sizeof *c);
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(c, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_ADD);
    }
}

/* ---- the program ---- */

static void on_signal(int number)
{
    (void)number;
    is_over = 1;
}

static int listen_on(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof a;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        die("listen");
    printf("port %u\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

static void handle(const struct epoll_event *e, int listener)
{
    struct client *c = e->data.ptr;
    if (!c) {
        accept_all(listener);
        return;
    }
    if (c->is_closed)
        return;
    if (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
        read_client(c);
    if (!c->is_closed && e->events & EPOLLOUT && flush(c) && c->state == ANSWERING && !c->heap_at)
        heap_add(c);
}

static void serve(int listener)
{
    struct epoll_event events[EVENTS];
    while (!is_over) {
        uint64_t now = clock_ns();
        while (heap_count && heap[0]->due_ns <= now)
            answer_step(heap[0]);
        struct timespec wait = {0};
        now = clock_ns();
        if (heap_count && heap[0]->due_ns > now) {
            uint64_t ns = heap[0]->due_ns - now;
            wait = (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
        }
        int n = epoll_pwait2(epoll_fd, events, EVENTS, heap_count ? &wait : NULL, NULL);
        for (int i = 0; i < n; i++)
            handle(&events[i], listener);
        while (dead) {
            struct client *c = dead;
            dead = c->next_dead;
            mem_free(c);
        }
    }
}

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    uint64_t v;
    if (!parse_u64(span_str(text), &v) || v < least || v > most) {
        fprintf(stderr, "bench_provider: '%s' is not a number from %llu to %llu\n", text,
                (unsigned long long)least, (unsigned long long)most);
        exit(2);
    }
    return v;
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {{"port", 1, NULL, 'p'},     {"tokens", 1, NULL, 't'},
                                          {"bytes", 1, NULL, 'b'},    {"rate", 1, NULL, 'r'},
                                          {"first-ms", 1, NULL, 'f'}, {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        if (c == 'p')
            options.port = (unsigned)number(optarg, 0, 65535);
        else if (c == 't')
            options.tokens = number(optarg, 0, 99999999);
        else if (c == 'b')
            options.bytes = number(optarg, STAMP_BYTES_MIN, STAMP_BYTES_MAX);
        else if (c == 'r')
            options.rate = number(optarg, 0, 1000000);
        else if (c == 'f')
            options.first_ms = number(optarg, 0, 3600000);
        else
            exit(2);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
    prctl(PR_SET_TIMERSLACK, 1000UL);
    struct sigaction end = {.sa_handler = on_signal};
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGINT, &end, NULL);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(options.port);
    struct epoll_event e = {.events = EPOLLIN};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e) < 0)
        die("epoll");
    serve(listener);
    printf(
        "{\"answers\":%llu,\"tokens\":%llu,\"cut\":%llu,\"late_p50_ms\":%.3f,\"late_p99_ms\":%.3f,"
        "\"late_max_ms\":%.3f}\n",
        (unsigned long long)answers, (unsigned long long)tokens_sent, (unsigned long long)cut,
        histogram_ms(&late, 0.5), histogram_ms(&late, 0.99), (double)late.max_ns / 1e6);
    return 0;
}
