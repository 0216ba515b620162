/*
 * Search in two steps. First, per query term and in file order, every file with the term gets the
 * term's share of the file's own score (exact) and an upper bound of what the term can add to any
 * chunk of the file. Then files are scored chunk by chunk from the best bound down, until no file
 * left can reach the k-th hit: the result equals that of scoring everything, because bounds never
 * lie below a score.
 *
 * Over several segments the sums are the same, as counts and averages are of the living files of all
 * of them. Dead files are taken out of a term's counts by finding them among its entries; their
 * scores go to a place that nobody looks at. A segment's bounds were made with its own average chunk
 * length: where that has grown since, they are raised in proportion.
 */
#include "index/index_priv.h"

#include "base/limits.h"
#include "base/mem.h"
#include "index/hits_priv.h"
#include "text/analyst.h"

#include <math.h>

#define BUCKETS 1024u
#define BOUND_SLACK 1.0001f /* bounds are summed in another order than scores */

/* A query term in one segment. */
struct term_part {
    uint32_t term, first, count; /* entries */
};

struct query_term {
    struct term_part *parts; /* in query.parts; one a segment */
    uint32_t files, chunks;  /* living ones with the term */
    float chunk_weight, file_weight;
    char text[ANALYZER_TERM_MAX];
    uint8_t len;
};

struct query {
    const struct index *ix;
    struct query_term *terms; /* owned */
    struct term_part *parts;  /* owned; segments of the snapshot × terms */
    size_t count;
};

struct file_score {
    float own;   /* the file's share in the score of each of its chunks */
    float bound; /* of the best chunk, own included */
};

struct search {
    struct query q;
    struct file_score *files; /* owned; one more, for the dead */
    uint32_t *order;          /* owned; matching files, best bucket first */
    uint32_t matching;
    float *chunk_scores; /* owned; of one file */
    struct hit_heap best;
};

static float idf(uint32_t total, uint32_t with)
{
    return logf(1.0f + ((float)total - (float)with + 0.5f) / ((float)with + 0.5f));
}

/* ---- terms ---- */

static const struct seg_entry *find_entry(const struct segment *g, const struct term_part *t,
                                          uint32_t file)
{
    const struct seg_entry *base = &g->entries[t->first];
    uint32_t n = t->count;
    while (n > 1) { /* branch-free halving */
        uint32_t half = n / 2;
        base += base[half].file <= file ? half : 0;
        n -= half;
    }
    return n && base->file == file ? base : NULL;
}

/* How many chunks an entry is of. */
static uint32_t chunks_of(const struct segment *g, const struct term_part *t,
                          const struct seg_entry *e)
{
    if (e->where & SEG_INLINE)
        return 1;
    const struct seg_term *term = &g->terms[t->term];
    const uint8_t *at = g->lists + term->list_offset + e->where,
                  *end = g->lists + term[1].list_offset;
    uint32_t count = 0;
    return seg_get_varint(&at, end, &count) ? count : 0;
}

struct counts {
    uint32_t files, chunks;
};

/* Looks for each dead file among the entries: both ascend, so each search begins where the last ended. */
static struct counts count_by_dead(const struct part *p, const struct term_part *t)
{
    struct counts n = {0};
    struct term_part rest = *t;
    for (uint32_t i = 0; i < p->dead_count && rest.count; i++) {
        const struct seg_entry *e = &p->seg->entries[rest.first];
        uint32_t step = 1;
        while (step < rest.count && e[step].file <= p->dead[i])
            step *= 2;
        struct term_part near = {rest.term, rest.first + step / 2, 0};
        near.count = (step < rest.count ? step : rest.count) - step / 2;
        const struct seg_entry *found = find_entry(p->seg, &near, p->dead[i]);
        if (found) {
            n.files++;
            n.chunks += chunks_of(p->seg, t, found);
        }
        rest.first += step / 2;
        rest.count -= step / 2;
    }
    return n;
}

