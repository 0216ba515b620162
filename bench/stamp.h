#pragma once
/*
 * The tokens that the bench tools exchange, and what is measured with them. A token is text of a fixed length,
 *
 *     k<number from 0>t<CLOCK_MONOTONIC in ns when it was sent>xxx…<space>
 *
 * so whoever reads an answer, however its frames were cut or merged, can tell whether each token came once and in order,
 * and how long it was on its way (all programs run on one machine, where this clock is one). It ends with a space because
 * the server's citation scanner lets a word go once it is over.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define STAMP_BYTES_MIN 32 /* "k" 8 digits "t" 20 digits, space */
#define STAMP_BYTES_MAX 4096

/* Writes exactly `bytes` bytes (at least STAMP_BYTES_MIN) and a NUL. */
static inline void stamp_put(char *ret, size_t bytes, uint64_t number, uint64_t now_ns)
{
    int n = snprintf(ret, bytes + 1, "k%llut%llu", (unsigned long long)number,
                     (unsigned long long)now_ns);
    memset(ret + n, 'x', bytes - (size_t)n);
    ret[bytes - 1] = ' ';
    ret[bytes] = 0;
}

/* ---- histogram: log-linear, below 0.4 % wide, up to 2^40 ns (18 minutes) ---- */

#define HISTOGRAM_SUB 256
#define HISTOGRAM_SLOTS (HISTOGRAM_SUB + 33 * (HISTOGRAM_SUB / 2))
struct histogram {
    uint64_t count, max_ns;
    double sum_ns;
    uint64_t slots[HISTOGRAM_SLOTS];
};

static inline size_t histogram_slot(uint64_t ns)
{
    if (ns >= UINT64_C(1) << 40)
        ns = (UINT64_C(1) << 40) - 1;
    if (ns < HISTOGRAM_SUB)
        return (size_t)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - 7u; /* leaves 8 bits, the first is 1 */
    return (size_t)(shift * (HISTOGRAM_SUB / 2) + (ns >> shift));
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
    h->count++;
    h->sum_ns += (double)ns;
    if (ns > h->max_ns)
        h->max_ns = ns;
    h->slots[histogram_slot(ns)]++;
}

/* Upper end of the slot in which the q-th part (0 to 1) of all values ends, in ms. */
static inline double histogram_ms(const struct histogram *h, double q)
{
    uint64_t want = (uint64_t)ceil((double)h->count * q), seen = 0;
    for (size_t i = 0; i < HISTOGRAM_SLOTS && h->count; i++) {
        seen += h->slots[i];
        if (seen < want || !seen)
            continue;
        if (i < HISTOGRAM_SUB)
            return (double)i / 1e6;
        size_t shift = i / (HISTOGRAM_SUB / 2) - 1;
        uint64_t first = i - shift * (HISTOGRAM_SUB / 2);
        return (double)(((first + 1) << shift) - 1) / 1e6;
    }
    return 0;
}
