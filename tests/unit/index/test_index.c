/* Promises of the lexical index: scores, pruning, persistence, bounded memory. */
#include "../cm.h"
#include "index/index_priv.h"
#include "make_index.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct index *open_made(struct made *m, unsigned files, uint64_t seed)
{
    struct index *ix = NULL;
    struct err err = {0};
    made_init(m, files, seed);
    assert_int_equal(made_build(m, m->path, 0, &err), 0);
    assert_int_equal(index_open(m->path, &ix, &err), 0);
    return ix;
}

static void stored_files_and_chunks_come_back(void **state)
{
    (void)state;
    static struct made m;
    struct index *ix = open_made(&m, 200, 1);
    struct index_stats st;
    index_stats(ix, &st);
    assert_int_equal(st.files, 200);
    assert_int_equal(st.chunks, m.chunks);
    assert_string_equal(st.revision, "0123abcd");
    assert_string_equal(st.fingerprint, "f00d");
    assert_int_equal(st.analyzer, ANALYZER_CODE);
    struct index_chunk_view c;
    struct index_file_view f;
    for (uint32_t i = 0; i < m.chunks; i++) {
        assert_true(index_chunk(ix, i, &c));
        assert_true(span_is(c.text, m.texts[i]) && span_is(c.symbol, m.symbols[i]) &&
                    span_is(c.path, m.paths[i]));
        assert_true(span_is(c.language, "c") && span_is(c.symbol_kind, "function"));
        assert_int_equal(c.file, m.chunk_file[i]);
        assert_true(index_file_by_path(ix, span_str(m.paths[i]), &f));
        assert_int_equal(f.id, c.file);
        assert_int_equal(f.is_test, f.id % 5 == 0);
        assert_int_equal(f.mtime_ns, f.id);
    }
    assert_false(index_chunk(ix, m.chunks, &c));
    assert_false(index_file(ix, 200, &f));
    assert_false(index_file_by_path(ix, SPAN_LIT("no/such"), &f));
    index_unref(ix);
    made_done(&m);
}

static void pruned_search_equals_exhaustive(void **state)
{
    (void)state;
    static struct made m;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct index *ix = open_made(&m, 50 + 150 * (unsigned)seed, seed);
        uint64_t r = seed;
        for (unsigned i = 0; i < 300; i++) {
            static const unsigned ks[] = {1, 3, 10, 100, 1000};
            static struct index_hit a[1000], b[1000];
            char q[512];
            made_query(&r, 1 + i % 9, q, sizeof q);
            unsigned k = ks[i % 5];
            int n = index_search(ix, span_str(q), a, k);
            assert_int_equal(index_search_exhaustive(ix, span_str(q), b, k), n);
            assert_memory_equal(a, b, (size_t)n * sizeof *a);
            for (int h = 1; h < n; h++)
                assert_true(a[h - 1].score > a[h].score ||
                            (!(a[h - 1].score < a[h].score) && a[h - 1].chunk < a[h].chunk));
        }
        index_unref(ix);
        made_done(&m);
    }
}

/* ---- an independent BM25, from the words of lexical.h ---- */

struct counting {
    const char *term;
    double tf, length, weight;
};

static void count_term(void *ctx, struct span term, uint32_t position)
{
    struct counting *c = ctx;
    (void)position;
    c->length += c->weight;
    c->tf += span_is(term, c->term) ? c->weight : 0;
}

static struct counting count_chunk(const struct made *m, uint32_t i, const char *term)
{
    struct counting c = {term, 0, 0, 1};
    analyze(ANALYZER_CODE, span_str(m->texts[i]), count_term, &c);
    c.weight = 4;
    analyze(ANALYZER_CODE, span_str(m->symbols[i]), count_term, &c);
    c.weight = 3;
    analyze(ANALYZER_CODE, span_str(m->paths[i]), count_term, &c);
    return c;
}

static double bm25(double tf, double length, double average, double total, double with)
{
    double idf = log(1 + (total - with + .5) / (with + .5));
    return idf * tf * 2.2 / (tf + 1.2 * (1 - .75 + .75 * length / average));
}

/* Adds one term's share to the scores of all chunks. */
static void add_oracle(const struct made *m, const char *term, double *scores)
{
    static double tf[MADE_CHUNKS_MAX], len[MADE_CHUNKS_MAX], file_tf[MADE_CHUNKS_MAX],
        file_len[MADE_CHUNKS_MAX];
    double chunks_with = 0, files_with = 0, total = 0;
    memset(file_tf, 0, sizeof file_tf);
    memset(file_len, 0, sizeof file_len);
    for (uint32_t i = 0; i < m->chunks; i++) {
        struct counting c = count_chunk(m, i, term);
        tf[i] = c.tf;
        len[i] = c.length;
        total += c.length;
        chunks_with += c.tf > 0;
        file_tf[m->chunk_file[i]] += c.tf;
        file_len[m->chunk_file[i]] += c.length;
    }
    for (unsigned f = 0; f < m->files; f++)
        files_with += file_tf[f] > 0;
    for (uint32_t i = 0; i < m->chunks; i++) {
        uint32_t f = m->chunk_file[i];
        if (file_tf[f] <= 0)
            continue;
        scores[i] += .5 * bm25(file_tf[f], file_len[f], total / m->files, m->files, files_with);
        if (tf[i] > 0)
            scores[i] += bm25(tf[i], len[i], total / m->chunks, m->chunks, chunks_with);
    }
}

