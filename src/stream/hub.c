#include "base/clock.h"
#include "base/log.h"
#include "stream/stream_priv.h"

#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define SEGMENT_BYTES_DEFAULT (32u << 20)
#define JOURNAL_RETRY_MS 1000
#define CLOSE_PATIENCE_MS 10000 /* for a store that fails: what it lacks stays in the journal */
#define CLOSE_LOOK_MS 20
#define PATH_BYTES 4096

/*
 * Group commit under load: when batches follow each other this fast, the log thread lets the next
 * one gather a little, so that the cost of a write and a wake-up is shared. Below that rate an
 * event is written at once. A loop's events are one batch a turn already.
 */
#define GATHER_WHEN_WITHIN_NS 250000u
#define GATHER_NS 100000u

struct metric stream_metrics[STREAM_METRICS] = {
    [M_EVENTS] = METRIC_COUNTER("headwater_stream_events_total", "Events committed"),
    [M_EVENT_BYTES] =
        METRIC_COUNTER("headwater_stream_event_bytes_total", "Payload bytes of events"),
    [M_BATCHES] = METRIC_COUNTER("headwater_stream_batches_total", "Journal writes"),
    [M_JOURNAL_BYTES] =
        METRIC_COUNTER("headwater_stream_journal_bytes_total", "Bytes written to the journal"),
    [M_JOURNAL_ERRORS] =
        METRIC_COUNTER("headwater_stream_journal_errors_total", "Journal writes that failed"),
    [M_SYNC_ERRORS] =
        METRIC_GAUGE("headwater_stream_sync_errors", "Journal flushes that failed since start"),
    [M_SPILLS] = METRIC_COUNTER("headwater_stream_spills_total",
                                "Transactions that moved events to the store"),
    [M_SPILL_ERRORS] =
        METRIC_COUNTER("headwater_stream_spill_errors_total", "Such transactions put off"),
    [M_LIVE] = METRIC_GAUGE("headwater_stream_live", "Streams not closed"),
    [M_FOLLOWERS] = METRIC_GAUGE("headwater_stream_followers", "Readers of streams"),
    [M_MERGED_FRAMES] =
        METRIC_COUNTER("headwater_stream_merged_frames_total", "Frames merged for slow readers"),
    [M_BLOCK_READS] =
        METRIC_COUNTER("headwater_stream_block_reads_total", "Blocks read back from the store"),
};

static struct stream *stream_of(struct journal_owner *o)
{
    return container_of(o, struct stream, owner);
}

static void batch_added(struct journal_owner *o)
{
    stream_ref(stream_of(o));
}

