#pragma once
/*
 * The parts of retrieval. definitions.c: what the passages call. question.c: what of a question is looked for. rank.c: the order of the hits. retrieval.c: passages.
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
