/* Promises of retrieval: order, limits, copies, neighbours, budget, the near file. */
#include "../cm.h"
#include "base/buf.h"
#include "base/fault.h"
#include "retrieval/retrieval.h"
#include "text/lines.h"
#include "text/tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct source_file {
    const char *path;
    bool is_test;
    const char *chunks[8]; /* "symbol|text" with whole lines */
};

static const struct source_file source[] = {
    {"src/parser.c",
     false,
     {"parse|int parse(void)\n{\n    scan();\n", "parse|    return reduce();\n}\n",
      "|int other;\n"}},
    {"src/scan.c", false, {"scan|int scan(void)\n{\n    return token();\n}\n"}},
    {"src/copy.c", false, {"scan|int scan(void)\n{\n    return token();\n}\n"}},
    {"tests/test_scan.c",
     true,
     {"test_scan|int test_scan(void)\n{\n    scan();\n    return token();\n}\n"}},
    {"src/many.c",
     false,
     {"a|zebra one\n", "b|zebra two\n", "c|zebra three\n", "d|zebra four\n", "e|zebra five\n",
      "f|zebra six\n"}},
    {"docs/guide.md",
     false,
     {"Guide|# Guide\nHow to begin.\n", "More|# More\nNothing else.\n", "End|# End\nBye.\n"}},
    {"src/long.c",
     false,
     {"big|walrus 1\nwalrus 2\nwalrus 3\nwalrus 4\nwalrus 5\nwalrus 6\nwalrus 7\nwalrus 8\nwalrus "
      "9\nwalrus 10\n"}},
};

static const struct source_file calling[] = {
    {"src/stroll.c",
     false,
     {"stroll|int stroll(void)\n{\n    place_foot();\n    often();\n    rest();\n}\n"}},
    {"src/foot.c", false, {"Body::place_foot|void Body::place_foot(void)\n{\n    lift();\n}\n"}},
    {"tests/foot_test.c", true, {"lift|void lift(void)\n{\n}\n"}},
    {"src/often.c",
     false,
     {"often|int often(int a);\n", "often|int often(long a);\n", "often|int often(char a);\n",
      "often|int often(bool a);\n"}},
};

static char dir[64], path[96];
static struct index *ix;

static void add_file(struct index_builder *b, const struct source_file *f)
{
    struct index_chunk_in chunks[8] = {0};
    struct buf text = BUF_INIT(1 << 16);
    size_t n = 0;
    uint32_t line = 1;
    for (; n < 8 && f->chunks[n]; n++) {
        const char *bar = strchr(f->chunks[n], '|');
        struct span body = span_str(bar + 1);
        uint32_t lines = lines_count(body);
        chunks[n] =
            (struct index_chunk_in){.start_line = line,
                                    .end_line = line + lines - 1,
                                    .start = text.len,
                                    .len = body.len,
                                    .symbol = span_of(f->chunks[n], (size_t)(bar - f->chunks[n]))};
        buf_put_span(&text, body);
        line += lines;
    }
    struct index_file_in in = {.path = span_str(f->path),
                               .text = buf_span(&text),
                               .size = text.len,
                               .is_test = f->is_test,
                               .chunks = chunks,
                               .chunk_count = n};
    assert_int_equal(index_builder_add(b, &in, NULL), 0);
    buf_done(&text);
}

static int make_source(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/headwater-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/segment", dir);
    struct index_build_options o = {.analyzer = ANALYZER_CODE};
    struct index_builder *b;
    if (index_builder_new(path, &o, &b, NULL) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(source); i++)
        add_file(b, &source[i]);
    for (size_t i = 0; i < ARRAY_LEN(calling); i++)
        add_file(b, &calling[i]);
    int rc = index_builder_finish(b, NULL);
    index_builder_free(b);
    return rc < 0 ? rc : index_open(path, &ix, NULL);
}

static int drop_source(void **state)
{
    (void)state;
    index_unref(ix);
    unlink(path);
    return rmdir(dir);
}

static struct passages search(const char *question, const struct retrieval_options *o)
{
    struct passages p;
    struct err err = {0};
    assert_int_equal(retrieval_search(ix, span_str(question), o, &p, &err), 0);
    for (size_t i = 0; i < p.count; i++) { /* what every passage promises */
        struct index_file_view f;
        assert_true(index_file(ix, p.items[i].file, &f));
        assert_true(span_eq(lines_slice(f.text, p.items[i].start_line, p.items[i].end_line),
                            p.items[i].text));
        assert_true(span_eq(f.path, p.items[i].path));
        assert_ptr_equal(p.items[i].index, ix);
    }
    return p;
}

