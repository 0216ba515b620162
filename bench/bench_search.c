/*
 * Measures index and search on this machine (not part of the build; see the command at the end).
 *
 *   bench_search eval PACK…            one line of JSON a pack
 *   bench_search tree OUT CHUNKS DIR…  indexes files below DIR (over again until there are CHUNKS
 *                                      chunks), then searches
 *   bench_search deltas DIR CHUNKS DIR…  one segment in DIR/s.hwm, then deltas of one changed file each:
 *                                      what a change costs, searches with 0, 1 and 8 deltas in turn
 *
 * ninja -C build && gcc -O2 -std=gnu17 -D_GNU_SOURCE -Isrc bench/bench_search.c -o /tmp/bench_search \
 *   build/src/retrieval/libretrieval.a build/src/index/libindex.a build/src/text/libtext.a \
 *   build/src/base/libbase.a -ljansson -lcrypto -lstemmer -licuuc -lm
 */
#include "base/clock.h"
#include "index/index_priv.h"
#include "index/lexical.h"
#include "index/update.h"
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

/* ---- deltas ---- */

#define DELTAS 8

/* Its text and chunks as they are (without symbols). */
static void add_again(struct index_update *u, const struct index *from,
                      const struct index_file_view *f)
{
    static struct index_chunk_in chunks[1 << 17];
    struct index_chunk_view c;
    struct err err;
    uint32_t n = 0;
    for (; n < f->chunk_count && index_chunk(from, f->first_chunk + n, &c); n++)
        chunks[n] = (struct index_chunk_in){.start_line = c.start_line,
                                            .end_line = c.end_line,
                                            .start = (size_t)(c.text.ptr - f->text.ptr),
                                            .len = c.text.len};
    struct index_file_in in = {.path = f->path,
                               .language = f->language,
                               .text = f->text,
                               .size = f->size,
                               .stamp = 1,
                               .chunks = chunks,
                               .chunk_count = n};
    if (index_update_add(u, &in, &err) < 0)
        fail(&err);
}

static const struct index *sorting;

static int compare_files(const void *a, const void *b)
{
    struct index_file_view x, y;
    index_file(sorting, *(const uint32_t *)a, &x);
    index_file(sorting, *(const uint32_t *)b, &y);
    return span_cmp(x.path, y.path);
}

/* The files of `from`, by path, as the first snapshot under the manifest. */
static struct index *first_snapshot(const struct index_update_options *o, const struct index *from)
{
    struct index_stats st;
    struct index_file_view f;
    struct index_update *u;
    struct index *ret;
    struct err err;
    index_stats(from, &st);
    uint32_t *order = calloc(st.files, sizeof *order);
    for (uint32_t i = 0; i < st.files; i++)
        order[i] = i;
    sorting = from;
    qsort(order, st.files, sizeof *order, compare_files);
    if (index_update_new(o, NULL, &u, &err) < 0)
        fail(&err);
    for (uint32_t i = 0; i < st.files; i++)
        if (index_file(from, order[i], &f))
            add_again(u, from, &f);
    free(order);
    struct index_publish how = {.revision = "", .fingerprint = "f", .is_last = true};
    if (index_update_seal(u, &err) < 0 || index_update_publish(u, &how, &ret, &err) < 0)
        fail(&err);
    index_update_free(u);
    return ret;
}

/* Every `every`th file of `from`, beginning with `first`, is added again as it is; the rest stays. */
static struct index *change_some(const char *manifest, struct index *from, uint32_t first,
                                 uint32_t every)
{
    struct index_update_options o = {
        .manifest = manifest, .analyzer = ANALYZER_CODE, .recipe = "bench"};
    struct index_file_view f;
    struct index_update *u;
    struct index *next;
    struct err err;
    uint64_t wall = clock_ns(), cpu = clock_cpu_ns();
    if (index_update_new(&o, from, &u, &err) < 0)
        fail(&err);
    for (uint32_t i = 0; index_file(from, i, &f); i++) {
        if (index_update_keep(u, f.path, i % every == first ? 0 : f.stamp))
            continue;
        add_again(u, from, &f);
    }
    struct index_publish how = {
        .current = from, .revision = "", .fingerprint = "f", .is_last = true};
    if (index_update_seal(u, &err) < 0 || index_update_publish(u, &how, &next, &err) < 0)
        fail(&err);
    index_update_free(u);
    printf("changed: %.1f ms, CPU %.1f ms\n", (double)(clock_ns() - wall) / 1e6,
           (double)(clock_cpu_ns() - cpu) / 1e6);
    return next;
}

