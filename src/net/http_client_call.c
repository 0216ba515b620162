/* One request: its options checked and copied, given to curl, and curl's callbacks, which only record. */
#include "base/limits.h"
#include "base/mem.h"
#include "net/http_client_priv.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

#define DAY_MS (UINT64_C(24) * 3600 * 1000)

/* ---- curl's callbacks ---- */

static size_t on_body(char *ptr, size_t size, size_t count, void *ctx)
{
    struct http_call *c = ctx;
    size_t n = size * count;
    if (c->is_redirect) {
        c->body_bytes += n;
        return c->body_bytes > LIMIT_HTTP_REDIRECT_BODY ? 0 : n;
    }
    if (c->is_paused || (c->pending.len && c->pending.len + n > LIMIT_HTTP_PENDING)) {
        c->is_curl_paused = true; /* curl keeps the piece and gives it again */
        return CURL_WRITEFUNC_PAUSE;
    }
    if (c->max_body && n > c->max_body - c->body_bytes) {
        char name[256];
        http_call_name(c, name, sizeof name);
        http_call_fail(c, -ERR_TOO_LARGE, "the answer of '%s' is larger than %zu bytes", name,
                       c->max_body);
        return 0;
    }
    buf_put(&c->pending, ptr, n);
    if (buf_failed(&c->pending)) {
        http_call_fail(c, -ERR_NO_MEMORY, "no memory for an answer");
        return 0;
    }
    c->body_bytes += n;
    c->has_body = c->has_body || n;
    c->last_piece_ms = loop_now_ms(c->client->loop);
    http_call_mark(c);
    return n;
}

/* Connected, with TLS: the request goes out next. */
static int on_connected(void *ctx, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    (void)remote_ip, (void)local_ip, (void)remote_port, (void)local_port;
    struct http_call *c = ctx;
    c->is_connected = c->is_sent = true;
    return CURL_PREREQFUNC_OK;
}

static bool is_address_allowed(struct http_call *c, const struct sockaddr *address)
{
    const struct http_client_options *o = &c->client->options;
    char ip[INET6_ADDRSTRLEN] = "";
    if (!o->allow_address)
        return true;
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, ip, sizeof ip);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof in);
        if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr))
            inet_ntop(AF_INET, &in.sin6_addr.s6_addr[12], ip, sizeof ip);
        else
            inet_ntop(AF_INET6, &in.sin6_addr, ip, sizeof ip);
    }
    return ip[0] && o->allow_address(o->allow_ctx, ip);
}

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_call *c = ctx;
    (void)purpose;
    if (!is_address_allowed(c, &address->addr)) {
        c->was_address_refused = true;
        return CURL_SOCKET_BAD;
    }
    c->was_address_allowed = true;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- options ---- */

static bool is_token(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", s.ptr[i]))
            return false;
    return s.len;
}

static int refuse_header(struct span name, const char *why, struct err *err)
{
    return err_set(err, ERR_INVALID, "header '" SPAN_FMT "' cannot be sent: %s",
                   SPAN_ARG(span_first(name, 64)), why);
}

static int add_header(struct http_call *c, const char *line, struct err *err)
{
    struct span rest = span_str(line);
    ptrdiff_t colon = span_find_char(rest, ':');
    if (colon < 0)
        return err_set(err, ERR_INVALID, "a header has no colon");
    struct span name = span_first(rest, (size_t)colon);
    if (!is_token(name))
        return err_set(err, ERR_INVALID, "the name of a header has characters it must not have");
    for (size_t i = name.len; i < rest.len; i++)
        if (((unsigned char)rest.ptr[i] < ' ' && rest.ptr[i] != '\t') || rest.ptr[i] == 0x7f)
            return refuse_header(name, "its value has control characters", err);
    if (span_eq_nocase(name, SPAN_LIT("content-length")) ||
        span_eq_nocase(name, SPAN_LIT("transfer-encoding")))
        return refuse_header(name, "it follows from the body", err);
    struct curl_slist *more = curl_slist_append(c->headers, line);
    if (!more)
        return err_set(err, ERR_NO_MEMORY, "no memory for a request's headers");
    c->headers = more;
    return 0;
}

