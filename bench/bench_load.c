/*
 * A client for load tests: holds thousands of streams of stamped tokens (bench/stamp.h), checks each one (every token once,
 * in order, of the right length, a clean end) and measures how long tokens were on their way.
 *
 *   bench_load --port N [option...]
 *
 *     --mode MODE         ws-text     /ws/chat, DeepWiki plain text (default)
 *                         ws-native   /ws/chat with subprotocol headwater.v1
 *                         http-text   POST /chat/completions/stream
 *                         sse-native  POST /v1/answers, server-sent events
 *                         openai      POST /v1/chat/completions: straight at a provider
 *     --streams N         (100)       --connect-rate N   new connections a second; 0 = all at once (500)
 *     --tokens N          of an answer; the end is checked against it (500)
 *     --bytes N           of a token (48)
 *     --rate N            tokens a second of an answer, told to the provider (50)
 *     --source NAME       repo_url of the request (-)
 *     --provider NAME     (openai)    --question TEXT
 *     --settle S          seconds after the last stream's first token before anything is measured (1)
 *     --seconds S         measured; 0 = until the first stream ends (0). Streams are read to their end either way
 *     --pid PID           CPU time of this process (all threads) over the measured time, from /proc
 *     --slow N:B          N of the streams read B bytes a second, and their tokens are not measured
 *     --leave N           ws-native: every stream is left after each N tokens and resumed from its last number
 *     --timeout S         for the whole run (120)
 *
 * Prints one line of JSON: {"streams","ended","faults","first_fault","tokens","missing","doubled","merged_frames",
 * "window_s","window_tokens","p50_ms","p90_ms","p99_ms","p999_ms","max_ms","mean_ms","cpu_s","cpu_s_per_million",
 * "resumes","reads","first_ms_p50","first_ms_max"}. window_* and the latencies are of the measured time. Exit: 0 when every
 * stream was whole, 1 when one was not, 2 when it could not run.
 *
 * One thread, one epoll set. The time of arrival is taken after each read, so a client that is itself behind is part of
 * the figure: give it a core that is not full.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/span.h"
#include "stamp.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_MAX (16u << 20)
#define EVENTS 512
#define TURN_MS 20 /* the longest sleep, and the grain of slow reading and of connecting */

enum mode { WS_TEXT, WS_NATIVE, HTTP_TEXT, SSE_NATIVE, OPENAI };
static const char *const mode_names[] = {"ws-text", "ws-native", "http-text", "sse-native",
                                         "openai"};

static struct options {
    unsigned port;
    enum mode mode;
    uint64_t streams, connect_rate, tokens, bytes, rate, pid, slow_count, slow_bytes, leave;
    double settle_s, seconds, timeout_s;
    const char *source, *provider, *question;
} options = {.streams = 100,
             .connect_rate = 500,
             .tokens = 500,
             .bytes = 48,
             .rate = 50,
             .settle_s = 1,
             .timeout_s = 120,
             .source = "-",
             .provider = "openai",
             .question = "go"};

enum part { HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, FRAME_HEAD, FRAME_DATA, OVER };
enum word { WORD_START, WORD_NUMBER, WORD_TIME, WORD_REST };

struct stream {
    int fd;
    bool is_open, is_slow, has_failed, has_ended, has_first;
    bool is_resume; /* the request asks for the rest of a stream */
    enum part part;
    struct buf head;    /* of the answer, until it is complete */
    struct buf message; /* part of a frame or line that is not complete */
    uint64_t left;      /* of the chunk or frame */
    char frame_head[10];
    size_t frame_head_len;
    uint64_t began_ns;
    char id[64];
    uint64_t last_id; /* of the native protocol */
    bool is_token_event;
    uint64_t since_leave;
    /* the text */
    enum word word;
    uint64_t number, stamp, word_bytes, next;
};

