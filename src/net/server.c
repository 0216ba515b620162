/* Listeners, accepting, start and end of a server. */
#include "net/net_priv.h"

#include "base/bug.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 64 /* then the connections there are get their turn */
#define REFUSED_EXTRA \
    64 /* connections past the maximum that are told so; further ones are just closed */
#define BACKLOG 4096
#define ACCEPT_RETRY_MS 100 /* without a descriptor to give up */

struct metric net_metrics[NET_METRICS] = {
    [NET_CONNECTIONS_OPEN] = METRIC_GAUGE("headwater_net_connections", "Open connections"),
    [NET_CONNECTIONS_TOTAL] =
        METRIC_COUNTER("headwater_net_connections_total", "Connections accepted"),
    [NET_CONNECTIONS_REFUSED] =
        METRIC_COUNTER("headwater_net_connections_refused_total", "Connections past the maximum"),
    [NET_ACCEPT_FAILURES] = METRIC_COUNTER("headwater_net_accept_failures_total", "Failed accepts"),
    [NET_REQUESTS] = METRIC_COUNTER("headwater_net_requests_total", "Complete HTTP requests"),
    [NET_REQUESTS_REFUSED] = METRIC_COUNTER("headwater_net_requests_refused_total",
                                            "Requests answered before any handler (4xx, 5xx)"),
    [NET_BYTES_IN] = METRIC_COUNTER("headwater_net_received_bytes_total", "Bytes received"),
    [NET_BYTES_OUT] = METRIC_COUNTER("headwater_net_sent_bytes_total", "Bytes sent"),
    [NET_WRITES] = METRIC_COUNTER("headwater_net_writes_total", "Write calls"),
    [NET_TIMEOUTS] =
        METRIC_COUNTER("headwater_net_timeouts_total", "Connections ended by a time-out"),
    [NET_WS_OPEN] = METRIC_GAUGE("headwater_ws_connections", "Open WebSockets"),
    [NET_WS_TOTAL] = METRIC_COUNTER("headwater_ws_connections_total", "WebSockets opened"),
    [NET_WS_FRAMES_IN] =
        METRIC_COUNTER("headwater_ws_frames_received_total", "WebSocket frames received"),
    [NET_WS_MESSAGES_IN] =
        METRIC_COUNTER("headwater_ws_messages_received_total", "WebSocket messages received"),
    [NET_WS_CLOSES_NORMAL] = METRIC_COUNTER("headwater_ws_closes_normal_total",
                                            "WebSockets closed with 1000, 1001 or no code"),
    [NET_WS_CLOSES_FAULT] = METRIC_COUNTER("headwater_ws_closes_fault_total",
                                           "WebSockets closed with 1002, 1003, 1007 or 1009"),
    [NET_WS_CLOSES_LOST] =
        METRIC_COUNTER("headwater_ws_closes_lost_total", "WebSockets lost (1006)"),
    [NET_WS_CLOSES_OTHER] =
        METRIC_COUNTER("headwater_ws_closes_other_total", "WebSockets closed with another code"),
};

/* ---- making ---- */

static void set_default(uint64_t *v, uint64_t value)
{
    if (!*v)
        *v = value;
}

static void fill_options(struct server_options *o)
{
    o->cors_origins = NULL; /* parsed into struct cors; the caller's text may go */
    set_default(&o->ping_interval_ms, TIMEOUT_WS_PING_MS);
    set_default(&o->pong_timeout_ms, TIMEOUT_WS_PONG_MS);
    set_default(&o->head_timeout_ms, TIMEOUT_HTTP_HEAD_MS);
    set_default(&o->body_timeout_ms, TIMEOUT_HTTP_BODY_MS);
    set_default(&o->idle_timeout_ms, TIMEOUT_HTTP_IDLE_MS);
    set_default(&o->write_stall_ms, TIMEOUT_WRITE_STALL_MS);
    set_default(&o->close_timeout_ms, TIMEOUT_WS_CLOSE_MS);
    if (!o->max_connections)
        o->max_connections = LIMIT_CONNECTIONS_COUNT;
}

