#pragma once
/* What analyze.c and analyst.c share. */
#include "text/analyst.h"

struct analysis {
    enum analyzer kind;
    struct analyst *tools; /* or NULL: English alone */
    analyze_emit emit;
    void *ctx;
    uint32_t position;
};

void analyze_text(struct analysis *a, struct span text);
/* Folded copy of a word, underscores and combining marks left out, cut at ANALYZER_TERM_MAX. */
size_t analyze_fold(struct span s, char ret[ANALYZER_TERM_MAX], bool *ret_ascii);

/* ---- analyst.c ---- */

/* The terms of one word in all of the analyst's languages. */
void analyst_emit_word(struct analysis *a, struct span word);
/* The words of a run of a script without spaces, each a term. */
void analyst_emit_run(struct analysis *a, struct span run);
