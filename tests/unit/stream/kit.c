#include "kit.h"

#include "base/clock.h"
#include "base/mem.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void wait_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

bool wait_until(bool (*cond)(void *arg), void *arg)
{
    for (int i = 0; i < 10000; i++) {
        if (cond(arg))
            return true;
        wait_ms(1);
    }
    return false;
}

void remove_tree(const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    while (d && (e = readdir(d))) {
        char path[1024];
        if (e->d_name[0] == '.' && (!e->d_name[1] || e->d_name[1] == '.'))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        struct stat st;
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            remove_tree(path);
        else
            unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

static void check(int r, const struct err *err)
{
    if (r < 0)
        fail_msg("%d: %s", r, err->msg);
}

void world_hub(struct world *w, uint64_t segment_bytes)
{
    struct err err = {0};
    struct hub_options o = {w->journal, 5, segment_bytes};
    check(hub_open(&o, w->store, w->workers, &w->hub, &err), &err);
}

static void open_in(struct world *w, uint64_t segment_bytes)
{
    struct err err = {0};
    const char *note;
    snprintf(w->journal, sizeof w->journal, "%s/journal", w->dir);
    check(w->is_memory ? store_open_memory(&w->store, &err)
                       : store_open_sqlite(w->dir, &w->store, &note, &err),
          &err);
    check(worker_pool_new(2, 1, &w->workers, &err), &err);
    check(loop_new("test", &w->loop, &err), &err);
    check(loop_start(w->loop, &err), &err);
    world_hub(w, segment_bytes);
}

void world_open(struct world *w, bool is_memory, uint64_t segment_bytes)
{
    *w = (struct world){.dir = "/tmp/hw-stream-XXXXXX", .is_memory = is_memory};
    assert_non_null(mkdtemp(w->dir));
    open_in(w, segment_bytes);
}

void world_open_dir(struct world *w, const char *dir, uint64_t segment_bytes)
{
    *w = (struct world){.is_memory = false};
    snprintf(w->dir, sizeof w->dir, "%s", dir);
    open_in(w, segment_bytes);
}

void world_hub_close(struct world *w)
{
    hub_close(w->hub);
    w->hub = NULL;
}

void world_close_keep(struct world *w)
{
    loop_stop(w->loop);
    hub_close(w->hub);
    worker_pool_free(w->workers);
    loop_free(w->loop);
    store_close(w->store);
}

void world_close(struct world *w)
{
    world_close_keep(w);
    remove_tree(w->dir);
}

/* ---- on the loop ---- */

struct call {
    struct loop_msg msg;
    void (*fn)(void *arg);
    void *arg;
    _Atomic bool done;
};

static void run_call(struct loop_msg *m)
{
    struct call *c = container_of(m, struct call, msg);
    c->fn(c->arg);
    atomic_store(&c->done, true);
}

void on_loop(struct world *w, void (*fn)(void *arg), void *arg)
{
    struct call c = {.msg.deliver = run_call, .fn = fn, .arg = arg};
    loop_post(w->loop, &c.msg);
    while (!atomic_load(&c.done))
        wait_ms(0);
}

/* ---- codec ---- */

#define FRAME_HEADER 13u

static void encode(const struct stream_event *e, struct buf *out)
{
    uint32_t len = (uint32_t)e->payload.len;
    buf_putc(out, (char)e->type);
    buf_put(out, &e->seq, 8);
    buf_put(out, &len, 4);
    buf_put_span(out, e->payload);
}

const struct stream_codec kit_codec = {"kit", encode, true};
const struct stream_codec kit_codec_plain = {"kit-plain", encode, false};

static void put(char **p, size_t *len, size_t *cap, const void *from, size_t n)
{
    if (*len + n > *cap) {
        *cap = (*len + n) * 2;
        *p = realloc(*p, *cap);
        assert_non_null(*p);
    }
    if (n)
        memcpy(*p + *len, from, n);
    *len += n;
}

void seen_done(struct seen *s)
{
    free(s->text);
    free(s->big);
    memset(s, 0, sizeof *s);
}

void seen_event(struct seen *s, enum stream_event_type type, uint64_t seq, struct span payload)
{
    if (seq <= s->last_seq ||
        s->has_done) { /* on a loop's thread cmocka would end the program without a word */
        fprintf(stderr, "event %llu of type %d after %llu\n", (unsigned long long)seq, (int)type,
                (unsigned long long)s->last_seq);
        abort();
    }
    s->last_seq = seq;
    s->has_done = type == STREAM_DONE;
    s->frames++;
    if (type == STREAM_TOKEN) {
        put(&s->text, &s->len, &s->cap, payload.ptr, payload.len);
        return;
    }
    char mark[2] = {1, (char)type};
    put(&s->text, &s->len, &s->cap, mark, 2);
    put(&s->text, &s->len, &s->cap, payload.ptr, payload.len);
    put(&s->text, &s->len, &s->cap, "\2", 1);
}

void seen_bytes(struct seen *s, const char *p, size_t len)
{
    put(&s->big, &s->big_len, &s->big_cap, p, len);
    size_t at = 0;
    while (s->big_len - at >= FRAME_HEADER) {
        uint64_t seq;
        uint32_t n;
        memcpy(&seq, s->big + at + 1, 8);
        memcpy(&n, s->big + at + 9, 4);
        if (s->big_len - at - FRAME_HEADER < n)
            break;
        seen_event(s, (enum stream_event_type)s->big[at], seq,
                   span_of(s->big + at + FRAME_HEADER, n));
        at += FRAME_HEADER + n;
    }
    memmove(s->big, s->big + at, s->big_len - at);
    s->big_len -= at;
}

/* ---- readers ---- */

static bool has_ended(void *arg)
{
    return atomic_load(&((struct reader *)arg)->ended);
}

static void on_wake(struct follower *f);

static uint64_t next_random(struct reader *r)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return r->random;
}

static void closed(uv_handle_t *h)
{
    struct reader *r = h->data;
    atomic_store(&r->ended, true);
}

static void finish(struct reader *r)
{
    follower_stop(&r->follower);
    r->is_stopped = true;
    uv_close((uv_handle_t *)&r->pace, closed);
}

/* Bytes of a frame that is not whole are forgotten, as by a client whose connection breaks. */
static void reconnect(struct reader *r)
{
    follower_stop(&r->follower);
    r->seen.big_len = 0;
    r->reconnects++;
    follower_start(&r->follower, r->world->loop, r->stream, r->codec, r->seen.last_seq, on_wake);
}

/* One step; false when there is nothing to take now. */
static bool take(struct reader *r)
{
    struct iovec iov[FOLLOWER_SEGMENTS_COUNT + 1];
    int count = r->random ? (int)(next_random(r) % ARRAY_LEN(iov)) + 1 : (int)ARRAY_LEN(iov);
    switch (follower_peek(&r->follower, iov, &count)) {
    case FOLLOWER_READY:
        break;
    case FOLLOWER_WAIT:
        return false;
    case FOLLOWER_END:
        snprintf(r->reason, sizeof r->reason, "%s", follower_reason(&r->follower));
        finish(r);
        return false;
    case FOLLOWER_FAILED:
        r->is_failed = true;
        r->error = follower_error(&r->follower);
        finish(r);
        return false;
    }
    size_t most = r->per_wake ? r->per_wake : SIZE_MAX, taken = 0;
    if (r->random)
        most = next_random(r) % 5000 + 1;
    for (int i = 0; i < count && taken < most; i++) {
        size_t n = iov[i].iov_len < most - taken ? iov[i].iov_len : most - taken;
        assert_true(n > 0);
        seen_bytes(&r->seen, iov[i].iov_base, n);
        taken += n;
    }
    follower_consume(&r->follower, taken);
    return true;
}

static void step(struct reader *r)
{
    for (int i = 0; i < 20 && !r->is_stopped; i++) {
        if (!take(r))
            return;
        if (r->stop_after && r->seen.last_seq >= r->stop_after) {
            finish(r);
            return;
        }
        if (r->reconnect_in && !r->seen.has_done && next_random(r) % r->reconnect_in == 0)
            reconnect(r);
        if (r->per_wake)
            return; /* the rest at the next tick */
    }
}

static void on_wake(struct follower *f)
{
    step(container_of(f, struct reader, follower));
}

static void on_pace(uv_timer_t *t)
{
    struct reader *r = t->data;
    if (!r->is_stopped)
        step(r);
}

struct start {
    struct reader *r;
    uint64_t after;
};

static void start_on_loop(void *arg)
{
    struct start *s = arg;
    struct reader *r = s->r;
    uv_timer_init(loop_uv(r->world->loop), &r->pace);
    r->pace.data = r;
    uv_timer_start(&r->pace, on_pace, 1, 1);
    follower_start(&r->follower, r->world->loop, r->stream, r->codec, s->after, on_wake);
    step(r);
}

void reader_start(struct reader *r, struct world *w, struct stream *s, uint64_t after)
{
    r->world = w;
    r->stream = s;
    if (!r->codec)
        r->codec = &kit_codec;
    if (!r->claims_more)
        r->seen.last_seq = after;
    struct start start = {r, after};
    on_loop(w, start_on_loop, &start);
}

void reader_wait(struct reader *r)
{
    if (!wait_until(has_ended, r))
        fail_msg("a reader has not come to its end: number %llu",
                 (unsigned long long)r->seen.last_seq);
}

struct look {
    struct reader *r;
    uint64_t last_seq, frames;
};

static void look_on_loop(void *arg)
{
    struct look *l = arg;
    l->last_seq = l->r->seen.last_seq;
    l->frames = l->r->seen.frames;
}

uint64_t reader_seen(struct reader *r, uint64_t *ret_frames)
{
    struct look l = {.r = r};
    on_loop(r->world, look_on_loop, &l);
    if (ret_frames)
        *ret_frames = l.frames;
    return l.last_seq;
}

static void stop_on_loop(void *arg)
{
    struct reader *r = arg;
    if (!r->is_stopped)
        finish(r);
}

void reader_stop(struct reader *r)
{
    on_loop(r->world, stop_on_loop, r);
    reader_wait(r);
}

/* ---- streams ---- */

struct finding {
    struct world *w;
    const char *id;
    struct stream *s;
    int result;
    _Atomic bool done;
};

static bool is_found(void *arg)
{
    return atomic_load(&((struct finding *)arg)->done);
}

static void found(void *ctx, struct stream *s, int result)
{
    struct finding *f = ctx;
    f->s = s;
    f->result = result;
    atomic_store(&f->done, true);
}

static void start_find(void *arg)
{
    struct finding *f = arg;
    hub_find(f->w->hub, f->w->loop, NULL, f->id, found, f);
    assert_false(atomic_load(&f->done)); /* always asynchronous */
}

struct stream *find_stream(struct world *w, const char *id, int *ret_result)
{
    struct finding f = {.w = w, .id = id};
    on_loop(w, start_find, &f);
    assert_true(wait_until(is_found, &f));
    if (ret_result)
        *ret_result = f.result;
    return f.s;
}

struct stream *new_stream(struct world *w, bool is_durable)
{
    struct err err = {0};
    struct stream *s = NULL;
    check(stream_create(w->hub, &(struct stream_new){.kind = "answer", .is_durable = is_durable},
                        &s, &err),
          &err);
    return s;
}

void append_text(struct stream *s, const char *text)
{
    assert_int_equal(stream_append(s, STREAM_TOKEN, span_str(text)), 0);
}

static int add_seen(void *ctx, const struct stream_event *e)
{
    seen_event(ctx, e->type, e->seq, e->payload);
    return 0;
}

void read_all(struct stream *s, struct seen *ret)
{
    struct err err = {0};
    memset(ret, 0, sizeof *ret);
    check(stream_read(s, 0, stream_is_closed(s), add_seen, ret, &err), &err);
}
