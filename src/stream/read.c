#include "stream/stream_priv.h"

struct stream_event record_event(const struct record *r)
{
    return (struct stream_event){r->seq, (enum stream_event_type)r->type, r->payload};
}

int block_read(struct stream *s, uint64_t seq, struct block **ret, struct err *err)
{
    struct block *b = mem_alloc(sizeof *b);
    int r = store_block_get(s->hub->store, s->id, seq, &b->bytes, &b->len, &b->first_seq, err);
    if (r == 0 && (!record_check_run(span_of(b->bytes, b->len), b->first_seq, &b->last_seq) ||
                   seq < b->first_seq || seq > b->last_seq))
        r = err_set(err, ERR_CORRUPT,
                    "the stored events of stream '%s' around number %llu are damaged", s->id,
                    (unsigned long long)seq);
    if (r < 0) {
        block_free(b);
        return r;
    }
    metric_add(&stream_metrics[M_BLOCK_READS], 1);
    *ret = b;
    return 0;
}

void block_free(struct block *b)
{
    if (!b)
        return;
    mem_free(b->bytes);
    mem_free(b);
}

bool block_find(struct block *b, uint64_t seq, struct span *ret)
{
    if (seq < b->first_seq || seq > b->last_seq)
        return false;
    struct span rest = span_of(b->bytes, b->len);
    uint64_t at = b->first_seq;
    if (b->mark.next_seq > at && b->mark.next_seq <= seq) {
        rest = span_skip(rest, b->mark.offset);
        at = b->mark.next_seq;
    }
    struct record r;
    for (; at < seq; at++)
        BUG_ON(!record_next_checked(&rest, &r));
    b->mark = (struct tail_mark){b->first_seq, seq, (size_t)(rest.ptr - b->bytes)};
    *ret = rest;
    return true;
}

/* ---- stream_read ---- */

enum fetched { FETCHED, FETCH_END, FETCH_STORE, FETCH_NO_MEMORY };

/*
 * A copy of committed records from `seq`, so that the reader is called without the lock. FETCH_END:
 * nothing more (now, or for good when waiting).
 */
static enum fetched fetch(struct stream *s, uint64_t seq, bool wait, char **ret, size_t *ret_len,
                          uint64_t *ret_committed)
{
    enum fetched result = FETCH_END;
    lock_enter(&s->lock);
    while (wait && s->committed_seq < seq && !(s->is_closed && s->committed_seq == s->last_seq)) {
        s->readers_waiting++;
        cond_wait(&s->advanced, &s->lock);
        s->readers_waiting--;
    }
    struct span rest;
    *ret_committed = s->committed_seq;
    if (seq <= s->committed_seq) {
        result = FETCH_STORE;
        if (tail_find(&s->tail, seq, NULL, &rest)) {
            *ret = mem_try_strndup(rest.ptr, rest.len);
            *ret_len = rest.len;
            result = *ret ? FETCHED : FETCH_NO_MEMORY;
        }
    }
    lock_leave(&s->lock);
    return result;
}

static int give(struct span records, uint64_t *seq, uint64_t committed,
                int (*each)(void *ctx, const struct stream_event *event), void *ctx)
{
    struct record r;
    while (*seq <= committed && record_next_checked(&records, &r)) {
        struct stream_event e = record_event(&r);
        int result = each(ctx, &e);
        if (result < 0)
            return result;
        *seq = e.seq + 1;
    }
    return 0;
}

int stream_read(struct stream *s, uint64_t after, bool wait,
                int (*each)(void *ctx, const struct stream_event *event), void *ctx,
                struct err *err)
{
    uint64_t seq = after + 1, committed;
    for (;;) {
        char *copy CLEANUP(mem_freep) = NULL;
        size_t len = 0;
        int r = 0;
        switch (fetch(s, seq, wait, &copy, &len, &committed)) {
        case FETCH_END:
            return 0;
        case FETCH_NO_MEMORY:
            return err_set(err, ERR_NO_MEMORY, "out of memory while reading stream '%s'", s->id);
        case FETCHED:
            r = give(span_of(copy, len), &seq, committed, each, ctx);
            break;
        case FETCH_STORE: {
            if (!s->is_durable)
                return err_set(err, ERR_NOT_FOUND,
                               "event %llu of stream '%s' is no longer in memory",
                               (unsigned long long)seq, s->id);
            struct block *b = NULL;
            struct span rest;
            r = block_read(s, seq, &b, err);
            if (r == 0 && block_find(b, seq, &rest))
                r = give(rest, &seq, committed, each, ctx);
            block_free(b);
            break;
        }
        }
        if (r < 0)
            return r;
    }
}
