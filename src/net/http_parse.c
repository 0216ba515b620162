#include "net/http_parse.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"

#include <llhttp.h>

#define CHUNK_LINE_MAX 256 /* size and extensions of one chunk */
#define METHOD_MAX 32
#define LEADING_CRLF_MAX \
    4 /* RFC 9112 §2.2: empty lines before a request are ignored, a few of them */

enum parse_state {
    S_HEAD,
    S_BODY,       /* body_left bytes of Content-Length */
    S_CHUNK_SIZE, /* hexadecimal digits */
    S_CHUNK_EXT,  /* until CR */
    S_CHUNK_LF,   /* LF after the size line */
    S_CHUNK_DATA, /* body_left bytes */
    S_CHUNK_END_CR,
    S_CHUNK_END_LF,
    S_TRAILER_START, /* first byte of a trailer line */
    S_TRAILER,       /* inside one */
    S_TRAILER_LF,
    S_LAST_LF, /* LF of the empty line */
    S_DONE,
    S_ERROR,
};

struct http_parser {
    enum parse_state state;
    int status;
    const char *error;
    bool keep_alive, expects_continue, is_chunked;
    /* head, while it arrives */
    struct buf head; /* owned; the request's spans point into it */
    char last;       /* previous byte */
    unsigned spaces; /* in the request line */
    size_t line_len, target_len, lines, leading;
    /* body */
    size_t body_left, chunk_digits, chunk_line, trailer_bytes;
    struct buf body; /* owned */
    struct buf path; /* owned; decoded */
    struct http_request request;
    struct http_header headers[LIMIT_HTTP_HEADER_COUNT];
};

struct http_parser *http_parser_new(void)
{
    struct http_parser *p = mem_try(sizeof *p);
    if (!p)
        return NULL;
    p->request.headers = p->headers;
    buf_init(&p->head, LIMIT_HTTP_HEAD + 1);
    buf_init(&p->body, LIMIT_HTTP_BODY + 1);
    buf_init(&p->path, LIMIT_HTTP_TARGET + 1);
    return p;
}

void http_parser_free(struct http_parser *p)
{
    if (!p)
        return;
    buf_done(&p->head);
    buf_done(&p->body);
    buf_done(&p->path);
    mem_free(p);
}

static enum http_parse fail(struct http_parser *p, int status, const char *error)
{
    p->state = S_ERROR;
    p->status = status;
    p->error = error;
    return HTTP_PARSE_ERROR;
}

/* ---- the head, parsed once complete ---- */

struct head_fields {
    struct http_parser *p;
    bool too_many;
};

static int on_url(llhttp_t *ll, const char *at, size_t len)
{
    struct head_fields *f = ll->data;
    f->p->request.target = span_of(at, len);
    return 0;
}

static int on_field(llhttp_t *ll, const char *at, size_t len)
{
    struct head_fields *f = ll->data;
    if (f->p->request.header_count >= LIMIT_HTTP_HEADER_COUNT) {
        f->too_many = true;
        return HPE_USER;
    }
    f->p->headers[f->p->request.header_count++] = (struct http_header){span_of(at, len), SPAN_NULL};
    return 0;
}

static int on_value(llhttp_t *ll, const char *at, size_t len)
{
    struct head_fields *f = ll->data;
    if (!f->p->request.header_count)
        return HPE_USER;
    struct span *v = &f->p->headers[f->p->request.header_count - 1].value;
    /* A value may be told in adjoining pieces. */
    *v = v->ptr ? span_of(v->ptr, (size_t)(at + len - v->ptr)) : span_of(at, len);
    return 0;
}

static int on_head_end(llhttp_t *ll)
{
    (void)ll;
    return HPE_PAUSED; /* framing of the body is ours */
}

static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct span s)
{
    size_t n = 0;
    while (n < s.len && is_token_char(s.ptr[n]))
        n++;
    return n && n == s.len;
}

