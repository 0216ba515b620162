/*
 * Words and vectors into one order. The score of a hit is what the words say, 0..1 over the hits, and
 * a share of what its vector says, 0..1 between the last and the best of the vector leg.
 *
 * Two things hold the vectors back. The share is earned: it grows with how well the vectors agree
 * with the words on this question, measured as the chance that a hit of the first TOP has a greater
 * cosine than one behind them. Vectors that know nothing (of another collection, of a broken
 * embedder) get 0.5 there and no share. And whatever they say, a hit of the words falls only as far as
 * last_place() lets it.
 */
#include "retrieval/retrieval_priv.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

#define TOP 10u
#define AGREE_NONE 0.7f
#define AGREE_FULL 0.95f
#define WEIGHT 0.6f
#define ALONE_MAX 10u /* hits of the vectors alone where there are too few others to agree with */

struct fusing {
    const struct fuse_in *in;
    struct fused_hit *items; /* owned; all candidates: those of the words first */
    unsigned words, count;
    float share;        /* of the vectors */
    float floor, range; /* of the cosines */
};

/* The chance that one of the first has the greater cosine than one of the rest; 0: too few. */
float fuse_agreement(const struct index_hit *cosines, unsigned count)
{
    float first[TOP];
    unsigned firsts = 0, rest = 0;
    float wins = 0;
    for (unsigned i = 0; i < count; i++) {
        float c = cosines[i].score;
        if (c <= VECTOR_NO_SCORE)
            continue;
        if (firsts < TOP) {
            first[firsts++] = c;
            continue;
        }
        rest++;
        for (unsigned f = 0; f < TOP; f++)
            wins += first[f] > c ? 1.0f : first[f] < c ? 0.0f : 0.5f;
    }
    return rest >= TOP ? wins / (float)(rest * TOP) : 0;
}

static float share_of(float agreement)
{
    float g = (agreement - AGREE_NONE) / (AGREE_FULL - AGREE_NONE);
    return WEIGHT * fminf(1.0f, fmaxf(0.0f, g));
}

static float vector_part(const struct fusing *f, float cosine)
{
    return f->range > 0 ? fminf(1.0f, fmaxf(0.0f, (cosine - f->floor) / f->range)) : 0;
}

/* What a chunk without a vector counts as: the mean of those beside it that have one. */
static float usual_part(const struct fusing *f)
{
    float sum = 0, n = 0;
    for (unsigned i = 0; i < f->words; i++) {
        if (f->in->cosines[i].score > VECTOR_NO_SCORE) {
            sum += vector_part(f, f->in->cosines[i].score);
            n += 1;
        }
    }
    return n > 0 ? sum / n : 0;
}

static void add_words(struct fusing *f)
{
    const struct index_hit *hits = f->in->words;
    float low = hits[f->words - 1].score, range = hits[0].score - low, usual = usual_part(f);
    for (unsigned i = 0; i < f->words; i++) {
        float cosine = f->in->cosines[i].score;
        float said = cosine > VECTOR_NO_SCORE ? vector_part(f, cosine) : usual;
        f->items[i] = (struct fused_hit){
            .chunk = hits[i].chunk,
            .score = (range > 0 ? (hits[i].score - low) / range : 1.0f) + f->share * said,
            .word_rank = i + 1,
        };
    }
    f->count = f->words;
}

static struct fused_hit *find(struct fusing *f, uint32_t chunk)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (f->items[i].chunk == chunk)
            return &f->items[i];
    }
    return NULL;
}

static void add_vectors(struct fusing *f)
{
    unsigned alone = 0;
    for (unsigned i = 0; i < f->in->vectors_count; i++) {
        const struct index_hit *hit = &f->in->vectors[i];
        struct fused_hit *known = find(f, hit->chunk);
        if (known) {
            known->vector_rank = i + 1;
        } else if (f->share > 0 || (f->words < 2 * TOP && alone < ALONE_MAX)) {
            float factor = f->in->factors ? f->in->factors[i] : 1.0f;
            f->items[f->count++] = (struct fused_hit){
                .chunk = hit->chunk,
                .score = f->share * vector_part(f, hit->score) * factor,
                .vector_rank = i + 1,
            };
            alone++;
        }
    }
}

/* Better first; of equals those of the words, as they stood. */
static int compare(const void *a, const void *b)
{
    const struct fused_hit *x = a, *y = b;
    if (x->score > y->score || x->score < y->score)
        return x->score > y->score ? -1 : 1;
    uint32_t p = x->word_rank ? x->word_rank : UINT32_MAX - FUSE_VECTORS_MAX + x->vector_rank;
    uint32_t q = y->word_rank ? y->word_rank : UINT32_MAX - FUSE_VECTORS_MAX + y->vector_rank;
    return p < q ? -1 : p > q;
}

/* The last place, from 1, that a hit of this rank among the words may have. */
static uint32_t last_place(uint32_t word_rank)
{
    uint32_t fall = word_rank / 2;
    return word_rank + (word_rank <= FUSE_FIRST && fall > FUSE_FALL_MAX ? FUSE_FALL_MAX : fall);
}

