#include "stream/stream.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "stream/stream_priv.h"

#include <stdio.h>

#define ID_CHARS 26

const char *stream_event_name(enum stream_event_type type)
{
    static const char *const names[] = {
        [STREAM_STATUS] = "status", [STREAM_TOKEN] = "token", [STREAM_CITATION] = "citation",
        [STREAM_USAGE] = "usage",   [STREAM_ERROR] = "error", [STREAM_DONE] = "done",
        [STREAM_RESET] = "reset",
    };
    BUG_ON((size_t)type >= ARRAY_LEN(names) || !names[type]);
    return names[type];
}

struct stream *stream_new(struct hub *h, const char *id, const char *tenant, const char *kind,
                          bool is_durable)
{
    struct stream *s = mem_alloc(sizeof *s);
    atomic_fetch_add(&h->refs, 1);
    s->hub = h;
    atomic_init(&s->refs, 1);
    s->is_durable = is_durable;
    snprintf(s->id, sizeof s->id, "%s", id);
    snprintf(s->tenant, sizeof s->tenant, "%s", tenant);
    snprintf(s->kind, sizeof s->kind, "%s", kind);
    lock_init(&s->lock);
    cond_init(&s->advanced);
    tail_init(&s->tail);
    list_init(&s->feeds);
    list_init(&s->attention);
    return s;
}

static void stream_free(struct stream *s)
{
    struct hub *h = s->hub;
    tail_done(&s->tail);
    cond_done(&s->advanced);
    lock_done(&s->lock);
    mem_free(s);
    hub_unref(h);
}

void stream_new_id(char ret[STORE_ID_MAX])
{
    memcpy(ret, "st_", 3);
    random_id(ret + 3, ID_CHARS - 3);
}

int stream_create(struct hub *h, const struct stream_new *what, struct stream **ret,
                  struct err *err)
{
    const char *tenant = what->tenant ? what->tenant : STORE_TENANT_DEFAULT;
    const char *kind = what->kind ? what->kind : "";
    if (strlen(tenant) >= STORE_ID_MAX || strlen(kind) >= sizeof((struct stream *)0)->kind)
        return err_set(err, ERR_INVALID, "tenant '%.64s' or kind '%.32s' of a stream is too long",
                       tenant, kind);
    char id[STORE_ID_MAX];
    stream_new_id(id);
    if (what->id && strlen(what->id) >= STORE_ID_MAX)
        return err_set(err, ERR_INVALID, "a stream's id is too long");
    if (what->id)
        memcpy(id, what->id, strlen(what->id) + 1);
    struct stream *s = stream_new(h, id, tenant, kind, what->is_durable);
    s->created_ms = clock_wall_ms();
    s->has_live_ref = true;
    atomic_init(&s->refs, 2);
    atomic_init(&s->producers, 1);
    int r = -ERR_LIMIT;
    lock_enter(&h->table_lock);
    s->key = h->next_key++;
    if (h->is_closing)
        r = -ERR_CANCELLED;
    else if (map_get(&h->table, span_str(id)))
        r = -ERR_EXISTS;
    else if (h->table.count < LIMIT_STREAMS_COUNT)
        r = map_set(&h->table, span_str(id), s, NULL);
    lock_leave(&h->table_lock);
    if (r < 0) {
        stream_free(s);
        if (r == -ERR_LIMIT)
            return err_set(err, ERR_LIMIT, "%d streams are in memory already", LIMIT_STREAMS_COUNT);
        return err_set(err, (enum err_code) - r, "cannot create a stream: %s",
                       r == -ERR_CANCELLED ? "the server is ending"
                       : r == -ERR_EXISTS  ? "its id is taken"
                                           : "out of memory");
    }
    metric_add(&stream_metrics[M_LIVE], 1);
    *ret = s;
    return 0;
}

const char *stream_id(const struct stream *s)
{
    return s->id;
}

const char *stream_tenant(const struct stream *s)
{
    return s->tenant;
}

