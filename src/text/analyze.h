#pragma once
/*
 * The analyser: text → index terms, the same at index time and at query time. Pure; no allocation that
 * input can grow. Thread: any.
 *
 * PROSE: letters/digits, folded to lower case, 33 Lucene stop words dropped, Porter 1980 stems (ASCII words);
 *        CJK as unigrams and bigrams; a run of a script without spaces as one word. Other languages: analyst.h.
 * CODE:  as PROSE, and identifiers are split at '_', camelCase and letter/digit borders, each part stemmed,
 *        plus the whole identifier without underscores when it has more than one part (stemmed as well, so that
 *        the word "filenames" and the identifier file_name meet).
 * Figures for both: shared baselines "words" and "code tokens" (docs/retrieval.md).
 */
#include "base/span.h"

enum analyzer { ANALYZER_PROSE, ANALYZER_CODE };

/* Analyser behaviour is part of an index's identity: raise it when terms change. */
#define ANALYZER_VERSION 2
#define ANALYZER_TERM_MAX 64 /* bytes; longer terms are cut */

/* Called once a term, in text order. Terms at one position (identifier and its parts) share `position`. */
typedef void (*analyze_emit)(void *ctx, struct span term, uint32_t position);
void analyze(enum analyzer kind, struct span text, analyze_emit emit, void *ctx);

/* Porter's stem of a lower-case ASCII word, in place; returns the new length. */
size_t stem_porter(char *word, size_t len);

/* True when most of a sample looks like program text rather than prose. */
bool analyze_looks_like_code(struct span sample);