static struct stream *streams;
static int epoll_fd;
static uint64_t now_ns, begun, started, ended, faults, resumes, reads, missing, doubled, merged;
static uint64_t all_tokens, window_tokens;
static char first_fault[256];
static struct histogram latency, first;
static enum { BEFORE, WITHIN, AFTER } window;
static uint64_t settled_ns, window_from_ns, window_to_ns;
static double cpu_from_s, cpu_to_s;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void fail(struct stream *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (!s->has_failed && !faults++) {
        int n = snprintf(first_fault, sizeof first_fault, "stream %td: ", s - streams);
        vsnprintf(first_fault + n, sizeof first_fault - (size_t)n, fmt, ap);
    }
    va_end(ap);
    s->has_failed = true;
}

/* ---- the measured time ---- */

static double cpu_seconds(void)
{
    char path[64], line[128];
    uint64_t sum = 0;
    if (!options.pid)
        return 0;
    snprintf(path, sizeof path, "/proc/%llu/task", (unsigned long long)options.pid);
    DIR *tasks = opendir(path);
    for (struct dirent *d; tasks && (d = readdir(tasks));) {
        char file[512];
        snprintf(file, sizeof file, "%s/%s/schedstat", path, d->d_name);
        FILE *f = d->d_name[0] == '.' ? NULL : fopen(file, "re");
        if (f && fgets(line, sizeof line, f))
            sum += strtoull(line, NULL, 10);
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
    return (double)sum / 1e9;
}

static void window_open(void)
{
    window = WITHIN;
    cpu_from_s = cpu_seconds();
    window_from_ns = clock_ns();
}

static void window_close(void)
{
    if (window != WITHIN)
        return;
    window = AFTER;
    cpu_to_s = cpu_seconds();
    window_to_ns = clock_ns();
}

static void look_at_window(void)
{
    if (window == BEFORE && settled_ns && now_ns >= settled_ns)
        window_open();
    else if (window == WITHIN && options.seconds > 0 &&
             (double)(now_ns - window_from_ns) >= options.seconds * 1e9)
        window_close();
}

/* ---- tokens ---- */

static void take_token(struct stream *s)
{
    if (s->word_bytes != options.bytes)
        fail(s, "token %llu has %llu bytes", (unsigned long long)s->number,
             (unsigned long long)s->word_bytes);
    if (s->number < s->next) {
        doubled++;
        fail(s, "token %llu came again or late", (unsigned long long)s->number);
        return;
    }
    if (s->number > s->next) {
        missing += s->number - s->next;
        fail(s, "token %llu came where %llu was due", (unsigned long long)s->number,
             (unsigned long long)s->next);
    }
    s->next = s->number + 1;
    s->since_leave++;
    all_tokens++;
    if (!s->has_first) {
        s->has_first = true;
        histogram_add(&first, now_ns - s->began_ns);
        if (++started == options.streams)
            settled_ns = now_ns + (uint64_t)(options.settle_s * 1e9);
    }
    if (window != WITHIN || s->stamp < window_from_ns)
        return;
    window_tokens++;
    if (!s->is_slow)
        histogram_add(&latency, now_ns > s->stamp ? now_ns - s->stamp : 0);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void take_text(struct stream *s, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        s->word_bytes++;
        if (s->word == WORD_START && c == 'k') {
            s->word = WORD_NUMBER;
            s->number = s->stamp = 0;
            s->word_bytes = 1;
        } else if (s->word == WORD_NUMBER && is_digit(c)) {
            s->number = s->number * 10 + (uint64_t)(c - '0');
        } else if (s->word == WORD_NUMBER && c == 't') {
            s->word = WORD_TIME;
        } else if (s->word == WORD_TIME && is_digit(c)) {
            s->stamp = s->stamp * 10 + (uint64_t)(c - '0');
        } else if ((s->word == WORD_TIME || s->word == WORD_REST) && c == 'x') {
            s->word = WORD_REST;
        } else if ((s->word == WORD_TIME || s->word == WORD_REST) && c == ' ') {
            s->word = WORD_START;
            take_token(s);
        } else {
            fail(s, "not a token: '" SPAN_FMT "'", SPAN_ARG(span_first(span_skip(text, i), 80)));
            s->word = WORD_START;
            return;
        }
    }
}

/* ---- dialects ---- */

static void take_end(struct stream *s, const char *how)
{
    if (s->has_ended)
        return;
    s->has_ended = true;
    ended++;
    window_close();
    if (s->word != WORD_START)
        fail(s, "ended (%s) within token %llu", how, (unsigned long long)s->number);
    if (s->next != options.tokens) {
        missing += options.tokens > s->next ? options.tokens - s->next : 0;
        fail(s, "ended (%s) after %llu of %llu tokens", how, (unsigned long long)s->next,
             (unsigned long long)options.tokens);
    }
}

/* A member's string that has no escapes: our tokens have none. */
static struct span member(struct span json, struct span key)
{
    ptrdiff_t at = span_find(json, key);
    struct span rest = at < 0 ? SPAN_NULL : span_skip(json, (size_t)at + key.len), value;
    return at >= 0 && span_next(&rest, '"', &value) ? value : SPAN_NULL;
}

static void take_native_data(struct stream *s, struct span event, struct span data)
{
    if (span_is(event, "token")) {
        uint64_t before = s->next;
        take_text(s, member(data, SPAN_LIT("\"text\":\"")));
        merged += s->next > before + 1;
    } else if (span_is(event, "error")) {
        fail(s, "error: " SPAN_FMT, SPAN_ARG(span_first(data, 150)));
    } else if (span_is(event, "done")) {
        if (!span_is(member(data, SPAN_LIT("\"reason\":\"")), "stop"))
            fail(s, SPAN_FMT, SPAN_ARG(span_first(data, 150)));
        take_end(s, "done");
    }
}

static void take_id(struct stream *s, struct span digits)
{
    uint64_t id;
    if (!parse_u64(digits, &id) || id <= s->last_id)
        fail(s, "event number '" SPAN_FMT "' after %llu", SPAN_ARG(span_first(digits, 20)),
             (unsigned long long)s->last_id);
    else
        s->last_id = id;
}

static void take_native_frame(struct stream *s, struct span m)
{
    struct span rest = span_skip(m, 6), id;
    if (!span_starts(m, SPAN_LIT("{\"id\":")) || !span_next(&rest, ',', &id)) {
        fail(s, "not an event: " SPAN_FMT, SPAN_ARG(span_first(m, 150)));
        return;
    }
    take_id(s, id);
    take_native_data(s, member(rest, SPAN_LIT("\"event\":\"")), rest);
}

static void take_sse_line(struct stream *s, struct span line)
{
    if (options.mode == OPENAI) {
        struct span data = span_skip(line, 6);
        if (!line.len)
            return;
        if (span_is(data, "[DONE]"))
            take_end(s, "[DONE]");
        else
            take_text(s, member(data, SPAN_LIT("\"content\":\"")));
    } else if (span_starts(line, SPAN_LIT("id: "))) {
        take_id(s, span_skip(line, 4));
    } else if (span_starts(line, SPAN_LIT("event: "))) {
        s->is_token_event = span_is(line, "event: token");
        if (!s->is_token_event) /* few, and they must stay whole until their data comes */
            snprintf(s->frame_head, sizeof s->frame_head, SPAN_FMT,
                     SPAN_ARG(span_first(span_skip(line, 7), sizeof s->frame_head - 1)));
    } else if (span_starts(line, SPAN_LIT("data: "))) {
        take_native_data(s, s->is_token_event ? SPAN_LIT("token") : span_str(s->frame_head),
                         span_skip(line, 6));
    }
}

static void take_lines(struct stream *s, struct span bytes)
{
    ptrdiff_t n;
    while ((n = span_find_char(bytes, '\n')) >= 0) {
        struct span line = span_first(bytes, (size_t)n);
        if (s->message.len) {
            buf_put_span(&s->message, line);
            line = buf_span(&s->message);
        }
        take_sse_line(s, line);
        buf_clear(&s->message);
        bytes = span_skip(bytes, (size_t)n + 1);
    }
    buf_put_span(&s->message, bytes);
}

static void take_body(struct stream *s, struct span bytes)
{
    if (options.mode == HTTP_TEXT)
        take_text(s, bytes);
    else
        take_lines(s, bytes);
}

/* ---- transports ---- */

static void stream_close(struct stream *s)
{
    if (s->is_open)
        close(s->fd);
    s->is_open = false;
}

static void send_all(struct stream *s, struct span bytes)
{
    ssize_t n = send(s->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    if (n != (ssize_t)bytes.len) /* a request is small and the socket empty */
        fail(s, "the request could not be sent");
}

static void put_client_frame(struct buf *out, int opcode, struct span payload)
{
    char head[8] = {(char)(0x80 | opcode), (char)(0x80 | payload.len)};
    size_t n = 2;
    if (payload.len > 125) {
        head[1] = (char)(0x80 | 126);
        head[2] = (char)(payload.len >> 8);
        head[3] = (char)payload.len;
        n = 4;
    }
    buf_put(out, head, n);
    buf_put(out, "\0\0\0\0", 4); /* a mask that changes nothing */
    buf_put_span(out, payload);
}

static void put_request_json(const struct stream *s, struct buf *out)
{
    if (s->is_resume) {
        buf_printf(out, "{\"stream_id\":\"%s\",\"after\":%llu}", s->id,
                   (unsigned long long)s->last_id);
        return;
    }
    buf_putc(out, '{');
    if (options.mode != OPENAI)
        buf_printf(out, "\"repo_url\":\"%s\",\"provider\":\"%s\",", options.source,
                   options.provider);
    buf_printf(
        out,
        "\"model\":\"%llu:%llu:%llu\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]%s}",
        (unsigned long long)options.tokens, (unsigned long long)options.bytes,
        (unsigned long long)options.rate, options.question,
        options.mode == OPENAI ? ",\"stream\":true" : "");
}

static bool is_ws(void)
{
    return options.mode == WS_TEXT || options.mode == WS_NATIVE;
}

static void send_request(struct stream *s)
{
    static const char *const paths[] = {NULL, NULL, "/chat/completions/stream", "/v1/answers",
                                        "/v1/chat/completions"};
    struct buf json = BUF_INIT(65000), out = BUF_INIT(70000);
    if (is_ws()) {
        buf_printf(
            &out,
            "GET /ws/chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n%s\r\n",
            options.mode == WS_NATIVE ? "Sec-WebSocket-Protocol: headwater.v1\r\n" : "");
    } else {
        put_request_json(s, &json);
        buf_printf(&out,
                   "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                   "Accept: text/event-stream\r\nContent-Length: %zu\r\n\r\n",
                   paths[options.mode], json.len);
        buf_put_span(&out, buf_span(&json));
    }
    send_all(s, buf_span(&out));
    buf_done(&json);
    buf_done(&out);
}

static void send_frame_request(struct stream *s)
{
    struct buf json = BUF_INIT(65000), out = BUF_INIT(70000);
    put_request_json(s, &json);
    put_client_frame(&out, 1, buf_span(&json));
    send_all(s, buf_span(&out));
    buf_done(&json);
    buf_done(&out);
}

static void stream_open(struct stream *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, small = 4096;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        die("socket");
    if (s->is_slow)
        setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(s->fd, (struct sockaddr *)&a, sizeof a) < 0)
        die("connect");
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    s->is_open = true;
    s->part = HEAD;
    s->word = WORD_START;
    s->frame_head_len = 0;
    s->since_leave = 0;
    buf_clear(&s->message);
    if (!s->began_ns)
        s->began_ns = clock_ns();
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    send_request(s);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &e) < 0)
        die("epoll_ctl");
}

