#include "fetch/guard.h"

#include "base/attr.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

struct block {
    uint32_t base;
    unsigned bits;
};

/* IANA's special-purpose registry, RFC 6890 and later. */
static const struct block v4_blocks[] = {
    {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16},
    {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16},
    {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24}, {0xe0000000, 4},  {0xf0000000, 4},
};

static bool is_public_v4(uint32_t a)
{
    for (size_t i = 0; i < ARRAY_LEN(v4_blocks); i++)
        if (((a ^ v4_blocks[i].base) >> (32 - v4_blocks[i].bits)) == 0)
            return false;
    return true;
}

static uint32_t v4_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Only global unicast, 2000::/3, without what carries or stands for another address. */
static bool is_public_v6(const uint8_t a[16])
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(a, nat64, sizeof nat64) == 0)
        return is_public_v4(v4_at(a + 12));
    if ((a[0] & 0xe0) != 0x20)
        return false;
    if (a[0] == 0x20 && a[1] == 0x02) /* 6to4 */
        return is_public_v4(v4_at(a + 2));
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] < 0x02) /* Teredo, ORCHID, benchmarks … */
        return false;
    return !(a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8);
}

bool guard_is_public(const char *ip)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    uint8_t a[16];
    if (inet_pton(AF_INET, ip, a) == 1)
        return is_public_v4(v4_at(a));
    if (inet_pton(AF_INET6, ip, a) != 1)
        return false;
    return memcmp(a, mapped, sizeof mapped) == 0 ? is_public_v4(v4_at(a + 12)) : is_public_v6(a);
}

/* ---- names ---- */

static bool host_matches(struct span pattern, struct span host)
{
    if (span_is(pattern, "*"))
        return true;
    if (span_starts(pattern, SPAN_LIT("*.")))
        return host.len > pattern.len - 1 &&
               span_eq_nocase(span_skip(host, host.len - (pattern.len - 1)), span_skip(pattern, 1));
    return span_eq_nocase(pattern, host);
}

/* HOST, HOST:PORT, [V6], [V6]:PORT or a bare V6 */
static void split_pattern(struct span text, struct span *ret_host, struct span *ret_port)
{
    ptrdiff_t colon = span_rfind_char(text, ':'), bracket = span_rfind_char(text, ']');
    bool has_port =
        colon >= 0 && (bracket >= 0 ? colon > bracket : span_find_char(text, ':') == colon);
    *ret_port = has_port ? span_skip(text, (size_t)colon + 1) : SPAN_NULL;
    *ret_host = has_port ? span_first(text, (size_t)colon) : text;
    if (ret_host->len > 2 && ret_host->ptr[0] == '[')
        *ret_host = span_of(ret_host->ptr + 1, ret_host->len - 2);
}

static bool list_has(const char *const *list, const struct source_name *n)
{
    for (size_t i = 0; list && list[i]; i++) {
        struct span host, port;
        uint64_t number = 0;
        split_pattern(span_str(list[i]), &host, &port);
        if (port.len && (!parse_u64(port, &number) || !number))
            continue;
        unsigned actual = n->port ? n->port : scheme_port(n->scheme);
        bool port_fits = number ? number == actual : !n->port;
        if (port_fits && host_matches(host, span_str(n->host)))
            return true;
    }
    return false;
}

int guard_check_host(const struct guard_policy *p, const struct source_name *n,
                     bool *ret_may_be_private, struct err *err)
{
    bool is_private = list_has(p->allow_private_hosts, n);
    if (n->scheme == SCHEME_SSH && !p->allow_ssh) {
        err_set(err, ERR_FORBIDDEN, "this server fetches nothing over ssh");
        err_hint(err, "use the https address, or let its owner start it with --allow-ssh");
        return -ERR_FORBIDDEN;
    }
    if (!is_private && !list_has(p->allow_hosts, n)) {
        if (n->port)
            err_set(err, ERR_FORBIDDEN, "this server does not fetch from '%s:%u'", n->host,
                    n->port);
        else
            err_set(err, ERR_FORBIDDEN, "this server does not fetch from '%s'", n->host);
        err_hint(err, "its owner can allow it with --allow-host, or index the repository with "
                      "'headwater index'");
        return -ERR_FORBIDDEN;
    }
    if (ret_may_be_private)
        *ret_may_be_private = is_private;
    return 0;
}

/* ---- addresses ---- */

static bool put_address(const struct sockaddr *sa, char ret[GUARD_IP_MAX])
{
    union { /* sockaddr's members are reached through the type that it really is */
        const struct sockaddr *any;
        const struct sockaddr_in *v4;
        const struct sockaddr_in6 *v6;
    } a = {.any = sa};
    if (sa->sa_family == AF_INET)
        return inet_ntop(AF_INET, &a.v4->sin_addr, ret, GUARD_IP_MAX);
    if (sa->sa_family != AF_INET6)
        return false;
    if (IN6_IS_ADDR_V4MAPPED(&a.v6->sin6_addr))
        return inet_ntop(AF_INET, (const uint8_t *)&a.v6->sin6_addr + 12, ret, GUARD_IP_MAX);
    return inet_ntop(AF_INET6, &a.v6->sin6_addr, ret, GUARD_IP_MAX);
}

int guard_resolve(const struct source_name *n, bool only_public, struct guard_addresses *ret,
                  struct err *err)
{
    struct addrinfo want = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    *ret = (struct guard_addresses){0};
    int why = getaddrinfo(n->host, NULL, &want, &list);
    if (why) {
        err_set(err, ERR_UNAVAILABLE, "the host '%s' is not known (%s)", n->host,
                gai_strerror(why));
        err_hint(err, "check the address for a typing error, and the network");
        return -ERR_UNAVAILABLE;
    }
    int r = 0;
    for (const struct addrinfo *a = list; a && r == 0; a = a->ai_next) {
        char ip[GUARD_IP_MAX];
        if (!put_address(a->ai_addr, ip))
            continue;
        if (only_public && !guard_is_public(ip)) {
            r = err_set(err, ERR_FORBIDDEN, "the host '%s' has a private address", n->host);
            err_hint(err, "its owner can allow it with --allow-private-host");
        } else if (ret->count < GUARD_ADDRESSES_MAX) {
            snprintf(ret->ip[ret->count++], GUARD_IP_MAX, "%s", ip);
        }
    }
    freeaddrinfo(list);
    if (r == 0 && !ret->count)
        r = err_set(err, ERR_UNAVAILABLE, "the host '%s' has no address", n->host);
    return r;
}