static enum http_parse fail_syntax(struct http_parser *p, llhttp_errno_t e)
{
    if (e == HPE_INVALID_METHOD) {
        struct span line = buf_span(&p->head);
        size_t n = 0;
        while (n < line.len && is_token_char(line.ptr[n]))
            n++;
        if (n && n < line.len && line.ptr[n] == ' ')
            return fail(p, 501, "unknown method");
        return fail(p, 400, "malformed request line");
    }
    if (e == HPE_INVALID_CONTENT_LENGTH || e == HPE_UNEXPECTED_CONTENT_LENGTH)
        return fail(p, 400, "bad or conflicting Content-Length");
    if (e == HPE_INVALID_URL)
        return fail(p, 400, "malformed request target");
    return fail(p, 400, "malformed request");
}

static enum http_method method_of(unsigned method)
{
    switch (method) {
    case HTTP_GET:
        return HTTP_GET_;
    case HTTP_HEAD:
        return HTTP_HEAD_;
    case HTTP_POST:
        return HTTP_POST_;
    case HTTP_PUT:
        return HTTP_PUT_;
    case HTTP_DELETE:
        return HTTP_DELETE_;
    case HTTP_PATCH:
        return HTTP_PATCH_;
    case HTTP_OPTIONS:
        return HTTP_OPTIONS_;
    default:
        return HTTP_OTHER_;
    }
}

/* Of the request line's end: 0, or the status to refuse with. llhttp knows other protocols and
 * versions too. */
static int check_version(struct span head)
{
    ptrdiff_t cr = span_find_char(head, '\r');
    struct span line = span_first(head, cr < 0 ? 0 : (size_t)cr);
    if (line.len < 9)
        return 400;
    const char *v = line.ptr + line.len - 9;
    if (memcmp(v, " HTTP/", 6) != 0 || v[6] < '0' || v[6] > '9' || v[7] != '.' || v[8] < '0' ||
        v[8] > '9')
        return 400;
    return v[6] == '1' && v[8] <= '1' ? 0 : 505;
}

/* Cuts the target into path and query; absolute form loses scheme and authority (RFC 9112 §3.2.2).
 */
static enum http_parse parse_target(struct http_parser *p)
{
    struct http_request *r = &p->request;
    struct span t = r->target;
    if (span_is(t, "*") && r->method == HTTP_OPTIONS_) {
        r->path = t;
        return HTTP_PARSE_MORE;
    }
    if (span_find_char(t, '#') >= 0)
        return fail(p, 400, "a request target has no fragment");
    if (!span_starts(t, SPAN_LIT("/"))) {
        struct span scheme = span_first(t, 8);
        size_t skip = span_eq_nocase(span_first(scheme, 7), SPAN_LIT("http://")) ? 7
                      : span_eq_nocase(scheme, SPAN_LIT("https://"))             ? 8
                                                                                 : 0;
        if (!skip)
            return fail(p, 400, "malformed request target");
        t = span_skip(t, skip);
        size_t n = 0;
        while (n < t.len && t.ptr[n] != '/' && t.ptr[n] != '?')
            n++;
        if (!n)
            return fail(p, 400, "malformed request target");
        t = span_skip(t, n);
    }
    ptrdiff_t q = span_find_char(t, '?');
    struct span raw = q < 0 ? t : span_first(t, (size_t)q);
    r->query = q < 0 ? SPAN_NULL : span_skip(t, (size_t)q + 1);
    if (!raw.len)
        buf_putc(&p->path, '/');
    if (!http_percent_decode(raw, false, &p->path)) {
        if (buf_failed(&p->path))
            return fail(p, 503, "out of memory");
        return fail(p, 400, "bad percent escape in the path");
    }
    if (memchr(p->path.ptr, 0, p->path.len))
        return fail(p, 400, "NUL byte in the path");
    r->path = buf_span(&p->path);
    return HTTP_PARSE_MORE;
}

static size_t count_header(const struct http_request *r, const char *name, struct span *ret_first)
{
    size_t n = 0;
    for (size_t i = 0; i < r->header_count; i++)
        if (span_eq_nocase(r->headers[i].name, span_str(name)) && n++ == 0)
            *ret_first = r->headers[i].value;
    return n;
}

static bool is_host_valid(struct span host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (!is_token_char(c) && !strchr(":[]()=;,", c))
            return false;
    }
    return true;
}

static enum http_parse check_host(struct http_parser *p)
{
    struct span host = SPAN_NULL;
    size_t n = count_header(&p->request, "host", &host);
    if (n > 1)
        return fail(p, 400, "more than one Host header");
    if (!n && p->request.minor > 0)
        return fail(p, 400, "the Host header is missing");
    return is_host_valid(host) ? HTTP_PARSE_MORE : fail(p, 400, "malformed Host header");
}

