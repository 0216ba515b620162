#include "base/fault.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int armed_site = FAULT_NONE;
static _Atomic uint64_t fail_from, fail_until, seen;

static const char *const site_names[FAULT_SITES] = {
    [FAULT_NONE] = "none",   [FAULT_ALLOC] = "alloc",   [FAULT_READ] = "read",
    [FAULT_WRITE] = "write", [FAULT_ACCEPT] = "accept", [FAULT_SYNC] = "sync",
    [FAULT_SQL] = "sql",
};

void fault_arm(enum fault_site site, uint64_t nth, uint64_t repeat)
{
    atomic_store(&fail_from, nth);
    atomic_store(&fail_until, nth ? nth + repeat : 0);
    atomic_store(&seen, 0);
    atomic_store(&armed_site, nth ? (int)site : FAULT_NONE);
}

void fault_disarm(void)
{
    fault_arm(FAULT_NONE, 0, 0);
}

bool fault_arm_from_text(const char *text)
{
    const char *colon = strchr(text, ':');
    if (!colon)
        return false;
    for (int i = 1; i < FAULT_SITES; i++) {
        if (strlen(site_names[i]) != (size_t)(colon - text) ||
            memcmp(site_names[i], text, (size_t)(colon - text)) != 0)
            continue;
        char *end;
        uint64_t nth = strtoull(colon + 1, &end, 10);
        uint64_t repeat = *end == ':' ? strtoull(end + 1, &end, 10) : 0;
        if (*end || !nth)
            return false;
        fault_arm((enum fault_site)i, nth, repeat);
        return true;
    }
    return false;
}

bool fault_hit(enum fault_site site)
{
    if (atomic_load_explicit(&armed_site, memory_order_relaxed) != (int)site)
        return false;
    uint64_t n = atomic_fetch_add(&seen, 1) + 1;
    return n >= atomic_load(&fail_from) && n <= atomic_load(&fail_until);
}

uint64_t fault_seen(enum fault_site site)
{
    return atomic_load(&armed_site) == (int)site ? atomic_load(&seen) : 0;
}
