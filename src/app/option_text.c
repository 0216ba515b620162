/* Texts of option values: sizes, durations, listen addresses. */
#include "app/options.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Cuts the digits off the front of *s. */
static bool cut_number(struct span *s, uint64_t *ret)
{
    size_t n = 0;
    while (n < s->len && is_digit(s->ptr[n]))
        n++;
    if (!parse_u64(span_first(*s, n), ret))
        return false;
    *s = span_skip(*s, n);
    return true;
}

static bool scale(uint64_t v, uint64_t by, uint64_t *ret)
{
    return !__builtin_mul_overflow(v, by, ret);
}

bool parse_size(struct span text, uint64_t unit, uint64_t *ret_bytes)
{
    uint64_t v;
    if (!cut_number(&text, &v))
        return false;
    if (!text.len)
        return scale(v, unit ? unit : 1, ret_bytes);
    static const char letters[] = "bkmgt";
    char letter = (char)(text.ptr[0] | 0x20);
    const char *at = strchr(letters, letter);
    if (!letter || !at)
        return false;
    struct span rest = span_skip(text, 1);
    bool is_ok = !rest.len || (letter != 'b' && (span_eq_nocase(rest, SPAN_LIT("b")) ||
                                                 span_eq_nocase(rest, SPAN_LIT("ib"))));
    return is_ok && scale(v, 1ull << (10 * (unsigned)(at - letters)), ret_bytes);
}

static const struct {
    const char *name;
    uint64_t ms;
} time_units[] = {{"w", 604800000}, {"d", 86400000}, {"h", 3600000},
                  {"m", 60000},     {"s", 1000},     {"ms", 1}};

static bool cut_time_unit(struct span *s, uint64_t *ret_ms)
{
    size_t n = 0;
    while (n < s->len && !is_digit(s->ptr[n]))
        n++;
    for (size_t i = 0; i < ARRAY_LEN(time_units); i++) {
        if (span_eq_nocase(span_first(*s, n), span_str(time_units[i].name))) {
            *ret_ms = time_units[i].ms;
            *s = span_skip(*s, n);
            return true;
        }
    }
    return false;
}

bool parse_duration(struct span text, uint64_t *ret_ms)
{
    uint64_t total = 0, v, unit, last_unit = UINT64_MAX;
    struct span rest = text;
    if (!cut_number(&rest, &v))
        return false;
    if (!rest.len)
        return scale(v, 1000, ret_ms);
    for (rest = text; rest.len;) {
        if (!cut_number(&rest, &v) || !cut_time_unit(&rest, &unit) || unit >= last_unit)
            return false; /* parts go from large to small, so that 1m30m is seen as a slip */
        last_unit = unit;
        if (!scale(v, unit, &v) || __builtin_add_overflow(total, v, &total))
            return false;
    }
    *ret_ms = total;
    return true;
}

void put_size(struct buf *out, uint64_t bytes)
{
    static const char letters[] = "\0KMGT";
    unsigned i = 0;
    while (i < 4 && bytes && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    buf_put_u64(out, bytes);
    if (i)
        buf_putc(out, letters[i]);
}

void put_duration(struct buf *out, uint64_t ms)
{
    if (!ms) {
        buf_puts(out, "0s");
        return;
    }
    for (size_t i = 1; i < ARRAY_LEN(time_units); i++) { /* weeks are read, not written */
        uint64_t n = ms / time_units[i].ms;
        ms %= time_units[i].ms;
        if (n) {
            buf_put_u64(out, n);
            buf_puts(out, time_units[i].name);
        }
    }
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    return span_eq_nocase(span_str(host), SPAN_LIT("localhost"));
}

static bool is_host(struct span host, bool is_bracketed)
{
    struct in6_addr v6;
    char text[256];
    if (host.len >= sizeof text)
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = 0;
    if (is_bracketed)
        return strlen(text) == host.len && inet_pton(AF_INET6, text, &v6) == 1;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i], low = (char)(c | 0x20);
        if (!is_digit(c) && !(low >= 'a' && low <= 'z') && c != '.' && c != '-' && c != '_')
            return false;
    }
    return true;
}

enum listen_kind listen_classify(struct span address)
{
    if (span_starts(address, SPAN_LIT("unix:")))
        return address.len > 5 ? LISTEN_UNIX : LISTEN_INVALID;
    ptrdiff_t colon = span_rfind_char(address, ':');
    uint64_t port;
    if (colon < 0 || !parse_u64(span_skip(address, (size_t)colon + 1), &port) || port > 65535)
        return LISTEN_INVALID;
    struct span host = span_first(address, (size_t)colon);
    bool is_bracketed = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (is_bracketed)
        host = span_of(host.ptr + 1, host.len - 2);
    if (!host.len || span_is(host, "*"))
        return is_bracketed ? LISTEN_INVALID : LISTEN_PUBLIC;
    if (!is_host(host, is_bracketed))
        return LISTEN_INVALID;
    char text[256];
    memcpy(text, host.ptr, host.len);
    text[host.len] = 0;
    return is_loopback(text) ? LISTEN_LOOPBACK : LISTEN_PUBLIC;
}
