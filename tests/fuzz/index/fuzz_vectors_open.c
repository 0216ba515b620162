/*
 * Damaged vector files: opening refuses them or every row, append and search stays inside the file.
 * The first byte says how: 0 the rest is the whole file; else a sound file is changed by (u16 place,
 * u8 value) triples and cut, and for odd numbers all checksums are made right again, as someone who
 * wants to harm would.
 */
#include "base/bug.h"
#include "base/hash.h"
#include "index/vectors_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_MAX (16u << 10)
#define DIMS 5u
#define ROWS 9u
#define KEY "k"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vector_hash hash_of(unsigned i)
{
    return vector_hash_of(span_of((const char *)&i, sizeof i));
}

static size_t make_file(uint8_t *ret)
{
    char path[64];
    int fd = memfd_create("vectors", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct vectors *v;
    BUG_ON(vectors_open(path, KEY, &v, NULL) < 0);
    for (unsigned i = 0; i < ROWS; i++) {
        float values[DIMS] = {1, (float)i, -2, 3, 0.5f};
        BUG_ON(vectors_add(v, hash_of(i), values, DIMS, NULL) < 0);
    }
    BUG_ON(vectors_sync(v, NULL) < 0);
    vectors_close(v);
    ssize_t n = pread(fd, ret, FILE_MAX, 0);
    BUG_ON(n != (ssize_t)(VECTOR_HEADER_BYTES + ROWS * vector_stride(DIMS)));
    close(fd);
    return (size_t)n;
}

static void fix_checksums(uint8_t *bytes, size_t len)
{
    struct vector_header *h = (struct vector_header *)(void *)bytes;
    if (len < sizeof *h)
        return;
    h->crc = crc32c(0, h, offsetof(struct vector_header, crc));
    size_t stride = h->dims && h->dims <= VECTOR_DIMS_MAX ? vector_stride(h->dims) : len;
    for (size_t at = sizeof *h; at + stride <= len; at += stride) {
        uint32_t crc = crc32c(0, bytes + at + 4, stride - 4);
        memcpy(bytes + at, &crc, sizeof crc);
    }
}

static void search(struct vectors *v)
{
    uint32_t rows[ROWS + 5];
    for (unsigned i = 0; i < ROWS + 5; i++)
        rows[i] = i < ROWS ? vectors_find(v, hash_of(i)) : i;
    struct vector_leg *leg;
    if (vector_leg_new_rows(v, NULL, rows, ROWS + 5, &leg, NULL) < 0)
        return;
    unsigned dims = vector_leg_dims(leg);
    float *query = calloc(dims + 1, sizeof *query);
    struct index_hit hits[8];
    query[dims / 2] = -1;
    int n = vector_leg_search(leg, query, dims, hits, 8);
    BUG_ON(n < 0 || (vector_leg_covered(leg) > 0) != (n > 0));
    BUG_ON(n > 0 && vector_leg_score(leg, query, dims, hits, (unsigned)n) < 0);
    free(query);
    vector_leg_unref(leg);
}

static void use(const char *path)
{
    struct vectors *v;
    struct err err;
    if (vectors_open(path, KEY, &v, &err) < 0)
        return;
    size_t count = vectors_count(v);
    search(v);
    unsigned dims = vectors_dims(v) ? vectors_dims(v) : DIMS;
    float *values = calloc(dims, sizeof *values);
    values[0] = 2;
    bool was_there = vectors_has(v, hash_of(1000));
    BUG_ON(vectors_add(v, hash_of(1000), values, dims, &err) < 0);
    BUG_ON(vectors_sync(v, &err) < 0);
    free(values);
    vectors_close(v);
    /* what was sound is still there, and so is the new row */
    BUG_ON(vectors_open(path, KEY, &v, &err) < 0);
    BUG_ON(vectors_count(v) != count + !was_there || !vectors_has(v, hash_of(1000)));
    search(v);
    vectors_close(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t sound[FILE_MAX];
    static _Alignas(8) uint8_t bytes[FILE_MAX];
    static size_t sound_len;
    if (!sound_len)
        sound_len = make_file(sound);
    if (size == 0)
        return 0;
    size_t len = size - 1 < FILE_MAX ? size - 1 : FILE_MAX;
    if (data[0] == 0) {
        memcpy(bytes, data + 1, len);
    } else {
        len = sound_len - (size - 1) % 3 * (data[0] & 0x7e);
        memcpy(bytes, sound, len);
        for (size_t i = 1; i + 2 < size; i += 3)
            bytes[(data[i] | (size_t)data[i + 1] << 8) % len] = data[i + 2];
        if (data[0] & 1)
            fix_checksums(bytes, len);
    }
    char path[64];
    int fd = memfd_create("vectors", MFD_CLOEXEC);
    BUG_ON(fd < 0 || write(fd, bytes, len) != (ssize_t)len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    use(path);
    close(fd);
    return 0;
}