struct stream *stream_ref(struct stream *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

struct stream *stream_ref_producer(struct stream *s)
{
    unsigned before = atomic_fetch_add(&s->producers, 1);
    BUG_ON(before == 0); /* whoever comes after the last one may find the stream ended */
    return stream_ref(s);
}

void stream_unref_producer(struct stream *s)
{
    if (!s)
        return;
    unsigned before = atomic_fetch_sub(&s->producers, 1);
    BUG_ON(before == 0);
    if (before == 1 && !stream_is_closed(s)) {
        LOG_ERROR("stream", "abandoned by what wrote it", LOG_S("stream", s->id),
                  LOG_S("kind", s->kind));
        stream_close(s, "error", NULL);
    }
    stream_unref(s);
}

void stream_unref(struct stream *s)
{
    if (!s)
        return;
    unsigned refs = atomic_load(&s->refs);
    while (refs > 2)
        if (atomic_compare_exchange_weak(&s->refs, &refs, refs - 1))
            return;
    struct hub *h = s->hub;
    lock_enter(&h->table_lock); /* whoever finds the stream takes its reference under this lock */
    bool is_last = atomic_fetch_sub(&s->refs, 1) == 1;
    if (is_last && map_get(&h->table, span_str(s->id)) == s)
        (void)map_remove(&h->table, span_str(s->id)); /* the value is s */
    lock_leave(&h->table_lock);
    if (is_last)
        stream_free(s);
}

void stream_open_record(const struct stream *s, struct record_open *ret)
{
    *ret = (struct record_open){span_str(s->id), span_str(s->tenant), span_str(s->kind),
                                s->created_ms};
}

/* ---- appending; the stream's lock is held ---- */

void stream_notify(struct stream *s)
{
    list_each(n, &s->feeds)
    {
        struct feed *f = container_of(n, struct feed, stream_link);
        port_mark(f->port, f, !s->is_durable);
    }
    if (s->readers_waiting)
        cond_broadcast(&s->advanced);
}

void stream_trim(struct stream *s)
{
    if (!s->is_durable)
        tail_forget(&s->tail, LIMIT_STREAM_TAIL);
    else if (s->is_stored && list_is_empty(&s->feeds))
        tail_trim(&s->tail, 0);
    else
        tail_trim(&s->tail, LIMIT_STREAM_KEEP);
}

static void committed(struct stream *s, uint64_t seq)
{
    if (s->is_done_unlogged && seq + 1 == s->last_seq)
        seq++;
    if (seq <= s->committed_seq)
        return;
    metric_add(&stream_metrics[M_EVENTS], (int64_t)(seq - s->committed_seq));
    metric_add(&stream_metrics[M_EVENT_BYTES], (int64_t)s->uncounted_bytes);
    s->uncounted_bytes = 0;
    s->committed_seq = seq;
    stream_notify(s);
}

/* A record into the tail and the journal; 0 or as stream_append. */
static int put(struct stream *s, const struct record *r)
{
    size_t size = record_size(r);
    char *at = tail_reserve(&s->tail, r->seq, size);
    if (!at)
        return -ERR_NO_MEMORY;
    record_put(at, r);
    uint64_t segment = 0;
    if (s->is_durable) {
        struct record_open open;
        stream_open_record(s, &open);
        int result = journal_put(s->hub->journal, &s->owner, s->key, &open, span_of(at, size),
                                 r->seq, &segment);
        if (result < 0)
            return result;
    }
    tail_added(&s->tail, r->seq, size, segment);
    s->last_seq = r->seq;
    s->uncounted_bytes += r->payload.len;
    return 0;
}

/* The done event without the journal: it is small, so this cannot fail. It becomes visible after
 * the event before it. */
static void put_done_unlogged(struct stream *s, const char *reason)
{
    char payload[STREAM_DONE_SMALL_MAX];
    struct record r = {.type = STREAM_DONE, .key = s->key, .seq = s->last_seq + 1};
    r.payload = span_of(payload, stream_done_small(payload, reason));
    size_t size = record_size(&r);
    char *at = tail_reserve(&s->tail, r.seq, size);
    while (
        !at) { /* memory is gone, or a test says so: the smallest chunk of all is small and fixed */
        tail_seal(&s->tail);
        struct chunk *c = mem_alloc(sizeof *c);
        c->bytes = mem_alloc(size);
        c->cap = size;
        c->first_seq = r.seq;
        c->last_seq = r.seq - 1;
        list_append(&s->tail.chunks, &c->link);
        at = c->bytes;
    }
    record_put(at, &r);
    /* Not in the journal, so it holds no file back. */
    tail_added(&s->tail, r.seq, size, 0);
    s->last_seq = r.seq;
    s->is_done_unlogged = true;
}

static void set_closed(struct stream *s, const char *reason)
{
    s->is_closed = true;
    s->closed_ms = clock_wall_ms();
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    metric_add(&stream_metrics[M_LIVE], -1);
    if (s->is_durable)
        return;
    s->is_stored = true;
}

/*
 * The journal has lost the events after the committed ones: nobody has seen them, so they are taken
 * back and the stream ends with what is safe.
 */
static void break_off(struct stream *s)
{
    if (s->is_broken || (s->is_closed && s->committed_seq == s->last_seq))
        return;
    s->is_broken = true;
    tail_cut(&s->tail, s->committed_seq + 1);
    s->last_seq = s->committed_seq;
    if (s->is_closed) /* its done event was lost with the rest */
        metric_add(&stream_metrics[M_LIVE], 1);
    put_done_unlogged(s, "error");
    set_closed(s, "error");
    committed(s, s->last_seq);
    hub_attention(s->hub, s);
}

static int append_locked(struct stream *s, enum stream_event_type type, struct span payload)
{
    if (s->is_closed)
        return -ERR_CANCELLED;
    if (s->is_durable && s->tail.unspilled_bytes &&
        s->tail.unspilled_bytes + payload.len > LIMIT_STREAM_BACKLOG)
        return -ERR_LIMIT;
    struct record r = {
        .type = (uint8_t)type, .key = s->key, .seq = s->last_seq + 1, .payload = payload};
    int result = put(s, &r);
    if (result == -ERR_IO)
        break_off(s);
    if (result == 0 && !s->is_durable) {
        committed(s, s->last_seq);
        stream_trim(s);
    }
    return result;
}

int stream_append(struct stream *s, enum stream_event_type type, struct span payload)
{
    if (payload.len > LIMIT_STREAM_EVENT)
        return -ERR_TOO_LARGE;
    if (type < STREAM_STATUS || type > STREAM_RESET || type == STREAM_DONE)
        return -ERR_INVALID;
    lock_enter(&s->lock);
    int r = append_locked(s, type, payload);
    lock_leave(&s->lock);
    if (s->is_durable)
        hub_wake_log(s->hub);
    return r;
}

size_t stream_done_small(char *ret, const char *reason)
{
    int n = snprintf(ret, STREAM_DONE_SMALL_MAX, "{\"reason\":\"%.31s\"}", reason);
    return (size_t)n;
}

char *stream_done_payload(const char *reason, const char *extra, size_t *ret_len)
{
    struct buf b = BUF_INIT(LIMIT_STREAM_EVENT);
    buf_printf(&b, "{\"reason\":\"%.31s\"", reason);
    if (extra && *extra) {
        buf_putc(&b, ',');
        buf_puts(&b, extra);
    }
    buf_putc(&b, '}');
    *ret_len = b.len;
    return buf_detach(&b);
}

/* Returns true when the hub's reference is to be given up (after the lock). */
static bool close_locked(struct stream *s, const char *reason, struct span payload)
{
    if (s->is_closed)
        return false;
    struct record r = {
        .type = STREAM_DONE, .key = s->key, .seq = s->last_seq + 1, .payload = payload};
    int result = payload.len ? put(s, &r) : -ERR_NO_MEMORY;
    set_closed(s, reason);
    if (result < 0) /* the end must be told whatever happens; what is lost is `extra` */
        put_done_unlogged(s, reason);
    if (!s->is_durable)
        committed(s, s->last_seq);
    else if (s->is_done_unlogged)
        committed(s, s->committed_seq);
    if (s->is_done_unlogged)
        hub_attention(s->hub, s);
    bool drops = s->is_stored && s->has_live_ref;
    if (drops)
        s->has_live_ref = false;
    return drops;
}

void stream_close(struct stream *s, const char *reason, const char *extra)
{
    size_t len = 0;
    char *payload CLEANUP(mem_freep) = stream_done_payload(reason, extra, &len);
    lock_enter(&s->lock);
    bool drops = close_locked(s, reason, span_of(payload, payload ? len : 0));
    lock_leave(&s->lock);
    if (s->is_durable)
        hub_wake_log(s->hub);
    if (drops)
        stream_unref(s);
}

void stream_batch_written(struct stream *s, uint64_t seq, int result)
{
    lock_enter(&s->lock);
    if (result < 0)
        break_off(s);
    else if (!s->is_broken)
        committed(s, seq);
    bool is_due = stream_is_spill_due(s);
    lock_leave(&s->lock);
    if (is_due)
        hub_attention(s->hub, s);
}

bool stream_is_closed(const struct stream *s)
{
    struct lock *l = &((struct stream *)(uintptr_t)s)->lock;
    lock_enter(l);
    bool closed = s->is_closed;
    lock_leave(l);
    return closed;
}

uint64_t stream_last_seq(const struct stream *s)
{
    struct lock *l = &((struct stream *)(uintptr_t)s)->lock;
    lock_enter(l);
    uint64_t seq = s->last_seq;
    lock_leave(l);
    return seq;
}

void stream_request_stop(struct stream *s)
{
    atomic_store(&s->stop, true);
}

const _Atomic bool *stream_stop_flag(const struct stream *s)
{
    return &s->stop;
}