static void free_parts(struct server *s)
{
    for (size_t i = 0; s->loops && i < s->loop_count; i++) {
        mem_free(s->loops[i].scratch);
        if (s->loops[i].reserve_fd >= 0)
            close(s->loops[i].reserve_fd);
        if (s->loops[i].epoll_fd >= 0)
            close(s->loops[i].epoll_fd);
    }
    mem_free(s->loops);
    cors_done(&s->cors);
    mem_free(s->unix_path);
    uv_sem_destroy(&s->sem);
    mem_free(s);
}

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int server_new(struct loop *const *loops, size_t loop_count, const struct server_options *options,
               const struct server_callbacks *callbacks, struct server **ret, struct err *err)
{
    BUG_ON(!loop_count || !callbacks->request);
    metric_register(net_metrics, NET_METRICS);
    struct server *s = mem_alloc(sizeof *s);
    BUG_ON(uv_sem_init(&s->sem, 0) != 0);
    s->callbacks = *callbacks;
    s->loops = mem_try_array(loop_count, sizeof *s->loops);
    bool ok = s->loops;
    if (options) {
        s->options = *options;
        ok = ok && cors_init(&s->cors, options->cors_origins) == 0;
    }
    fill_options(&s->options);
    s->loop_count = s->loops ? loop_count : 0;
    for (size_t i = 0; i < s->loop_count; i++) {
        struct server_loop *sl = &s->loops[i];
        *sl = (struct server_loop){.server = s, .loop = loops[i]};
        list_init(&sl->conns);
        list_init(&sl->kicked);
        list_init(&sl->dead);
        list_init(&sl->run_kicked.link);
        list_init(&sl->free_dead.link);
        sl->run_kicked.run = conns_run_kicked;
        sl->free_dead.run = conns_free_dead;
        sl->scratch = mem_try(LIMIT_READ_TURN);
        sl->reserve_fd = open_reserve();
        ok = watch_init(sl) >= 0 && ok && sl->scratch;
    }
    if (!ok) {
        free_parts(s);
        return err_set(err, ERR_NO_MEMORY,
                       "cannot make the server: out of memory or of descriptors");
    }
    *ret = s;
    return 0;
}

/* ---- listening ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

static int bad_address(const char *address, struct err *err)
{
    err_set(err, ERR_INVALID, "'%s' is not an address to listen on", address);
    err_hint(err, "write 127.0.0.1:8001, [::1]:8001 or unix:/path/to/socket");
    return -ERR_INVALID;
}

static int parse_ip(const char *address, union address *ret, socklen_t *ret_len, struct err *err)
{
    BUG_ON(!address);
    struct span text = span_str(address);
    ptrdiff_t colon = span_rfind_char(text, ':');
    uint64_t port;
    char host[64] = "";
    if (colon <= 0 || !parse_u64(span_skip(text, (size_t)colon + 1), &port) || port > 65535)
        return bad_address(address, err);
    struct span h = span_first(text, (size_t)colon);
    bool is_v6 = h.ptr[0] == '[';
    if (is_v6 && (h.len < 3 || h.ptr[h.len - 1] != ']'))
        return bad_address(address, err);
    if (is_v6)
        h = span_of(h.ptr + 1, h.len - 2);
    if (h.len >= sizeof host)
        return bad_address(address, err);
    memcpy(host, h.ptr, h.len);
    if (is_v6) {
        ret->v6 =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        *ret_len = sizeof ret->v6;
        if (inet_pton(AF_INET6, host, &ret->v6.sin6_addr) != 1)
            return bad_address(address, err);
        return 0;
    }
    ret->v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    *ret_len = sizeof ret->v4;
    return inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1 ? 0 : bad_address(address, err);
}

static int fd_or_error(int fd, const char *address, struct err *err)
{
    return fd >= 0 ? fd : err_errno(err, errno, "cannot make a socket for '%s'", address);
}

/* Returns a bound descriptor or a negative code. */
static int bind_ip(const union address *a, socklen_t len, bool is_shared, const char *address,
                   struct err *err)
{
    int on = 1;
    int fd = fd_or_error(socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                         address, err);
    if (fd < 0)
        return fd;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* Accepted sockets inherit it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (a->any.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0)
        goto failed;
    if (bind(fd, &a->any, len) == 0)
        return fd;
failed:;
    int r = err_errno(err, errno, "cannot listen on '%s'", address);
    close(fd);
    return r;
}

static void add_listener(struct server_loop *sl, int fd, bool is_unix)
{
    struct listener *l = mem_alloc(sizeof *l);
    l->sl = sl;
    l->fd = fd;
    l->is_unix = is_unix;
    l->next = sl->listeners;
    sl->listeners = l;
}