static int copy_headers(struct http_call *c, const char *const *headers, struct err *err)
{
    size_t bytes = 0;
    /* Without it curl asks first for bodies past 1 MiB, and waits a second for the answer. */
    c->headers = curl_slist_append(NULL, "Expect:");
    if (!c->headers)
        return err_set(err, ERR_NO_MEMORY, "no memory for a request's headers");
    for (size_t i = 0; headers && headers[i]; i++) {
        bytes += strlen(headers[i]);
        if (i >= LIMIT_HTTP_HEADER_COUNT || bytes > LIMIT_HTTP_HEAD)
            return err_set(err, ERR_INVALID, "a request has too many headers");
        int r = add_header(c, headers[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_target(struct http_call *c, const char *url, struct err *err)
{
    const char *why = "it is too long";
    c->target = curl_url();
    if (!c->target)
        return err_set(err, ERR_NO_MEMORY, "no memory for a request");
    int r = -ERR_INVALID;
    if (strlen(url) <= LIMIT_HTTP_TARGET)
        r = http_target_check(curl_url_set(c->target, CURLUPART_URL, url, CURLU_DISALLOW_USER),
                              c->target, &why);
    if (r == -ERR_NO_MEMORY)
        return err_set(err, ERR_NO_MEMORY, "no memory for a request");
    return r < 0 ? err_set(err, ERR_INVALID, "cannot use the URL of an upstream: %s", why) : 0;
}

bool http_call_set_request(struct http_call *c)
{
    struct span method = span_str(c->method);
    bool is_get = span_is(method, "GET") && !c->body_len, is_head = span_is(method, "HEAD");
    bool is_ok = curl_easy_setopt(c->easy, CURLOPT_HTTPGET, 1L) == CURLE_OK &&
                 curl_easy_setopt(c->easy, CURLOPT_CURLU, c->target) == CURLE_OK &&
                 curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK;
    if (is_head)
        is_ok = is_ok && curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L) == CURLE_OK;
    else if (!is_get && (c->body_len || span_is(method, "POST")))
        is_ok = is_ok && curl_easy_setopt(c->easy, CURLOPT_POST, 1L) == CURLE_OK &&
                curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body_len) ==
                    CURLE_OK &&
                curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->body ? c->body : "") == CURLE_OK;
    const char *custom = is_get || is_head || span_is(method, "POST") ? NULL : c->method;
    return is_ok && curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, custom) == CURLE_OK;
}

/* What every request has in common. curl's own connect time-out is kept out of the way of ours. */
static bool set_common(struct http_call *c)
{
    const struct http_client_options *o = &c->client->options;
    uint64_t connect_ms = (c->connect_ms < DAY_MS ? c->connect_ms : DAY_MS) + 60000;
    CURL *e = c->easy;
    return curl_easy_setopt(e, CURLOPT_PRIVATE, c) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->curl_says) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "identity") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_USERAGENT, "headwater/" HEADWATER_VERSION) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) == CURLE_OK &&
           /* A cancelled look-up of a name is left to its thread; else the loop would wait for it. */
           curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           (!o->ca_file || curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file) == CURLE_OK) &&
           (!o->allow_address || curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK);
}

static bool set_callbacks(struct http_call *c)
{
    CURL *e = c->easy;
    return curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, http_call_on_header) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERDATA, c) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, c) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PREREQDATA, c) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, c) == CURLE_OK;
}

int http_call_fill(struct http_call *c, const struct http_call_options *o, struct err *err)
{
    struct span method = span_str(o->method);
    if (!is_token(method) || method.len >= sizeof c->method)
        return err_set(err, ERR_INVALID, "'" SPAN_FMT "' is not a method of HTTP",
                       SPAN_ARG(span_first(method, 32)));
    memcpy(c->method, method.ptr, method.len);
    c->connect_ms = o->connect_timeout_ms ? o->connect_timeout_ms : TIMEOUT_HTTP_CONNECT_MS;
    c->first_byte_ms = o->first_byte_timeout_ms;
    c->idle_ms = o->idle_timeout_ms;
    c->total_ms = o->total_timeout_ms;
    c->max_body = o->max_body;
    c->max_redirects = c->redirects_left = o->max_redirects;
    c->retry_after_ms = -1;
    buf_init(&c->pending, LIMIT_HTTP_PENDING + CURL_MAX_WRITE_SIZE);
    int r = read_target(c, o->url, err);
    if (r == 0)
        r = copy_headers(c, o->headers, err);
    if (r < 0)
        return r;
    if (o->body.len)
        c->body = mem_try_strndup(o->body.ptr, o->body.len);
    c->body_len = o->body.len;
    c->easy = c->body || !o->body.len ? curl_easy_init() : NULL;
    if (!c->easy || !set_common(c) || !set_callbacks(c) || !http_call_set_request(c))
        return err_set(err, ERR_NO_MEMORY, "no memory for a request");
    return 0;
}

void http_call_free_parts(struct http_call *c)
{
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    curl_url_cleanup(c->target);
    mem_free(c->body);
    mem_free(c->location);
    buf_done(&c->pending);
}