void hub_unref(struct hub *h)
{
    if (atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    map_done(&h->table);
    mem_free(h->old_files);
    lock_done(&h->table_lock);
    lock_done(&h->attention_lock);
    lock_done(&h->ports_lock);
    lock_done(&h->ops_lock);
    cond_done(&h->ops_done);
    mem_free(h);
}

static void drop_attention(struct list *streams)
{
    struct list *n;
    while ((n = list_pop(streams)))
        stream_unref(container_of(n, struct stream, attention));
}

/* ---- log thread ---- */

void hub_attention(struct hub *h, struct stream *s)
{
    lock_enter(&h->attention_lock);
    bool is_new = !s->has_attention;
    if (is_new) {
        s->has_attention = true;
        list_append(&h->attention, &stream_ref(s)->attention);
    }
    lock_leave(&h->attention_lock);
    if (is_new)
        journal_kick(h->journal);
}

void port_ring(struct loop_defer *d)
{
    struct port *p = container_of(d, struct port, ring);
    struct hub *h = take_ptr(p->rings_for);
    bell_ring(&h->bell);
    hub_unref(h);
    port_unref(p);
}

void hub_wake_log(struct hub *h)
{
    struct loop *l = loop_current();
    if (l && !atomic_load_explicit(&h->is_from_loop, memory_order_relaxed))
        atomic_store_explicit(&h->is_from_loop, true, memory_order_relaxed);
    if (!bell_is_heard(&h->bell))
        return; /* it looks again before it sleeps */
    struct port *p = l ? port_get(h, l) : NULL;
    if (!p) {
        bell_ring(&h->bell);
        return;
    }
    if (p->rings_for)
        return;
    atomic_fetch_add(&h->refs, 1);
    atomic_fetch_add(&p->refs, 1);
    p->rings_for = h;
    loop_defer(l, &p->ring);
}

static void finish_batch(const struct journal_batch *b, int result)
{
    for (size_t i = 0; i < b->count; i++) {
        struct stream *s = stream_of(b->items[i].owner);
        stream_batch_written(s, b->items[i].seq, result);
        stream_unref(s);
    }
}

static void journal_failed(struct hub *h, const struct err *err)
{
    metric_add(&stream_metrics[M_JOURNAL_ERRORS], 1);
    h->journal_retry_ms = clock_ms() + JOURNAL_RETRY_MS;
    LOG_ERROR("stream",
              "the journal cannot be written: running streams end with an error, new events are "
              "refused until it can",
              LOG_S("error", err->msg));
    const struct journal_batch *rest = journal_take(h->journal); /* came in before it was known */
    if (rest)
        finish_batch(rest, -ERR_IO);
}

static void write_batch(struct hub *h)
{
    const struct journal_batch *b = journal_take(h->journal);
    if (!b)
        return;
    struct err err = {0};
    uint64_t now = clock_ns();
    bool is_from_loop = atomic_exchange(&h->is_from_loop, false);
    int r = journal_write(h->journal, b, &err);
    metric_add(&stream_metrics[M_BATCHES], 1);
    if (r == 0)
        metric_add(&stream_metrics[M_JOURNAL_BYTES], (int64_t)b->len);
    finish_batch(b, r);
    if (r < 0)
        journal_failed(h, &err);
    ports_post(h);
    if (!is_from_loop && now - h->last_batch_ns < GATHER_WHEN_WITHIN_NS)
        nanosleep(&(struct timespec){.tv_nsec = GATHER_NS}, NULL);
    h->last_batch_ns = now;
}

/* A new file was begun: what the old ones hold goes to the store, so that they can be deleted. */
static void spill_old_segments(struct hub *h)
{
    uint64_t segment = journal_segment(h->journal), at_segment = h->seen_segment;
    h->seen_segment = segment;
    if (segment == at_segment)
        return;
    size_t at = 0;
    struct span id;
    void *value;
    lock_enter(&h->table_lock);
    while (map_each(&h->table, &at, &id, &value)) {
        struct stream *s = value;
        lock_enter(&s->lock);
        s->must_spill = s->is_durable && s->tail.unspilled_bytes > 0;
        bool is_due = stream_is_spill_due(s);
        lock_leave(&s->lock);
        if (is_due)
            hub_attention(h, s);
    }
    lock_leave(&h->table_lock);
}

/* Streams that want to spill. Returns ms to the next one that has been put off. */
static uint64_t serve_attention(struct hub *h)
{
    uint64_t now = clock_ms();
    struct list todo, *n;
    list_init(&todo);
    if (now >= h->delayed_ms) {
        h->delayed_ms = UINT64_MAX;
        while ((n = list_pop(&h->delayed)))
            list_append(&todo, n);
    }
    lock_enter(&h->attention_lock);
    while ((n = list_pop(&h->attention)))
        list_append(&todo, n);
    lock_leave(&h->attention_lock);
    while ((n = list_pop(&todo))) {
        struct stream *s = container_of(n, struct stream, attention);
        lock_enter(&h->attention_lock);
        s->has_attention = false; /* first, so that news from here on come again */
        lock_leave(&h->attention_lock);
        uint64_t again = stream_spill(s, now);
        lock_enter(&h->attention_lock);
        bool is_delayed = again != UINT64_MAX && !s->has_attention;
        if (is_delayed) {
            s->has_attention = true;
            list_append(&h->delayed, &s->attention);
        }
        lock_leave(&h->attention_lock);
        if (is_delayed && now + again < h->delayed_ms)
            h->delayed_ms = now + again;
        if (!is_delayed)
            stream_unref(s);
    }
    return h->delayed_ms == UINT64_MAX ? UINT64_MAX : h->delayed_ms > now ? h->delayed_ms - now : 1;
}

static uint64_t retry_journal(struct hub *h)
{
    if (!journal_has_failed(h->journal))
        return UINT64_MAX;
    uint64_t now = clock_ms();
    if (now < h->journal_retry_ms)
        return h->journal_retry_ms - now;
    struct err err;
    if (journal_retry(h->journal, &err) < 0) {
        metric_add(&stream_metrics[M_JOURNAL_ERRORS], 1);
        h->journal_retry_ms = now + JOURNAL_RETRY_MS;
        return JOURNAL_RETRY_MS;
    }
    LOG_INFO("stream", "the journal can be written again");
    return UINT64_MAX;
}

static void delete_old_files(struct hub *h)
{
    if (atomic_load(&h->recovering))
        return;
    for (size_t i = 0; i < h->old_file_count; i++)
        journal_delete_file(h->journal, h->old_files[i]);
    h->old_file_count = 0;
}

static void *log_main(void *arg)
{
    struct hub *h = arg;
    pthread_setname_np(pthread_self(), "log");
    (void)prctl(PR_SET_TIMERSLACK,
                1000UL); /* best effort: a nap of 100 us should not be one of 150 */
    uint64_t wait_ms = UINT64_MAX;
    while (!atomic_load(&h->stop_log)) {
        journal_wait(h->journal, wait_ms);
        write_batch(h);
        spill_old_segments(h);
        wait_ms = serve_attention(h);
        uint64_t retry_ms = retry_journal(h);
        if (retry_ms < wait_ms)
            wait_ms = retry_ms;
        ports_post(h); /* what ended without the journal */
        journal_delete_spilled(h->journal);
        delete_old_files(h);
        metric_set(&stream_metrics[M_SYNC_ERRORS], (int64_t)journal_sync_failed(h->journal));
    }
    write_batch(h);
    delete_old_files(h);
    return NULL;
}

/* Before there is a log thread: what was recovered is the first it finds to do. */
static void spill_recovered(struct hub *h)
{
    size_t at = 0;
    struct span id;
    void *value;
    while (map_each(&h->table, &at, &id, &value))
        hub_attention(h, value);
    journal_kick(h->journal); /* old files that hold nothing new go at once */
}

/* Of recovered streams when the hub could not be opened after all. */
static void drop_recovered(struct hub *h)
{
    atomic_fetch_add(&h->refs, 1);
    drop_attention(&h->attention);
    for (;;) {
        size_t at = 0;
        struct span id;
        void *value;
        if (!map_each(&h->table, &at, &id, &value))
            break;
        stream_unref(value);
    }
    hub_unref(h);
}

/* ---- opening and closing ---- */

static int make_dirs(const char *dir, struct err *err)
{
    char path[PATH_BYTES];
    size_t len = strlen(dir);
    if (!len || len >= sizeof path)
        return err_set(err, ERR_INVALID, "the journal's directory has a name of %zu bytes", len);
    memcpy(path, dir, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i])
            continue;
        path[i] = 0;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return err_errno(err, errno, "cannot create directory '%s'", path);
        path[i] = i < len ? '/' : 0;
    }
    return 0;
}

