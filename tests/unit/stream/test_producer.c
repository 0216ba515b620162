/*
 * Promises about who keeps a stream open: its producers, and nobody else. Readers neither hold it
 * open nor end it.
 */
#include "kit.h"

#include <pthread.h>
#include <stdlib.h>

static struct reader *reader_of(struct world *w, struct stream *s)
{
    struct reader *r = calloc(1, sizeof *r);
    reader_start(r, w, s, 0);
    return r;
}

static void reader_ends(struct reader *r, const char *reason)
{
    reader_wait(r);
    assert_false(r->is_failed);
    assert_string_equal(r->reason, reason);
    seen_done(&r->seen);
    free(r);
}

static void an_abandoned_stream_ends_though_readers_hold_it(void **state)
{
    (void)state;
    for (int is_durable = 0; is_durable < 2; is_durable++) {
        struct world w;
        world_open(&w, true, 0);
        struct stream *s = new_stream(&w, is_durable), *mine = stream_ref(s);
        append_text(s, "half an ans");
        struct reader *r = reader_of(&w, s);
        stream_unref_producer(s);
        assert_true(stream_is_closed(mine)); /* at once: not when the last reader has gone */
        reader_ends(r, "error");
        struct seen seen;
        read_all(mine, &seen);
        const char expected[] = "half an ans\1\6{\"reason\":\"error\"}\2";
        assert_int_equal(seen.len, sizeof expected - 1);
        assert_memory_equal(seen.text, expected, sizeof expected - 1);
        seen_done(&seen);
        stream_unref(mine);
        world_close(&w);
    }
}

static void readers_that_leave_end_nothing(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    struct stream *s = new_stream(&w, true);
    struct reader *r = reader_of(&w, s);
    reader_stop(r);
    seen_done(&r->seen);
    free(r);
    for (int i = 0; i < 3; i++)
        stream_unref(stream_ref(s));
    assert_false(stream_is_closed(s));
    append_text(s, "still here");
    stream_close(s, "stop", NULL);
    stream_unref_producer(s);
    world_close(&w);
}

static void of_several_producers_the_last_one_counts(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    struct stream *s = new_stream(&w, true), *other = stream_ref_producer(s), *mine = stream_ref(s);
    stream_unref_producer(s);
    assert_false(stream_is_closed(mine));
    append_text(other, "more");
    stream_unref_producer(other);
    assert_true(stream_is_closed(mine));
    assert_int_equal(stream_append(mine, STREAM_TOKEN, SPAN_LIT("late")), -ERR_CANCELLED);
    stream_unref(mine);
    world_close(&w);
}

static void a_closed_stream_keeps_its_reason(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    struct stream *s = new_stream(&w, true);
    struct reader *r = reader_of(&w, s);
    stream_close(s, "length", NULL);
    stream_unref_producer(s);
    reader_ends(r, "length");
    world_close(&w);
}

#define PRODUCERS 4
#define ROUNDS 50

static void *append_and_leave(void *arg)
{
    append_text(arg, "x");
    stream_unref_producer(arg);
    return NULL;
}

static void *look_and_leave(void *arg)
{
    (void)stream_is_closed(arg); /* whatever it is just now */
    stream_unref(arg);
    return NULL;
}

/* Under TSan: producers and readers let go in any order, and the end comes once, after all text. */
static void letting_go_is_safe_from_many_threads(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, true, 0);
    for (int round = 0; round < ROUNDS; round++) {
        struct stream *s = new_stream(&w, round % 2);
        struct reader *r = reader_of(&w, s);
        pthread_t threads[2 * PRODUCERS];
        for (int i = 1; i < PRODUCERS; i++)
            stream_ref_producer(s);
        for (int i = 0; i < PRODUCERS; i++)
            stream_ref(s);
        for (int i = 0; i < PRODUCERS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, append_and_leave, s), 0);
            assert_int_equal(pthread_create(&threads[PRODUCERS + i], NULL, look_and_leave, s), 0);
        }
        for (int i = 0; i < 2 * PRODUCERS; i++)
            pthread_join(threads[i], NULL);
        reader_wait(r);
        assert_memory_equal(r->seen.text, "xxxx\1\6", PRODUCERS + 2);
        reader_ends(r, "error");
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_abandoned_stream_ends_though_readers_hold_it),
        cmocka_unit_test(readers_that_leave_end_nothing),
        cmocka_unit_test(of_several_producers_the_last_one_counts),
        cmocka_unit_test(a_closed_stream_keeps_its_reason),
        cmocka_unit_test(letting_go_is_safe_from_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
