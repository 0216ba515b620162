/* Waiting for index jobs, stopping, and what the engine keeps of sources: with the memory store and real threads. */
#include "../cm.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "engine/engine_priv.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
    char dir[64], tree[96], index[96];
    struct store *store;
    struct worker_pool *workers;
    struct hub *hub;
    struct engine *engine;
};

static const struct engine_caller trusted = {STORE_TENANT_DEFAULT, true};
static const struct engine_caller client = {STORE_TENANT_DEFAULT, false};

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void engine_begin(struct world *w)
{
    struct err err = {0};
    const char *allow[] = {w->tree, NULL};
    struct engine_options o = {.index_dir = w->index,
                               .allow_paths = allow,
                               .default_language = "en",
                               .store = w->store,
                               .hub = w->hub,
                               .workers = w->workers};
    assert_int_equal(engine_new(&o, &w->engine, &err), 0);
}

static void world_open(struct world *w)
{
    struct err err = {0};
    struct hub_options ho = {0};
    snprintf(w->dir, sizeof w->dir, "/tmp/hw-engine-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->tree, sizeof w->tree, "%s/tree", w->dir);
    snprintf(w->index, sizeof w->index, "%s/index", w->dir);
    assert_int_equal(mkdir(w->tree, 0700), 0);
    write_file(w->tree, "a.md", "# Alpha\n\nAlpha decay is explained here.\n");
    assert_int_equal(store_open_memory(&w->store, &err), 0);
    assert_int_equal(worker_pool_new(1, 1, &w->workers, &err), 0);
    assert_int_equal(hub_open(&ho, w->store, w->workers, &w->hub, &err), 0);
    engine_begin(w);
}

static void world_close(struct world *w)
{
    char command[128];
    engine_free(w->engine);
    hub_close(w->hub);
    worker_pool_free(w->workers);
    store_close(w->store);
    snprintf(command, sizeof command, "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
}

/* A task that occupies a worker until it is let go. */
struct plug {
    struct work work;
    _Atomic bool runs, go;
};

static void plug_run(struct work *work)
{
    struct plug *p = container_of(work, struct plug, work);
    atomic_store(&p->runs, true);
    while (!atomic_load(&p->go))
        clock_pause_ms(1);
}

static void plug_in(struct world *w, struct plug *p, enum worker_lane lane)
{
    *p = (struct plug){.work.run = plug_run};
    assert_int_equal(worker_submit(w->workers, lane, &p->work), 0);
    while (!atomic_load(&p->runs))
        clock_pause_ms(1);
}

/* What api/task.c does, without a loop. */
struct search {
    struct work work;
    struct world *w;
    struct index_waiter wait;
    struct buf out;
    struct err err;
    _Atomic int calls;
    int result;
    _Atomic bool over;
};

static void search_run(struct work *work)
{
    struct search *s = container_of(work, struct search, work);
    struct search_request q = {.source = span_str(s->w->tree), .query = SPAN_LIT("alpha"), .k = 5};
    atomic_fetch_add(&s->calls, 1);
    int r = engine_search_json(s->w->engine, &trusted, &q, &s->wait, &s->out, &s->err);
    if (r == ENGINE_WAITS)
        return;
    s->result = r;
    atomic_store(&s->over, true);
}

static void search_start(struct world *w, struct search *s)
{
    *s = (struct search){.work.run = search_run, .w = w, .out = BUF_INIT(1u << 20)};
    s->wait.then = &s->work;
    assert_int_equal(worker_submit(w->workers, WORKER_FAST, &s->work), 0);
}

static void until(const _Atomic bool *flag)
{
    for (int i = 0; i < 20000 && !atomic_load(flag); i++)
        clock_pause_ms(1);
    assert_true(atomic_load(flag));
}

static int count_stop(void *ctx, const struct stream_event *event)
{
    char *reason = ctx;
    if (event->type == STREAM_DONE)
        snprintf(reason, 64, SPAN_FMT, SPAN_ARG(span_first(event->payload, 60)));
    return 0;
}

static void searches_wait_without_holding_the_only_worker(void **state)
{
    (void)state;
    struct world w;
    struct plug slow, fast;
    struct search s[8];
    world_open(&w);
    plug_in(&w, &slow, WORKER_SLOW); /* no index job gets on */
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        search_start(&w, &s[i]);
    plug_in(&w, &fast, WORKER_FAST); /* comes to its turn although eight searches wait */
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        assert_false(atomic_load(&s[i].over));
    atomic_store(&fast.go, true);
    atomic_store(&slow.go, true);
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        until(&s[i].over);
        assert_int_equal(s[i].result, 0);
        assert_int_equal(atomic_load(&s[i].calls), 2);
        assert_true(span_find(buf_span(&s[i].out), SPAN_LIT("a.md")) >= 0);
        buf_done(&s[i].out);
    }
    world_close(&w);
}

static void a_cancelled_wait_is_the_callers_again(void **state)
{
    (void)state;
    struct world w;
    struct plug slow, fast;
    struct search s;
    world_open(&w);
    plug_in(&w, &slow, WORKER_SLOW);
    search_start(&w, &s);
    plug_in(&w, &fast, WORKER_FAST);
    atomic_store(&fast.go, true);
    assert_true(engine_wait_cancel(w.engine, &s.wait));
    assert_false(engine_wait_cancel(w.engine, &s.wait));
    atomic_store(&slow.go, true);
    buf_done(&s.out);
    world_close(&w); /* the job ends without touching it */
    assert_int_equal(atomic_load(&s.calls), 1);
}

static void stopping_an_answer_or_a_queued_job_needs_no_worker_of_the_job(void **state)
{
    (void)state;
    struct world w;
    struct plug slow, fast;
    struct err err = {0};
    struct stream *job, *answer;
    char reason[64] = "";
    world_open(&w);
    plug_in(&w, &slow, WORKER_SLOW);
    struct index_request q = {.source = span_str(w.tree)};
    assert_int_equal(engine_index(w.engine, &client, &q, &job, &err), 0);
    struct chat_turn turn = {SPAN_LIT("user"), SPAN_LIT("What is alpha?")};
    struct answer_request a = {.source = span_str(w.tree), .messages = &turn, .message_count = 1};
    assert_int_equal(engine_answer(w.engine, &client, &a, &answer, &err), 0);
    plug_in(&w, &fast, WORKER_FAST); /* the answer waits by now */
    atomic_store(&fast.go, true);
    assert_int_equal(engine_stop(w.engine, STORE_TENANT_DEFAULT, stream_id(answer)), 0);
    assert_int_equal(stream_read(answer, 0, true, count_stop, reason, &err), 0);
    assert_string_equal(reason, "{\"reason\":\"cancelled\"}");
    assert_false(stream_is_closed(job));
    assert_int_equal(engine_stop(w.engine, STORE_TENANT_DEFAULT, stream_id(job)), 0);
    assert_true(stream_is_closed(job));
    stream_unref(job);
    stream_unref(answer);
    atomic_store(&slow.go, true);
    world_close(&w);
}

static void the_engine_waits_for_calls_and_refuses_new_ones(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    world_open(&w);
    assert_int_equal(engine_enter(w.engine, &err), 0);
    engine_leave(w.engine);
    IGNORE(engine_drain(w.engine));
    assert_int_equal(engine_enter(w.engine, &err), -ERR_UNAVAILABLE);
    assert_true(err.hint[0] != 0);
    struct chat_turn turn = {SPAN_LIT("user"), SPAN_LIT("What is alpha?")};
    struct answer_request a = {.source = span_str(w.tree), .messages = &turn, .message_count = 1};
    struct stream *s;
    assert_int_equal(engine_answer(w.engine, &client, &a, &s, &err), -ERR_UNAVAILABLE);
    world_close(&w);
}

static void open_sources_are_bounded_and_come_back(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    char id[STORE_ID_MAX], first[STORE_ID_MAX] = "", path[256];
    world_open(&w);
    for (int i = 0; i < LIVE_SOURCES_MAX + 40; i++) {
        snprintf(path, sizeof path, "%s/d%d", w.tree, i);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(source_resolve(w.engine, &client, span_str(path), SPAN_NULL, id, &err), 0);
        if (!first[0])
            snprintf(first, sizeof first, "%s", id);
        assert_true(w.engine->sources.count <= LIVE_SOURCES_MAX);
    }
    snprintf(path, sizeof path, "%s/d0", w.tree);
    assert_int_equal(source_resolve(w.engine, &client, span_str(path), SPAN_NULL, id, &err), 0);
    assert_string_equal(id, first);
    world_close(&w);
}

static void a_row_that_could_not_be_changed_stays_as_it_was(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    char id[STORE_ID_MAX], other[STORE_ID_MAX], name[64], revision[65], path[256];
    world_open(&w);
    snprintf(path, sizeof path, "%s/sub", w.tree);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(
        source_resolve(w.engine, &trusted, span_str(w.tree), SPAN_LIT("one"), id, &err), 0);
    assert_int_equal(
        source_resolve(w.engine, &trusted, span_str(path), SPAN_LIT("two"), other, &err), 0);
    assert_int_equal(
        source_resolve(w.engine, &trusted, SPAN_LIT("two"), SPAN_LIT("one"), other, &err),
        -ERR_EXISTS);
    assert_true(source_names(w.engine, other, name, sizeof name, revision, sizeof revision));
    assert_string_equal(name, "two");
    struct source_change change = {.name = "three", .error = "x"};
    for (uint64_t nth = 1;; nth++) {
        fault_arm(FAULT_ALLOC, nth, 0);
        int r = source_change(w.engine, id, &change, NULL, &err);
        bool was_last = fault_seen(FAULT_ALLOC) < nth;
        fault_disarm();
        assert_true(source_names(w.engine, id, name, sizeof name, revision, sizeof revision));
        assert_string_equal(name, r == 0 ? "three" : "one");
        if (was_last || r == 0)
            break;
        assert_int_equal(r, -ERR_NO_MEMORY);
    }
    assert_string_equal(name, "three");
    world_close(&w);
}

static void left_over_segments_go_and_everything_else_stays(void **state)
{
    (void)state;
    struct world w;
    char path[256];
    struct stat st;
    static const char *const names[] = {"abcdefghabcdefgh-12345678.hwi",
                                        "abcdefghabcdefgh-12345678.hwi.partial", "notes.txt",
                                        "x.hwi"};
    world_open(&w);
    engine_free(w.engine);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        write_file(w.index, names[i], "x");
    engine_begin(&w);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", w.index, names[i]);
        assert_int_equal(stat(path, &st), i < 2 ? -1 : 0);
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(searches_wait_without_holding_the_only_worker),
        cmocka_unit_test(a_cancelled_wait_is_the_callers_again),
        cmocka_unit_test(stopping_an_answer_or_a_queued_job_needs_no_worker_of_the_job),
        cmocka_unit_test(the_engine_waits_for_calls_and_refuses_new_ones),
        cmocka_unit_test(open_sources_are_bounded_and_come_back),
        cmocka_unit_test(a_row_that_could_not_be_changed_stays_as_it_was),
        cmocka_unit_test(left_over_segments_go_and_everything_else_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
