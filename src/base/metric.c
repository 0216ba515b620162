#include "base/metric.h"

#include "base/json.h"
#include "base/lock.h"

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

void metric_print_prometheus(struct buf *out)
{
    lock_enter(&registry_lock);
    for (struct metric *m = registry_first; m; m = m->next)
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", m->name, m->help, m->name,
                   m->kind == METRIC_KIND_COUNTER ? "counter" : "gauge", m->name,
                   (long long)metric_value(m));
    lock_leave(&registry_lock);
}

void metric_print_json(struct buf *out)
{
    struct json_writer w = json_writer(out);
    lock_enter(&registry_lock);
    jw_obj(&w);
    for (struct metric *m = registry_first; m; m = m->next)
        jw_kint(&w, m->name, metric_value(m));
    jw_end_obj(&w);
    lock_leave(&registry_lock);
}
