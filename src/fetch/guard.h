#pragma once
/*
 * Which hosts may be fetched from on behalf of clients, and which addresses they may have. Servers fetch what others name: without this a
 * name could lead into the network the server stands in. Owners (the command line) are not guarded.
 */
#include "fetch/source_name.h"

#define GUARD_ADDRESSES_MAX 8
#define GUARD_IP_MAX 46 /* INET6_ADDRSTRLEN */

/* Lists of HOST[:PORT], "*.example.com" or "*"; NULL-terminated; borrowed. Without a port: 443, 80 and, for ssh, 22. */
struct guard_policy {
    const char *const *allow_hosts;
    const char *const *allow_private_hosts; /* allowed as well, whatever address they have */
    bool allow_ssh;
};

struct guard_addresses {
    char ip[GUARD_ADDRESSES_MAX][GUARD_IP_MAX]; /* IPv4 within IPv6 as IPv4 */
    size_t count;
};

/* False for loopback, private, link-local, shared, reserved and multicast addresses, and for what is none. Pure. */
bool guard_is_public(const char *ip);
/* By name alone; no look-up. -ERR_FORBIDDEN. *ret_may_be_private (or NULL). Pure. */
int guard_check_host(const struct guard_policy *p, const struct source_name *n,
                     bool *ret_may_be_private, struct err *err) MUST_CHECK;
/*
 * Addresses of the host, in the resolver's order. -ERR_UNAVAILABLE: unknown name. With `only_public` -ERR_FORBIDDEN when any of them is not:
 * a name that has both kinds is made to deceive. Blocks.
 */
int guard_resolve(const struct source_name *n, bool only_public, struct guard_addresses *ret,
                  struct err *err) MUST_CHECK;