static void implementation_comes_before_its_test(void **state)
{
    (void)state;
    struct passages p = search("scan token", NULL);
    assert_true(p.count >= 2);
    assert_true(span_is(p.items[0].path, "src/scan.c") && !p.items[0].is_test);
    passages_done(&p);
    p = search("test scan token", NULL);
    assert_true(p.items[0].is_test);
    passages_done(&p);
}

static void copies_are_shown_once(void **state)
{
    (void)state;
    struct passages p = search("scan token", NULL);
    unsigned seen = 0;
    for (size_t i = 0; i < p.count; i++)
        seen += span_is(p.items[i].path, "src/scan.c") + span_is(p.items[i].path, "src/copy.c");
    assert_int_equal(seen, 1);
    passages_done(&p);
}

static void one_file_does_not_fill_the_answer(void **state)
{
    (void)state;
    struct passages p = search("zebra", NULL);
    assert_int_equal(p.count, 4);
    passages_done(&p);
    struct retrieval_options o = {.max_per_file = 6, .max_passages = 5};
    p = search("zebra", &o);
    assert_int_equal(p.count, 5);
    passages_done(&p);
}

static void a_symbol_cut_in_two_is_joined(void **state)
{
    (void)state;
    struct passages p = search("reduce", NULL);
    assert_true(
        span_is(p.items[0].text, "int parse(void)\n{\n    scan();\n    return reduce();\n}\n"));
    assert_int_equal(p.items[0].start_line, 1);
    assert_int_equal(p.items[0].end_line, 5);
    assert_int_equal(p.items[0].chunk, 1);
    for (size_t i = 1; i < p.count; i++) /* the joined half is no passage of its own */
        assert_false(span_is(p.items[i].symbol, "parse"));
    passages_done(&p);
}

static void budget_is_kept(void **state)
{
    (void)state;
    struct retrieval_options o = {.token_budget = 20};
    struct passages p = search("walrus", &o);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.items[0].start_line, 1);
    assert_in_range(p.items[0].end_line, 2, 9);
    assert_true(tokens_estimate(p.items[0].text) <= 20);
    passages_done(&p);
    for (o.token_budget = 1; o.token_budget < 200; o.token_budget += 7) {
        p = search("zebra scan token parse walrus", &o);
        size_t total = 0;
        for (size_t i = 0; i < p.count; i++)
            total += tokens_estimate(p.items[i].text);
        assert_true(total <= o.token_budget);
        assert_true(p.count > 0 || strstr(p.note, "budget"));
        passages_done(&p);
    }
}

static void near_file_comes_first(void **state)
{
    (void)state;
    struct retrieval_options o = {.near_path = SPAN_LIT("src/copy.c")};
    struct passages p = search("scan token", &o);
    assert_true(span_is(p.items[0].path, "src/copy.c"));
    passages_done(&p);
    o.near_path = SPAN_LIT("docs/guide.md"); /* no word of the question in it: how it begins */
    p = search("zebra", &o);
    assert_true(p.count > 2 && span_is(p.items[0].symbol, "Guide") &&
                span_is(p.items[1].symbol, "More"));
    assert_true(span_is(p.items[2].path, "src/many.c"));
    passages_done(&p);
    o.near_path = SPAN_LIT("no/such/file");
    p = search("zebra", &o);
    assert_true(span_is(p.items[0].path, "src/many.c"));
    passages_done(&p);
}

static unsigned definitions_among(const struct passages *p, const char *symbol)
{
    unsigned n = 0;
    for (size_t i = 0; i < p->count; i++)
        n += p->items[i].is_definition && span_is(p->items[i].symbol, symbol);
    return n;
}

static void what_a_hit_calls_is_defined_after_it(void **state)
{
    (void)state;
    struct retrieval_options o = {.definitions = 3};
    struct passages p = search("stroll", &o);
    assert_true(span_is(p.items[0].symbol, "stroll") && !p.items[0].is_definition);
    assert_int_equal(definitions_among(&p, "Body::place_foot"), 1);
    assert_int_equal(definitions_among(&p, "often"), 0); /* four places define it */
    assert_int_equal(definitions_among(&p, "lift"),
                     0); /* a test defines it, a definition calls it */
    passages_done(&p);
    p = search("stroll", NULL);
    assert_int_equal(p.count, 1);
    passages_done(&p);
}

