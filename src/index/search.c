/*
 * Search in two steps. First, per query term and in file order, every file with the term gets the
 * term's share of the file's own score (exact) and an upper bound of what the term can add to any
 * chunk of the file. Then files are scored chunk by chunk from the best bound down, until no file
 * left can reach the k-th hit: the result equals that of scoring everything, because bounds never
 * lie below a score.
 */
#include "index/index_priv.h"

#include "base/limits.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

#define SEARCH_MAX 4096u /* hits */
#define BUCKETS 1024u
#define BOUND_SLACK 1.0001f /* bounds are summed in another order than scores */

struct query_term {
    uint32_t term, first, count; /* entries */
    float chunk_weight, file_weight;
    char text[ANALYZER_TERM_MAX];
    uint8_t len;
};

struct query {
    const struct index *ix;
    struct query_term *terms; /* owned */
    size_t count;
};

struct file_score {
    float own;   /* the file's share in the score of each of its chunks */
    float bound; /* of the best chunk, own included */
};

struct search {
    struct query q;
    struct file_score *files; /* owned */
    uint32_t *order;          /* owned; matching files, best bucket first */
    uint32_t matching;
    float *chunk_scores;    /* owned; of one file */
    struct index_hit *heap; /* the caller's; worst on top */
    unsigned k, used;
};

static float idf(uint32_t total, uint32_t with)
{
    return logf(1.0f + ((float)total - (float)with + 0.5f) / ((float)with + 0.5f));
}

static void take_query_term(void *ctx, struct span term, uint32_t position)
{
    struct query *q = ctx;
    (void)position;
    for (size_t i = 0; i < q->count; i++) {
        if (span_eq(span_of(q->terms[i].text, q->terms[i].len), term)) {
            q->terms[i].chunk_weight += 1.0f; /* counts first, weights below */
            return;
        }
    }
    if (q->count == LIMIT_QUERY_TERMS_COUNT)
        return;
    struct query_term *t = &q->terms[q->count];
    t->term = index_find_term(q->ix, term);
    if (t->term == UINT32_MAX)
        return;
    memcpy(t->text, term.ptr, term.len);
    t->len = (uint8_t)term.len;
    t->chunk_weight = 1.0f;
    q->count++;
}

/* The distinct known terms in order of appearance, with their weights. */
static int query_init(struct query *q, const struct index *ix, struct span text)
{
    *q =
        (struct query){.ix = ix, .terms = mem_try_array(LIMIT_QUERY_TERMS_COUNT, sizeof *q->terms)};
    if (!q->terms)
        return -ERR_NO_MEMORY;
    analyze((enum analyzer)ix->header->analyzer, span_first(text, LIMIT_QUERY_BYTES),
            take_query_term, q);
    for (size_t i = 0; i < q->count; i++) {
        struct query_term *t = &q->terms[i];
        const struct seg_term *s = &ix->terms[t->term];
        float times = t->chunk_weight;
        t->first = s->first_entry;
        t->count = s[1].first_entry - s->first_entry;
        uint32_t with = s->chunk_count < ix->chunks_count ? s->chunk_count : ix->chunks_count;
        t->chunk_weight = times * idf(ix->chunks_count, with);
        t->file_weight = times * FILE_CONTEXT * idf(ix->files_count, t->count);
    }
    return 0;
}

static void add_file_scores(struct search *s)
{
    const struct index *ix = s->q.ix;
    for (size_t i = 0; i < s->q.count; i++) {
        const struct query_term *t = &s->q.terms[i];
        const struct seg_entry *e = &ix->entries[t->first], *end = e + t->count;
        float per_bound = t->chunk_weight * ((BM25_K1 + 1.0f) / 255.0f) * BOUND_SLACK;
        for (; e < end; e++) {
            float own = t->file_weight * seg_tf_part((float)e->file_tf, ix->file_norms[e->file]);
            struct file_score *f = &s->files[e->file];
            f->own += own;
            f->bound += own * BOUND_SLACK + per_bound * (float)e->bound;
        }
    }
}

