/* Promises of vector files: nothing sound is lost, nothing unsound is used, failures leave it usable. */
#include "../cm.h"
#include "base/fault.h"
#include "base/hash.h"
#include "index/vectors_priv.h"
#include "make_index.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define DIMS 24u
#define KEY "openai/small/24"

static char dir[64], path[96];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/headwater-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/vectors", dir);
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    fault_disarm();
    unlink(path);
    return rmdir(dir);
}

static struct vector_hash hash_of(unsigned i)
{
    return vector_hash_of(span_of((const char *)&i, sizeof i));
}

static void make_values(unsigned i, float *ret)
{
    uint64_t seed = i + 1;
    for (unsigned d = 0; d < DIMS; d++)
        ret[d] = (float)made_random(&seed) / 1e9f - 1.0f;
}

static int add(struct vectors *v, unsigned i, struct err *err)
{
    float values[DIMS];
    make_values(i, values);
    return vectors_add(v, hash_of(i), values, DIMS, err);
}

static struct vectors *opened(void)
{
    struct vectors *v = NULL;
    struct err err = {0};
    if (vectors_open(path, KEY, &v, &err) < 0)
        fail_msg("%s", err.msg);
    return v;
}

static void write_file(unsigned rows)
{
    struct vectors *v = opened();
    for (unsigned i = 0; i < rows; i++)
        assert_int_equal(add(v, i, NULL), 0);
    assert_int_equal(vectors_sync(v, NULL), 0);
    vectors_close(v);
}

static void vectors_are_there_after_opening_again(void **state)
{
    (void)state;
    struct vectors *v = opened();
    assert_int_equal(vectors_dims(v), 0);
    for (unsigned i = 0; i < 1000; i++) {
        assert_false(vectors_has(v, hash_of(i)));
        assert_int_equal(add(v, i, NULL), 0);
        assert_true(vectors_has(v, hash_of(i)));
    }
    assert_int_equal(add(v, 7, NULL), 0); /* changes nothing */
    assert_int_equal(vectors_count(v), 1000);
    assert_int_equal(vectors_sync(v, NULL), 0);
    vectors_close(v);
    v = opened();
    assert_int_equal(vectors_dims(v), DIMS);
    assert_int_equal(vectors_count(v), 1000);
    assert_int_equal(vectors_damaged(v), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(vectors_find(v, hash_of(i)), i);
    assert_false(vectors_has(v, hash_of(1000)));
    vectors_close(v);
    vectors_close(NULL);
}

static void closing_without_sync_keeps_what_was_added(void **state)
{
    (void)state;
    struct vectors *v = opened();
    assert_int_equal(add(v, 1, NULL), 0);
    vectors_close(v);
    v = opened();
    assert_true(vectors_has(v, hash_of(1)));
    vectors_close(v);
}

static void rows_are_unit_vectors(void **state)
{
    (void)state;
    struct vectors *v = opened();
    float values[DIMS] = {3, 4};
    assert_int_equal(vectors_add(v, hash_of(0), values, DIMS, NULL), 0);
    float tiny[DIMS] = {1e-40f, -1e-40f}, huge[DIMS] = {1e38f, 1e38f, 1e38f};
    assert_int_equal(vectors_add(v, hash_of(1), tiny, DIMS, NULL), 0);
    assert_int_equal(vectors_add(v, hash_of(2), huge, DIMS, NULL), 0);
    const uint8_t *map;
    size_t len;
    assert_int_equal(vectors_map(v, &map, &len, NULL), 0);
    assert_int_equal(len, VECTOR_HEADER_BYTES + 3 * vector_stride(DIMS));
    float first[2];
    memcpy(first, map + VECTOR_HEADER_BYTES + VECTOR_ROW_HEAD, sizeof first);
    assert_true(fabsf(first[0] - .6f) < 1e-6f && fabsf(first[1] - .8f) < 1e-6f);
    munmap((void *)(uintptr_t)map, len);
    vectors_close(v);
    v = opened();
    assert_int_equal(vectors_count(v), 3);
    vectors_close(v);
}

static void values_that_are_no_direction_are_refused(void **state)
{
    (void)state;
    struct vectors *v = opened();
    struct err err = {0};
    float values[DIMS + 1] = {0};
    assert_int_equal(vectors_add(v, hash_of(0), values, DIMS, &err), -ERR_INVALID);
    assert_true(err.msg[0]);
    values[3] = NAN;
    assert_int_equal(vectors_add(v, hash_of(0), values, DIMS, &err), -ERR_INVALID);
    values[3] = -INFINITY;
    assert_int_equal(vectors_add(v, hash_of(0), values, DIMS, &err), -ERR_INVALID);
    values[3] = 1;
    assert_int_equal(vectors_add(v, hash_of(0), values, 0, &err), -ERR_INVALID);
    assert_int_equal(vectors_add(v, hash_of(0), values, VECTOR_DIMS_MAX + 1, &err), -ERR_INVALID);
    assert_int_equal(vectors_dims(v), 0);
    assert_int_equal(vectors_add(v, hash_of(0), values, DIMS, &err), 0);
    assert_int_equal(vectors_add(v, hash_of(1), values, DIMS + 1, &err), -ERR_INVALID);
    assert_int_equal(vectors_count(v), 1);
    vectors_close(v);
}

static void a_file_of_another_embedder_is_refused_and_kept(void **state)
{
    (void)state;
    write_file(3);
    struct vectors *v;
    struct err err = {0};
    assert_int_equal(vectors_open(path, "ollama/nomic/768", &v, &err), -ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, KEY));
    assert_int_equal(vectors_open(path, "", &v, &err), -ERR_INVALID);
    char longer[VECTOR_KEY_MAX + 1];
    memset(longer, 'k', VECTOR_KEY_MAX);
    longer[VECTOR_KEY_MAX] = 0;
    assert_int_equal(vectors_open(path, longer, &v, &err), -ERR_INVALID);
    v = opened();
    assert_int_equal(vectors_count(v), 3);
    vectors_close(v);
}