/* Which framing the body has (RFC 9112 §6.3); anything two readers could see differently is
 * refused. */
static enum http_parse check_framing(struct http_parser *p)
{
    struct span te = SPAN_NULL, cl = SPAN_NULL;
    size_t te_count = count_header(&p->request, "transfer-encoding", &te);
    size_t cl_count = count_header(&p->request, "content-length", &cl);
    if (te_count && cl_count)
        return fail(p, 400, "both Transfer-Encoding and Content-Length");
    if (te_count > 1)
        return fail(p, 400, "more than one Transfer-Encoding");
    if (te_count) {
        if (p->request.minor == 0)
            return fail(p, 400, "Transfer-Encoding in HTTP/1.0");
        if (!span_eq_nocase(te, SPAN_LIT("chunked")))
            return fail(p, span_find_nocase(te, SPAN_LIT("chunked,")) == 0 ? 400 : 501,
                        "the only transfer coding known here is chunked");
        p->is_chunked = true;
        p->state = S_CHUNK_SIZE;
        return HTTP_PARSE_MORE;
    }
    uint64_t len = 0;
    if (cl_count > 1)
        return fail(p, 400, "more than one Content-Length");
    if (cl_count && !parse_u64(cl, &len))
        return fail(p, 400, "malformed Content-Length");
    if (len > LIMIT_HTTP_BODY)
        return fail(p, 413, "the request body is too large");
    p->body_left = (size_t)len;
    p->state = len ? S_BODY : S_DONE;
    return HTTP_PARSE_MORE;
}

static enum http_parse check_head(struct http_parser *p)
{
    if (parse_target(p) == HTTP_PARSE_ERROR || check_host(p) == HTTP_PARSE_ERROR ||
        check_framing(p) == HTTP_PARSE_ERROR)
        return HTTP_PARSE_ERROR;
    const struct http_request *r = &p->request;
    p->keep_alive = r->minor > 0 ? !http_header_has(r, "connection", "close")
                                 : http_header_has(r, "connection", "keep-alive");
    struct span expect = SPAN_NULL;
    if (r->minor > 0 && count_header(r, "expect", &expect)) {
        if (!span_eq_nocase(expect, SPAN_LIT("100-continue")))
            return fail(p, 417, "only 100-continue can be expected");
        p->expects_continue = true;
    }
    if (p->state == S_DONE)
        return HTTP_PARSE_DONE;
    return HTTP_PARSE_HEAD;
}

static enum http_parse parse_head(struct http_parser *p)
{
    int bad = check_version(buf_span(&p->head));
    if (bad)
        return fail(p, bad,
                    bad == 505 ? "only HTTP/1.0 and HTTP/1.1 are spoken here"
                               : "malformed request line");
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_header_field = on_field;
    settings.on_header_value = on_value;
    settings.on_headers_complete = on_head_end;
    struct head_fields fields = {.p = p};
    llhttp_t ll;
    llhttp_init(&ll, HTTP_REQUEST, &settings);
    ll.data = &fields;
    llhttp_errno_t e = llhttp_execute(&ll, p->head.ptr, p->head.len);
    if (e != HPE_PAUSED)
        p->request.header_count = 0; /* the answer may look at headers: half of them are none */
    if (fields.too_many)
        return fail(p, 431, "too many headers");
    if (e != HPE_PAUSED)
        return e == HPE_OK ? fail(p, 400, "malformed request") : fail_syntax(p, e);
    if (ll.method == HTTP_CONNECT)
        return fail(p, 501, "this is not a proxy");
    p->request.method = method_of(ll.method);
    p->request.minor = ll.http_minor;
    for (size_t i = 0; i < p->request.header_count; i++) {
        p->headers[i].value = span_trim(p->headers[i].value);
        if (!is_token(p->headers[i].name)) /* llhttp lets spaces pass */
            return fail(p, 400, "malformed header name");
    }
    return check_head(p);
}

/* ---- the head, byte by byte ---- */

