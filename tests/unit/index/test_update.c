/* Promises of updates and merges: what comes out is what a full rebuild gives. */
#include "../cm.h"
#include "base/fault.h"
#include "base/mem.h"
#include "index/index_priv.h"
#include "make_index.h"
#include "make_tree.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define K_MAX 1000

static void assert_span_eq(struct span a, struct span b)
{
    assert_true(span_eq(a, b));
}

static void assert_same_content(const struct index *a, const struct index *b)
{
    struct index_stats sa, sb;
    index_stats(a, &sa);
    index_stats(b, &sb);
    assert_int_equal(sa.files, sb.files);
    assert_int_equal(sa.chunks, sb.chunks);
    assert_int_equal(sa.text_bytes, sb.text_bytes);
    struct index_file_view f, g, h;
    struct index_chunk_view c, d;
    for (uint32_t i = 0; i < sa.files; i++) {
        assert_true(index_file(a, i, &f) && index_file(b, i, &g));
        assert_span_eq(f.path, g.path);
        assert_span_eq(f.text, g.text);
        assert_span_eq(f.language, g.language);
        assert_true(f.first_chunk == g.first_chunk && f.chunk_count == g.chunk_count &&
                    f.is_test == g.is_test && f.size == g.size && f.mtime_ns == g.mtime_ns &&
                    f.stamp == g.stamp && memcmp(f.hash, g.hash, INDEX_HASH_BYTES) == 0);
        assert_true(index_file_by_path(a, f.path, &h) && h.id == i);
    }
    for (uint32_t i = 0; i < sa.chunks; i++) {
        assert_true(index_chunk(a, i, &c) && index_chunk(b, i, &d));
        assert_true(c.file == d.file && c.start_line == d.start_line && c.kind == d.kind);
        assert_span_eq(c.text, d.text);
        assert_span_eq(c.symbol, d.symbol);
        assert_span_eq(c.symbol_kind, d.symbol_kind);
    }
    assert_false(index_file(a, sa.files, &f) || index_chunk(a, sa.chunks, &c));
}

/* The same ids and the same scores, to the bit. */
static void assert_same_answers(const struct index *a, const struct index *b, uint64_t seed,
                                unsigned questions)
{
    static const unsigned ks[] = {1, 3, 10, 100, K_MAX};
    static struct index_hit x[K_MAX], y[K_MAX];
    for (unsigned i = 0; i < questions; i++) {
        char q[512];
        tree_query(&seed, 1 + i % 9, q, sizeof q);
        unsigned k = ks[i % 5];
        int n = index_search(a, span_str(q), x, k);
        assert_true(n >= 0);
        assert_int_equal(index_search(b, span_str(q), y, k), n);
        assert_memory_equal(x, y, (size_t)n * sizeof *x);
        assert_int_equal(index_search_exhaustive(a, span_str(q), y, k), n);
        assert_memory_equal(x, y, (size_t)n * sizeof *x);
        struct index_chunk_view c;
        if (n == 0 || !index_chunk(a, x[n - 1].chunk, &c))
            continue;
        struct index_term_weight v[16] = {0}, w[16] = {0};
        int terms = index_explain(a, span_str(q), c.id, v, 16);
        assert_int_equal(index_explain(b, span_str(q), c.id, w, 16), terms);
        assert_memory_equal(v, w, sizeof v);
        n = index_search_file(a, span_str(q), c.file, x, 10);
        assert_int_equal(index_search_file(b, span_str(q), c.file, y, 10), n);
        assert_memory_equal(x, y, (size_t)n * sizeof *x);
        float ia = index_idf(a, span_of(q, strcspn(q, "q"))),
              ib = index_idf(b, span_of(q, strcspn(q, "q")));
        assert_memory_equal(&ia, &ib, sizeof ia);
    }
}

static void assert_equals_rebuild(const struct index *ix, const struct tree *t, uint64_t seed)
{
    struct index *full;
    struct err err = {0};
    assert_int_equal(tree_build(t, &err), 0);
    assert_int_equal(index_open(t->full, &full, &err), 0);
    assert_same_content(ix, full);
    assert_same_answers(ix, full, seed, 60);
    index_unref(full);
}

static void merge_now(struct tree_update *u, struct index *from)
{
    struct index_merge *m;
    struct index *next;
    struct err err = {0};
    assert_int_equal(index_merge_new(u->tree->manifest, from, NULL, &m, &err), 0);
    assert_int_equal(index_merge_publish(m, u->current, &next, &err), 0);
    index_merge_free(m);
    index_unref(u->current);
    u->current = next;
}

