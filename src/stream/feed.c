#include "stream/stream_priv.h"

#define SEGMENT_FIRST_BYTES 2048u
#define STARTS_FIRST_COUNT 32u
#define READ_AGAIN_MS 100

/* A block being fetched from the store. Owns itself from submit to done. */
struct feed_read {
    struct work work;
    struct feed *feed;     /* NULL when it was released meanwhile; the loop's */
    struct stream *stream; /* ref */
    uint64_t seq;
    struct block *block;
    int result;
};

/* ---- segments ---- */

void segment_unref(struct segment *s)
{
    if (--s->refs)
        return;
    mem_free(s->starts);
    mem_free(s);
}

static void drop_segment(struct feed *f, struct segment *s)
{
    f->segment_bytes -= s->len;
    list_remove(&s->link);
    segment_unref(s);
}

static struct segment *first_segment(const struct feed *f)
{
    return list_is_empty(&f->segments) ? NULL
                                       : container_of(f->segments.next, struct segment, link);
}

static struct segment *last_segment(const struct feed *f)
{
    return list_is_empty(&f->segments) ? NULL
                                       : container_of(f->segments.prev, struct segment, link);
}

struct segment *feed_segment(const struct feed *f, uint64_t seq)
{
    if (seq >= f->next_seq)
        return NULL;
    for (struct list *n = f->segments.prev; n != &f->segments; n = n->prev) {
        struct segment *s = container_of(n, struct segment, link);
        if (s->first_seq <= seq)
            return s;
    }
    return NULL;
}

static struct segment *new_segment(struct feed *f, size_t cap)
{
    struct segment *s = mem_try(sizeof *s + cap);
    uint32_t *starts = s ? mem_try_array(STARTS_FIRST_COUNT, sizeof *starts) : NULL;
    if (!starts) {
        mem_free(s);
        return NULL;
    }
    s->refs = 1;
    s->cap = cap;
    s->starts = starts;
    s->starts_cap = STARTS_FIRST_COUNT;
    s->first_seq = f->next_seq;
    s->last_seq = f->next_seq - 1;
    list_append(&f->segments, &s->link);
    return s;
}

/* Small at first, since most streams are; never grown in place, since pieces of it are on their way
 * to sockets. */
static struct segment *segment_with_room(struct feed *f, size_t len)
{
    struct segment *s = last_segment(f);
    size_t count = s ? (size_t)(s->last_seq - s->first_seq + 1) : 0;
    if (!s || s->len + len > s->cap || count >= LIMIT_SEGMENT_EVENTS_COUNT) {
        size_t cap = s                             ? s->cap * 2
                     : f->done_seq || f->is_replay ? LIMIT_FRAME_SEGMENT
                                                   : SEGMENT_FIRST_BYTES;
        if (cap > LIMIT_FRAME_SEGMENT)
            cap = LIMIT_FRAME_SEGMENT;
        return new_segment(f, cap > len ? cap : len);
    }
    if (count == s->starts_cap) {
        uint32_t *p = mem_try_realloc(s->starts, count * 2 * sizeof *p);
        if (!p)
            return NULL;
        s->starts = p;
        s->starts_cap = count * 2;
    }
    return s;
}

static bool add_frame(struct feed *f, struct span frame)
{
    struct segment *s = segment_with_room(f, frame.len);
    if (!s)
        return false;
    s->starts[f->next_seq - s->first_seq] = (uint32_t)s->len;
    if (frame.len)
        memcpy(s->bytes + s->len, frame.ptr, frame.len);
    s->len += frame.len;
    s->last_seq = f->next_seq++;
    f->segment_bytes += frame.len;
    return true;
}

/* Readers inside a dropped segment keep it until they have left it; one that is further behind gets
 * merged frames. */
static void trim_segments(struct feed *f)
{
    size_t max = f->is_replay ? LIMIT_FEED_REPLAY_BYTES : LIMIT_FEED_BYTES;
    struct segment *s;
    while ((s = first_segment(f)) && s != last_segment(f)) {
        bool is_passed =
            !f->is_replay && s->refs == 1 && f->segment_bytes - s->len >= LIMIT_FRAME_SEGMENT;
        if (!is_passed && f->segment_bytes <= max)
            return;
        drop_segment(f, s);
    }
}

void feed_jump(struct feed *f, uint64_t seq)
{
    struct segment *s;
    while ((s = first_segment(f)))
        drop_segment(f, s);
    f->next_seq = seq;
    f->is_at_edge = false;
}

/* ---- encoding ---- */

