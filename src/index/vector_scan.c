/*
 * The inner loops of the vector leg. Sums are made in 32 lanes added up in one order, without fused
 * multiply-add (meson.build), so that every processor gets the same bits; what differs is only how
 * wide the instructions are.
 */
#include "index/vectors_priv.h"

#include <math.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LANES 32u

typedef float lanes4 VECTOR_OF(16);

static float sum_of_lanes(const float lanes[LANES], const float *a, const float *b, size_t from,
                          size_t n)
{
    float total = 0;
    for (unsigned l = 0; l < LANES; l++)
        total += lanes[l];
    for (size_t i = from; i < n; i++)
        total += a[i] * b[i];
    return total;
}

/* The compiler makes good code of vectors as wide as the registers only: so one for each width. */
static float dot_portable(const float *a, const float *b, size_t n)
{
    lanes4 sum[LANES / 4] = {{0}}, x, y;
    float lanes[LANES];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
#pragma GCC unroll 8
        for (unsigned l = 0; l < LANES / 4; l++) {
            memcpy(&x, a + i + l * 4, sizeof x);
            memcpy(&y, b + i + l * 4, sizeof y);
            sum[l] += x * y;
        }
    }
    memcpy(lanes, sum, sizeof lanes);
    return sum_of_lanes(lanes, a, b, i, n);
}

#if defined(__x86_64__)
TARGET("avx2") static float dot_avx2(const float *a, const float *b, size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    float lanes[LANES];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const float *x = a + i, *y = b + i;
        s0 = _mm256_add_ps(s0, _mm256_mul_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(y)));
        s1 = _mm256_add_ps(s1, _mm256_mul_ps(_mm256_loadu_ps(x + 8), _mm256_loadu_ps(y + 8)));
        s2 = _mm256_add_ps(s2, _mm256_mul_ps(_mm256_loadu_ps(x + 16), _mm256_loadu_ps(y + 16)));
        s3 = _mm256_add_ps(s3, _mm256_mul_ps(_mm256_loadu_ps(x + 24), _mm256_loadu_ps(y + 24)));
    }
    _mm256_storeu_ps(lanes, s0);
    _mm256_storeu_ps(lanes + 8, s1);
    _mm256_storeu_ps(lanes + 16, s2);
    _mm256_storeu_ps(lanes + 24, s3);
    return sum_of_lanes(lanes, a, b, i, n);
}
#endif

float vector_dot(const float *a, const float *b, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return dot_avx2(a, b, n);
#endif
    return dot_portable(a, b, n);
}

double vector_length(const float *a, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)a[i];
    return sqrt(sum);
}

/* ---- signs ---- */

static bool flips(unsigned at, unsigned round)
{
    uint64_t x = ((uint64_t)round << 32 | at) * 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return x >> 63;
}

/* Walsh-Hadamard transform of a power of two, scaled to keep lengths. */
static void hadamard(float *x, unsigned n)
{
    for (unsigned half = 1; half < n; half *= 2) {
        for (unsigned from = 0; from < n; from += 2 * half) {
            float *a = x + from, *b = a + half;
            for (unsigned i = 0; i < half; i++) {
                float s = a[i] + b[i], d = a[i] - b[i];
                a[i] = s;
                b[i] = d;
            }
        }
    }
    float scale = 1.0f / sqrtf((float)n);
    for (unsigned i = 0; i < n; i++)
        x[i] *= scale;
}

void vector_rotate(float *x, unsigned n)
{
    unsigned size = 1;
    while (size * 2 <= n)
        size *= 2;
    /* Where n is no power of two, the transforms of its head and its tail overlap. */
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < n; i++)
            x[i] = flips(i, round) ? -x[i] : x[i];
        hadamard(round ? x + (n - size) : x, size);
    }
}

void vector_signs(const float *x, unsigned n, uint64_t *ret)
{
    for (size_t w = 0; w < vector_words(n); w++) {
        uint64_t word = 0;
        for (unsigned i = (unsigned)w * 64, bit = 0; i < n && bit < 64; i++, bit++)
            word |= (uint64_t)(x[i] > 0) << bit;
        ret[w] = word;
    }
}

static ALWAYS_INLINE void distances_by_word(const uint64_t *query, const uint64_t *rows,
                                            size_t words, size_t count, uint16_t *ret)
{
    for (size_t r = 0; r < count; r++, rows += words) {
        unsigned sum = 0;
        for (size_t w = 0; w < words; w++)
            sum += (unsigned)__builtin_popcountll(query[w] ^ rows[w]);
        ret[r] = (uint16_t)sum;
    }
}

#if defined(__x86_64__)
/* 256 and 384 dimensions are common: with a known number of words there is no inner loop. */
TARGET("popcnt")
static void distances_popcnt(const uint64_t *query, const uint64_t *rows, size_t words,
                             size_t count, uint16_t *ret)
{
    if (words == 4)
        distances_by_word(query, rows, 4, count, ret);
    else if (words == 6)
        distances_by_word(query, rows, 6, count, ret);
    else
        distances_by_word(query, rows, words, count, ret);
}

TARGET("avx512f,avx512vpopcntdq")
static void distances_avx512(const uint64_t *query, const uint64_t *rows, size_t words,
                             size_t count, uint16_t *ret)
{
    __mmask8 rest = (__mmask8)((1u << (words % 8)) - 1);
    size_t whole = words - words % 8;
    for (size_t r = 0; r < count; r++, rows += words) {
        __m512i sum = _mm512_setzero_si512();
        for (size_t w = 0; w < whole; w += 8)
            sum = _mm512_add_epi64(
                sum, _mm512_popcnt_epi64(_mm512_xor_si512(_mm512_loadu_si512(query + w),
                                                          _mm512_loadu_si512(rows + w))));
        if (rest)
            sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(
                                            _mm512_maskz_loadu_epi64(rest, query + whole),
                                            _mm512_maskz_loadu_epi64(rest, rows + whole))));
        ret[r] = (uint16_t)_mm512_reduce_add_epi64(sum);
    }
}
#endif

void vector_distances(const uint64_t *query, const uint64_t *rows, size_t words, size_t count,
                      uint16_t *ret)
{
#if defined(__x86_64__)
    if (words >= 8 && __builtin_cpu_supports("avx512vpopcntdq"))
        distances_avx512(query, rows, words, count, ret);
    else if (__builtin_cpu_supports("popcnt"))
        distances_popcnt(query, rows, words, count, ret);
    else
        distances_by_word(query, rows, words, count, ret);
#else
    distances_by_word(query, rows, words, count, ret);
#endif
}
