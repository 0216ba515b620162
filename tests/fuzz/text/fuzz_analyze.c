/* The analyser on any bytes: terms are never empty, never too long, positions never go back. */
#include "base/bug.h"
#include "text/analyst.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_term(void *ctx, struct span term, uint32_t position)
{
    uint32_t *last = ctx;
    BUG_ON(term.len == 0 || term.len > ANALYZER_TERM_MAX || position < *last);
    *last = position;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of((const char *)data, size);
    uint32_t last = 0;
    analyze(ANALYZER_PROSE, text, check_term, &last);
    last = 0;
    analyze(ANALYZER_CODE, text, check_term, &last);
    struct analyst *a;
    BUG_ON(analyst_new(ANALYZER_CODE, (1u << PROSE_LANGUAGES) - 1, &a) < 0);
    analyst_drop(a, prose_language_guess(text));
    last = 0;
    analyst_read(a, text, check_term, &last);
    analyst_free(a);
    (void)script_set(text);
    (void)analyze_looks_like_code(text);
    return 0;
}
