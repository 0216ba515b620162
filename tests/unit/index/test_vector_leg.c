/* Promises of the vector leg: the nearest by exact cosine, each chunk of a text, the same every time. */
#include "../cm.h"
#include "base/fault.h"
#include "base/mem.h"
#include "index/vectors_priv.h"
#include "make_index.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DIMS 100u /* no power of two, no whole words */
#define KEY "k"

static struct made made;
static char path[96];
static struct index *ix;
static struct vectors *v;

static float random_value(uint64_t *seed)
{
    return (float)made_random(seed) / 1e9f - 1.07f;
}

/* Around one of forty centres, as texts of a kind lie together. */
static void make_values(uint64_t i, float *ret, unsigned dims)
{
    uint64_t seed = i * 77 + 5, centre = i % 40;
    for (unsigned d = 0; d < dims; d++)
        ret[d] = random_value(&centre) + .7f * random_value(&seed);
}

static void add_text(struct span text, uint64_t i)
{
    float values[DIMS];
    make_values(i, values, DIMS);
    assert_int_equal(vectors_add(v, vector_hash_of(text), values, DIMS, NULL), 0);
}

static int set_up(void **state)
{
    (void)state;
    made_init(&made, 60, 11);
    snprintf(path, sizeof path, "%s/vectors", made.dir);
    return made_build(&made, made.path, 0, NULL) < 0 || index_open(made.path, &ix, NULL) < 0 ||
           vectors_open(path, KEY, &v, NULL) < 0;
}

static int tear_down(void **state)
{
    (void)state;
    fault_disarm();
    vectors_close(take_ptr(v));
    index_unref(take_ptr(ix));
    unlink(path);
    made_done(&made);
    return 0;
}

/* A vector for every chunk, but for one in `gap` (0: none left out). */
static uint32_t embed_chunks(unsigned gap)
{
    struct buf text = BUF_INIT(1 << 20);
    struct index_chunk_view c;
    uint32_t n = 0;
    for (uint32_t i = 0; index_chunk(ix, i, &c); i++) {
        if (gap && i % gap == 0)
            continue;
        buf_clear(&text);
        vector_chunk_text(&c, &text);
        add_text(buf_span(&text), i);
        n++;
    }
    buf_done(&text);
    return n;
}

static void chunk_text_is_path_symbol_and_text_cut_at_a_character(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(1 << 20);
    struct index_chunk_view c = {
        .path = SPAN_LIT("a/b.c"), .symbol = SPAN_LIT("f"), .text = SPAN_LIT("int f;\n")};
    buf_puts(&text, "before ");
    vector_chunk_text(&c, &text);
    assert_string_equal(buf_str(&text), "before a/b.c\nf\n\nint f;\n");
    char *big = malloc(VECTOR_TEXT_MAX * 2);
    for (size_t i = 0; i < VECTOR_TEXT_MAX * 2; i += 2)
        memcpy(big + i, "\xc3\xa9", 2);
    for (size_t shift = 0; shift < 2; shift++) {
        buf_clear(&text);
        c.path = span_of("xx", 1 + shift);
        c.text = span_of(big, VECTOR_TEXT_MAX * 2);
        vector_chunk_text(&c, &text);
        assert_true(text.len <= VECTOR_TEXT_MAX && text.len >= VECTOR_TEXT_MAX - 1);
        assert_int_equal((unsigned char)text.ptr[text.len - 1], 0xa9);
        assert_int_equal(strlen(text.ptr), text.len);
    }
    free(big);
    buf_done(&text);
}

