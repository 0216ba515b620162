/* Promises of store.h that both backends keep: each test runs once a backend. */
#include "store_tools.h"

#include "base/fault.h"
#include "base/mem.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#define T STORE_TENANT_DEFAULT

static struct backend backends[] = {{.name = "memory"}, {.name = "sqlite", .is_sqlite = true}};

static int set_up(void **state)
{
    struct backend *b = *state;
    if (b->is_sqlite)
        scratch_make(&b->scratch);
    backend_open(b);
    return 0;
}

static int tear_down(void **state)
{
    struct backend *b = *state;
    fault_disarm();
    backend_close(b);
    if (b->is_sqlite)
        scratch_remove(&b->scratch);
    return 0;
}

static struct store *store_of(void **state)
{
    return ((struct backend *)*state)->store;
}

static void put(struct store *s, const char *tenant, const char *id, const char *name)
{
    struct store_source src = source_row(tenant, id, name);
    struct err err;
    assert_int_equal(store_source_put(s, &src, &err), 0);
}

/* ---- sources ---- */

static void source_comes_back_as_it_was_put(void **state)
{
    struct store *s = store_of(state);
    struct store_source src = source_row(T, "a", "alpha"), got;
    char text[] = "bytes \xff\xfe that are no UTF-8";
    src.error = text;
    assert_int_equal(store_source_put(s, &src, NULL), 0);
    assert_int_equal(store_source_get(s, T, "a", &got, NULL), 0);
    assert_string_equal(got.id, "a");
    assert_string_equal(got.tenant, T);
    assert_string_equal(got.name, "alpha");
    assert_string_equal(got.kind, "local");
    assert_string_equal(got.location, "/src/alpha");
    assert_string_equal(got.index_file, "");
    assert_string_equal(got.state, "ready");
    assert_string_equal(got.error, text);
    assert_int_equal(got.files, 1);
    assert_int_equal(got.chunks, 2);
    assert_int_equal(got.bytes, 3);
    assert_int_equal(got.skipped, 4);
    assert_int_equal(got.created_ms, 5);
    assert_int_equal(got.indexed_ms, 6);
    store_source_done(&got);
    assert_int_equal(store_source_get(s, T, "b", &got, NULL), -ERR_NOT_FOUND);
}

static void source_put_again_replaces_but_keeps_the_skipped_list(void **state)
{
    struct store *s = store_of(state);
    char path[] = "x.bin", reason[] = "binary";
    struct store_skipped one = {path, reason}, *items;
    size_t count;
    put(s, T, "a", "alpha");
    assert_int_equal(store_skipped_put(s, T, "a", &one, 1, NULL), 0);
    put(s, T, "a", "omega");
    struct store_source got;
    assert_int_equal(store_source_get(s, T, "a", &got, NULL), 0);
    assert_string_equal(got.name, "omega");
    store_source_done(&got);
    assert_int_equal(store_source_find(s, T, "alpha", &got, NULL), -ERR_NOT_FOUND);
    assert_int_equal(store_skipped_list(s, T, "a", 0, 10, &items, &count, NULL), 0);
    assert_int_equal(count, 1);
    store_skipped_free(items, count);
}

static void source_name_belongs_to_one_source_of_a_tenant(void **state)
{
    struct store *s = store_of(state);
    put(s, T, "a", "alpha");
    put(s, T, "b", "beta");
    struct store_source src = source_row(T, "c", "alpha");
    struct err err;
    assert_int_equal(store_source_put(s, &src, &err), -ERR_EXISTS);
    assert_non_null(strstr(err.msg, "'alpha'"));
    assert_true(err.hint[0] != 0);
    src = source_row(T, "b", "alpha"); /* renaming onto it is refused too, and changes nothing */
    assert_int_equal(store_source_put(s, &src, &err), -ERR_EXISTS);
    struct store_source got;
    assert_int_equal(store_source_get(s, T, "b", &got, NULL), 0);
    assert_string_equal(got.name, "beta");
    store_source_done(&got);
}