/* Entries and chunks of dead files, which the term's own counts include. */
static struct counts count_dead(const struct index *ix, const struct part *p,
                                const struct term_part *t)
{
    struct counts n = {0};
    if (p->dead_count == 0)
        return n;
    if (t->count > p->dead_count)
        return count_by_dead(p, t);
    const struct seg_entry *e = &p->seg->entries[t->first], *end = e + t->count;
    for (; e < end; e++) {
        if (p->ids[e->file] < ix->files_count)
            continue;
        n.files++;
        n.chunks += chunks_of(p->seg, t, e);
    }
    return n;
}

/* Looks the term up in every segment; t->parts is set. Whether a living file has it. */
static bool find_term(const struct index *ix, struct span term, struct query_term *t)
{
    t->files = t->chunks = 0;
    for (unsigned i = 0; i < ix->parts_count; i++) {
        const struct part *p = &ix->parts[i];
        struct term_part *at = &t->parts[i];
        *at = (struct term_part){.term = segment_find_term(p->seg, term)};
        if (at->term == UINT32_MAX)
            continue;
        const struct seg_term *s = &p->seg->terms[at->term];
        at->first = s->first_entry;
        at->count = s[1].first_entry - s->first_entry;
        struct counts dead = count_dead(ix, p, at);
        t->files += at->count - dead.files;
        t->chunks += s->chunk_count > dead.chunks ? s->chunk_count - dead.chunks : 0;
    }
    if (t->chunks > ix->chunks_count)
        t->chunks = ix->chunks_count;
    return t->files > 0;
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
    t->parts = &q->parts[q->count * q->ix->parts_count];
    if (!find_term(q->ix, term, t))
        return;
    memcpy(t->text, term.ptr, term.len);
    t->len = (uint8_t)term.len;
    t->chunk_weight = 1.0f;
    q->count++;
}

static void query_done(struct query *q)
{
    mem_free(q->terms);
    mem_free(q->parts);
    *q = (struct query){0};
}

/* The query's own language where it is clear and there is such text, else what is common. */
static uint32_t languages_for(const struct index *ix, struct span text)
{
    enum prose_language language = prose_language_guess(text);
    if (language != PROSE_ENGLISH)
        return ix->languages & PROSE_BIT(language);
    return prose_is_english(text) ? 0 : ix->common_languages & ~PROSE_BIT(PROSE_ENGLISH);
}

static int read_query(struct query *q, struct span text)
{
    const struct index *ix = q->ix;
    uint32_t languages = languages_for(ix, text);
    bool is_spaceless = script_set(text) & SCRIPT_BIT(SCRIPT_SOUTHEAST_ASIA);
    if (!languages && !is_spaceless) {
        analyze(ix->analyzer, text, take_query_term, q);
        return 0;
    }
    struct analyst *a;
    int rc = analyst_new(ix->analyzer, languages | PROSE_BIT(PROSE_ENGLISH), &a);
    if (rc < 0)
        return rc;
    analyst_drop(a, prose_language_guess(text));
    analyst_read(a, text, take_query_term, q);
    analyst_free(a);
    return 0;
}

/* The distinct known terms in order of appearance, with their weights. */
static int query_init(struct query *q, const struct index *ix, struct span text)
{
    *q =
        (struct query){.ix = ix,
                       .terms = mem_try_array(LIMIT_QUERY_TERMS_COUNT, sizeof *q->terms),
                       .parts = mem_try_array((size_t)LIMIT_QUERY_TERMS_COUNT * ix->parts_count + 1,
                                              sizeof *q->parts)};
    if (!q->terms || !q->parts)
        return -ERR_NO_MEMORY;
    int rc = read_query(
        q, span_first(text, text.len < LIMIT_QUERY_BYTES ? text.len : LIMIT_QUERY_BYTES));
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < q->count; i++) {
        struct query_term *t = &q->terms[i];
        float times = t->chunk_weight;
        t->chunk_weight = times * idf(ix->chunks_count, t->chunks);
        t->file_weight = times * FILE_CONTEXT * idf(ix->files_count, t->files);
    }
    return 0;
}

