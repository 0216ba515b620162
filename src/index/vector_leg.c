/*
 * Search among the vectors of one index. Signs first: each text is one bit a dimension, and the
 * number of bits that differ from the query's says roughly how far it is. Then the nearest by bits
 * are scored exactly, in batches that double, until a batch brings nothing new among the best: where
 * the bits say little, more is looked at.
 *
 * The signs are those of the vector less the mean of all, rotated: embeddings share a direction and
 * say more in some dimensions than in others, and a sign is worth most where it parts the texts in
 * halves (docs/retrieval.md has the figures).
 */
#include "index/hits_priv.h"
#include "index/vectors_priv.h"

#include "base/mem.h"

#include <math.h>
#include <sys/mman.h>

#define EXACT_MAX 1024u       /* with so few texts the bits save nothing */
#define CANDIDATES_LEAST 128u /* first batch … */
#define CANDIDATES_PER_HIT 2u /* … or as many a hit */
#define FAR_BLOCK 64u
#define VECTOR_HITS_MAX 1000u

struct vector_leg {
    _Atomic unsigned refs;
    struct index *index; /* ref; NULL in tests */
    const uint8_t *map;  /* owned mapping of the file */
    size_t map_len;
    unsigned dims;
    size_t words;      /* 64 signs each */
    uint32_t texts;    /* different ones */
    uint32_t chunks;   /* of the index */
    uint32_t covered;  /* chunks with a vector */
    uint32_t *rows;    /* owned; row in the file of each text */
    uint32_t *firsts;  /* owned; texts + 1: where its chunks are in `members` */
    uint32_t *members; /* owned; chunk ids by text, ascending */
    uint32_t *text_of; /* owned; of each chunk, or VECTOR_NO_ROW */
    uint64_t *signs;   /* owned; texts × words */
    float *mean;       /* owned */
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory for the vectors of an index");
}

static const float *values_of(const struct vector_leg *leg, uint32_t text)
{
    return (const float *)(const void *)(leg->map + VECTOR_HEADER_BYTES +
                                         leg->rows[text] * vector_stride(leg->dims) +
                                         VECTOR_ROW_HEAD);
}

/* ---- build ---- */

/* Numbers the different rows in the order of their first chunk and lists the chunks of each. */
static int join(struct vector_leg *leg, const uint32_t *row_of_chunk, uint32_t rows)
{
    uint32_t *text_of_row = mem_try_array((size_t)rows + 1, sizeof *text_of_row);
    leg->text_of = mem_try_array((size_t)leg->chunks + 1, sizeof *leg->text_of);
    leg->rows = mem_try_array((size_t)leg->chunks + 1, sizeof *leg->rows);
    if (!text_of_row || !leg->text_of || !leg->rows) {
        mem_free(text_of_row);
        return -ERR_NO_MEMORY;
    }
    for (uint32_t c = 0; c < leg->chunks; c++) {
        uint32_t row = row_of_chunk[c];
        leg->text_of[c] = VECTOR_NO_ROW;
        if (row >= rows)
            continue;
        if (!text_of_row[row]) { /* text + 1 */
            leg->rows[leg->texts++] = row;
            text_of_row[row] = leg->texts;
        }
        leg->text_of[c] = text_of_row[row] - 1;
        leg->covered++;
    }
    mem_free(text_of_row);
    uint32_t *smaller = mem_try_realloc(leg->rows, ((size_t)leg->texts + 1) * sizeof *smaller);
    leg->rows = smaller ? smaller : leg->rows;
    leg->firsts = mem_try_array((size_t)leg->texts + 2, sizeof *leg->firsts);
    leg->members = mem_try_array((size_t)leg->covered + 1, sizeof *leg->members);
    if (!leg->firsts || !leg->members)
        return -ERR_NO_MEMORY;
    /* Counted two places on, so that filling leaves each start where it belongs. */
    for (uint32_t c = 0; c < leg->chunks; c++)
        if (leg->text_of[c] != VECTOR_NO_ROW)
            leg->firsts[leg->text_of[c] + 2]++;
    for (uint32_t t = 0; t + 1 < leg->texts; t++)
        leg->firsts[t + 2] += leg->firsts[t + 1];
    for (uint32_t c = 0; c < leg->chunks; c++)
        if (leg->text_of[c] != VECTOR_NO_ROW)
            leg->members[leg->firsts[leg->text_of[c] + 1]++] = c;
    return 0;
}

