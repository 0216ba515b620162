#include "base/metric.h"

#include "base/json.h"
#include "base/lock.h"

#include <stdio.h>

static struct lock registry_lock = LOCK_INIT;
static struct metric *registry_first, *registry_last;

static bool is_registered(const struct metric *m)
{
    for (const struct metric *it = registry_first; it; it = it->next)
        if (it == m)
            return true;
    return false;
}

void metric_register(struct metric *table, size_t count)
{
    lock_enter(&registry_lock);
    for (size_t i = 0; i < count; i++) {
        if (is_registered(&table[i]))
            continue;
        table[i].next = NULL;
        if (registry_last)
            registry_last->next = &table[i];
        else
            registry_first = &table[i];
        registry_last = &table[i];
    }
    lock_leave(&registry_lock);
}

static const uint32_t bounds_ms[METRIC_BUCKETS - 1] = {10,   50,   100,   250,   500,   1000,
                                                       2500, 5000, 10000, 30000, 60000, 120000};

void metric_time(struct metric *m, uint64_t ms)
{
    size_t i = 0;
    while (i < METRIC_BUCKETS - 1 && ms > bounds_ms[i])
        i++;
    atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
    metric_add(m, (int64_t)ms);
}

/* ---- printing; the registry's lock is held ---- */

static bool is_first_of_name(const struct metric *m)
{
    for (const struct metric *it = registry_first; it != m; it = it->next)
        if (strcmp(it->name, m->name) == 0)
            return false;
    return true;
}

static void put_value(struct buf *out, const struct metric *m)
{
    buf_puts(out, m->name);
    if (m->labels)
        buf_printf(out, "{%s}", m->labels);
    buf_printf(out, " %lld\n", (long long)metric_value(m));
}

static int64_t count_of(const struct metric *m)
{
    int64_t n = 0;
    for (size_t i = 0; i < METRIC_BUCKETS; i++)
        n += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
    return n;
}

static void put_times(struct buf *out, const struct metric *m)
{
    const char *labels = m->labels ? m->labels : "", *comma = m->labels ? "," : "";
    int64_t n = 0;
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        n += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"", m->name, labels, comma);
        if (i < METRIC_BUCKETS - 1)
            buf_printf(out, "%g\"} %lld\n", bounds_ms[i] / 1e3, (long long)n);
        else
            buf_printf(out, "+Inf\"} %lld\n", (long long)n);
    }
    const char *open = m->labels ? "{" : "", *close = m->labels ? "}" : "";
    buf_printf(out, "%s_sum%s%s%s %.3f\n", m->name, open, labels, close,
               (double)metric_value(m) / 1e3);
    buf_printf(out, "%s_count%s%s%s %lld\n", m->name, open, labels, close, (long long)n);
}

void metric_print_prometheus(struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    lock_enter(&registry_lock);
    for (struct metric *m = registry_first; m; m = m->next) {
        if (!is_first_of_name(m))
            continue;
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, kinds[m->kind]);
        for (struct metric *it = m; it; it = it->next) {
            if (strcmp(it->name, m->name) != 0)
                continue;
            if (it->kind == METRIC_KIND_TIMES)
                put_times(out, it);
            else
                put_value(out, it);
        }
    }
    lock_leave(&registry_lock);
}

static void json_member(struct json_writer *w, const struct metric *m, const char *suffix,
                        int64_t value)
{
    char key[400];
    snprintf(key, sizeof key, "%s%s%s%s%s", m->name, suffix, m->labels ? "{" : "",
             m->labels ? m->labels : "", m->labels ? "}" : "");
    jw_kint(w, key, value);
}

void metric_print_json(struct buf *out)
{
    struct json_writer w = json_writer(out);
    lock_enter(&registry_lock);
    jw_obj(&w);
    for (struct metric *m = registry_first; m; m = m->next) {
        if (m->kind == METRIC_KIND_TIMES) {
            json_member(&w, m, "_count", count_of(m));
            json_member(&w, m, "_sum_ms", metric_value(m));
        } else {
            json_member(&w, m, "", metric_value(m));
        }
    }
    jw_end_obj(&w);
    lock_leave(&registry_lock);
}
