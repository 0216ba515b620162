#include "base/clock.h"
#include "base/log.h"
#include "stream/stream_priv.h"

#include <stdio.h>

#define BLOCKS_MAX 80 /* in one go: more than LIMIT_STREAM_BACKLOG has, unless they are small */
#define BACKOFF_FIRST_MS 50u
#define BACKOFF_MAX_MS 5000u

/* A transaction under way; holds a reference of the stream. */
struct spill {
    struct stream *stream;
    uint64_t last_seq;
    bool closes;
};

static uint64_t backoff_ms(unsigned failures)
{
    unsigned shift = failures > 7 ? 7 : failures;
    uint64_t ms = (uint64_t)BACKOFF_FIRST_MS << shift;
    return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

bool stream_is_spill_due(const struct stream *s)
{
    if (!s->is_durable || s->is_stored || s->is_spilling)
        return false;
    if (s->is_closed && s->committed_seq == s->last_seq)
        return true;
    return (s->tail.unspilled_bytes > LIMIT_STREAM_TAIL || s->must_spill) &&
           s->committed_seq > s->spilled_seq;
}

/* The chunks that are committed as a whole, as blocks. They are immutable from here and stay until
 * the store has answered. */
static size_t gather(struct stream *s, struct store_block *blocks)
{
    size_t count = 0;
    tail_seal(&s->tail);
    list_each(n, &s->tail.chunks)
    {
        const struct chunk *c = container_of(n, struct chunk, link);
        if (c->is_spilled || !c->len)
            continue;
        if (c->last_seq > s->committed_seq || count == BLOCKS_MAX)
            break;
        blocks[count++] =
            (struct store_block){s->id, c->first_seq, c->last_seq, span_of(c->bytes, c->len)};
    }
    return count;
}

static void fill_row(const struct stream *s, uint64_t last_seq, struct store_stream *row)
{
    *row = (struct store_stream){.last_seq = last_seq, .created_ms = s->created_ms};
    snprintf(row->id, sizeof row->id, "%s", s->id);
    snprintf(row->tenant, sizeof row->tenant, "%s", s->tenant);
    snprintf(row->kind, sizeof row->kind, "%s", s->kind);
    row->is_closed = s->is_closed && last_seq == s->last_seq;
    if (row->is_closed) {
        snprintf(row->reason, sizeof row->reason, "%s", s->reason);
        row->closed_ms = s->closed_ms;
    }
}

/* The stream's lock is held. */
static void mark_spilled(struct stream *s, const struct spill *op)
{
    uint64_t oldest = 0;
    list_each(n, &s->tail.chunks)
    {
        struct chunk *c = container_of(n, struct chunk, link);
        if (!c->is_spilled && c->len && c->last_seq <= op->last_seq) {
            c->is_spilled = true;
            s->tail.unspilled_bytes -= c->len;
        }
        if (!c->is_spilled && c->len && !oldest)
            oldest = c->segment;
    }
    s->spilled_seq = op->last_seq;
    s->spill_failures = 0;
    s->spill_retry_ms = 0;
    s->is_stored = op->closes;
    journal_owner_moved(s->hub->journal, &s->owner, oldest);
    if (!oldest || oldest >= journal_segment(s->hub->journal))
        s->must_spill = false;
    stream_trim(s);
}

static void failed(struct stream *s, int result)
{
    if (s->spill_failures == 0 && result != -ERR_LIMIT)
        LOG_WARN("stream",
                 "events could not be stored; they stay in the journal and are tried again",
                 LOG_S("stream", s->id), LOG_S("error", err_name(result)));
    metric_add(&stream_metrics[M_SPILL_ERRORS], 1);
    s->spill_retry_ms = clock_ms() + backoff_ms(s->spill_failures);
    s->spill_failures++;
}

static void op_began(struct hub *h)
{
    atomic_fetch_add(&h->refs, 1); /* the hub must outlive op_ended's lock */
    lock_enter(&h->ops_lock);
    h->ops++;
    lock_leave(&h->ops_lock);
}

static void op_ended(struct hub *h)
{
    lock_enter(&h->ops_lock);
    h->ops--;
    cond_broadcast(&h->ops_done);
    lock_leave(&h->ops_lock);
    hub_unref(h);
}

/* On the store's writer thread. */
static void on_spilled(void *ctx, int result)
{
    struct spill *op = ctx;
    struct stream *s = op->stream;
    struct hub *h = s->hub;
    lock_enter(&s->lock);
    s->is_spilling = false;
    if (result < 0) {
        failed(s, result);
    } else {
        metric_add(&stream_metrics[M_SPILLS], 1);
        mark_spilled(s, op);
    }
    bool drops = s->is_stored && s->has_live_ref;
    if (drops)
        s->has_live_ref = false;
    bool is_due = stream_is_spill_due(s), was_recovered = drops && s->is_recovered;
    lock_leave(&s->lock);
    if (is_due)
        hub_attention(h, s);
    if (was_recovered && atomic_fetch_sub(&h->recovering, 1) == 1)
        journal_kick(h->journal); /* old files may go */
    if (drops)
        stream_unref(s);
    stream_unref(s);
    mem_free(op);
    op_ended(h);
}

static int post(struct stream *s, const struct store_stream *row, const struct store_block *blocks,
                size_t count)
{
    struct hub *h = s->hub;
    struct spill *op = mem_alloc(sizeof *op);
    *op = (struct spill){stream_ref(s), row->last_seq, row->is_closed};
    op_began(h);
    int r = store_post_streams(h->store, row, 1, blocks, count, on_spilled, op);
    if (r == 0)
        return 0;
    op_ended(h);
    stream_unref(s); /* the caller has another */
    mem_free(op);
    return r;
}

uint64_t stream_spill(struct stream *s, uint64_t now_ms)
{
    struct store_block blocks[BLOCKS_MAX];
    struct store_stream row;
    uint64_t again = UINT64_MAX;
    size_t count = 0;
    lock_enter(&s->lock);
    bool is_due = stream_is_spill_due(s);
    if (is_due && s->spill_retry_ms > now_ms) {
        again = s->spill_retry_ms - now_ms;
        is_due = false;
    }
    if (is_due)
        count = gather(s, blocks);
    if (count) {
        fill_row(s, blocks[count - 1].last_seq, &row);
        s->is_spilling = true;
    }
    lock_leave(&s->lock);
    if (!count) /* a chunk is not committed as a whole yet: its commit calls again */
        return again;
    int r = post(s, &row, blocks, count); /* without our locks: the store may answer at once */
    if (r == 0)
        return UINT64_MAX;
    lock_enter(&s->lock);
    s->is_spilling = false;
    failed(s, r);
    again = s->spill_retry_ms > now_ms ? s->spill_retry_ms - now_ms : 1;
    lock_leave(&s->lock);
    return again;
}
