/* Promises of fusion: what words found is never pushed far down, whatever the vectors say. */
#include "../cm.h"
#include "base/fault.h"
#include "base/mem.h"
#include "retrieval/retrieval_priv.h"

#include <math.h>

#define ROOM (FUSE_WORDS_MAX + FUSE_VECTORS_MAX)

struct made {
    struct index_hit words[FUSE_WORDS_MAX], cosines[FUSE_WORDS_MAX], vectors[FUSE_VECTORS_MAX];
    float factors[FUSE_VECTORS_MAX];
    struct fuse_in in;
};

static float uniform(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(*seed >> 40) / (float)(1 << 24);
}

enum kind {
    KIND_RANDOM,
    KIND_AGREE,    /* cosines fall with the rank of the words, and strangers are nearer still */
    KIND_NEGATED,  /* they rise with it */
    KIND_CONSTANT, /* all the same */
    KIND_PARTIAL,  /* half of the chunks have none */
    KIND_HOSTILE, /* the first ten agree, so that the vectors get their share, and the rest is made to harm */
    KINDS
};

static float cosine_of(enum kind kind, unsigned rank, unsigned count, uint64_t *seed)
{
    float place = (float)rank / (float)(count + 1), r = uniform(seed);
    switch (kind) {
    case KIND_AGREE:
        return 0.8f - 0.7f * place + 0.05f * r;
    case KIND_NEGATED:
        return -0.8f + 0.7f * place;
    case KIND_CONSTANT:
        return 0.5f;
    case KIND_PARTIAL:
        return r < 0.5f ? VECTOR_NO_SCORE : 0.8f - 0.7f * place;
    case KIND_HOSTILE:
        return rank == 0   ? -1.0f
               : rank < 10 ? 0.2f + 0.06f * (float)rank
               : rank < 20 ? 0.19f
                           : 0.1f;
    case KIND_RANDOM:
    case KINDS:
        break;
    }
    return 2 * r - 1;
}

/* Word hits are chunks 0.., the strangers 1000.. */
static void make(struct made *m, enum kind kind, unsigned words, unsigned vectors, uint64_t *seed)
{
    float score = 20, cosine = 0.99f;
    for (unsigned i = 0; i < words; i++) {
        m->words[i] = (struct index_hit){i, score};
        m->cosines[i] = (struct index_hit){i, cosine_of(kind, i, words, seed)};
        score *= uniform(seed) < 0.3f ? 1.0f : 0.8f + 0.2f * uniform(seed); /* some are equal */
    }
    for (unsigned i = 0; i < vectors; i++) {
        bool is_known = words && uniform(seed) < 0.3f && kind != KIND_HOSTILE;
        uint32_t chunk = is_known ? (uint32_t)(uniform(seed) * (float)words) : 1000 + i;
        for (unsigned k = 0; k < i; k++)
            if (m->vectors[k].chunk == chunk)
                chunk = 1000 + i;
        m->vectors[i] = (struct index_hit){chunk, cosine};
        m->factors[i] = 1.4f;
        cosine -= kind == KIND_CONSTANT ? 0 : 0.005f * uniform(seed);
    }
    m->in = (struct fuse_in){m->words, words, m->cosines, m->vectors, vectors, m->factors};
}

static void check(const struct made *m, const struct fused_hit *hits, unsigned n)
{
    unsigned strangers = 0, words = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct fused_hit *h = &hits[i];
        assert_true(h->word_rank || h->vector_rank);
        if (i > 0)
            assert_true(h->score < hits[i - 1].score);
        for (unsigned k = 0; k < i; k++)
            assert_int_not_equal(hits[k].chunk, h->chunk);
        if (h->vector_rank)
            assert_int_equal(m->vectors[h->vector_rank - 1].chunk, h->chunk);
        strangers += h->word_rank == 0;
        if (h->word_rank == 0)
            continue;
        unsigned r = h->word_rank, at = i + 1;
        assert_int_equal(m->words[r - 1].chunk, h->chunk);
        assert_true(at <= r + r / 2);
        if (r <= FUSE_FIRST)
            assert_true(at <= r + FUSE_FALL_MAX);
        words++;
    }
    assert_int_equal(words, m->in.words_count); /* none is lost */
    assert_int_equal(words + strangers, n);
    if (n && m->in.words_count)
        assert_int_equal(hits[0].word_rank, 1);
}

static void no_hit_of_the_words_falls_further_than_stated(void **state)
{
    (void)state;
    static struct made m;
    static struct fused_hit hits[ROOM];
    uint64_t seed = 1;
    unsigned moved = 0, strangers = 0;
    for (unsigned round = 0; round < 6000; round++) {
        enum kind kind = (enum kind)(round % KINDS);
        unsigned words = round % 3 == 0   ? FUSE_WORDS_MAX
                         : round % 3 == 1 ? (unsigned)(uniform(&seed) * 40)
                                          : (unsigned)(uniform(&seed) * FUSE_WORDS_MAX);
        unsigned vectors =
            round % 5 ? FUSE_VECTORS_MAX : (unsigned)(uniform(&seed) * FUSE_VECTORS_MAX);
        make(&m, kind, words, vectors, &seed);
        int n = fuse_hits(&m.in, hits);
        assert_true(n >= 0 && n <= (int)ROOM);
        check(&m, hits, (unsigned)n);
        for (unsigned i = 0; i < 10 && i < (unsigned)n && words >= 40; i++) {
            moved += hits[i].word_rank != i + 1;
            strangers += hits[i].word_rank == 0;
        }
    }
    assert_true(moved > 100 && strangers > 100); /* or it would prove nothing */
}

