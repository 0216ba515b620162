/* Promises of the evaluation: metrics as trec_eval computes them, packs with faults named. */
#include "../cm.h"
#include "base/fault.h"
#include "base/json.h"
#include "retrieval/eval.h"
#include "retrieval/eval_priv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[64];

static void put_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/headwater-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"corpus.jsonl", "queries.jsonl", "qrels.tsv", "run.trec",
                                        "vectors.jsonl"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static bool is_near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

static void metrics_match_values_worked_by_hand(void **state)
{
    (void)state;
    struct qrels q;
    assert_int_equal(
        qrels_parse(
            SPAN_LIT(
                "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t1\nq1\tc\t-1\nq1\td\t1\nq2\tx\t0\n"),
            &q, NULL),
        0);
    assert_int_equal(q.judged_count, 1);
    assert_false(q.names_parts);
    struct span ranking[] = {SPAN_LIT("c"), SPAN_LIT("b"), SPAN_LIT("z"), SPAN_LIT("a")};
    struct eval_scores s = {0};
    assert_true(qrels_score(&q, SPAN_LIT("q1"), ranking, 4, &s));
    double dcg = 1 / log2(3) + 2 / log2(5), ideal = 2 + 1 / log2(3) + 1 / log2(4);
    assert_true(is_near(s.ndcg_at_10, dcg / ideal));
    assert_true(is_near(s.mrr_at_10, .5));
    assert_true(is_near(s.recall_at_100, 2. / 3));
    assert_false(
        qrels_score(&q, SPAN_LIT("q2"), ranking, 4, &s)); /* nothing relevant: not counted */
    assert_false(qrels_score(&q, SPAN_LIT("q3"), ranking, 4, &s));
    qrels_done(&q);
    assert_int_equal(qrels_parse(SPAN_LIT("h\nq1\ta\n"), &q, NULL), -ERR_INVALID);
}

static void put_pack(void)
{
    put_file("corpus.jsonl", "{\"id\":\"a.c#L1-2\",\"path\":\"a.c\",\"title\":\"open\",\"text\":"
                             "\"int open(int x) { return x; }\"}\n"
                             "{\"id\":\"a.c#L3-4\",\"path\":\"a.c\",\"title\":\"close\",\"text\":"
                             "\"int close(int y) { return y; }\"}\n"
                             "{\"id\":\"b.c#L1-2\",\"path\":\"b.c\",\"title\":\"\",\"text\":\"void "
                             "draw(void) { line(); }\"}\n");
    put_file("queries.jsonl", "{\"id\":\"1\",\"text\":\"close\"}\n{\"id\":\"2\",\"text\":\"draw "
                              "line\"}\n{\"id\":\"3\",\"text\":\"nothing known\"}\n");
    put_file("qrels.tsv", "1\ta.c\t1\n2\tb.c\t1\n3\tb.c\t1\n");
}