static void a_file_in_use_is_busy(void **state)
{
    (void)state;
    struct vectors *v = opened(), *other;
    struct err err = {0};
    assert_int_equal(vectors_open(path, KEY, &other, &err), -ERR_BUSY);
    vectors_close(v);
    vectors_close(opened());
}

static void foreign_files_are_refused_and_kept(void **state)
{
    (void)state;
    static const char text[] = "these are somebody's notes, not vectors";
    struct vectors *v;
    struct err err = {0};
    write_whole(path, text, sizeof text);
    assert_int_equal(vectors_open(path, KEY, &v, &err), -ERR_CORRUPT);
    assert_true(err.msg[0] && err.hint[0]);
    size_t len;
    unsigned char *bytes = read_whole(path, &len);
    assert_int_equal(len, sizeof text);
    assert_memory_equal(bytes, text, len);
    free(bytes);
    assert_true(vectors_open(dir, KEY, &v, &err) < 0);
    assert_int_equal(vectors_open("/no/such/folder/v", KEY, &v, &err), -ERR_NOT_FOUND);
}

/* Wherever the file was cut: all whole rows before are there, and it can be added to. */
static void a_torn_tail_is_dropped(void **state)
{
    (void)state;
    write_file(5);
    size_t len, stride = vector_stride(DIMS);
    unsigned char *bytes = read_whole(path, &len);
    assert_int_equal(len, VECTOR_HEADER_BYTES + 5 * stride);
    for (size_t n = 0; n < len; n += n < 16 ? 1 : 7) {
        write_whole(path, bytes, n);
        struct vectors *v = opened();
        size_t rows = n < VECTOR_HEADER_BYTES ? 0 : (n - VECTOR_HEADER_BYTES) / stride;
        assert_int_equal(vectors_count(v), rows);
        assert_int_equal(vectors_damaged(v), 0);
        assert_int_equal(add(v, 77, NULL), 0);
        vectors_close(v);
        v = opened();
        assert_int_equal(vectors_count(v), rows + 1);
        assert_true(vectors_has(v, hash_of(77)));
        vectors_close(v);
    }
    /* what a file system may leave: the length is there, the bytes are not */
    memset(bytes + VECTOR_HEADER_BYTES + 3 * stride, 0, 2 * stride);
    write_whole(path, bytes, len);
    struct vectors *v = opened();
    assert_int_equal(vectors_count(v), 3);
    assert_int_equal(vectors_damaged(v), 0);
    vectors_close(v);
    free(bytes);
    bytes = read_whole(path, &len);
    assert_int_equal(len, VECTOR_HEADER_BYTES + 3 * stride);
    free(bytes);
}

static void flipped_bytes_cost_one_row_at_most(void **state)
{
    (void)state;
    write_file(6);
    size_t len, stride = vector_stride(DIMS);
    unsigned char *bytes = read_whole(path, &len);
    for (size_t at = 0; at < len; at += 3) {
        bytes[at] ^= (unsigned char)(1u << (at % 8));
        write_whole(path, bytes, len);
        bytes[at] ^= (unsigned char)(1u << (at % 8));
        struct vectors *v;
        struct err err = {0};
        int rc = vectors_open(path, KEY, &v, &err);
        if (at < VECTOR_HEADER_BYTES) {
            assert_int_equal(rc, -ERR_CORRUPT);
            continue;
        }
        assert_int_equal(rc, 0);
        unsigned row = (unsigned)((at - VECTOR_HEADER_BYTES) / stride);
        assert_int_equal(vectors_count(v), 5);
        assert_int_equal(vectors_damaged(v), row < 5); /* the last is a tail */
        for (unsigned i = 0; i < 6; i++)
            assert_int_equal(vectors_has(v, hash_of(i)), i != row);
        assert_int_equal(add(v, row, NULL), 0);
        vectors_close(v);
        v = opened();
        assert_true(vectors_has(v, hash_of(row)));
        assert_int_equal(vectors_count(v), 6);
        vectors_close(v);
    }
    free(bytes);
}

