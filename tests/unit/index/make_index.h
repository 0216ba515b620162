#pragma once
/* Makes random but repeatable sources and segments of them. */
#include "index/lexical.h"

#define MADE_CHUNKS_MAX 4096

struct made {
    char dir[64], path[96];
    unsigned files;
    uint64_t seed;
    /* what was indexed, for oracles */
    uint32_t chunks, chunk_file[MADE_CHUNKS_MAX];
    char *texts[MADE_CHUNKS_MAX]; /* owned */
    char symbols[MADE_CHUNKS_MAX][32];
    char paths[MADE_CHUNKS_MAX][48];
};

/* Fills m->dir, m->path and the source; free with made_done (which removes the directory). */
void made_init(struct made *m, unsigned files, uint64_t seed);
void made_done(struct made *m);
/* Builds a segment at `path`; 0 or the builder's error. */
int made_build(const struct made *m, const char *path, size_t memory_bytes, struct err *err);
uint64_t made_random(uint64_t *seed);
/* A question of `terms` words of the source. */
void made_query(uint64_t *seed, unsigned terms, char *ret, size_t size);
unsigned char *read_whole(const char *path, size_t *ret_len);
void write_whole(const char *path, const void *bytes, size_t len);
