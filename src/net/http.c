#include "net/http.h"

#include "base/buf.h"

const char *http_method_name(enum http_method m)
{
    static const char *const names[] = {
        [HTTP_GET_] = "GET",         [HTTP_HEAD_] = "HEAD",     [HTTP_POST_] = "POST",
        [HTTP_PUT_] = "PUT",         [HTTP_DELETE_] = "DELETE", [HTTP_PATCH_] = "PATCH",
        [HTTP_OPTIONS_] = "OPTIONS", [HTTP_OTHER_] = "OTHER",
    };
    return (size_t)m < ARRAY_LEN(names) ? names[m] : "OTHER";
}

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

struct span http_header_get(const struct http_request *r, const char *name)
{
    struct span want = span_str(name);
    for (size_t i = 0; i < r->header_count; i++)
        if (span_eq_nocase(r->headers[i].name, want))
            return r->headers[i].value;
    return SPAN_NULL;
}

bool http_header_has(const struct http_request *r, const char *name, const char *token)
{
    struct span want_name = span_str(name), want = span_str(token);
    for (size_t i = 0; i < r->header_count; i++) {
        if (!span_eq_nocase(r->headers[i].name, want_name))
            continue;
        struct span rest = r->headers[i].value, piece;
        while (span_next(&rest, ',', &piece))
            if (span_eq_nocase(span_trim(piece), want))
                return true;
    }
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool http_percent_decode(struct span in, bool plus_is_space, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int hi = in.len - i > 2 ? hex_digit(in.ptr[i + 1]) : -1;
            int lo = in.len - i > 2 ? hex_digit(in.ptr[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return false;
            c = (char)(hi << 4 | lo);
            i += 2;
        }
        buf_putc(out, c);
    }
    return !buf_failed(out);
}

/* True when the encoded name decodes to `name`, without storing the decoded form. */
static bool encoded_equals(struct span encoded, const char *name)
{
    size_t n = strlen(name), at = 0;
    for (size_t i = 0; i < encoded.len; i++, at++) {
        char c = encoded.ptr[i] == '+' ? ' ' : encoded.ptr[i];
        if (c == '%' && encoded.len - i > 2 && hex_digit(encoded.ptr[i + 1]) >= 0 &&
            hex_digit(encoded.ptr[i + 2]) >= 0) {
            c = (char)(hex_digit(encoded.ptr[i + 1]) << 4 | hex_digit(encoded.ptr[i + 2]));
            i += 2;
        }
        if (at >= n || c != name[at])
            return false;
    }
    return at == n;
}

bool http_query_get(struct span query, const char *name, struct buf *out)
{
    struct span pair;
    while (span_next(&query, '&', &pair)) {
        ptrdiff_t eq = span_find_char(pair, '=');
        struct span key = eq < 0 ? pair : span_first(pair, (size_t)eq);
        if (!encoded_equals(key, name))
            continue;
        struct span value = eq < 0 ? SPAN_NULL : span_skip(pair, (size_t)eq + 1);
        size_t before = out->len;
        if (http_percent_decode(value, true, out))
            return true;
        if (buf_failed(out))
            return false;
        out->len =
            before; /* a bad escape is taken literally, as browsers and the seeds' servers do */
        for (size_t i = 0; i < value.len; i++)
            buf_putc(out, value.ptr[i] == '+' ? ' ' : value.ptr[i]);
        return !buf_failed(out);
    }
    return false;
}