static struct hub *hub_new(struct store *store, struct worker_pool *workers)
{
    struct hub *h = mem_alloc(sizeof *h);
    atomic_init(&h->refs, 1);
    h->store = store;
    h->workers = workers;
    lock_init(&h->table_lock);
    map_init(&h->table);
    h->next_key = 1;
    lock_init(&h->attention_lock);
    list_init(&h->attention);
    list_init(&h->delayed);
    h->delayed_ms = UINT64_MAX;
    lock_init(&h->ports_lock);
    list_init(&h->ports);
    lock_init(&h->ops_lock);
    cond_init(&h->ops_done);
    return h;
}

int hub_open(const struct hub_options *options, struct store *store, struct worker_pool *workers,
             struct hub **ret, struct err *err)
{
    metric_register(stream_metrics, STREAM_METRICS);
    struct hub *h = hub_new(store, workers);
    struct journal_options jo = {
        .dir = options->journal_dir,
        .first_segment = 1,
        .segment_bytes = options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES_DEFAULT,
        .sync_interval_ms = options->sync_interval_ms,
        .added = batch_added,
        .bell = &h->bell,
    };
    int r = options->journal_dir ? make_dirs(options->journal_dir, err) : 0;
    if (r == 0)
        r = hub_recover(h, options->journal_dir, &jo.first_segment, err);
    if (r == 0)
        r = journal_open(&jo, &h->journal, err);
    if (r == 0) {
        h->seen_segment = jo.first_segment;
        spill_recovered(h);
        int e = pthread_create(&h->log_thread, NULL, log_main, h);
        if (e)
            r = err_errno(err, e, "cannot start the log thread");
    }
    if (r < 0) {
        drop_recovered(h);
        journal_close(h->journal, false);
        hub_unref(h);
        return r;
    }
    *ret = h;
    return 0;
}