/* A byte of the request line: bounds its parts. */
static enum http_parse scan_first_line(struct http_parser *p, char c)
{
    if (c == '\t')
        return fail(p, 400, "malformed request line");
    if (c == ' ') {
        if (p->line_len == 1 || ++p->spaces > 2)
            return fail(p, 400, "malformed request line");
    } else if (p->spaces == 0) {
        if (p->line_len > METHOD_MAX)
            return fail(p, 400, "malformed request line");
    } else if (p->spaces == 1 && ++p->target_len > LIMIT_HTTP_TARGET) {
        return fail(p, 414, "the request target is too long");
    }
    return HTTP_PARSE_MORE;
}

static enum http_parse scan_line_end(struct http_parser *p)
{
    if (p->line_len == 0 && p->lines > 0)
        return parse_head(p);
    p->lines++;
    p->line_len = 0;
    if (p->lines > LIMIT_HTTP_HEADER_COUNT + 1)
        return fail(p, 431, "too many headers");
    return HTTP_PARSE_MORE;
}

static enum http_parse scan_head_byte(struct http_parser *p, char c)
{
    char last = p->last;
    p->last = c;
    if (last == '\r') {
        if (c != '\n')
            return fail(p, 400, "a line must end in CR LF");
        return scan_line_end(p);
    }
    if (c == '\n')
        return fail(p, 400, "a line must end in CR LF");
    if (c == '\r')
        return HTTP_PARSE_MORE;
    if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f)
        return fail(p, 400, "control byte in the request head");
    p->line_len++;
    if (p->lines == 0)
        return scan_first_line(p, c);
    if (p->line_len == 1 && (c == ' ' || c == '\t'))
        return fail(p, 400, "folded headers are not accepted");
    return HTTP_PARSE_MORE;
}

/* CR LF before a request are skipped. Returns how many bytes were, or 0 when the request begins. */
static size_t skip_leading(struct http_parser *p, struct span in)
{
    size_t n = 0;
    while (n < in.len && !p->head.len && p->leading < LEADING_CRLF_MAX &&
           in.ptr[n] == (p->leading % 2 ? '\n' : '\r')) {
        p->leading++;
        n++;
    }
    return n;
}

static enum http_parse feed_head(struct http_parser *p, struct span in, size_t *used)
{
    size_t i = skip_leading(p, in), begin = i;
    enum http_parse r = HTTP_PARSE_MORE;
    if (i < in.len && !p->head.len && p->leading % 2)
        r = fail(p, 400, "a line must end in CR LF");
    size_t room = LIMIT_HTTP_HEAD - p->head.len;
    while (i < in.len && r == HTTP_PARSE_MORE) {
        if (i - begin >= room) {
            r = fail(p, 431, "the request head is too large");
            break;
        }
        char c = in.ptr[i++];
        /* The last byte must be stored before the head is parsed as a whole. */
        if (c == '\n' && p->last == '\r' && p->line_len == 0 && p->lines > 0) {
            buf_put(&p->head, in.ptr + begin, i - begin);
            begin = i;
            if (buf_failed(&p->head))
                return fail(p, 503, "out of memory");
        }
        r = scan_head_byte(p, c);
    }
    *used = i;
    if (r == HTTP_PARSE_MORE && i > begin) {
        buf_put(&p->head, in.ptr + begin, i - begin);
        if (buf_failed(&p->head))
            return fail(p, 503, "out of memory");
    }
    return r;
}

