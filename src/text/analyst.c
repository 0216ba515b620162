#include "text/analyze_priv.h"

#include "base/err.h"
#include "base/mem.h"
#include "text/utf8.h"

#include <libstemmer.h>
#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>

#define LOWER_MAX (2 * ANALYZER_TERM_MAX) /* a word before its diacritics are removed */

struct analyst {
    enum analyzer kind;
    enum prose_language drop;
    bool has_english;
    struct sb_stemmer *stemmers[PROSE_LANGUAGES]; /* owned; NULL where not asked for */
    UBreakIterator *breaks;                       /* owned; made when first needed */
    bool has_no_breaks;                           /* it could not be made */
};

static const char *const snowball_names[PROSE_LANGUAGES] = {
    [PROSE_DANISH] = "danish",         [PROSE_DUTCH] = "dutch",
    [PROSE_FINNISH] = "finnish",       [PROSE_FRENCH] = "french",
    [PROSE_GERMAN] = "german",         [PROSE_HUNGARIAN] = "hungarian",
    [PROSE_ITALIAN] = "italian",       [PROSE_NORWEGIAN] = "norwegian",
    [PROSE_PORTUGUESE] = "portuguese", [PROSE_ROMANIAN] = "romanian",
    [PROSE_RUSSIAN] = "russian",       [PROSE_SPANISH] = "spanish",
    [PROSE_SWEDISH] = "swedish",       [PROSE_TURKISH] = "turkish",
};

int analyst_new(enum analyzer kind, uint32_t languages, struct analyst **ret)
{
    *ret = NULL;
    struct analyst *a = mem_try(sizeof *a);
    if (!a)
        return -ERR_NO_MEMORY;
    *a = (struct analyst){.kind = kind, .has_english = languages & PROSE_BIT(PROSE_ENGLISH)};
    for (size_t i = 1; i < PROSE_LANGUAGES; i++) {
        if (!(languages & PROSE_BIT(i)))
            continue;
        a->stemmers[i] = sb_stemmer_new(snowball_names[i], "UTF_8");
        if (!a->stemmers[i]) {
            analyst_free(a);
            return -ERR_UNSUPPORTED;
        }
    }
    *ret = a;
    return 0;
}

void analyst_free(struct analyst *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < PROSE_LANGUAGES; i++)
        if (a->stemmers[i])
            sb_stemmer_delete(a->stemmers[i]);
    if (a->breaks)
        ubrk_close(a->breaks);
    mem_free(a);
}

void analyst_drop(struct analyst *a, enum prose_language language)
{
    a->drop = language;
}

void analyst_read(struct analyst *a, struct span text, analyze_emit emit, void *ctx)
{
    struct analysis run = {a->kind, a, emit, ctx, 0};
    analyze_text(&run, text);
}

/* Lower case with its diacritics, which the stemmers look at; cut at LOWER_MAX. */
static size_t lower_word(struct span s, char ret[LOWER_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < s.len;) {
        uint32_t cp = 0;
        size_t step = utf8_decode(span_skip(s, i), &cp);
        i += step ? step : 1;
        if (step == 0 || cp == '_')
            continue;
        char bytes[4];
        size_t w = utf8_encode((uint32_t)u_tolower((UChar32)cp), bytes);
        if (n + w > LOWER_MAX)
            break;
        memcpy(ret + n, bytes, w);
        n += w;
    }
    return n;
}

static size_t stem_in(struct sb_stemmer *stemmer, struct span word, char ret[ANALYZER_TERM_MAX])
{
    char lower[LOWER_MAX];
    size_t n = lower_word(word, lower);
    const sb_symbol *stem = sb_stemmer_stem(stemmer, (const sb_symbol *)lower, (int)n);
    bool is_ascii;
    if (!stem)
        return analyze_fold(word, ret, &is_ascii); /* out of memory in there: the word itself */
    struct span s = span_of((const char *)stem, (size_t)sb_stemmer_length(stemmer));
    return analyze_fold(s, ret, &is_ascii);
}

void analyst_emit_word(struct analysis *a, struct span word)
{
    struct analyst *tools = a->tools;
    char terms[PROSE_LANGUAGES][ANALYZER_TERM_MAX];
    size_t lengths[PROSE_LANGUAGES], count = 0;
    bool is_ascii;
    size_t folded = analyze_fold(word, terms[0], &is_ascii);
    if (folded == 0 || (tools->drop && prose_is_stop_word(tools->drop, span_of(terms[0], folded))))
        return;
    if (tools->has_english)
        lengths[count++] = is_ascii ? stem_porter(terms[0], folded) : folded;
    for (size_t i = 1; i < PROSE_LANGUAGES; i++) {
        if (!tools->stemmers[i])
            continue;
        lengths[count] = stem_in(tools->stemmers[i], word, terms[count]);
        bool is_new = lengths[count] > 0;
        for (size_t j = 0; j < count; j++)
            is_new &=
                !span_eq(span_of(terms[j], lengths[j]), span_of(terms[count], lengths[count]));
        count += is_new;
    }
    for (size_t i = 0; i < count; i++)
        a->emit(a->ctx, span_of(terms[i], lengths[i]), a->position);
}

static void emit_piece(struct analysis *a, struct span word)
{
    char term[ANALYZER_TERM_MAX];
    bool is_ascii;
    size_t n = analyze_fold(word, term, &is_ascii);
    if (n > 0)
        a->emit(a->ctx, span_of(term, n), a->position++);
}

void analyst_emit_run(struct analysis *a, struct span run)
{
    struct analyst *tools = a->tools;
    UErrorCode status = U_ZERO_ERROR;
    if (!tools->breaks && !tools->has_no_breaks) {
        tools->breaks = ubrk_open(UBRK_WORD, "th", NULL, 0, &status);
        tools->has_no_breaks = U_FAILURE(status);
    }
    UText text = UTEXT_INITIALIZER;
    if (!tools->has_no_breaks)
        utext_openUTF8(&text, run.ptr, (int64_t)run.len, &status);
    if (!tools->has_no_breaks && U_SUCCESS(status))
        ubrk_setUText(tools->breaks, &text, &status);
    if (tools->has_no_breaks || U_FAILURE(status)) {
        emit_piece(a, run);
        utext_close(&text);
        return;
    }
    int32_t start = ubrk_first(tools->breaks);
    for (int32_t end = ubrk_next(tools->breaks); end != UBRK_DONE; end = ubrk_next(tools->breaks)) {
        emit_piece(a, span_of(run.ptr + start, (size_t)(end - start)));
        start = end;
    }
    utext_close(&text);
}