static int listen_ip(struct server *s, const char *address, unsigned *ret_port, struct err *err)
{
    union address a;
    socklen_t len;
    int r = parse_ip(address, &a, &len, err);
    if (r < 0)
        return r;
    in_port_t *port = a.any.sa_family == AF_INET ? &a.v4.sin_port : &a.v6.sin6_port;
    if (*port) {
        /* A shared port would silently split its connections with another server of ours: ask
         * unshared first. */
        int probe = bind_ip(&a, len, false, address, err);
        if (probe < 0)
            return probe;
        close(probe);
    }
    for (size_t i = 0; i < s->loop_count; i++) {
        int fd = bind_ip(&a, len, true, address, err);
        if (fd < 0)
            return fd;
        if (listen(fd, BACKLOG) < 0 || getsockname(fd, &a.any, &len) < 0) {
            r = err_errno(err, errno, "cannot listen on '%s'", address);
            close(fd);
            return r;
        }
        add_listener(&s->loops[i], fd, false); /* the first one has chosen the port of the others */
    }
    if (ret_port)
        *ret_port = ntohs(*port);
    return 0;
}

/* Removes a socket file nobody listens on. */
static int clear_stale(const struct sockaddr_un *a, const char *path, struct err *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, ERR_EXISTS, "cannot listen on '%s': the file is there and no socket",
                       path);
    int fd = fd_or_error(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), path, err);
    if (fd < 0)
        return fd;
    bool is_live = connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN;
    close(fd);
    if (is_live)
        return err_set(err, ERR_BUSY, "cannot listen on '%s': another server does", path);
    return unlink(path) < 0 ? err_errno(err, errno, "cannot remove the old socket '%s'", path) : 0;
}

static int listen_unix(struct server *s, const char *path, struct err *err)
{
    union address a = {.un = {.sun_family = AF_UNIX}};
    size_t n = strlen(path);
    if (!n || n >= sizeof a.un.sun_path)
        return err_set(err, ERR_INVALID, "the socket path '%s' is empty or longer than %zu bytes",
                       path, sizeof a.un.sun_path - 1);
    BUG_ON(s->unix_path);
    memcpy(a.un.sun_path, path, n);
    int r = clear_stale(&a.un, path, err);
    if (r < 0)
        return r;
    int fd = fd_or_error(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), path, err);
    if (fd < 0)
        return fd;
    /* The mode of the socket before bind is that of the file: it is never open to others, not for a
     * moment. */
    if (fchmod(fd, 0600) < 0 || bind(fd, &a.any, sizeof a.un) < 0 || listen(fd, BACKLOG) < 0) {
        r = err_errno(err, errno, "cannot listen on 'unix:%s'", path);
        close(fd);
        return r;
    }
    s->unix_path = mem_strdup(path);
    add_listener(&s->loops[0], fd, true);
    return 0;
}

int server_listen(struct server *s, const char *address, unsigned *ret_port, struct err *err)
{
    BUG_ON(s->started);
    if (!span_starts(span_str(address), SPAN_LIT("unix:")))
        return listen_ip(s, address, ret_port, err);
    if (ret_port)
        *ret_port = 0;
    return listen_unix(s, address + 5, err);
}

/* ---- accepting ---- */

static void on_acceptable(uv_poll_t *p, int status, int events);