/* ---- the body ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum http_parse chunk_size_byte(struct http_parser *p, char c)
{
    int digit = hex_value(c);
    if (digit >= 0) {
        if (++p->chunk_digits > 8)
            return fail(p, 400, "bad chunk size");
        p->body_left = p->body_left * 16 + (size_t)digit;
        if (p->body.len + p->body_left > LIMIT_HTTP_BODY)
            return fail(p, 413, "the request body is too large");
        return HTTP_PARSE_MORE;
    }
    if (!p->chunk_digits || (c != '\r' && c != ';'))
        return fail(p, 400, "bad chunk size");
    p->state = c == ';' ? S_CHUNK_EXT : S_CHUNK_LF;
    return HTTP_PARSE_MORE;
}

static enum http_parse trailer_byte(struct http_parser *p, char c)
{
    if (++p->trailer_bytes > LIMIT_HTTP_HEAD)
        return fail(p, 431, "the trailers are too large");
    if (c == '\r') {
        p->state = p->state == S_TRAILER ? S_TRAILER_LF : S_LAST_LF;
        return HTTP_PARSE_MORE;
    }
    if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f ||
        (p->state == S_TRAILER_START && !is_token_char(c)))
        return fail(p, 400, "malformed trailer");
    p->state = S_TRAILER;
    return HTTP_PARSE_MORE;
}

/* One byte of a chunk's framing. */
static enum http_parse chunk_byte(struct http_parser *p, char c)
{
    enum parse_state next = S_ERROR;
    switch (p->state) {
    case S_CHUNK_SIZE:
        return chunk_size_byte(p, c);
    case S_CHUNK_EXT:
        if (c == '\r')
            p->state = S_CHUNK_LF;
        else if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f ||
                 ++p->chunk_line > CHUNK_LINE_MAX)
            return fail(p, 400, "bad chunk extension");
        return HTTP_PARSE_MORE;
    case S_TRAILER_START:
    case S_TRAILER:
        return trailer_byte(p, c);
    case S_CHUNK_END_CR:
        next = S_CHUNK_END_LF;
        break;
    case S_CHUNK_LF:
        next = p->body_left ? S_CHUNK_DATA : S_TRAILER_START;
        break;
    case S_CHUNK_END_LF:
        p->chunk_digits = p->chunk_line = 0;
        next = S_CHUNK_SIZE;
        break;
    case S_TRAILER_LF:
        next = S_TRAILER_START;
        break;
    case S_LAST_LF:
        next = S_DONE;
        break;
    case S_HEAD:
    case S_BODY:
    case S_CHUNK_DATA:
    case S_DONE:
    case S_ERROR:
        break;
    }
    if (c != (p->state == S_CHUNK_END_CR ? '\r' : '\n'))
        return fail(p, 400, "bad chunk framing");
    p->state = next;
    return HTTP_PARSE_MORE;
}

static enum http_parse feed_body(struct http_parser *p, struct span in, size_t *used)
{
    size_t i = 0;
    enum http_parse r = HTTP_PARSE_MORE;
    while (i < in.len && r == HTTP_PARSE_MORE && p->state != S_DONE) {
        if (p->state != S_BODY && p->state != S_CHUNK_DATA) {
            r = chunk_byte(p, in.ptr[i++]);
            continue;
        }
        size_t n = in.len - i < p->body_left ? in.len - i : p->body_left;
        buf_put(&p->body, in.ptr + i, n);
        if (buf_failed(&p->body))
            return fail(p, 503, "out of memory");
        i += n;
        p->body_left -= n;
        if (!p->body_left)
            p->state = p->state == S_BODY ? S_DONE : S_CHUNK_END_CR;
    }
    *used = i;
    return r;
}

enum http_parse http_parser_feed(struct http_parser *p, struct span in, size_t *used)
{
    size_t n = 0;
    enum http_parse r = HTTP_PARSE_MORE;
    *used = 0;
    if (p->state == S_ERROR)
        return HTTP_PARSE_ERROR;
    if (p->state == S_HEAD)
        r = feed_head(p, in, used);
    else if (p->state != S_DONE)
        r = feed_body(p, in, &n);
    *used += n;
    if (r == HTTP_PARSE_MORE && p->state == S_DONE)
        r = HTTP_PARSE_DONE;
    if (r == HTTP_PARSE_DONE)
        p->request.body = buf_span(&p->body);
    return r;
}

int http_parser_status(const struct http_parser *p)
{
    return p->status;
}

const char *http_parser_error(const struct http_parser *p)
{
    return p->error ? p->error : "";
}

const struct http_request *http_parser_request(const struct http_parser *p)
{
    return &p->request;
}

struct http_request *http_parser_edit_request(struct http_parser *p)
{
    return &p->request;
}

bool http_parser_keep_alive(const struct http_parser *p)
{
    return p->keep_alive;
}

bool http_parser_expects_continue(const struct http_parser *p)
{
    return p->expects_continue;
}

bool http_parser_has_begun(const struct http_parser *p)
{
    return p->head.len > 0;
}

bool http_parser_has_head(const struct http_parser *p)
{
    return p->state != S_HEAD;
}