static void definitions_leave_the_limits_as_they_are(void **state)
{
    (void)state;
    struct retrieval_options o = {.definitions = 3, .max_passages = 3, .max_per_file = 6};
    struct passages p = search("zebra", &o); /* too few to give one away */
    assert_int_equal(p.count, 3);
    assert_int_equal(definitions_among(&p, ""), 0);
    passages_done(&p);
    o = (struct retrieval_options){.definitions = 3, .token_budget = 40};
    p = search("stroll", &o);
    size_t tokens = 0;
    for (size_t i = 0; i < p.count; i++)
        tokens += tokens_estimate(p.items[i].text);
    assert_true(tokens <= 40);
    passages_done(&p);
}

static void nothing_found_says_why(void **state)
{
    (void)state;
    struct passages p = search("xylophone", NULL);
    assert_int_equal(p.count, 0);
    assert_string_equal(p.note, "no word of the question occurs in this source");
    passages_done(&p);
}

static void same_question_same_passages(void **state)
{
    (void)state;
    struct passages a = search("scan zebra parse token", NULL),
                    b = search("scan zebra parse token", NULL);
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++)
        assert_true(a.items[i].chunk == b.items[i].chunk &&
                    span_eq(a.items[i].text, b.items[i].text));
    passages_done(&a);
    passages_done(&b);
}

static void search_survives_every_failed_allocation(void **state)
{
    (void)state;
    struct retrieval_options o = {.near_path = SPAN_LIT("src/copy.c"), .definitions = 2};
    int rc = -1;
    for (uint64_t n = 1; rc < 0; n++) {
        struct passages p;
        struct err err = {0};
        fault_arm(FAULT_ALLOC, n, 0);
        rc = retrieval_search(ix, SPAN_LIT("scan token"), &o, &p, &err);
        fault_disarm();
        assert_true(rc == 0 || rc == -ERR_NO_MEMORY);
        if (rc == 0)
            passages_done(&p);
    }
}

/* ---- with vectors: each file a direction of its own ---- */

#define DIMS 16u

/* A leg in which every chunk points where its file does; `only` (a path) leaves the others out. */
static struct vector_leg *make_leg(struct index *of, const char *only)
{
    char file[96];
    struct vectors *v;
    struct vector_leg *leg;
    struct index_chunk_view c;
    struct buf text = BUF_INIT(1 << 16);
    snprintf(file, sizeof file, "%s/vectors", dir);
    assert_int_equal(vectors_open(file, "test", &v, NULL), 0);
    for (uint32_t i = 0; index_chunk(of, i, &c); i++) {
        float values[DIMS] = {0};
        assert_true(c.file < DIMS - 1);
        values[c.file] = 1;
        values[DIMS - 1] = 0.01f * (float)i; /* no two are equal */
        buf_clear(&text);
        vector_chunk_text(&c, &text);
        if (!only || span_is(c.path, only))
            assert_int_equal(vectors_add(v, vector_hash_of(buf_span(&text)), values, DIMS, NULL),
                             0);
    }
    assert_int_equal(vector_leg_new(v, of, &leg, NULL), 0);
    vectors_close(v);
    unlink(file);
    buf_done(&text);
    return leg;
}

static void passages_say_which_search_found_them(void **state)
{
    (void)state;
    struct vector_leg *leg = make_leg(ix, NULL);
    float query[DIMS] = {[1] = 1}; /* src/scan.c */
    struct retrieval_options o = {.vectors = leg, .query_vector = query, .query_dims = DIMS};
    struct passages p = search("zebra", &o);
    assert_true(p.has_vectors);
    bool has_words_only = false, has_vector_only = false;
    for (size_t i = 0; i < p.count; i++) {
        assert_true(p.items[i].word_rank || p.items[i].vector_rank);
        has_words_only |= p.items[i].vector_rank == 0 || p.items[i].word_rank > 0;
        if (span_is(p.items[i].path, "src/scan.c")) {
            has_vector_only = true;
            assert_int_equal(p.items[i].word_rank, 0);
            assert_int_equal(p.items[i].vector_rank, 1);
        }
        if (i > 0)
            assert_true(p.items[i].score < p.items[i - 1].score);
    }
    assert_true(has_words_only && has_vector_only);
    assert_int_equal(p.items[0].word_rank, 1);
    passages_done(&p);
    p = search("zebra", NULL);
    assert_false(p.has_vectors);
    assert_true(p.count > 0);
    for (size_t i = 0; i < p.count; i++)
        assert_true(p.items[i].word_rank && !p.items[i].vector_rank);
    passages_done(&p);
    vector_leg_unref(leg);
}

