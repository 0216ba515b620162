#pragma once
/*
 * Question → passages. Query-side policy over one or more index snapshots: search, fuse,
 * de-duplicate, add neighbours where a chunk is cut off, keep to a token budget. Deterministic.
 * Synchronous: workers only.
 */
#include "index/lexical.h"
#include "index/vectors.h"

struct passage {
    const struct index *index; /* borrowed: the caller holds the reference */
    uint32_t chunk;            /* the hit */
    uint32_t file;
    uint32_t start_line, end_line;            /* the passage may span neighbours of the hit */
    struct span path, symbol, language, text; /* text = exactly these lines of the stored file */
    uint8_t kind;
    bool is_test;
    bool is_definition; /* no hit: what a passage before it calls */
    float score;
    /*
     * Which search found the hit, and at which rank, from 1: by its words, by its vector; 0: not by
     * that one. Both 0: the passage is of a file that the question names, of the guide, or a
     * definition.
     */
    uint32_t word_rank, vector_rank;
};

struct retrieval_options {
    unsigned max_passages; /* 0 = 20 */
    size_t token_budget;   /* of all texts together; 0 = 6000 */
    unsigned max_per_file; /* 0 = 4 */
    unsigned definitions;  /* at most so many passages of what the best call; 0 = none */
    struct span
        near_path; /* a file the question is about (filePath): its passages first; may be empty */
    const struct vector_leg *vectors; /* borrowed; of the same index. NULL: words only */
    const float *query_vector;        /* of the question, by the leg's embedder */
    unsigned query_dims;
};

struct passages {
    struct passage *items; /* owned */
    size_t count;
    char note[160];   /* e.g. "no word of the question occurs in this source"; or empty */
    bool has_vectors; /* the leg had its say (its share may have been none) */
};

/*
 * 0 with *ret filled (no passage: ret->note says why; also when the question is in a
 * script or language that the source has none of) or -ERR_NO_MEMORY. options may be NULL.
 * Passages come in the order of their score, those of near_path before all others A definition (is_definition) stands
 * after the hits that were taken before it. A passage never
 * exceeds the budget: the first is cut at a line's end when it must be.
 *
 * With vectors: a hit that words alone put at rank r is among the first r + r / 2 hits, for r <= 10 also
 * among the first r + 3, whatever the vectors are (docs/retrieval.md). A vector or a leg that does not fit is left
 * out, and ret->note says so.
 */
int retrieval_search(const struct index *ix, struct span question,
                     const struct retrieval_options *options, struct passages *ret,
                     struct err *err) MUST_CHECK;
void passages_done(struct passages *p);
