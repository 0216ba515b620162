/*
 * Measures index and search on this machine (not part of the build; see the command at the end).
 *
 *   bench_search eval PACK…            one line of JSON a pack
 *   bench_search tree OUT CHUNKS DIR…  indexes files below DIR (over again until there are CHUNKS
 *                                      chunks), then searches
 *
 * ninja -C build && gcc -O2 -std=gnu17 -D_GNU_SOURCE -Isrc bench/bench_search.c -o /tmp/bench_search \
 *   build/src/retrieval/libretrieval.a build/src/index/libindex.a build/src/text/libtext.a \
 *   build/src/base/libbase.a -ljansson -lcrypto -lm
 */
#include "base/clock.h"
#include "index/index_priv.h"
#include "index/lexical.h"
#include "retrieval/eval.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_LINES 30
#define QUESTIONS 400
#define TERMS 8

static struct {
    struct index_builder *builder;
    uint64_t bytes, build_ns;
    size_t chunks, chunks_max;
    unsigned round;
} bench;

static void fail(const struct err *err)
{
    fprintf(stderr, "bench_search: %s\n", err->msg);
    exit(1);
}

static void add_text(const char *path, struct span text)
{
    static struct index_chunk_in chunks[1 << 17];
    char name[4200];
    snprintf(name, sizeof name, "%u%s", bench.round, path);
    size_t n = 0, at = 0;
    uint32_t line = 1;
    while (at < text.len && n < sizeof chunks / sizeof *chunks) {
        size_t end = at;
        uint32_t lines = 0;
#ifdef ONE_CHUNK_FILES /* as many files as chunks: the most the first step of a search has to do */
        if (n == 1) {
            struct index_file_in one = {.path = span_str(name),
                                        .text = span_of(text.ptr + chunks[0].start, chunks[0].len),
                                        .chunks = chunks,
                                        .chunk_count = 1};
            struct err e1;
            chunks[0].start = 0;
            if (index_builder_add(bench.builder, &one, &e1) < 0)
                fail(&e1);
            bench.chunks++;
            n = 0;
        }
#endif
        while (end < text.len && lines < CHUNK_LINES && end - at < 8000) {
            const char *nl = memchr(text.ptr + end, '\n', text.len - end);
            end = nl ? (size_t)(nl - text.ptr) + 1 : text.len;
            lines++;
        }
        chunks[n++] = (struct index_chunk_in){
            .start_line = line, .end_line = line + lines - 1, .start = at, .len = end - at};
        line += lines;
        at = end;
    }
    struct index_file_in in = {.path = span_str(name),
                               .language = SPAN_LIT("c"),
                               .text = text,
                               .size = text.len,
                               .chunks = chunks,
                               .chunk_count = n};
    struct err err;
    uint64_t start = clock_cpu_ns();
    if (index_builder_add(bench.builder, &in, &err) < 0)
        fail(&err);
    bench.build_ns += clock_cpu_ns() - start;
    bench.bytes += text.len;
    bench.chunks += n;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type != FTW_F || st->st_size == 0 || st->st_size > (2 << 20) ||
        bench.chunks >= bench.chunks_max)
        return bench.chunks >= bench.chunks_max;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *p = fd < 0
                  ? MAP_FAILED
                  : mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (p != MAP_FAILED) {
        if (!memchr(p, 0, (size_t)st->st_size))
            add_text(path, span_of(p, (size_t)st->st_size));
        munmap(p, (size_t)st->st_size);
    }
    if (fd >= 0)
        close(fd);
    return 0;
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Questions: the first words of four letters and more of a chunk in the middle of nowhere. */
static void make_question(const struct index *ix, unsigned i, char *ret, size_t size)
{
    struct index_stats st;
    struct index_chunk_view c;
    index_stats(ix, &st);
    size_t used = 0;
    unsigned words = 0;
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u;
    for (unsigned tries = 0; tries < 1000 && words < TERMS; tries++) {
        x ^= x >> 29;
        x *= 0xbf58476d1ce4e5b9u;
        if (words % 4 == 0 || tries % 50 == 0)
            index_chunk(ix, (uint32_t)((x >> 20) % st.chunks), &c);
        size_t at = c.text.len ? (x >> 13) % c.text.len : 0, end;
        while (at < c.text.len && ((c.text.ptr[at] | 32) < 'a' || (c.text.ptr[at] | 32) > 'z'))
            at++;
        end = at;
        while (end < c.text.len && (c.text.ptr[end] | 32) >= 'a' && (c.text.ptr[end] | 32) <= 'z')
            end++;
        if (end - at < 4 || end - at > 20 || used + 24 > size)
            continue;
        used +=
            (size_t)snprintf(ret + used, size - used, "%.*s ", (int)(end - at), c.text.ptr + at);
        words++;
    }
}