static void chunks_find_their_own_vectors(void **state)
{
    (void)state;
    uint32_t n = embed_chunks(7);
    struct vector_leg *leg;
    assert_int_equal(vector_leg_new(v, ix, &leg, NULL), 0);
    assert_int_equal(vector_leg_covered(leg), n);
    assert_int_equal(vector_leg_dims(leg), DIMS);
    assert_ptr_equal(vector_leg_index(leg), ix);
    assert_true(vector_leg_memory(leg) > 0);
    struct index_stats st;
    index_stats(ix, &st);
    for (uint32_t i = 0; i < st.chunks; i++) {
        float q[DIMS];
        struct index_hit hits[3], one = {.chunk = i};
        make_values(i, q, DIMS);
        assert_int_equal(vector_leg_search(leg, q, DIMS, hits, 3), 3);
        assert_int_equal(vector_leg_score(leg, q, DIMS, &one, 1), 0);
        if (i % 7 == 0) {
            assert_true(one.score <= VECTOR_NO_SCORE);
            assert_int_not_equal(hits[0].chunk, i);
        } else {
            assert_true(fabsf(one.score - 1) < 1e-5f);
            assert_int_equal(hits[0].chunk, i);
            assert_true(fabsf(hits[0].score - 1) < 1e-5f);
        }
    }
    vector_leg_unref(leg);
}

static void a_leg_outlives_its_file_and_does_not_see_later_rows(void **state)
{
    (void)state;
    uint32_t n = embed_chunks(2);
    struct vector_leg *leg, *later;
    assert_int_equal(vector_leg_new(v, ix, &leg, NULL), 0);
    assert_true(embed_chunks(0) > n);
    assert_int_equal(vector_leg_new(v, ix, &later, NULL), 0);
    vectors_close(take_ptr(v));
    assert_int_equal(vectors_open(path, KEY, &v, NULL), 0); /* legs do not keep it busy */
    vectors_close(take_ptr(v));
    unlink(path);
    assert_int_equal(vector_leg_covered(leg), n);
    assert_true(vector_leg_covered(later) > n);
    struct index_hit hits[5];
    float q[DIMS];
    make_values(3, q, DIMS);
    struct vector_leg *again = vector_leg_ref(leg);
    vector_leg_unref(leg);
    assert_int_equal(vector_leg_search(again, q, DIMS, hits, 5), 5);
    vector_leg_unref(again);
    vector_leg_unref(later);
    vector_leg_unref(NULL);
}

static void without_vectors_there_are_no_hits(void **state)
{
    (void)state;
    struct vector_leg *leg;
    struct index_hit hits[5] = {{.chunk = 0}};
    float q[DIMS] = {1};
    assert_int_equal(vector_leg_new(v, ix, &leg, NULL), 0);
    assert_int_equal(vector_leg_covered(leg), 0);
    assert_int_equal(vector_leg_dims(leg), 0);
    assert_int_equal(vector_leg_search(leg, q, DIMS, hits, 5), 0);
    assert_int_equal(vector_leg_score(leg, q, DIMS, hits, 1), 0);
    assert_true(hits[0].score <= VECTOR_NO_SCORE);
    vector_leg_unref(leg);
}

static void queries_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    embed_chunks(0);
    struct vector_leg *leg;
    assert_int_equal(vector_leg_new(v, ix, &leg, NULL), 0);
    struct index_hit hits[5] = {{.chunk = 0}};
    float q[DIMS + 1] = {0};
    assert_int_equal(vector_leg_search(leg, q, DIMS, hits, 5), -ERR_INVALID);
    q[1] = 1;
    assert_int_equal(vector_leg_search(leg, q, DIMS + 1, hits, 5), -ERR_INVALID);
    assert_int_equal(vector_leg_search(leg, q, DIMS - 1, hits, 5), -ERR_INVALID);
    assert_int_equal(vector_leg_score(leg, q, DIMS - 1, hits, 1), -ERR_INVALID);
    q[2] = NAN;
    assert_int_equal(vector_leg_search(leg, q, DIMS, hits, 5), -ERR_INVALID);
    q[2] = 0;
    assert_int_equal(vector_leg_search(leg, q, DIMS, hits, 0), 0);
    struct index_hit far = {.chunk = UINT32_MAX};
    assert_int_equal(vector_leg_score(leg, q, DIMS, &far, 1), 0);
    assert_true(far.score <= VECTOR_NO_SCORE);
    vector_leg_unref(leg);
}