/*
 * The best of what is left at every place, but where hits of the words have just as many places left
 * as they need, the best of these. `sorted` is used up: a hit that was placed has no chunk.
 */
static void place(struct fused_hit *sorted, unsigned count, bool *is_placed /* by word rank */,
                  unsigned words, struct fused_hit *ret)
{
    for (unsigned at = 0; at < count; at++) {
        uint32_t waiting = 0, must = 0; /* word ranks up to `must` come first */
        for (uint32_t rank = 1; rank <= words && !must; rank++) {
            if (is_placed[rank])
                continue;
            waiting++;
            if (last_place(rank) <= at + waiting)
                must = rank;
        }
        unsigned i = 0;
        while (sorted[i].chunk == UINT32_MAX ||
               (must && (sorted[i].word_rank == 0 || sorted[i].word_rank > must)))
            i++;
        ret[at] = sorted[i];
        if (sorted[i].word_rank)
            is_placed[sorted[i].word_rank] = true;
        sorted[i].chunk = UINT32_MAX;
    }
}

/* Scores fall from place to place, so that whoever sorts by them finds this order. */
static void level_scores(struct fused_hit *hits, unsigned count, float low, float range)
{
    for (unsigned i = 0; i < count; i++) {
        hits[i].score = low + hits[i].score * range;
        if (i > 0 && hits[i].score >= hits[i - 1].score)
            hits[i].score = nextafterf(hits[i - 1].score, -INFINITY);
    }
}

int fuse_hits(const struct fuse_in *in, struct fused_hit *ret)
{
    unsigned vectors = in->vectors_count;
    struct fusing f = {.in = in, .words = in->words_count};
    struct fused_hit *items = mem_try_array(f.words + vectors + 1, sizeof *items);
    bool *is_placed = mem_try_array(f.words + 1, sizeof *is_placed);
    if (!items || !is_placed) {
        mem_free(items);
        mem_free(is_placed);
        return -ERR_NO_MEMORY;
    }
    f.items = items;
    if (vectors) {
        f.floor = in->vectors[vectors - 1].score;
        f.range = in->vectors[0].score - f.floor;
    }
    f.share = vectors && f.words ? share_of(fuse_agreement(in->cosines, f.words)) : 0;
    if (f.words)
        add_words(&f);
    add_vectors(&f);
    qsort(items, f.count, sizeof *items, compare);
    place(items, f.count, is_placed, f.words, ret);
    float low = f.words ? in->words[f.words - 1].score : 0;
    float range = f.words ? in->words[0].score - low : 1;
    level_scores(ret, f.count, low, range > 0 ? range : 1);
    mem_free(items);
    mem_free(is_placed);
    return (int)f.count;
}

static void copy_words(const struct index_hit *words, unsigned from, unsigned count,
                       struct fused_hit *ret)
{
    for (unsigned i = from; i < count; i++)
        *ret++ = (struct fused_hit){
            .chunk = words[i].chunk, .score = words[i].score, .word_rank = i + 1};
}

/* What the vectors found is not found again by the words behind FUSE_WORDS_MAX. */
static unsigned add_rest(const struct index_hit *words, unsigned count, struct fused_hit *ret,
                         unsigned fused)
{
    unsigned n = fused;
    for (unsigned i = FUSE_WORDS_MAX; i < count; i++) {
        unsigned known = 0;
        while (known < fused && ret[known].chunk != words[i].chunk)
            known++;
        if (known < fused) {
            ret[known].word_rank = i + 1;
            continue;
        }
        ret[n] = (struct fused_hit){
            .chunk = words[i].chunk, .score = words[i].score, .word_rank = i + 1};
        if (n > 0 && ret[n].score >= ret[n - 1].score)
            ret[n].score = nextafterf(ret[n - 1].score, -INFINITY);
        n++;
    }
    return n;
}

int fuse_with_leg(const struct fuse_query *q, const struct index_hit *words, unsigned count,
                  struct fused_hit *ret)
{
    struct index_hit found[FUSE_VECTORS_MAX], cosines[FUSE_WORDS_MAX];
    float factors[FUSE_VECTORS_MAX];
    unsigned first = count < FUSE_WORDS_MAX ? count : FUSE_WORDS_MAX;
    int n = q->leg ? vector_leg_search(q->leg, q->vector, q->dims, found, FUSE_VECTORS_MAX) : 0;
    if (n < 0)
        return n;
    if (n == 0) {
        copy_words(words, 0, count, ret);
        return (int)count;
    }
    if (first)
        memcpy(cosines, words, first * sizeof *cosines);
    int rc = vector_leg_score(q->leg, q->vector, q->dims, cosines, first);
    if (rc < 0)
        return rc;
    for (int i = 0; i < n; i++)
        factors[i] = q->prefer ? q->prefer(q->ctx, found[i].chunk, 1.0f) : 1.0f;
    struct fuse_in in = {words, first, cosines, found, (unsigned)n, factors};
    rc = fuse_hits(&in, ret);
    return rc < 0 ? rc : (int)add_rest(words, count, ret, (unsigned)rc);
}
