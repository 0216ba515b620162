/*
 * One curl multi handle, driven here, with a signalfd in its poll set: so Ctrl-C is an event like any other and
 * needs no handler and no global. A stream is one POST and, after a lost connection, GETs behind the last id.
 */
#include "app/client.h"

#include "app/options.h"
#include "app/runtime.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/sse.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BUSY_PAUSE_MS 20
#define CLIENT_EVENT_MAX (LIMIT_STREAM_EVENT + (64u << 10)) /* one event of our server's streams */

struct client {
    CURLM *multi;            /* owned */
    struct runtime *runtime; /* owned; NULL when another process serves */
    char *base;              /* owned; URL without a final slash */
    char *socket;            /* owned; NULL when base is reached over TCP */
    char *server_key;        /* owned; or NULL */
    bool is_remote;          /* named by --server */
    int signal_fd;           /* owned */
    sigset_t old_mask;
    unsigned interrupts;
};

struct follow;

struct transfer {
    struct client *client;
    CURL *easy;                 /* owned */
    struct curl_slist *headers; /* owned */
    struct follow *follow;      /* borrowed; NULL for a plain request */
    struct buf body;
    bool is_event_stream;
    bool is_finished;
    CURLcode result;
    int handler_result;
};

/* One stream over all its connections. */
struct follow {
    struct client *client;
    client_event_handler *handler;
    void *ctx;
    struct client_end *end;
    struct sse_reader sse;
    uint64_t last_id;
    bool is_done, progressed, stop_sent;
    int handler_result;
    int failure; /* code of an error event */
    const char *what;
    struct err *err;
};

/* ---- opening ---- */

static void read_interrupts(struct client *c)
{
    struct signalfd_siginfo info;
    while (read(c->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        c->interrupts++;
}

bool client_socket_answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof address.sun_path)
        return false;
    memcpy(address.sun_path, path, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool is_open = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return is_open;
}

/*
 * The process that holds the data directory, or this one. Whoever holds it may be on its way up (no socket yet) or down (no
 * socket any more): both take moments, so a busy directory is looked at again.
 */
static int find_local(struct client *c, const struct options *o, struct err *err)
{
    struct runtime_options ro = {.options = o, .serve = false};
    uint64_t until = clock_ms() + TIMEOUT_CLIENT_BUSY_MS;
    for (;;) {
        if (client_socket_answers(c->socket))
            return 0;
        int r = runtime_start(&ro, &c->runtime, err);
        if (r == 0) {
            mem_free(c->socket);
            c->socket = mem_strdup(runtime_socket(c->runtime));
            return 0;
        }
        if (r != -ERR_BUSY || clock_ms() > until)
            return r;
        clock_pause_ms(BUSY_PAUSE_MS);
        read_interrupts(c);
        if (c->interrupts)
            return err_set(err, ERR_CANCELLED, "interrupted");
    }
}

static int find_server(struct client *c, const struct options *o, struct err *err)
{
    const char *url = option_str(o, OPT_SERVER);
    if (url) {
        struct span s = span_str(url);
        if (!span_starts(s, SPAN_LIT("http://")) && !span_starts(s, SPAN_LIT("https://"))) {
            int r = err_set(err, ERR_INVALID, "%s: '%s' is not the URL of a server",
                            option_where(o, OPT_SERVER), url);
            err_hint(err, "write http://host:8001");
            return r;
        }
        while (s.len && s.ptr[s.len - 1] == '/')
            s.len--;
        c->base = mem_try_strndup(s.ptr, s.len);
        c->is_remote = true;
        const char *key = option_str(o, OPT_SERVER_KEY);
        c->server_key = key ? mem_strdup(key) : NULL;
        return c->base ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for the server's URL");
    }
    c->base = mem_strdup("http://headwater");
    struct buf path = BUF_INIT(4096);
    buf_printf(&path, "%s/headwater.sock", option_str(o, OPT_DATA));
    c->socket = buf_detach(&path);
    if (!c->socket)
        return err_set(err, ERR_TOO_LARGE, "the path of the data directory is too long");
    return find_local(c, o, err);
}

int client_open(const struct options *o, struct client **ret, struct err *err)
{
    struct client *c = mem_alloc(sizeof *c);
    /* Before any thread starts, so that all of them leave SIGINT to us. */
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, &c->old_mask);
    c->signal_fd = signalfd(-1, &interrupt, SFD_CLOEXEC | SFD_NONBLOCK);
    int r = 0;
    if (c->signal_fd < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        !(c->multi = curl_multi_init()))
        r = err_set(err, ERR_UNAVAILABLE, "cannot set up the HTTP client");
    if (r == 0)
        r = find_server(c, o, err);
    if (r < 0) {
        client_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    if (c->runtime && c->interrupts > 1) {
        /* Leave at once: no drain. The store survives worse than this. */
        (void)fflush(NULL);
        _exit(EXIT_INTERRUPTED);
    }
    if (c->runtime)
        runtime_stop(c->runtime);
    if (c->multi)
        curl_multi_cleanup(c->multi);
    curl_global_cleanup();
    if (c->signal_fd >= 0)
        close(c->signal_fd);
    pthread_sigmask(SIG_SETMASK, &c->old_mask, NULL);
    mem_free(c->base);
    mem_free(c->socket);
    mem_free(c->server_key);
    mem_free(c);
}

/* ---- one transfer ---- */

/* Takes the id that the server named, if it can stand in a path. */
static void take_stream_id(struct follow *f, struct span id)
{
    if (!f || !id.len || id.len >= sizeof f->end->stream_id)
        return;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i], low = (char)(c | 0x20);
        if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return;
    }
    memcpy(f->end->stream_id, id.ptr, id.len);
    f->end->stream_id[id.len] = 0;
}