static void a_question_without_a_known_word_is_answered_by_meaning(void **state)
{
    (void)state;
    struct vector_leg *leg = make_leg(ix, NULL);
    float query[DIMS] = {[1] = 1};
    struct retrieval_options o = {.vectors = leg, .query_vector = query, .query_dims = DIMS};
    struct passages p = search("xylophone", &o);
    assert_true(p.count > 0);
    assert_true(span_is(p.items[0].path, "src/scan.c"));
    assert_non_null(strstr(p.note, "meaning alone"));
    passages_done(&p);
    vector_leg_unref(leg);
}

static void vectors_that_do_not_fit_are_left_out_and_told_of(void **state)
{
    (void)state;
    struct vector_leg *leg = make_leg(ix, NULL);
    float query[DIMS + 1] = {[1] = 1};
    struct retrieval_options o = {.vectors = leg, .query_vector = query, .query_dims = DIMS + 1};
    struct passages words = search("scan token", NULL), p = search("scan token", &o);
    assert_int_equal(p.count, words.count);
    for (size_t i = 0; i < p.count; i++)
        assert_memory_equal(&p.items[i], &words.items[i], sizeof p.items[i]);
    assert_false(p.has_vectors);
    assert_non_null(strstr(p.note, "by words only"));
    passages_done(&p);
    struct index *other; /* the same file opened again is not the index that the leg was made of */
    assert_int_equal(index_open(path, &other, NULL), 0);
    struct vector_leg *foreign = make_leg(other, NULL);
    o.vectors = foreign;
    o.query_dims = DIMS;
    p = search("scan token", &o);
    assert_int_equal(p.count, words.count);
    assert_non_null(strstr(p.note, "by words only"));
    passages_done(&p);
    o.vectors = leg;
    o.query_vector = NULL; /* the embedder did not answer */
    p = search("scan token", &o);
    assert_int_equal(p.count, words.count);
    assert_false(p.has_vectors);
    passages_done(&p);
    passages_done(&words);
    vector_leg_unref(foreign);
    vector_leg_unref(leg);
    index_unref(other);
}

static void a_leg_of_few_chunks_loses_none_of_the_others(void **state)
{
    (void)state;
    struct vector_leg *leg = make_leg(ix, "src/long.c");
    float query[DIMS] = {[6] = 1};
    struct retrieval_options o = {.vectors = leg, .query_vector = query, .query_dims = DIMS};
    struct passages words = search("scan token", NULL), p = search("scan token", &o);
    assert_true(p.count >= words.count);
    for (size_t i = 0; i < words.count; i++)
        assert_int_equal(p.items[i].chunk, words.items[i].chunk);
    passages_done(&words);
    passages_done(&p);
    vector_leg_unref(leg);
}

static void search_with_vectors_survives_every_failed_allocation(void **state)
{
    (void)state;
    struct vector_leg *leg = make_leg(ix, NULL);
    float query[DIMS] = {[2] = 1};
    struct retrieval_options o = {.vectors = leg, .query_vector = query, .query_dims = DIMS};
    int rc = -1;
    for (uint64_t n = 1; rc < 0; n++) {
        struct passages p;
        struct err err = {0};
        fault_arm(FAULT_ALLOC, n, 0);
        rc = retrieval_search(ix, SPAN_LIT("scan token"), &o, &p, &err);
        fault_disarm();
        assert_true(rc == 0 || rc == -ERR_NO_MEMORY);
        if (rc == 0)
            passages_done(&p);
    }
    vector_leg_unref(leg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(implementation_comes_before_its_test),
        cmocka_unit_test(copies_are_shown_once),
        cmocka_unit_test(one_file_does_not_fill_the_answer),
        cmocka_unit_test(a_symbol_cut_in_two_is_joined),
        cmocka_unit_test(budget_is_kept),
        cmocka_unit_test(near_file_comes_first),
        cmocka_unit_test(what_a_hit_calls_is_defined_after_it),
        cmocka_unit_test(definitions_leave_the_limits_as_they_are),
        cmocka_unit_test(nothing_found_says_why),
        cmocka_unit_test(same_question_same_passages),
        cmocka_unit_test(search_survives_every_failed_allocation),
        cmocka_unit_test(passages_say_which_search_found_them),
        cmocka_unit_test(a_question_without_a_known_word_is_answered_by_meaning),
        cmocka_unit_test(vectors_that_do_not_fit_are_left_out_and_told_of),
        cmocka_unit_test(a_leg_of_few_chunks_loses_none_of_the_others),
        cmocka_unit_test(search_with_vectors_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_source, drop_source);
}