/* ---- files ---- */

static void add_file_scores(struct search *s, const struct query_term *t, unsigned part)
{
    const struct index *ix = s->q.ix;
    const struct part *p = &ix->parts[part];
    const struct seg_entry *e = &p->seg->entries[t->parts[part].first],
                           *end = e + t->parts[part].count;
    float per_bound = t->chunk_weight * ((BM25_K1 + 1.0f) / 255.0f) * BOUND_SLACK * p->bound_ratio;
    for (; e < end; e++) {
        uint32_t id = part_id(p, e->file);
        float own = t->file_weight * seg_tf_part((float)e->file_tf, ix->file_norms[id]);
        struct file_score *f = &s->files[id];
        f->own += own;
        f->bound += own * BOUND_SLACK + per_bound * (float)e->bound;
    }
}

static void add_all_file_scores(struct search *s)
{
    for (size_t i = 0; i < s->q.count; i++)
        for (unsigned p = 0; p < s->q.ix->parts_count; p++)
            add_file_scores(s, &s->q.terms[i], p);
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

/* ---- chunks ---- */

static float chunk_part(const struct index *ix, const struct segment *g, const struct query_term *t,
                        uint32_t chunk, uint32_t tf)
{
    return t->chunk_weight *
           seg_tf_part((float)tf, seg_norm(g->chunks[chunk].terms_count, ix->average));
}

/*
 * Adds the term's share to scores[0..chunk_count) of the file; a list that does not decode just
 * ends.
 */
static void add_chunk_scores(const struct index *ix, const struct query_term *t, unsigned part,
                             const struct seg_entry *e, float *scores)
{
    const struct segment *g = ix->parts[part].seg;
    const struct seg_file *f = &g->files[e->file];
    if (e->where & SEG_INLINE) {
        uint32_t chunk = (e->where & ~SEG_INLINE) >> 16;
        scores[chunk] += chunk_part(ix, g, t, f->first_chunk + chunk, e->where & 0xffff);
        return;
    }
    const struct seg_term *term = &g->terms[t->parts[part].term];
    const uint8_t *at = g->lists + term->list_offset + e->where,
                  *end = g->lists + term[1].list_offset;
    uint32_t count = 0, chunk = 0, delta, tf;
    if (!seg_get_varint(&at, end, &count))
        return;
    while (count-- && seg_get_varint(&at, end, &delta) && seg_get_varint(&at, end, &tf)) {
        chunk += delta;
        if (chunk >= f->chunk_count || delta > f->chunk_count)
            return;
        scores[chunk] += chunk_part(ix, g, t, f->first_chunk + chunk, tf);
    }
}

static void score_file(struct search *s, uint32_t file)
{
    const struct index *ix = s->q.ix;
    struct file_ref at = index_locate(ix, file);
    const struct segment *g = ix->parts[at.part].seg;
    uint32_t count = g->files[at.file].chunk_count, first = index_first_chunk(ix, file);
    for (uint32_t c = 0; c < count; c++)
        s->chunk_scores[c] = s->files[file].own;
    for (size_t i = 0; i < s->q.count; i++) {
        const struct seg_entry *e = find_entry(g, &s->q.terms[i].parts[at.part], at.file);
        if (e)
            add_chunk_scores(ix, &s->q.terms[i], at.part, e, s->chunk_scores);
    }
    for (uint32_t c = 0; c < count; c++)
        hit_offer(&s->best, first + c, s->chunk_scores[c]);
}

static void search_done(struct search *s)
{
    query_done(&s->q);
    mem_free(s->files);
    mem_free(s->order);
    mem_free(s->chunk_scores);
}

static int search_init(struct search *s, const struct index *ix, struct span query)
{
    int rc = query_init(&s->q, ix, query);
    if (rc < 0 || s->q.count == 0)
        return rc;
    s->files = mem_try_array((size_t)ix->files_count + 1, sizeof *s->files);
    s->order = mem_try_array(ix->files_count, sizeof *s->order);
    s->chunk_scores = mem_try_array(ix->file_chunks_max, sizeof *s->chunk_scores);
    return s->files && s->order && s->chunk_scores ? 0 : -ERR_NO_MEMORY;
}

static int run_search(const struct index *ix, struct span query, struct index_hit *ret, unsigned k,
                      bool prune)
{
    struct search s = {.best = {ret, k > SEARCH_MAX ? SEARCH_MAX : k, 0}};
    int rc = search_init(&s, ix, query);
    if (rc == 0 && s.q.count > 0 && s.best.k > 0) {
        add_all_file_scores(&s);
        order_files(&s);
        for (uint32_t i = 0; i < s.matching; i++) {
            uint32_t file = s.order[i];
            if (prune && s.best.used == s.best.k && s.files[file].bound < s.best.items[0].score)
                continue;
            score_file(&s, file);
        }
        hit_sort(&s.best);
        rc = (int)s.best.used;
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
    struct search s = {.best = {ret, k > SEARCH_MAX ? SEARCH_MAX : k, 0}};
    int rc = search_init(&s, ix, query);
    bool has_term = false;
    struct file_ref at = index_locate(ix, file);
    const struct segment *g = ix->parts[at.part].seg;
    for (size_t i = 0; rc == 0 && i < s.q.count; i++) {
        const struct query_term *t = &s.q.terms[i];
        const struct seg_entry *e = find_entry(g, &t->parts[at.part], at.file);
        if (!e)
            continue;
        has_term = true;
        s.files[file].own += t->file_weight * seg_tf_part((float)e->file_tf, ix->file_norms[file]);
    }
    if (rc == 0 && has_term && s.best.k > 0) {
        score_file(&s, file);
        hit_sort(&s.best);
        rc = (int)s.best.used;
    }
    search_done(&s);
    return rc;
}

int index_explain(const struct index *ix, struct span query, uint32_t chunk,
                  struct index_term_weight *ret, unsigned max)
{
    struct index_chunk_view view;
    if (!index_chunk(ix, chunk, &view))
        return -ERR_INVALID;
    struct query q;
    int rc = query_init(&q, ix, query);
    uint32_t file = view.file, in_file = chunk - index_first_chunk(ix, file);
    struct file_ref at = index_locate(ix, file);
    const struct segment *g = ix->parts[at.part].seg;
    float *scores = rc == 0 ? mem_try_array(g->files[at.file].chunk_count, sizeof *scores) : NULL;
    unsigned n = 0;
    if (!scores)
        rc = -ERR_NO_MEMORY;
    for (size_t i = 0; rc == 0 && i < q.count && n < max; i++) {
        const struct query_term *t = &q.terms[i];
        const struct seg_entry *e = find_entry(g, &t->parts[at.part], at.file);
        if (!e)
            continue;
        scores[in_file] = t->file_weight * seg_tf_part((float)e->file_tf, ix->file_norms[file]);
        add_chunk_scores(ix, t, at.part, e, scores);
        ret[n] = (struct index_term_weight){.weight = scores[in_file]};
        memcpy(ret[n++].term, t->text, t->len);
    }
    mem_free(scores);
    query_done(&q);
    return rc < 0 ? rc : (int)n;
}

float index_idf(const struct index *ix, struct span term)
{
    struct term_part parts[LIMIT_INDEX_SEGMENTS_COUNT];
    struct query_term t = {.parts = parts};
    return find_term(ix, term, &t) ? idf(ix->chunks_count, t.chunks) : 0.0f;
}
