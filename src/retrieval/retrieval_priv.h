#pragma once
/*
 * The parts of retrieval. definitions.c: what the passages call. fuse.c: words and vectors. question.c: what of a question is looked for.
 * rank.c: the order of the hits. retrieval.c: passages.
 */
#include "retrieval/retrieval.h"

/*
 * The question without the words that only ask: "how does X work?" → "X". Those stand at its start or end, so that
 * "where" in the middle ("how is the where clause built?") stays. Part of `question`; all of it when nothing else is left.
 */
struct span question_subject(struct span question);

/*
 * The best k hits, best first: the index's own score, and for the first RANK_DEPTH of them a second look at their text. Number of hits or
 * -ERR_NO_MEMORY.
 */
int rank_hits(const struct index *ix, struct span question, struct index_hit *ret,
              unsigned k) MUST_CHECK;

/* ---- fuse.c: one order of what words and vectors found ---- */

#define FUSE_WORDS_MAX \
    200u /* hits of the words that are looked at; the rest keeps its order, behind */
#define FUSE_VECTORS_MAX 100u /* hits of the vectors */
#define FUSE_FIRST 10u        /* the first hits of the words … */
#define FUSE_FALL_MAX 3u      /* … fall this many places at most */

struct fused_hit {
    uint32_t chunk;
    float score;
    uint32_t word_rank, vector_rank; /* from 1; 0: not found by it */
};

struct fuse_in {
    const struct index_hit *words; /* best first */
    unsigned words_count;
    const struct index_hit *cosines; /* of the same chunks, in the same order (vector_leg_score) */
    const struct index_hit *vectors; /* best first */
    unsigned vectors_count;
    const float *factors; /* for the scores of vectors no word found; NULL: 1 */
};

/*
 * The common order of at most FUSE_WORDS_MAX + FUSE_VECTORS_MAX hits, whose number is returned, or
 * -ERR_NO_MEMORY. Scores fall strictly, on the scale of the words'. Whatever the vectors say: the hit
 * that words put at rank r is among the first r + r / 2, and for r <= FUSE_FIRST also among the first
 * r + FUSE_FALL_MAX; so the first stays the first.
 */
int fuse_hits(const struct fuse_in *in, struct fused_hit *ret) MUST_CHECK;
/* 0..1, 0.5 by chance; 0 when there is too little to tell. */
float fuse_agreement(const struct index_hit *cosines, unsigned count);

struct fuse_query {
    const struct vector_leg *leg; /* NULL: words only */
    const float *vector;          /* of the question */
    unsigned dims;
    float (*prefer)(void *ctx, uint32_t chunk,
                    float score); /* for hits of vectors; NULL: as it is */
    void *ctx;
};

/*
 * fuse_hits of the first FUSE_WORDS_MAX words with what the leg finds, then the other words; ret has
 * room for count + FUSE_VECTORS_MAX. Without a leg, or one without vectors, the words as they are.
 * How many, -ERR_INVALID (the vector is not one for this leg), -ERR_NO_MEMORY.
 */
int fuse_with_leg(const struct fuse_query *q, const struct index_hit *words, unsigned count,
                  struct fused_hit *ret) MUST_CHECK;

/* ---- names.c: how well the name of a file fits the question ---- */

#define NAME_WORDS_MAX 32

struct name_words {
    struct span words[NAME_WORDS_MAX]; /* of the question, which is borrowed */
    float weights[NAME_WORDS_MAX];     /* by rarity */
    float total;
    size_t count;
};

void names_read(const struct index *ix, struct span question, struct name_words *ret);
/* 0..1: the share of the question that is in the name, by weight, times the share of the name that is in the question. */
float names_fit(const struct name_words *q, struct span path);

/* ---- definitions.c ---- */

#define DEFINITIONS_MAX 8u
#define CHUNK_IS_CODE 0 /* enum chunk_kind of ingest, which this module does not know */

/*
 * Chunks that define what the best passages call and that are not among them, the most telling first; at most max. How many, or
 * -ERR_NO_MEMORY.
 */
int definitions_of(const struct index *ix, const struct passages *found, uint32_t *ret,
                   unsigned max) MUST_CHECK;