static void source_is_found_by_name_before_location(void **state)
{
    struct store *s = store_of(state);
    put(s, T, "a", "alpha");
    struct store_source src = source_row(T, "b", "/src/alpha"), got; /* its name is a's location */
    assert_int_equal(store_source_put(s, &src, NULL), 0);
    assert_int_equal(store_source_find(s, T, "/src/alpha", &got, NULL), 0);
    assert_string_equal(got.id, "b");
    store_source_done(&got);
    assert_int_equal(store_source_delete(s, T, "b", NULL), 0);
    assert_int_equal(store_source_find(s, T, "/src/alpha", &got, NULL), 0);
    assert_string_equal(got.id, "a");
    store_source_done(&got);
    assert_int_equal(store_source_find(s, T, "nothing", &got, NULL), -ERR_NOT_FOUND);
}

static void sources_are_listed_by_name(void **state)
{
    struct store *s = store_of(state);
    struct store_source *items;
    size_t count = 99;
    assert_int_equal(store_source_list(s, T, &items, &count, NULL), 0);
    assert_int_equal(count, 0);
    mem_free(items);
    char id[16], name[16];
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "i%d", i);
        snprintf(name, sizeof name, "n%02d", (i * 7) % 40);
        put(s, T, id, name);
    }
    assert_int_equal(store_source_list(s, T, &items, &count, NULL), 0);
    assert_int_equal(count, 40);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "n%02d", i);
        assert_string_equal(items[i].name, name);
        store_source_done(&items[i]);
    }
    mem_free(items);
}

static void source_delete_takes_the_skipped_list_along(void **state)
{
    struct store *s = store_of(state);
    char path[] = "x", reason[] = "y";
    struct store_skipped one = {path, reason}, *items;
    size_t count;
    put(s, T, "a", "alpha");
    assert_int_equal(store_skipped_put(s, T, "a", &one, 1, NULL), 0);
    assert_int_equal(store_source_delete(s, T, "a", NULL), 0);
    assert_int_equal(store_source_delete(s, T, "a", NULL), -ERR_NOT_FOUND);
    put(s, T, "a", "alpha");
    assert_int_equal(store_skipped_list(s, T, "a", 0, 10, &items, &count, NULL), 0);
    assert_int_equal(count, 0);
    store_skipped_free(items, count);
}

static void tenants_do_not_see_each_other(void **state)
{
    struct store *s = store_of(state);
    put(s, T, "a", "alpha");
    put(s, "other", "a", "alpha"); /* same id and name */
    struct store_source got, *items;
    size_t count;
    assert_int_equal(store_source_get(s, "third", "a", &got, NULL), -ERR_NOT_FOUND);
    assert_int_equal(store_source_find(s, "third", "alpha", &got, NULL), -ERR_NOT_FOUND);
    assert_int_equal(store_source_delete(s, "other", "a", NULL), 0);
    assert_int_equal(store_source_list(s, T, &items, &count, NULL), 0);
    assert_int_equal(count, 1);
    store_source_done(&items[0]);
    mem_free(items);

    struct store_stream st = stream_row(T, "s"), back;
    assert_int_equal(post_and_wait(s, &st, 1, NULL, 0), 0);
    assert_int_equal(store_stream_get(s, "other", "s", &back, NULL), -ERR_NOT_FOUND);
    st = stream_row("other", "s");
    assert_int_equal(post_and_wait(s, &st, 1, NULL, 0), -ERR_EXISTS);
    assert_int_equal(store_stream_get(s, T, "s", &back, NULL), 0);
}

