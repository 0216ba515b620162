/* Promises of following: every reader, fast, slow, late or reconnecting, sees the same text and the same other events. */
#include "kit.h"

#include "base/limits.h"
#include "base/mem.h"
#include "stream/stream_priv.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static struct reader *new_reader(void)
{
    return calloc(1, sizeof(struct reader));
}

static void free_reader(struct reader *r)
{
    seen_done(&r->seen);
    free(r);
}

static void assert_same(const struct seen *a, const struct seen *b)
{
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->text, b->text, a->len);
    assert_int_equal(a->last_seq, b->last_seq);
}

static void append_some(struct stream *s, int from, int to)
{
    for (int i = from; i < to; i++) {
        char text[64];
        snprintf(text, sizeof text, "token %d, ", i);
        append_text(s, text);
        if (i % 17 == 0)
            assert_int_equal(stream_append(s, STREAM_CITATION, SPAN_LIT("{\"path\":\"a.c\"}")), 0);
    }
}

static void readers_of_all_kinds_see_the_same(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    struct stream *s = new_stream(&w, true);
    struct reader *live = new_reader(), *slow = new_reader(), *late = new_reader(),
                  *first = new_reader(), *second = new_reader(), *replay = new_reader();
    reader_start(live, &w, s, 0);
    slow->per_wake = 10;
    reader_start(slow, &w, s, 0);
    first->stop_after = 40;
    reader_start(first, &w, s, 0);
    append_some(s, 0, 100);
    reader_start(late, &w, s, 0);
    reader_wait(first);
    append_some(s, 100, 300);
    second->seen = first->seen; /* the same client comes back with what it has */
    memset(&first->seen, 0, sizeof first->seen);
    second->seen.big_len = 0;
    reader_start(second, &w, s, second->seen.last_seq);
    append_some(s, 300, 320);
    stream_close(s, "stop", "\"tokens\":3");
    stream_close(s, "error", NULL); /* too late */
    assert_int_equal(stream_append(s, STREAM_TOKEN, SPAN_LIT("x")), -ERR_CANCELLED);
    reader_wait(live);
    reader_wait(slow);
    reader_wait(late);
    reader_wait(second);
    reader_start(replay, &w, s, 0);
    reader_wait(replay);
    struct seen truth;
    read_all(s, &truth);
    assert_non_null(memmem(truth.text, truth.len, "token 319, ", 11));
    assert_non_null(memmem(truth.text, truth.len, "{\"reason\":\"stop\",\"tokens\":3}", 28));
    struct reader *all[] = {live, slow, late, second, replay};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_same(&all[i]->seen, &truth);
        assert_string_equal(all[i]->reason, "stop");
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free_reader(all[i]);
    free_reader(first);
    seen_done(&truth);
    stream_unref_producer(s);
    world_close(&w);
}

static void past_the_end_there_is_only_done(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    struct stream *s = new_stream(&w, true);
    append_some(s, 1, 10);
    stream_close(s, "length", NULL);
    struct reader *r = new_reader();
    r->codec = &kit_codec_plain;
    r->claims_more = true;
    reader_start(r, &w, s, 1000);
    reader_wait(r);
    assert_int_equal(r->seen.frames, 1);
    assert_string_equal(r->reason, "length");
    free_reader(r);
    stream_unref_producer(s);
    world_close(&w);
}

static bool is_all_committed(void *arg)
{
    struct stream *s = arg;
    lock_enter(&s->lock);
    bool is_all = s->committed_seq == s->last_seq;
    lock_leave(&s->lock);
    return is_all;
}

static void a_slow_reader_gets_merged_text(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    struct stream *s = new_stream(&w, true);
    struct reader *r = new_reader();
    append_text(s, "begin ");
    for (int i = 0; i < 20000; i++)
        append_text(s, "0123456789012345678901234567890123456789");
    /* What is committed while it reads would come live, one frame per event. */
    assert_true(wait_until(is_all_committed, s));
    reader_start(r, &w, s, 0); /* live, 800 KB behind: most of it is in the store by now */
    uint64_t frames;
    while (reader_seen(r, &frames) < 20001)
        wait_ms(1);
    assert_true(frames < 100);
    stream_close(s, "stop", NULL);
    reader_wait(r);
    struct seen truth;
    read_all(s, &truth);
    assert_same(&r->seen, &truth);
    seen_done(&truth);
    free_reader(r);
    stream_unref_producer(s);
    world_close(&w);
}