static void merge_all(const char *manifest, struct index *ix)
{
    struct index_merge *m;
    struct index *next;
    struct err err;
    struct index_stats st;
    uint64_t wall = clock_ns(), cpu = clock_cpu_ns();
    index_stats(ix, &st);
    if (index_merge_all(manifest, ix, &m, &err) < 0 || index_merge_publish(m, ix, &next, &err) < 0)
        fail(&err);
    printf("merging %u segments, %.1f MB of text: %.0f ms, CPU %.0f ms\n", st.segments,
           (double)st.text_bytes / 1e6, (double)(clock_ns() - wall) / 1e6,
           (double)(clock_cpu_ns() - cpu) / 1e6);
    index_merge_free(m);
    index_unref(next);
}

/* The same questions to snapshots of the same files: the same hits, and what each costs. */
static void compare(struct index *const *ix, const unsigned *counts, unsigned count)
{
    static uint64_t took[DELTAS + 1][QUESTIONS];
    static struct index_hit hits[1000], first[1000];
    struct index_stats st;
    index_stats(ix[0], &st);
    for (unsigned k = 10; k <= 200; k += 190) {
        for (unsigned i = 0; i < QUESTIONS; i++) {
            char q[512] = "";
            make_question(ix[0], i, q, sizeof q);
            for (unsigned t = 0; t < count; t++) {
                unsigned c = (t + i) % count; /* whoever is first finds cold caches */
                uint64_t start = clock_cpu_ns();
                int n = index_search(ix[counts[c]], span_str(q), hits, k);
                took[counts[c]][i] = clock_cpu_ns() - start;
                if (t == 0)
                    memcpy(first, hits, sizeof first);
                else if (n < 0 || memcmp(hits, first, (size_t)n * sizeof *hits))
                    fprintf(stderr, "%u deltas differ: %s\n", counts[c], q);
            }
        }
        for (unsigned c = 0; c < count; c++) {
            qsort(took[counts[c]], QUESTIONS, sizeof **took, compare_u64);
            printf("%u deltas: %u chunks, top %u of %d terms, CPU ms p50 %.3f p99 %.3f\n",
                   counts[c], st.chunks, k, TERMS, (double)took[counts[c]][QUESTIONS / 2] / 1e6,
                   (double)took[counts[c]][QUESTIONS * 99 / 100] / 1e6);
        }
    }
}

static void deltas(char **argv, int argc)
{
    static const unsigned counts[] = {0, 1, DELTAS};
    struct index *ix[DELTAS + 1];
    struct err err;
    char manifest[4200];
    snprintf(manifest, sizeof manifest, "%s/s%s", argv[2], INDEX_MANIFEST_SUFFIX);
    struct index_update_options o = {
        .manifest = manifest, .analyzer = ANALYZER_CODE, .recipe = "bench"};
    bench.chunks_max = strtoul(argv[3], NULL, 10);
    char segment[4300];
    snprintf(segment, sizeof segment, "%s/whole", argv[2]);
    struct index_build_options bo = {.analyzer = ANALYZER_CODE};
    if (index_builder_new(segment, &bo, &bench.builder, &err) < 0)
        fail(&err);
    while (bench.chunks < bench.chunks_max && bench.round < 100) {
        for (int i = 4; i < argc; i++)
            nftw(argv[i], visit, 32, FTW_PHYS);
        bench.round++;
    }
    if (index_builder_finish(bench.builder, &err) < 0)
        fail(&err);
    index_builder_free(bench.builder);
    struct index *whole;
    if (index_open(segment, &whole, &err) < 0)
        fail(&err);
    ix[0] = first_snapshot(&o, whole);
    index_unref(whole);
    unlink(segment);
    struct index_stats st;
    index_stats(ix[0], &st);
    for (unsigned d = 1; d <= DELTAS; d++)
        ix[d] = change_some(manifest, ix[d - 1], st.files / (DELTAS + 1) * d, st.files);
    compare(ix, counts, 3);
    merge_all(manifest, ix[DELTAS]);
    index_unref(ix[1]);
    ix[1] = change_some(manifest, ix[0], 0, 5); /* near to the share at which a merge is due */
    compare(ix, counts, 2);
    for (unsigned d = 0; d <= DELTAS; d++)
        index_unref(ix[d]);
}

int main(int argc, char **argv)
{
    struct err err;
    if (argc > 4 && strcmp(argv[1], "deltas") == 0) {
        deltas(argv, argc);
        return 0;
    }
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
