#include "retrieval/eval_priv.h"

#include "base/mem.h"

#include <math.h>

static struct judged_query *query_of(struct qrels *q, struct span id)
{
    struct judged_query *jq = map_get(&q->by_query, id);
    if (jq)
        return jq;
    jq = mem_try(sizeof *jq);
    if (jq && map_set(&q->by_query, id, jq, NULL) < 0) {
        mem_free(jq);
        return NULL;
    }
    return jq;
}

/* A repeated judgement counts with its highest relevance. */
static bool add_judgement(struct judged_query *jq, struct span doc, int relevance)
{
    for (size_t i = 0; i < jq->count; i++) {
        if (span_is(doc, jq->items[i].doc)) {
            if (relevance > jq->items[i].relevance)
                jq->items[i].relevance = relevance;
            return true;
        }
    }
    struct judgement *items = mem_try_realloc(jq->items, (jq->count + 1) * sizeof *items);
    if (!items)
        return false;
    jq->items = items;
    char *copy = mem_try_strndup(doc.ptr, doc.len);
    if (!copy)
        return false;
    jq->items[jq->count++] = (struct judgement){copy, relevance};
    return true;
}

static bool has_relevant(const struct judged_query *jq)
{
    for (size_t i = 0; i < jq->count; i++) {
        if (jq->items[i].relevance > 0)
            return true;
    }
    return false;
}

static int parse_line(struct qrels *q, struct span line, unsigned number, struct err *err)
{
    struct span rest = line, query, doc, relevance;
    int64_t value;
    if (!span_next(&rest, '\t', &query) || !span_next(&rest, '\t', &doc) ||
        !span_next(&rest, '\t', &relevance) || !parse_i64(span_trim(relevance), &value) ||
        value > INT32_MAX || value < INT32_MIN) {
        if (number == 1)
            return 0; /* a header */
        return err_set(err, ERR_INVALID,
                       "qrels.tsv line %u is not 'query <tab> document <tab> relevance'", number);
    }
    struct judged_query *jq = query_of(q, query);
    if (!jq || !add_judgement(jq, doc, (int)value))
        return err_set(err, ERR_NO_MEMORY, "no memory for the judgements");
    q->names_parts |= span_find_char(doc, '#') >= 0;
    return 0;
}

int qrels_parse(struct span text, struct qrels *ret, struct err *err)
{
    struct qrels q = {0};
    map_init(&q.by_query);
    struct span line;
    int rc = 0;
    for (unsigned number = 1; rc == 0 && text.len && span_next(&text, '\n', &line); number++) {
        line = span_trim(line);
        if (line.len)
            rc = parse_line(&q, line, number, err);
    }
    if (rc < 0) {
        qrels_done(&q);
        return rc;
    }
    size_t at = 0;
    struct span key;
    void *value;
    while (map_each(&q.by_query, &at, &key, &value))
        q.judged_count += has_relevant(value);
    *ret = q;
    return 0;
}

void qrels_done(struct qrels *q)
{
    size_t at = 0;
    struct span key;
    void *value;
    while (map_each(&q->by_query, &at, &key, &value)) {
        struct judged_query *jq = value;
        for (size_t i = 0; i < jq->count; i++)
            mem_free(jq->items[i].doc);
        mem_free(jq->items);
        mem_free(jq);
    }
    map_done(&q->by_query);
}

static int relevance_of(const struct judged_query *jq, struct span doc)
{
    for (size_t i = 0; i < jq->count; i++) {
        if (span_is(doc, jq->items[i].doc))
            return jq->items[i].relevance > 0 ? jq->items[i].relevance : 0;
    }
    return 0;
}

/* DCG of the best possible order: takes the highest relevance ten times. */
static double ideal_dcg(const struct judged_query *jq)
{
    double sum = 0;
    int below = INT32_MAX;
    unsigned rank = 0;
    while (rank < 10) {
        int best = 0;
        size_t times = 0;
        for (size_t i = 0; i < jq->count; i++) {
            int r = jq->items[i].relevance;
            if (r >= below || r < best || r <= 0)
                continue;
            times = r > best ? 1 : times + 1;
            best = r;
        }
        if (best == 0)
            break;
        for (; times > 0 && rank < 10; times--, rank++)
            sum += best / log2(rank + 2.0);
        below = best;
    }
    return sum;
}

bool qrels_score(const struct qrels *q, struct span query, const struct span *ranking, size_t count,
                 struct eval_scores *sum)
{
    const struct judged_query *jq = map_get(&q->by_query, query);
    if (!jq || !has_relevant(jq))
        return false;
    double dcg = 0, mrr = 0;
    size_t found = 0, relevant = 0;
    for (size_t i = 0; i < count && i < 100; i++) {
        int r = relevance_of(jq, ranking[i]);
        if (r == 0)
            continue;
        found++;
        if (i < 10) {
            dcg += r / log2((double)i + 2.0);
            if (mrr <= 0)
                mrr = 1.0 / ((double)i + 1.0);
        }
    }
    for (size_t i = 0; i < jq->count; i++)
        relevant += jq->items[i].relevance > 0;
    sum->ndcg_at_10 += dcg / ideal_dcg(jq);
    sum->mrr_at_10 += mrr;
    sum->recall_at_100 += (double)found / (double)relevant;
    return true;
}
