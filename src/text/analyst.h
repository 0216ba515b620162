#pragma once
/*
 * The analyser with what some languages need: stems of more languages than English (Snowball), and the words of scripts that
 * are written without spaces (Thai, Lao, Khmer, Burmese: ICU's dictionaries). Without one, analyze() knows English and takes
 * a run of such a script as one word.
 *
 * At index time the languages are the one of the text; at query time all that the collection has, and English: a word then
 * gives one term a language, those that are equal once. Commonest words of a text's language are dropped.
 *
 * Thread: owner, one at a time. Memory: some 100 KB, more once a script without spaces was met.
 */
#include "text/analyze.h"
#include "text/prose_language.h"

struct analyst;

/* languages: PROSE_BITs, at least one. 0, -ERR_NO_MEMORY, or -ERR_UNSUPPORTED (the library lacks a language). */
int analyst_new(enum analyzer kind, uint32_t languages, struct analyst **ret) MUST_CHECK;
void analyst_free(struct analyst *a);
/* The language whose commonest words are dropped besides the English ones; PROSE_ENGLISH at first. */
void analyst_drop(struct analyst *a, enum prose_language language);
void analyst_read(struct analyst *a, struct span text, analyze_emit emit, void *ctx);