static size_t on_header(char *ptr, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    struct span line = span_of(ptr, size * count);
    ptrdiff_t colon = span_find_char(line, ':');
    if (colon < 0)
        return line.len;
    struct span name = span_first(line, (size_t)colon);
    struct span value = span_trim(span_skip(line, (size_t)colon + 1));
    if (span_eq_nocase(name, SPAN_LIT("content-type")))
        t->is_event_stream = span_starts(value, SPAN_LIT("text/event-stream"));
    if (span_eq_nocase(name, SPAN_LIT("x-stream-id")))
        take_stream_id(t->follow, value);
    return line.len;
}

static int on_sse(void *ctx, const struct sse_event *e);

static size_t on_body(char *ptr, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    struct span bytes = span_of(ptr, size * count);
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (t->follow && t->is_event_stream && status < 300) {
        int r = sse_feed(&t->follow->sse, bytes, on_sse, t->follow);
        t->handler_result = r;
        return r < 0 || t->follow->is_done ? 0 : bytes.len; /* 0 ends the transfer */
    }
    buf_put_span(&t->body, bytes);
    return buf_failed(&t->body) ? 0 : bytes.len;
}

static void add_header(struct transfer *t, const char *name, const char *value)
{
    char line[1024];
    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *more = curl_slist_append(t->headers, line);
    if (more)
        t->headers = more;
}

static void set_limits(struct transfer *t)
{
    curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)TIMEOUT_CLIENT_CONNECT_MS);
    if (t->follow) {
        curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_TIME, (long)TIMEOUT_CLIENT_SILENCE_MS / 1000);
    } else {
        curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_CLIENT_REPLY_MS);
    }
}

