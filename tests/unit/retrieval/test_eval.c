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
    static const char *const names[] = {"corpus.jsonl", "queries.jsonl", "qrels.tsv", "run.trec"};
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
    assert_int_equal(eval_run(dir, run, 0, &out, &err), 0);
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
    assert_int_equal(eval_run(dir, NULL, 10, &out, &err), -ERR_INVALID);
    assert_non_null(strstr(err.msg, "queries.jsonl line 2"));
    put_pack();
    put_file("corpus.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\n{broken\n");
    assert_int_equal(eval_run(dir, NULL, 10, &out, &err), -ERR_INVALID);
    assert_non_null(strstr(err.msg, "corpus.jsonl line 2"));
    assert_int_equal(eval_run("/no/such/pack", NULL, 10, &out, &err), -ERR_NOT_FOUND);
    assert_int_equal(out.len, 0);
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
        rc = eval_run(dir, NULL, 10, &out, &err);
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
        cmocka_unit_test(evaluation_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
