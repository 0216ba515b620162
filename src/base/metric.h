#pragma once
/*
 * Metrics: each module has a static table of descriptors and registers it once at start; updates are one
 * relaxed atomic add. /metrics prints them in the Prometheus text format or as JSON. Process-wide, like the
 * log. Names: headwater_<module>_<what>[_total|_bytes|_seconds]; docs/operations.md lists them all, which a lint checks. Metrics
 * of one name differ by their labels and are printed together. Thread: any.
 *
 *   static struct metric metrics[] = {
 *       [M_FRAMES] = METRIC_COUNTER("headwater_ws_frames_sent_total", "WebSocket frames sent"),
 *   };
 *   metric_register(metrics, ARRAY_LEN(metrics));   metric_add(&metrics[M_FRAMES], 1);
 */
#include "base/buf.h"
#include <stdatomic.h>

struct metric {
    const char *name, *help;
    const char *labels; /* `provider="openai"`, already escaped; or NULL */
    enum { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE, METRIC_KIND_TIMES } kind;
    _Atomic int64_t value;    /* of times: their sum in milliseconds */
    _Atomic int64_t *buckets; /* of times: METRIC_BUCKETS counts */
    struct metric *next;      /* registry's */
};
#define METRIC_COUNTER(n, h)                                  \
    {                                                         \
        .name = (n), .help = (h), .kind = METRIC_KIND_COUNTER \
    }
#define METRIC_GAUGE(n, h)                                  \
    {                                                       \
        .name = (n), .help = (h), .kind = METRIC_KIND_GAUGE \
    }
/* A histogram of durations; printed in seconds, as its name ends. `b`: static, METRIC_BUCKETS long. */
#define METRIC_BUCKETS 13
#define METRIC_TIMES(n, h, b)                                                \
    {                                                                        \
        .name = (n), .help = (h), .kind = METRIC_KIND_TIMES, .buckets = (b), \
    }

/* Registering a table again is harmless (tests start modules more than once). */
void metric_register(struct metric *table, size_t count);
static inline void metric_add(struct metric *m, int64_t by)
{
    atomic_fetch_add_explicit(&m->value, by, memory_order_relaxed);
}
static inline void metric_set(struct metric *m, int64_t to)
{
    atomic_store_explicit(&m->value, to, memory_order_relaxed);
}
static inline int64_t metric_value(const struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}
/* One duration more. */
void metric_time(struct metric *m, uint64_t ms);
void metric_print_prometheus(struct buf *out);
void metric_print_json(struct buf *out); /* {"name":value, "name{labels}":value, …} */
