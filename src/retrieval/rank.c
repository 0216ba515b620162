/*
 * A second look at the first hits. Words match whole or not at all in the index; groups of four characters also bring together "unused" and
 * "used", "init" and "initialize", and words that stand side by side. They are scored as BM25 over the candidates alone, so
 * nothing has to be stored for them, and what all candidates share counts little.
 */
#include "retrieval/retrieval_priv.h"

#include "base/limits.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

#define RANK_DEPTH 200u
#define NAME_WEIGHT 0.6f
#define GRAM_WEIGHT 0.4f
#define SYMBOL_TIMES 4u /* about as the index counts them */
#define PATH_TIMES 3u
#define GRAMS_MAX 512u
#define SLOTS 2048u /* a power of two, larger than GRAMS_MAX */
#define GRAM_TEXT_MAX 16384u
#define NONE 0xffffu

struct grams {
    uint32_t keys[GRAMS_MAX];
    uint16_t slots[SLOTS];
    uint16_t with[GRAMS_MAX]; /* candidates with it */
    uint8_t times[GRAMS_MAX]; /* in the question */
    uint16_t count;
};

struct candidate {
    uint32_t length; /* groups in its text */
    uint16_t *found; /* of each group of the question */
};

struct reader { /* the last four characters of a text as it is compared */
    uint32_t gram;
    uint32_t length;
    char before;
};

static uint32_t slot_of(const struct grams *g, uint32_t gram)
{
    uint32_t at = (gram * 2654435761u) >> 21;
    while (g->slots[at] != NONE && g->keys[g->slots[at]] != gram)
        at = (at + 1) & (SLOTS - 1);
    return at;
}

typedef void (*take_gram)(void *ctx, uint32_t gram);

static void push_char(struct reader *r, char c, take_gram take, void *ctx)
{
    if (c == ' ' && (r->gram & 0xff) == ' ')
        return;
    r->gram = r->gram << 8 | (unsigned char)c;
    if (++r->length >= 4)
        take(ctx, r->gram);
}

/* Lower case, words apart by one space; parts of a name are words. */
static void read_grams(struct reader *r, struct span text, take_gram take, void *ctx)
{
    push_char(r, ' ', take, ctx);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_upper = c >= 'A' && c <= 'Z', is_lower = c >= 'a' && c <= 'z';
        if (is_upper && r->before >= 'a' && r->before <= 'z')
            push_char(r, ' ', take, ctx);
        r->before = c;
        if (is_upper)
            c = (char)(c | 32);
        else if (!is_lower && !(c >= '0' && c <= '9') && (unsigned char)c < 0x80)
            c = ' ';
        push_char(r, c, take, ctx);
    }
    push_char(r, ' ', take, ctx);
}

static void add_gram(void *ctx, uint32_t gram)
{
    struct grams *g = ctx;
    uint32_t at = slot_of(g, gram);
    if (g->slots[at] == NONE) {
        if (g->count == GRAMS_MAX)
            return;
        g->keys[g->count] = gram;
        g->slots[at] = g->count++;
    }
    uint8_t *times = &g->times[g->slots[at]];
    if (*times < UINT8_MAX)
        (*times)++;
}

static void note_term(void *ctx, struct span term, uint32_t position)
{
    (void)term;
    (void)position;
    *(bool *)ctx = true;
}

/* Words that the index leaves out ("the", "of") part the question: comments have them and code has not. */
static void read_question(struct grams *g, struct span text)
{
    struct span rest = text, word;
    struct reader r = {0};
    while (span_next(&rest, ' ', &word)) {
        bool is_told = false;
        analyze(ANALYZER_PROSE, word, note_term, &is_told);
        if (is_told)
            read_grams(&r, word, add_gram, g);
        else
            r = (struct reader){0};
    }
}

struct counting {
    const struct grams *grams;
    uint16_t *found;
};

static void count_gram(void *ctx, uint32_t gram)
{
    struct counting *c = ctx;
    uint16_t i = c->grams->slots[slot_of(c->grams, gram)];
    if (i != NONE && c->found[i] < UINT16_MAX)
        c->found[i]++;
}