/* Ends every live stream; returns referenced streams that the store may not have yet. */
static struct stream **end_streams(struct hub *h, size_t *ret_count)
{
    lock_enter(&h->table_lock);
    h->is_closing = true;
    struct stream **all = mem_alloc((h->table.count + 1) * sizeof(struct stream *));
    size_t count = 0, at = 0;
    struct span id;
    void *value;
    while (map_each(&h->table, &at, &id, &value))
        all[count++] = stream_ref(value);
    lock_leave(&h->table_lock);
    for (size_t i = 0; i < count; i++)
        stream_close(all[i], "interrupted", NULL);
    *ret_count = count;
    return all;
}

static bool is_stored(struct stream *s)
{
    lock_enter(&s->lock);
    bool stored = s->is_stored;
    lock_leave(&s->lock);
    return stored;
}

static bool wait_stored(struct hub *h, struct stream *s, uint64_t deadline_ms)
{
    while (!is_stored(s)) {
        if (clock_ms() >= deadline_ms)
            return false;
        lock_enter(&h->ops_lock);
        cond_wait_ms(&h->ops_done, &h->ops_lock, CLOSE_LOOK_MS);
        lock_leave(&h->ops_lock);
    }
    return true;
}

/* Also of a stream that could not be stored: it lives on in the journal. */
static void let_go(struct stream *s)
{
    lock_enter(&s->lock);
    bool drops = s->has_live_ref;
    s->has_live_ref = false;
    lock_leave(&s->lock);
    if (drops)
        stream_unref(s);
    stream_unref(s);
}

void hub_close(struct hub *h)
{
    if (!h)
        return;
    size_t count, missing = 0;
    struct stream **all = end_streams(h, &count);
    uint64_t deadline_ms = clock_ms() + CLOSE_PATIENCE_MS;
    for (size_t i = 0; i < count; i++)
        if (!wait_stored(h, all[i], deadline_ms))
            missing++;
    atomic_store(&h->stop_log, true);
    journal_kick(h->journal);
    pthread_join(h->log_thread, NULL);
    lock_enter(&h->ops_lock);
    while (h->ops)
        cond_wait(&h->ops_done, &h->ops_lock);
    lock_leave(&h->ops_lock);
    delete_old_files(h); /* the last answer may have come after the log thread */
    drop_attention(&h->attention);
    drop_attention(&h->delayed);
    for (size_t i = 0; i < count; i++)
        let_go(all[i]);
    mem_free(all);
    if (missing)
        LOG_WARN("stream", "streams could not be stored and stay in the journal for the next start",
                 LOG_U("streams", missing));
    journal_close(take_ptr(h->journal), missing == 0);
    struct list *n;
    while ((n = list_pop(&h->ports)))
        port_unref(container_of(n, struct port, link));
    hub_unref(h);
}