/* body.ptr NULL: GET. The body must outlive the transfer. */
static bool transfer_init(struct transfer *t, struct client *c, struct follow *follow,
                          const char *path, struct span body)
{
    *t = (struct transfer){.client = c, .follow = follow, .body = BUF_INIT(LIMIT_HTTP_BODY)};
    t->easy = curl_easy_init();
    struct buf url = BUF_INIT(16384);
    buf_printf(&url, "%s%s", c->base, path);
    if (!t->easy || buf_failed(&url)) {
        buf_done(&url);
        return false;
    }
    curl_easy_setopt(t->easy, CURLOPT_URL, buf_str(&url));
    buf_done(&url);
    if (c->socket) {
        curl_easy_setopt(t->easy, CURLOPT_UNIX_SOCKET_PATH, c->socket);
        curl_easy_setopt(t->easy, CURLOPT_PROXY, "");
    }
    set_limits(t);
    add_header(t, "Accept", follow ? "text/event-stream" : "application/json");
    if (c->server_key)
        add_header(t, "X-API-Key", c->server_key);
    if (body.ptr) {
        add_header(t, "Content-Type", "application/json");
        add_header(t, "Expect", "");
        curl_easy_setopt(t->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, body.ptr);
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    }
    if (follow && follow->last_id) {
        char id[32];
        snprintf(id, sizeof id, "%llu", (unsigned long long)follow->last_id);
        add_header(t, "Last-Event-ID", id);
    }
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    return true;
}

static void transfer_done(struct transfer *t)
{
    if (t->easy) {
        curl_multi_remove_handle(t->client->multi, t->easy);
        curl_easy_cleanup(t->easy);
    }
    curl_slist_free_all(t->headers);
    buf_done(&t->body);
}

/* Waits for the network, SIGINT or the time, then lets curl work. */
static void client_turn(struct client *c, int timeout_ms)
{
    struct curl_waitfd extra = {.fd = c->signal_fd, .events = CURL_WAIT_POLLIN};
    int running;
    curl_multi_perform(c->multi, &running);
    curl_multi_poll(c->multi, &extra, 1, timeout_ms, NULL);
    read_interrupts(c);
    curl_multi_perform(c->multi, &running);
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(c->multi, &left))) {
        struct transfer *t = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        t->is_finished = true;
        t->result = m->data.result;
    }
}

static int connection_failed(struct client *c, const char *what, CURLcode result, struct err *err)
{
    enum err_code code = result == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE;
    err_set(err, code, "%s: the server at %s does not answer: %s", what,
            c->is_remote ? c->base : c->socket, curl_easy_strerror(result));
    if (c->is_remote)
        err_hint(err, "check the URL, or leave --server out to work without a server");
    return -(int)code;
}

/* ---- plain requests ---- */

static int run_plain(struct client *c, struct transfer *t, const char *what, json_t **ret,
                     struct err *err)
{
    unsigned before = c->interrupts;
    curl_multi_add_handle(c->multi, t->easy);
    while (!t->is_finished) {
        client_turn(c, 1000);
        if (c->interrupts > before)
            return err_set(err, ERR_CANCELLED, "%s: interrupted", what);
    }
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (buf_failed(&t->body))
        return err_set(err, ERR_TOO_LARGE, "%s: the server's answer is larger than %u bytes", what,
                       LIMIT_HTTP_BODY);
    if (t->result != CURLE_OK)
        return connection_failed(c, what, t->result, err);
    if (status >= 300)
        return client_problem(status, buf_span(&t->body), what, err);
    *ret = json_read(buf_span(&t->body), err, NULL);
    if (!*ret) {
        err_prefix(err, "%s: the server's answer is not JSON", what);
        return -ERR_UPSTREAM;
    }
    return 0;
}