static void on_retry(struct timer *t)
{
    struct listener *l = container_of(t, struct listener, retry);
    (void)uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

/*
 * Descriptors are out. The waiting connection would wake us for ever, so it is accepted in the
 * place of the reserve and closed: the peer learns at once. True when the next one may be tried.
 */
static bool shed(struct listener *l)
{
    struct server_loop *sl = l->sl;
    if (sl->reserve_fd >= 0) {
        close(sl->reserve_fd);
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            close(fd);
        sl->reserve_fd = open_reserve();
        return fd >= 0;
    }
    sl->reserve_fd = open_reserve();
    (void)uv_poll_stop(&l->poll);
    timer_set(sl->loop, &l->retry, ACCEPT_RETRY_MS, on_retry);
    return false;
}

static int accept_one(struct listener *l)
{
    if (fault_hit(FAULT_ACCEPT)) {
        errno = EMFILE;
        return -1;
    }
    return accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void adopt(struct listener *l, int fd)
{
    struct server *s = l->sl->server;
    unsigned count = atomic_fetch_add(&s->connections, 1);
    bool is_refused = count >= s->options.max_connections;
    struct conn *c = count < s->options.max_connections + REFUSED_EXTRA
                         ? conn_new(l->sl, fd, l->is_unix, is_refused)
                         : NULL;
    if (!c) {
        atomic_fetch_sub(&s->connections, 1);
        net_count(NET_ACCEPT_FAILURES, 1);
        close(fd);
    }
}

static void on_acceptable(uv_poll_t *p, int status, int events)
{
    (void)status;
    (void)events;
    struct listener *l = container_of(p, struct listener, poll);
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept_one(l);
        if (fd >= 0) {
            adopt(l, fd);
            continue;
        }
        if (errno == EAGAIN)
            return;
        net_count(NET_ACCEPT_FAILURES, 1);
        if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
            continue; /* that connection's own fault (ECONNABORTED …) */
        if (!shed(l))
            return;
    }
}

static void on_start(struct loop_msg *m)
{
    struct server_loop *sl = container_of(m, struct server_loop, start_msg);
    watch_start(sl);
    for (struct listener *l = sl->listeners; l; l = l->next) {
        BUG_ON(uv_poll_init(loop_uv(sl->loop), &l->poll, l->fd) < 0);
        BUG_ON(uv_poll_start(&l->poll, UV_READABLE, on_acceptable) < 0);
        sl->handles++;
    }
    uv_sem_post(&sl->server->sem);
}

void server_start(struct server *s)
{
    BUG_ON(s->started);
    s->started = true;
    for (size_t i = 0; i < s->loop_count; i++) {
        s->loops[i].start_msg.deliver = on_start;
        loop_post(s->loops[i].loop, &s->loops[i].start_msg);
    }
    for (size_t i = 0; i < s->loop_count; i++)
        uv_sem_wait(&s->sem);
}

/* ---- ending ---- */

void server_loop_handle_closed(struct server_loop *sl)
{
    if (--sl->handles || !sl->draining)
        return;
    timer_clear(&sl->drain_timer);
    watch_stop(sl);
}

static void on_listener_closed(uv_handle_t *h)
{
    struct listener *l = container_of((void *)h, struct listener, poll);
    struct server_loop *sl = l->sl;
    mem_free(l);
    server_loop_handle_closed(sl);
}

static void on_closing_over(struct timer *t)
{
    struct server_loop *sl = container_of(t, struct server_loop, drain_timer);
    while (!list_is_empty(&sl->conns))
        conn_close(container_of(sl->conns.next, struct conn, link));
}

static void on_drain_over(struct timer *t)
{
    struct server_loop *sl = container_of(t, struct server_loop, drain_timer);
    list_each(n, &sl->conns) conn_drain_over(container_of(n, struct conn, link));
    timer_set(sl->loop, t, sl->server->options.close_timeout_ms, on_closing_over);
}

static void on_drain(struct loop_msg *m)
{
    struct server_loop *sl = container_of(m, struct server_loop, drain_msg);
    sl->draining = true;
    sl->handles++; /* so that the end is not reached while closing begins */
    while (sl->listeners) {
        struct listener *l = sl->listeners;
        sl->listeners = l->next;
        timer_clear(&l->retry);
        (void)uv_poll_stop(&l->poll);
        uv_close((uv_handle_t *)&l->poll, on_listener_closed);
        close(l->fd);
    }
    list_each(n, &sl->conns) conn_drain(container_of(n, struct conn, link));
    timer_set(sl->loop, &sl->drain_timer, sl->server->drain_ms, on_drain_over);
    server_loop_handle_closed(sl);
}

void server_drain(struct server *s, uint64_t timeout_ms)
{
    if (!s->started || s->drained)
        return;
    s->drained = true;
    s->drain_ms = timeout_ms;
    for (size_t i = 0; i < s->loop_count; i++) {
        s->loops[i].drain_msg.deliver = on_drain;
        loop_post(s->loops[i].loop, &s->loops[i].drain_msg);
    }
    for (size_t i = 0; i < s->loop_count; i++)
        uv_sem_wait(&s->sem);
    if (s->unix_path)
        (void)unlink(s->unix_path); /* a stale one is replaced at the next start */
}

void server_free(struct server *s)
{
    if (!s)
        return;
    server_drain(s, 0);
    for (size_t i = 0; i < s->loop_count && !s->started; i++) {
        while (s->loops[i].listeners) {
            struct listener *l = s->loops[i].listeners;
            s->loops[i].listeners = l->next;
            close(l->fd);
            mem_free(l);
        }
    }
    if (!s->started && s->unix_path)
        (void)unlink(s->unix_path);
    free_parts(s);
}
