/*
 * Promises under damage and failure: a damaged segment is refused or answers as before, a failed
 * build publishes nothing.
 */
#include "../cm.h"
#include "base/fault.h"
#include "index/index_priv.h"
#include "make_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HITS 50

static int search_path(const char *path, struct index_hit *hits)
{
    struct index *ix;
    struct err err = {0};
    int rc = index_open(path, &ix, &err);
    if (rc < 0) {
        assert_true(err.code == -rc && err.msg[0]);
        return rc;
    }
    memset(hits, 0, HITS * sizeof *hits);
    rc = index_search(ix, SPAN_LIT("waq2 wbq5 wcq1"), hits, HITS);
    index_unref(ix);
    return rc;
}

static void check_damaged(const char *path, const struct index_hit *expected, int count)
{
    static struct index_hit hits[HITS];
    int n = search_path(path, hits);
    if (n == -ERR_CORRUPT)
        return;
    assert_int_equal(n, count);
    assert_memory_equal(hits, expected, sizeof hits);
}

static void flipped_bytes_are_found(void **state)
{
    (void)state;
    static struct made m;
    struct err err = {0};
    made_init(&m, 40, 3);
    assert_int_equal(made_build(&m, m.path, 0, &err), 0);
    static struct index_hit expected[HITS];
    int count = search_path(m.path, expected);
    assert_true(count > 5);
    size_t len;
    unsigned char *bytes = read_whole(m.path, &len);
    for (size_t i = 0; i < len; i += 29) {
        bytes[i] ^= (unsigned char)(1u << (i % 8));
        write_whole(m.path, bytes, len);
        check_damaged(m.path, expected, count);
        bytes[i] ^= (unsigned char)(1u << (i % 8));
    }
    free(bytes);
    made_done(&m);
}

static void truncated_and_extended_files_are_refused(void **state)
{
    (void)state;
    static struct made m;
    struct err err = {0};
    made_init(&m, 40, 3);
    assert_int_equal(made_build(&m, m.path, 0, &err), 0);
    size_t len;
    unsigned char *bytes = read_whole(m.path, &len);
    static struct index_hit hits[HITS];
    for (size_t n = 0; n < len; n += 1 + n / 50) {
        write_whole(m.path, bytes, n);
        assert_int_equal(search_path(m.path, hits), -ERR_CORRUPT);
    }
    bytes = realloc(bytes, len + 16);
    memset(bytes + len, 0, 16);
    write_whole(m.path, bytes, len + 16);
    assert_int_equal(search_path(m.path, hits), -ERR_CORRUPT);
    free(bytes);
    unlink(m.path);
    assert_int_equal(search_path(m.path, hits), -ERR_NOT_FOUND);
    made_done(&m);
}

/*
 * Walks every failure of a kind: each build either succeeds or fails in words, and what was
 * published before stays.
 */
static void walk_failures(enum fault_site site, uint64_t step)
{
    static struct made m;
    static struct index_hit before[HITS], after[HITS];
    struct err err = {0};
    made_init(&m, 12, 8);
    assert_int_equal(made_build(&m, m.path, 0, &err), 0);
    int count = search_path(m.path, before), rc = -1;
    unsigned failed = 0;
    for (uint64_t n = 1; rc < 0; n += step) {
        fault_arm(site, n, 0);
        rc = made_build(&m, m.path, 60000, &err);
        fault_disarm();
        if (rc < 0) {
            failed++;
            assert_true(err.msg[0]);
            assert_int_equal(err.code, -rc);
        }
        assert_int_equal(search_path(m.path, after), count);
        assert_memory_equal(before, after, sizeof before);
    }
    assert_true(failed > 0);
    made_done(&m); /* aborts when a temporary file is left */
}

static void build_survives_every_failed_allocation(void **state)
{
    (void)state;
    walk_failures(FAULT_ALLOC, 1);
}

static void build_survives_every_failed_write(void **state)
{
    (void)state;
    walk_failures(FAULT_WRITE, 1);
}

static void build_survives_failed_sync_and_reads(void **state)
{
    (void)state;
    walk_failures(FAULT_SYNC, 1);
    walk_failures(FAULT_READ, 1);
}

static void open_and_search_survive_every_failed_allocation(void **state)
{
    (void)state;
    static struct made m;
    static struct index_hit hits[HITS];
    struct err err = {0};
    made_init(&m, 12, 8);
    assert_int_equal(made_build(&m, m.path, 0, &err), 0);
    int rc = -1;
    for (uint64_t n = 1; rc < 0; n++) {
        fault_arm(FAULT_ALLOC, n, 0);
        struct index *ix;
        rc = index_open(m.path, &ix, &err);
        if (rc == 0) {
            rc = index_search(ix, SPAN_LIT("waq2"), hits, HITS);
            index_unref(ix);
        }
        fault_disarm();
        assert_true(rc > 0 || rc == -ERR_NO_MEMORY);
    }
    made_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_bytes_are_found),
        cmocka_unit_test(truncated_and_extended_files_are_refused),
        cmocka_unit_test(build_survives_every_failed_allocation),
        cmocka_unit_test(build_survives_every_failed_write),
        cmocka_unit_test(build_survives_failed_sync_and_reads),
        cmocka_unit_test(open_and_search_survive_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
