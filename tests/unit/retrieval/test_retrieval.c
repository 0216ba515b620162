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
    };
    return cmocka_run_group_tests(tests, make_source, drop_source);
}
