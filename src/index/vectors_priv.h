#pragma once
/*
 * The vector file and what scans it. Little-endian, written by pwrite behind the last row only:
 *
 *   header (512 bytes, own CRC) | row | row | …      row: CRC-32C, hash, dims floats; no padding
 *
 * Rows have one size, so a damaged one does not hide those behind it.
 */
#include "index/vectors.h"

#define VECTOR_MAGIC "HWVECTR1"
#define VECTOR_VERSION 1u
#define VECTOR_HEADER_BYTES 512u
#define VECTOR_ROW_HEAD 20u /* CRC-32C of hash and floats, then the hash */

struct vector_header {
    char magic[8];
    uint32_t version, dims;
    char key[VECTOR_KEY_MAX];
    uint8_t reserved[VECTOR_HEADER_BYTES - VECTOR_KEY_MAX - 20];
    uint32_t crc; /* of all before */
};
_Static_assert(sizeof(struct vector_header) == VECTOR_HEADER_BYTES, "header has no holes");

static inline size_t vector_stride(unsigned dims)
{
    return VECTOR_ROW_HEAD + (size_t)dims * sizeof(float);
}

#define VECTOR_NO_ROW UINT32_MAX
/* Row of the file with this text, pending ones included, or VECTOR_NO_ROW. */
uint32_t vectors_find(const struct vectors *v, struct vector_hash hash);
/* All rows are in the file (not: on disk) after; a private mapping of it, NULL when it is empty. */
int vectors_map(struct vectors *v, const uint8_t **ret, size_t *ret_len,
                struct err *err) MUST_CHECK;
/*
 * The leg of chunks 0..count-1 with these rows (VECTOR_NO_ROW: none). ix may be NULL (tests,
 * benchmarks).
 */
int vector_leg_new_rows(struct vectors *v, struct index *ix, const uint32_t *row_of_chunk,
                        uint32_t count, struct vector_leg **ret, struct err *err) MUST_CHECK;
/* Scores every row: the oracle of vector_leg_search. */
int vector_leg_search_exhaustive(const struct vector_leg *leg, const float *query, unsigned dims,
                                 struct index_hit *ret, unsigned k) MUST_CHECK;

/* ---- vector_scan.c: arithmetic, the same result whatever the processor can do ---- */

/* Sum of products; a and b need no alignment beyond their type's. */
float vector_dot(const float *a, const float *b, size_t n);
/* Euclidean length; not finite when a value is not. */
double vector_length(const float *a, size_t n);
/* An orthogonal map that spreads what each dimension says over all of them; in place. */
void vector_rotate(float *x, unsigned n);
/* Bit i of ret: x[i] > 0. ret has vector_words(n) words. */
void vector_signs(const float *x, unsigned n, uint64_t *ret);
static inline size_t vector_words(unsigned dims)
{
    return (dims + 63u) / 64u;
}
/* ret[i] = how many bits differ between query and row i of rows, each `words` long. */
void vector_distances(const uint64_t *query, const uint64_t *rows, size_t words, size_t count,
                      uint16_t *ret);