/* `texts` rows of which chunk c has row c % texts; chunks in all. */
static struct vector_leg *leg_of(uint32_t texts, uint32_t chunks)
{
    uint32_t *rows = calloc(chunks, sizeof *rows);
    float values[DIMS];
    for (uint32_t i = 0; i < texts; i++) {
        make_values(i, values, DIMS);
        assert_int_equal(
            vectors_add(v, vector_hash_of(span_of((char *)&i, sizeof i)), values, DIMS, NULL), 0);
    }
    for (uint32_t c = 0; c < chunks; c++)
        rows[c] = c % texts;
    struct vector_leg *leg;
    assert_int_equal(vector_leg_new_rows(v, NULL, rows, chunks, &leg, NULL), 0);
    free(rows);
    return leg;
}

static void signs_find_what_an_exhaustive_scan_finds(void **state)
{
    (void)state;
    struct vector_leg *leg = leg_of(6000, 6000);
    unsigned found = 0, wanted = 0;
    for (unsigned i = 0; i < 60; i++) {
        struct index_hit hits[10], all[10];
        float q[DIMS];
        make_values(100000 + i, q, DIMS);
        assert_int_equal(vector_leg_search(leg, q, DIMS, hits, 10), 10);
        assert_int_equal(vector_leg_search_exhaustive(leg, q, DIMS, all, 10), 10);
        for (unsigned a = 0; a < 10; a++, wanted++)
            for (unsigned h = 0; h < 10; h++)
                found += hits[h].chunk == all[a].chunk;
    }
    assert_true(found >= wanted * 98 / 100);
    vector_leg_unref(leg);
}

static void all_that_is_asked_for_comes_and_in_order(void **state)
{
    (void)state;
    struct vector_leg *leg = leg_of(1500, 4000);
    static struct index_hit hits[1000], again[1000];
    float q[DIMS];
    make_values(9, q, DIMS);
    assert_int_equal(vector_leg_search(leg, q, DIMS, hits, 1000), 1000);
    assert_int_equal(vector_leg_search(leg, q, DIMS, again, 1000), 1000);
    assert_memory_equal(hits, again, sizeof hits);
    for (unsigned i = 1; i < 1000; i++)
        assert_true(hits[i - 1].score > hits[i].score ||
                    (!(hits[i - 1].score < hits[i].score) && hits[i - 1].chunk < hits[i].chunk));
    /* the three chunks of one text, by id */
    assert_int_equal(hits[0].chunk, 9);
    assert_int_equal(hits[1].chunk, 1509);
    assert_int_equal(hits[2].chunk, 3009);
    assert_int_equal(vector_leg_search(leg, q, DIMS, again, 2), 2);
    assert_int_equal(again[1].chunk, 1509);
    vector_leg_unref(leg);
}

static void equal_vectors_are_all_looked_at(void **state)
{
    (void)state;
    uint32_t rows[3000];
    float values[DIMS] = {0};
    for (uint32_t i = 0; i < 3000; i++) {
        values[0] = 1;
        values[1] = 0.001f * (float)(i == 2500); /* nearly the same, and the same signs */
        rows[i] = i;
        assert_int_equal(
            vectors_add(v, vector_hash_of(span_of((char *)&i, sizeof i)), values, DIMS, NULL), 0);
    }
    struct vector_leg *leg;
    assert_int_equal(vector_leg_new_rows(v, NULL, rows, 3000, &leg, NULL), 0);
    struct index_hit hits[3];
    values[1] = 0.5f;
    assert_int_equal(vector_leg_search(leg, values, DIMS, hits, 3), 3);
    assert_int_equal(hits[0].chunk, 2500);
    assert_int_equal(hits[1].chunk, 0);
    assert_int_equal(hits[2].chunk, 1);
    vector_leg_unref(leg);
}