/* ---- a thousand edits ---- */

static struct {
    uint64_t seed;
    struct index_merge *merge; /* begun on a snapshot that may be older than the current */
    unsigned merges, late;
    uint64_t begun_content;
} chance;

/* Begins merges and publishes them later, as one in the background would. */
static void merge_by_chance(struct tree_update *u)
{
    struct err err = {0};
    struct index *next;
    if (chance.merge && made_random(&chance.seed) % 3 == 0) {
        chance.late += u->current->content != chance.begun_content;
        assert_int_equal(index_merge_publish(chance.merge, u->current, &next, &err), 0);
        index_merge_free(take_ptr(chance.merge));
        index_unref(u->current);
        u->current = next;
        chance.merges++;
    } else if (!chance.merge && u->current && index_merge_is_due(u->current)) {
        chance.begun_content = u->current->content;
        assert_int_equal(index_merge_new(u->tree->manifest, u->current, NULL, &chance.merge, &err),
                         0);
    }
}

static size_t count_files(const struct tree *t, const char *ending)
{
    size_t n = 0;
    DIR *d = opendir(t->dir);
    const struct dirent *e;
    while ((e = readdir(d)))
        n += span_ends(span_str(e->d_name), span_str(ending));
    closedir(d);
    return n;
}

static void edit_a_thousand_times(uint64_t seed, uint64_t checkpoint_bytes)
{
    static struct tree t;
    struct err err = {0};
    print_message("seed %llu\n", (unsigned long long)seed);
    tree_init(&t, 150, seed);
    chance.seed = seed;
    chance.merges = chance.late = 0;
    struct tree_update u = {
        .tree = &t, .checkpoint_bytes = checkpoint_bytes, .before_publish = merge_by_chance};
    assert_int_equal(tree_update(&u, "f", &err), 0);
    assert_true((u.checkpoints > 0) == (checkpoint_bytes > 0));
    assert_equals_rebuild(u.current, &t, seed);
    unsigned edits = 0, updates = 0, most = 0;
    while (edits < 1000) {
        unsigned n = 1 + (unsigned)(made_random(&t.seed) % 12);
        for (unsigned i = 0; i < n; i++, edits++)
            tree_edit(&t);
        assert_int_equal(tree_update(&u, "f", &err), 0);
        struct index_stats st;
        index_stats(u.current, &st);
        most = st.segments > most ? st.segments : most;
        if (updates++ % 6)
            continue;
        assert_equals_rebuild(u.current, &t, seed + edits);
        struct index *again;
        assert_int_equal(index_open(t.manifest, &again, &err), 0);
        index_stats(again, &st);
        assert_string_equal(st.damage, "");
        assert_same_content(again, u.current);
        assert_same_answers(again, u.current, seed + edits, 10);
        index_unref(again);
    }
    assert_true(chance.merges > 3 && chance.late > 0 && most > 3);
    if (chance.merge)
        index_merge_free(take_ptr(chance.merge));
    struct index_stats st;
    index_stats(u.current, &st);
    assert_int_equal(count_files(&t, INDEX_SEGMENT_SUFFIX), st.segments); /* no left-over */
    index_unref(u.current);
    tree_done(&t);
}

static void a_thousand_edits_give_what_a_rebuild_gives(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++)
        edit_a_thousand_times(seed, 0);
}

static void so_they_do_with_checkpoints(void **state)
{
    (void)state;
    edit_a_thousand_times(4, 6000);
}

/* ---- merges ---- */

static void merging_everything_gives_the_bytes_of_a_rebuild(void **state)
{
    (void)state;
    static struct tree t;
    struct err err = {0};
    tree_init(&t, 200, 9);
    struct tree_update u = {.tree = &t};
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(tree_update(&u, "f", &err), 0);
        for (unsigned k = 0; k < 15; k++)
            tree_edit(&t);
    }
    assert_int_equal(tree_update(&u, "f", &err), 0);
    assert_int_equal(u.current->parts_count, 7);
    struct index_merge *m;
    struct index *next;
    assert_int_equal(index_merge_all(t.manifest, u.current, &m, &err), 0);
    assert_int_equal(index_merge_publish(m, u.current, &next, &err), 0);
    index_merge_free(m);
    assert_int_equal(next->parts_count, 1);
    assert_int_equal(tree_build(&t, &err), 0);
    char path[SEG_PATH_MAX + 80];
    assert_int_equal(segment_path_of(t.manifest, next->parts[0].name, path, &err), 0);
    size_t n1, n2;
    unsigned char *merged = read_whole(path, &n1), *built = read_whole(t.full, &n2);
    assert_int_equal(n1, n2);
    assert_memory_equal(merged, built, n1);
    free(merged);
    free(built);
    index_unref(next);
    index_unref(u.current);
    tree_done(&t);
}