/* ---- finding ---- */

struct find {
    struct work work;
    struct hub *hub; /* ref */
    char tenant[STORE_ID_MAX], id[STORE_ID_MAX];
    void (*found)(void *ctx, struct stream *s, int result);
    void *ctx;
    struct stream *stream; /* ref, or NULL */
    int result;
};

static void find_done(struct work *w)
{
    struct find *f = container_of(w, struct find, work);
    f->found(f->ctx, f->stream, f->result);
    hub_unref(f->hub);
    mem_free(f);
}

static void find_deliver(struct loop_msg *msg)
{
    find_done(container_of(msg, struct work, msg));
}

/* The table's lock is held. */
static int find_live(struct find *f)
{
    struct stream *s = map_get(&f->hub->table, span_str(f->id));
    if (!s || strcmp(s->tenant, f->tenant) != 0)
        return -ERR_NOT_FOUND;
    f->stream = stream_ref(s);
    return 0;
}

static struct stream *stored_stream(struct hub *h, const struct store_stream *row)
{
    struct stream *s = stream_new(h, row->id, row->tenant, row->kind, true);
    s->created_ms = row->created_ms;
    s->closed_ms = row->closed_ms;
    s->last_seq = s->committed_seq = s->spilled_seq = row->last_seq;
    s->is_closed = s->is_stored = true;
    snprintf(s->reason, sizeof s->reason, "%s", row->reason);
    return s;
}

static void find_stored(struct work *w)
{
    struct find *f = container_of(w, struct find, work);
    struct hub *h = f->hub;
    struct store_stream row;
    f->result = store_stream_get(h->store, f->tenant, f->id, &row, NULL);
    if (f->result < 0 && f->result != -ERR_NOT_FOUND)
        f->result = -ERR_IO;
    if (f->result < 0)
        return;
    lock_enter(&h->table_lock);
    f->result = find_live(f); /* somebody else may have been faster */
    if (f->result < 0 && row.is_closed) {
        f->stream = stored_stream(h, &row);
        f->result = 0;
        /* A cache only: when it cannot be entered, the next one reads again. */
        if (map_set(&h->table, span_str(f->id), f->stream, NULL) < 0)
            LOG_DEBUG("stream", "no memory to share a stored stream", LOG_S("stream", f->id));
    }
    lock_leave(&h->table_lock);
}

void hub_find(struct hub *h, struct loop *loop, const char *tenant, const char *id,
              void (*found)(void *ctx, struct stream *s, int result), void *ctx)
{
    struct find *f = mem_alloc(sizeof *f);
    atomic_fetch_add(&h->refs, 1);
    f->hub = h;
    f->found = found;
    f->ctx = ctx;
    f->work.run = find_stored;
    f->work.done = find_done;
    f->work.origin = loop;
    if (!tenant)
        tenant = STORE_TENANT_DEFAULT;
    bool fits = strlen(tenant) < sizeof f->tenant && strlen(id) < sizeof f->id;
    f->result = -ERR_NOT_FOUND;
    if (fits) {
        snprintf(f->tenant, sizeof f->tenant, "%s", tenant);
        snprintf(f->id, sizeof f->id, "%s", id);
        lock_enter(&h->table_lock);
        f->result = find_live(f);
        lock_leave(&h->table_lock);
    }
    if (f->result < 0 && fits) {
        int r = worker_submit(h->workers, WORKER_FAST, &f->work);
        if (r == 0)
            return; /* f is the worker's now */
        f->result = r;
    }
    f->work.msg.deliver = find_deliver;
    loop_post(loop, &f->work.msg);
}

bool hub_is_writable(struct hub *h)
{
    return !journal_has_failed(h->journal);
}
