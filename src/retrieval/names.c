/*
 * How well the name of a file fits the question. Names are abbreviated and glued together where questions are not: "vars" for
 * variables, "unused" for not used, "async" for asynchronous. So a part of the name also fits a word that it begins (three
 * letters or more, but for a plural s), that it holds (four or more), or that begins as it does (five or more).
 */
#include "retrieval/retrieval_priv.h"

#include "base/mem.h"

#include <math.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
}

static bool is_word_char(char c)
{
    return ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9') ||
           (unsigned char)c >= 0x80;
}

static size_t common_start(struct span a, struct span b)
{
    size_t n = 0;
    while (n < a.len && n < b.len && lower(a.ptr[n]) == lower(b.ptr[n]))
        n++;
    return n;
}

static bool fits(struct span part, struct span word)
{
    size_t same = common_start(part, word);
    size_t singular =
        part.len > 3 && lower(part.ptr[part.len - 1]) == 's' ? part.len - 1 : part.len;
    if (singular >= 3 && same >= singular)
        return true;
    if (same >= 5)
        return true;
    for (size_t i = 0; word.len >= 4 && i + word.len <= part.len; i++)
        if (span_eq_nocase(span_of(part.ptr + i, word.len), word))
            return true;
    return false;
}

/* The next part of a name: cut at marks and where a capital follows a small letter. */
static bool next_part(struct span *rest, struct span *ret)
{
    while (rest->len && !is_word_char(rest->ptr[0]))
        *rest = span_skip(*rest, 1);
    size_t n = 0;
    while (n < rest->len && is_word_char(rest->ptr[n])) {
        bool is_capital = rest->ptr[n] >= 'A' && rest->ptr[n] <= 'Z';
        if (n > 0 && is_capital && rest->ptr[n - 1] >= 'a')
            break;
        n++;
    }
    *ret = span_first(*rest, n);
    *rest = span_skip(*rest, n);
    return n > 0;
}

struct weighing {
    const struct index *ix;
    float weight;
    bool is_known;
};

static void weigh(void *ctx, struct span term, uint32_t position)
{
    struct weighing *w = ctx;
    (void)position;
    float idf = index_idf(w->ix, term);
    w->is_known = true;
    w->weight = fmaxf(w->weight, idf);
}

void names_read(const struct index *ix, struct span question, struct name_words *ret)
{
    struct index_stats st;
    index_stats(ix, &st);
    struct span rest = question, word;
    ret->count = 0;
    ret->total = 0;
    while (ret->count < NAME_WORDS_MAX && next_part(&rest, &word)) {
        struct weighing w = {ix, 0, false};
        analyze(ANALYZER_PROSE, word, weigh, &w);
        if (!w.is_known || word.len < 3)
            continue;
        ret->words[ret->count] = word;
        ret->weights[ret->count] = w.weight > 0 ? w.weight : logf(1 + (float)st.chunks);
        ret->total += ret->weights[ret->count++];
    }
}

float names_fit(const struct name_words *q, struct span path)
{
    ptrdiff_t slash = span_rfind_char(path, '/');
    struct span name = slash < 0 ? path : span_skip(path, (size_t)slash + 1), part;
    ptrdiff_t dot = span_find_char(name, '.');
    name = dot > 0 ? span_first(name, (size_t)dot) : name;
    bool has[NAME_WORDS_MAX] = {false};
    size_t parts = 0, fitting = 0;
    while (next_part(&name, &part)) {
        bool does_fit = false;
        if (part.len < 3)
            continue;
        for (size_t i = 0; i < q->count; i++) {
            if (!fits(part, q->words[i]))
                continue;
            does_fit = has[i] = true;
        }
        parts++;
        fitting += does_fit;
    }
    float sum = 0;
    for (size_t i = 0; i < q->count; i++)
        sum += has[i] ? q->weights[i] : 0;
    return parts && q->total > 0 ? sum / q->total * (float)fitting / (float)parts : 0;
}