/* Counting sort of the matching files by their bound, coarsely: enough to meet good files early. */
static void order_files(struct search *s)
{
    uint32_t count[BUCKETS + 1] = {0};
    float best = 0;
    for (uint32_t f = 0; f < s->q.ix->files_count; f++)
        best = s->files[f].bound > best ? s->files[f].bound : best;
    if (best <= 0)
        return;
    float scale = (float)(BUCKETS - 1) / best;
    for (uint32_t f = 0; f < s->q.ix->files_count; f++) {
        if (s->files[f].bound > 0)
            count[BUCKETS - 1 - (uint32_t)(s->files[f].bound * scale) + 1]++;
    }
    for (uint32_t b = 0; b < BUCKETS; b++)
        count[b + 1] += count[b];
    for (uint32_t f = 0; f < s->q.ix->files_count; f++) {
        if (s->files[f].bound > 0)
            s->order[count[BUCKETS - 1 - (uint32_t)(s->files[f].bound * scale)]++] = f;
    }
    s->matching = count[BUCKETS - 1];
}

static bool is_worse(struct index_hit a, struct index_hit b)
{
    return a.score < b.score || (!(a.score > b.score) && a.chunk > b.chunk);
}

static void sift_down(struct index_hit *heap, unsigned n, unsigned i)
{
    for (;;) {
        unsigned least = i, l = 2 * i + 1;
        if (l < n && is_worse(heap[l], heap[least]))
            least = l;
        if (l + 1 < n && is_worse(heap[l + 1], heap[least]))
            least = l + 1;
        if (least == i)
            return;
        struct index_hit t = heap[i];
        heap[i] = heap[least];
        heap[least] = t;
        i = least;
    }
}

static void offer(struct search *s, uint32_t chunk, float score)
{
    struct index_hit hit = {chunk, score};
    if (s->used < s->k) {
        unsigned i = s->used++;
        s->heap[i] = hit;
        while (i > 0 && is_worse(s->heap[i], s->heap[(i - 1) / 2])) {
            struct index_hit t = s->heap[i];
            s->heap[i] = s->heap[(i - 1) / 2];
            s->heap[(i - 1) / 2] = t;
            i = (i - 1) / 2;
        }
    } else if (is_worse(s->heap[0], hit)) {
        s->heap[0] = hit;
        sift_down(s->heap, s->used, 0);
    }
}

static const struct seg_entry *find_entry(const struct index *ix, const struct query_term *t,
                                          uint32_t file)
{
    const struct seg_entry *base = &ix->entries[t->first];
    uint32_t n = t->count;
    while (n > 1) { /* branch-free halving */
        uint32_t half = n / 2;
        base += base[half].file <= file ? half : 0;
        n -= half;
    }
    return n && base->file == file ? base : NULL;
}

static float chunk_part(const struct index *ix, const struct query_term *t, uint32_t chunk,
                        uint32_t tf)
{
    return t->chunk_weight *
           seg_tf_part((float)tf, seg_norm(ix->chunks[chunk].terms_count, ix->average));
}

/*
 * Adds the term's share to scores[0..chunk_count) of the file; a list that does not decode just
 * ends.
 */
static void add_chunk_scores(const struct index *ix, const struct query_term *t,
                             const struct seg_entry *e, float *scores)
{
    const struct seg_file *f = &ix->files[e->file];
    if (e->where & SEG_INLINE) {
        uint32_t chunk = (e->where & ~SEG_INLINE) >> 16;
        scores[chunk] += chunk_part(ix, t, f->first_chunk + chunk, e->where & 0xffff);
        return;
    }
    const struct seg_term *term = &ix->terms[t->term];
    const uint8_t *at = ix->lists + term->list_offset + e->where,
                  *end = ix->lists + term[1].list_offset;
    uint32_t count = 0, chunk = 0, delta, tf;
    if (!seg_get_varint(&at, end, &count))
        return;
    while (count-- && seg_get_varint(&at, end, &delta) && seg_get_varint(&at, end, &tf)) {
        chunk += delta;
        if (chunk >= f->chunk_count || delta > f->chunk_count)
            return;
        scores[chunk] += chunk_part(ix, t, f->first_chunk + chunk, tf);
    }
}

static void score_file(struct search *s, uint32_t file)
{
    const struct index *ix = s->q.ix;
    const struct seg_file *f = &ix->files[file];
    for (uint32_t c = 0; c < f->chunk_count; c++)
        s->chunk_scores[c] = s->files[file].own;
    for (size_t i = 0; i < s->q.count; i++) {
        const struct seg_entry *e = find_entry(ix, &s->q.terms[i], file);
        if (e)
            add_chunk_scores(ix, &s->q.terms[i], e, s->chunk_scores);
    }
    for (uint32_t c = 0; c < f->chunk_count; c++)
        offer(s, f->first_chunk + c, s->chunk_scores[c]);
}