static void scores_are_bm25_with_fields_and_file_context(void **state)
{
    (void)state;
    static struct made m;
    struct index *ix = open_made(&m, 60, 9);
    static struct index_hit hits[1000];
    int n = index_search(ix, SPAN_LIT("waq 5 0"), hits, 1000);
    static double three[MADE_CHUNKS_MAX];
    memset(three, 0, sizeof three);
    add_oracle(&m, "waq", three);
    add_oracle(&m, "5", three);
    add_oracle(&m, "0", three);
    unsigned expected = 0;
    for (uint32_t i = 0; i < m.chunks; i++)
        expected += three[i] > 0;
    assert_true(n > 20);
    assert_int_equal(n, expected);
    for (int h = 0; h < n; h++)
        assert_true(fabs((double)hits[h].score - three[hits[h].chunk]) <
                    1e-4 * (1 + three[hits[h].chunk]));
    index_unref(ix);
    made_done(&m);
}

static void explanation_adds_up_to_the_score(void **state)
{
    (void)state;
    static struct made m;
    struct index *ix = open_made(&m, 100, 4);
    struct index_hit hits[50];
    struct index_term_weight w[16];
    struct span q = SPAN_LIT("waq2 wbq5 wcq1 waq2");
    int n = index_search(ix, q, hits, 50);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        int terms = index_explain(ix, q, hits[i].chunk, w, 16);
        float sum = 0;
        for (int t = 0; t < terms; t++)
            sum += w[t].weight;
        assert_true(fabsf(sum - hits[i].score) < 1e-3f);
    }
    assert_int_equal(index_explain(ix, q, m.chunks, w, 16), -ERR_INVALID);
    assert_true(index_idf(ix, SPAN_LIT("waq")) > 0 && index_idf(ix, SPAN_LIT("nowhere")) <= 0);
    index_unref(ix);
    made_done(&m);
}

static void search_of_one_file_agrees_with_search_of_all(void **state)
{
    (void)state;
    static struct made m;
    struct index *ix = open_made(&m, 100, 5);
    static struct index_hit all[1000], one[100];
    struct span q = SPAN_LIT("waq2 wbq5 wcq1");
    int n = index_search(ix, q, all, 1000);
    for (uint32_t f = 0; f < 100; f++) {
        int k = index_search_file(ix, q, f, one, 100), seen = 0;
        assert_true(k >= 0);
        for (int i = 0; i < n; i++) {
            if (m.chunk_file[all[i].chunk] != f)
                continue;
            assert_true(seen < k);
            assert_memory_equal(&one[seen], &all[i], sizeof *all);
            seen++;
        }
        assert_int_equal(seen, k);
    }
    assert_int_equal(index_search_file(ix, q, 100, one, 100), -ERR_INVALID);
    index_unref(ix);
    made_done(&m);
}

static void questions_without_known_words_have_no_hits(void **state)
{
    (void)state;
    static struct made m;
    struct index *ix = open_made(&m, 20, 6);
    struct index_hit hits[4];
    assert_int_equal(index_search(ix, SPAN_NULL, hits, 4), 0);
    assert_int_equal(index_search(ix, SPAN_LIT("the of and"), hits, 4), 0);
    assert_int_equal(index_search(ix, SPAN_LIT("zebra"), hits, 4), 0);
    assert_int_equal(index_search(ix, SPAN_LIT("waq"), hits, 0), 0);
    index_unref(ix);
    made_done(&m);
}

static void segments_do_not_depend_on_the_memory_given(void **state)
{
    (void)state;
    static struct made m;
    struct err err = {0};
    made_init(&m, 300, 7);
    size_t n1, n2;
    assert_int_equal(made_build(&m, m.path, 0, &err), 0);
    unsigned char *roomy = read_whole(m.path, &n1);
    assert_int_equal(made_build(&m, m.path, 80000, &err), 0); /* spills after every few files */
    unsigned char *tight = read_whole(m.path, &n2);
    assert_int_equal(n1, n2);
    assert_memory_equal(roomy, tight, n1);
    free(roomy);
    free(tight);
    made_done(&m);
}

static void empty_sources_give_an_empty_index(void **state)
{
    (void)state;
    static struct made m;
    struct index *ix = open_made(&m, 0, 1);
    struct index_hit hit;
    struct index_file_view f;
    assert_int_equal(index_search(ix, SPAN_LIT("word"), &hit, 1), 0);
    assert_false(index_file_by_path(ix, SPAN_LIT("a"), &f));
    index_unref(index_ref(ix));
    index_unref(ix);
    made_done(&m);
}

static void chunks_outside_their_file_are_refused(void **state)
{
    (void)state;
    struct err err = {0};
    char dir[] = "/tmp/headwater-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/segment", dir);
    struct index_build_options o = {.analyzer = ANALYZER_CODE};
    struct index_builder *b;
    assert_int_equal(index_builder_new(path, &o, &b, &err), 0);
    struct index_chunk_in bad = {.start = 2, .len = 3};
    struct index_file_in in = {
        .path = SPAN_LIT("a"), .text = SPAN_LIT("abcd"), .chunks = &bad, .chunk_count = 1};
    assert_int_equal(index_builder_add(b, &in, &err), -ERR_INVALID);
    bad.len = 2;
    assert_int_equal(index_builder_add(b, &in, &err), 0);
    index_builder_free(b); /* not finished: leaves nothing */
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_files_and_chunks_come_back),
        cmocka_unit_test(pruned_search_equals_exhaustive),
        cmocka_unit_test(scores_are_bm25_with_fields_and_file_context),
        cmocka_unit_test(explanation_adds_up_to_the_score),
        cmocka_unit_test(search_of_one_file_agrees_with_search_of_all),
        cmocka_unit_test(questions_without_known_words_have_no_hits),
        cmocka_unit_test(segments_do_not_depend_on_the_memory_given),
        cmocka_unit_test(empty_sources_give_an_empty_index),
        cmocka_unit_test(chunks_outside_their_file_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