/* Leaves in the middle and comes back for the rest. */
static void leave(struct stream *s)
{
    stream_close(s);
    s->is_resume = true;
    resumes++;
    stream_open(s);
}

static void take_head(struct stream *s)
{
    struct span head = buf_span(&s->head);
    ptrdiff_t at = span_find_nocase(head, SPAN_LIT("\r\nx-stream-id: "));
    if (at >= 0 && !s->is_resume) {
        struct span rest = span_skip(head, (size_t)at + 15), id;
        (void)span_next(&rest, '\r', &id);
        snprintf(s->id, sizeof s->id, SPAN_FMT, SPAN_ARG(span_first(id, sizeof s->id - 1)));
    }
    if (!span_starts(head, is_ws() ? SPAN_LIT("HTTP/1.1 101") : SPAN_LIT("HTTP/1.1 200"))) {
        fail(s, "answered with " SPAN_FMT, SPAN_ARG(span_first(head, 120)));
        take_end(s, "refused");
        stream_close(s);
        s->part = OVER;
    } else if (is_ws()) {
        s->part = FRAME_HEAD;
        send_frame_request(s);
    } else {
        s->part = CHUNK_SIZE;
        s->left = 0;
    }
    buf_done(&s->head);
}

/* Bytes used; the head's end is found byte by byte, once a stream. */
static size_t feed_head(struct stream *s, struct span in)
{
    for (size_t i = 0; i < in.len; i++) {
        buf_putc(&s->head, in.ptr[i]);
        if (in.ptr[i] == '\n' && span_ends(buf_span(&s->head), SPAN_LIT("\r\n\r\n"))) {
            take_head(s);
            return i + 1;
        }
    }
    return in.len;
}