static void packs_are_scored_at_file_level_when_judged_so(void **state)
{
    (void)state;
    put_pack();
    char run[128], line[256];
    snprintf(run, sizeof run, "%s/run.trec", dir);
    struct buf out = BUF_INIT(1 << 16);
    struct err err = {0};
    assert_int_equal(eval_run(dir, &(struct eval_options){.run_file = run}, &out, &err), 0);
    json_t *o = json_read(buf_span(&out), &err, NULL);
    assert_non_null(o);
    assert_true(json_flag(o, "collapsed", false));
    assert_string_equal(json_str(o, "analyzer", ""), "code");
    assert_int_equal(json_int(o, "documents", 0), 3);
    assert_int_equal(json_int(o, "judged", 0), 3);
    assert_true(is_near(json_num(o, "ndcg_at_10", 0), 2. / 3));
    assert_true(is_near(json_num(o, "recall_at_100", 0), 2. / 3));
    json_decref(o);
    buf_done(&out);
    FILE *f = fopen(run, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_memory_equal(line, "1 Q0 a.c#L3-4 1 ", 16);
    fclose(f);
}

static void faults_of_a_pack_are_named(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(1 << 16);
    struct err err = {0};
    put_pack();
    put_file("queries.jsonl", "{\"id\":\"1\",\"text\":\"close\"}\n{\"text\":\"no id\"}\n");
    assert_int_equal(eval_run(dir, &(struct eval_options){.depth = 10}, &out, &err), -ERR_INVALID);
    assert_non_null(strstr(err.msg, "queries.jsonl line 2"));
    put_pack();
    put_file("corpus.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\n{broken\n");
    assert_int_equal(eval_run(dir, &(struct eval_options){.depth = 10}, &out, &err), -ERR_INVALID);
    assert_non_null(strstr(err.msg, "corpus.jsonl line 2"));
    assert_int_equal(eval_run("/no/such/pack", NULL, &out, &err), -ERR_NOT_FOUND);
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

static void vectors_of_a_file_are_searched_too(void **state)
{
    (void)state;
    put_pack();
    /* the third question knows no word of the pack; its vector does */
    put_file("vectors.jsonl", "{\"id\":\"a.c#L1-2\",\"vector\":[1,0]}\n"
                              "{\"id\":\"a.c#L3-4\",\"vector\":[1,0.1]}\n\n"
                              "{\"id\":\"b.c#L1-2\",\"vector\":[0,2e0]}\n"
                              "{\"query\":\"3\",\"vector\":[0.1,1]}\n");
    char file[128], corpus[128], line[512] = "";
    snprintf(file, sizeof file, "%s/vectors.jsonl", dir);
    snprintf(corpus, sizeof corpus, "%s/corpus.jsonl", dir);
    FILE *f = fopen(corpus, "r");
    while (fgets(line, sizeof line, f) && !strstr(line, "b.c"))
        ;
    fclose(f);
    assert_non_null(strstr(line, "b.c")); /* or the vectors above name nothing */
    struct eval_options o = {.vectors_file = file};
    struct buf out = BUF_INIT(1 << 16);
    struct err err = {0};
    assert_int_equal(eval_run(dir, &o, &out, &err), 0);
    json_t *report = json_read(buf_span(&out), &err, NULL);
    const json_t *v = json_object_get(report, "vectors");
    assert_int_equal(json_int(v, "dims", 0), 2);
    assert_int_equal(json_int(v, "queries", 0), 1);
    assert_true(json_int(v, "documents", 0) >= 2);
    assert_true(json_num(report, "recall_at_100", 0) > 0.99);
    json_decref(report);
    buf_done(&out);
    for (uint64_t n = 1, rc = 1; rc; n++) {
        out = BUF_INIT(1 << 16);
        fault_arm(FAULT_ALLOC, n, 0);
        rc = eval_run(dir, &o, &out, &err) < 0;
        fault_disarm();
        buf_done(&out);
    }
}

static void faults_of_a_vectors_file_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *what;
    } table[] = {
        {"{\"id\":\"a\",\"vector\":[1,2]}\n{\"id\":\"b\",\"vector\":[1]}", "line 2"},
        {"{\"id\":\"a\",\"vector\":[]}", "0 numbers"},
        {"{\"id\":\"a\",\"vector\":\"x\"}", "0 numbers"},
        {"{\"id\":\"a\"}", "0 numbers"},
        {"{\"vector\":[1]}", "neither"},
        {"{\"query\":7,\"vector\":[1]}", "neither"},
        {"{\"id\":\"a\",\"vector\":[1,null]}", "not of numbers"},
        {"{\"id\":\"a\",\"vector\":[1,1e300]}", "not of numbers"},
        {"{\"id\":\"a\",\"vector\":[0,0]}", "all zero"},
        {"\n[1]\n", "line 2"},
        {"{\"id\":", "line 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct eval_vectors v;
        struct err err = {0};
        assert_int_equal(eval_vectors_parse(span_str(table[i].text), &v, &err), -ERR_INVALID);
        if (!strstr(err.msg, table[i].what))
            fail_msg("'%s' says '%s'", table[i].text, err.msg);
    }
    struct eval_vectors v;
    assert_int_equal(eval_vectors_parse(SPAN_LIT("{\"id\":\"a\",\"vector\":[1]}\n"
                                                 "{\"id\":\"a\",\"vector\":[3]}\n"
                                                 "{\"query\":\"a\",\"vector\":[2]}"),
                                        &v, NULL),
                     0);
    assert_true(is_near((double)*(float *)map_get(&v.documents, SPAN_LIT("a")), 3));
    assert_true(is_near((double)*(float *)map_get(&v.queries, SPAN_LIT("a")), 2));
    eval_vectors_done(&v);
    struct err err = {0};
    struct buf out = BUF_INIT(1 << 16);
    put_pack();
    struct eval_options o = {.vectors_file = "/no/such/file"};
    assert_int_equal(eval_run(dir, &o, &out, &err), -ERR_NOT_FOUND);
    buf_done(&out);
}

static void evaluation_survives_every_failed_allocation(void **state)
{
    (void)state;
    put_pack();
    int rc = -1;
    for (uint64_t n = 1; rc < 0; n++) {
        struct buf out = BUF_INIT(1 << 16);
        struct err err = {0};
        fault_arm(FAULT_ALLOC, n, 0);
        rc = eval_run(dir, &(struct eval_options){.depth = 10}, &out, &err);
        fault_disarm();
        assert_true(rc == 0 || err.msg[0]);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_match_values_worked_by_hand),
        cmocka_unit_test(packs_are_scored_at_file_level_when_judged_so),
        cmocka_unit_test(faults_of_a_pack_are_named),
        cmocka_unit_test(vectors_of_a_file_are_searched_too),
        cmocka_unit_test(faults_of_a_vectors_file_are_named),
        cmocka_unit_test(evaluation_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