static void vectors_that_know_nothing_change_nothing(void **state)
{
    (void)state;
    static struct made m;
    static struct fused_hit hits[ROOM];
    static const enum kind kinds[] = {KIND_NEGATED, KIND_CONSTANT};
    uint64_t seed = 2;
    for (unsigned round = 0; round < 40; round++) {
        make(&m, kinds[round % 2], FUSE_WORDS_MAX, FUSE_VECTORS_MAX, &seed);
        assert_int_equal(fuse_hits(&m.in, hits), FUSE_WORDS_MAX);
        for (unsigned i = 0; i < FUSE_WORDS_MAX; i++)
            assert_int_equal(hits[i].word_rank, i + 1);
    }
    unsigned changed = 0;
    for (unsigned round = 0; round < 1000; round++) {
        make(&m, KIND_RANDOM, FUSE_WORDS_MAX, FUSE_VECTORS_MAX, &seed);
        assert_true(fuse_hits(&m.in, hits) >= 0);
        unsigned i = 0;
        while (i < 10 && hits[i].word_rank == i + 1)
            i++;
        changed += i < 10;
    }
    assert_true(changed <= 30); /* chance agrees that well in about one question of a hundred */
}

static void agreement_is_the_chance_that_the_first_are_nearer(void **state)
{
    (void)state;
    struct index_hit c[40];
    for (unsigned i = 0; i < 40; i++)
        c[i] = (struct index_hit){i, 1.0f - (float)i / 40};
    assert_true(fabsf(fuse_agreement(c, 40) - 1) < 1e-6f);
    assert_true(fuse_agreement(c, 19) <= 0); /* too few to tell */
    for (unsigned i = 0; i < 40; i++)
        c[i].score = .25f;
    assert_true(fabsf(fuse_agreement(c, 40) - .5f) < 1e-6f);
    for (unsigned i = 0; i < 40; i++)
        c[i].score = (float)i / 40;
    assert_true(fuse_agreement(c, 40) <= 0);
    for (unsigned i = 0; i < 40; i += 2)
        c[i].score = VECTOR_NO_SCORE; /* not counted: twenty are left */
    assert_true(fuse_agreement(c, 40) <= 0);
    assert_true(fuse_agreement(c, 39) <= 0);
}

static void what_agrees_moves_up_and_brings_what_words_missed(void **state)
{
    (void)state;
    static struct made m;
    static struct fused_hit hits[ROOM];
    uint64_t seed = 3;
    make(&m, KIND_AGREE, FUSE_WORDS_MAX, 30, &seed);
    for (unsigned i = 0; i < 30; i++)
        m.vectors[i] = (struct index_hit){i == 0   ? 1000
                                          : i == 1 ? 3
                                                   : 1000 + i,
                                          0.9f - 0.02f * (float)i};
    m.cosines[3].score = 0.88f;
    assert_true(fuse_hits(&m.in, hits) > (int)FUSE_WORDS_MAX);
    unsigned stranger = 0, known = 0;
    for (unsigned i = 0; i < 20; i++) {
        stranger = hits[i].chunk == 1000 ? i + 1 : stranger;
        known = hits[i].chunk == 3 ? i + 1 : known;
    }
    assert_true(stranger > 1 && stranger < 20);
    assert_true(known >= 2 && known <= 4);
}

static void vectors_alone_are_few_and_behind_the_words(void **state)
{
    (void)state;
    static struct made m;
    static struct fused_hit hits[ROOM];
    uint64_t seed = 4;
    make(&m, KIND_RANDOM, 0, 50, &seed);
    assert_int_equal(fuse_hits(&m.in, hits), 10);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(hits[i].vector_rank, i + 1);
    make(&m, KIND_HOSTILE, 3, 50, &seed);
    assert_int_equal(fuse_hits(&m.in, hits), 13);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(hits[i].word_rank, i + 1);
    make(&m, KIND_RANDOM, 0, 0, &seed);
    assert_int_equal(fuse_hits(&m.in, hits), 0);
}

static void fusion_survives_every_failed_allocation(void **state)
{
    (void)state;
    static struct made m;
    static struct fused_hit hits[ROOM];
    uint64_t seed = 5;
    make(&m, KIND_AGREE, 50, 50, &seed);
    for (uint64_t nth = 1;; nth++) {
        fault_arm(FAULT_ALLOC, nth, 0);
        int n = fuse_hits(&m.in, hits);
        bool has_passed = fault_seen(FAULT_ALLOC) < nth;
        fault_disarm();
        if (has_passed) {
            check(&m, hits, (unsigned)n);
            break;
        }
        assert_int_equal(n, -ERR_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_hit_of_the_words_falls_further_than_stated),
        cmocka_unit_test(vectors_that_know_nothing_change_nothing),
        cmocka_unit_test(agreement_is_the_chance_that_the_first_are_nearer),
        cmocka_unit_test(what_agrees_moves_up_and_brings_what_words_missed),
        cmocka_unit_test(vectors_alone_are_few_and_behind_the_words),
        cmocka_unit_test(fusion_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
