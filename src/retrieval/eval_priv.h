#pragma once
/* Judgements and metrics of eval.c, apart so that they can be tested on their own. */
#include "base/err.h"
#include "base/map.h"
#include "base/span.h"

struct judgement {
    char *doc; /* owned */
    int relevance;
};

struct judged_query {
    struct judgement *items; /* owned */
    size_t count;
};

struct qrels {
    struct map by_query; /* query id → struct judged_query, owned */
    bool names_parts;    /* some document id has a '#' */
    size_t judged_count; /* queries with a relevant document */
};

struct eval_scores {
    double ndcg_at_10, mrr_at_10, recall_at_100;
};

/* The vectors of eval_options.vectors_file. */
struct eval_vectors {
    struct map documents, queries; /* id → dims floats, owned */
    unsigned dims;                 /* 0: none */
};

/*
 * Lines {"id": document, "vector": [numbers]} or {"query": id, "vector": [numbers]}; all of one
 * length. A repeated id counts with its last vector. -ERR_INVALID (names the line), -ERR_NO_MEMORY.
 */
int eval_vectors_parse(struct span text, struct eval_vectors *ret, struct err *err) MUST_CHECK;
void eval_vectors_done(struct eval_vectors *v);

/* Lines "query <tab> document <tab> relevance"; a header line is skipped. */
int qrels_parse(struct span text, struct qrels *ret, struct err *err) MUST_CHECK;
void qrels_done(struct qrels *q);
/*
 * Adds one query's metrics to *sum; ranking in rank order without repeats. False when the query has
 * no relevant one.
 */
bool qrels_score(const struct qrels *q, struct span query, const struct span *ranking, size_t count,
                 struct eval_scores *sum);
