#include "stream/stream_priv.h"

/*
 *   IDLE --start--> ACTIVE <--wake-- WAIT_EVENT, WAIT_READ
 *                     |  '--peek finds nothing--^
 *                     '--peek--> ENDED, FAILED           stop: from any state to IDLE
 *
 * While bytes are at hand (own, then held) next_seq is what follows them: for held segments that is
 * known only once the last is left, so next_seq is set then.
 */
enum follower_state { IDLE, ACTIVE, WAIT_EVENT, WAIT_READ, ENDED, FAILED };

enum step { STEP_AGAIN, STEP_WAIT, STEP_END, STEP_FAILED };

#define OWN_MAX (2 * LIMIT_FRAME) /* text merged, and one event that is as large as can be */

static void set_state(struct follower *f, enum follower_state state)
{
    struct list *to = state == WAIT_EVENT  ? &f->feed->waiting
                      : state == WAIT_READ ? &f->feed->reading
                                           : &f->feed->followers;
    list_remove(&f->link);
    list_append(to, &f->link);
    f->state = (int)state;
}

void follower_start(struct follower *f, struct loop *loop, struct stream *s,
                    const struct stream_codec *codec, uint64_t after,
                    void (*wake)(struct follower *f))
{
    *f = (struct follower){.loop = loop, .wake = wake};
    lock_enter(&s->lock);
    uint64_t last = s->is_closed ? s->last_seq : s->committed_seq + 1;
    lock_leave(&s->lock);
    f->next_seq = after < last ? after + 1 : last;
    buf_init(&f->own, OWN_MAX);
    list_init(&f->link);
    f->feed = feed_get(s, loop, codec, f->next_seq);
    set_state(f, ACTIVE);
    metric_add(&stream_metrics[M_FOLLOWERS], 1);
}

/* ---- pieces ---- */

static void hold(struct follower *f, struct segment *s)
{
    s->refs++;
    f->held[f->held_count++] = s;
}

/* Leaves the segments that have been read to their end. */
static void settle(struct follower *f)
{
    while (f->held_count && f->offset == f->held[0]->len) {
        f->next_seq = f->held[0]->last_seq + 1;
        f->offset = 0;
        segment_unref(f->held[0]);
        f->held_count--;
        for (int i = 0; i < f->held_count; i++)
            f->held[i] = f->held[i + 1];
    }
}

/* Enters the shared segments when next_seq is in them. */
static bool attach(struct follower *f)
{
    struct segment *s = feed_segment(f->feed, f->next_seq);
    if (!s)
        return false;
    hold(f, s);
    f->offset = s->starts[f->next_seq - s->first_seq];
    return true;
}

static int gather(struct follower *f, struct iovec *iov, int max)
{
    int n = 0;
    if (n < max && f->own_offset < f->own.len)
        iov[n++] = (struct iovec){f->own.ptr + f->own_offset, f->own.len - f->own_offset};
    settle(f);
    if (!f->held_count && attach(f))
        settle(f);
    size_t offset = f->offset;
    for (int i = 0; n < max && i < f->held_count; i++) {
        struct segment *s = f->held[i];
        if (offset < s->len)
            iov[n++] = (struct iovec){s->bytes + offset, s->len - offset};
        offset = 0;
        struct segment *next = NULL;
        if (n < max && i + 1 == f->held_count && f->held_count < FOLLOWER_SEGMENTS_COUNT)
            next = feed_segment(f->feed, s->last_seq + 1);
        if (next)
            hold(f, next);
    }
    return n;
}

void follower_consume(struct follower *f, size_t bytes)
{
    size_t own = f->own.len - f->own_offset;
    if (own && bytes >= own) {
        bytes -= own;
        buf_done(&f->own);
        f->own_offset = 0;
    } else if (own) {
        f->own_offset += bytes;
        bytes = 0;
    }
    while (bytes) {
        BUG_ON(!f->held_count); /* more than peek returned */
        size_t rest = f->held[0]->len - f->offset, n = bytes < rest ? bytes : rest;
        f->offset += n;
        bytes -= n;
        settle(f);
    }
    while (f->held_count > 1) /* a slow reader keeps one segment, not all that it might have sent */
        segment_unref(f->held[--f->held_count]);
}

/* ---- getting further ---- */