static int compare_hits(const void *a, const void *b)
{
    const struct index_hit *x = a, *y = b;
    return is_worse(*y, *x) ? -1 : is_worse(*x, *y);
}

static void search_done(struct search *s)
{
    mem_free(s->q.terms);
    mem_free(s->files);
    mem_free(s->order);
    mem_free(s->chunk_scores);
}

static int search_init(struct search *s, const struct index *ix, struct span query)
{
    int rc = query_init(&s->q, ix, query);
    if (rc < 0 || s->q.count == 0)
        return rc;
    s->files = mem_try_array(ix->files_count, sizeof *s->files);
    s->order = mem_try_array(ix->files_count, sizeof *s->order);
    s->chunk_scores = mem_try_array(ix->file_chunks_max, sizeof *s->chunk_scores);
    return s->files && s->order && s->chunk_scores ? 0 : -ERR_NO_MEMORY;
}

static int run_search(const struct index *ix, struct span query, struct index_hit *ret, unsigned k,
                      bool prune)
{
    struct search s = {.heap = ret, .k = k > SEARCH_MAX ? SEARCH_MAX : k};
    int rc = search_init(&s, ix, query);
    if (rc == 0 && s.q.count > 0 && s.k > 0) {
        add_file_scores(&s);
        order_files(&s);
        for (uint32_t i = 0; i < s.matching; i++) {
            uint32_t file = s.order[i];
            if (prune && s.used == s.k && s.files[file].bound < s.heap[0].score)
                continue;
            score_file(&s, file);
        }
        qsort(ret, s.used, sizeof *ret, compare_hits);
        rc = (int)s.used;
    }
    search_done(&s);
    return rc;
}

int index_search(const struct index *ix, struct span query, struct index_hit *ret, unsigned k)
{
    return run_search(ix, query, ret, k, true);
}

int index_search_exhaustive(const struct index *ix, struct span query, struct index_hit *ret,
                            unsigned k)
{
    return run_search(ix, query, ret, k, false);
}

int index_search_file(const struct index *ix, struct span query, uint32_t file,
                      struct index_hit *ret, unsigned k)
{
    if (file >= ix->files_count)
        return -ERR_INVALID;
    struct search s = {.heap = ret, .k = k > SEARCH_MAX ? SEARCH_MAX : k};
    int rc = search_init(&s, ix, query);
    bool has_term = false;
    for (size_t i = 0; rc == 0 && i < s.q.count; i++) {
        const struct query_term *t = &s.q.terms[i];
        const struct seg_entry *e = find_entry(ix, t, file);
        if (!e)
            continue;
        has_term = true;
        s.files[file].own += t->file_weight * seg_tf_part((float)e->file_tf, ix->file_norms[file]);
    }
    if (rc == 0 && has_term && s.k > 0) {
        score_file(&s, file);
        qsort(ret, s.used, sizeof *ret, compare_hits);
        rc = (int)s.used;
    }
    search_done(&s);
    return rc;
}

int index_explain(const struct index *ix, struct span query, uint32_t chunk,
                  struct index_term_weight *ret, unsigned max)
{
    if (chunk >= ix->chunks_count)
        return -ERR_INVALID;
    struct query q;
    int rc = query_init(&q, ix, query);
    uint32_t file = ix->chunks[chunk].file, in_file = chunk - ix->files[file].first_chunk;
    float *scores = rc == 0 ? mem_try_array(ix->files[file].chunk_count, sizeof *scores) : NULL;
    unsigned n = 0;
    if (!scores)
        rc = -ERR_NO_MEMORY;
    for (size_t i = 0; rc == 0 && i < q.count && n < max; i++) {
        const struct query_term *t = &q.terms[i];
        const struct seg_entry *e = find_entry(ix, t, file);
        if (!e)
            continue;
        scores[in_file] = t->file_weight * seg_tf_part((float)e->file_tf, ix->file_norms[file]);
        add_chunk_scores(ix, t, e, scores);
        ret[n] = (struct index_term_weight){.weight = scores[in_file]};
        memcpy(ret[n++].term, t->text, t->len);
    }
    mem_free(scores);
    mem_free(q.terms);
    return rc < 0 ? rc : (int)n;
}

float index_idf(const struct index *ix, struct span term)
{
    uint32_t t = index_find_term(ix, term);
    return t == UINT32_MAX ? 0.0f : idf(ix->chunks_count, ix->terms[t].chunk_count);
}