static void segments_stay_few_however_many_updates(void **state)
{
    (void)state;
    static struct tree t;
    struct err err = {0};
    tree_init(&t, 300, 10);
    struct tree_update u = {.tree = &t};
    unsigned merges = 0;
    assert_int_equal(tree_update(&u, "f", &err), 0);
    for (unsigned i = 0; i < 120; i++) {
        tree_edit(&t);
        assert_int_equal(tree_update(&u, "f", &err), 0);
        if (index_merge_is_due(u.current)) {
            struct index *from = index_ref(u.current);
            merge_now(&u, from);
            index_unref(from);
            merges++;
        }
        assert_true(u.current->parts_count <= 1 + INDEX_DELTAS_MAX);
    }
    assert_true(merges > 3 && merges < 60);
    assert_equals_rebuild(u.current, &t, 10);
    index_unref(u.current);
    tree_done(&t);
}

/* ---- what is done for a change ---- */

static void only_what_changed_is_touched(void **state)
{
    (void)state;
    static struct tree t;
    struct err err = {0};
    tree_init(&t, 100, 11);
    struct tree_update u = {.tree = &t};
    assert_int_equal(tree_update(&u, "f", &err), 0);
    assert_int_equal(u.changes.added, 100);
    struct index *before = index_ref(u.current);
    assert_int_equal(tree_update(&u, "f", &err), 0);
    assert_ptr_equal(u.current, before); /* nothing changed: nothing is written */
    index_unref(before);
    size_t gone = 0, touched = 50, free_place = 0;
    while (!t.files[gone].is_there)
        gone++;
    while (!t.files[touched].is_there || touched == gone)
        touched++;
    while (t.files[free_place].is_there || free_place % 3 != touched % 3)
        free_place++;
    t.files[gone].is_there = false;
    t.files[touched].stamp += 100000;
    t.files[free_place] = t.files[touched];
    assert_int_equal(tree_update(&u, "f", &err), 0);
    assert_int_equal(u.changes.removed, 1);
    assert_int_equal(u.changes.touched, 1);
    assert_int_equal(u.changes.added, 1);
    assert_int_equal(u.changes.moved, 1);
    assert_int_equal(u.changes.unchanged, 99);
    assert_equals_rebuild(u.current, &t, 11);
    assert_int_equal(tree_update(&u, "f", &err), 0);
    assert_int_equal(u.changes.touched, 0); /* the new stamp is remembered */
    index_unref(u.current);
    tree_done(&t);
}

static void everything_may_go_and_come_back(void **state)
{
    (void)state;
    static struct tree t;
    struct err err = {0};
    tree_init(&t, 40, 12);
    struct tree_update u = {.tree = &t};
    assert_int_equal(tree_update(&u, "f", &err), 0);
    for (size_t i = 0; i < TREE_FILES_MAX; i++)
        t.files[i].is_there = false;
    assert_int_equal(tree_update(&u, "g", &err), 0);
    assert_int_equal(u.changes.removed, 40);
    assert_equals_rebuild(u.current, &t, 12);
    assert_int_equal(count_files(&t, INDEX_SEGMENT_SUFFIX), 0);
    for (unsigned i = 0; i < 20; i++)
        tree_edit(&t);
    assert_int_equal(tree_update(&u, "h", &err), 0);
    assert_equals_rebuild(u.current, &t, 12);
    index_unref(u.current);
    tree_done(&t);
}

/* ---- damage ---- */

static void spoil(const char *path)
{
    size_t len;
    unsigned char *bytes = read_whole(path, &len);
    bytes[len / 2] ^= 1;
    write_whole(path, bytes, len);
    free(bytes);
}