static int plain(struct client *c, const char *what, const char *method, const char *path,
                 struct span body, json_t **ret, struct err *err)
{
    struct transfer t;
    bool ok = transfer_init(&t, c, NULL, path, body) &&
              curl_easy_setopt(t.easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
    int r = ok ? run_plain(c, &t, what, ret, err)
               : err_set(err, ERR_NO_MEMORY, "%s: no memory for a request", what);
    transfer_done(&t);
    return r;
}

int client_get(struct client *c, const char *what, const char *path, json_t **ret, struct err *err)
{
    return plain(c, what, NULL, path, SPAN_NULL, ret, err);
}

int client_delete(struct client *c, const char *what, const char *path, json_t **ret,
                  struct err *err)
{
    return plain(c, what, "DELETE", path, SPAN_NULL, ret, err);
}

int client_post(struct client *c, const char *what, const char *path, struct span body,
                json_t **ret, struct err *err)
{
    return plain(c, what, NULL, path, body, ret, err);
}

/* ---- streams ---- */

static void copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
}

static void take_error(struct follow *f, const json_t *data)
{
    const char *message = json_str(data, "message", "the server gave no reason");
    const char *hint = json_str(data, "hint", NULL);
    int status = (int)json_int(data, "status", 500);
    f->failure = client_problem(status, SPAN_NULL, f->what, f->err);
    err_set(f->err, (enum err_code) - f->failure, "%s: %s", f->what, message);
    if (hint)
        err_hint(f->err, "%s", hint);
}

static int on_sse(void *ctx, const struct sse_event *e)
{
    struct follow *f = ctx;
    uint64_t id;
    if (f->is_done)
        return 0;
    if (e->id.len && parse_u64(e->id, &id)) {
        if (id <= f->last_id)
            return 0; /* seen before the connection was lost */
        f->last_id = id;
    }
    f->progressed = true;
    struct err why;
    json_t *data = json_read(e->data, &why, NULL);
    if (!data) {
        /* Never skipped in silence: it may be a piece of the answer that there was no memory for. */
        f->handler_result = err_set(f->err, (enum err_code)why.code, "%s: cannot read an event: %s",
                                    f->what, why.msg);
        return f->handler_result;
    }
    if (!json_is_object(data)) {
        json_decref(data);
        return 0; /* an event of a later version: not ours to understand */
    }
    int r = 0;
    if (span_is(e->event, "error")) {
        take_error(f, data);
    } else if (span_is(e->event, "done")) {
        f->is_done = true;
        copy_text(f->end->reason, sizeof f->end->reason, json_str(data, "reason", ""));
        copy_text(f->end->provider, sizeof f->end->provider, json_str(data, "provider", ""));
        copy_text(f->end->model, sizeof f->end->model, json_str(data, "model", ""));
    } else {
        r = f->handler(f->ctx, &(struct client_event){e->event, data});
    }
    json_decref(data);
    f->handler_result = r;
    return r;
}

/* POST …/stop beside the running transfer. Its answer does not matter: done is what counts. */
static void send_stop(struct follow *f, struct transfer *stop)
{
    char path[CLIENT_STREAM_ID_MAX + 32];
    snprintf(path, sizeof path, "/v1/streams/%s/stop", f->end->stream_id);
    if (transfer_init(stop, f->client, NULL, path, SPAN_LIT("{}")))
        curl_multi_add_handle(f->client->multi, stop->easy);
    f->stop_sent = true;
    f->end->was_stopped = true;
}

/* Drives one connection to its end. 0 or -ERR_CANCELLED. */
static int run_connection(struct follow *f, struct transfer *t, struct transfer *stop)
{
    struct client *c = f->client;
    curl_multi_add_handle(c->multi, t->easy);
    while (!t->is_finished) {
        client_turn(c, 1000);
        if (c->interrupts > 1)
            return -ERR_CANCELLED;
        if (c->interrupts && !f->stop_sent && f->end->stream_id[0])
            send_stop(f, stop);
    }
    return 0;
}

/* A server that does not stream into the POST answers 202 and names the stream. */
static void take_accepted(struct follow *f, const struct transfer *t)
{
    json_t *body = json_read(buf_span(&t->body), NULL, NULL);
    take_stream_id(f, span_str(json_str(body, "stream_id", "")));
    json_decref(body);
    f->progressed = f->progressed || f->end->stream_id[0];
}

