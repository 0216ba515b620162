/*
 * What the passages found call: a question about one function is often half answered by another that it calls. Names that
 * stand before a '(' in the best passages are looked up as symbols; their definitions follow where they fit.
 */
#include "retrieval/retrieval_priv.h"

#include "base/err.h"
#include "text/analyze.h"

#include <stdlib.h>

#define READ_PASSAGES 6u       /* the best ones are read for calls */
#define READ_BYTES (16u << 10) /* of each */
#define CALLS_MAX 48u          /* different names */
#define LOOKUPS_MAX 16u        /* the most promising of them are looked up … */
#define LOOKUP_DEPTH 12u       /* … among so many hits */
#define NAME_LEAST 4u          /* shorter ones are defined everywhere */
#define NAME_LONGEST 96u
#define DEFINED_MOST 3u /* a name with more definitions than this says nothing */

struct call {
    struct span name;
    float worth;
};

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static struct span last_part(struct span symbol)
{
    size_t at = symbol.len;
    while (at > 0 && is_name_byte(symbol.ptr[at - 1]))
        at--;
    return span_skip(symbol, at);
}

static bool is_defined_here(const struct passages *found, struct span name)
{
    for (size_t i = 0; i < found->count; i++)
        if (span_eq(last_part(found->items[i].symbol), name))
            return true;
    return false;
}

struct rarity {
    const struct index *ix;
    float most;
};

static void note_rarity(void *ctx, struct span term, uint32_t position)
{
    (void)position;
    struct rarity *r = ctx;
    float idf = index_idf(r->ix, term);
    r->most = idf > r->most ? idf : r->most;
}

static float rarity_of(const struct index *ix, struct span name)
{
    struct rarity r = {ix, 0};
    analyze(ANALYZER_CODE, name, note_rarity, &r);
    return r.most;
}

/* Worth: rare words are told by few; what the better passage calls counts more. */
static void note_call(struct call *calls, size_t *count, const struct passages *found,
                      const struct index *ix, struct span name, size_t rank)
{
    for (size_t i = 0; i < *count; i++)
        if (span_eq(calls[i].name, name))
            return;
    if (*count == CALLS_MAX || is_defined_here(found, name))
        return;
    float worth = rarity_of(ix, name);
    if (worth > 0)
        calls[(*count)++] = (struct call){name, worth / (float)(rank + 2)};
}

static void read_calls(struct call *calls, size_t *count, const struct passages *found,
                       const struct index *ix, size_t rank)
{
    struct span text = found->items[rank].text;
    text = span_first(text, text.len < READ_BYTES ? text.len : READ_BYTES);
    for (size_t i = 0; i < text.len;) {
        if (!is_name_byte(text.ptr[i])) {
            i++;
            continue;
        }
        size_t start = i;
        while (i < text.len && is_name_byte(text.ptr[i]))
            i++;
        bool is_call = i < text.len && text.ptr[i] == '(' && i - start >= NAME_LEAST &&
                       i - start <= NAME_LONGEST;
        if (is_call)
            note_call(calls, count, found, ix, span_of(text.ptr + start, i - start), rank);
    }
}

static int compare_calls(const void *a, const void *b)
{
    const struct call *x = a, *y = b;
    if (x->worth > y->worth || x->worth < y->worth)
        return x->worth > y->worth ? -1 : 1;
    return span_cmp(x->name, y->name);
}

/* The one place that defines the name, preferring no test; UINT32_MAX when there is none or there are too many. */
static int find_definition(const struct index *ix, struct span name, uint32_t *ret)
{
    struct index_hit hits[LOOKUP_DEPTH];
    struct index_chunk_view c;
    unsigned count = 0;
    *ret = UINT32_MAX;
    int n = index_search(ix, name, hits, LOOKUP_DEPTH);
    for (int i = 0; i < n; i++) {
        if (!index_chunk(ix, hits[i].chunk, &c) || c.is_test || !span_eq(last_part(c.symbol), name))
            continue;
        if (count++ == 0)
            *ret = hits[i].chunk;
    }
    if (count > DEFINED_MOST)
        *ret = UINT32_MAX;
    return n < 0 ? n : 0;
}

int definitions_of(const struct index *ix, const struct passages *found, uint32_t *ret,
                   unsigned max)
{
    struct call calls[CALLS_MAX];
    size_t count = 0;
    unsigned n = 0;
    for (size_t i = 0; i < found->count && i < READ_PASSAGES; i++)
        if (found->items[i].kind == CHUNK_IS_CODE)
            read_calls(calls, &count, found, ix, i);
    qsort(calls, count, sizeof *calls, compare_calls);
    for (size_t i = 0; i < count && i < LOOKUPS_MAX && n < max; i++) {
        uint32_t chunk;
        int r = find_definition(ix, calls[i].name, &chunk);
        if (r < 0)
            return r;
        if (chunk != UINT32_MAX)
            ret[n++] = chunk;
    }
    return (int)n;
}