/* The base of three segments, and then a delta of them, is damaged or gone. */
static void exactly_the_files_of_a_damaged_segment_are_indexed_again(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 4; how++) {
        static struct tree t;
        struct err err = {0};
        char path[SEG_PATH_MAX + 80];
        struct index_stats st;
        tree_init(&t, 120, 20 + how);
        struct tree_update u = {.tree = &t};
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(tree_update(&u, "f", &err), 0);
            for (unsigned k = 0; k < 8; k++)
                tree_edit(&t);
        }
        assert_int_equal(tree_update(&u, "f", &err), 0);
        const struct part *p = &u.current->parts[how % 2 ? 2 : 0];
        uint32_t lost = p->seg->files_count - p->dead_count;
        assert_int_equal(segment_path_of(t.manifest, p->name, path, &err), 0);
        index_unref(u.current);
        if (how < 2)
            spoil(path);
        else
            unlink(path);
        assert_int_equal(index_open(t.manifest, &u.current, &err), 0);
        index_stats(u.current, &st);
        assert_non_null(strstr(st.damage, "1 of "));
        assert_string_equal(st.fingerprint, "");
        assert_int_equal(st.files, tree_count(&t) - lost);
        assert_int_equal(count_files(&t, INDEX_SEGMENT_SUFFIX ".damaged-1"), how < 2);
        assert_int_equal(tree_update(&u, "f", &err), 0);
        assert_int_equal(u.changes.added, lost);
        assert_int_equal(u.changes.changed + u.changes.removed, 0);
        assert_equals_rebuild(u.current, &t, how);
        index_unref(u.current);
        assert_int_equal(index_open(t.manifest, &u.current, &err), 0);
        index_stats(u.current, &st);
        assert_string_equal(st.damage, "");
        index_unref(u.current);
        tree_done(&t);
    }
}

static void a_damaged_manifest_is_set_aside(void **state)
{
    (void)state;
    static struct tree t;
    struct err err = {0};
    struct index *ix;
    tree_init(&t, 30, 30);
    struct tree_update u = {.tree = &t};
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(tree_update(&u, "f", &err), 0);
        index_unref(take_ptr(u.current));
        spoil(t.manifest);
        assert_int_equal(index_open(t.manifest, &ix, &err), -ERR_CORRUPT);
        assert_int_equal(index_open(t.manifest, &ix, &err), -ERR_NOT_FOUND);
    }
    assert_int_equal(count_files(&t, ".damaged-4"), 1);
    assert_int_equal(count_files(&t, ".damaged-5"), 0); /* bounded */
    tree_done(&t);
}

/* ---- failures ---- */

/* One update and one merge with the nth call failing: it succeeds or says why, and what was there stays. */
static bool fail_once(struct tree *t, enum fault_site site, uint64_t nth)
{
    struct err err = {0};
    struct index *ix;
    struct tree_update u = {.tree = t, .checkpoint_bytes = 6000};
    assert_int_equal(index_open(t->manifest, &u.current, &err), 0);
    struct index *before = index_ref(u.current);
    fault_arm(site, nth, 0);
    int rc = tree_update(&u, "f", &err);
    struct index_merge *m = NULL;
    if (rc == 0)
        rc = index_merge_all(t->manifest, u.current, &m, &err);
    if (rc == 0)
        rc = index_merge_publish(m, u.current, &ix, &err);
    bool was_last = fault_seen(site) < nth;
    fault_disarm();
    if (rc == 0)
        index_unref(ix);
    else
        assert_true(err.msg[0] && err.code == -rc);
    index_merge_free(m);
    index_unref(before);
    index_unref(u.current);
    assert_int_equal(index_open(t->manifest, &ix, &err), 0); /* sound, whatever happened */
    struct index_stats st;
    index_stats(ix, &st);
    assert_string_equal(st.damage, "");
    assert_int_equal(count_files(t, INDEX_SEGMENT_SUFFIX), st.segments);
    assert_int_equal(count_files(t, ".partial"), 0);
    index_unref(ix);
    return was_last;
}

static void walk_failures(enum fault_site site)
{
    static struct tree t;
    struct err err = {0};
    tree_init(&t, 60, 40);
    struct tree_update u = {.tree = &t};
    assert_int_equal(tree_update(&u, "f", &err), 0);
    index_unref(u.current);
    for (uint64_t nth = 1;; nth++) {
        for (unsigned i = 0; i < 3; i++)
            tree_edit(&t);
        if (fail_once(&t, site, nth) || nth > 400)
            break;
    }
    assert_int_equal(index_open(t.manifest, &u.current, &err), 0);
    assert_int_equal(tree_update(&u, "f", &err), 0);
    assert_equals_rebuild(u.current, &t, 40);
    index_unref(u.current);
    tree_done(&t);
}

static void updates_survive_every_failed_call(void **state)
{
    (void)state;
    walk_failures(FAULT_ALLOC);
    walk_failures(FAULT_WRITE);
    walk_failures(FAULT_SYNC);
    walk_failures(FAULT_READ);
}

/* ---- kill -9 ---- */