static void search(const char *path, unsigned k)
{
    struct err err;
    struct index *ix;
    uint64_t start = clock_ns();
    if (index_open(path, &ix, &err) < 0)
        fail(&err);
    double open_ms = (double)(clock_ns() - start) / 1e6;
    struct index_stats st;
    index_stats(ix, &st);
    static uint64_t took[QUESTIONS], took_all[QUESTIONS];
    static struct index_hit hits[1000], all[1000];
    for (unsigned i = 0; i < QUESTIONS; i++) {
        char q[512] = "";
        make_question(ix, i, q, sizeof q);
        start = clock_cpu_ns();
        int n = index_search(ix, span_str(q), hits, k);
        took[i] = clock_cpu_ns() - start;
        start = clock_cpu_ns();
        int m = index_search_exhaustive(ix, span_str(q), all, k);
        took_all[i] = clock_cpu_ns() - start;
        if (n != m || n < 0 || memcmp(hits, all, (size_t)n * sizeof *hits))
            fprintf(stderr, "pruned differs from exhaustive: %s\n", q);
    }
    qsort(took, QUESTIONS, sizeof *took, compare_u64);
    qsort(took_all, QUESTIONS, sizeof *took_all, compare_u64);
    printf("open %.0f ms; %u files %u chunks %lu terms; top %u of %d terms, CPU ms p50 %.3f p99 "
           "%.3f (exhaustive %.3f %.3f)\n",
           open_ms, st.files, st.chunks, (unsigned long)st.terms, k, TERMS,
           (double)took[QUESTIONS / 2] / 1e6, (double)took[QUESTIONS * 99 / 100] / 1e6,
           (double)took_all[QUESTIONS / 2] / 1e6, (double)took_all[QUESTIONS * 99 / 100] / 1e6);
    index_unref(ix);
}

int main(int argc, char **argv)
{
    struct err err;
    if (argc > 2 && strcmp(argv[1], "eval") == 0) {
        for (int i = 2; i < argc; i++) {
            struct buf out = BUF_INIT(1 << 20);
            char run[4200];
            snprintf(run, sizeof run, "%s/headwater.trec", argv[i]);
            if (eval_run(argv[i], &(struct eval_options){.run_file = run}, &out, &err) < 0)
                fail(&err);
            puts(buf_str(&out));
            buf_done(&out);
        }
        return 0;
    }
    if (argc < 5)
        return 2;
    bench.chunks_max = strtoul(argv[3], NULL, 10);
    struct index_build_options o = {.analyzer = ANALYZER_CODE};
    if (index_builder_new(argv[2], &o, &bench.builder, &err) < 0)
        fail(&err);
    while (bench.chunks < bench.chunks_max && bench.round < 100) {
        for (int i = 4; i < argc; i++)
            nftw(argv[i], visit, 32, FTW_PHYS);
        bench.round++;
    }
    uint64_t start = clock_cpu_ns();
    if (index_builder_finish(bench.builder, &err) < 0)
        fail(&err);
    bench.build_ns += clock_cpu_ns() - start;
    index_builder_free(bench.builder);
    struct stat st = {0};
    struct rusage ru = {0};
    stat(argv[2], &st);
    getrusage(RUSAGE_SELF, &ru);
    printf("%.1f MB in %.2f CPU-s = %.1f MB/CPU-s; segment %.1f MB; peak resident %ld MB\n",
           (double)bench.bytes / 1e6, (double)bench.build_ns / 1e9,
           (double)bench.bytes / 1e6 / ((double)bench.build_ns / 1e9), (double)st.st_size / 1e6,
           ru.ru_maxrss / 1024);
    search(argv[2], 10);
    search(argv[2], 200);
    return 0;
}