/* Shared frames of the records, up to number `last` and about one segment. */
static enum feed_result encode_run(struct feed *f, struct span records, uint64_t last,
                                   size_t *ret_used)
{
    struct buf *frame = &f->port->frame;
    struct span rest = records;
    struct record r;
    size_t bytes = 0, count = 0;
    enum feed_result result = FEED_MORE;
    *ret_used = 0;
    while (f->next_seq <= last && bytes < LIMIT_FRAME_SEGMENT &&
           count < LIMIT_SEGMENT_EVENTS_COUNT && record_next_checked(&rest, &r)) {
        struct stream_event e = record_event(&r);
        buf_clear(frame);
        f->codec->encode(&e, frame);
        if (buf_failed(frame) || !add_frame(f, buf_span(frame))) {
            result = count ? FEED_MORE : FEED_NO_MEMORY;
            break;
        }
        if (r.type == STREAM_DONE)
            f->done_seq = r.seq;
        bytes += frame->len;
        count++;
        *ret_used = (size_t)(rest.ptr - records.ptr);
    }
    if (frame->cap > 2 * LIMIT_FRAME_SEGMENT)
        buf_done(frame);
    return result;
}

enum feed_result feed_extend(struct feed *f)
{
    struct stream *s = f->stream;
    enum feed_result result = FEED_NOTHING;
    struct span records;
    size_t used;
    lock_enter(&s->lock);
    f->is_replay = s->is_closed;
    if (f->next_seq <= s->committed_seq) {
        result = s->is_durable ? FEED_NEEDS_BLOCK : FEED_GONE;
        if (tail_find(&s->tail, f->next_seq, &f->mark, &records)) {
            result = encode_run(f, records, s->committed_seq, &used);
            f->mark.next_seq = f->next_seq;
            f->mark.offset += used;
        }
    }
    f->is_at_edge =
        result == FEED_NOTHING || (result == FEED_MORE && f->next_seq > s->committed_seq);
    lock_leave(&s->lock);
    if (result == FEED_NEEDS_BLOCK && f->block && block_find(f->block, f->next_seq, &records)) {
        result = encode_run(f, records, f->block->last_seq, &used);
        f->block->mark.next_seq = f->next_seq;
        f->block->mark.offset += used;
    }
    trim_segments(f);
    return result;
}

/* ---- merging for one reader ---- */

struct merge {
    struct feed *feed;
    struct buf *own, *text;
    uint64_t text_seq; /* of the last part */
    size_t parts;
};

static void flush_text(struct merge *m)
{
    if (!m->parts)
        return;
    struct stream_event e = {m->text_seq, STREAM_TOKEN, buf_span(m->text)};
    m->feed->codec->encode(&e, m->own);
    if (m->parts > 1)
        metric_add(&stream_metrics[M_MERGED_FRAMES], 1);
    m->parts = 0;
    buf_clear(m->text);
}

/* False: the text is full, the event comes next time. */
static bool merge_event(struct merge *m, const struct record *r)
{
    struct stream_event e = record_event(r);
    if (r->type != STREAM_TOKEN || !m->feed->codec->merge) {
        flush_text(m);
        m->feed->codec->encode(&e, m->own);
        if (r->type == STREAM_DONE)
            m->feed->done_seq = r->seq;
        return true;
    }
    if (m->parts && m->text->len + r->payload.len > LIMIT_MERGED_FRAME)
        return false;
    buf_put_span(m->text, r->payload);
    if (buf_failed(m->text))
        m->own->failed = true;
    m->text_seq = r->seq;
    m->parts++;
    return true;
}

static enum feed_result merge_run(struct feed *f, struct span records, uint64_t last, uint64_t *seq,
                                  struct buf *own)
{
    struct merge m = {.feed = f, .own = own, .text = &f->port->text};
    const struct segment *first = first_segment(f);
    uint64_t at = *seq, shared_first = first ? first->first_seq : f->next_seq;
    buf_clear(m.text);
    while (at <= last && own->len + m.text->len < LIMIT_MERGED_FRAME && !buf_failed(own)) {
        struct record r;
        if (at > *seq && at >= shared_first && at <= f->next_seq)
            break; /* from here it reads with the others again */
        if (!record_next_checked(&records, &r) || !merge_event(&m, &r))
            break;
        at = r.seq + 1;
    }
    flush_text(&m);
    if (m.text->cap > 4 * LIMIT_MERGED_FRAME)
        buf_done(m.text);
    if (buf_failed(own))
        return FEED_NO_MEMORY;
    *seq = at;
    return FEED_MORE;
}