static size_t feed_chunk(struct stream *s, struct span in)
{
    char c = in.ptr[0];
    if (s->part == CHUNK_DATA) {
        size_t n = in.len < s->left ? in.len : (size_t)s->left;
        take_body(s, span_first(in, n));
        s->left -= n;
        if (!s->left)
            s->part = CHUNK_END;
        return n;
    }
    if (s->part == CHUNK_END) { /* its CR LF */
        s->part = c == '\n' ? CHUNK_SIZE : CHUNK_END;
        return 1;
    }
    if (c == '\n' && s->left) {
        s->part = CHUNK_DATA;
    } else if (c == '\n') {
        take_end(s, "last chunk");
        s->part = OVER;
    } else if (c != '\r') {
        s->left = s->left * 16 + (uint64_t)(is_digit(c) ? c - '0' : (c | 32) - 'a' + 10);
    }
    return 1;
}

static void take_frame(struct stream *s, int opcode, struct span payload)
{
    if (opcode == 1 && options.mode == WS_NATIVE) {
        take_native_frame(s, payload);
    } else if (opcode == 1) {
        uint64_t before = s->next;
        take_text(s, payload);
        merged += s->next > before + 1;
    } else if (opcode == 9) {
        struct buf pong = BUF_INIT(256);
        put_client_frame(&pong, 10, payload);
        send_all(s, buf_span(&pong));
        buf_done(&pong);
    } else if (opcode == 8) {
        int code = payload.len >= 2
                       ? (unsigned char)payload.ptr[0] << 8 | (unsigned char)payload.ptr[1]
                       : 0;
        if (code != 1000)
            fail(s, "closed with %d", code);
        take_end(s, "close");
        s->part = OVER;
    } else {
        fail(s, "frame with opcode %d", opcode);
    }
}