/* With a right checksum, as someone who wants to harm would. */
static void rows_that_are_no_unit_vectors_are_damaged(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, 7.0f, 0.0f};
    for (size_t b = 0; b < ARRAY_LEN(bad); b++) {
        unlink(path);
        write_file(3);
        size_t len;
        unsigned char *bytes = read_whole(path, &len);
        unsigned char *row = bytes + VECTOR_HEADER_BYTES + vector_stride(DIMS);
        for (unsigned d = 0; d < DIMS; d++)
            memcpy(row + VECTOR_ROW_HEAD + d * sizeof(float), &bad[b], sizeof(float));
        uint32_t crc = crc32c(0, row + 4, vector_stride(DIMS) - 4);
        memcpy(row, &crc, sizeof crc);
        write_whole(path, bytes, len);
        free(bytes);
        struct vectors *v = opened();
        assert_int_equal(vectors_count(v), 2);
        assert_int_equal(vectors_damaged(v), 1);
        vectors_close(v);
    }
}

static int fill(struct err *err)
{
    struct vectors *v = NULL;
    int rc = vectors_open(path, KEY, &v, err);
    for (unsigned i = 0; rc == 0 && i < 900; i++)
        rc = add(v, i, err);
    if (rc == 0)
        rc = vectors_sync(v, err);
    size_t count = v ? vectors_count(v) : 0;
    bool is_whole = rc == 0;
    vectors_close(v);
    if (is_whole)
        assert_int_equal(count, 900);
    return rc;
}

static void every_failure_is_told_and_leaves_a_sound_file(void **state)
{
    (void)state;
    static const enum fault_site sites[] = {FAULT_ALLOC, FAULT_READ, FAULT_WRITE, FAULT_SYNC};
    for (size_t s = 0; s < ARRAY_LEN(sites); s++) {
        for (uint64_t nth = 1;; nth++) {
            struct err err = {0};
            unlink(path);
            write_file(2);
            fault_arm(sites[s], nth, 0);
            int rc = fill(&err);
            bool has_passed = fault_seen(sites[s]) < nth;
            fault_disarm();
            if (has_passed) {
                assert_int_equal(rc, 0);
                break;
            }
            if (rc < 0)
                assert_true(err.code == -rc && err.msg[0]);
            struct vectors *v = opened();
            assert_int_equal(vectors_damaged(v), 0);
            assert_true(vectors_has(v, hash_of(0)) && vectors_has(v, hash_of(1)));
            vectors_close(v);
        }
    }
}

static void rows_survive_a_write_that_fails_until_it_works(void **state)
{
    (void)state;
    struct vectors *v = opened();
    struct err err = {0};
    assert_int_equal(add(v, 1, NULL), 0);
    fault_arm(FAULT_WRITE, 1, 100);
    assert_int_equal(vectors_sync(v, &err), -ERR_IO);
    assert_int_equal(vectors_sync(v, &err), -ERR_IO);
    fault_disarm();
    assert_true(vectors_has(v, hash_of(1)));
    assert_int_equal(add(v, 2, NULL), 0);
    assert_int_equal(vectors_sync(v, &err), 0);
    fault_arm(FAULT_SYNC, 1, 0);
    assert_int_equal(add(v, 3, NULL), 0);
    assert_int_equal(vectors_sync(v, &err), -ERR_IO);
    assert_int_equal(vectors_sync(v, &err), 0);
    fault_disarm();
    vectors_close(v);
    v = opened();
    assert_int_equal(vectors_count(v), 3);
    vectors_close(v);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)
    const struct CMUnitTest tests[] = {
        T(vectors_are_there_after_opening_again),
        T(closing_without_sync_keeps_what_was_added),
        T(rows_are_unit_vectors),
        T(values_that_are_no_direction_are_refused),
        T(a_file_of_another_embedder_is_refused_and_kept),
        T(a_file_in_use_is_busy),
        T(foreign_files_are_refused_and_kept),
        T(a_torn_tail_is_dropped),
        T(flipped_bytes_cost_one_row_at_most),
        T(rows_that_are_no_unit_vectors_are_damaged),
        T(every_failure_is_told_and_leaves_a_sound_file),
        T(rows_survive_a_write_that_fails_until_it_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
