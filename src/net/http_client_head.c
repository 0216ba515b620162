/* The head of an answer, and where a redirect leads. */
#include "net/http_client_priv.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>

/* ---- fields ---- */

/* RFC 9110 §10.2.3: seconds or a date; -1 when it is neither. */
static int64_t read_retry_after(struct span value)
{
    uint64_t seconds;
    if (parse_u64(value, &seconds))
        return seconds < LIMIT_HTTP_RETRY_AFTER_MS / 1000 ? (int64_t)seconds * 1000
                                                          : LIMIT_HTTP_RETRY_AFTER_MS;
    char text[64];
    if (!value.len || value.len >= sizeof text)
        return -1;
    memcpy(text, value.ptr, value.len);
    text[value.len] = 0;
    int64_t at = (int64_t)curl_getdate(text, NULL);
    if (at < 0)
        return -1;
    int64_t wait = at < INT64_MAX / 1000 ? at * 1000 - clock_wall_ms() : INT64_MAX;
    if (wait < 0)
        return 0; /* the moment has passed */
    return wait < LIMIT_HTTP_RETRY_AFTER_MS ? wait : LIMIT_HTTP_RETRY_AFTER_MS;
}

/* "1h2m3.5s", "120ms", "2": the time until a rate is whole again; 0 when it is not of that form. */
static int64_t read_duration(struct span s)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"h", 3.6e6}, {"m", 6e4}, {"s", 1e3}, {"", 1e3}};
    double sum = 0;
    while (s.len) {
        double n = 0, scale = 0;
        size_t i = 0, unit = 0;
        for (; i < s.len && ((s.ptr[i] >= '0' && s.ptr[i] <= '9') || s.ptr[i] == '.'); i++) {
            if (s.ptr[i] == '.')
                scale = 1;
            else if (scale > 0)
                n += (s.ptr[i] - '0') * (scale /= 10);
            else
                n = n * 10 + (s.ptr[i] - '0');
        }
        struct span rest = span_skip(s, i);
        while (unit + 1 < ARRAY_LEN(units) && !span_starts(rest, span_str(units[unit].unit)))
            unit++;
        if (!i || (!units[unit].unit[0] && rest.len))
            return 0;
        sum += n * units[unit].ms;
        s = span_skip(rest, strlen(units[unit].unit));
    }
    return sum < (double)LIMIT_HTTP_RETRY_AFTER_MS ? (int64_t)sum : LIMIT_HTTP_RETRY_AFTER_MS;
}

/* x-ratelimit-{remaining,reset}-{requests,tokens} */
static void take_rate(struct http_call *c, struct span name, struct span value)
{
    static const char *const kinds[] = {"requests", "tokens"};
    char full[40];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        snprintf(full, sizeof full, "x-ratelimit-remaining-%s", kinds[i]);
        if (span_eq_nocase(name, span_str(full)))
            c->rates[i].is_used_up = span_is(value, "0");
        snprintf(full, sizeof full, "x-ratelimit-reset-%s", kinds[i]);
        if (span_eq_nocase(name, span_str(full)))
            c->rates[i].reset_ms = read_duration(value);
    }
}

static bool take_field(struct http_call *c, struct span name, struct span value)
{
    if (span_eq_nocase(name, SPAN_LIT("content-type"))) {
        struct span kept = span_first(value, sizeof c->content_type - 1);
        memcpy(c->content_type, kept.ptr, kept.len);
        c->content_type[kept.len] = 0;
    } else if (span_eq_nocase(name, SPAN_LIT("retry-after"))) {
        c->retry_after_ms = read_retry_after(value);
    } else if (span_eq_nocase(name, SPAN_LIT("retry-after-ms"))) {
        uint64_t ms; /* Azure and OpenAI: finer than the seconds beside it */
        if (parse_u64(value, &ms))
            c->retry_after_ms =
                ms < LIMIT_HTTP_RETRY_AFTER_MS ? (int64_t)ms : LIMIT_HTTP_RETRY_AFTER_MS;
    } else if (name.len > 12 && span_eq_nocase(span_first(name, 12), SPAN_LIT("x-ratelimit-"))) {
        take_rate(c, name, value);
    } else if (span_eq_nocase(name, SPAN_LIT("location")) && !c->location) {
        c->location = mem_try_strndup(value.ptr, value.len);
        return c->location;
    }
    return true;
}

static void forget_head(struct http_call *c)
{
    c->content_type[0] = 0;
    c->retry_after_ms = -1;
    memset(c->rates, 0, sizeof c->rates);
    mem_free(c->location);
    c->location = NULL;
}