static size_t feed_frame(struct stream *s, struct span in)
{
    if (s->part == FRAME_HEAD) {
        s->frame_head[s->frame_head_len++] = in.ptr[0];
        const unsigned char *h = (const unsigned char *)s->frame_head;
        size_t code = s->frame_head_len > 1 ? h[1] & 0x7f : 0;
        size_t need = code == 127 ? 10 : code == 126 ? 4 : 2;
        if (s->frame_head_len < need)
            return 1;
        s->left = code;
        if (need > 2)
            s->left = 0;
        for (size_t i = 2; i < need; i++)
            s->left = s->left << 8 | h[i];
        if ((h[0] & 0xf0) != 0x80 || h[1] & 0x80 || s->left > MESSAGE_MAX)
            fail(s, "frame head %02x %02x, %llu bytes", h[0], h[1], (unsigned long long)s->left);
        s->frame_head_len = 0;
        s->part = FRAME_DATA;
        if (s->left)
            return 1;
        in = SPAN_NULL;
    }
    size_t used = in.len < s->left ? in.len : (size_t)s->left,
           head = s->part == FRAME_DATA && !in.ptr;
    struct span payload = span_first(in, used);
    s->left -= used;
    if (s->left || s->message.len) {
        buf_put_span(&s->message, payload);
        payload = buf_span(&s->message);
    }
    if (!s->left) {
        s->part = FRAME_HEAD;
        take_frame(s, s->frame_head[0] & 15, payload);
        buf_clear(&s->message);
    }
    return used + head;
}

