/*
 * Measures how fast a tree is cut into chunks, or lists the chunks (tools/chunk_names.py reads the list).
 *
 *   bench_chunk DIR [ROUNDS]          MB per CPU second with own scanners, best of ROUNDS (5)
 *   bench_chunk DIR list own|ctags    path, first and last line, kind, test, symbol, tab-separated
 *
 * ninja -C build bench/bench_chunk && build/bench/bench_chunk DIR
 */
#include "ingest/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void list_chunks(const struct ingest_file *f)
{
    for (size_t i = 0; i < f->chunk_count; i++) {
        const struct ingest_chunk *c = &f->chunks[i];
        printf(SPAN_FMT "\t%u\t%u\t" SPAN_FMT "\t%d\t" SPAN_FMT "\n", SPAN_ARG(f->path),
               c->start_line, c->end_line, SPAN_ARG(c->symbol_kind), f->is_test || c->is_test,
               SPAN_ARG(c->symbol));
    }
}

int main(int argc, char **argv)
{
    struct err err = {0};
    bool lists = argc == 4 && strcmp(argv[2], "list") == 0;
    int rounds = lists ? 1 : argc > 2 ? (int)strtol(argv[2], NULL, 10) : 5;
    double best = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_chunk DIR [ROUNDS | list own|ctags]\n");
        return 2;
    }
    struct ingest_options o = {.root = argv[1],
                               .use_ctags = lists && strcmp(argv[3], "ctags") == 0};
    for (int n = 0; n < rounds; n++) {
        struct ingest *in = NULL;
        struct ingest_file file;
        size_t chunks = 0;
        double began = cpu_seconds();
        int r = ingest_open(&o, &in, &err);
        while (r == 0 && (r = ingest_next(in, &file, &err)) > 0) {
            chunks += file.chunk_count;
            if (lists)
                list_chunks(&file);
            r = 0;
        }
        if (r < 0) {
            fprintf(stderr, "bench_chunk: %s\n", err.msg);
            return 1;
        }
        struct ingest_progress p;
        ingest_progress(in, &p);
        double speed = (double)p.bytes_done / 1e6 / (cpu_seconds() - began);
        best = speed > best ? speed : best;
        if (!lists && n == rounds - 1)
            printf("%.1f MB/CPU-s, %llu files, %.1f MB, %zu chunks\n", best,
                   (unsigned long long)p.files_done, (double)p.bytes_done / 1e6, chunks);
        ingest_free(in);
    }
    return 0;
}