/*
 * True: the next events are for all, encode them into the shared segments. False: this reader has
 * fallen behind, or looks at a part that the others are not at.
 */
static bool is_with_others(const struct follower *f)
{
    struct feed *feed = f->feed;
    if (f->next_seq < feed->next_seq)
        return false;
    struct stream *s = feed->stream;
    lock_enter(&s->lock);
    bool is_closed = s->is_closed, is_far = false;
    uint64_t edge = s->committed_seq + 1;
    if (!is_closed && edge > feed->next_seq)
        is_far = tail_bytes_from(&s->tail, feed->next_seq) > LIMIT_MERGED_FRAME;
    lock_leave(&s->lock);
    if (is_closed)
        return f->next_seq == feed->next_seq;
    if (is_far && f->next_seq > feed->next_seq)
        feed_jump(feed, f->next_seq); /* the others are far behind: sharing begins anew here */
    else if (is_far && feed->codec->merge)
        feed_jump(feed, edge); /* nobody keeps up: sharing begins anew where the stream is now */
    return f->next_seq >= feed->next_seq;
}

static enum step fail(struct follower *f, int error)
{
    buf_done(&f->own);
    f->own_offset = 0;
    f->error = error;
    set_state(f, FAILED);
    return STEP_FAILED;
}

/* Called with nothing at hand. */
static enum step advance(struct follower *f)
{
    struct feed *feed = f->feed;
    if (feed->done_seq && f->next_seq > feed->done_seq) {
        set_state(f, ENDED);
        return STEP_END;
    }
    if (feed->is_at_edge &&
        f->next_seq == feed->next_seq) { /* with many readers: one has looked for all */
        set_state(f, WAIT_EVENT);
        return STEP_WAIT;
    }
    enum feed_result r =
        is_with_others(f) ? feed_extend(feed) : feed_merge(feed, &f->next_seq, &f->own);
    switch (r) {
    case FEED_MORE:
        return STEP_AGAIN;
    case FEED_NOTHING:
        set_state(f, WAIT_EVENT);
        return STEP_WAIT;
    case FEED_NEEDS_BLOCK:
        set_state(f, WAIT_READ);
        feed_request(feed, f->next_seq);
        return STEP_WAIT;
    case FEED_NO_MEMORY:
        return fail(f, -ERR_NO_MEMORY);
    case FEED_GONE:
        break;
    }
    return fail(f, -ERR_NOT_FOUND);
}

enum follower_result follower_peek(struct follower *f, struct iovec *iov, int *count)
{
    int max = *count;
    *count = 0;
    BUG_ON(f->state == IDLE || max < 1);
    if (f->state == WAIT_EVENT || f->state == WAIT_READ)
        set_state(f, ACTIVE);
    while (f->state != FAILED) {
        *count = gather(f, iov, max);
        if (*count)
            return FOLLOWER_READY;
        switch (advance(f)) {
        case STEP_AGAIN:
            break;
        case STEP_WAIT:
            return FOLLOWER_WAIT;
        case STEP_END:
            return FOLLOWER_END;
        case STEP_FAILED:
            return FOLLOWER_FAILED;
        }
    }
    return FOLLOWER_FAILED;
}

bool follower_read_done(struct follower *f, uint64_t seq, int result)
{
    /* In no list now, and an error of a block that others wanted is none of ours: ask for our own.
     */
    if (result < 0 && f->next_seq == seq) {
        (void)fail(f, result == -ERR_NOT_FOUND ? -ERR_CORRUPT : result);
    } else {
        set_state(f, ACTIVE);
        if (advance(f) == STEP_WAIT)
            return false;
    }
    list_remove(&f->link); /* the caller's list next */
    return true;
}

void follower_wake(struct follower *f)
{
    set_state(f, f->state == FAILED || f->state == ENDED ? (enum follower_state)f->state : ACTIVE);
    f->wake(f);
}

const char *follower_reason(const struct follower *f)
{
    return f->feed->stream->reason;
}

int follower_error(const struct follower *f)
{
    return f->error;
}

void follower_stop(struct follower *f)
{
    if (!f->feed)
        return;
    list_remove(&f->link);
    while (f->held_count)
        segment_unref(f->held[--f->held_count]);
    buf_done(&f->own);
    feed_release(take_ptr(f->feed));
    f->state = IDLE;
    metric_add(&stream_metrics[M_FOLLOWERS], -1);
}
