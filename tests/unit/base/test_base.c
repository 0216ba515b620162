/* Promises of base/: spans, buffers, maps, JSON, hashes, faults, child processes. */
#include "../cm.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void span_next_yields_empty_pieces(void **state)
{
    (void)state;
    struct span rest = SPAN_LIT("a,,b"), piece;
    assert_true(span_next(&rest, ',', &piece) && span_is(piece, "a"));
    assert_true(span_next(&rest, ',', &piece) && span_is(piece, ""));
    assert_true(span_next(&rest, ',', &piece) && span_is(piece, "b"));
    assert_false(span_next(&rest, ',', &piece));
}

static void numbers_refuse_overflow_and_signs(void **state)
{
    (void)state;
    uint64_t u;
    int64_t i;
    assert_true(parse_u64(SPAN_LIT("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_false(parse_u64(SPAN_LIT("18446744073709551616"), &u));
    assert_false(parse_u64(SPAN_LIT("-1"), &u));
    assert_false(parse_u64(SPAN_LIT(""), &u));
    assert_true(parse_i64(SPAN_LIT("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_false(parse_i64(SPAN_LIT("9223372036854775808"), &i));
}

static void buf_failure_is_sticky_at_its_maximum(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(8);
    buf_puts(&b, "12345678");
    assert_false(buf_failed(&b));
    buf_putc(&b, '9');
    assert_true(buf_failed(&b));
    assert_null(buf_detach(&b));
    buf_puts(&b, "again");
    assert_true(span_is(buf_span(&b), "again"));
    buf_done(&b);
}

static void buf_survives_every_failed_allocation(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 20; nth++) {
        fault_arm(FAULT_ALLOC, nth, 0);
        struct buf b = BUF_INIT(1 << 20);
        for (int i = 0; i < 1000; i++)
            buf_printf(&b, "%d,", i);
        bool hit = fault_seen(FAULT_ALLOC) >= nth;
        assert_int_equal(buf_failed(&b), hit);
        fault_disarm();
        buf_done(&b);
        if (!hit)
            return;
    }
    fail_msg("never passed without a fault");
}

static void map_agrees_with_a_plain_array(void **state)
{
    (void)state;
    enum { N = 500 };
    static char values[N];
    bool in[N] = {false};
    struct map m;
    map_init(&m);
    unsigned seed = 7;
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1103515245u + 12345u;
        int k = (int)(seed >> 8) % N;
        char key[16];
        struct span s = span_of(key, (size_t)snprintf(key, sizeof key, "key%d", k));
        if (seed >> 30) {
            assert_int_equal(map_set(&m, s, &values[k], NULL), 0);
            in[k] = true;
        } else {
            assert_ptr_equal(map_remove(&m, s), in[k] ? &values[k] : NULL);
            in[k] = false;
        }
        assert_ptr_equal(map_get(&m, s), in[k] ? &values[k] : NULL);
    }
    size_t at = 0, count = 0;
    struct span key;
    void *value;
    while (map_each(&m, &at, &key, &value))
        count++;
    assert_int_equal(count, m.count);
    map_done(&m);
}

static void json_writer_escapes_and_replaces_bad_utf8(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1000);
    struct json_writer w = json_writer(&b);
    jw_obj(&w);
    jw_kspan(&w, "a\n", SPAN_LIT("\"\x01\xff\xc3\xa9"));
    jw_kint(&w, "n", INT64_MIN);
    jw_end_obj(&w);
    assert_string_equal(
        buf_str(&b), "{\"a\\n\":\"\\\"\\u0001\xef\xbf\xbd\xc3\xa9\",\"n\":-9223372036854775808}");
    buf_done(&b);
}

static void json_read_repairs_lone_surrogates(void **state)
{
    (void)state;
    struct err err;
    json_t *v = json_read(SPAN_LIT("[\"\\ud83d\\ude00\",\"\\ud83dx\",\"\\\\ud83d\"]"), &err, NULL);
    assert_non_null(v);
    assert_string_equal(json_string_value(json_array_get(v, 0)), "\xf0\x9f\x98\x80");
    assert_string_equal(json_string_value(json_array_get(v, 1)), "\xef\xbf\xbdx");
    assert_string_equal(json_string_value(json_array_get(v, 2)), "\\ud83d");
    json_decref(v);
}

static void json_read_refuses_depth_and_says_where(void **state)
{
    (void)state;
    struct err err;
    char deep[300];
    memset(deep, '[', sizeof deep);
    assert_null(json_read(span_of(deep, sizeof deep), &err, NULL));
    assert_non_null(strstr(err.msg, "deeper"));
    assert_null(json_read(SPAN_LIT("{\n bad"), &err, NULL));
    assert_non_null(strstr(err.msg, "line 2"));
}

static void hashes_match_published_values(void **state)
{
    (void)state;
    char hex[SHA256_HEX];
    sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    assert_true(equal_constant_time(SPAN_LIT("key"), SPAN_LIT("key")));
    assert_false(equal_constant_time(SPAN_LIT("key"), SPAN_LIT("kex")));
    assert_false(equal_constant_time(SPAN_LIT("key"), SPAN_LIT("keykey")));
}

static int run(const char *const *argv, struct span input, uint64_t timeout_ms, struct buf *out,
               int *ret_status, struct err *err)
{
    struct proc_options o = {.argv = argv, .input = input, .timeout_ms = timeout_ms};
    return proc_run(&o, out, NULL, ret_status, err);
}

static void proc_feeds_and_reads_a_child(void **state)
{
    (void)state;
    struct err err;
    struct buf out = BUF_INIT(1 << 20);
    int status;
    assert_int_equal(run((const char *[]){"cat", NULL}, SPAN_LIT("hello"), 0, &out, &status, &err),
                     0);
    assert_string_equal(buf_str(&out), "hello");
    assert_int_equal(status, 0);
    buf_done(&out);
}

static void proc_names_what_went_wrong(void **state)
{
    (void)state;
    struct err err;
    struct buf out = BUF_INIT(1000);
    int status;
    assert_int_equal(
        run((const char *[]){"no-such-program-here", NULL}, SPAN_NULL, 0, &out, &status, &err),
        -ERR_UNAVAILABLE);
    assert_int_equal(
        run((const char *[]){"sleep", "30", NULL}, SPAN_NULL, 100, &out, &status, &err),
        -ERR_TIMEOUT);
    assert_int_equal(run((const char *[]){"yes", NULL}, SPAN_NULL, 0, &out, &status, &err),
                     -ERR_TOO_LARGE);
    buf_done(&out);
}

static void metrics_of_one_name_are_printed_together(void **state)
{
    (void)state;
    static _Atomic int64_t buckets[METRIC_BUCKETS];
    static struct metric table[] = {
        {.name = "t_requests_total", .help = "Requests", .labels = "by=\"a\""},
        METRIC_GAUGE("t_open", "Open"),
        {.name = "t_requests_total", .help = "Requests", .labels = "by=\"b\""},
        METRIC_TIMES("t_wait_seconds", "Waits", buckets),
    };
    metric_register(table, 2);
    metric_register(table, 4);
    metric_add(&table[0], 3);
    metric_set(&table[1], -1);
    metric_add(&table[2], 4);
    metric_time(&table[3], 10); /* bounds are inclusive */
    metric_time(&table[3], 11);
    metric_time(&table[3], 999999);
    struct buf out = BUF_INIT(10000);
    metric_print_prometheus(&out);
    assert_non_null(strstr(buf_str(&out), "# HELP t_requests_total Requests\n"
                                          "# TYPE t_requests_total counter\n"
                                          "t_requests_total{by=\"a\"} 3\n"
                                          "t_requests_total{by=\"b\"} 4\n"
                                          "# HELP t_open Open\n# TYPE t_open gauge\nt_open -1\n"
                                          "# HELP t_wait_seconds Waits\n"
                                          "# TYPE t_wait_seconds histogram\n"
                                          "t_wait_seconds_bucket{le=\"0.01\"} 1\n"
                                          "t_wait_seconds_bucket{le=\"0.05\"} 2\n"));
    assert_non_null(strstr(buf_str(&out), "t_wait_seconds_bucket{le=\"120\"} 2\n"
                                          "t_wait_seconds_bucket{le=\"+Inf\"} 3\n"
                                          "t_wait_seconds_sum 1000.020\n"
                                          "t_wait_seconds_count 3\n"));
    buf_clear(&out);
    metric_print_json(&out);
    assert_string_equal(buf_str(&out),
                        "{\"t_requests_total{by=\\\"a\\\"}\":3,\"t_open\":-1,"
                        "\"t_requests_total{by=\\\"b\\\"}\":4,"
                        "\"t_wait_seconds_count\":3,\"t_wait_seconds_sum_ms\":1000020}");
    buf_done(&out);
}

struct watched {
    struct buf out, complaints;
    int ticks, max_ticks, fd;
};

static int count_ticks(void *ctx, struct err *err)
{
    struct watched *w = ctx;
    return ++w->ticks >= w->max_ticks ? err_set(err, ERR_LIMIT, "enough") : 0;
}

static int take_piece(void *ctx, struct span piece, struct err *err)
{
    struct watched *w = ctx;
    (void)err;
    buf_put_span(&w->out, piece);
    return 0;
}

static void take_complaint(void *ctx, struct span piece)
{
    struct watched *w = ctx;
    buf_put_span(&w->complaints, piece);
}

static int watch(const char *script, struct watched *w, struct err *err)
{
    const char *argv[] = {"sh", "-c", script, NULL}, *env[] = {"ONLY=this", NULL};
    int status;
    struct proc_options o = {
        .argv = argv,
        .env = env,
        .is_env_whole = true,
        .inherit_fd = w->fd,
        .ctx = w,
        .on_out = take_piece,
        .on_err = take_complaint,
        .tick = count_ticks,
    };
    return proc_run(&o, NULL, NULL, &status, err);
}

static void proc_hands_over_what_it_is_told_to_and_nothing_else(void **state)
{
    (void)state;
    struct err err = {0};
    int first = memfd_create("", MFD_CLOEXEC), fd = fcntl(first, F_DUPFD_CLOEXEC, 90);
    assert_true(fd >= 90 && fd < 100);
    close(first);
    assert_int_equal(write(fd, "secret", 6), 6);
    struct watched w = {BUF_INIT(4096), BUF_INIT(4096), 0, 1000, fd};
    assert_int_equal(setenv("NOT_FOR_CHILDREN", "x", 1), 0);
    assert_int_equal(watch("cat /proc/self/fd/3; echo $ONLY$NOT_FOR_CHILDREN; echo oh >&2; ls "
                           "/proc/self/fd/9? || true",
                           &w, &err),
                     0);
    assert_string_equal(buf_str(&w.out), "secretthis\n"); /* and not the descriptor's own number */
    assert_true(span_starts(buf_span(&w.complaints), SPAN_LIT("oh\n")));
    close(fd);
    buf_done(&w.out);
    buf_done(&w.complaints);
}

static void proc_ends_a_child_when_its_watcher_says_so(void **state)
{
    (void)state;
    struct err err = {0};
    struct watched w = {BUF_INIT(4096), BUF_INIT(4096), 0, 3, 0};
    assert_int_equal(watch("exec sleep 100", &w, &err), -ERR_LIMIT);
    assert_string_equal(err.msg, "enough");
    buf_done(&w.out);
    buf_done(&w.complaints);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(span_next_yields_empty_pieces),
        cmocka_unit_test(numbers_refuse_overflow_and_signs),
        cmocka_unit_test(buf_failure_is_sticky_at_its_maximum),
        cmocka_unit_test(buf_survives_every_failed_allocation),
        cmocka_unit_test(map_agrees_with_a_plain_array),
        cmocka_unit_test(json_writer_escapes_and_replaces_bad_utf8),
        cmocka_unit_test(json_read_repairs_lone_surrogates),
        cmocka_unit_test(json_read_refuses_depth_and_says_where),
        cmocka_unit_test(hashes_match_published_values),
        cmocka_unit_test(proc_feeds_and_reads_a_child),
        cmocka_unit_test(proc_names_what_went_wrong),
        cmocka_unit_test(metrics_of_one_name_are_printed_together),
        cmocka_unit_test(proc_hands_over_what_it_is_told_to_and_nothing_else),
        cmocka_unit_test(proc_ends_a_child_when_its_watcher_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