static void a_kill_at_any_moment_leaves_a_whole_snapshot(void **state)
{
    (void)state;
    static struct tree t;
    struct err err = {0};
    tree_init(&t, 200, 50);
    struct tree_update u = {.tree = &t};
    assert_int_equal(tree_update(&u, "f", &err), 0);
    index_unref(u.current);
    for (unsigned round = 0; round < 40; round++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) { /* edits and updates until it is killed */
            struct tree_update w = {
                .tree = &t, .checkpoint_bytes = 4000, .before_publish = merge_by_chance};
            chance.seed = round;
            if (index_open(t.manifest, &w.current, &err) < 0)
                _exit(2);
            for (;;) {
                tree_edit(&t);
                if (tree_update(&w, "f", &err) < 0)
                    _exit(3);
            }
        }
        usleep(1000 + (useconds_t)(made_random(&t.seed) % 30000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        struct index_stats st;
        struct index_hit hits[10];
        assert_int_equal(index_open(t.manifest, &u.current, &err), 0);
        index_stats(u.current, &st);
        assert_string_equal(st.damage, "");
        assert_true(index_search(u.current, SPAN_LIT("waq wbq1"), hits, 10) > 0);
        assert_int_equal(tree_update(&u, "f", &err), 0);
        if (round % 5 == 0)
            assert_equals_rebuild(u.current, &t, round);
        index_unref(u.current);
    }
    tree_done(&t);
}

/* ---- beside searches ---- */

static struct {
    pthread_mutex_t lock;
    struct index *current;
    _Atomic bool is_over;
    _Atomic unsigned searches;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct index *shared_index(void)
{
    pthread_mutex_lock(&shared.lock);
    struct index *ix = index_ref(shared.current);
    pthread_mutex_unlock(&shared.lock);
    return ix;
}

static void *search_on(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    struct index_hit hits[20];
    while (!atomic_load(&shared.is_over)) {
        struct index *ix = shared_index();
        char q[256];
        tree_query(&seed, 4, q, sizeof q);
        int n = index_search(ix, span_str(q), hits, 20);
        for (int i = 0; i < n; i++) {
            struct index_chunk_view c;
            struct index_file_view f, g;
            if (!index_chunk(ix, hits[i].chunk, &c) || !index_file(ix, c.file, &f) ||
                !index_file_by_path(ix, c.path, &g) || g.id != c.file ||
                c.id - f.first_chunk >= f.chunk_count)
                abort(); /* half a file */
        }
        index_unref(ix);
        atomic_fetch_add(&shared.searches, 1);
    }
    return NULL;
}

static void searches_go_on_beside_updates_and_merges(void **state)
{
    (void)state;
    static struct tree t;
    struct err err = {0};
    pthread_t threads[2];
    tree_init(&t, 150, 60);
    chance.seed = 60;
    struct tree_update u = {
        .tree = &t, .checkpoint_bytes = 5000, .before_publish = merge_by_chance};
    assert_int_equal(tree_update(&u, "f", &err), 0);
    shared.current = index_ref(u.current);
    for (uintptr_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, search_on, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < 60 || atomic_load(&shared.searches) < 200; i++) {
        for (unsigned k = 0; k < 5; k++)
            tree_edit(&t);
        assert_int_equal(tree_update(&u, "f", &err), 0);
        pthread_mutex_lock(&shared.lock);
        struct index *old = shared.current;
        shared.current = index_ref(u.current);
        pthread_mutex_unlock(&shared.lock);
        index_unref(old);
    }
    atomic_store(&shared.is_over, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_equals_rebuild(u.current, &t, 60);
    if (chance.merge)
        index_merge_free(take_ptr(chance.merge));
    index_unref(shared.current);
    index_unref(u.current);
    tree_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_edits_give_what_a_rebuild_gives),
        cmocka_unit_test(so_they_do_with_checkpoints),
        cmocka_unit_test(merging_everything_gives_the_bytes_of_a_rebuild),
        cmocka_unit_test(segments_stay_few_however_many_updates),
        cmocka_unit_test(only_what_changed_is_touched),
        cmocka_unit_test(everything_may_go_and_come_back),
        cmocka_unit_test(exactly_the_files_of_a_damaged_segment_are_indexed_again),
        cmocka_unit_test(a_damaged_manifest_is_set_aside),
        cmocka_unit_test(updates_survive_every_failed_call),
        cmocka_unit_test(a_kill_at_any_moment_leaves_a_whole_snapshot),
        cmocka_unit_test(searches_go_on_beside_updates_and_merges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
