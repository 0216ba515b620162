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

#define FOLDED_MAX (2u * GRAM_TEXT_MAX + 2u)

struct grams {
    uint32_t keys[GRAMS_MAX];
    uint16_t slots[SLOTS];
    uint16_t with[GRAMS_MAX]; /* candidates with it */
    uint8_t times[GRAMS_MAX]; /* in the question */
    uint16_t count;
    uint64_t maybe[1024];    /* one bit a hash: most groups of a text are none of the question's */
    char folded[FOLDED_MAX]; /* scratch */
};

struct candidate {
    uint32_t length; /* groups in its text */
    uint16_t *found; /* of each group of the question */
};

static uint32_t hash_of(uint32_t gram)
{
    return gram * 2654435761u;
}

static uint32_t slot_of(const struct grams *g, uint32_t gram)
{
    uint32_t at = hash_of(gram) >> 21;
    while (g->slots[at] != NONE && g->keys[g->slots[at]] != gram)
        at = (at + 1) & (SLOTS - 1);
    return at;
}

/* Of each byte: itself in lower case, or a space where it parts words. */
static const char *fold_table(void)
{
    /* clang-format off */
    static const char table[257] =
        "                                                0123456789      "
        " abcdefghijklmnopqrstuvwxyz      abcdefghijklmnopqrstuvwxyz     "
        "\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f"
        "\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f"
        "\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf"
        "\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xbb\xbc\xbd\xbe\xbf"
        "\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf"
        "\xd0\xd1\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xdb\xdc\xdd\xde\xdf"
        "\xe0\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xeb\xec\xed\xee\xef"
        "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff";
    /* clang-format on */
    return table;
}

/*
 * A text as it is compared: lower case, a space at both ends, words apart by one space; parts of a name are words. At most
 * FOLDED_MAX bytes. Without branches where it can be: this reads every byte of every candidate.
 */
static size_t fold(struct span text, char *ret)
{
    const char *table = fold_table();
    size_t n = 0;
    char before = ' ', last = ' ';
    text = span_first(text, text.len < GRAM_TEXT_MAX ? text.len : GRAM_TEXT_MAX);
    ret[n++] = ' ';
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i], low = table[(unsigned char)c];
        if (low != c && low != ' ' && before >= 'a' && before <= 'z')
            ret[n++] = ' ';
        before = c;
        ret[n] = low;
        n += (low != ' ') | (last != ' ');
        last = low;
    }
    ret[n] = ' ';
    return n + (last != ' ');
}

static uint32_t gram_at(const char *p)
{
    return (uint32_t)(unsigned char)p[0] << 24 | (uint32_t)(unsigned char)p[1] << 16 |
           (uint32_t)(unsigned char)p[2] << 8 | (unsigned char)p[3];
}

static void add_gram(struct grams *g, uint32_t gram)
{
    uint32_t at = slot_of(g, gram);
    if (g->slots[at] == NONE) {
        if (g->count == GRAMS_MAX)
            return;
        g->keys[g->count] = gram;
        g->slots[at] = g->count++;
        uint32_t hash = hash_of(gram);
        g->maybe[hash >> 22] |= UINT64_C(1) << (hash >> 16 & 63);
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
    size_t n = 0; /* of the run of words read last */
    while (span_next(&rest, ' ', &word)) {
        bool is_told = false;
        analyze(ANALYZER_PROSE, word, note_term, &is_told);
        if (!is_told || n + 2 * word.len + 2 > FOLDED_MAX) {
            n = 0;
            continue;
        }
        size_t start = n > 3 ? n - 3 : 0; /* its last letters stand beside the next word */
        size_t at = n ? n - 1 : 0;        /* and one space between them */
        n = at + fold(word, g->folded + at);
        for (size_t i = start; i + 4 <= n; i++)
            add_gram(g, gram_at(g->folded + i));
    }
}

static void count_grams(struct grams *g, struct span text, uint16_t times, struct candidate *ret)
{
    size_t n = fold(text, g->folded);
    uint32_t gram = gram_at("    ");
    for (size_t i = 0; i < n; i++) {
        gram = gram << 8 | (unsigned char)g->folded[i];
        uint32_t hash = hash_of(gram);
        if (i < 3 || !(g->maybe[hash >> 22] >> (hash >> 16 & 63) & 1))
            continue;
        uint16_t at = g->slots[slot_of(g, gram)];
        if (at != NONE && ret->found[at] < UINT16_MAX - times)
            ret->found[at] = (uint16_t)(ret->found[at] + times);
    }
    ret->length += (uint32_t)n * times;
}

static void count_in(struct grams *g, const struct index_chunk_view *chunk, struct candidate *ret)
{
    count_grams(g, chunk->path, PATH_TIMES, ret);
    count_grams(g, chunk->symbol, SYMBOL_TIMES, ret);
    count_grams(g, chunk->text, 1, ret);
    for (uint16_t i = 0; i < g->count; i++)
        if (ret->found[i])
            g->with[i]++;
}

static void add_gram_scores(const struct grams *g, const struct candidate *items,
                            struct index_hit *hits, uint32_t n)
{
    float weights[GRAMS_MAX], scores[RANK_DEPTH], average = 0, low = INFINITY, high = 0;
    for (uint32_t k = 0; k < n; k++)
        average += (float)items[k].length / (float)n;
    for (uint16_t i = 0; i < g->count; i++) {
        float with = (float)g->with[i];
        weights[i] = (float)g->times[i] * logf(1 + ((float)n - with + 0.5f) / (with + 0.5f)) * 2.2f;
    }
    for (uint32_t k = 0; k < n; k++) {
        float norm = 1.2f * (0.25f + 0.75f * (float)items[k].length / (average + 1));
        scores[k] = 0;
        for (uint16_t i = 0; i < g->count; i++) {
            float tf = (float)items[k].found[i];
            scores[k] += weights[i] * tf / (tf + norm);
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
    g->count = 0;
    memset(g->with, 0, sizeof g->with);
    memset(g->times, 0, sizeof g->times);
    memset(g->maybe, 0, sizeof g->maybe);
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