enum feed_result feed_merge(struct feed *f, uint64_t *seq, struct buf *own)
{
    struct stream *s = f->stream;
    enum feed_result result = FEED_NOTHING;
    struct span records;
    lock_enter(&s->lock);
    if (*seq <= s->committed_seq) {
        result = s->is_durable ? FEED_NEEDS_BLOCK : FEED_GONE;
        if (tail_find(&s->tail, *seq, NULL, &records))
            result = merge_run(f, records, s->committed_seq, seq, own);
    }
    lock_leave(&s->lock);
    if (result == FEED_NEEDS_BLOCK && f->block && block_find(f->block, *seq, &records))
        result = merge_run(f, records, f->block->last_seq, seq, own);
    return result;
}

/* ---- blocks from the store ---- */

static void read_run(struct work *w)
{
    struct feed_read *rd = container_of(w, struct feed_read, work);
    rd->result = block_read(rd->stream, rd->seq, &rd->block, NULL);
}

static void read_done(struct work *w)
{
    struct feed_read *rd = container_of(w, struct feed_read, work);
    struct feed *f = rd->feed;
    if (f) {
        f->read = NULL;
        block_free(f->block);
        f->block = take_ptr(rd->block);
        struct list waiting, ready, *n;
        list_init(&waiting);
        list_init(&ready);
        while ((n = list_pop(&f->reading)))
            list_append(&waiting, n);
        /* First everybody takes what the block has for him, then user code may run: so each read
         * gets somebody further. */
        while ((n = list_pop(&waiting))) {
            struct follower *r = container_of(n, struct follower, link);
            if (follower_read_done(r, rd->seq, rd->result))
                list_append(&ready, n);
        }
        while ((n = list_pop(&ready)))
            follower_wake(container_of(n, struct follower, link));
    }
    block_free(rd->block);
    stream_unref(rd->stream);
    mem_free(rd);
}

static void read_again(struct timer *t)
{
    struct feed *f = container_of(t, struct feed, retry);
    if (!list_is_empty(&f->reading))
        feed_request(f, container_of(f->reading.next, struct follower, link)->next_seq);
}

void feed_request(struct feed *f, uint64_t seq)
{
    if (f->read)
        return; /* who waits for another block asks again when this one has come */
    struct feed_read *rd = mem_alloc(sizeof *rd);
    rd->feed = f;
    rd->stream = stream_ref(f->stream);
    rd->seq = seq;
    rd->work.run = read_run;
    rd->work.done = read_done;
    rd->work.origin = f->port->loop;
    f->read = rd;
    if (worker_submit(f->stream->hub->workers, WORKER_FAST, &rd->work) == 0)
        return;
    f->read = NULL;
    stream_unref(rd->stream);
    mem_free(rd);
    timer_set(f->port->loop, &f->retry, READ_AGAIN_MS, read_again);
}

/* ---- life ---- */

struct feed *feed_get(struct stream *s, struct loop *loop, const struct stream_codec *codec,
                      uint64_t next_seq)
{
    struct port *p = port_get(s->hub, loop);
    lock_enter(&s->lock);
    list_each(n, &s->feeds)
    {
        struct feed *f = container_of(n, struct feed, stream_link);
        if (f->port == p && f->codec == codec) {
            f->follower_count++;
            lock_leave(&s->lock);
            return f;
        }
    }
    struct feed *f = mem_alloc(sizeof *f);
    f->port = p;
    f->stream = stream_ref(s);
    f->codec = codec;
    f->next_seq = next_seq;
    f->follower_count = 1;
    f->is_replay = s->is_closed;
    list_init(&f->dirty_link);
    list_init(&f->followers);
    list_init(&f->waiting);
    list_init(&f->reading);
    list_init(&f->segments);
    list_append(&s->feeds, &f->stream_link);
    lock_leave(&s->lock);
    return f;
}

static void feed_free(struct loop_defer *d)
{
    mem_free(container_of(d, struct feed, defer));
}

void feed_release(struct feed *f)
{
    if (--f->follower_count)
        return;
    struct stream *s = f->stream;
    lock_enter(&s->lock);
    list_remove(&f->stream_link);
    lock_enter(&f->port->lock);
    list_remove(&f->dirty_link);
    lock_leave(&f->port->lock);
    stream_trim(s);
    lock_leave(&s->lock);
    feed_jump(f, f->next_seq); /* drops the segments */
    block_free(take_ptr(f->block));
    if (f->read)
        f->read->feed = NULL;
    timer_clear(&f->retry);
    stream_unref(take_ptr(f->stream));
    f->defer.run = feed_free;
    loop_defer(f->port->loop, &f->defer);
}

void feed_advanced(struct feed *f)
{
    struct list ready, *n;
    f->is_at_edge = false;
    list_init(&ready);
    while ((n = list_pop(&f->waiting)))
        list_append(&ready, n);
    while ((n = list_pop(&ready)))
        follower_wake(container_of(n, struct follower, link));
}