static bool is_redirect_status(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void end_head(struct http_call *c)
{
    long status = 0;
    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return; /* interim: the answer's own head follows */
    c->has_head = true;
    c->status = (int)status;
    c->is_redirect = c->max_redirects && c->location && is_redirect_status(c->status);
    http_call_mark(c);
}

size_t http_call_on_header(char *ptr, size_t size, size_t count, void *call)
{
    struct http_call *c = call;
    struct span line = span_of(ptr, size * count), text = span_trim(line);
    c->head_bytes += line.len; /* interim heads and trailers too: they could be endless */
    if (c->head_bytes > LIMIT_HTTP_HEAD) {
        char name[256];
        http_call_name(c, name, sizeof name);
        http_call_fail(c, -ERR_TOO_LARGE, "the head of the answer of '%s' is larger than %u bytes",
                       name, LIMIT_HTTP_HEAD);
        return 0;
    }
    if (c->has_head)
        return line.len; /* a trailer */
    ptrdiff_t colon = span_find_char(text, ':');
    if (!text.len)
        end_head(c);
    else if (span_starts(text, SPAN_LIT("HTTP/")))
        forget_head(c);
    else if (colon > 0 && !take_field(c, span_first(text, (size_t)colon),
                                      span_trim(span_skip(text, (size_t)colon + 1)))) {
        http_call_fail(c, -ERR_NO_MEMORY, "no memory for the head of an answer");
        return 0;
    }
    return line.len;
}

/* ---- targets ---- */

int http_target_check(CURLUcode parsed, CURLU *target, const char **ret_why)
{
    char *scheme = NULL;
    int result = -ERR_INVALID;
    if (parsed == CURLUE_OUT_OF_MEMORY)
        return -ERR_NO_MEMORY;
    if (parsed == CURLUE_USER_NOT_ALLOWED)
        *ret_why = "it holds a name or password";
    else if (parsed != CURLUE_OK)
        *ret_why = parsed == CURLUE_UNSUPPORTED_SCHEME || parsed == CURLUE_BAD_SCHEME
                       ? "it starts neither with https:// nor with http://"
                       : "it is not a URL";
    else if (curl_url_get(target, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        result = -ERR_NO_MEMORY;
    else if (!span_is(span_str(scheme), "https") && !span_is(span_str(scheme), "http"))
        *ret_why = "it starts neither with https:// nor with http://";
    else
        result = 0;
    curl_free(scheme);
    return result;
}

/* "https host port", so that one comparison tells whether two URLs have one origin. */
static bool read_origin(CURLU *target, char *ret, size_t size)
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool is_ok = curl_url_get(target, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                 curl_url_get(target, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                 curl_url_get(target, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    int n = is_ok ? snprintf(ret, size, "%s %s %s", scheme, host, port) : -1;
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return n > 0 && (size_t)n < size;
}

static bool is_secret(struct span name)
{
    static const struct span words[] = {SPAN_INIT("auth"),  SPAN_INIT("cookie"), SPAN_INIT("key"),
                                        SPAN_INIT("token"), SPAN_INIT("secret"), SPAN_INIT("sign")};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (span_find_nocase(name, words[i]) >= 0)
            return true;
    return false;
}

static bool is_about_body(struct span name)
{
    return span_starts(name, SPAN_LIT("Content-")) || span_starts(name, SPAN_LIT("content-"));
}

/* Keeps the headers that may go on; false without memory. */
static bool filter_headers(struct http_call *c, bool drop_secrets, bool drop_body)
{
    struct curl_slist *kept = NULL;
    for (struct curl_slist *h = c->headers; h; h = h->next) {
        struct span line = span_str(h->data), name = SPAN_NULL;
        (void)span_next(&line, ':', &name);
        if ((drop_secrets && is_secret(name)) || (drop_body && is_about_body(name)))
            continue;
        struct curl_slist *more = curl_slist_append(kept, h->data);
        if (!more) {
            curl_slist_free_all(kept);
            return false;
        }
        kept = more;
    }
    (void)curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(c->headers);
    c->headers = kept;
    return true;
}

static bool becomes_get(const struct http_call *c)
{
    bool is_post = span_is(span_str(c->method), "POST"),
         is_head = span_is(span_str(c->method), "HEAD");
    return (c->status == 303 && !is_head) || ((c->status == 301 || c->status == 302) && is_post);
}

static int next_target(struct http_call *c)
{
    char before[512], after[512];
    const char *why = NULL;
    if (!read_origin(c->target, before, sizeof before))
        return -ERR_NO_MEMORY;
    int r = http_target_check(
        curl_url_set(c->target, CURLUPART_URL, c->location, CURLU_DISALLOW_USER), c->target, &why);
    if (r == 0 && !read_origin(c->target, after, sizeof after))
        r = -ERR_NO_MEMORY;
    if (r == 0 && span_starts(span_str(before), SPAN_LIT("https ")) &&
        !span_starts(span_str(after), SPAN_LIT("https "))) {
        why = "it leads from https to http";
        r = -ERR_INVALID;
    }
    if (why) {
        http_call_fail(c, -ERR_UPSTREAM, "a redirect was not followed: %s", why);
        return -ERR_UPSTREAM;
    }
    if (r < 0)
        return r;
    bool is_get = becomes_get(c);
    if (!filter_headers(c, !span_is(span_str(before), after), is_get))
        return -ERR_NO_MEMORY;
    if (is_get) {
        snprintf(c->method, sizeof c->method, "GET");
        c->body_len = 0;
    }
    return 0;
}

int http_call_follow(struct http_call *c)
{
    if (!c->redirects_left) {
        char name[256];
        http_call_name(c, name, sizeof name);
        http_call_fail(c, -ERR_UPSTREAM, "more than %u redirects, the last from '%s'",
                       c->max_redirects, name);
        return -ERR_UPSTREAM;
    }
    c->redirects_left--;
    int r = next_target(c);
    if (r == 0) {
        forget_head(c);
        c->status = 0;
        c->head_bytes = c->body_bytes = 0;
        c->has_head = c->is_redirect = c->is_connected = false;
        c->was_address_refused = c->was_address_allowed = false;
        r = http_call_set_request(c) ? http_call_add(c) : -ERR_NO_MEMORY;
    }
    if (r == -ERR_NO_MEMORY)
        http_call_fail(c, r, "no memory to follow a redirect");
    return r;
}
