#pragma once
/*
 * Metrics: each module has a static table of descriptors and registers it once at start; updates are one
 * relaxed atomic add. /metrics prints them in the Prometheus text format or as JSON. Process-wide, like the
 * log. Names: headwater_<module>_<what>[_total|_bytes|_seconds]. Thread: any.
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
    enum { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE } kind;
    _Atomic int64_t value;
    struct metric *next; /* registry's */
};
#define METRIC_COUNTER(n, h)                                  \
    {                                                         \
        .name = (n), .help = (h), .kind = METRIC_KIND_COUNTER \
    }
#define METRIC_GAUGE(n, h)                                  \
    {                                                       \
        .name = (n), .help = (h), .kind = METRIC_KIND_GAUGE \
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
void metric_print_prometheus(struct buf *out);
void metric_print_json(struct buf *out); /* {"name":value,…} */
