/* Promises of the wire formats' readers: what a stream says is read, whole, in any pieces, cut or damaged. */
#include "../cm.h"
#include "base/fault.h"
#include "base/mem.h"
#include "wire_trace.h"

#include <stdio.h>

static struct trace *traces;
static size_t trace_count;

static void expect_same(const struct trace *t, const struct replay *r, const char *how, size_t at)
{
    if (!span_eq(buf_span(&r->out), buf_span(&t->expect)))
        fail_msg("%s %s %zu:\n%s-- expected:\n%s", t->name, how, at, buf_str(&r->out),
                 buf_str(&t->expect));
}

static void traces_are_read_as_written(void **state)
{
    (void)state;
    assert_true(trace_count >= 50);
    for (size_t i = 0; i < trace_count; i++) {
        struct replay r =
            trace_replay(traces[i].format, buf_span(&traces[i].body), SIZE_MAX, SIZE_MAX);
        expect_same(&traces[i], &r, "whole", 0);
        replay_done(&r);
    }
}

static void traces_are_read_the_same_split_at_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < trace_count; i++) {
        struct span body = buf_span(&traces[i].body);
        for (size_t at = 1; at < body.len; at++) {
            struct replay r = trace_replay(traces[i].format, body, at, SIZE_MAX);
            expect_same(&traces[i], &r, "split at", at);
            replay_done(&r);
        }
        for (size_t step = 1; step < 8; step++) {
            struct replay r = trace_replay(traces[i].format, body, step, step);
            expect_same(&traces[i], &r, "in steps of", step);
            replay_done(&r);
        }
    }
}

/* A prefix is an end only once the stream has said so; from there on every longer prefix is. */
static void traces_cut_at_every_byte_say_that_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < trace_count; i++) {
        struct span body = buf_span(&traces[i].body);
        bool is_done_only = strcmp(traces[i].name, "openai/done_only.txt") == 0;
        bool has_ended = false;
        for (size_t at = 0; at < body.len; at++) {
            struct replay r =
                trace_replay(traces[i].format, span_first(body, at), SIZE_MAX, SIZE_MAX);
            assert_true(r.result == 0 || r.result == -ERR_UPSTREAM);
            if (has_ended != (r.result == 0) && has_ended)
                fail_msg("%s: ended before byte %zu, cut there", traces[i].name, at);
            if (r.result == 0 && !r.has_finish && !r.has_error && !is_done_only)
                fail_msg("%s: %zu bytes pass as a whole answer", traces[i].name, at);
            has_ended = r.result == 0;
            replay_done(&r);
        }
    }
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void damaged_traces_neither_crash_nor_hang(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (size_t i = 0; i < trace_count; i++) {
        struct span body = buf_span(&traces[i].body);
        for (unsigned round = 0; round < 200; round++) {
            char *copy = mem_try_strndup(body.ptr, body.len);
            assert_non_null(copy);
            for (unsigned flips = 1 + round % 5; flips; flips--)
                copy[next_random(&seed) % body.len] = (char)next_random(&seed);
            struct replay r = trace_replay(traces[i].format, span_of(copy, body.len),
                                           1 + next_random(&seed) % 64, SIZE_MAX);
            assert_true(r.result == 0 || r.result == -ERR_UPSTREAM || r.result == -ERR_TOO_LARGE);
            replay_done(&r);
            mem_free(copy);
        }
    }
}

static void readers_survive_every_failed_allocation(void **state)
{
    (void)state;
    for (size_t i = 0; i < trace_count; i++) {
        for (uint64_t nth = 1; nth < 1000; nth++) {
            fault_arm(FAULT_ALLOC, nth, 0);
            struct replay r =
                trace_replay(traces[i].format, buf_span(&traces[i].body), SIZE_MAX, 100);
            bool was_hit = fault_seen(FAULT_ALLOC) >= nth;
            fault_disarm();
            /* The recorder allocates too: then the lines are wrong, but the reader is not. */
            assert_true(r.result == 0 || r.result == -ERR_UPSTREAM ||
                        (was_hit && r.result == -ERR_NO_MEMORY));
            replay_done(&r);
            if (!was_hit)
                break;
        }
    }
}

struct refusing {
    unsigned calls;
};

static int refuse(void *ctx, const struct wire_event *e)
{
    (void)e;
    ((struct refusing *)ctx)->calls++;
    return -ERR_CANCELLED;
}

static void a_refused_event_ends_the_reading_with_the_callers_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < trace_count; i++) {
        struct refusing c = {0};
        struct wire_reader *r;
        assert_int_equal(traces[i].format->reader_new(&r), 0);
        int fed = traces[i].format->feed(r, buf_span(&traces[i].body), refuse, &c);
        int end = traces[i].format->finish(r, refuse, &c);
        assert_true(c.calls <= 1);
        if (c.calls)
            assert_int_equal(end, -ERR_CANCELLED);
        assert_true(fed == 0 || fed == end);
        traces[i].format->reader_free(r);
    }
}

static int load(void **state)
{
    (void)state;
    traces = traces_load(TRACES, &trace_count);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    traces_free(traces, trace_count);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traces_are_read_as_written),
        cmocka_unit_test(traces_are_read_the_same_split_at_every_byte),
        cmocka_unit_test(traces_cut_at_every_byte_say_that_they_are_cut),
        cmocka_unit_test(damaged_traces_neither_crash_nor_hang),
        cmocka_unit_test(readers_survive_every_failed_allocation),
        cmocka_unit_test(a_refused_event_ends_the_reading_with_the_callers_code),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