/* What one connection came to: 1 to connect again, 0 when the stream is at its end, or an error. */
static int judge_connection(struct follow *f, struct transfer *t)
{
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (f->is_done)
        return 0;
    if (f->handler_result < 0)
        return f->handler_result;
    if (t->handler_result < 0)
        return err_set(f->err, (enum err_code) - t->handler_result,
                       "%s: an event of the server is larger than %u bytes", f->what,
                       CLIENT_EVENT_MAX);
    bool is_passing =
        status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
    bool has_begun = f->end->stream_id[0];
    if (status >= 300 && !(has_begun && is_passing))
        return client_problem(status, buf_span(&t->body), f->what, f->err);
    if (status == 202)
        take_accepted(f, t);
    else if (status && t->result == CURLE_OK && !t->is_event_stream && status < 300)
        return err_set(f->err, ERR_UPSTREAM,
                       "%s: the server does not answer with a stream of events", f->what);
    if (f->end->stream_id[0])
        return 1;
    /* Never posted twice: the work may have begun. */
    return connection_failed(f->client, f->what,
                             t->result == CURLE_OK ? CURLE_RECV_ERROR : t->result, f->err);
}

/* Sleeps, unless SIGINT comes twice. */
static int back_off(struct follow *f, unsigned tries)
{
    uint64_t ms = f->sse.retry_ms > 0 ? (uint64_t)f->sse.retry_ms : CLIENT_BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < tries && ms < CLIENT_BACKOFF_MAX_MS; i++)
        ms *= 2;
    if (ms > CLIENT_BACKOFF_MAX_MS)
        ms = CLIENT_BACKOFF_MAX_MS;
    for (uint64_t now = clock_ms(), end = now + ms; now < end; now = clock_ms()) {
        client_turn(f->client, (int)(end - now));
        if (f->client->interrupts > 1)
            return -ERR_CANCELLED;
    }
    return 0;
}

static int follow_run(struct follow *f, const char *path, struct span body, struct transfer *stop)
{
    char events_path[CLIENT_STREAM_ID_MAX + 32];
    unsigned tries = 0;
    for (;;) {
        struct transfer t;
        if (!transfer_init(&t, f->client, f, path, body)) {
            transfer_done(&t);
            return err_set(f->err, ERR_NO_MEMORY, "%s: no memory for a request", f->what);
        }
        f->progressed = false;
        int r = run_connection(f, &t, stop);
        if (r == 0)
            r = judge_connection(f, &t);
        CURLcode result = t.result;
        transfer_done(&t);
        if (r <= 0)
            return r;
        tries = f->progressed ? 1 : tries + 1;
        if (tries > CLIENT_RETRIES_COUNT) {
            r = connection_failed(f->client, f->what,
                                  result == CURLE_OK ? CURLE_RECV_ERROR : result, f->err);
            err_hint(f->err, "the answer goes on at the server as stream %s", f->end->stream_id);
            return r;
        }
        sse_restart(&f->sse);
        r = back_off(f, tries);
        if (r < 0)
            return r;
        snprintf(events_path, sizeof events_path, "/v1/streams/%s/events", f->end->stream_id);
        path = events_path;
        body = SPAN_NULL;
    }
}

int client_stream(struct client *c, const char *what, const char *path, struct span body,
                  client_event_handler *handler, void *ctx, struct client_end *ret_end,
                  struct err *err)
{
    *ret_end = (struct client_end){0};
    struct follow f = {
        .client = c, .handler = handler, .ctx = ctx, .end = ret_end, .what = what, .err = err};
    struct transfer stop = {0};
    sse_init(&f.sse, CLIENT_EVENT_MAX);
    int r = follow_run(&f, path, body, &stop);
    if (f.stop_sent)
        transfer_done(&stop);
    sse_done(&f.sse);
    if (r == -ERR_CANCELLED)
        return err_set(err, ERR_CANCELLED, "%s: interrupted", what);
    return r < 0 ? r : f.failure;
}