static void a_stream_in_memory_only_keeps_its_end(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    struct stream *s = new_stream(&w, false);
    struct reader *live = new_reader(), *late = new_reader(), *edge = new_reader();
    reader_start(live, &w, s, 0);
    append_some(s, 0, 100);
    while (reader_seen(live, NULL) < stream_last_seq(s))
        wait_ms(1);
    for (int i = 0; i < 300; i++)
        append_some(s, 1000, 1100);
    uint64_t last = stream_last_seq(s);
    reader_start(late, &w, s, 0); /* what it wants is gone, and it is told */
    reader_wait(late);
    assert_true(late->is_failed);
    assert_int_equal(late->error, -ERR_NOT_FOUND);
    reader_start(edge, &w, s, last - 100);
    stream_close(s, "stop", NULL);
    reader_wait(edge);
    assert_false(edge->is_failed);
    assert_int_equal(edge->seen.last_seq, last + 1);
    reader_wait(live);
    free_reader(live);
    free_reader(late);
    free_reader(edge);
    stream_unref_producer(s);
    world_close(&w);
}

/* ---- random everything against a model ---- */

static uint64_t random_state = 88172645463325252u;

static uint64_t rnd(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static void append_random(struct stream *s, struct seen *model, char *bytes)
{
    static const size_t sizes[] = {0, 1, 10, 70, 70, 70, 200, 3000, 40000};
    size_t len = sizes[rnd(ARRAY_LEN(sizes))];
    if (rnd(400) == 0)
        len = 300000;
    enum stream_event_type type = rnd(6) ? STREAM_TOKEN : (enum stream_event_type)(rnd(5) + 1);
    for (size_t i = 0; i < len && i < 16; i++)
        bytes[rnd(len)] = (char)('a' + rnd(26));
    int r;
    while ((r = stream_append(s, type, span_of(bytes, len))) == -ERR_LIMIT)
        wait_ms(1);
    assert_int_equal(r, 0);
    seen_event(model, type, model->last_seq + 1, span_of(bytes, len));
}

static void play_round(struct world *w, int events)
{
    enum { READERS = 5 };
    struct stream *s = new_stream(w, true);
    struct seen model = {0};
    struct reader *r[READERS];
    char *bytes = malloc(400000);
    memset(bytes, 'x', 400000);
    int started = 0;
    for (int i = 0; i < events; i++) {
        append_random(s, &model, bytes);
        if (started < READERS && rnd((uint64_t)events / READERS) == 0) {
            r[started] = new_reader();
            r[started]->random = rnd(UINT64_MAX) | 1;
            r[started]->codec = started % 2 ? &kit_codec : &kit_codec_plain;
            r[started]->reconnect_in = started % 3 ? 50 : 0;
            reader_start(r[started], w, s, 0);
            started++;
        }
        if (rnd(100) == 0)
            wait_ms(1);
    }
    stream_close(s, "stop", NULL);
    seen_event(&model, STREAM_DONE, model.last_seq + 1, SPAN_LIT("{\"reason\":\"stop\"}"));
    while (started < READERS) {
        r[started] = new_reader();
        r[started]->random = rnd(UINT64_MAX) | 1;
        r[started]->reconnect_in = 50;
        reader_start(r[started], w, s, 0);
        started++;
    }
    for (int i = 0; i < READERS; i++) {
        reader_wait(r[i]);
        assert_false(r[i]->is_failed);
        assert_same(&r[i]->seen, &model);
        free_reader(r[i]);
    }
    free(bytes);
    seen_done(&model);
    stream_unref_producer(s);
}

static void random_readers_agree_with_the_model(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, false, 1 << 20);
    for (int i = 0; i < 6; i++)
        play_round(&w, i % 2 ? 200 : 1500);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_of_all_kinds_see_the_same),
        cmocka_unit_test(past_the_end_there_is_only_done),
        cmocka_unit_test(a_slow_reader_gets_merged_text),
        cmocka_unit_test(a_stream_in_memory_only_keeps_its_end),
        cmocka_unit_test(random_readers_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