static void skipped_list_is_replaced_and_read_in_pages(void **state)
{
    struct store *s = store_of(state);
    enum { N = 1000 };
    static char paths[N][16];
    char reason[] = "binary";
    static struct store_skipped items[N];
    for (int i = 0; i < N; i++) {
        snprintf(paths[i], sizeof paths[i], "f%d", i);
        items[i] = (struct store_skipped){paths[i], reason};
    }
    struct store_skipped *got;
    size_t count;
    assert_int_equal(store_skipped_put(s, T, "a", items, N, NULL), -ERR_NOT_FOUND);
    put(s, T, "a", "alpha");
    assert_int_equal(store_skipped_put(s, T, "a", items, N, NULL), 0);
    for (size_t at = 0; at <= N; at += 300) {
        assert_int_equal(store_skipped_list(s, T, "a", at, 300, &got, &count, NULL), 0);
        assert_int_equal(count, at == 900 ? 100 : 300);
        assert_string_equal(got[0].path, paths[at]);
        assert_string_equal(got[count - 1].path, paths[at + count - 1]);
        assert_string_equal(got[0].reason, reason);
        store_skipped_free(got, count);
    }
    assert_int_equal(store_skipped_list(s, T, "a", N, 300, &got, &count, NULL), 0);
    assert_int_equal(count, 0);
    store_skipped_free(got, count);
    assert_int_equal(store_skipped_list(s, T, "a", SIZE_MAX, SIZE_MAX, &got, &count, NULL), 0);
    assert_int_equal(count, 0);
    store_skipped_free(got, count);
    assert_int_equal(store_skipped_put(s, T, "a", items + 5, 1, NULL), 0);
    assert_int_equal(store_skipped_list(s, T, "a", 0, 300, &got, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(got[0].path, "f5");
    store_skipped_free(got, count);
}

static void bad_arguments_are_refused(void **state)
{
    struct store *s = store_of(state);
    char id[STORE_ID_MAX + 8];
    memset(id, 'x', sizeof id - 1);
    id[sizeof id - 1] = 0;
    struct store_source got, src = source_row(T, "a", "");
    struct err err;
    assert_int_equal(store_source_put(s, &src, &err), -ERR_INVALID);
    assert_int_equal(store_source_get(s, T, id, &got, &err), -ERR_INVALID);
    assert_int_equal(store_source_get(s, T, "", &got, &err), -ERR_INVALID);
    assert_int_equal(store_source_find(s, T, "", &got, &err), -ERR_INVALID);
    char *big = calloc(1, 70000);
    memset(big, 'y', 69999);
    src = source_row(T, "a", "alpha");
    src.location = big;
    assert_int_equal(store_source_put(s, &src, &err), -ERR_TOO_LARGE);
    free(big);

    struct store_stream st = stream_row(T, "s");
    struct store_block b = {"s", 0, 1, SPAN_LIT("x")};
    assert_int_equal(post_and_wait(s, &st, 1, &b, 1), -ERR_INVALID); /* events count from 1 */
    b = (struct store_block){"s", 3, 2, SPAN_LIT("x")};
    assert_int_equal(post_and_wait(s, &st, 1, &b, 1), -ERR_INVALID);
    memset(st.id, 'x', sizeof st.id);
    assert_int_equal(post_and_wait(s, &st, 1, NULL, 0), -ERR_INVALID);
}

/* ---- streams ---- */

static void stream_row_is_inserted_then_updated(void **state)
{
    struct store *s = store_of(state);
    struct store_stream st = stream_row(T, "s"), got;
    assert_int_equal(store_stream_get(s, T, "s", &got, NULL), -ERR_NOT_FOUND);
    assert_int_equal(post_and_wait(s, &st, 1, NULL, 0), 0);
    st.last_seq = INT64_MAX;
    st.is_closed = true;
    st.closed_ms = 2000;
    snprintf(st.reason, sizeof st.reason, "stop");
    assert_int_equal(post_and_wait(s, &st, 1, NULL, 0), 0);
    assert_int_equal(store_stream_get(s, T, "s", &got, NULL), 0);
    assert_string_equal(got.id, "s");
    assert_string_equal(got.tenant, T);
    assert_string_equal(got.kind, "answer");
    assert_string_equal(got.reason, "stop");
    assert_true(got.last_seq == INT64_MAX);
    assert_true(got.is_closed);
    assert_int_equal(got.created_ms, 1000);
    assert_int_equal(got.closed_ms, 2000);
}

static void post_is_all_or_nothing(void **state)
{
    struct store *s = store_of(state);
    struct store_stream st = stream_row(T, "s"), got;
    struct store_block blocks[] = {{"s", 1, 2, SPAN_LIT("ab")}, {"unknown", 1, 1, SPAN_LIT("x")}};
    assert_int_equal(post_and_wait(s, &st, 1, blocks, 2), -ERR_NOT_FOUND);
    assert_int_equal(store_stream_get(s, T, "s", &got, NULL), -ERR_NOT_FOUND);
    assert_int_equal(post_and_wait(s, &st, 1, blocks, 1), 0);
    assert_int_equal(store_stream_get(s, T, "s", &got, NULL), 0);
}

static void check_block(struct store *s, uint64_t seq, uint64_t first, const char *bytes)
{
    char *got;
    size_t len;
    uint64_t got_first;
    assert_int_equal(store_block_get(s, "s", seq, &got, &len, &got_first, NULL), 0);
    assert_true(got_first == first);
    assert_int_equal(len, strlen(bytes));
    assert_memory_equal(got, bytes, len);
    mem_free(got);
}

static void block_is_found_by_any_event_in_it_or_before_it(void **state)
{
    struct store *s = store_of(state);
    struct store_stream st[] = {stream_row(T, "r"), stream_row(T, "s"), stream_row(T, "t")};
    struct store_block blocks[] = {
        {"s", 11, 20, SPAN_LIT("second")},   {"s", 1, 10, SPAN_LIT("first")},
        {"s", 31, 31, SPAN_LIT("fourth")},   {"t", 1, 99, SPAN_LIT("not ours")},
        {"r", 32, 99, SPAN_LIT("not ours")}, {"s", 40, 50, SPAN_NULL},
    };
    assert_int_equal(post_and_wait(s, st, 3, blocks, ARRAY_LEN(blocks)), 0);
    const struct {
        uint64_t seq, first;
        const char *bytes;
    } cases[] = {
        {0, 1, "first"},    {1, 1, "first"},    {10, 1, "first"},
        {11, 11, "second"}, {20, 11, "second"}, {21, 31, "fourth"},
        {31, 31, "fourth"}, {32, 40, ""},       {50, 40, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_block(s, cases[i].seq, cases[i].first, cases[i].bytes);
    char *bytes;
    size_t len;
    uint64_t first;
    const uint64_t past[] = {51, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(past); i++)
        assert_int_equal(store_block_get(s, "s", past[i], &bytes, &len, &first, NULL),
                         -ERR_NOT_FOUND);
    assert_int_equal(store_block_get(s, "nobody", 1, &bytes, &len, &first, NULL), -ERR_NOT_FOUND);
}

static void block_with_the_same_first_number_is_replaced(void **state)
{
    struct store *s = store_of(state);
    struct store_stream st = stream_row(T, "s");
    struct store_block b = {"s", 1, 10, SPAN_LIT("old")};
    assert_int_equal(post_and_wait(s, &st, 1, &b, 1), 0);
    b = (struct store_block){"s", 11, 20, SPAN_LIT("inside the new one")};
    assert_int_equal(post_and_wait(s, NULL, 0, &b, 1), 0);
    b = (struct store_block){"s", 1, 30, SPAN_LIT("new and longer")};
    assert_int_equal(post_and_wait(s, NULL, 0, &b, 1), 0);
    check_block(s, 5, 1, "new and longer");
    check_block(s, 15, 11, "inside the new one");
    check_block(s, 25, 1,
                "new and longer"); /* past the later block, back to the one that holds it */
}

static void post_copies_its_input(void **state)
{
    struct store *s = store_of(state);
    struct store_stream st = stream_row(T, "s");
    static char bytes[200000];
    char id[] = "s";
    memset(bytes, 'a', sizeof bytes);
    struct store_block b = {id, 1, 1, span_of(bytes, sizeof bytes)};
    for (int i = 0; i < 20; i++) { /* keeps the writer busy while the input is overwritten */
        b.first_seq = b.last_seq = (uint64_t)i + 1;
        memset(bytes, 'a' + i, sizeof bytes);
        assert_int_equal(store_post_streams(s, &st, 1, &b, 1, NULL, NULL), 0);
    }
    memset(bytes, '!', sizeof bytes);
    id[0] = '!';
    assert_int_equal(post_and_wait(s, NULL, 0, NULL, 0), 0); /* in order: all before are done */
    for (int i = 0; i < 20; i++) {
        char *got;
        size_t len;
        uint64_t first;
        assert_int_equal(store_block_get(s, "s", (uint64_t)i + 1, &got, &len, &first, NULL), 0);
        assert_int_equal(len, sizeof bytes);
        assert_true(got[0] == 'a' + i && got[len - 1] == 'a' + i);
        mem_free(got);
    }
}

static void unfinished_streams_are_those_not_closed(void **state)
{
    struct store *s = store_of(state);
    struct store_stream rows[30], *got;
    size_t count;
    for (int i = 0; i < 30; i++) {
        char id[8];
        snprintf(id, sizeof id, "s%02d", 29 - i);
        rows[i] = stream_row(i % 2 ? T : "other", id);
        rows[i].is_closed = i % 3 == 0;
    }
    assert_int_equal(post_and_wait(s, rows, 30, NULL, 0), 0);
    assert_int_equal(store_streams_unfinished(s, &got, &count, NULL), 0);
    assert_int_equal(count, 20);
    for (size_t i = 0; i < count; i++) {
        assert_false(got[i].is_closed);
        if (i)
            assert_true(strcmp(got[i - 1].id, got[i].id) < 0);
    }
    mem_free(got);
}

static void expire_deletes_the_oldest_closed_with_their_blocks(void **state)
{
    struct store *s = store_of(state);
    struct store_stream rows[10];
    struct store_block blocks[10];
    char ids[10][8];
    for (int i = 0; i < 10; i++) {
        snprintf(ids[i], sizeof ids[i], "s%d", i);
        rows[i] = stream_row(T, ids[i]);
        rows[i].is_closed = i != 0;
        rows[i].closed_ms = i * 100;
        blocks[i] = (struct store_block){ids[i], 1, 1, SPAN_LIT("x")};
    }
    assert_int_equal(post_and_wait(s, rows, 10, blocks, 10), 0);
    size_t count;
    assert_int_equal(store_streams_expire(s, 500, 3, &count, NULL), 0);
    assert_int_equal(count, 3); /* 1, 2, 3 of 1 … 4 */
    struct store_stream got;
    for (int i = 0; i < 10; i++) {
        int want = i >= 1 && i <= 3 ? -ERR_NOT_FOUND : 0;
        char *bytes = NULL;
        size_t len;
        uint64_t first;
        assert_int_equal(store_stream_get(s, T, ids[i], &got, NULL), want);
        assert_int_equal(store_block_get(s, ids[i], 1, &bytes, &len, &first, NULL), want);
        mem_free(bytes);
    }
    assert_int_equal(store_streams_expire(s, 500, SIZE_MAX, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_int_equal(store_streams_expire(s, 500, SIZE_MAX, &count, NULL), 0);
    assert_int_equal(count, 0);
}

/* ---- threads ---- */

#define THREADS 4
#define POSTS 2500
#define AT_ONCE 1000 /* THREADS of it stay below the queue's bound */

struct poster {
    struct store *store;
    int id;
    sem_t window;
    int last_done; /* writer thread only, until all are done */
    bool is_ordered;
};
struct posted {
    struct poster *by;
    int number;
};

static void on_posted(void *ctx, int result)
{
    struct posted *p = ctx;
    p->by->is_ordered &= result == 0 && p->number == p->by->last_done + 1;
    p->by->last_done = p->number;
    sem_post(&p->by->window);
    mem_free(p);
}

static void *post_many(void *arg)
{
    struct poster *by = arg;
    char id[16];
    snprintf(id, sizeof id, "s%d", by->id);
    for (int i = 1; i <= POSTS; i++) {
        while (sem_wait(&by->window))
            ;
        struct posted *p = mem_alloc(sizeof *p);
        *p = (struct posted){by, i};
        struct store_stream st = stream_row(T, id);
        st.last_seq = (uint64_t)i;
        struct store_block b = {id, (uint64_t)i, (uint64_t)i, SPAN_LIT("payload")};
        if (store_post_streams(by->store, &st, 1, &b, 1, on_posted, p))
            abort();
    }
    for (int i = 0; i < AT_ONCE; i++)
        while (sem_wait(&by->window))
            ;
    return NULL;
}

static void posts_from_many_threads_are_all_done_in_order_of_each(void **state)
{
    struct store *s = store_of(state);
    pthread_t threads[THREADS];
    struct poster by[THREADS];
    for (int i = 0; i < THREADS; i++) {
        by[i] = (struct poster){.store = s, .id = i, .is_ordered = true};
        sem_init(&by[i].window, 0, AT_ONCE);
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &by[i]), 0);
    }
    for (int i = 0; i < 200; i++) { /* blocking writes and reads go on beside them */
        put(s, T, "a", "alpha");
        struct store_source got;
        assert_int_equal(store_source_get(s, T, "a", &got, NULL), 0);
        store_source_done(&got);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(by[i].is_ordered);
        assert_int_equal(by[i].last_done, POSTS);
        sem_destroy(&by[i].window);
        char id[16];
        snprintf(id, sizeof id, "s%d", i);
        struct store_stream got;
        assert_int_equal(store_stream_get(s, T, id, &got, NULL), 0);
        assert_int_equal(got.last_seq, POSTS);
    }
}

static void *read_many(void *arg)
{
    struct store *s = arg;
    for (int i = 0; i < 300; i++) {
        struct store_source got;
        if (store_source_find(s, T, "alpha", &got, NULL))
            abort();
        store_source_done(&got);
    }
    return NULL;
}

static void more_readers_than_connections_wait_for_one(void **state)
{
    struct store *s = store_of(state);
    put(s, T, "a", "alpha");
    pthread_t threads[12];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, s), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
}

struct gate {
    sem_t entered, open;
};

static void hold_writer(void *ctx, int result)
{
    struct gate *g = ctx;
    assert_int_equal(result, 0);
    sem_post(&g->entered);
    while (sem_wait(&g->open))
        ;
}

static void count_done(void *ctx, int result)
{
    *(int *)ctx += result == 0;
}

static void full_queue_refuses_and_close_finishes_what_was_posted(void **state)
{
    struct backend *b = *state;
    struct gate g;
    sem_init(&g.entered, 0, 0);
    sem_init(&g.open, 0, 0);
    assert_int_equal(store_post_streams(b->store, NULL, 0, NULL, 0, hold_writer, &g), 0);
    while (sem_wait(&g.entered))
        ;
    int posted = 0, done = 0, r;
    struct store_stream st = stream_row(T, "s");
    while ((r = store_post_streams(b->store, &st, 1, NULL, 0, count_done, &done)) == 0)
        assert_true(++posted < 100000);
    assert_int_equal(r, -ERR_LIMIT);
    assert_true(posted >= 1000);
    sem_post(&g.open);
    backend_close(b);
    assert_int_equal(done, posted);
    backend_open(b);
}

/* ---- faults ---- */

/* One of each operation; any may fail, none may do half of its work or crash. */
static void walk_all(struct store *s)
{
    struct err err;
    char path[] = "p", reason[] = "r";
    struct store_skipped one = {path, reason}, *skipped;
    struct store_source src = source_row(T, "f", "faulty"), got, *sources;
    struct store_stream st = stream_row(T, "f"), *open, row;
    struct store_block b = {"f", 1, 2, SPAN_LIT("bytes")};
    size_t count;
    (void)!store_source_put(s, &src, &err);
    (void)!store_skipped_put(s, T, "f", &one, 1, &err);
    if (!store_source_find(s, T, "faulty", &got, &err))
        store_source_done(&got);
    if (!store_source_list(s, T, &sources, &count, &err)) {
        for (size_t i = 0; i < count; i++)
            store_source_done(&sources[i]);
        mem_free(sources);
    }
    if (!store_skipped_list(s, T, "f", 0, 9, &skipped, &count, &err))
        store_skipped_free(skipped, count);
    int posted = post_and_wait(s, &st, 1, &b, 1);
    char *bytes;
    size_t len;
    uint64_t first;
    int r = store_block_get(s, "f", 1, &bytes, &len, &first, &err);
    if (!r)
        mem_free(bytes);
    assert_true(r != -ERR_NOT_FOUND || posted != 0); /* acknowledged = there */
    (void)!store_stream_get(s, T, "f", &row, &err);
    if (!store_streams_unfinished(s, &open, &count, &err))
        mem_free(open);
    (void)!store_streams_expire(s, 1, 1, &count, &err);
    (void)!store_source_delete(s, T, "f", &err);
}

static void walk_faults(struct store *s, enum fault_site site)
{
    put(s, T, "kept", "kept");
    for (uint64_t nth = 1;; nth++) {
        assert_true(nth < 1000);
        fault_arm(site, nth, 0);
        walk_all(s);
        bool is_past = fault_seen(site) < nth;
        fault_disarm();
        struct store_source got; /* usable as ever */
        assert_int_equal(store_source_get(s, T, "kept", &got, NULL), 0);
        store_source_done(&got);
        if (is_past)
            break;
    }
    walk_all(s);
    fault_arm(site, 1, 1u << 30);
    walk_all(s);
    fault_disarm();
    walk_all(s);
}

static void every_failing_allocation_is_survived(void **state)
{
    walk_faults(store_of(state), FAULT_ALLOC);
}

static void every_failing_sql_step_is_survived(void **state)
{
    walk_faults(store_of(state), FAULT_SQL);
}

int main(void)
{
#define CASE(f)                        \
    {                                  \
#f, f, set_up, tear_down, NULL \
    }
    struct CMUnitTest tests[] = {
        CASE(source_comes_back_as_it_was_put),
        CASE(source_put_again_replaces_but_keeps_the_skipped_list),
        CASE(source_name_belongs_to_one_source_of_a_tenant),
        CASE(source_is_found_by_name_before_location),
        CASE(sources_are_listed_by_name),
        CASE(source_delete_takes_the_skipped_list_along),
        CASE(tenants_do_not_see_each_other),
        CASE(skipped_list_is_replaced_and_read_in_pages),
        CASE(bad_arguments_are_refused),
        CASE(stream_row_is_inserted_then_updated),
        CASE(post_is_all_or_nothing),
        CASE(block_is_found_by_any_event_in_it_or_before_it),
        CASE(block_with_the_same_first_number_is_replaced),
        CASE(post_copies_its_input),
        CASE(unfinished_streams_are_those_not_closed),
        CASE(expire_deletes_the_oldest_closed_with_their_blocks),
        CASE(posts_from_many_threads_are_all_done_in_order_of_each),
        CASE(more_readers_than_connections_wait_for_one),
        CASE(full_queue_refuses_and_close_finishes_what_was_posted),
        CASE(every_failing_allocation_is_survived),
        CASE(every_failing_sql_step_is_survived),
    };
    int failed = 0;
    for (size_t b = 0; b < ARRAY_LEN(backends); b++) {
        for (size_t i = 0; i < ARRAY_LEN(tests); i++)
            tests[i].initial_state = &backends[b];
        failed += cmocka_run_group_tests_name(backends[b].name, tests, NULL, NULL);
    }
    return failed;
}