static void feed(struct stream *s, struct span in)
{
    while (in.len && s->part != OVER) {
        size_t used = s->part == HEAD ? feed_head(s, in)
                      : is_ws()       ? feed_frame(s, in)
                                      : feed_chunk(s, in);
        in = span_skip(in, used);
    }
}

/* ---- the loop ---- */

static void read_stream(struct stream *s, size_t most)
{
    static char in[256u << 10];
    ssize_t n = recv(s->fd, in, most < sizeof in ? most : sizeof in, MSG_DONTWAIT);
    reads++;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    now_ns = clock_ns();
    if (n > 0)
        feed(s, span_of(in, (size_t)n));
    else if (!s->has_ended)
        fail(s, "the connection was cut after %llu tokens", (unsigned long long)s->next);
    if (n <= 0 || s->part == OVER) {
        take_end(s, "connection");
        stream_close(s);
    } else if (options.leave && s->since_leave >= options.leave && s->next < options.tokens) {
        leave(s);
    }
}

static void begin_due(uint64_t from_ns)
{
    uint64_t due = options.streams;
    if (options.connect_rate)
        due = (uint64_t)((double)(now_ns - from_ns) / 1e9 * (double)options.connect_rate) + 1;
    for (; begun < due && begun < options.streams; begun++) {
        streams[begun].is_slow = begun < options.slow_count;
        stream_open(&streams[begun]);
    }
}

/* Slow streams are out of the set and read a little at a time. */
static void read_slow(uint64_t *last_ns)
{
    uint64_t passed = now_ns - *last_ns;
    size_t share = (size_t)((double)options.slow_bytes * (double)passed / 1e9);
    if (!share)
        return;
    *last_ns = now_ns;
    for (uint64_t i = 0; i < options.slow_count && i < begun; i++)
        if (streams[i].is_open)
            read_stream(&streams[i], streams[i].part == HEAD ? SIZE_MAX : share);
}

static void run(void)
{
    struct epoll_event events[EVENTS];
    uint64_t from_ns = clock_ns(), slow_ns = from_ns;
    while (ended < options.streams) {
        now_ns = clock_ns();
        if ((double)(now_ns - from_ns) > options.timeout_s * 1e9)
            break;
        begin_due(from_ns);
        look_at_window();
        if (options.slow_count)
            read_slow(&slow_ns);
        int n = epoll_wait(epoll_fd, events, EVENTS, begun < options.streams ? 1 : TURN_MS);
        for (int i = 0; i < n; i++) {
            struct stream *s = events[i].data.ptr;
            if (s->is_slow && s->part != HEAD)
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
            else if (s->is_open)
                read_stream(s, SIZE_MAX);
        }
    }
    window_close();
    for (uint64_t i = 0; i < options.streams; i++)
        if (!streams[i].has_ended)
            fail(&streams[i], "no end within the time; %llu tokens came",
                 (unsigned long long)streams[i].next);
}

/* ---- the program ---- */