static void count_in(struct grams *g, const struct index_chunk_view *chunk, struct candidate *ret)
{
    struct counting c = {g, ret->found};
    struct reader r = {0};
    for (unsigned i = 0; i < PATH_TIMES; i++)
        read_grams(&r, chunk->path, count_gram, &c);
    for (unsigned i = 0; i < SYMBOL_TIMES; i++)
        read_grams(&r, chunk->symbol, count_gram, &c);
    read_grams(
        &r,
        span_first(chunk->text, chunk->text.len < GRAM_TEXT_MAX ? chunk->text.len : GRAM_TEXT_MAX),
        count_gram, &c);
    ret->length = r.length;
    for (uint16_t i = 0; i < g->count; i++)
        if (ret->found[i])
            g->with[i]++;
}

static void add_gram_scores(const struct grams *g, const struct candidate *items,
                            struct index_hit *hits, uint32_t n)
{
    float scores[RANK_DEPTH], average = 0, low = INFINITY, high = 0;
    for (uint32_t k = 0; k < n; k++)
        average += (float)items[k].length / (float)n;
    for (uint32_t k = 0; k < n; k++) {
        float norm = 1.2f * (0.25f + 0.75f * (float)items[k].length / (average + 1));
        scores[k] = 0;
        for (uint16_t i = 0; i < g->count; i++) {
            float tf = (float)items[k].found[i], with = (float)g->with[i];
            if (items[k].found[i])
                scores[k] += (float)g->times[i] *
                             logf(1 + ((float)n - with + 0.5f) / (with + 0.5f)) * tf * 2.2f /
                             (tf + norm);
        }
        low = fminf(low, scores[k]);
        high = fmaxf(high, scores[k]);
    }
    float range = hits[0].score - hits[n - 1].score;
    for (uint32_t k = 0; k < n && high > low; k++)
        hits[k].score += GRAM_WEIGHT * range * (scores[k] - low) / (high - low);
}

static int compare_hits(const void *a, const void *b)
{
    const struct index_hit *x = a, *y = b;
    if (x->score > y->score || x->score < y->score)
        return x->score > y->score ? -1 : 1;
    return x->chunk < y->chunk ? -1 : x->chunk > y->chunk;
}

/* The order of hits after the first RANK_DEPTH stays, and they stay below: scores are only added to. */
static int look_again(const struct index *ix, struct span text, struct index_hit *hits, uint32_t n)
{
    struct candidate items[RANK_DEPTH];
    struct grams *g = mem_try(sizeof *g);
    if (!g)
        return -ERR_NO_MEMORY;
    *g = (struct grams){.count = 0};
    memset(g->slots, 0xff, sizeof g->slots);
    read_question(g, span_first(text, text.len < LIMIT_QUERY_BYTES ? text.len : LIMIT_QUERY_BYTES));
    uint16_t *found = g->count ? mem_try_array((size_t)n * g->count, sizeof *found) : NULL;
    if (!found) {
        bool is_empty = g->count == 0;
        mem_free(g);
        return is_empty ? 0 : -ERR_NO_MEMORY;
    }
    memset(found, 0, (size_t)n * g->count * sizeof *found);
    float range = hits[0].score - hits[n - 1].score;
    struct index_chunk_view chunk;
    for (uint32_t k = 0; k < n; k++) {
        items[k] = (struct candidate){0, found + (size_t)k * g->count};
        if (index_chunk(ix, hits[k].chunk, &chunk))
            count_in(g, &chunk, &items[k]);
    }
    add_gram_scores(g, items, hits, n);
    struct name_words names;
    names_read(ix, text, &names);
    for (uint32_t k = 0; k < n; k++)
        if (index_chunk(ix, hits[k].chunk, &chunk))
            hits[k].score += NAME_WEIGHT * range * names_fit(&names, chunk.path);
    qsort(hits, n, sizeof *hits, compare_hits);
    mem_free(found);
    mem_free(g);
    return 0;
}

int rank_hits(const struct index *ix, struct span question, struct index_hit *ret, unsigned k)
{
    struct span subject = question_subject(question);
    int n = index_search(ix, subject, ret, k);
    if (n == 0 && subject.len != question.len)
        n = index_search(ix, question, ret, k);
    if (n < 2)
        return n;
    int rc = look_again(ix, subject, ret, (uint32_t)n < RANK_DEPTH ? (uint32_t)n : RANK_DEPTH);
    return rc < 0 ? rc : n;
}