static void less_mean(const struct vector_leg *leg, const float *x, float *ret)
{
    for (unsigned d = 0; d < leg->dims; d++)
        ret[d] = x[d] - leg->mean[d];
}

/* ret: dims floats and as many signs as words hold. */
static void signs_of(const struct vector_leg *leg, const float *x, float *scratch, uint64_t *ret)
{
    less_mean(leg, x, scratch);
    vector_rotate(scratch, leg->dims);
    vector_signs(scratch, leg->dims, ret);
}

static int make_signs(struct vector_leg *leg)
{
    leg->words = vector_words(leg->dims);
    leg->mean = mem_try_array(leg->dims, sizeof *leg->mean);
    leg->signs = mem_try_array(leg->texts, leg->words * sizeof *leg->signs);
    float *scratch = mem_try_array(leg->dims, sizeof *scratch);
    double *sums = mem_try_array(leg->dims, sizeof *sums);
    bool has_all = leg->mean && leg->signs && scratch && sums;
    for (uint32_t t = 0; has_all && t < leg->texts; t++) {
        const float *x = values_of(leg, t);
        for (unsigned d = 0; d < leg->dims; d++)
            sums[d] += (double)x[d];
    }
    for (unsigned d = 0; has_all && d < leg->dims; d++)
        leg->mean[d] = (float)(sums[d] / leg->texts);
    for (uint32_t t = 0; has_all && t < leg->texts; t++)
        signs_of(leg, values_of(leg, t), scratch, leg->signs + t * leg->words);
    mem_free(scratch);
    mem_free(sums);
    return has_all ? 0 : -ERR_NO_MEMORY;
}

int vector_leg_new_rows(struct vectors *v, struct index *ix, const uint32_t *row_of_chunk,
                        uint32_t count, struct vector_leg **ret, struct err *err)
{
    struct vector_leg *leg = mem_try(sizeof *leg);
    if (!leg)
        return no_memory(err);
    atomic_init(&leg->refs, 1);
    leg->index = ix ? index_ref(ix) : NULL;
    leg->chunks = count;
    int rc = vectors_map(v, &leg->map, &leg->map_len, err);
    if (rc == 0) {
        size_t stride = vector_stride(vectors_dims(v));
        size_t rows = leg->map ? (leg->map_len - VECTOR_HEADER_BYTES) / stride : 0;
        if (join(leg, row_of_chunk, (uint32_t)rows) < 0)
            rc = no_memory(err);
    }
    if (rc == 0 && leg->texts) {
        leg->dims = vectors_dims(v);
        if (make_signs(leg) < 0)
            rc = no_memory(err);
        else
            madvise((void *)(uintptr_t)leg->map, leg->map_len, MADV_RANDOM);
    }
    if (rc < 0) {
        vector_leg_unref(leg);
        return rc;
    }
    *ret = leg;
    return 0;
}

int vector_leg_new(struct vectors *v, struct index *ix, struct vector_leg **ret, struct err *err)
{
    struct index_stats st;
    index_stats(ix, &st);
    struct buf text = BUF_INIT(VECTOR_TEXT_MAX + (16u << 20));
    uint32_t *rows = mem_try_array((size_t)st.chunks + 1, sizeof *rows);
    if (!rows)
        return no_memory(err);
    int rc = 0;
    struct index_chunk_view chunk;
    for (uint32_t c = 0; rc == 0 && c < st.chunks; c++) {
        buf_clear(&text);
        rows[c] = VECTOR_NO_ROW;
        if (!index_chunk(ix, c, &chunk))
            continue;
        vector_chunk_text(&chunk, &text);
        if (buf_failed(&text))
            rc = no_memory(err);
        else
            rows[c] = vectors_find(v, vector_hash_of(buf_span(&text)));
    }
    buf_done(&text);
    if (rc == 0)
        rc = vector_leg_new_rows(v, ix, rows, st.chunks, ret, err);
    mem_free(rows);
    return rc;
}