static void report(void)
{
    double seconds = window_to_ns ? (double)(window_to_ns - window_from_ns) / 1e9 : 0;
    double cpu = cpu_to_s - cpu_from_s;
    double share = window_tokens ? cpu / (double)window_tokens * 1e6 : 0;
    for (char *p = first_fault; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            *p = '\'';
    printf(
        "{\"mode\":\"%s\",\"streams\":%llu,\"ended\":%llu,\"faults\":%llu,\"first_fault\":\"%s\","
        "\"tokens\":%llu,\"missing\":%llu,\"doubled\":%llu,\"merged_frames\":%llu,",
        mode_names[options.mode], (unsigned long long)options.streams, (unsigned long long)ended,
        (unsigned long long)faults, first_fault, (unsigned long long)all_tokens,
        (unsigned long long)missing, (unsigned long long)doubled, (unsigned long long)merged);
    printf(
        "\"window_s\":%.3f,\"window_tokens\":%llu,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,"
        "\"p999_ms\":%.3f,\"max_ms\":%.3f,\"mean_ms\":%.3f,",
        seconds, (unsigned long long)window_tokens, histogram_ms(&latency, 0.5),
        histogram_ms(&latency, 0.9), histogram_ms(&latency, 0.99), histogram_ms(&latency, 0.999),
        (double)latency.max_ns / 1e6,
        latency.count ? latency.sum_ns / (double)latency.count / 1e6 : 0);
    printf("\"cpu_s\":%.3f,\"cpu_s_per_million\":%.2f,\"resumes\":%llu,\"reads\":%llu,"
           "\"first_ms_p50\":%.3f,\"first_ms_max\":%.3f}\n",
           cpu, share, (unsigned long long)resumes, (unsigned long long)reads,
           histogram_ms(&first, 0.5), (double)first.max_ns / 1e6);
}

static void usage(const char *what)
{
    fprintf(stderr, "bench_load: %s; the options are at the top of bench/bench_load.c\n", what);
    exit(2);
}

static uint64_t number(const char *text)
{
    uint64_t v;
    if (!parse_u64(span_str(text), &v))
        usage("not a number");
    return v;
}

static double seconds_of(const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (*end || !(v >= 0))
        usage("not a time in seconds");
    return v;
}

static void read_slow_option(const char *text)
{
    struct span rest = span_str(text), count;
    if (!span_next(&rest, ':', &count) || !parse_u64(count, &options.slow_count) ||
        !parse_u64(rest, &options.slow_bytes))
        usage("--slow is COUNT:BYTES");
}

static enum mode mode_of(const char *name)
{
    for (size_t i = 0; i < sizeof mode_names / sizeof *mode_names; i++)
        if (strcmp(name, mode_names[i]) == 0)
            return (enum mode)i;
    usage("no such mode");
    return WS_TEXT;
}

static void take_option(const char *name, const char *value)
{
    const struct {
        const char *name;
        uint64_t *number;
        double *seconds;
        const char **text;
    } known[] = {{"streams", &options.streams, NULL, NULL},
                 {"connect-rate", &options.connect_rate, NULL, NULL},
                 {"tokens", &options.tokens, NULL, NULL},
                 {"bytes", &options.bytes, NULL, NULL},
                 {"rate", &options.rate, NULL, NULL},
                 {"pid", &options.pid, NULL, NULL},
                 {"leave", &options.leave, NULL, NULL},
                 {"settle", NULL, &options.settle_s, NULL},
                 {"seconds", NULL, &options.seconds, NULL},
                 {"timeout", NULL, &options.timeout_s, NULL},
                 {"source", NULL, NULL, &options.source},
                 {"provider", NULL, NULL, &options.provider},
                 {"question", NULL, NULL, &options.question}};
    if (strcmp(name, "port") == 0)
        options.port = (unsigned)number(value);
    else if (strcmp(name, "mode") == 0)
        options.mode = mode_of(value);
    else if (strcmp(name, "slow") == 0)
        read_slow_option(value);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) != 0)
            continue;
        if (known[i].number)
            *known[i].number = number(value);
        else if (known[i].seconds)
            *known[i].seconds = seconds_of(value);
        else
            *known[i].text = value;
    }
}

static void read_options(int argc, char **argv)
{
    static const char *const names[] = {
        "port", "mode",   "slow",    "streams", "connect-rate", "tokens",   "bytes",    "rate",
        "pid",  "settle", "seconds", "timeout", "source",       "provider", "question", "leave"};
    struct option known[sizeof names / sizeof *names + 1] = {{NULL, 0, NULL, 0}};
    int at = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        known[i] = (struct option){names[i], required_argument, NULL, 0};
    for (int c; (c = getopt_long(argc, argv, "", known, &at)) >= 0;) {
        if (c)
            exit(2);
        take_option(known[at].name, optarg);
    }
    if (!options.port || options.port > 65535 || !options.streams)
        usage("--port and --streams must be positive");
    if (options.leave && options.mode != WS_NATIVE)
        usage("--leave needs --mode ws-native");
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    streams = mem_try_array(options.streams, sizeof *streams);
    if (epoll_fd < 0 || !streams)
        die("cannot start");
    for (uint64_t i = 0; i < options.streams; i++) {
        buf_init(&streams[i].head, 64u << 10);
        buf_init(&streams[i].message, MESSAGE_MAX);
    }
    run();
    report();
    return faults ? 1 : 0;
}