static int make_and_search(struct err *err)
{
    struct vector_leg *leg;
    int rc = vector_leg_new(v, ix, &leg, err);
    if (rc < 0) {
        assert_true(err->code == -rc && err->msg[0]);
        return rc;
    }
    struct index_hit hits[5] = {{.chunk = 1}};
    float q[DIMS];
    make_values(3, q, DIMS);
    rc = vector_leg_search(leg, q, DIMS, hits, 5);
    if (rc >= 0)
        rc = vector_leg_score(leg, q, DIMS, hits, 5);
    vector_leg_unref(leg);
    return rc;
}

static void every_failure_of_a_leg_is_told(void **state)
{
    (void)state;
    static const enum fault_site sites[] = {FAULT_ALLOC, FAULT_READ};
    embed_chunks(0);
    struct vector_leg *big = leg_of(2000, 2000); /* large enough for signs */
    float q[DIMS];
    struct index_hit hits[5];
    make_values(3, q, DIMS);
    for (uint64_t nth = 1;; nth++) {
        fault_arm(FAULT_ALLOC, nth, 0);
        int rc = vector_leg_search(big, q, DIMS, hits, 5);
        bool has_passed = fault_seen(FAULT_ALLOC) < nth;
        fault_disarm();
        assert_int_equal(rc, has_passed ? 5 : -ERR_NO_MEMORY);
        if (has_passed)
            break;
    }
    vector_leg_unref(big);
    for (size_t s = 0; s < ARRAY_LEN(sites); s++) {
        for (uint64_t nth = 1;; nth++) {
            struct err err = {0};
            fault_arm(sites[s], nth, 0);
            int rc = make_and_search(&err);
            bool has_passed = fault_seen(sites[s]) < nth;
            fault_disarm();
            if (has_passed) {
                assert_int_equal(rc, 0);
                break;
            }
        }
    }
}

static void arithmetic_does_not_depend_on_width(void **state)
{
    (void)state;
    float a[300], b[300];
    uint64_t seed = 4, words[5], rows[5 * 4];
    uint16_t far[4];
    for (unsigned n = 1; n <= 300; n += n < 70 ? 1 : 23) {
        double sum = 0;
        for (unsigned i = 0; i < n; i++) {
            a[i] = random_value(&seed);
            b[i] = random_value(&seed);
            sum += (double)a[i] * (double)b[i];
        }
        assert_true(fabs((double)vector_dot(a, b, n) - sum) < 1e-3);
        double before = vector_length(a, n), dot = sum;
        vector_rotate(a, n);
        vector_rotate(b, n);
        assert_true(fabs(vector_length(a, n) - before) < 1e-3); /* orthogonal */
        assert_true(fabs((double)vector_dot(a, b, n) - dot) < 1e-2);
        vector_signs(a, n, words);
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(words[i / 64] >> (i % 64) & 1, a[i] > 0);
        size_t w = vector_words(n);
        for (size_t i = 0; i < w * 4; i++)
            rows[i] = made_random(&seed) << 33 ^ made_random(&seed);
        vector_distances(words, rows, w, 4, far);
        for (size_t r = 0; r < 4; r++) {
            int bits = 0;
            for (size_t i = 0; i < w; i++)
                bits += __builtin_popcountll(words[i] ^ rows[r * w + i]);
            assert_int_equal(far[r], bits);
        }
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(chunk_text_is_path_symbol_and_text_cut_at_a_character),
        T(chunks_find_their_own_vectors),
        T(a_leg_outlives_its_file_and_does_not_see_later_rows),
        T(without_vectors_there_are_no_hits),
        T(queries_that_do_not_fit_are_refused),
        T(signs_find_what_an_exhaustive_scan_finds),
        T(all_that_is_asked_for_comes_and_in_order),
        T(equal_vectors_are_all_looked_at),
        T(every_failure_of_a_leg_is_told),
        cmocka_unit_test(arithmetic_does_not_depend_on_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