struct vector_leg *vector_leg_ref(struct vector_leg *leg)
{
    atomic_fetch_add_explicit(&leg->refs, 1, memory_order_relaxed);
    return leg;
}

void vector_leg_unref(struct vector_leg *leg)
{
    if (!leg || atomic_fetch_sub_explicit(&leg->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (leg->map)
        munmap((void *)(uintptr_t)leg->map, leg->map_len);
    index_unref(leg->index);
    mem_free(leg->rows);
    mem_free(leg->firsts);
    mem_free(leg->members);
    mem_free(leg->text_of);
    mem_free(leg->signs);
    mem_free(leg->mean);
    mem_free(leg);
}

const struct index *vector_leg_index(const struct vector_leg *leg)
{
    return leg->index;
}

unsigned vector_leg_dims(const struct vector_leg *leg)
{
    return leg->dims;
}

uint32_t vector_leg_covered(const struct vector_leg *leg)
{
    return leg->covered;
}

size_t vector_leg_memory(const struct vector_leg *leg)
{
    return sizeof *leg + leg->texts * (leg->words * sizeof *leg->signs + 2 * sizeof *leg->rows) +
           leg->covered * sizeof *leg->members + leg->chunks * sizeof *leg->text_of +
           leg->dims * sizeof *leg->mean;
}

/* ---- search ---- */

struct vector_search {
    const struct vector_leg *leg;
    float *query;     /* owned; of length 1 */
    float *scratch;   /* owned */
    uint64_t *signs;  /* owned; of the query */
    uint16_t *far;    /* owned; bits that differ, of each text */
    uint32_t *counts; /* owned; texts by that number */
    struct hit_heap best;
};

static bool normalise(const struct vector_leg *leg, const float *query, unsigned dims, float *ret)
{
    double length = dims == leg->dims ? vector_length(query, dims) : 0;
    if (!isfinite(length) || length <= 0)
        return false;
    for (unsigned d = 0; d < dims; d++)
        ret[d] = (float)((double)query[d] / length);
    return true;
}

/* A map may change under us (a failing disk): what is no number is no hit to prefer. */
static float cosine(const struct vector_leg *leg, const float *query, uint32_t text)
{
    float c = vector_dot(query, values_of(leg, text), leg->dims);
    return isfinite(c) ? c : -1.0f;
}

/* True when a chunk of the text is now among the best. */
static bool offer_text(struct vector_search *s, uint32_t text)
{
    float score = cosine(s->leg, s->query, text);
    bool is_taken = false;
    for (uint32_t m = s->leg->firsts[text]; m < s->leg->firsts[text + 1]; m++) {
        if (!hit_offer(&s->best, s->leg->members[m], score))
            break; /* the other chunks have the same score and larger ids */
        is_taken = true;
    }
    return is_taken;
}

static void search_all(struct vector_search *s)
{
    for (uint32_t t = 0; t < s->leg->texts; t++)
        offer_text(s, t);
}

/* Texts that differ in from..to-1 bits, in order; far has room for whole blocks. */
static bool offer_between(struct vector_search *s, unsigned from, unsigned to)
{
    bool is_taken = false;
    uint16_t low = (uint16_t)from, width = (uint16_t)(to - from);
    for (uint32_t block = 0; block < s->leg->texts; block += FAR_BLOCK) {
        const uint16_t *far = s->far + block;
        uint16_t has_some = 0; /* few blocks do, and this loop is a few instructions */
        for (unsigned i = 0; i < FAR_BLOCK; i++)
            has_some |= (uint16_t)((uint16_t)(far[i] - low) < width);
        for (unsigned i = 0; has_some && i < FAR_BLOCK; i++) {
            if ((uint16_t)(far[i] - low) < width)
                is_taken |= offer_text(s, block + i);
        }
    }
    return is_taken;
}

/* How many texts differ in how many bits; in turns, as neighbours often count at the same place. */
static void count_far(struct vector_search *s)
{
    size_t size = (size_t)s->leg->dims + 1;
    uint32_t *a = s->counts, *b = a + size, *c = b + size, *d = c + size, t = 0;
    for (; t + 4 <= s->leg->texts; t += 4) {
        a[s->far[t]]++;
        b[s->far[t + 1]]++;
        c[s->far[t + 2]]++;
        d[s->far[t + 3]]++;
    }
    for (; t < s->leg->texts; t++)
        a[s->far[t]]++;
    for (size_t i = 0; i < size; i++)
        a[i] += b[i] + c[i] + d[i];
}

static void search_by_signs(struct vector_search *s)
{
    const struct vector_leg *leg = s->leg;
    signs_of(leg, s->query, s->scratch, s->signs);
    vector_distances(s->signs, leg->signs, leg->words, leg->texts, s->far);
    count_far(s);
    uint32_t done = 0, goal = CANDIDATES_PER_HIT * s->best.k;
    goal = goal > CANDIDATES_LEAST ? goal : CANDIDATES_LEAST;
    unsigned from = 0;
    bool is_first = true, is_changed = true;
    /* Whole distances at a time: which texts are looked at does not depend on their order. */
    while (done < leg->texts && (is_first || is_changed || s->best.used < s->best.k)) {
        unsigned to = from;
        while (to <= leg->dims && done < goal)
            done += s->counts[to++];
        is_changed = offer_between(s, from, to);
        is_first = false;
        from = to;
        goal = 2 * done;
    }
}

static int search_init(struct vector_search *s, bool by_signs)
{
    const struct vector_leg *leg = s->leg;
    s->query = mem_try_array(leg->dims, sizeof *s->query);
    if (!s->query)
        return -ERR_NO_MEMORY;
    if (!by_signs)
        return 0;
    s->scratch = mem_try_array(leg->dims, sizeof *s->scratch);
    s->signs = mem_try_array(leg->words, sizeof *s->signs);
    s->far = mem_try_array((size_t)leg->texts + FAR_BLOCK, sizeof *s->far);
    s->counts = mem_try_array(4 * ((size_t)leg->dims + 1), sizeof *s->counts);
    if (!s->scratch || !s->signs || !s->far || !s->counts)
        return -ERR_NO_MEMORY;
    memset(s->far + leg->texts, 0xff, FAR_BLOCK * sizeof *s->far); /* no text is that far */
    return 0;
}

static int run_search(const struct vector_leg *leg, const float *query, unsigned dims,
                      struct index_hit *ret, unsigned k, bool by_signs)
{
    if (leg->texts == 0 || k == 0)
        return 0;
    struct vector_search s = {.leg = leg,
                              .best = {ret, k > VECTOR_HITS_MAX ? VECTOR_HITS_MAX : k, 0}};
    int rc = search_init(&s, by_signs);
    if (rc == 0 && !normalise(leg, query, dims, s.query))
        rc = -ERR_INVALID;
    if (rc == 0) {
        if (by_signs)
            search_by_signs(&s);
        else
            search_all(&s);
        hit_sort(&s.best);
        rc = (int)s.best.used;
    }
    mem_free(s.query);
    mem_free(s.scratch);
    mem_free(s.signs);
    mem_free(s.far);
    mem_free(s.counts);
    return rc;
}

int vector_leg_search(const struct vector_leg *leg, const float *query, unsigned dims,
                      struct index_hit *ret, unsigned k)
{
    return run_search(leg, query, dims, ret, k, leg->texts > EXACT_MAX);
}

int vector_leg_search_exhaustive(const struct vector_leg *leg, const float *query, unsigned dims,
                                 struct index_hit *ret, unsigned k)
{
    return run_search(leg, query, dims, ret, k, false);
}

int vector_leg_score(const struct vector_leg *leg, const float *query, unsigned dims,
                     struct index_hit *hits, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        hits[i].score = VECTOR_NO_SCORE;
    if (leg->texts == 0)
        return 0;
    float *unit = mem_try_array(leg->dims, sizeof *unit);
    if (!unit)
        return -ERR_NO_MEMORY;
    int rc = normalise(leg, query, dims, unit) ? 0 : -ERR_INVALID;
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        uint32_t text = hits[i].chunk < leg->chunks ? leg->text_of[hits[i].chunk] : VECTOR_NO_ROW;
        if (text != VECTOR_NO_ROW)
            hits[i].score = cosine(leg, unit, text);
    }
    mem_free(unit);
    return rc;
}
