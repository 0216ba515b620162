/*
 * The vector leg against an exact scan of all floats, in the same run on the same vectors:
 *
 *   bench_vectors DIR ROWS DIMS [QUERIES [EXACT [K]]]   EXACT: how many of them the scan answers too
 *
 * Writes DIR/bench.vectors (ROWS × DIMS × 4 bytes; removed after) through the vector file itself.
 * The vectors are clustered: a centre of its own for every 100 rows, each row and each query its
 * centre plus as much noise again. ninja -C build bench/bench_vectors
 */
#include "base/clock.h"
#include "base/mem.h"
#include "index/vectors_priv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PER_CENTRE 100u
#define K_MAX 1000u

static void fail(const char *what, const struct err *err)
{
    fprintf(stderr, "bench_vectors: %s: %s\n", what, err->msg);
    exit(1);
}

static uint64_t next(uint64_t *seed)
{
    uint64_t x = *seed += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Nearly normal: four uniform numbers. */
static float noise(uint64_t *seed)
{
    uint64_t r = next(seed);
    return (float)((int)(r & 0xffff) + (int)(r >> 16 & 0xffff) + (int)(r >> 32 & 0xffff) +
                   (int)(r >> 48) - 2 * 0xffff) /
           37837.0f;
}

static void make(uint64_t centre, uint64_t number, float *ret, unsigned dims)
{
    uint64_t a = centre * 0x632be59bd9b4e019u, b = ~number;
    for (unsigned d = 0; d < dims; d++)
        ret[d] = noise(&a) + noise(&b);
}

static struct vector_leg *build(const char *path, uint32_t rows, unsigned dims)
{
    struct vectors *v;
    struct vector_leg *leg;
    struct err err;
    float *values = mem_alloc(dims * sizeof *values);
    uint32_t *row_of = mem_alloc(rows * sizeof *row_of);
    if (vectors_open(path, "bench", &v, &err) < 0)
        fail("open", &err);
    uint64_t add_ns = 0;
    for (uint32_t i = 0; i < rows; i++) {
        make(i / PER_CENTRE, i, values, dims);
        uint64_t start = clock_cpu_ns();
        if (vectors_add(v, (struct vector_hash){i, 1}, values, dims, &err) < 0)
            fail("add", &err);
        add_ns += clock_cpu_ns() - start;
        row_of[i] = i;
    }
    if (vectors_sync(v, &err) < 0)
        fail("sync", &err);
    vectors_close(v);
    uint64_t start = clock_cpu_ns();
    if (vectors_open(path, "bench", &v, &err) < 0)
        fail("open", &err);
    uint64_t open_ns = clock_cpu_ns() - start;
    start = clock_cpu_ns();
    if (vector_leg_new_rows(v, NULL, row_of, rows, &leg, &err) < 0)
        fail("leg", &err);
    printf("add %.2f, open %.2f, leg %.2f CPU-s; leg %.1f MB, file %.1f MB\n", (double)add_ns / 1e9,
           (double)open_ns / 1e9, (double)(clock_cpu_ns() - start) / 1e9,
           (double)vector_leg_memory(leg) / 1e6,
           (double)(VECTOR_HEADER_BYTES + rows * vector_stride(dims)) / 1e6);
    vectors_close(v);
    mem_free(values);
    mem_free(row_of);
    return leg;
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void report(const char *name, uint64_t *took, unsigned n, double recall)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += took[i];
    qsort(took, n, sizeof *took, compare_u64);
    printf("%-6s %7.0f queries per CPU-s, CPU ms p50 %.3f p99 %.3f, recall@k %.4f\n", name,
           n / ((double)sum / 1e9), (double)took[n / 2] / 1e6, (double)took[n * 99 / 100] / 1e6,
           recall);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    char path[4096];
    snprintf(path, sizeof path, "%s/bench.vectors", argv[1]);
    uint32_t rows = (uint32_t)strtoul(argv[2], NULL, 10);
    unsigned dims = (unsigned)strtoul(argv[3], NULL, 10);
    unsigned queries = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 200;
    struct vector_leg *leg = build(path, rows, dims);
    unlink(path);
    unsigned k = argc > 6 ? (unsigned)strtoul(argv[6], NULL, 10) : 10;
    k = k > K_MAX ? K_MAX : k;
    unsigned exact = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : queries;
    uint64_t *took = mem_alloc(queries * sizeof *took), *took_all = mem_alloc(queries * 8);
    float *q = mem_alloc(dims * sizeof *q);
    unsigned found = 0, wanted = 0;
    for (unsigned i = 0; i < queries; i++) {
        static struct index_hit hits[K_MAX], all[K_MAX];
        uint64_t seed = i;
        make(next(&seed) % (rows / PER_CENTRE + 1), rows + i, q, dims);
        uint64_t start = clock_cpu_ns();
        int n = vector_leg_search(leg, q, dims, hits, k);
        took[i] = clock_cpu_ns() - start;
        if (i >= exact)
            continue;
        start = clock_cpu_ns();
        int m = vector_leg_search_exhaustive(leg, q, dims, all, k);
        took_all[i] = clock_cpu_ns() - start;
        for (int a = 0; a < m; a++, wanted++)
            for (int h = 0; h < n; h++)
                found += hits[h].chunk == all[a].chunk;
    }
    report("signs", took, queries, wanted ? (double)found / wanted : 0);
    report("exact", took_all, exact < queries ? exact : queries, 1);
    vector_leg_unref(leg);
    mem_free(took);
    mem_free(took_all);
    mem_free(q);
    return 0;
}
